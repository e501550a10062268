#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A mount that nobody uses: no program of it runs, and little memory is taken."""
import os
import time

from lib import Pair, Rig, case, process, run, world

WINDOW = 10  # seconds
MEMORY = 10 * 1024  # resident and private, of broker, worker, client and guestd together, in KiB


def _wake_ups(pids):
    """How often the threads of these processes have gone to sleep so far."""
    return sum(sum(process.sleeps(pid).values()) for pid in pids)


def _private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean:", "Private_Dirty:")))


def _processes(rig):
    return [rig.server.process.pid, rig.server.worker(), rig.mount.pid]


def _all_processes(pair):
    return [pair.server.process.pid, pair.server.worker(), pair.guest.process.pid, *pair.guest.daemons().values()]


def _is_quiet(processes):
    """Nobody of them runs for a while. A heartbeat may fall into a window: there is one in less than a minute."""
    counts = []
    while 0 not in counts and len(counts) < 4:
        before = _wake_ups(processes)
        time.sleep(WINDOW)
        counts.append(_wake_ups(processes) - before)
    print(f"# wake-ups in {WINDOW} s each: {counts}")
    return 0 in counts


@case
def no_program_of_an_idle_mount_runs_for_ten_seconds():
    rig = Rig()
    os.mkdir(rig.host("dir"))
    rig.fill("dir/file", "content")
    assert os.listdir(rig.guest("dir")) == ["file"]
    with open(rig.guest("dir/file"), encoding="utf-8") as file:
        assert file.read() == "content"
    assert _is_quiet(_processes(rig))
    rig.end()


@case
def no_program_of_an_idle_guestd_runs_for_ten_seconds():
    pair = Pair("share")
    pair.fill("share/file", b"content")
    assert os.listdir(pair.mounted("share")) == ["file"]
    assert _is_quiet(_all_processes(pair))
    kib = {pid: _private_kib(pid) for pid in _all_processes(pair)}
    print(f"# private memory, KiB: {kib}")
    assert world.has_sanitizer() or sum(kib.values()) < MEMORY, kib
    pair.end()


@case
def an_idle_mount_takes_little_memory():
    rig = Rig()
    for number in range(100):
        rig.fill(f"file{number}", "content")
    for name in os.listdir(rig.guest()):
        with open(rig.guest(name), encoding="utf-8") as file:
            file.read()
    kib = {pid: _private_kib(pid) for pid in _processes(rig)}
    print(f"# private memory, KiB: {kib}")
    assert world.has_sanitizer() or sum(kib.values()) < MEMORY, kib
    rig.end()


# The server looks at every change of a directory on the way to a share.
run(150, aside=True)
