# SPDX-License-Identifier: Apache-2.0
"""System calls that Python's os lacks. Each raises OSError."""
import ctypes
import os
import struct
import types

_libc = ctypes.CDLL(None, use_errno=True)
_SYS = {"x86_64": {"setresuid": 117, "setresgid": 119, "statx": 332, "faccessat2": 439, "process_madvise": 440,
                   "fchmodat2": 452},
        "aarch64": {"setresuid": 147, "setresgid": 149, "statx": 291, "faccessat2": 439, "process_madvise": 440,
                    "fchmodat2": 452},
        }[os.uname().machine]

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
AT_STATX_FORCE_SYNC = 0x2000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE, FALLOC_ZERO_RANGE, FALLOC_INSERT = 1, 2, 8, 16, 32
MS_NOSUID, MS_NODEV, MS_REMOUNT = 2, 4, 32
MADV_PAGEOUT = 21
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
STATX_BASIC, STATX_BTIME = 0x7ff, 0x800


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _check(result, path=None):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _path(path):
    return None if path is None else os.fsencode(path)


def thread_euid(uid):
    """seteuid of this thread alone: os.seteuid is for all, and for what they start meanwhile."""
    _check(_libc.syscall(_SYS["setresuid"], -1, uid, -1))


def thread_egid(gid):
    """setegid of this thread alone."""
    _check(_libc.syscall(_SYS["setresgid"], -1, gid, -1))


def rename(old, new, flags=0):
    """renameat2"""
    _check(_libc.renameat2(AT_FDCWD, _path(old), AT_FDCWD, _path(new), flags), old)


def link(descriptor, new):
    """Gives an open file a name: linkat by way of /proc."""
    _check(_libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % descriptor, AT_FDCWD, _path(new), AT_SYMLINK_FOLLOW), new)


def link_empty_path(descriptor, new):
    _check(_libc.linkat(descriptor, b"", AT_FDCWD, _path(new), AT_EMPTY_PATH), new)


def utimes(path, atime, mtime, flags=0, descriptor=AT_FDCWD):
    """utimensat; a time is (seconds, nanoseconds), nanoseconds also UTIME_NOW or UTIME_OMIT; path None: futimens."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    if path is None:
        _check(_libc.futimens(descriptor, times))
    else:
        _check(_libc.utimensat(descriptor, _path(path), times, flags), path)


def fallocate(descriptor, mode, offset, length):
    _check(_libc.fallocate(descriptor, ctypes.c_int(mode), ctypes.c_long(offset), ctypes.c_long(length)))


def syncfs(descriptor):
    _check(_libc.syncfs(descriptor))


def faccessat2(path, mode, flags=0, descriptor=AT_FDCWD):
    _check(_libc.syscall(_SYS["faccessat2"], descriptor, _path(path), mode, flags), path)


def fchmodat2(path, mode, flags=0, descriptor=AT_FDCWD):
    _check(_libc.syscall(_SYS["fchmodat2"], descriptor, _path(path), mode, flags), path)


def statx(path, flags=AT_SYMLINK_NOFOLLOW, mask=STATX_BASIC | STATX_BTIME, descriptor=AT_FDCWD):
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.syscall(_SYS["statx"], descriptor, _path(path), flags, mask, buffer), path)
    raw = buffer.raw

    def time(at):
        seconds, nanoseconds = struct.unpack_from("=qI", raw, at)
        return seconds * 1_000_000_000 + nanoseconds

    mask, block, _attributes, nlink, uid, gid, mode = struct.unpack_from("=IIQIIIH", raw, 0)
    ino, size, blocks = struct.unpack_from("=QQQ", raw, 32)
    rdev, dev = struct.unpack_from("=II", raw, 128), struct.unpack_from("=II", raw, 136)
    return types.SimpleNamespace(mask=mask, blksize=block, nlink=nlink, uid=uid, gid=gid, mode=mode, ino=ino, size=size,
                                 blocks=blocks, atime=time(64), btime=time(80), ctime=time(96), mtime=time(112),
                                 rdev=rdev, dev=dev)


def as_ids(uid, gid, function, *arguments, groups=()):
    """Runs function in a child without root's powers; its value (text, number, bytes), or the errno's name."""
    import errno
    import pickle
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            try:
                value = function(*arguments)
            except OSError as error:
                value = errno.errorcode.get(error.errno, str(error.errno))
            os.write(write_end, pickle.dumps(value))
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(data)


def forget_names(mount):
    """
    The kernel forgets the names and objects of this mount that nobody uses: to mount it again with the options that it
    has does that (reconfigure_super()), and nothing to other mounts, as /proc/sys/vm/drop_caches would.
    """
    _check(_libc.mount(None, _path(mount), None, MS_REMOUNT | MS_NOSUID | MS_NODEV, None), mount)


def page_out(pid, path):
    """The kernel drops pages of this file that the process has mapped: process_madvise, MADV_PAGEOUT."""
    descriptor = os.pidfd_open(pid)
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        ranges = [line.split()[0].split("-") for line in maps if path in line]
    assert ranges, f"{pid} has not mapped {path}"
    for begin, end in ((int(begin, 16), int(end, 16)) for begin, end in ranges):
        vector = (ctypes.c_size_t * 2)(begin, end - begin)
        _check(_libc.syscall(_SYS["process_madvise"], descriptor, vector, ctypes.c_size_t(1), MADV_PAGEOUT, 0), path)
    os.close(descriptor)
