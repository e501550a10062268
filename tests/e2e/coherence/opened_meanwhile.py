#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Contents of small files come along when a file is opened, ahead of any read: by whatever way the file is changed while
others open it, what came never stays in place of what is there.
"""
import contextlib
import mmap
import os
import threading

from lib import Rig, case, read_file, run, wait_for

ROUNDS = int(os.environ.get("BINDSHARE_ROUNDS", "400"))
READERS = 3


def _content(number):
    return f"{number:06}-".encode() * (1 + number * 37 % 1500)


def _with(path, flags, content):
    descriptor = os.open(path, flags, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _mapped(path, content):
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, len(content))
        with mmap.mmap(descriptor, len(content)) as memory:
            memory[:] = content
            memory.flush()
    finally:
        os.close(descriptor)


def _renamed(path, content):
    _with(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, content)
    os.rename(path + "~", path)


def _by_path(path, content):
    os.truncate(path, 0)
    _with(path, os.O_WRONLY, content)


WAYS = (lambda path, content: _with(path, os.O_WRONLY | os.O_TRUNC, content),
        lambda path, content: _with(path, os.O_RDWR | os.O_TRUNC, content),
        lambda path, content: _with(path, os.O_WRONLY | os.O_TRUNC | os.O_APPEND, content),
        _mapped, _renamed, _by_path)


@contextlib.contextmanager
def _read_meanwhile(path):
    """Others open the file and read it, over and over."""
    over = threading.Event()

    def read():
        while not over.is_set():
            read_file(path)

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        over.set()
        for reader in readers:
            reader.join()


@case
def who_writes_while_others_open_the_file_reads_what_he_wrote():
    for options in ((), ("io_uring=no",)):
        rig = Rig(*options)
        rig.fill("file", _content(0))
        with _read_meanwhile(rig.guest("file")):
            for number in range(1, ROUNDS):
                content = _content(number)
                WAYS[number % len(WAYS)](rig.guest("file"), content)
                for _ in range(2):
                    seen = read_file(rig.guest("file"))
                    assert seen == content, (number, number % len(WAYS), seen[:8], len(seen), len(content))
                assert os.stat(rig.guest("file")).st_size == len(content), number
        assert read_file(rig.host("file")) == _content(ROUNDS - 1)
        rig.end()


@case
def what_the_host_writes_is_read_soon_whoever_opens_the_file_meanwhile():
    rig = Rig()
    rig.fill("file", _content(0))
    with _read_meanwhile(rig.guest("file")):
        for number in range(1, ROUNDS // 4):
            content = _content(number)
            _with(rig.host("file"), os.O_WRONLY | os.O_TRUNC, content)
            wait_for(lambda content=content: read_file(rig.guest("file")) == content, number, 5, 0.001)
            assert read_file(rig.guest("file")) == content, number
    rig.end()


run(170)
