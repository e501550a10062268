#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many system calls the server makes for an operation. Times are noisy; counts are not."""
import os
import re
import time

from lib import Rig, case, run
from lib.trace import calls_of

TIMES = 50
LOOKS = ("statx", "newfstatat", "openat2", "close", "flistxattr", "listxattr", "listxattrat", "getxattrat", "fgetxattr")
# strace has no name yet for system calls that are younger than it.
YOUNG = ("?listxattrat", "?getxattrat")


def _calls(rig, work, *names):
    """For one round of work, whose argument is its number; and the calls themselves."""
    wanted = [*(name for name in LOOKS if name not in ("listxattrat", "getxattrat")), *YOUNG, *names]
    with calls_of(rig.server.worker(), *wanted) as calls:
        for number in range(TIMES):
            work(number)
        time.sleep(0.1)  # what goes to the server without a reply
    print(f"# {dict(calls.counts)} for {TIMES} rounds")
    return {name: count / TIMES for name, count in calls.counts.items()}, calls.lines


def _directory(rig):
    """A directory that the server knows and has open."""
    path = rig.guest("dir")
    os.mkdir(path)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


@case
def a_rename_in_one_directory_looks_at_it_once():
    rig = Rig()
    directory = _directory(rig)
    os.close(os.open("0", os.O_CREAT | os.O_WRONLY, dir_fd=directory))

    def rename(number):
        os.rename(str(number), str(number + 1), src_dir_fd=directory, dst_dir_fd=directory)
    calls, _ = _calls(rig, rename, "renameat", "renameat2")
    # RENAME: the place of the directory, both names, the file afterwards, the directory. Two more for look-ups.
    assert calls["statx"] < 7.5, calls
    assert calls.get("flistxattr", 0) < 0.5 and calls.get("listxattr", 0) < 0.5, calls
    assert os.listdir(rig.host("dir")) == [str(TIMES)]
    os.close(directory)


@case
def a_new_file_is_looked_at_once():
    rig = Rig()
    directory = _directory(rig)

    def create(number):
        os.close(os.open(str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=directory))
    calls, _ = _calls(rig, create)
    # LOOKUP: the name. CREATE: the place of the directory, the directory, the file.
    assert calls["statx"] < 4.5, calls
    assert calls["openat2"] < 1.5, calls
    assert calls.get("flistxattr", 0) < 0.5 and calls.get("listxattr", 0) < 0.5, calls
    assert len(os.listdir(rig.host("dir"))) == TIMES
    os.close(directory)


@case
def an_attribute_of_a_file_that_was_just_made_is_seen():
    """The server does not look for it when it makes the file."""
    rig = Rig()
    directory = _directory(rig)
    for number in range(TIMES):
        os.close(os.open(str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=directory))
        os.setxattr(rig.host(f"dir/{number}"), "user.a", b"1")
        time.sleep(0.05)
        assert os.listxattr(rig.guest(f"dir/{number}")) == ["user.a"], number
    os.close(directory)


@case
def a_file_is_opened_to_be_checked_and_used_at_once():
    rig = Rig()
    os.mkdir(rig.host("dir"))
    for number in range(TIMES):
        rig.fill(f"dir/{number}", b"content")
    assert len(os.listdir(rig.guest("dir"))) == TIMES
    names = [rig.guest(f"dir/{number}") for number in range(TIMES)]
    for name in names:
        os.stat(name)

    def read(number):
        with open(names[number], "rb", buffering=0) as file:
            assert file.read(100) == b"content"
    calls, _ = _calls(rig, read)
    assert calls["openat2"] < 1.5, calls
    assert calls.get("close", 0) < 0.5, calls


@case
def a_request_is_received_by_one_call():
    rig = Rig()
    directory = _directory(rig)
    calls, lines = _calls(rig, lambda number: os.mkdir(str(number), dir_fd=directory), "recvmsg", "poll", "ppoll")
    # Or recv, by which a lane looks before it sleeps.
    assert calls["recvmsg"] > 0, calls
    # Of one descriptor, without a limit: what an idle lane would do. Others have several, or a limit.
    polls = [line for line in lines if re.search(r"poll\(\[.*\], 1, (NULL|-1)", line)]
    assert len(polls) < TIMES / 10, polls[:5]
    os.close(directory)


run(120)
