#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A mount that nobody uses: no program of it runs, and little memory is taken."""
import json
import os
import time

from lib import Rig, case, run, world

WINDOW = 10  # seconds
MEMORY = 10 * 1024  # resident and private, of broker, worker and client together, in KiB


def _wake_ups(pids):
    """How often the threads of these processes have gone to sleep so far."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                total += int(file.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


def _private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean:", "Private_Dirty:")))


def _has_sanitizer():
    """The programs were built with one, which takes far more memory."""
    with open(os.path.join(world.BUILD, "meson-info/intro-buildoptions.json"), encoding="utf-8") as file:
        return any(option["name"] == "b_sanitize" and option["value"] not in ("none", []) for option in json.load(file))


def _processes(rig):
    return [rig.server.process.pid, rig.server.worker(), rig.mount.pid]


@case
def nothing_runs_for_ten_seconds():
    rig = Rig()
    os.mkdir(rig.host("dir"))
    rig.fill("dir/file", "content")
    assert os.listdir(rig.guest("dir")) == ["file"]
    with open(rig.guest("dir/file"), encoding="utf-8") as file:
        assert file.read() == "content"
    counts = []
    # A heartbeat may fall into a window: there is one in less than a minute.
    while 0 not in counts and len(counts) < 4:
        before = _wake_ups(_processes(rig))
        time.sleep(WINDOW)
        counts.append(_wake_ups(_processes(rig)) - before)
    print(f"# wake-ups in {WINDOW} s each: {counts}")
    assert 0 in counts, counts
    rig.end()


@case
def little_memory_is_taken():
    rig = Rig()
    for number in range(100):
        rig.fill(f"file{number}", "content")
    for name in os.listdir(rig.guest()):
        with open(rig.guest(name), encoding="utf-8") as file:
            file.read()
    kib = {pid: _private_kib(pid) for pid in _processes(rig)}
    print(f"# private memory, KiB: {kib}")
    assert _has_sanitizer() or sum(kib.values()) < MEMORY, kib
    rig.end()


run(100)
