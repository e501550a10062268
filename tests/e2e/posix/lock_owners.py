#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whose a lock is, and what ends it, among the processes of one guest: the same as on a local directory."""
import errno
import fcntl
import os
import pickle
import signal
import struct

from lib import TWINS, Twin, case, run, wait_for

READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
KINDS = ("flock", "record", "open file")


class _Interrupted(Exception):
    pass


def _record(kind, start=0, length=0):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def _set(descriptor, kind, start=0, length=0, command=fcntl.F_SETLK):
    try:
        fcntl.fcntl(descriptor, command, _record(kind, start, length))
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def _take(what, descriptor, wait=False):
    """An exclusive lock of one of KINDS on the whole file."""
    if what == "flock":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return "done"
        except OSError as error:
            return errno.errorcode[error.errno]
    if what == "record":
        return _set(descriptor, WRITE, command=fcntl.F_SETLKW if wait else fcntl.F_SETLK)
    return _set(descriptor, WRITE, command=fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK)


def _release(what, descriptor):
    if what == "flock":
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    else:
        assert _set(descriptor, NONE, command=fcntl.F_SETLK if what == "record" else fcntl.F_OFD_SETLK) == "done"


class _Child:
    """A child that calls function(), tells its value, and stays until it is told to end."""

    def __init__(self, function):
        self.answer, answer = os.pipe()
        stay, self.stay = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.stay)
                os.close(self.answer)
                os.write(answer, pickle.dumps(function()))
                os.read(stay, 1)
            finally:
                os._exit(0)
        os.close(answer)
        os.close(stay)

    def value(self):
        data = os.read(self.answer, 65536)
        assert data, "the child ended without an answer"
        return pickle.loads(data)

    def end(self, how=None):
        if how:
            os.kill(self.pid, how)
        else:
            os.write(self.stay, b"x")  # its younger siblings have this end of the pipe, too
        os.close(self.stay)
        os.waitpid(self.pid, 0)
        os.close(self.answer)


def _ask(function):
    child = _Child(function)
    value = child.value()
    child.end()
    return value


def _waiters(path):
    """How many wait for a lock of this file, as /proc/locks has it."""
    status = os.stat(path)
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with open("/proc/locks", encoding="ascii") as locks:
        return sum(" -> " in line and name in line.split() for line in locks)


def _await_waiters(path, count):
    wait_for(lambda: _waiters(path) == count, f"{count} waiting for a lock")


def _on_both(use, expected):
    for server in TWINS:
        rig = Twin(server)

        def of_file(directory):
            path = os.path.join(directory, "lock")
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
            return use(path)

        found = rig.both(of_file)
        assert found == expected, found
        rig.end()


def _conflicts(path, kind=WRITE):
    """For each of the first ten bytes: what another process finds locked there."""
    def look():
        descriptor, found = os.open(path, os.O_RDWR), ""
        for byte in range(10):
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _record(kind, byte, 1))
            found += {NONE: "-", READ: "r", WRITE: "w"}[struct.unpack("hhqqi4x", answer)[0]]
        return found
    return _ask(look)


@case
def ranges_of_records_are_split_merged_upgraded_and_downgraded():
    def use(path):
        steps = ((WRITE, 0, 9), (NONE, 3, 2), (READ, 0, 2), (WRITE, 3, 2), (READ, 2, 6), (NONE, 0, 0))
        descriptor, found = os.open(path, os.O_RDWR), []
        for kind, start, length in steps:
            assert _set(descriptor, kind, start, length) == "done"
            found.append(_conflicts(path))
        os.close(descriptor)
        return found

    _on_both(use, ["wwwwwwwww-", "www--wwww-", "rrw--wwww-", "rrwwwwwww-", "rrrrrrrrw-", "----------"])


@case
def the_asker_of_getlk_learns_the_range_and_the_holder():
    def use(path):
        descriptor = os.open(path, os.O_RDWR)
        assert _set(descriptor, WRITE, 4, 3) == "done"
        holder = os.getpid()

        def look():
            other = os.open(path, os.O_RDWR)
            kind, _whence, start, length, pid = struct.unpack(
                "hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, _record(READ, 0, 0)))
            return kind, start, length, pid == holder

        found = _ask(look)
        os.close(descriptor)
        return found

    _on_both(use, (WRITE, 4, 3, True))


@case
def any_close_ends_a_processs_records_and_only_the_last_ends_the_others():
    def use(path):
        found = []
        for what in KINDS:
            descriptor = os.open(path, os.O_RDWR)
            second = os.dup(descriptor)
            assert _take(what, descriptor) == "done"
            os.close(os.open(path, os.O_RDONLY))
            other_closed = _ask(lambda: _take(what, os.open(path, os.O_RDWR)))
            os.close(descriptor)
            first_closed = _ask(lambda: _take(what, os.open(path, os.O_RDWR)))
            os.close(second)
            found.append((other_closed, first_closed, _ask(lambda: _take(what, os.open(path, os.O_RDWR)))))
        return found

    _on_both(use, [("EAGAIN", "EAGAIN", "done"), ("done", "done", "done"), ("EAGAIN", "EAGAIN", "done")])


@case
def a_child_inherits_all_locks_but_records():
    def use(path):
        found = []
        for what in KINDS:
            descriptor = os.open(path, os.O_RDWR)
            assert _take(what, descriptor) == "done"
            child = _Child(lambda: _take(what, descriptor))
            answer = child.value()
            os.close(descriptor)
            found.append((answer, _ask(lambda: _take(what, os.open(path, os.O_RDWR)))))
            child.end()
        return found

    _on_both(use, [("done", "EAGAIN"), ("EAGAIN", "done"), ("done", "EAGAIN")])


@case
def a_holder_that_is_killed_frees_its_lock_for_who_waits():
    def use(path):
        found = []
        for what in KINDS:
            holder = _Child(lambda: _take(what, os.open(path, os.O_RDWR)))
            assert holder.value() == "done"
            waiter = _Child(lambda: _take(what, os.open(path, os.O_RDWR), wait=True))
            _await_waiters(path, 1)
            holder.end(signal.SIGKILL)
            found.append((waiter.value(), _ask(lambda: _take(what, os.open(path, os.O_RDWR)))))
            waiter.end()
        return found

    _on_both(use, [("done", "EAGAIN")] * 3)


@case
def who_is_killed_or_interrupted_while_it_waits_gets_no_lock_afterwards():
    def interrupted(*_):
        raise _Interrupted

    def wait_with_handler(what, path):
        signal.signal(signal.SIGALRM, interrupted)
        try:
            return _take(what, os.open(path, os.O_RDWR), wait=True)
        except _Interrupted:
            return "interrupted"

    def use(path):
        found = []
        for what in KINDS:
            descriptor = os.open(path, os.O_RDWR)
            assert _take(what, descriptor) == "done"
            killed = _Child(lambda: _take(what, os.open(path, os.O_RDWR), wait=True))
            stopped = _Child(lambda: wait_with_handler(what, path))
            _await_waiters(path, 2)
            killed.end(signal.SIGKILL)
            _await_waiters(path, 1)
            os.kill(stopped.pid, signal.SIGALRM)
            answer = stopped.value()
            _await_waiters(path, 0)
            _release(what, descriptor)  # a close would not do: the children have the descriptor, too
            found.append((answer, _ask(lambda: _take(what, os.open(path, os.O_RDWR)))))
            stopped.end()
            os.close(descriptor)
        return found

    _on_both(use, [("interrupted", "done")] * 3)


@case
def processes_that_would_wait_for_each_other_are_told_so():
    def use(path):
        found = []
        for count in (2, 3):
            ready = [os.pipe() for _ in range(count)]

            def hold_one_and_want_the_next(index):
                descriptor = os.open(path, os.O_RDWR)
                first = _set(descriptor, WRITE, index, 1)
                os.write(ready[index][1], b"x")
                wanted = (index + 1) % count
                os.read(ready[wanted][0], 1)
                second = _set(descriptor, WRITE, wanted, 1, fcntl.F_SETLKW)
                os.close(descriptor)
                return first, second

            children = [_Child(lambda index=index: hold_one_and_want_the_next(index)) for index in range(count)]
            found.append(sorted(child.value() for child in children))
            for child in children:
                child.end()
            for pair in ready:
                os.close(pair[0])
                os.close(pair[1])
        return found

    deadlock = errno.errorcode[errno.EDEADLK]  # of its two names Python has the other
    _on_both(use, [sorted([("done", deadlock)] + [("done", "done")] * (count - 1)) for count in (2, 3)])


@case
def no_increment_under_a_lock_is_lost():
    workers, rounds = 4, 100

    def count_up(what, path):
        for _ in range(rounds):
            descriptor = os.open(path, os.O_RDWR)
            assert _take(what, descriptor, wait=True) == "done"
            value = int(os.pread(descriptor, 20, 0) or b"0")
            os.pwrite(descriptor, str(value + 1).encode(), 0)
            os.close(descriptor)
        return "done"

    def use(path):
        found = []
        for what in KINDS:
            os.truncate(path, 0)
            children = [_Child(lambda: count_up(what, path)) for _ in range(workers)]
            assert [child.value() for child in children] == ["done"] * workers
            for child in children:
                child.end()
            with open(path, "rb") as file:
                found.append(int(file.read()))
        return found

    _on_both(use, [workers * rounds] * 3)


run()
