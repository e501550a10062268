#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client that is killed leaves nobody hanging: whoever waits for it is told, and the mount can be taken away."""
import errno
import os
import signal
import threading
import time

from lib import Mount, Rig, case, process, run, wait_for, world
from lib.between import INVALIDATE, OPERATIONS, Between
from lib.changes import as_owner

SOON = 10


def _watchers():
    """Pids of the processes that end the kernel's side of a mount whose client has died."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and process.name_of(pid) == "bindshare-watch"]


def _ends_soon(pid, what):
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what, SOON)


class _Call:
    """A system call in a thread of its own."""

    def __init__(self, function, *arguments):
        self.error = None
        self._thread = threading.Thread(target=self._make, args=(function, arguments), daemon=True)
        self._thread.start()

    def _make(self, function, arguments):
        try:
            function(*arguments)
        except OSError as error:
            self.error = error.errno

    def ended(self):
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the call has not ended"
        return self.error


@case
def a_client_that_waits_for_a_directorys_lock_can_be_killed():
    """
    The client tells the kernel of a changed name, for which the kernel waits until the directory's lock is free. A
    program holds it, that waits for the client. The thread that tells does not die, and without it the client does not.
    """
    rig = Rig()
    between = Between(rig.server)
    with as_owner():
        os.mkdir(rig.host("d"))
        with open(rig.host("d/known"), "x", encoding="ascii"):
            pass
    mount = Mount(between, rig.share)
    time.sleep(0.5)
    for _ in range(2):
        os.stat(mount / "d/known")
    with between.held(OPERATIONS["mkdir"]) as came:
        call = _Call(os.mkdir, mount / "d/new")
        assert came(SOON), "the server was not asked"
        told = between.seen.count(INVALIDATE)
        os.unlink(rig.host("d/known"))
        wait_for(lambda: between.seen.count(INVALIDATE) > told, "the client hears of the change", SOON)
        time.sleep(0.2)  # it tells the kernel
        os.kill(mount.pid, signal.SIGKILL)
        assert call.ended() in (errno.ENOTCONN, errno.ECONNABORTED), call.error
        _ends_soon(mount.pid, "the client has ended")
    rig.end()


@case
def who_waits_for_a_killed_client_is_told():
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    with between.held(OPERATIONS["mkdir"]) as came:
        call = _Call(os.mkdir, mount / "new")
        assert came(SOON), "the server was not asked"
        os.kill(mount.pid, signal.SIGKILL)
        assert call.ended() in (errno.ENOTCONN, errno.ECONNABORTED), call.error
    rig.end()


@case
def the_watcher_holds_nothing_and_ends_with_the_client():
    for how in ("unmounted", "killed", "ended"):
        rig = Rig()
        watcher, = _watchers()
        held = list(process.open_files(watcher).values())
        assert len(held) == 1 and held[0].endswith("/abort"), held
        assert os.readlink(f"/proc/{watcher}/cwd") == "/"
        if how == "unmounted":
            rig.mount.unmount()
        else:
            os.kill(rig.mount.pid, signal.SIGKILL if how == "killed" else signal.SIGTERM)
        _ends_soon(watcher, f"the watcher has ended ({how})")
        rig.end()


@case
def without_the_watcher_the_mount_serves_on():
    rig = Rig()
    watcher, = _watchers()
    os.kill(watcher, signal.SIGTERM)
    time.sleep(0.2)
    assert _watchers() == [watcher], "it ends at a signal that is not for it"
    world.kill(watcher, signal.SIGKILL)
    assert os.listdir(rig.guest()) == []
    rig.end()


run(100)
