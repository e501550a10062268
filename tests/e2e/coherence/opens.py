#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Files that are opened again for reading without a message, by a handle that was kept: that happens only while nothing
can differ from what an open at the server would give, and an open file stays what it is whatever becomes of its names.
"""
import errno
import mmap
import os
import subprocess
import time

from lib import Rig, as_user, case, read_file, run, wait_for, world
from lib.changes import as_owner

SIZE = 9000
SOON = 10  # seconds; what is expected takes milliseconds, and half a second where the host has just written


def _fill(rig, name, content, **more):
    return rig.fill(name, content, owner=(world.UID, world.GID), **more)


def _opens(rig, look):
    """How many OPENs the server gets while the guest looks."""
    with rig.mount.counted() as counts:
        look()
    return counts.rpc.get("open", 0)


def _is_kept(rig, name):
    return _opens(rig, lambda: read_file(rig.guest(name))) == 0


def _keep(rig, name):
    """Has the guest read it until it is opened without a message: a file that was changed just now is not."""
    wait_for(lambda: _is_kept(rig, name), f"{name} is opened without a message", SOON)


def _kept(rig, name, content, **more):
    _fill(rig, name, content, **more)
    wait_for(lambda: os.path.exists(rig.guest(name)), "the file", SOON)
    _keep(rig, name)


def _forget_pages(descriptor):
    """The guest's kernel drops its pages of the file."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _deleted(rig):
    """Files of the share without a name that the worker has open."""
    found = []
    for name in os.listdir(f"/proc/{rig.server.worker()}/fd"):
        try:
            found.append(os.readlink(f"/proc/{rig.server.worker()}/fd/{name}"))
        except FileNotFoundError:
            pass
    return [name for name in found if name.startswith(rig.share) and name.endswith(" (deleted)")]


@case
def an_open_file_that_was_not_read_stays_what_it_was():
    """Replaced, removed, renamed, by the host or the guest, before anything of it is read."""
    def replace(path):
        with open(path + "~", "wb") as file:
            file.write(b"new " * SIZE)
        os.rename(path + "~", path)

    changes = {"replaced": replace, "removed": os.unlink, "renamed": lambda path: os.rename(path, path + "-renamed")}
    rig = Rig("cache=auto")
    for side in ("host", "guest"):
        for name, change in changes.items():
            file = f"{side}-{name}"
            _kept(rig, file, b"old " * SIZE)
            held = []
            assert _opens(rig, lambda file=file: held.append(os.open(rig.guest(file), os.O_RDONLY))) == 0
            _forget_pages(held[0])
            if side == "guest":
                change(rig.guest(file))
            else:
                with as_owner():
                    change(rig.host(file))
            time.sleep(0.1)
            _forget_pages(held[0])
            assert os.pread(held[0], 8 * SIZE, 0) == b"old " * SIZE, file
            _forget_pages(held[0])
            assert os.pread(held[0], 10, SIZE) == (b"old " * SIZE)[SIZE:SIZE + 10], file
            if name == "replaced":
                wait_for(lambda file=file: read_file(rig.guest(file)) == b"new " * SIZE, "the new file", SOON)
            else:
                wait_for(lambda file=file: not os.path.exists(rig.guest(file)), "the name is gone", SOON)
            assert os.pread(held[0], 8 * SIZE, 0) == b"old " * SIZE, file
            os.close(held[0])
    rig.end()


@case
def what_nobody_uses_takes_no_room_once_it_is_removed():
    rig = Rig("cache=auto")
    for number in range(20):
        _kept(rig, f"host{number}", b"x" * SIZE)
        _kept(rig, f"guest{number}", b"x" * SIZE)
    for number in range(20):
        os.unlink(rig.host(f"host{number}"))
        os.unlink(rig.guest(f"guest{number}"))
    wait_for(lambda: not _deleted(rig), "the server has closed what was removed", 2 * SOON)
    rig.end()


@case
def what_cannot_be_read_is_not_opened():
    """Also when it could be a moment ago, and by the guest's root, whom the guest's kernel asks nothing."""
    def opened():
        try:
            os.close(os.open(rig.guest("file"), os.O_RDONLY))
        except PermissionError as error:
            return error.errno
        return 0

    rig = Rig("cache=auto")
    rig.fill("never", b"secret", mode=0o600, owner=(0, 0))
    for _ in range(3):
        try:
            os.open(rig.guest("never"), os.O_RDONLY)
            raise AssertionError("it was opened")
        except PermissionError as error:
            assert error.errno == errno.EACCES
    for owner, mode in (((0, 0), 0o600), ((world.UID + 1, world.GID + 1), 0o600)):
        _kept(rig, "file", b"x" * SIZE)
        os.chown(rig.host("file"), *owner)
        os.chmod(rig.host("file"), mode)
        wait_for(lambda: opened() == errno.EACCES, "EACCES", SOON)
        assert [opened() for _ in range(5)] == [errno.EACCES] * 5
        os.unlink(rig.host("file"))
        wait_for(lambda: not os.path.exists(rig.guest("file")), "the name is gone", SOON)
    rig.end()


@case
def the_guests_kernel_still_asks_for_permission():
    rig = Rig("cache=auto")
    _kept(rig, "private", b"x" * SIZE, mode=0o600)
    done = as_user(["cat", rig.guest("private")], uid=12345, gid=12345)
    assert done.returncode != 0 and "Permission denied" in done.stderr, done
    rig.end()


@case
def only_a_plain_open_for_reading_needs_no_message():
    rig = Rig("cache=auto")
    for name, flags in {"w": os.O_WRONLY, "rw": os.O_RDWR, "append": os.O_WRONLY | os.O_APPEND,
                        "read, append": os.O_RDONLY | os.O_APPEND, "cut": os.O_RDONLY | os.O_TRUNC,
                        "sync": os.O_RDONLY | os.O_SYNC, "dsync": os.O_RDONLY | os.O_DSYNC,
                        "direct": os.O_RDONLY | os.O_DIRECT, "noatime": os.O_RDONLY | os.O_NOATIME}.items():
        _kept(rig, name, b"x" * SIZE)

        def look(name=name, flags=flags):
            os.close(os.open(rig.guest(name), flags))
        count = _opens(rig, look)
        # What is cut at opening is cut by SETATTR.
        assert count == (0 if name == "cut" else 1), f"{name}: {count}"
        assert os.path.getsize(rig.host(name)) == (0 if name == "cut" else SIZE)
        _keep(rig, name)
        assert len(read_file(rig.guest(name))) == (0 if name == "cut" else SIZE)
    rig.end()


@case
def what_the_guest_has_written_is_read():
    rig = Rig("cache=auto")
    _kept(rig, "file", b"x" * SIZE)
    for number in range(50):
        with open(rig.guest("file"), "r+b") as file:
            file.write(b"%04d" % number)
            file.flush()
            assert read_file(rig.guest("file"))[:4] == b"%04d" % number
        assert read_file(rig.guest("file"))[:4] == read_file(rig.host("file"))[:4] == b"%04d" % number
    os.truncate(rig.guest("file"), 10)
    assert read_file(rig.guest("file")) == read_file(rig.host("file")) and os.path.getsize(rig.host("file")) == 10
    _keep(rig, "file")
    rig.end()


@case
def with_permissions_of_the_host_each_open_asks():
    rig = Rig("cache=auto", "permissions=host")
    _fill(rig, "file", b"x" * SIZE)
    time.sleep(0.7)
    read_file(rig.guest("file"))
    assert _opens(rig, lambda: [read_file(rig.guest("file")) for _ in range(5)]) == 5
    rig.end()


@case
def without_leases_each_open_asks():
    for option in ("cache=timeout", "cache=none"):
        rig = Rig(option)
        _fill(rig, "file", b"x" * SIZE)
        time.sleep(0.7)
        read_file(rig.guest("file"))
        assert _opens(rig, lambda rig=rig: [read_file(rig.guest("file")) for _ in range(5)]) == 5, option
        rig.end()


@case
def a_writer_of_the_host_ends_it_and_its_end_begins_it():
    """While others may store into a mapping, each open asks."""
    rig = Rig("cache=auto")
    _kept(rig, "file", b"x" * SIZE)
    with as_owner():
        descriptor = os.open(rig.host("file"), os.O_RDWR)
    mapped = mmap.mmap(descriptor, SIZE)
    os.close(descriptor)
    wait_for(lambda: not _is_kept(rig, "file"), "an open asks", SOON)
    for number in range(50):
        mapped[:4] = b"%04d" % number
        assert read_file(rig.guest("file"))[:4] == b"%04d" % number
    mapped.close()
    _keep(rig, "file")
    assert read_file(rig.guest("file"))[:4] == b"0049"
    rig.end()


def _kept_with_other_name(rig):
    """The other name of the file is in a directory that the guest does not know."""
    os.mkdir(rig.host("unknown"))
    os.chown(rig.host("unknown"), world.UID, world.GID)
    _kept(rig, "file", b"x" * SIZE)
    with as_owner():
        os.link(rig.host("file"), rig.host("unknown/other"))


@case
def a_mapping_by_another_name_ends_it():
    """The other name is in a directory that the guest does not know, and was made after the guest opened the file."""
    rig = Rig("cache=auto")
    _kept_with_other_name(rig)
    with as_owner():
        descriptor = os.open(rig.host("unknown/other"), os.O_RDWR)
    mapped = mmap.mmap(descriptor, SIZE)
    os.close(descriptor)
    mapped[:4] = b"new!"
    wait_for(lambda: read_file(rig.guest("file"))[:4] == b"new!", "what was stored", SOON)
    mapped.close()
    rig.end()


@case
def what_is_written_by_another_name_is_seen():
    rig = Rig("cache=auto")
    _kept_with_other_name(rig)
    with as_owner():
        with open(rig.host("unknown/other"), "r+b") as file:
            file.write(b"new!")
    wait_for(lambda: read_file(rig.guest("file"))[:4] == b"new!", "what was written", SOON)
    rig.end()


@case
def readers_of_the_host_do_not_end_it():
    rig = Rig("cache=auto")
    names = [f"file{number}" for number in range(100)]
    for name in names:
        _fill(rig, name, b"x" * SIZE)
    time.sleep(0.7)
    for name in names:
        read_file(rig.guest(name))

    def look():
        for name in names:
            read_file(rig.guest(name))
    wait_for(lambda: _opens(rig, look) == 0, "all are kept", SOON)
    for _ in range(5):
        with as_owner():
            for name in names:
                read_file(rig.host(name))
        time.sleep(0.05)
        assert _opens(rig, look) == 0
    rig.end()


@case
def a_program_that_is_replaced_is_executed_anew():
    rig = Rig("cache=auto")
    script = b"#!/bin/sh\necho %s\n"
    _kept(rig, "program", script % b"old", mode=0o755)

    def say():
        return subprocess.run([rig.guest("program")], check=True, capture_output=True).stdout
    assert say() == b"old\n"
    with as_owner():
        with open(rig.host("program~"), "wb") as file:
            file.write(script % b"new")
        os.chmod(rig.host("program~"), 0o755)
        os.rename(rig.host("program~"), rig.host("program"))
    wait_for(lambda: say() == b"new\n", "the new one", SOON)
    rig.end()


@case
def few_descriptors_are_enough():
    """Handles are kept while there are descriptors to spare, and are given back when others are needed."""
    rig = Rig("cache=auto", server_arguments=("--descriptors", "48"))
    for number in range(200):
        _fill(rig, f"file{number}", b"%d" % number)
    time.sleep(0.7)
    for _ in range(3):
        for number in range(200):
            assert read_file(rig.guest(f"file{number}")) == b"%d" % number
    held = []
    for number in range(40):
        held.append(os.open(rig.guest(f"file{number}"), os.O_RDWR))
        if number < 4:
            held.append(os.open(rig.guest(f"made{number}"), os.O_WRONLY | os.O_CREAT))
    assert len(held) == 44
    for descriptor in held:
        os.close(descriptor)
    rig.end()


@case
def an_idle_mount_with_kept_files_sleeps():
    """Files that are watched are not looked at again and again."""
    rig = Rig("cache=auto")
    for number in range(50):
        _fill(rig, f"file{number}", b"x" * SIZE)
    time.sleep(0.7)

    def look():
        for number in range(50):
            read_file(rig.guest(f"file{number}"))
    look()
    wait_for(lambda: _opens(rig, look) == 0, "all are kept", SOON)
    held = [os.open(rig.guest(f"file{number}"), os.O_RDONLY) for number in range(10)]
    time.sleep(2.5)

    def switches():
        total = 0
        for task in os.listdir(f"/proc/{rig.server.worker()}/task"):
            with open(f"/proc/{rig.server.worker()}/task/{task}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
        return total
    before = switches()
    time.sleep(4)
    woken = switches() - before
    print(f"# woken {woken} times in 4 s")
    # A thread of the thread sanitizer's own wakes ten times a second.
    assert woken <= 6 or world.has_sanitizer(), woken
    for descriptor in held:
        os.close(descriptor)
    rig.end()


run(180)
