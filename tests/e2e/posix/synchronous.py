#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What must be on the disk when a call returns, checked by the system calls that the server makes."""
import ctypes
import errno
import mmap
import os

from lib import Rig, case, read_file, run, skip, wait_for
from lib.calls import FALLOC_PUNCH_HOLE, FALLOC_KEEP_SIZE, fallocate, link, rename, RENAME_EXCHANGE
from lib.trace import calls_of

SYNC = ("fsync", "fdatasync")
_libc = ctypes.CDLL(None, use_errno=True)


def synced(rig, body, kinds=SYNC):
    """How often the server brings something to the disk meanwhile, and what."""
    with calls_of(rig.server.worker(), *SYNC, "sync_file_range", "syncfs") as seen:
        body()
    return [line for line in seen.lines if any(f"{kind}(" in line for kind in kinds)]


def open_with(rig, flags, name="file"):
    return os.open(rig.guest(name), os.O_CREAT | flags, 0o644)


# How a file is opened: by way of the page cache, around it because it is only appended to, around it by O_DIRECT.
WAYS = (("cached", os.O_WRONLY), ("read and write", os.O_RDWR), ("appending", os.O_WRONLY | os.O_APPEND),
        ("appending and reading", os.O_RDWR | os.O_APPEND), ("direct", os.O_WRONLY | os.O_DIRECT),
        ("direct and appending", os.O_WRONLY | os.O_APPEND | os.O_DIRECT))


def page(fill=b"x"):
    """A page at a page's address, as O_DIRECT wants it."""
    memory = mmap.mmap(-1, 4096)
    memory[:] = fill * 4096
    return memory


@case
def rwf_sync_and_rwf_dsync_reach_the_disk_on_every_way():
    for options in ((), ("cache=none",)):
        rig = Rig(*options)
        for name, flags in WAYS:
            descriptor = open_with(rig, flags, name)
            for flag, wanted in ((os.RWF_DSYNC, SYNC), (os.RWF_SYNC, ("fsync",))):
                found = synced(rig, lambda: os.pwritev(descriptor, [page()], 0, flag), wanted)
                assert found, f"{name}, {options}, flag {flag}: nothing reaches the disk"
                assert all(f"/{name}>" in line for line in found), found
            assert not synced(rig, lambda: os.pwritev(descriptor, [page()], 0)), f"{name}: a plain write is synchronous"
            os.close(descriptor)
            assert read_file(rig.host(name)).strip(b"x") == b""
        rig.end()


def opened_synchronously(rig, name):
    """The server's descriptors of a file that are O_SYNC or O_DSYNC: the bits of each."""
    bits = []
    pid = rig.server.worker()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if not os.path.samefile(f"/proc/{pid}/fd/{number}", rig.host(name)):
                continue
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="utf-8") as file:
                flags = int(file.read().split("flags:")[1].split()[0], 8)
        except OSError:
            continue
        if flags & 0o10000000 == 0:  # O_PATH
            bits.append(flags & os.O_SYNC)
    return bits


@case
def o_sync_and_o_dsync_reach_the_servers_descriptor():
    rig = Rig()
    for name, flags in WAYS:
        for number, bits in enumerate((os.O_SYNC, os.O_DSYNC)):
            for again in (False, True):  # made by this open, and found by it
                path = f"{name}{number}"
                descriptor = os.open(rig.guest(path), os.O_CREAT | flags | bits, 0o644)
                assert opened_synchronously(rig, path) == [bits], (name, bits, again)
                assert os.pwrite(descriptor, page(), 0) == 4096
                os.close(descriptor)
                os.statvfs(rig.guest())  # what a close leaves goes with the next request
                wait_for(lambda: not opened_synchronously(rig, path), "the server closes the file")
    descriptor = os.open(rig.guest(), os.O_TMPFILE | os.O_WRONLY | os.O_SYNC, 0o600)
    link(descriptor, rig.guest("named"))
    assert opened_synchronously(rig, "named") == [os.O_SYNC]
    os.close(descriptor)
    rig.end()


@case
def fsync_fdatasync_and_msync_reach_the_disk():
    rig = Rig()
    descriptor = open_with(rig, os.O_RDWR)
    os.write(descriptor, b"x" * 8192)
    assert len(synced(rig, lambda: os.fsync(descriptor), ("fsync",))) == 1
    os.write(descriptor, b"x")
    assert len(synced(rig, lambda: os.fdatasync(descriptor), ("fdatasync",))) == 1
    memory = mmap.mmap(descriptor, 8192)
    memory[0] = ord("y")
    assert synced(rig, memory.flush), "msync"
    memory.close()
    assert read_file(rig.host("file"))[:1] == b"y"
    directory = os.open(rig.guest(), os.O_RDONLY)
    assert len(synced(rig, lambda: os.fsync(directory), ("fsync",))) == 1
    os.close(directory)
    os.close(descriptor)
    rig.end()


@case
def asynchronous_direct_writes_that_are_to_be_synchronous_are():
    """The kernel sends no FSYNC after these."""
    class Iocb(ctypes.Structure):
        _fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_uint32),
                    ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16), ("descriptor", ctypes.c_uint32),
                    ("buffer", ctypes.c_uint64), ("bytes", ctypes.c_uint64), ("offset", ctypes.c_int64),
                    ("reserved", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("event", ctypes.c_uint32)]

    setup, submit, getevents = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[os.uname().machine]
    context = ctypes.c_ulong(0)
    if _libc.syscall(setup, 4, ctypes.byref(context)) < 0:
        skip("no asynchronous I/O here: " + errno.errorcode[ctypes.get_errno()])
    rig = Rig()
    descriptor = open_with(rig, os.O_RDWR | os.O_DIRECT)
    os.pwrite(descriptor, page(), 0)  # a write that makes the file longer is not asynchronous
    memory = page(b"a")
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def write(flags):
        iocb = Iocb(rw_flags=flags, opcode=1, descriptor=descriptor, buffer=address, bytes=4096)
        pointer = ctypes.pointer(iocb)
        assert _libc.syscall(submit, context, 1, ctypes.byref(pointer)) == 1, ctypes.get_errno()
        events = (ctypes.c_uint64 * 4)()
        assert _libc.syscall(getevents, context, 1, 1, events, None) == 1
        assert events[2] == 4096, ctypes.c_int64(events[2]).value

    assert synced(rig, lambda: write(os.RWF_DSYNC)), "RWF_DSYNC"
    assert synced(rig, lambda: write(os.RWF_SYNC), ("fsync",)), "RWF_SYNC"
    assert not synced(rig, lambda: write(0))
    os.close(descriptor)
    rig.end()


@case
def the_mounts_option_sync_holds_for_every_change():
    rig = Rig("sync")
    for name, flags in WAYS:
        descriptor = open_with(rig, flags, name)
        assert synced(rig, lambda: os.pwrite(descriptor, page(), 0)), f"{name}: nothing reaches the disk"
        os.close(descriptor)
    descriptor = open_with(rig, os.O_RDWR, "cached")
    other = open_with(rig, os.O_RDWR, "read and write")
    for what, body in (
            ("copy_file_range", lambda: os.copy_file_range(other, descriptor, 100, 0, 0)),
            ("fallocate", lambda: fallocate(descriptor, 0, 0, 65536)),
            ("punching a hole", lambda: fallocate(descriptor, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 4096)),
            ("ftruncate", lambda: os.ftruncate(descriptor, 10)),
            ("truncate", lambda: os.truncate(rig.guest("cached"), 5)),
            ("O_TRUNC", lambda: os.close(os.open(rig.guest("cached"), os.O_WRONLY | os.O_TRUNC))),
            ("chmod", lambda: os.chmod(rig.guest("cached"), 0o600)),
            ("chown", lambda: os.chown(rig.guest("cached"), 5, 5)),
            ("utimes", lambda: os.utime(rig.guest("cached"), (1, 1))),
            ("setxattr", lambda: os.setxattr(rig.guest("cached"), "user.a", b"1")),
            ("removexattr", lambda: os.removexattr(rig.guest("cached"), "user.a"))):
        found = synced(rig, body)
        assert any("/cached>" in line for line in found), f"{what}: {found}"
    os.close(other)
    os.close(descriptor)
    rig.end()


def changes_of_names(rig):
    """What, the call, and the directories of the host whose names it changes."""
    a, b = rig.guest("a"), rig.guest("b")
    # Another look-up of the kernel's than CREATE's: open() of a name that is there makes none.
    return (("creat", lambda: os.close(os.open(f"{a}/file", os.O_CREAT | os.O_EXCL)), "a"),
            ("mkdir", lambda: os.mkdir(f"{a}/dir"), "a"),
            ("mknod", lambda: os.mkfifo(f"{a}/fifo"), "a"),
            ("symlink", lambda: os.symlink("x", f"{a}/link"), "a"),
            ("link", lambda: os.link(f"{a}/file", f"{b}/linked"), "b"),
            ("rename", lambda: os.rename(f"{a}/file", f"{a}/renamed"), "a"),
            ("rename to another directory", lambda: os.rename(f"{a}/renamed", f"{b}/moved"), "ab"),
            ("exchange", lambda: rename(f"{a}/fifo", f"{b}/moved", RENAME_EXCHANGE), "ab"),
            ("unlink", lambda: os.unlink(f"{b}/moved"), "b"),
            ("rmdir", lambda: os.rmdir(f"{a}/dir"), "a"))


@case
def dirsync_and_sync_bring_names_to_the_disk():
    for option in ("dirsync", "sync"):
        rig = Rig(option)
        for name in "ab":
            os.mkdir(rig.guest(name))
        os.chmod(rig.guest("a"), 0o300)  # what its owner may not read is synchronised, too
        for what, body, wanted in changes_of_names(rig):
            found = synced(rig, body)
            for name in wanted:
                assert any(f"<{rig.host(name)}>" in line for line in found), f"{option}, {what}: {name}: {found}"
        rig.end()


@case
def without_these_options_names_cost_no_synchronisation():
    rig = Rig()
    for name in "ab":
        os.mkdir(rig.guest(name))
    for what, body, _wanted in changes_of_names(rig):
        found = synced(rig, body)
        assert not found, f"{what}: {found}"
    rig.end()


run(180)
