#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A process that is stuck on the mount can always be killed, and other signals never disturb a file operation."""
import os
import signal
import subprocess
import time

from lib import Rig, case, run, wait_for, write_file
from lib.hang import Hang


def _stuck(rig, name):
    """A process that waits for a look-up which the host does not answer."""
    before = rig.mount.stats()["fuse"]["lookup"]
    process = subprocess.Popen(["stat", rig.guest(name)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: rig.mount.stats()["fuse"]["lookup"] > before, "the process waits")
    time.sleep(0.2)
    return process


def _killed_within(process, seconds):
    begin = time.monotonic()
    process.kill()
    process.wait(20)
    took = time.monotonic() - begin
    assert took < seconds, f"killed only after {took:.1f} s"


@case
def a_process_whose_request_hangs_on_the_host_can_be_killed():
    rig = Rig()
    Hang(rig.host("h"))
    for number in range(5):
        _killed_within(_stuck(rig, f"h/hang{number}"), 2)
    assert os.listdir(rig.guest()) == ["h"]


@case
def a_process_that_first_got_another_signal_can_be_killed():
    rig = Rig()
    Hang(rig.host("h"))
    process = _stuck(rig, "h/hang")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    _killed_within(process, 2)


@case
def a_process_can_be_killed_while_the_worker_is_stopped():
    rig = Rig("timeout=60")
    worker = rig.server.worker()
    rig.server.signal(worker, signal.SIGSTOP)
    try:
        process = subprocess.Popen(["stat", rig.guest("something")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(0.7)
        assert process.poll() is None, (process.poll(), process.stdout.read())
        _killed_within(process, 2)
    finally:
        rig.server.signal(worker, signal.SIGCONT)
    write_file(rig.guest("file"), "x", owner=(0, 0))
    assert os.listdir(rig.share) == ["file"]


@case
def one_after_the_other_can_be_killed_while_the_worker_is_stopped():
    rig = Rig("timeout=60")
    rig.fill("file", b"x" * (1 << 20))
    worker = rig.server.worker()
    rig.server.signal(worker, signal.SIGSTOP)
    try:
        # More than there are lanes, and new ones get no welcome.
        for command in (["cat", rig.guest("file")], ["dd", "if=/dev/zero", f"of={rig.guest('new')}", "count=1"],
                        ["ls", rig.guest()], ["touch", rig.guest("other")], ["cat", rig.guest("file")]):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.7)
            assert process.poll() is None, command
            _killed_within(process, 2)
    finally:
        rig.server.signal(worker, signal.SIGCONT)
    wait_for(lambda: os.listdir(rig.guest()) == ["file"], "the mount goes on")


@case
def ordinary_signals_do_not_interrupt_file_operations():
    rig = Rig()
    hits = []
    signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    descriptor = os.open(rig.guest("file"), os.O_RDWR | os.O_CREAT)
    try:
        wrote = 0
        while len(hits) < 200:
            wrote += os.write(descriptor, b"x" * 65536)
            os.stat(rig.guest("file"))
            if wrote > 32 * 1024 * 1024:
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                wrote = 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0, 0)
        os.close(descriptor)
    assert os.stat(rig.host("file")).st_size == wrote


@case
def processes_can_be_killed_when_every_lane_is_taken():
    rig = Rig("lanes=2")
    Hang(rig.host("h"))
    assert os.path.exists(rig.guest("h/calm"))
    processes = [subprocess.Popen(["stat", rig.guest(f"h/hang{n}")], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) for n in range(6)]
    time.sleep(1)
    begin = time.monotonic()
    for process in processes:
        process.kill()
    for process in processes:
        process.wait(20)
    assert time.monotonic() - begin < 5, time.monotonic() - begin


run()
