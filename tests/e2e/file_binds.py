#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A single file, bound elsewhere: with the ioctl of guest-fuse/binds/follow.h it follows its name, without it not."""
import errno
import fcntl
import mmap
import os
import subprocess

from lib import Rig, case, expect_errno, run, wait_for, world

FOLLOW = ord("b") << 8 | 0x66


def _bind(rig, name, follow=True):
    """A bind of the file, as a container gets it."""
    where = os.path.join(world.case_directory("bind"), "file")
    world.write_file(where)
    if follow:
        with open(rig.guest(name), "rb") as file:
            fcntl.ioctl(file, FOLLOW)
    subprocess.run(["mount", "--bind", rig.guest(name), where], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", where], check=False, capture_output=True))
    return where


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _send(path):
    """By sendfile(2), as busybox does."""
    reader, writer = os.pipe()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.sendfile(writer, descriptor, 0, 60000)
        return os.read(reader, 60000)
    finally:
        for one in (reader, writer, descriptor):
            os.close(one)


def _save(rig, name, content):
    """As editors do: a new file in the old one's place."""
    rig.fill(name + ".new", content)
    os.rename(rig.host(name + ".new"), rig.host(name))


def _end(rig, where):
    subprocess.run(["umount", where], check=True)
    rig.end()


@case
def an_atomic_save_on_the_host_is_seen():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    assert _read(where) == b"one"
    for content in (b"two, longer", b"3", b"x" * 300000, b"four"):
        _save(rig, "config", content)
        assert _read(where) == content
        assert _send(where) == content[:60000]
        wait_for(lambda content=content: os.stat(where).st_size == len(content), "the new size")
        assert os.stat(where).st_ino == os.stat(rig.host("config")).st_ino
    rig.fill("config", b"in place")
    assert _read(where) == b"in place"
    _end(rig, where)


@case
def sendfile_sees_it_too():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    for content in (b"two", b"three", b"four"):
        _save(rig, "config", content)
        assert _send(where) == content
    _end(rig, where)


@case
def the_same_size_and_time_do_not_hide_a_save():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    times = os.stat(rig.host("config"))
    for number in range(20):
        content = b"%03d" % number
        rig.fill("config.new", content)
        os.utime(rig.host("config.new"), ns=(times.st_atime_ns, times.st_mtime_ns))
        os.rename(rig.host("config.new"), rig.host("config"))
        assert _read(where) == content
    _end(rig, where)


@case
def what_is_open_keeps_the_file_that_it_was_opened_with():
    rig = Rig()
    rig.fill("log", b"old content " * 1000)
    where = _bind(rig, "log")
    with open(where, "rb") as old:
        assert old.read(11) == b"old content"
        _save(rig, "log", b"new")
        assert _read(where) == b"new"
        old.seek(0)
        assert old.read() == b"old content " * 1000
        with open(where, "rb") as new:
            assert new.read() == b"new"
    _end(rig, where)


@case
def what_is_written_goes_to_what_lies_there():
    rig = Rig()
    rig.fill("data", b"one", owner=(world.UID, world.GID))
    where = _bind(rig, "data")
    rig.fill("data.new", b"two", owner=(world.UID, world.GID))
    os.rename(rig.host("data.new"), rig.host("data"))
    with open(where, "ab") as file:
        file.write(b" and three")
    assert _read(rig.host("data")) == b"two and three"
    os.truncate(where, 3)
    os.chmod(where, 0o640)
    assert _read(rig.host("data")) == b"two"
    assert os.stat(rig.host("data")).st_mode & 0o777 == 0o640
    _end(rig, where)


@case
def a_save_in_the_guest_is_seen_too():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    world.write_file(rig.guest("config.new"), b"two", owner=(0, 0))
    os.rename(rig.guest("config.new"), rig.guest("config"))
    assert _read(where) == b"two"
    os.rename(rig.guest("config"), rig.guest("elsewhere"))
    world.write_file(rig.guest("config"), b"three", owner=(0, 0))
    assert _read(where) == b"three"
    assert _read(rig.guest("elsewhere")) == b"two"
    _end(rig, where)


@case
def while_the_name_is_gone_the_file_stays():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    assert _read(where) == b"one"
    os.unlink(rig.host("config"))
    assert _read(where) == b"one"
    os.mkdir(rig.host("config"))
    assert _read(where) == b"one"
    os.rmdir(rig.host("config"))
    os.symlink("/etc/passwd", rig.host("config"))
    assert _read(where) == b"one"
    os.unlink(rig.host("config"))
    rig.fill("config", b"two")
    assert _read(where) == b"two"
    _end(rig, where)


@case
def it_can_be_mapped_and_run():
    rig = Rig()
    with open("/bin/true", "rb") as file:
        rig.fill("program", file.read(), owner=(world.UID, world.GID))
    os.chmod(rig.host("program"), 0o755)
    where = _bind(rig, "program")
    assert subprocess.run([where], check=False).returncode == 0
    with open("/bin/false", "rb") as file:
        _save(rig, "program", file.read())
    os.chmod(rig.host("program"), 0o755)
    wait_for(lambda: os.access(where, os.X_OK), "the mode")
    assert subprocess.run([where], check=False).returncode == 1
    with open(where, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as pages:
        assert pages[:4] == b"\x7fELF"
    _end(rig, where)


@case
def without_the_ioctl_the_bind_keeps_the_file():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config", follow=False)
    with open(where, "rb"):
        _save(rig, "config", b"two")
        assert _read(where) == b"one"
    _end(rig, where)


@case
def other_ioctls_and_other_files_are_refused():
    rig = Rig()
    rig.fill("file", b"content")
    with open(rig.guest("file"), "rb") as file:
        expect_errno(errno.ENOTTY, fcntl.ioctl, file, FOLLOW + 1)
    with open("/proc/self/exe", "rb") as file:
        expect_errno(errno.ENOTTY, fcntl.ioctl, file, FOLLOW)
    rig.end()


@case
def nothing_is_kept_when_the_bind_is_gone():
    rig = Rig()
    names = [f"file{number}" for number in range(50)]
    for name in names:
        rig.fill(name, b"one")
    binds = [_bind(rig, name) for name in names]
    for name in names:
        _save(rig, name, b"two")
    assert all(_read(where) == b"two" for where in binds)
    for where in binds:
        subprocess.run(["umount", where], check=True)

    def forgotten():
        with open("/proc/sys/vm/drop_caches", "w", encoding="utf-8") as file:
            file.write("2")
        return rig.mount.stats()["nodes"] == 1
    wait_for(forgotten, "the client has forgotten every file", 20)
    nodes = rig.server.ctl("status", "--json")
    wait_for(lambda: '"nodes": 1' in rig.server.ctl("status", "--json") or
             '"nodes":1' in rig.server.ctl("status", "--json"), f"the server has forgotten every file: {nodes}", 20)
    rig.end()


run(100)
