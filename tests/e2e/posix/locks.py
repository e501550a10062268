#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Locks and notifications between processes of one guest."""
import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import time

from lib import TWINS, Twin, calls, case, run, skip

_libc = ctypes.CDLL(None, use_errno=True)
IN = {"access": 1, "modify": 2, "attrib": 4, "close_write": 8, "close_nowrite": 16, "open": 32, "moved_from": 64,
      "moved_to": 128, "create": 256, "delete": 512, "delete_self": 1024, "move_self": 2048}


def _lock_record(kind, start=0, length=0):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def _attempt(function, *arguments):
    try:
        function(*arguments)
        return "taken"
    except OSError as error:
        return errno.errorcode[error.errno]


@case
def flock_excludes_other_open_files():
    for server in TWINS:
        rig = Twin(server)

        def use(directory):
            path = os.path.join(directory, "lock")
            one = os.open(path, os.O_CREAT | os.O_RDWR)
            two, three = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
            values = [_attempt(fcntl.flock, one, fcntl.LOCK_EX | fcntl.LOCK_NB),
                      _attempt(fcntl.flock, two, fcntl.LOCK_SH | fcntl.LOCK_NB),
                      _attempt(fcntl.flock, one, fcntl.LOCK_SH | fcntl.LOCK_NB),
                      _attempt(fcntl.flock, two, fcntl.LOCK_SH | fcntl.LOCK_NB),
                      _attempt(fcntl.flock, three, fcntl.LOCK_EX | fcntl.LOCK_NB)]
            os.close(one)
            os.close(two)
            values.append(_attempt(fcntl.flock, three, fcntl.LOCK_EX | fcntl.LOCK_NB))
            os.close(three)
            return values

        assert rig.both(use) == ["taken", "EAGAIN", "taken", "taken", "EAGAIN", "taken"]
        rig.end()


@case
def record_locks_of_both_kinds_exclude_other_processes_and_files():
    for server in TWINS:
        rig = Twin(server)

        def use(directory):
            path = os.path.join(directory, "lock")
            one, two = os.open(path, os.O_CREAT | os.O_RDWR), os.open(path, os.O_RDWR)
            reading = os.open(path, os.O_RDONLY)
            values = [_attempt(fcntl.lockf, one, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)]

            def other():
                descriptor = os.open(path, os.O_RDWR)
                found = [_attempt(fcntl.lockf, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, start)
                         for start in (0, 9, 10)]
                found.append(struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, _lock_record(
                    fcntl.F_WRLCK)))[:4])
                return found

            values.append(calls.as_ids(0, 0, other))
            values.append(_attempt(fcntl.fcntl, one, fcntl.F_OFD_SETLK, _lock_record(fcntl.F_WRLCK, 100, 10)))
            values.append(_attempt(fcntl.fcntl, two, fcntl.F_OFD_SETLK, _lock_record(fcntl.F_RDLCK, 105, 1)))
            values.append(_attempt(fcntl.fcntl, two, fcntl.F_OFD_SETLK, _lock_record(fcntl.F_RDLCK, 110, 1)))
            values.append(_attempt(fcntl.lockf, reading, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 500))
            os.close(reading)  # with it go the process's own locks
            values.append(calls.as_ids(0, 0, other))
            os.close(one)
            values.append(_attempt(fcntl.fcntl, two, fcntl.F_OFD_SETLK, _lock_record(fcntl.F_WRLCK, 105, 1)))
            os.close(two)
            return values

        rig.both(use)
        rig.end()


@case
def a_waiting_locker_gets_its_turn_and_can_be_interrupted():
    rig = Twin()
    path = rig.guest("lock")
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with subprocess.Popen(["flock", path, "echo", "mine"], stdout=subprocess.PIPE) as waiting, \
                subprocess.Popen(["flock", path, "true"]) as killed:
            time.sleep(0.3)
            assert waiting.poll() is None and killed.poll() is None
            killed.send_signal(signal.SIGTERM)
            assert killed.wait(10) == -signal.SIGTERM
            fcntl.flock(file, fcntl.LOCK_UN)
            assert waiting.communicate(timeout=10)[0] == b"mine\n"
    rig.end()


def _events(directory, action):
    """What inotify says about a directory and a file in it while action runs."""
    descriptor = _libc.inotify_init1(os.O_NONBLOCK)
    for path in (directory, directory + "/file"):
        assert _libc.inotify_add_watch(descriptor, os.fsencode(path), 0xfff) >= 0
    action(directory)
    data = b""
    while select.select([descriptor], [], [], 0.05)[0]:
        data += os.read(descriptor, 65536)
    os.close(descriptor)
    found, at = [], 0
    while at < len(data):
        watch, mask, _cookie, length = struct.unpack_from("iIII", data, at)
        name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
        found.append((watch, sorted(key for key, bit in IN.items() if mask & bit), name))
        at += 16 + length
    return found


@case
def changes_in_the_guest_raise_inotify_events():
    def change(directory):
        with open(directory + "/file", "ab") as file:
            file.write(b"x")
        os.chmod(directory + "/file", 0o600)
        os.truncate(directory + "/file", 0)
        os.utime(directory + "/file")
        os.setxattr(directory + "/file", "user.x", b"1")
        os.mkdir(directory + "/new")
        os.rename(directory + "/file", directory + "/moved")
        os.link(directory + "/moved", directory + "/linked")
        os.symlink("x", directory + "/symlink")
        os.mkfifo(directory + "/fifo")
        with open(directory + "/moved", "rb") as file:
            file.read()
        os.unlink(directory + "/linked")
        os.rmdir(directory + "/new")
        os.unlink(directory + "/moved")

    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            with open(place + "/file", "wb"):
                pass
        rig.both(_events, change)
        rig.end()


@case
def fanotify_sees_changes_of_the_mount():
    rig = Twin()
    group = _libc.fanotify_init(0, os.O_RDONLY)
    if group < 0:
        skip("no fanotify here: " + os.strerror(ctypes.get_errno()))
    mark_mount = 0x10
    if _libc.fanotify_mark(group, 1 | mark_mount, ctypes.c_uint64(0x2a), -100, os.fsencode(rig.guest())) < 0:
        skip("no marks on mounts here: " + os.strerror(ctypes.get_errno()))
    with open(rig.guest("file"), "wb") as file:
        file.write(b"x")
    masks, names = 0, set()
    while select.select([group], [], [], 0.2)[0]:
        data = os.read(group, 65536)
        at = 0
        while at < len(data):
            length, _version, _reserved, _metadata, mask, descriptor, _pid = struct.unpack_from("=IBBHQii", data, at)
            masks |= mask
            names.add(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
            os.close(descriptor)
            at += length
    os.close(group)
    assert masks & 0x2 and masks & 0x8 and names == {"file"}, (masks, names)
    rig.end()


@case
def leases_and_owners_of_descriptors():
    rig = Twin()

    def use(directory):
        with open(directory + "/file", "wb") as file:
            return [_attempt(fcntl.fcntl, file, fcntl.F_SETOWN, os.getpid()), fcntl.fcntl(file, fcntl.F_GETLEASE)]

    rig.both(use)
    rig.end()


run()
