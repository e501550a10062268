#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host appends to a file all the time: as much of it as fstat(2) says can be read and mapped in the guest.

The kernel does not take attributes that it asked for before it was told that what it knows does not hold. fstat(2)
would show them, and reads and mappings would end where the file ended before.
"""
import mmap
import os
import random
import time

from lib import Rig, calls, case, run, write_file

SECONDS = 5
SIZE = 4 << 20
PAUSES = (0.0003, 0.001, 0.003, 0.01, 0.03)


def _append(path, seed):
    """In a process of its own; at a pace that is never the same. Ends with the given size."""
    pick = random.Random(seed)
    end = time.monotonic() + SECONDS
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    while time.monotonic() < end and os.fstat(descriptor).st_size < SIZE:
        os.write(descriptor, b"b" * pick.randrange(1, 9000))
        time.sleep(pick.choice(PAUSES))


def _begin(function, *arguments):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            os._exit(status)
    return child


def _while_it_grows(rig, look):
    """Calls look() until the host is done with the file. Returns how often."""
    write_file(rig.host("file"), b"a" * 100)
    writer = _begin(_append, rig.host("file"), 1)
    looks = 0
    while os.waitpid(writer, os.WNOHANG)[0] == 0:
        look()
        looks += 1
    return looks


def _read(descriptor):
    size = os.fstat(descriptor).st_size
    length = len(os.pread(descriptor, SIZE * 2, 0))
    assert length >= size, f"fstat says {size} bytes, read gives {length}"


def _map_some(path):
    """Touches the last byte; what cannot be had is SIGBUS."""
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(20):
        size = os.fstat(descriptor).st_size
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
            assert mapped[size - 1] in b"ab", "a byte that nobody wrote"
        time.sleep(0.0005)
    os.close(descriptor)


def _opened_and_read(options):
    rig = Rig(options)

    def look():
        descriptor = os.open(rig.guest("file"), os.O_RDONLY)
        try:
            _read(descriptor)
        finally:
            os.close(descriptor)

    print(f"# {_while_it_grows(rig, look)} looks")
    rig.end()


def _read_while_open(options):
    rig = Rig(options)
    write_file(rig.host("file"), b"a" * 100)
    kept = os.open(rig.guest("file"), os.O_RDONLY)
    print(f"# {_while_it_grows(rig, lambda: _read(kept))} looks")
    os.close(kept)
    rig.end()


def _mapped(options):
    rig = Rig(options)

    def look():
        status = os.waitstatus_to_exitcode(os.waitpid(_begin(_map_some, rig.guest("file")), 0)[1])
        assert status == 0, f"a process that maps the file ended with {status}"

    print(f"# {_while_it_grows(rig, look)} times 20 looks")
    rig.end()


def _contents_from_before(options):
    rig = Rig(options)
    rig.fill("file", b"a" * 100)
    for number in range(20):
        descriptor = os.open(rig.guest("file"), os.O_RDONLY)
        with open(rig.host("file"), "ab", buffering=0) as file:
            file.write(b"b" * (number + 1))
        size = calls.statx("", calls.AT_EMPTY_PATH | calls.AT_STATX_FORCE_SYNC, descriptor=descriptor).size
        assert size == os.stat(rig.host("file")).st_size
        _read(descriptor)
        os.close(descriptor)
    rig.end()


@case
def contents_that_came_with_open_are_not_read_once_another_size_is_known():
    _contents_from_before("")


@case
def contents_that_came_with_open_are_not_read_once_another_size_is_known_with_a_time_limit():
    _contents_from_before("cache=timeout")


@case
def a_file_that_grows_is_opened_and_read_as_long_as_fstat_says():
    _opened_and_read("")


@case
def a_file_that_grows_is_opened_and_read_as_long_as_fstat_says_with_a_time_limit():
    _opened_and_read("cache=timeout")


@case
def a_file_that_grows_is_read_while_open_as_long_as_fstat_says():
    _read_while_open("")


@case
def a_file_that_grows_is_read_while_open_as_long_as_fstat_says_with_a_time_limit():
    _read_while_open("cache=timeout")


@case
def a_file_that_grows_can_be_mapped_as_long_as_fstat_says():
    _mapped("")


@case
def a_file_that_grows_can_be_mapped_as_long_as_fstat_says_with_a_time_limit():
    _mapped("cache=timeout")


run(120)
