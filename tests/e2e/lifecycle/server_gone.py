#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The server goes while its share is mounted: operations fail in time, umount works, nobody hangs."""
import errno
import os
import signal
import subprocess
import threading
import time

from lib import Mount, Rig, Server, case, is_mounted, kill, run, wait_for, world, write_file
from lib.hang import Hang

TIMEOUT = 4
# The client pings now and then; between the loss and its noticing lies at most one interval.
BUSY = 8


def _fails_within(seconds, function, *arguments):
    """Calls function in a thread; it must raise OSError in time. The error."""
    result = []

    def call():
        try:
            result.append(function(*arguments))
        except OSError as error:
            result.append(error)

    begin = time.monotonic()
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"{function.__name__} still hangs after {seconds} s"
    assert isinstance(result[0], OSError), f"{function.__name__} gave {result[0]!r}, after {time.monotonic() - begin}"
    return result[0]


def _errno_of(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return 0


def _rig():
    rig = Rig(f"timeout={TIMEOUT}")
    rig.fill("file", "x" * 100000)
    rig.fill("other", "y")
    assert len(os.listdir(rig.guest())) == 2
    return rig


def _everything_fails(rig, descriptor):
    for function, arguments in ((os.mkdir, (rig.guest("dir"),)), (os.listdir, (rig.guest(),)),
                                (os.open, (rig.guest("other"), os.O_RDONLY)),
                                (os.pwrite, (descriptor, b"z", 0)), (os.fsync, (descriptor,)),
                                (os.rename, (rig.guest("other"), rig.guest("third")))):
        _fails_within(TIMEOUT + BUSY, function, *arguments)
    assert sorted(os.listdir(rig.share)) == ["file", "other"]


def _unmounts(rig, descriptor):
    os.close(descriptor)
    begin = time.monotonic()
    rig.mount.unmount()
    assert time.monotonic() - begin < 10
    assert not is_mounted(rig.mount.where)


@case
def the_worker_is_killed():
    rig = _rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    rig.server.signal(rig.server.worker())
    _everything_fails(rig, descriptor)
    _unmounts(rig, descriptor)
    assert rig.server.alive()
    again = Mount(rig.server, rig.share)
    write_file(again / "file", "new", owner=(0, 0))


@case
def what_was_known_is_not_shown_any_more():
    """Under a lease the guest's kernel would show it without a limit."""
    rig = _rig()
    os.mkdir(rig.host("dir"))
    rig.fill("dir/file", "x")
    os.symlink("file", rig.host("link"))
    looks = ((os.stat, rig.guest("dir/file")), (os.listdir, rig.guest("dir")), (os.readlink, rig.guest("link")),
             (os.stat, rig.guest("dir")), (os.listdir, rig.guest()), (os.stat, rig.guest()))
    for _ in range(3):
        for look, path in looks:
            look(path)
        assert not os.path.exists(rig.guest("dir/none"))
    rig.server.signal(rig.server.worker())
    for look, path in looks:
        wait_for(lambda look=look, path=path: _errno_of(look, path) not in (0, errno.ENOENT), f"{look.__name__} {path}")
    assert _errno_of(os.stat, rig.guest("dir/none")) not in (0, errno.ENOENT)
    rig.mount.unmount()


@case
def the_broker_is_killed_and_its_workers_end_with_it():
    rig = _rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    worker = rig.server.worker()
    rig.server.signal(rig.server.process.pid)
    wait_for(lambda: rig.server.is_gone(worker), "the worker ends with its broker", 10)
    _everything_fails(rig, descriptor)
    _unmounts(rig, descriptor)


@case
def the_broker_is_stopped_politely():
    rig = _rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    rig.server.stop()
    _everything_fails(rig, descriptor)
    _unmounts(rig, descriptor)


@case
def the_worker_stops_answering():
    rig = _rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    worker = rig.server.worker()
    rig.server.signal(worker, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        _fails_within(TIMEOUT + BUSY, os.mkdir, rig.guest("dir"))
        assert time.monotonic() - begin > 0.5, "it did not wait at all"
        for function, arguments in ((os.listdir, (rig.guest(),)), (os.pwrite, (descriptor, b"z", 0))):
            _fails_within(3, function, *arguments)
        _unmounts(rig, descriptor)
    finally:
        rig.server.signal(worker, signal.SIGCONT)
    # What was asked for may be done when the worker goes on.
    assert set(os.listdir(rig.share)) - {"dir"} == {"file", "other"}


@case
def a_busy_process_gets_an_error_and_can_be_killed():
    rig = _rig()
    process = subprocess.Popen(["dd", "if=/dev/zero", f"of={rig.guest('big')}", "bs=64k", "count=100000000"],
                               stderr=subprocess.DEVNULL)
    world.at_end(process.kill)
    wait_for(lambda: os.path.exists(rig.host("big")) and os.stat(rig.host("big")).st_size > 1000000, "dd writes")
    rig.server.signal(rig.server.worker())
    code = process.wait(TIMEOUT + BUSY)
    assert code == 1, code
    rig.mount.unmount()


@case
def a_worker_in_the_middle_of_requests_that_hang_can_be_lost():
    rig = _rig()
    Hang(rig.host("h"))
    threads = [threading.Thread(target=lambda n=n: _fails_within(40, os.stat, rig.guest(f"h/hang{n}")), daemon=True)
               for n in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    rig.server.signal(rig.server.worker())
    for thread in threads:
        thread.join(TIMEOUT + BUSY)
        assert not thread.is_alive()
    rig.mount.unmount()
    assert rig.server.alive()


@case
def the_guests_client_is_killed_and_the_server_forgets_it():
    rig = _rig()
    other = Mount(rig.server, rig.share)
    before = rig.server.descriptors()
    assert len(rig.server.workers()) == 2
    kill(other.pid)
    wait_for(lambda: len(rig.server.workers()) == 1, "the worker of the lost client ends", 15)
    wait_for(lambda: rig.server.descriptors() < before, "the broker's descriptors are given back")
    subprocess.run(["umount", "-l", other.where], check=False, timeout=20)
    write_file(rig.guest("after"), "x", owner=(0, 0))


@case
def a_client_that_falls_silent_is_given_up():
    share = os.path.join(world.case_directory("host"), "share")
    os.mkdir(share)
    os.chown(share, world.UID, world.GID)
    server = Server([share], arguments=["--heartbeat", "500"])
    mount = Mount(server, share)
    time.sleep(3)
    assert len(server.workers()) == 1, "an idle mount was given up"
    world.kill(mount.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: not server.workers(), "the silent session ends", 15)
    finally:
        kill(mount.pid, signal.SIGCONT)
    _fails_within(TIMEOUT + BUSY, os.mkdir, mount / "dir")
    mount.unmount()


run(timeout=240)
