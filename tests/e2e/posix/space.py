#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The reserve on the host's disk: nothing that the guest does reaches it; statfs says what is left for the guest."""
import errno
import os
import subprocess
import threading

from lib import GID, UID, Rig, calls, case, expect_errno, read_file, run, skip
from lib.world import case_directory

MIB = 1 << 20
SIZE = 96 * MIB
# What is left to the guest, after the host has filled the rest.
LEFT = 2 * MIB


def reserve_of(rig):
    """A twentieth is the most of a small file system: (bytes, inodes)."""
    seen = os.statvfs(rig.host())
    return seen.f_blocks // 20 * seen.f_frsize, seen.f_files // 50


def rig_on(kind):
    """A rig whose share is a file system of its own, of which all but LEFT is taken."""
    share = os.path.join(case_directory("host"), "share")
    os.mkdir(share)
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},nr_inodes=20000,uid={UID},gid={GID}", "tmpfs", share]
    else:
        image = share + ".img"
        with open(image, "wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-N", "8192", image], check=True)
        command = ["mount", "-o", "loop", image, share]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        skip("no loop devices here")
    rig = Rig(share=share)
    available = os.statvfs(share).f_bavail * os.statvfs(share).f_frsize
    with open(rig.host("filler"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, available - reserve_of(rig)[0] - LEFT)
    return rig


def left(rig):
    """How many bytes and inodes of the host's are free beyond the reserve."""
    seen, (size, inodes) = os.statvfs(rig.host()), reserve_of(rig)
    return seen.f_bavail * seen.f_frsize - size, seen.f_favail - inodes


def until_full(rig, what, change):
    """Calls change(number) until it says ENOSPC; the reserve is whole then, and little was left."""
    for number in range(20000):
        try:
            change(number)
        except OSError as error:
            assert error.errno == errno.ENOSPC, f"{what}: {error}"
            break
    else:
        raise AssertionError(f"{what}: never an end, {left(rig)} left")
    os.sync()
    size, inodes = left(rig)
    assert size >= 0 and inodes >= 0, f"{what}: the reserve lost {-size} bytes, {-inodes} inodes"
    return number


@case
def writing_ends_before_the_reserve_however_it_is_done():
    for kind in ("tmpfs", "ext4"):
        rig = rig_on(kind)
        with open(rig.guest("file"), "wb", buffering=0) as file:
            until_full(rig, "write", lambda _number: file.write(b"x" * 65536))
            assert left(rig)[0] < 128 * 1024, f"{kind}: {left(rig)} left"
            assert os.fstat(file.fileno()).st_size > LEFT - 128 * 1024
        os.unlink(rig.guest("file"))
        with open(rig.guest("file"), "wb", buffering=0) as file:
            done = file.write(b"x" * 4 * MIB)
            assert LEFT - 128 * 1024 < done <= LEFT, f"{kind}: {done}"
        assert left(rig)[0] >= 0
        os.unlink(rig.guest("file"))
        small = [0]

        def one(number):
            with open(rig.guest(f"small{number}"), "wb", buffering=0) as file:
                file.write(b"y" * 4096)
            small[0] += 1

        until_full(rig, "small files", one)
        assert small[0] > 100, small
        rig.end()


@case
def a_burst_of_many_files_at_once_does_not_reach_the_reserve():
    """Each was looked at for itself, every 200 ms."""
    for kind in ("tmpfs", "ext4"):
        rig = rig_on(kind)
        files = [open(rig.guest(f"file{number}"), "wb", buffering=0) for number in range(16)]

        def fill(file):
            try:
                while True:
                    file.write(b"z" * 256 * 1024)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

        for file in files:
            file.write(b"z")  # each has been looked at now
        threads = [threading.Thread(target=fill, args=(file,)) for file in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.sync()
        assert left(rig)[0] >= 0, f"{kind}: the reserve lost {-left(rig)[0]} bytes"
        for file in files:
            file.close()
        rig.end()


@case
def fallocate_counts_by_its_length():
    for kind in ("tmpfs", "ext4"):
        for mode in (0, calls.FALLOC_KEEP_SIZE, calls.FALLOC_ZERO_RANGE,
                     calls.FALLOC_ZERO_RANGE | calls.FALLOC_KEEP_SIZE):
            if kind == "tmpfs" and mode & calls.FALLOC_ZERO_RANGE:
                continue
            rig = rig_on(kind)
            descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_RDWR)
            expect_errno(errno.ENOSPC, calls.fallocate, descriptor, mode, 0, LEFT + 65536)
            assert left(rig)[0] > LEFT - 65536, "what failed has taken nothing"
            calls.fallocate(descriptor, mode, 0, LEFT - 128 * 1024)
            expect_errno(errno.ENOSPC, calls.fallocate, descriptor, mode, LEFT, LEFT)
            assert 0 <= left(rig)[0] < 256 * 1024, (kind, mode, left(rig))
            os.close(descriptor)
            rig.end()


@case
def many_allocations_at_a_time_do_not_reach_the_reserve():
    rig = rig_on("tmpfs")
    descriptors = [os.open(rig.guest(f"file{number}"), os.O_CREAT | os.O_RDWR) for number in range(32)]

    def allocate(descriptor):
        try:
            calls.fallocate(descriptor, 0, 0, LEFT - 65536)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error

    threads = [threading.Thread(target=allocate, args=(descriptor,)) for descriptor in descriptors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left(rig)[0] >= 0, left(rig)
    for descriptor in descriptors:
        os.close(descriptor)
    rig.end()


@case
def copying_ends_before_the_reserve():
    rig = rig_on("tmpfs")
    source, target = os.open(rig.host("filler"), os.O_RDONLY), os.open(rig.guest("copy"), os.O_CREAT | os.O_RDWR)
    os.close(source)
    source = os.open(rig.guest("filler"), os.O_RDONLY)

    def copy(number):
        assert os.copy_file_range(source, target, 4 * MIB, 0, number * 4 * MIB) > 0

    until_full(rig, "copy_file_range", copy)
    assert left(rig)[0] < MIB
    os.close(source)
    os.close(target)
    rig.end()


@case
def names_and_attributes_end_before_the_reserve():
    """Each takes a block here."""
    rig = rig_on("ext4")
    os.mkdir(rig.guest("dir"))
    for number in range(600):
        rig.fill(f"empty{number}")

    def at(what, number):
        return rig.guest(f"dir/{what}-{number:0200}")

    def some_room():
        subprocess.run(["find", rig.guest("dir"), "-name", "symlink-*0", "-delete"], check=True)

    for what, change, least in (
            ("symlink", lambda number: os.symlink("t" * 3000, at("symlink", number)), 100),
            ("mkdir", lambda number: os.mkdir(at("mkdir", number)), 20),
            ("setxattr", lambda number: os.setxattr(rig.guest(f"empty{number}"), "user.a", b"%05d" % number * 600), 1)):
        number = until_full(rig, what, change)
        assert number >= least, f"{what}: {number}"
        some_room()
    rig.end()


@case
def nothing_is_made_in_the_last_blocks():
    rig = rig_on("ext4")
    for name in ("links", "fifos"):
        os.mkdir(rig.guest(name))
    open(rig.guest("file"), "w").close()
    with open(rig.guest("more"), "wb", buffering=0) as file:
        until_full(rig, "write", lambda _number: file.write(b"x" * 65536))
        expect_errno(errno.ENOSPC, os.write, file.fileno(), b"x" * 65536)
    # Less is left than one name may take.
    with open(rig.host("filler2"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(left(rig)[0] - 8192, 1))
    for what, change in (("link", lambda: os.link(rig.guest("file"), rig.guest("links/a"))),
                         ("mkfifo", lambda: os.mkfifo(rig.guest("fifos/a"))),
                         ("mkdir", lambda: os.mkdir(rig.guest("new"))),
                         ("symlink", lambda: os.symlink("x", rig.guest("new"))),
                         ("creat", lambda: open(rig.guest("new"), "w").close()),
                         ("O_TMPFILE", lambda: os.open(rig.guest(), os.O_TMPFILE | os.O_WRONLY)),
                         ("chown", lambda: os.chown(rig.guest("links"), 3, 3))):
        try:
            change()
            raise AssertionError(f"{what} works, {left(rig)} left")
        except OSError as error:
            assert error.errno == errno.ENOSPC, f"{what}: {error}"
    # What takes no room goes on, what is there is opened and removed.
    os.close(os.open(rig.guest("file"), os.O_CREAT | os.O_WRONLY))
    os.rename(rig.guest("file"), rig.guest("renamed"))
    os.chmod(rig.guest("renamed"), 0o600)
    os.truncate(rig.guest("more"), 0)
    os.unlink(rig.guest("renamed"))
    os.mkdir(rig.guest("new"))
    rig.end()


@case
def inodes_have_a_reserve_too():
    for what, make in (("creat", lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY))),
                       ("mkdir", os.mkdir), ("symlink", lambda path: os.symlink("x", path)), ("mkfifo", os.mkfifo)):
        rig = rig_on("tmpfs")
        # The host leaves 300 of them.
        for number in range(left(rig)[1] - 300):
            os.close(os.open(rig.host(f"h{number}"), os.O_CREAT | os.O_WRONLY))
        number = until_full(rig, what, lambda number: make(rig.guest(f"{what}{number}")))
        assert 250 <= number <= 300, f"{what}: {number}"
        rig.end()


@case
def statfs_tells_what_the_guest_may_use():
    for kind in ("tmpfs", "ext4"):
        rig = rig_on(kind)
        seen = os.statvfs(rig.guest())
        assert abs(seen.f_bavail * seen.f_frsize - left(rig)[0]) <= 65536, (seen, left(rig))
        assert abs(seen.f_ffree - left(rig)[1]) <= 16, (seen, left(rig))
        assert seen.f_blocks == os.statvfs(rig.host()).f_blocks
        free = seen.f_bavail * seen.f_frsize
        with open(rig.guest("file"), "wb", buffering=0) as file:
            written = 0
            while written < free - 65536:
                written += file.write(b"x" * min(65536, free - 65536 - written))
        assert len(read_file(rig.host("file"))) == free - 65536
        with open(rig.guest("rest"), "wb", buffering=0) as file:
            until_full(rig, "the rest", lambda _number: file.write(b"x" * 4096))
        assert os.statvfs(rig.guest()).f_bavail == 0
        rig.end()


@case
def without_a_reserve_the_disk_is_the_guests():
    share = os.path.join(case_directory("host"), "share")
    os.mkdir(share)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,uid={UID},gid={GID}", "tmpfs", share], check=True)
    rig = Rig(share=share, server_arguments=["--disk-reserve", "0"])
    with open(rig.guest("file"), "wb", buffering=0) as file:
        assert file.write(b"x" * 8 * MIB) == 4 * MIB
    assert os.statvfs(rig.host()).f_bavail == os.statvfs(rig.guest()).f_bavail == 0
    rig.end()


run(180)
