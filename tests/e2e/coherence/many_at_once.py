#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Many processes in one place: nothing is lost, nothing is torn, and both sides end with the same tree.

BINDSHARE_SECONDS is how long the storms last (docs/TESTING.md).
"""
import mmap
import os
import random
import signal
import sys
import threading
import time
import traceback

from lib import GID, Mount, Rig, UID, case, read_file, run, skip, wait_for, world, write_file

SECONDS = float(os.environ.get("BINDSHARE_SECONDS", "4"))
SOON = 2.0


def _together(functions):
    """Each function in a process of its own; all must end well."""
    children = []
    for number, function in enumerate(functions):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                function(number)
                code = 0
            except BaseException:  # whatever it is, this process ends here
                traceback.print_exc(file=sys.stdout)
                sys.stdout.flush()
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), codes


def _tree(path):
    """Everything that can be seen of a tree: names, sizes, contents."""
    found = {}
    for where, directories, files in os.walk(path):
        for name in directories:
            found[os.path.relpath(os.path.join(where, name), path)] = "directory"
        for name in files:
            whole = os.path.join(where, name)
            content = read_file(whole)
            assert len(content) == os.stat(whole).st_size, whole
            found[os.path.relpath(whole, path)] = content
    return found


def _storm(directory, number):
    """Creates, appends, renames, removes; names are shared by all, so that anything may be gone already."""
    chance = random.Random(number)
    deadline = time.monotonic() + SECONDS
    log = os.open(f"{directory}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    lines = 0
    while time.monotonic() < deadline:
        name = f"{directory}/n{chance.randrange(40)}"
        other = f"{directory}/n{chance.randrange(40)}"
        try:
            what = chance.randrange(8)
            if what < 2:
                with open(name, "wb") as file:
                    file.write(b"x" * chance.randrange(10000))
            elif what == 2:
                os.rename(name, other)
            elif what == 3:
                os.unlink(name)
            elif what == 4:
                os.link(name, other)
            elif what == 5:
                with open(name, "ab") as file:
                    file.write(b"more")
            elif what == 6:
                os.mkdir(f"{directory}/d{number}.{lines}")
                os.rename(f"{directory}/d{number}.{lines}", f"{directory}/e{number}.{lines}")
                os.rmdir(f"{directory}/e{number}.{lines}")
            else:
                os.listdir(directory)
        except (FileNotFoundError, FileExistsError):
            pass
        line = f"{number} {lines} {'.' * chance.randrange(300)}\n".encode()
        assert os.write(log, line) == len(line)
        lines += 1
    os.close(log)
    with open(f"{directory}/own{number}", "w", encoding="ascii") as file:
        file.write(str(lines))


def _check_log(content, counts):
    assert content.endswith(b"\n")
    nexts = dict.fromkeys(counts, 0)
    for line in content[:-1].split(b"\n"):
        parts = line.split(b" ")
        assert len(parts) == 3 and not parts[2].strip(b"."), f"torn: {line[:80]!r}"
        number, count = int(parts[0]), int(parts[1])
        assert nexts[number] == count, f"process {number}: line {count} instead of {nexts[number]}"
        nexts[number] += 1
    assert nexts == counts, "lines are lost"


def _storm_on(rig, directories):
    os.mkdir(rig.host("storm"))
    os.chown(rig.host("storm"), UID, GID)
    wait_for(lambda: os.path.isdir(rig.guest("storm")), "the directory", SOON)
    _together([lambda n, d=d: _storm(d, n) for d in directories])
    time.sleep(1.1)
    counts = {n: int(read_file(rig.host(f"storm/own{n}"))) for n in range(len(directories))}
    _check_log(read_file(rig.host("storm/log")), counts)
    _check_log(read_file(rig.guest("storm/log")), counts)
    on_host = _tree(rig.host("storm"))
    for directory in set(directories):
        assert _tree(directory) == on_host
    for path in on_host:
        inside, outside = os.stat(rig.guest(f"storm/{path}")), os.stat(rig.host(f"storm/{path}"))
        assert (inside.st_size, inside.st_nlink, inside.st_mtime_ns) == (
            outside.st_size, outside.st_nlink, outside.st_mtime_ns), path
    assert rig.server.alive() and len(rig.server.workers()) >= 1


@case
def sixteen_processes_in_one_directory_end_with_the_same_tree_on_both_sides():
    rig = Rig()
    _storm_on(rig, [rig.guest("storm")] * 16)
    rig.end()


@case
def sixteen_processes_end_with_the_same_tree_also_when_the_server_has_few_descriptors():
    rig = Rig(server_arguments=("--descriptors", "128"))
    _storm_on(rig, [rig.guest("storm")] * 16)
    rig.end()


@case
def sixteen_processes_on_two_mounts_of_one_share_end_with_the_same_tree():
    rig = Rig()
    second = Mount(rig.server, rig.share)
    _storm_on(rig, [rig.guest("storm"), second / "storm"] * 8)


@case
def processes_of_guest_and_host_in_one_directory_end_with_the_same_tree():
    if world.AGENT:
        skip("the host's processes would work through another file system of the guest's")
    rig = Rig()

    def on_host(number):
        os.setgid(GID)
        os.setuid(UID)
        _storm(rig.host("storm"), number)

    os.mkdir(rig.host("storm"))
    os.chown(rig.host("storm"), UID, GID)
    wait_for(lambda: os.path.isdir(rig.guest("storm")), "the directory", SOON)
    _together([lambda n: _storm(rig.guest("storm"), n)] * 8 + [on_host] * 4)
    time.sleep(1.1)
    counts = {n: int(read_file(rig.host(f"storm/own{n}"))) for n in range(12)}
    _check_log(read_file(rig.host("storm/log")), counts)
    assert _tree(rig.guest("storm")) == _tree(rig.host("storm"))


@case
def truncation_meets_mappings_and_writes():
    rig = Rig()
    path = rig.guest("file")
    page = 4096
    write_file(path, b"\0" * 16 * page, owner=(0, 0))

    def mapper(_number):
        # A page behind the end is SIGBUS here and on a local disk; the test is what is written, not that.
        signal.signal(signal.SIGBUS, lambda *_: os._exit(0))
        deadline = time.monotonic() + SECONDS / 2
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8 * page) as mapped:
            while time.monotonic() < deadline:
                for at in range(8):
                    mapped[at * page:at * page + 4] = b"mmap"
                mapped.flush()

    def writer(_number):
        deadline = time.monotonic() + SECONDS / 2
        descriptor = os.open(path, os.O_RDWR)
        while time.monotonic() < deadline:
            for at in range(8, 16):
                assert os.pwrite(descriptor, b"write", at * page) == 5

    def truncater(_number):
        deadline = time.monotonic() + SECONDS / 2
        while time.monotonic() < deadline:
            os.truncate(path, 9 * page + 17)
            os.truncate(path, 16 * page)

    _together([mapper, writer, truncater, truncater])
    with open(path, "r+b", buffering=0) as file:
        for at in range(8, 16):
            os.pwrite(file.fileno(), b"final", at * page)
    content = read_file(path)
    assert content == read_file(rig.host("file"))
    assert len(content) == os.stat(path).st_size == 16 * page
    for at in range(8):
        assert content[at * page:at * page + 4] == b"mmap"
    for at in range(8, 16):
        assert content[at * page:at * page + 5] == b"final"
        assert not content[at * page + 5:at * page + page].strip(b"\0"), "bytes behind a truncation came back"


def _soon(condition, what):
    wait_for(condition, what, SOON)


@case
def two_mounts_of_one_share_see_each_other_within_a_second():
    rig = Rig()
    second = Mount(rig.server, rig.share)
    ways = ((rig.guest, lambda name: second / name), (lambda name: second / name, rig.guest))
    for number, (one, two) in enumerate(ways):
        name = f"file{number}"
        assert not os.path.exists(two(name))
        write_file(one(name), "first", owner=(0, 0))
        _soon(lambda: os.path.exists(two(name)), "a new file")
        assert read_file(two(name)) == b"first"
        write_file(one(name), "other", owner=(0, 0))
        _soon(lambda: read_file(two(name)) == b"other", "content of the same size")
        kept = os.open(two(name), os.O_RDONLY)
        with open(one(name), "ab") as file:
            file.write(b" and more")
        _soon(lambda: os.pread(kept, 100, 0) == b"other and more", "appended")
        os.chmod(one(name), 0o600)
        _soon(lambda: os.fstat(kept).st_mode & 0o777 == 0o600, "a mode")
        os.rename(one(name), one(name + ".new"))
        _soon(lambda: os.path.exists(two(name + ".new")) and not os.path.exists(two(name)), "a rename")
        os.mkdir(one(f"dir{number}"))
        _soon(lambda: os.path.isdir(two(f"dir{number}")), "a directory")
        write_file(two(f"dir{number}/inside"), "x", owner=(0, 0))
        _soon(lambda: os.listdir(one(f"dir{number}")) == ["inside"], "a file in it")
        os.unlink(one(name + ".new"))
        _soon(lambda: not os.path.exists(two(name + ".new")), "a removal")
        assert os.pread(kept, 100, 0) == b"other and more"
        os.close(kept)


@case
def host_and_guest_write_different_parts_of_one_file_and_lose_nothing():
    rig = Rig()
    for block, count in ((4096, 256), (1000, 400), (100_000, 20)):
        rig.fill("file", b"\0" * block * count)

        def write(path, first, size=block, number=count):
            descriptor = os.open(path, os.O_RDWR)
            for at in range(first, number, 2):
                assert os.pwrite(descriptor, bytes([1 + at % 255]) * size, at * size) == size
                if at % 7 == 0:
                    os.pread(descriptor, 3 * size, max(0, at - 1) * size)
            os.close(descriptor)

        threads = [threading.Thread(target=write, args=(rig.guest("file"), 0)),
                   threading.Thread(target=write, args=(rig.host("file"), 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = b"".join(bytes([1 + at % 255]) * block for at in range(count))
        assert read_file(rig.host("file")) == wanted, block
        assert read_file(rig.guest("file")) == wanted, block


@case
def lines_appended_from_both_sides_are_all_there():
    rig = Rig()
    rig.fill("log")

    def append(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        for number in range(2000):
            line = f"{path[-9:]} {number} {'=' * (number % 200)}\n".encode()
            assert os.write(descriptor, line) == len(line)
        os.close(descriptor)

    threads = [threading.Thread(target=append, args=(path,)) for path in (rig.guest("log"), rig.host("log"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = read_file(rig.host("log"))
    for path in (rig.guest("log"), rig.host("log")):
        for number in range(2000):
            assert f"{path[-9:]} {number} {'=' * (number % 200)}\n".encode() in content
    assert len(content.splitlines()) == 4000
    wait_for(lambda: read_file(rig.guest("log")) == content, "the guest reads the same", SOON)


run(60 + int(SECONDS * 8))
