#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files that are closed by their owner's mode bits: the guest's root opens them, and nothing changes on the host."""
import errno
import os
import signal
import stat
import subprocess
import threading
import time

from lib import GID, UID, Rig, case, expect_errno, read_file, run, wait_for, world


def _state(path):
    seen = os.lstat(path)
    return stat.S_IMODE(seen.st_mode), seen.st_ctime_ns


def _closed_directory(rig, name, mode=0):
    os.mkdir(rig.host(name))
    rig.fill(name + "/inner", "in it")
    os.chown(rig.host(name), UID, GID)
    os.chmod(rig.host(name), mode)


@case
def reading_changes_neither_mode_nor_ctime():
    rig = Rig()
    rig.fill("file", "kept", mode=0)
    _closed_directory(rig, "closed")
    before = [_state(rig.host(name)) for name in ("file", "closed", "closed/inner")]
    for _ in range(20):
        assert read_file(rig.guest("file")) == b"kept"
        assert os.listdir(rig.guest("closed")) == ["inner"]
        assert read_file(rig.guest("closed/inner")) == b"in it"
    assert [_state(rig.host(name)) for name in ("file", "closed", "closed/inner")] == before
    rig.end()


@case
def tar_reads_a_closed_file_without_a_warning():
    rig = Rig()
    for number in range(10):
        rig.fill(f"file{number}", "kept" * 10000, mode=0)
        done = subprocess.run(["tar", "cf", os.path.join(world.case_directory("tar"), "out.tar"), "-C", rig.guest(),
                               f"file{number}"], check=False, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, (number, done.returncode, done.stderr)
    rig.end()


@case
def what_is_written_into_a_closed_directory_leaves_its_mode_alone():
    rig = Rig()
    _closed_directory(rig, "closed", 0o555)
    os.mkdir(rig.guest("other"))
    with open(rig.guest("closed/new"), "wb") as file:
        file.write(b"x")
    os.rename(rig.guest("closed/new"), rig.guest("other/new"))
    os.symlink("target", rig.guest("closed/link"))
    os.mkdir(rig.guest("closed/sub"), 0o555)
    os.rename(rig.guest("closed/sub"), rig.guest("other/sub"))
    os.unlink(rig.guest("closed/link"))
    assert sorted(os.listdir(rig.host("closed"))) == ["inner"]
    assert sorted(os.listdir(rig.host("other"))) == ["new", "sub"]
    assert _state(rig.host("closed"))[0] == 0o555
    rig.end()


@case
def what_the_host_closes_while_the_guest_reads_stays_closed():
    """chmod 0000 by the host's user, in a loop, against a guest that opens in a loop: none is undone."""
    rig = Rig("cache=none")
    rig.fill("file", "kept", mode=0)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            os.close(os.open(rig.guest("file"), os.O_RDONLY))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    undone = 0
    try:
        for _ in range(1500):
            for mode in (0o040, 0):
                os.chmod(rig.host("file"), mode)
                time.sleep(0.0003)
                undone += _state(rig.host("file"))[0] != mode
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert undone == 0, undone
    rig.end()


@case
def a_read_only_share_opens_nothing_that_is_closed():
    rig = Rig(mode=":ro")
    rig.fill("file", "kept", mode=0)
    rig.fill("readable", "kept", mode=0o444)
    _closed_directory(rig, "closed")
    before = [_state(rig.host(name)) for name in ("file", "closed")]
    expect_errno(errno.EACCES, os.open, rig.guest("file"), os.O_RDONLY)
    expect_errno(errno.EACCES, os.listdir, rig.guest("closed"))
    assert read_file(rig.guest("readable")) == b"kept"
    assert [_state(rig.host(name)) for name in ("file", "closed")] == before
    rig.end()


@case
def files_of_others_stay_closed():
    rig = Rig()
    for number, owner in enumerate(((0, 0), (0, GID), (4321, 4321))):
        rig.fill(f"foreign{number}", "kept", mode=0o600, owner=owner)
        expect_errno(errno.EACCES, os.open, rig.guest(f"foreign{number}"), os.O_RDONLY)
        expect_errno(errno.EACCES, os.open, rig.guest(f"foreign{number}"), os.O_WRONLY)
        assert os.stat(rig.guest(f"foreign{number}")).st_uid == 65534
        expect_errno(errno.EPERM, os.chmod, rig.guest(f"foreign{number}"), 0o777)
        assert read_file(rig.host(f"foreign{number}")) == b"kept"
    rig.end()


@case
def a_worker_that_is_killed_leaves_modes_as_they_were():
    for round_ in range(25):
        rig = Rig("cache=none")
        _closed_directory(rig, "closed", 0o500)
        rig.fill("file", "kept", mode=0o400)
        before = [_state(rig.host(name))[0] for name in ("file", "closed")]
        pid = os.fork()
        if pid == 0:
            while True:
                try:
                    os.close(os.open(rig.guest("file"), os.O_WRONLY))
                    os.mkdir(rig.guest("closed/x"))
                    os.rmdir(rig.guest("closed/x"))
                except OSError:
                    os._exit(0)
        try:
            time.sleep(0.03 + round_ * 0.0011)
            worker = rig.server.worker()
            world.kill(worker, signal.SIGKILL)
            wait_for(lambda: worker not in rig.server.workers(), "the worker is gone")
            assert [_state(rig.host(name))[0] for name in ("file", "closed")] == before
        finally:
            world.kill(pid)
            os.waitpid(pid, 0)


@case
def setuid_of_the_host_goes_with_the_first_byte_that_the_guest_writes():
    rig = Rig("cache=none")
    rig.fill("closed", "#!", mode=0o644)
    os.chmod(rig.host("closed"), 0o4455)
    with open(rig.guest("closed"), "ab") as file:
        file.write(b"written")
    assert _state(rig.host("closed"))[0] & 0o7000 == 0, oct(_state(rig.host("closed"))[0])
    rig.end()


run()
