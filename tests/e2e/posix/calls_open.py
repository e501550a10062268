#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""open(2) with every flag, O_TMPFILE, O_PATH, /proc/self/fd: the same as in a local directory."""
import fcntl
import mmap
import os
import stat

from lib import TWINS, Twin, calls, case, read_file, run

FLAGS = {
    "creat": os.O_CREAT, "excl": os.O_CREAT | os.O_EXCL, "trunc": os.O_TRUNC, "append": os.O_APPEND,
    "nofollow": os.O_NOFOLLOW, "directory": os.O_DIRECTORY, "noatime": os.O_NOATIME, "sync": os.O_SYNC,
    "dsync": os.O_DSYNC, "path": os.O_PATH, "direct": os.O_DIRECT, "nonblock": os.O_NONBLOCK,
    "creat|directory": os.O_CREAT | os.O_DIRECTORY, "creat|trunc": os.O_CREAT | os.O_TRUNC,
    "creat|nofollow": os.O_CREAT | os.O_NOFOLLOW, "path|nofollow": os.O_PATH | os.O_NOFOLLOW,
    "path|directory": os.O_PATH | os.O_DIRECTORY, "none": 0,
}


def _prepare(directory):
    def at(name):
        return os.path.join(directory, name)
    with open(at("file"), "wb") as file:
        file.write(b"content")
    os.mkdir(at("dir"))
    os.symlink("file", at("link"))
    os.symlink("dir", at("dirlink"))
    os.symlink("nothing", at("dangling"))
    os.symlink("loop", at("loop"))
    os.mkfifo(at("fifo"))
    for name in ("fifo", "file", "dir"):
        os.chmod(at(name), 0o755)


def _open(directory, name, flags):
    """What open gives: the type, the flags that F_GETFL shows and the size afterwards."""
    descriptor = os.open(os.path.join(directory, name), flags, 0o640)
    try:
        seen = os.fstat(descriptor)
        shown = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        size = seen.st_size if stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode) else 0
        return stat.S_IFMT(seen.st_mode), shown, size
    finally:
        os.close(descriptor)


@case
def every_flag_on_every_kind_of_name():
    for server in TWINS:
        rig = Twin(server)
        # A record of a FIFO is made where the server is an ordinary user and where it is root.
        rig.both(_prepare)
        for flags in FLAGS.values():
            for access in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                for name in ("file", "dir", "link", "dirlink", "dangling", "loop", "new", "file/x", "none/x", "dir/",
                             "file/", "new/", "fifo"):
                    if name == "fifo" and not flags & (os.O_NONBLOCK | os.O_PATH):
                        continue
                    rig.same(_open, name, flags | access)
                    for place in (rig.local, rig.guest):
                        for made in ("new", "nothing"):
                            if os.path.exists(place(made)):
                                os.unlink(place(made))
                        with open(place("file"), "wb") as file:
                            file.write(b"content")
        rig.end()


@case
def a_file_without_a_name_can_be_given_one():
    for server in TWINS:
        rig = Twin(server)

        def make(directory):
            descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o640)
            os.write(descriptor, b"written before it had a name")
            seen = os.fstat(descriptor)
            first = (seen.st_nlink, stat.S_IMODE(seen.st_mode), seen.st_size, os.listdir(directory))
            calls.link(descriptor, os.path.join(directory, "named"))
            seen = os.fstat(descriptor)
            os.pwrite(descriptor, b"W", 0)
            os.close(descriptor)
            return first, seen.st_nlink, read_file(os.path.join(directory, "named"))

        value = rig.both(make)
        assert value == ((0, 0o640, 28, []), 1, b"Written before it had a name"), value
        assert read_file(rig.host("named")) == b"Written before it had a name"
        assert os.stat(rig.guest("named")).st_ino == os.stat(rig.host("named")).st_ino

        def by_empty_path(directory):
            descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
            calls.link_empty_path(descriptor, os.path.join(directory, "empty"))
            os.close(descriptor)
            return os.stat(os.path.join(directory, "empty")).st_nlink

        rig.both(by_empty_path)

        def exclusive(directory):
            descriptor = os.open(directory, os.O_TMPFILE | os.O_EXCL | os.O_RDWR, 0o600)
            try:
                calls.link(descriptor, os.path.join(directory, "never"))
            finally:
                os.close(descriptor)

        rig.fails("ENOENT", exclusive)
        rig.fails("EINVAL", lambda directory: os.open(directory, os.O_TMPFILE | os.O_RDONLY, 0o600))
        rig.fails("ENOTDIR", lambda d: os.open(os.path.join(d, "named"), os.O_TMPFILE | os.O_RDWR, 0o600))
        rig.same_tree()
        rig.end()


@case
def a_descriptor_is_opened_again_by_its_proc_name():
    for server in TWINS:
        rig = Twin(server)

        def again(directory):
            path = os.path.join(directory, "file")
            first = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            os.write(first, b"0123456789")
            pinned = os.open(path, os.O_PATH)
            values = []
            os.rename(path, path + "2")
            for descriptor in (first, pinned):
                second = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
                values.append((os.read(second, 4), os.lseek(second, 0, os.SEEK_CUR)))
                os.pwrite(second, b"x", 9)
                os.close(second)
            os.unlink(path + "2")
            for descriptor in (first, pinned):
                second = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
                values.append((os.read(second, 20), os.fstat(second).st_nlink))
                os.close(second)
            os.close(first)
            os.close(pinned)
            return values

        rig.both(again)
        rig.end()


@case
def a_path_descriptor_does_what_it_may():
    for server in TWINS:
        rig = Twin(server)
        rig.both(_prepare)

        def use(directory):
            values = []
            pinned = os.open(os.path.join(directory, "file"), os.O_PATH)
            for call in (lambda: os.read(pinned, 1), lambda: os.write(pinned, b"x"), lambda: os.fchmod(pinned, 0o600),
                         lambda: os.ftruncate(pinned, 0), lambda: mmap.mmap(pinned, 1)):
                try:
                    values.append(call())
                except OSError as error:
                    values.append(error.errno)
            values.append(os.fstat(pinned).st_size)
            os.close(pinned)
            folder = os.open(os.path.join(directory, "dir"), os.O_PATH)
            os.mkdir("below", dir_fd=folder)
            os.fchdir(folder)
            values.append(os.listdir("."))
            os.chdir("/")
            os.close(folder)
            linked = os.open(os.path.join(directory, "link"), os.O_PATH | os.O_NOFOLLOW)
            values.append(os.readlink("", dir_fd=linked))
            os.close(linked)
            return values

        rig.both(use)
        rig.end()


@case
def direct_and_synchronous_writes_are_on_the_host_at_once():
    for server in TWINS:
        rig = Twin(server)
        for flags in (os.O_DIRECT, os.O_SYNC, os.O_DSYNC, 0):
            descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_RDWR | os.O_TRUNC | flags, 0o600)
            with mmap.mmap(-1, 8192) as block:
                block[:] = b"d" * 8192
                assert os.write(descriptor, block) == 8192
                assert read_file(rig.host("file")) == b"d" * 8192
                assert os.pwrite(descriptor, memoryview(block)[:4096], 16384) == 4096
                seen = os.stat(rig.host("file"))
                assert seen.st_size == 20480 and os.fstat(descriptor).st_size == 20480
                assert os.preadv(descriptor, [block], 4096) == 8192
                assert block[:] == b"d" * 4096 + b"\0" * 4096
            os.close(descriptor)
        # What another program wrote with O_DIRECT is what a reader by way of the page cache finds, and the reverse.
        buffered = os.open(rig.guest("file"), os.O_RDWR)
        assert os.pread(buffered, 4, 0) == b"dddd"
        direct = os.open(rig.guest("file"), os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(-1, 4096) as block:
            block[:] = b"e" * 4096
            assert os.pwrite(direct, block, 0) == 4096
            assert os.pread(buffered, 4, 0) == b"eeee"
            os.pwrite(buffered, b"f" * 4096, 0)
            assert os.preadv(direct, [block], 0) == 4096
            assert block[:4] == b"ffff"
        os.close(direct)
        os.close(buffered)
        rig.end()


@case
def appending_goes_to_the_end_whatever_the_position_is():
    for server in TWINS:
        rig = Twin(server)

        def append(directory):
            path = os.path.join(directory, "log")
            first = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            second = os.open(path, os.O_WRONLY | os.O_APPEND)
            other = os.open(path, os.O_RDWR)
            os.write(first, b"1")
            os.write(second, b"22")
            os.lseek(first, 0, os.SEEK_SET)
            os.write(first, b"333")
            os.pwrite(other, b"X", 0)
            position = os.lseek(first, 0, os.SEEK_CUR)
            os.pwrite(first, b"4", 0)
            os.ftruncate(other, 2)
            os.write(second, b"5")
            values = (position, os.lseek(second, 0, os.SEEK_CUR), os.fstat(first).st_size, os.pread(other, 99, 0))
            for descriptor in (first, second, other):
                os.close(descriptor)
            return values

        assert rig.both(append)[3] == b"X25"
        # The host appends in between.
        descriptor = os.open(rig.guest("log"), os.O_WRONLY | os.O_APPEND)
        with open(rig.host("log"), "ab") as file:
            file.write(b"host")
        os.write(descriptor, b"guest")
        os.close(descriptor)
        assert read_file(rig.host("log")) == b"X25hostguest"
        rig.end()


run()
