#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which times each call changes, and that sizes and blocks are right at once."""
import mmap
import os
import socket
import time

from lib import TWINS, Rig, Twin, calls, case, read_file, run

PAUSE = 0.006  # longer than a tick of the kernel's clock
STAMPS = ("atime", "mtime", "ctime")


def _stamps(path):
    seen = calls.statx(path)
    return {name: getattr(seen, name) for name in STAMPS}


def _changed(paths, action):
    """Which times of each path action changes."""
    before = [_stamps(path) for path in paths]
    time.sleep(PAUSE)
    begin = time.time_ns()
    action()
    end = time.time_ns()
    time.sleep(PAUSE)
    result = []
    for path, old in zip(paths, before):
        new = _stamps(path)
        for name in STAMPS:
            if new[name] != old[name] and not begin - 20_000_000 <= new[name] <= end + 20_000_000:
                raise AssertionError(f"{path}: {name} {new[name]} is not the time of the change, {begin}")
        result.append([name for name in STAMPS if new[name] != old[name]])
    return result


def _prepare(directory):
    os.mkdir(f"{directory}/d")
    os.mkdir(f"{directory}/e")
    for name in ("f", "g", "d/inside", "gone", "moved", "replaced"):
        with open(f"{directory}/{name}", "wb") as file:
            file.write(b"content" * 1000)
    os.symlink("f", f"{directory}/link")
    os.mkdir(f"{directory}/d/sub")
    os.mkdir(f"{directory}/d/rmdir")


def _opened(path, flags, action):
    descriptor = os.open(path, flags, 0o644)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


def _bind(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


def _mapped(path):
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, 4096) as view:
        view[0] = 65
        view.flush()
    os.close(descriptor)


# name: [the objects to look at, the action]
ACTIONS = {
    "read": (["f"], lambda d: read_file(d + "/f")),
    "stat": (["f", "d"], lambda d: os.stat(d + "/f")),
    "open for writing": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda _: None)),
    "write": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: os.write(fd, b"x"))),
    "write of nothing": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: os.write(fd, b""))),
    "append": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x"))),
    "direct write": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY | os.O_DIRECT,
                                              lambda fd: os.writev(fd, [mmap.mmap(-1, 4096)]))),
    "mapping": (["f"], lambda d: _mapped(d + "/f")),
    "open with O_TRUNC": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY | os.O_TRUNC, lambda _: None)),
    "open with O_TRUNC of nothing": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY | os.O_TRUNC, lambda _: None)),
    "truncate to more": (["f"], lambda d: os.truncate(d + "/f", 99)),
    "truncate to the same": (["f"], lambda d: os.truncate(d + "/f", 99)),
    "truncate to less": (["f"], lambda d: os.truncate(d + "/f", 9)),
    "ftruncate to the same": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: os.ftruncate(fd, 9))),
    "ftruncate": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: os.ftruncate(fd, 99))),
    "fallocate": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: calls.fallocate(fd, 0, 0, 9999))),
    "fallocate keeping the size": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: calls.fallocate(
        fd, calls.FALLOC_KEEP_SIZE, 0, 99999))),
    "punching a hole": (["f"], lambda d: _opened(d + "/f", os.O_WRONLY, lambda fd: calls.fallocate(
        fd, calls.FALLOC_KEEP_SIZE | calls.FALLOC_PUNCH_HOLE, 0, 4096))),
    "chmod": (["f", "."], lambda d: os.chmod(d + "/f", 0o600)),
    "chmod to the same": (["f"], lambda d: os.chmod(d + "/f", 0o600)),
    "chmod of a directory": (["d", "."], lambda d: os.chmod(d + "/d", 0o750)),
    "chmod with a special bit": (["f"], lambda d: os.chmod(d + "/f", 0o4711)),
    "chmod with the same special bit": (["f"], lambda d: os.chmod(d + "/f", 0o4711)),
    "chown": (["f", "."], lambda d: os.chown(d + "/f", 5, 6)),
    "chown to the same": (["f"], lambda d: os.chown(d + "/f", 5, 6)),
    "chown to nothing": (["f"], lambda d: os.chown(d + "/f", -1, -1)),
    "chown back": (["f"], lambda d: os.chown(d + "/f", 0, 0)),
    "lchown": (["link", "f"], lambda d: os.lchown(d + "/link", 3, 4)),
    "utime": (["f", "."], lambda d: os.utime(d + "/f")),
    "utimensat of one": (["f"], lambda d: calls.utimes(d + "/f", (0, calls.UTIME_NOW), (0, calls.UTIME_OMIT))),
    "utimensat of the other": (["f"], lambda d: calls.utimes(d + "/f", (0, calls.UTIME_OMIT), (0, calls.UTIME_NOW))),
    "utimensat of none": (["f"], lambda d: calls.utimes(d + "/f", (0, calls.UTIME_OMIT), (0, calls.UTIME_OMIT))),
    "utimensat of a link": (["link", "f"], lambda d: calls.utimes(d + "/link", (0, calls.UTIME_NOW),
                                                                 (0, calls.UTIME_NOW), calls.AT_SYMLINK_NOFOLLOW)),
    "setxattr": (["f", "."], lambda d: os.setxattr(d + "/f", "user.x", b"1")),
    "getxattr": (["f"], lambda d: os.getxattr(d + "/f", "user.x")),
    "removexattr": (["f"], lambda d: os.removexattr(d + "/f", "user.x")),
    "link": (["f", ".", "d"], lambda d: os.link(d + "/f", d + "/d/hard")),
    "unlink of one name": (["f", "d"], lambda d: os.unlink(d + "/d/hard")),
    "rename": (["moved", "."], lambda d: (os.rename(d + "/moved", d + "/m2"), os.rename(d + "/m2", d + "/moved"))),
    "rename to elsewhere": ([".", "d", "e"], lambda d: os.rename(d + "/d/inside", d + "/e/inside")),
    "rename of a directory": ([".", "d", "e", "d/sub"], lambda d: (os.rename(d + "/d/sub", d + "/e/sub"),
                                                                  os.rename(d + "/e/sub", d + "/d/sub"))),
    "rename onto another": ([".", "g"], lambda d: os.rename(d + "/g", d + "/replaced") or os.rename(
        d + "/replaced", d + "/g")),
    "exchange": ([".", "f", "d"], lambda d: (calls.rename(d + "/f", d + "/d", 2), calls.rename(d + "/f", d + "/d", 2))),
    "unlink": ([".", "d"], lambda d: os.unlink(d + "/gone")),
    "mkdir": ([".", "d"], lambda d: os.mkdir(d + "/d/new")),
    "rmdir": ([".", "d"], lambda d: os.rmdir(d + "/d/rmdir")),
    "create": ([".", "d"], lambda d: _opened(d + "/d/created", os.O_CREAT | os.O_WRONLY, lambda _: None)),
    "open of a created one": (["d", "d/created"], lambda d: _opened(d + "/d/created", os.O_CREAT | os.O_WRONLY,
                                                                   lambda _: None)),
    "symlink": (["d"], lambda d: os.symlink("x", d + "/d/symlink")),
    "mkfifo": (["d"], lambda d: os.mkfifo(d + "/d/fifo")),
    "bind": (["d"], lambda d: _bind(d + "/d/socket")),
    "listing": (["d"], lambda d: os.listdir(d + "/d")),
    "readlink": (["link"], lambda d: os.readlink(d + "/link")),
    "nothing that fails": (["d", "f", "."], lambda d: [os.path.exists(d + "/none"), os.access(d + "/f", 1)]),
    "copy_file_range": (["f", "g"], lambda d: _opened(d + "/f", os.O_RDONLY, lambda one: _opened(
        d + "/g", os.O_WRONLY, lambda two: os.copy_file_range(one, two, 5)))),
}


@case
def each_call_changes_the_times_that_it_changes_locally():
    for server in TWINS:
        rig = Twin(server)
        rig.both(_prepare)
        problems = []
        for name, (objects, action) in ACTIONS.items():
            # atime depends on what was read before: see the case below.
            def attempt(directory, objects=objects, action=action):
                found = _changed([f"{directory}/{each}" for each in objects], lambda: action(directory))
                return [[each for each in stamps if each != "atime" or "utime" in name] for stamps in found]
            try:
                rig.both(attempt, what=name)
            except AssertionError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)
        rig.end()


@case
def a_failing_call_changes_no_time():
    for server in TWINS:
        rig = Twin(server)
        rig.both(_prepare)

        def fail(directory):
            def attempts():
                for call in ((os.mkdir, "d"), (os.rmdir, "d"), (os.unlink, "none"), (os.link, "f", "d"),
                             (os.rename, "f", "d"), (os.symlink, "x", "f"), (os.truncate, "d", 1),
                             (os.truncate, "f", -1), (os.open, "f", os.O_CREAT | os.O_EXCL), (os.removexattr, "f",
                                                                                             "user.none")):
                    try:
                        call[0](*[f"{directory}/{part}" if part != "user.none" and isinstance(part, str) else part
                                  for part in call[1:]])
                    except OSError:
                        continue
                    raise AssertionError(call)
            found = _changed([directory, directory + "/d", directory + "/f"], attempts)
            return [[each for each in stamps if each != "atime"] for stamps in found]

        assert rig.both(fail) == [[], [], []]
        rig.end()


@case
def times_of_a_new_object_are_now_and_those_of_its_birth():
    rig = Twin()
    for make in (lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY)), os.mkdir, lambda p: os.symlink("x", p),
                 os.mkfifo):
        begin = time.time_ns() - 20_000_000
        make(rig.guest("new"))
        seen = calls.statx(rig.guest("new"))
        for name in STAMPS + ("btime",):
            assert begin <= getattr(seen, name) <= time.time_ns() + 1_000_000, name
        outside = calls.statx(rig.host("new"))
        assert [getattr(seen, name) for name in STAMPS] == [getattr(outside, name) for name in STAMPS]
        os.rename(rig.guest("new"), rig.guest(f"old{begin}"))
    rig.end()


@case
def times_can_be_set_to_every_value_that_the_host_keeps():
    for server in TWINS:
        rig = Twin(server)
        rig.both(_prepare)

        def put(directory):
            values = []
            for seconds, nanoseconds in ((0, 0), (1, 1), (-1, 999_999_999), (-2_000_000_000, 5), (2 ** 31, 3),
                                         (2 ** 33, 999_999_999), (2 ** 40, 1), (-2 ** 40, 1), (5, 1_000_000_000),
                                         (5, -1)):
                for name, flags in (("f", 0), ("d", 0), ("link", calls.AT_SYMLINK_NOFOLLOW)):
                    path = f"{directory}/{name}"
                    try:
                        calls.utimes(path, (seconds, nanoseconds), (seconds + 1, nanoseconds), flags)
                        seen = calls.statx(path)
                        values.append((seen.atime, seen.mtime))
                    except OSError as error:
                        values.append(error.errno)
            descriptor = os.open(directory + "/f", os.O_RDONLY)
            calls.utimes(None, (7, 8), (9, 10), 0, descriptor)
            seen = calls.statx(directory + "/f")
            values.append((seen.atime, seen.mtime))
            os.close(descriptor)
            descriptor = os.open(directory + "/f", os.O_WRONLY)
            os.write(descriptor, b"then")
            calls.utimes(None, (7, 8), (9, 10), 0, descriptor)
            os.close(descriptor)
            values.append(calls.statx(directory + "/f").mtime)
            return values

        rig.both(put)
        for name in ("f", "d", "link"):
            outside, inside = calls.statx(rig.host(name)), calls.statx(rig.guest(name))
            assert (outside.mtime, outside.atime) == (inside.mtime, inside.atime), name
        rig.end()


@case
def a_write_after_setting_the_time_moves_it_again():
    """The order of write, close and utime is kept: tar and rsync set the time last."""
    rig = Rig()
    for number in range(20):
        path = rig.guest(f"f{number}")
        with open(path, "wb") as file:
            file.write(b"x" * 100_000)
            file.flush()
            os.utime(file.fileno(), ns=(10 ** 9, 2 * 10 ** 9))
        assert os.stat(path).st_mtime_ns == 2 * 10 ** 9 == os.stat(rig.host(f"f{number}")).st_mtime_ns
        with open(path, "ab") as file:
            file.write(b"y")
        assert os.stat(path).st_mtime_ns > 10 ** 18
    rig.end()


@case
def reading_moves_atime_as_the_hosts_file_system_does():
    rig = Rig()
    rig.fill("file", b"x" * 5000)
    os.utime(rig.host("file"), ns=(10 ** 9, 2 * 10 ** 9))
    assert read_file(rig.guest("file")) == b"x" * 5000
    time.sleep(1.1)  # attributes are kept for a second
    inside, outside = os.stat(rig.guest("file")), os.stat(rig.host("file"))
    assert inside.st_atime_ns == outside.st_atime_ns > 10 ** 18, (inside, outside)
    # O_NOATIME leaves it.
    os.utime(rig.guest("file"), ns=(10 ** 9, 2 * 10 ** 9))
    descriptor = os.open(rig.guest("file"), os.O_RDONLY | os.O_NOATIME)
    with open(rig.guest("other"), "wb") as file:
        file.write(os.read(descriptor, 9999))
    os.close(descriptor)
    time.sleep(1.1)
    assert os.stat(rig.guest("file")).st_atime_ns == 10 ** 9 == os.stat(rig.host("file")).st_atime_ns
    rig.end()


@case
def a_noatime_mount_leaves_the_hosts_atime_alone():
    for option, moves in (("noatime", False), ("relatime", True)):
        rig = Rig(option)
        rig.fill("file", b"x" * 5000)
        os.utime(rig.host("file"), ns=(10 ** 9, 2 * 10 ** 9))
        assert read_file(rig.guest("file")) == b"x" * 5000
        assert (os.stat(rig.host("file")).st_atime_ns != 10 ** 9) == moves, option
        rig.end()


@case
def size_and_blocks_are_right_at_once_on_both_sides():
    for server in TWINS:
        rig = Twin(server)
        descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_RDWR)
        size = 0

        def check():
            one, two, three = os.stat(rig.guest("file")), os.stat(rig.host("file")), os.fstat(descriptor)
            assert one.st_size == two.st_size == three.st_size == size, (one, two, size)
            assert one.st_blocks == two.st_blocks == three.st_blocks, (one, two)
            assert one.st_mtime_ns == two.st_mtime_ns and one.st_ctime_ns == two.st_ctime_ns, (one, two)

        for length in (1, 10, 4095, 4096, 5000, 100_000, 1 << 20, 3):
            os.write(descriptor, b"x" * length)
            size += length
            check()
        os.pwrite(descriptor, b"y", 9 << 20)
        size = (9 << 20) + 1
        check()
        os.ftruncate(descriptor, 777)
        size = 777
        check()
        calls.fallocate(descriptor, 0, 0, 1 << 20)
        size = 1 << 20
        check()
        calls.fallocate(descriptor, calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE, 0, 1 << 19)
        check()
        with mmap.mmap(descriptor, 1 << 20) as view:
            view[0] = 1
            view.flush()
            check()
        os.close(descriptor)
        with open(rig.host("file"), "ab") as file:
            file.write(b"from the host")
        size += 13
        time.sleep(1.1)
        descriptor = os.open(rig.guest("file"), os.O_RDONLY)
        check()
        os.close(descriptor)
        rig.end()


run()
