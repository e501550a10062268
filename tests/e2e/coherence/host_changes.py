#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the host changes is seen in the guest within a second, the guest's own changes at once."""
import errno
import mmap
import os
import threading
import time

from lib import Rig, case, expect_errno, read_file, run, wait_for, write_file

# The promise is one second; the rest is for a busy machine.
SOON = 2.0


def _exists(path):
    try:
        os.lstat(path)
        return True
    except FileNotFoundError:
        return False


@case
def a_file_that_the_host_makes_appears():
    rig = Rig()
    assert not _exists(rig.guest("late"))
    rig.fill("late", "x")
    wait_for(lambda: _exists(rig.guest("late")), "the new file is seen", SOON)
    assert "late" in os.listdir(rig.guest())


@case
def a_file_that_the_host_removes_disappears():
    rig = Rig()
    rig.fill("file", "x")
    assert _exists(rig.guest("file"))
    os.unlink(rig.host("file"))
    wait_for(lambda: not _exists(rig.guest("file")), "the file is gone", SOON)
    assert os.listdir(rig.guest()) == []
    expect_errno(errno.ENOENT, os.open, rig.guest("file"), os.O_RDONLY)


@case
def new_content_of_the_same_size_is_read():
    rig = Rig()
    rig.fill("file", "old content")
    assert read_file(rig.guest("file")) == b"old content"
    time.sleep(0.02)
    rig.fill("file", "new content")
    wait_for(lambda: read_file(rig.guest("file")) == b"new content", "the new content is read", SOON)


@case
def a_file_that_grows_and_shrinks_is_never_torn():
    rig = Rig()
    rig.fill("file", b"a" * 10000)
    stop = threading.Event()
    problems = []

    def read():
        while not stop.is_set():
            content = read_file(rig.guest("file"))
            if content.strip(b"a") and content.strip(b"b"):
                problems.append(content[:40])
            if b"\0" in content:
                problems.append("zeroes")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for size, letter in ((20000, b"b"), (300, b"a"), (70000, b"b"), (5, b"a")):
            write_file(rig.host("next"), letter * size)
            os.rename(rig.host("next"), rig.host("file"))
            wait_for(lambda size=size: os.stat(rig.guest("file")).st_size == size, "the new size", SOON)
            wait_for(lambda size=size, letter=letter: read_file(rig.guest("file")) == letter * size,
                     "the new content", SOON)
    finally:
        stop.set()
        thread.join()
    assert not problems, problems


@case
def a_rename_on_the_host_is_seen():
    rig = Rig()
    os.mkdir(rig.host("old"))
    write_file(rig.host("old/file"), "x")
    assert _exists(rig.guest("old/file"))
    os.rename(rig.host("old"), rig.host("new"))
    wait_for(lambda: _exists(rig.guest("new/file")) and not _exists(rig.guest("old")), "the rename", SOON)


@case
def a_new_mode_is_seen():
    rig = Rig()
    rig.fill("file", "x")
    assert os.stat(rig.guest("file")).st_mode & 0o777 == 0o644
    os.chmod(rig.host("file"), 0o600)
    wait_for(lambda: os.stat(rig.guest("file")).st_mode & 0o777 == 0o600, "the new mode", SOON)


@case
def an_atomic_save_by_the_host_leaves_an_open_file_as_it_was():
    rig = Rig()
    rig.fill("file", b"old" * 5000)
    with open(rig.guest("file"), "rb") as file:
        content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        assert content[:3] == b"old"
        rig.fill("file.tmp", b"new!" * 100)
        os.rename(rig.host("file.tmp"), rig.host("file"))
        wait_for(lambda: read_file(rig.guest("file")) == b"new!" * 100, "the new file under the name", SOON)
        assert content[12000:12003] == b"old"
        assert file.read() == b"old" * 5000


@case
def own_changes_are_seen_at_once():
    rig = Rig()
    for number in range(50):
        with open(rig.guest("file"), "wb") as file:
            file.write(b"x" * number)
        assert os.stat(rig.guest("file")).st_size == number
        assert os.stat(rig.host("file")).st_size == number
        os.rename(rig.guest("file"), rig.guest("other"))
        assert os.listdir(rig.guest()) == ["other"]
        assert not _exists(rig.guest("file"))
        os.rename(rig.guest("other"), rig.guest("file"))


@case
def own_changes_are_seen_in_a_listing_with_attributes():
    rig = Rig()
    for number in range(200):
        rig.fill(f"f{number:03}", "x")
    for number in range(0, 200, 7):
        with os.scandir(rig.guest()) as listing:
            first = next(listing)
            os.truncate(rig.guest("f150"), number + 2)
            rest = {entry.name: entry.stat().st_size for entry in listing}
        if first.name != "f150":
            assert rest["f150"] == number + 2, (number, rest["f150"])


@case
def without_a_cache_changes_are_seen_at_once():
    rig = Rig("cache=none")
    rig.fill("file", "1")
    for number in range(2, 30):
        assert read_file(rig.guest("file")) == b"1" * (number - 1)
        rig.fill("file", "1" * number)
        assert os.stat(rig.guest("file")).st_size == number
    assert not _exists(rig.guest("late"))
    rig.fill("late", "x")
    assert _exists(rig.guest("late"))


run()
