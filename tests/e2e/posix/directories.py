#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Listings, names of every kind, links, large and sparse files, file systems inside the share."""
import ctypes
import errno
import os
import random
import stat
import struct
import subprocess
import threading

from lib import (GID, UID, Rig, case, expect_errno, fill_directory, read_file, run, skip, wait_for, world,
                 write_file)
from lib.trace import calls_of

SOON = 2.0
_libc = ctypes.CDLL(None, use_errno=True)
_SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61}[os.uname().machine]
_TYPES = {stat.S_IFREG: 8, stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFSOCK: 12, stat.S_IFCHR: 2}


def _getdents(descriptor, size=4096):
    """One getdents64(): a list of (inode number, offset of the next entry, type, name)."""
    buffer = ctypes.create_string_buffer(size)
    count = _libc.syscall(_SYS_GETDENTS64, descriptor, buffer, size)
    if count < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    entries, at = [], 0
    while at < count:
        number, offset, length, kind = struct.unpack_from("=QqHB", buffer, at)
        name = buffer.raw[at + 19:at + length].split(b"\0", 1)[0]
        entries.append((number, offset, kind, name))
        at += length
    return entries


def _list(descriptor, size=4096):
    entries = []
    while True:
        some = _getdents(descriptor, size)
        if not some:
            return entries
        entries += some


def _names(entries):
    return [name for _, _, _, name in entries if name not in (b".", b"..")]


def _big_directory(rig, count):
    os.mkdir(rig.host("big"))
    os.chown(rig.host("big"), UID, GID)
    fill_directory(rig.host("big"), count)


def _open_directory(path):
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


@case
def an_entry_that_exists_throughout_is_returned_exactly_once():
    rig = Rig()
    _big_directory(rig, 5000)
    lasting = {f"f{number:06}".encode() for number in range(5000)}
    stop = threading.Event()

    def disturb(where, text):
        number = 0
        while not stop.is_set():
            path = f"{where}/{text}{number % 300}"
            write_file(path, "x")
            os.rename(path, path + ".renamed")
            os.unlink(path + ".renamed")
            number += 1

    threads = [threading.Thread(target=disturb, args=(rig.guest("big"), "guest")),
               threading.Thread(target=disturb, args=(rig.host("big"), "host"))]
    for thread in threads:
        thread.start()
    try:
        for size in (512, 4096, 32768, 32768, 1 << 20, 300):
            descriptor = _open_directory(rig.guest("big"))
            names = _names(_list(descriptor, size))
            os.close(descriptor)
            seen = [name for name in names if name in lasting]
            assert len(seen) == len(set(seen)), "an entry came twice"
            assert set(seen) == lasting, f"{len(lasting - set(seen))} entries are missing"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@case
def entries_come_once_while_all_others_are_removed():
    for side in ("guest", "host"):
        rig = Rig()
        _big_directory(rig, 4000)
        where = rig.guest("big") if side == "guest" else rig.host("big")
        descriptor = _open_directory(rig.guest("big"))
        names = _names(_getdents(descriptor, 2000))
        for number in range(0, 4000, 2):
            os.unlink(f"{where}/f{number:06}")
        names += _names(_list(descriptor))
        os.close(descriptor)
        odd = {f"f{number:06}".encode() for number in range(1, 4000, 2)}
        assert len(names) == len(set(names))
        assert odd <= set(names)
        descriptor = _open_directory(rig.guest("big"))
        wait_for(lambda d=descriptor: os.lseek(d, 0, os.SEEK_SET) == 0 and set(_names(_list(d))) == odd,
                 "the rest and nothing else", SOON)
        os.close(descriptor)


@case
def a_name_removed_during_a_listing_does_not_come_back():
    rig = Rig()
    _big_directory(rig, 3000)
    for number in range(0, 3000, 100):
        descriptor = _open_directory(rig.guest("big"))
        rest = _names(_getdents(descriptor, 1000))
        victims = [f"f{number + more:06}" for more in range(5)]
        for name in victims:
            os.unlink(rig.guest(f"big/{name}"))
        os.rename(rig.guest(f"big/f{number + 6:06}"), rig.guest(f"big/f{number + 7:06}"))
        rest += _names(_list(descriptor, 32768))
        for name in victims + [f"f{number + 6:06}"]:
            expect_errno(errno.ENOENT, os.stat, rig.guest(f"big/{name}"))
            expect_errno(errno.ENOENT, os.open, rig.guest(f"big/{name}"), os.O_RDONLY)
        os.close(descriptor)
        assert len(rest) == len(set(rest))


@case
def places_in_a_directory_can_be_told_and_sought():
    rig = Rig()
    _big_directory(rig, 3000)
    descriptor = _open_directory(rig.guest("big"))
    first = _list(descriptor, 8192)
    assert len(first) == 3002
    for at in (0, 1, 7, 100, 1500, 2999, 3000):
        os.lseek(descriptor, first[at][1], os.SEEK_SET)
        rest = _list(descriptor)
        assert [entry[3] for entry in rest] == [entry[3] for entry in first[at + 1:]], at
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert [entry[3] for entry in _list(descriptor)] == [entry[3] for entry in first]
    os.lseek(descriptor, first[-1][1], os.SEEK_SET)
    assert _list(descriptor) == []
    write_file(rig.guest("big/new"), "x", owner=(0, 0))
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert len(_list(descriptor)) == 3003, "rewinddir() shows what was made since"
    other = _open_directory(rig.guest("big"))
    os.lseek(other, first[1500][1], os.SEEK_SET)
    assert len(_list(other)) >= 1500
    os.close(other)
    os.close(descriptor)


@case
def a_directory_that_was_opened_long_ago_is_listed_as_it_is_now():
    rig = Rig()
    descriptor = _open_directory(rig.guest())
    write_file(rig.guest("mine"), "x", owner=(0, 0))
    assert _names(_list(descriptor)) == [b"mine"]
    os.close(descriptor)
    descriptor = _open_directory(rig.guest())
    rig.fill("theirs")
    wait_for(lambda: os.lseek(descriptor, 0, os.SEEK_SET) == 0 and len(_names(_list(descriptor))) == 2,
             "the host's file", SOON)
    os.close(descriptor)


@case
def a_hundred_thousand_entries_are_listed():
    rig = Rig()
    _big_directory(rig, 100_000)
    descriptor = _open_directory(rig.guest("big"))
    names = _names(_list(descriptor, 32768))
    os.close(descriptor)
    assert len(names) == 100_000 and len(set(names)) == 100_000
    with os.scandir(rig.guest("big")) as listing:
        assert sum(1 for entry in listing if entry.is_file()) == 100_000
    assert len(set(os.listdir(rig.guest("big")))) == 100_000
    rig.end()


@case
def types_and_numbers_in_a_listing_are_those_of_stat():
    rig = Rig()
    rig.fill("file")
    os.mkdir(rig.guest("dir"))
    os.mkdir(rig.guest("dir/below"))
    os.symlink("file", rig.guest("link"))
    os.mkfifo(rig.guest("fifo"))
    os.mknod(rig.guest("device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(rig.guest("socket"), stat.S_IFSOCK | 0o600)
    for where in (rig.guest(), rig.guest("dir")):
        for _ in range(2):
            descriptor = _open_directory(where)
            entries = {name: (number, kind) for number, _, kind, name in _list(descriptor)}
            os.close(descriptor)
            for name, (number, kind) in entries.items():
                path = os.path.join(os.fsencode(where), name)
                seen = os.lstat(path)
                assert kind == _TYPES[stat.S_IFMT(seen.st_mode)], (name, kind)
                if not (name == b".." and where == rig.guest()):
                    assert number == seen.st_ino, (name, number, seen.st_ino)
            assert {b".", b".."} <= set(entries)
    assert os.stat(rig.guest("dir/..")).st_ino == os.stat(rig.guest()).st_ino
    assert os.stat(rig.guest("dir")).st_nlink == 3


@case
def names_may_hold_every_byte_but_two():
    rig = Rig()
    every = bytes(range(1, 256)).replace(b"/", b"")
    names = [every, bytes(reversed(every)), b"\xff" * 255, b"\x01" * 255, b"...", b" ", b"\n", b"*?[", b"-rf", b"~",
             b"trailing ", b"trailing.", b"con", b"a:b", b"\\", b"%00", b"\xc3\x28", "\U0001f600".encode()]
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(rig.guest()), name)
        with open(path, "wb") as file:
            file.write(b"%d" % number)
        assert read_file(os.path.join(os.fsencode(rig.host()), name)) == b"%d" % number
        assert read_file(path) == b"%d" % number
    assert sorted(os.listdir(os.fsencode(rig.guest()))) == sorted(names)
    assert sorted(os.listdir(os.fsencode(rig.host()))) == sorted(names)
    for name in names:
        os.rename(os.path.join(os.fsencode(rig.guest()), name), os.path.join(os.fsencode(rig.guest()), b"moved"))
        os.unlink(os.path.join(os.fsencode(rig.guest()), b"moved"))
    assert os.listdir(rig.host()) == []
    expect_errno(errno.ENAMETOOLONG, os.mkdir, rig.guest("n" * 256))


@case
def names_that_differ_a_little_are_different_files():
    rig = Rig()
    names = ["readme", "README", "Readme", "\u00e9", "e\u0301", "\u00c5", "A\u030a", "\u212b",
             "\ufb01", "fi", "\u0130", "i\u0307"]
    for name in names:
        write_file(rig.guest(name), name, owner=(0, 0))
    assert sorted(os.listdir(rig.host())) == sorted(names)
    for name in names:
        assert read_file(rig.guest(name)) == name.encode()
    os.rename(rig.guest("readme"), rig.guest("README"))
    assert "readme" not in os.listdir(rig.guest()) and read_file(rig.host("README")) == b"readme"
    assert not os.path.exists(rig.guest("reADme"))


@case
def symbolic_links_are_kept_as_they_are_up_to_their_full_length():
    rig = Rig()
    targets = ["x" * 4095, "/" * 4095, "../" * 1000 + "a", "a//b/./c/", " ", "\udcff\udcfe", "/absolute/path", "."]
    for number, target in enumerate(targets):
        os.symlink(target, rig.guest(f"l{number}"))
        assert os.readlink(rig.host(f"l{number}")) == target
        assert os.readlink(rig.guest(f"l{number}")) == target
        assert os.lstat(rig.guest(f"l{number}")).st_size == len(os.fsencode(target))
        os.symlink(target, rig.host(f"h{number}"))
        assert os.readlink(rig.guest(f"h{number}")) == target
    expect_errno(errno.ENAMETOOLONG, os.symlink, "x" * 4096, rig.guest("long"))
    expect_errno(errno.ENOENT, os.symlink, "", rig.guest("empty"))
    os.symlink("loop", rig.guest("loop"))
    expect_errno(errno.ELOOP, os.open, rig.guest("loop"), os.O_RDONLY)


@case
def files_beyond_four_gigabytes_and_holes():
    rig = Rig()
    far = (5 << 30) + 12345
    with open(rig.guest("large"), "w+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"start", 0)
        os.pwrite(file.fileno(), b"behind", far)
        assert os.pread(file.fileno(), 6, far) == b"behind"
        assert os.pread(file.fileno(), 10, far - 4) == b"\0" * 4 + b"behind"
        assert os.pread(file.fileno(), 10, (4 << 30) - 5) == b"\0" * 10
        seen = os.fstat(file.fileno())
        assert seen.st_size == far + 6
        assert seen.st_blocks * 512 < 1 << 20, "the hole takes no room"
        assert seen.st_blocks == os.stat(rig.host("large")).st_blocks
        assert os.lseek(file.fileno(), 1 << 20, os.SEEK_DATA) == os.lseek(
            _opened(rig.host("large")), 1 << 20, os.SEEK_DATA) <= far
        os.ftruncate(file.fileno(), (6 << 30) + 1)
    assert os.stat(rig.host("large")).st_size == (6 << 30) + 1
    with open(rig.host("large"), "rb") as file:
        file.seek(far)
        assert file.read(6) == b"behind"
    os.truncate(rig.host("large"), 1 << 40)
    wait_for(lambda: os.stat(rig.guest("large")).st_size == 1 << 40, "the host's size", SOON)


def _opened(path):
    descriptor = os.open(path, os.O_RDONLY)
    _opened.kept.append(descriptor)
    return descriptor


_opened.kept = []


def _mount_tmpfs(where):
    if world.AGENT:
        skip("the file system would have to be mounted on the other side of the virtual machine")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"uid={UID},gid={GID},mode=755,size=16m", "tmpfs", where],
                   check=True)


def _unmount_all(*paths):
    for path in paths:
        subprocess.run(["umount", "-l", path], check=True)


@case
def file_systems_mounted_inside_the_share_are_seen_in_one_space_of_numbers():
    rig = Rig()
    for name in ("one", "two"):
        os.mkdir(rig.host(name))
        _mount_tmpfs(rig.host(name))
    try:
        rig.fill("file")
        for name in ("one", "two"):
            for number in range(20):
                write_file(rig.host(f"{name}/f{number}"), f"{name} {number}")
            os.makedirs(rig.guest(f"{name}/sub/below"))
        same = os.stat(rig.host("one/f3")).st_ino == os.stat(rig.host("two/f3")).st_ino
        numbers, devices = {}, set()
        for path, directories, files in os.walk(rig.guest()):
            for name in directories + files:
                seen = os.lstat(os.path.join(path, name))
                devices.add(seen.st_dev)
                assert seen.st_ino < 1 << 32, "more than a program with 32-bit numbers can take"
                assert numbers.setdefault(seen.st_ino, os.path.join(path, name)) == os.path.join(path, name)
            descriptor = _open_directory(path)
            for number, _, _, name in _list(descriptor):
                if name != b".." or path != rig.guest():
                    assert number == os.lstat(os.path.join(os.fsencode(path), name)).st_ino, (path, name)
            os.close(descriptor)
        assert len(devices) == 1, "the mount is one device"
        assert len(numbers) == 1 + 2 * 23, len(numbers)
        assert same, "numbers of the two file systems were to meet"
        for name in ("one", "two"):
            assert read_file(rig.guest(f"{name}/f7")) == f"{name} 7".encode()
            os.unlink(rig.guest(f"{name}/f7"))
            assert not os.path.exists(rig.host(f"{name}/f7"))
        expect_errno(errno.EXDEV, os.rename, rig.guest("one/f1"), rig.guest("two/f1b"))
        expect_errno(errno.EXDEV, os.link, rig.guest("one/f1"), rig.guest("link"))
        expect_errno(errno.EBUSY, os.rmdir, rig.guest("one"))
        assert os.statvfs(rig.guest("one")).f_blocks == os.statvfs(rig.host("one")).f_blocks
        assert os.statvfs(rig.guest()).f_blocks == os.statvfs(rig.host()).f_blocks
        inside = os.open(rig.guest("one/f2"), os.O_RDONLY)
        directory = os.open(rig.guest("one"), os.O_RDONLY)
        os.chdir(rig.guest("two"))
        assert len(os.listdir(directory)) == 20
        _unmount_all(rig.host("one"))
        assert os.read(inside, 10) == b"one 2", "open files of it go on"
        os.close(inside)
        os.close(directory)
        wait_for(lambda: os.listdir(rig.guest("one")) == [], "what was underneath", SOON)
        os.chdir("/")
        _mount_tmpfs(rig.host("one"))
        write_file(rig.host("one/again"), "x")
        wait_for(lambda: os.listdir(rig.guest("one")) == ["again"], "the new file system", SOON)
    finally:
        os.chdir("/")
        _unmount_all(rig.host("one"), rig.host("two"))


@case
def a_seek_to_anywhere_looks_at_few_entries():
    rig = Rig("cache=timeout")  # under a lease the guest's kernel has them all
    _big_directory(rig, 20000)
    directory = _open_directory(rig.guest("big"))
    first = _list(directory)
    assert len(first) == 20002
    numbers = random.Random(1).sample(range(len(first) - 1), 40)
    with calls_of(rig.server.worker(), "statx") as seen:
        for number in numbers:
            os.lseek(directory, first[number][1], os.SEEK_SET)
            assert _getdents(directory, 4096)[0][3] == first[number + 1][3]
    assert seen.counts["statx"] < 40 * 200, seen.counts
    # Reading on from there brings more and more.
    os.lseek(directory, first[100][1], os.SEEK_SET)
    with rig.mount.counted() as counts:
        assert len(_list(directory)) == 20002 - 101
    assert counts.rpc["readdir"] <= 8, counts.rpc
    os.lseek(directory, 0, os.SEEK_SET)
    with rig.mount.counted() as counts:
        assert len(_list(directory)) == 20002
    assert counts.rpc["readdir"] <= 6, counts.rpc
    os.close(directory)
    rig.end()


run(180)
