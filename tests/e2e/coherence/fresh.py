#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A file that is opened after a write shows what was written, whoever else has it open."""
import ctypes
import mmap
import os
import struct
import threading
import time

from lib import Rig, case, run

SECONDS = int(os.environ.get("BINDSHARE_SECONDS", "6"))
SIZE = 128 * 1024
_libc = ctypes.CDLL(None, use_errno=True)
_AIO = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[os.uname().machine]  # io_setup, io_submit, io_getevents


def _numbered(number):
    return struct.pack("<Q", number) * (SIZE // 8)


def _children(count, function):
    pids = []
    for index in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if function(index) else 1
            finally:
                os._exit(code)
        pids.append(pid)
    return pids


@case
def eight_readers_never_read_what_was_there_before_they_opened():
    """The host writes in place, and says so when the call has returned."""
    rig = Rig()
    rig.fill("file", _numbered(0))
    shared = mmap.mmap(-1, 4096)  # the number that was written last
    deadline = time.monotonic() + SECONDS

    def read(_index):
        while time.monotonic() < deadline:
            least = struct.unpack_from("<Q", shared, 0)[0]
            with open(rig.guest("file"), "rb", buffering=0) as file:
                content = file.read(SIZE)
            seen = min(struct.unpack_from("<Q", content, at)[0] for at in (0, SIZE // 2, SIZE - 8))
            if seen < least:
                print(f"# read {seen} after {least} was written", flush=True)
                return False
        return True

    pids = _children(8, read)
    number = 0
    with open(rig.host("file"), "r+b", buffering=0) as file:
        while time.monotonic() < deadline:
            number += 1
            os.pwrite(file.fileno(), _numbered(number), 0)
            struct.pack_into("<Q", shared, 0, number)
            time.sleep(0.0005)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    assert codes == [0] * 8, codes
    rig.end()


class _Control(ctypes.Structure):
    """struct iocb of linux/aio_abi.h"""
    _fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("flags", ctypes.c_uint32),
                ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16), ("descriptor", ctypes.c_uint32),
                ("buffer", ctypes.c_uint64), ("bytes", ctypes.c_uint64), ("offset", ctypes.c_int64),
                ("reserved", ctypes.c_uint64), ("more", ctypes.c_uint32), ("event", ctypes.c_uint32)]


class _Writer:
    """Writes asynchronously and around the page cache."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, SIZE)
        self.context = ctypes.c_ulong(0)
        assert _libc.syscall(_AIO[0], 8, ctypes.byref(self.context)) == 0, ctypes.get_errno()

    def write(self, number):
        self.buffer[:] = _numbered(number)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        control = _Control(opcode=1, descriptor=self.descriptor, buffer=address, bytes=SIZE)
        pointers = (ctypes.POINTER(_Control) * 1)(ctypes.pointer(control))
        event = (ctypes.c_int64 * 4)()
        assert _libc.syscall(_AIO[1], self.context, ctypes.c_long(1), pointers) == 1, ctypes.get_errno()
        assert _libc.syscall(_AIO[2], self.context, ctypes.c_long(1), ctypes.c_long(1), event, None) == 1
        assert event[2] == SIZE, event[2]


@case
def buffered_readers_see_what_was_written_asynchronously_around_the_cache():
    """As xfstests' generic/451: within the guest, one file open for both."""
    rig = Rig()
    rig.fill("file", _numbered(0))
    stop = threading.Event()
    descriptor = os.open(rig.guest("file"), os.O_RDONLY)

    def read():
        while not stop.is_set():
            os.pread(descriptor, SIZE, 0)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    wrong, number = [], 0
    try:
        writer = _Writer(rig.guest("file"))
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            number += 1
            writer.write(number)
            if os.pread(descriptor, SIZE, 0) != _numbered(number):
                wrong.append(number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, f"{len(wrong)} of {number} reads were of old pages"
    os.close(descriptor)
    os.close(writer.descriptor)
    rig.end()


run()
