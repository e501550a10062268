#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests that come by FUSE over io_uring, on the CPU of who asks, and mounts without it beside them."""
import contextlib
import hashlib
import os
import signal
import subprocess

from lib import Rig, case, run, skip, wait_for, world
from lib import uring
from lib.hang import Hang


@contextlib.contextmanager
def _by_rings():
    """While it lasts mounts get rings."""
    reason = uring.why_not()
    if reason:
        skip(reason)
    with uring.switched(True):
        yield


def _rig(*options):
    with _by_rings():
        rig = Rig(*options)
    assert rig.mount.stats()["io_uring"], "the mount has no rings"
    return rig


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _work(rig, name):
    """Every form of a request: with and without fixed fields, names, much data either way."""
    os.mkdir(rig.guest(name))
    data = os.urandom(3 * 1024 * 1024 + 17)
    with open(rig.guest(f"{name}/large"), "wb") as file:
        assert file.write(data) == len(data)
    with open(rig.guest(f"{name}/large"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.readall() == data
    assert _digest(rig.host(f"{name}/large")) == hashlib.sha256(data).hexdigest()
    os.symlink("large", rig.guest(f"{name}/link"))
    assert os.readlink(rig.guest(f"{name}/link")) == "large"
    os.setxattr(rig.guest(f"{name}/large"), "user.test", b"v" * 4000)
    assert os.getxattr(rig.guest(f"{name}/large"), "user.test") == b"v" * 4000
    os.link(rig.guest(f"{name}/large"), rig.guest(f"{name}/second"))
    os.rename(rig.guest(f"{name}/second"), rig.guest(f"{name}/third"))
    os.truncate(rig.guest(f"{name}/large"), 5)
    os.chmod(rig.guest(f"{name}/large"), 0o600)
    assert os.stat(rig.host(f"{name}/third")).st_size == 5
    for number in range(300):
        with open(rig.guest(f"{name}/file{number}"), "x", encoding="utf-8"):
            pass
    assert sorted(os.listdir(rig.guest(name))) == sorted(os.listdir(rig.host(name)))
    assert not os.path.exists(rig.guest(f"{name}/missing"))
    assert os.statvfs(rig.guest(name)).f_namemax == 255


@case
def a_mount_by_rings_does_what_one_without_does():
    rings = _rig()
    with uring.switched(True):
        device = Rig("io_uring=no")
    with uring.switched(False):
        off = Rig()
    assert not device.mount.stats()["io_uring"], "the option io_uring=no"
    assert not off.mount.stats()["io_uring"], "the kernel does not offer it"
    for rig in (rings, device, off):
        _work(rig, "directory")
    for rig in (rings, device, off):
        rig.end()


@case
def every_processor_asks_by_its_own_queue():
    rig = _rig()
    for cpu in sorted(os.sched_getaffinity(0)):
        process = os.fork()
        if process == 0:
            code = 1
            try:
                os.sched_setaffinity(0, {cpu})
                _work(rig, f"cpu{cpu}")
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, cpu
    rig.end()


@case
def what_hangs_on_the_host_stops_nothing_else_on_its_processor():
    rig = _rig()
    Hang(rig.host("h"))
    cpu = str(min(os.sched_getaffinity(0)))
    hanging = []
    for number in range(12):
        before = rig.mount.stats()["fuse"]["lookup"]
        hanging.append(subprocess.Popen(["taskset", "-c", cpu, "stat", rig.guest(f"h/hang{number}")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(lambda: rig.mount.stats()["fuse"]["lookup"] > before, "the request is there")
        done = subprocess.run(["taskset", "-c", cpu, "mkdir", rig.guest(f"new{number}")], check=False, timeout=20)
        assert done.returncode == 0 and os.path.isdir(rig.host(f"new{number}"))
    for process in hanging:
        process.kill()
    for process in hanging:
        process.wait(20)
    rig.mount.unmount()


@case
def a_killed_client_leaves_nobody_waiting():
    rig = _rig()
    Hang(rig.host("h"))
    before = rig.mount.stats()["fuse"]["lookup"]
    process = subprocess.Popen(["stat", rig.guest("h/hang")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: rig.mount.stats()["fuse"]["lookup"] > before, "the request is there")
    world.kill(rig.mount.pid, signal.SIGKILL)
    assert process.wait(20) != 0
    wait_for(lambda: not os.path.exists(f"/proc/{rig.mount.pid}"), "the client has ended")


@case
def few_lanes_are_left_to_the_device():
    """A ring needs two threads, and the device two more."""
    with _by_rings():
        few, enough = Rig("lanes=3"), Rig("lanes=4")
    assert not few.mount.stats()["io_uring"]
    assert enough.mount.stats()["io_uring"]
    for rig in (few, enough):
        _work(rig, "directory")
        rig.end()


run(100)
