#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What the server has done, though the kernel did not hear of it: who asked was killed while he waited, or the answer was
lost with its lane. No event tells of a change from here, and the kernel keeps what it knows without a time limit.
"""
import errno
import multiprocessing
import os
import signal

from lib import Mount, Rig, case, run, wait_for
from lib.between import OPERATIONS, Between
from lib.changes import as_owner

SOON = 5.0


def _write(path, what):
    with open(path, "r+b", buffering=0) as file:
        file.write(what)


def _copy(path):
    with open(path + "/long", "rb") as source, open(path + "/a", "r+b") as target:
        os.copy_file_range(source.fileno(), target.fileno(), 9)


def _allocate(path):
    with open(path + "/a", "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 10000)


# What is done in a directory, by the server's operation.
CHANGES = {
    "create": lambda d: os.close(os.open(d + "/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
    "mkdir": lambda d: os.mkdir(d + "/new"),
    "mknod": lambda d: os.mkfifo(d + "/new"),
    "symlink": lambda d: os.symlink("a", d + "/new"),
    "link": lambda d: os.link(d + "/a", d + "/new"),
    "unlink": lambda d: os.unlink(d + "/second"),
    "rmdir": lambda d: os.rmdir(d + "/sub"),
    "rename": lambda d: os.rename(d + "/a", d + "/below/new"),
    "setattr": lambda d: os.truncate(d + "/a", 3),
    "write": lambda d: _write(d + "/a", b"CHANGED"),
    "setxattr": lambda d: os.setxattr(d + "/a", "user.note", b"x"),
    "fallocate": _allocate,
    "copy_range": _copy,
}


def _fill(path):
    with as_owner():
        os.makedirs(path + "/sub")
        os.mkdir(path + "/below")
        for name, what in (("a", "content"), ("b", "second"), ("long", "x" * 5000)):
            with open(f"{path}/{name}", "w", encoding="ascii") as file:
                file.write(what)
        os.link(path + "/b", path + "/below/second")
        os.link(path + "/b", path + "/second")


def _picture(path):
    """All that is told of the names in a directory, and of one that is not there."""
    def told(name):
        try:
            seen = os.lstat(f"{path}/{name}")
        except OSError as error:
            return errno.errorcode[error.errno]
        more = ()
        if os.path.isfile(f"{path}/{name}"):
            with open(f"{path}/{name}", "rb", buffering=0) as file:
                more = file.read(), sorted(os.listxattr(file.fileno()))
        folder = os.path.isdir(f"{path}/{name}")
        return seen.st_mode >> 12, 0 if folder else seen.st_nlink, 0 if folder else seen.st_size, more
    names = ("a", "b", "second", "long", "new", "none", "sub", "below", "below/new", "below/second")
    return {name: told(name) for name in names}, sorted(os.listdir(path)), sorted(os.listdir(path + "/below"))


def _differ(mount, plain, folder):
    """plain: a mount that keeps nothing."""
    seen, there = _picture(mount / folder), _picture(plain / folder)
    names = {name: (seen[0][name], there[0][name]) for name in seen[0] if seen[0][name] != there[0][name]}
    return names, [(one, other) for one, other in zip(seen[1:], there[1:]) if one != other]


def _try(change, folder):
    try:
        change(folder)
    except OSError:
        pass


def _each(unheard):
    """unheard: has a change made of which the kernel gets no answer."""
    rig = Rig()
    between = Between(rig.server)
    mount, plain = Mount(between, rig.share), Mount(rig.server, rig.share, "cache=none")
    for kind, change in CHANGES.items():
        _fill(rig.host(kind))
        _picture(mount / kind)
        assert _differ(mount, plain, kind) == ({}, []), f"{kind}: before"
        before = _picture(plain / kind)
        unheard(between, OPERATIONS[kind], kind, lambda change=change, kind=kind: _try(change, mount / kind))
        assert _picture(plain / kind) != before, f"{kind}: the server has not done it"
        try:
            wait_for(lambda kind=kind: _differ(mount, plain, kind) == ({}, []), "seen as it is", SOON)
        except AssertionError as error:
            raise AssertionError(f"{kind}: {error}: {_differ(mount, plain, kind)}") from error
    mount.unmount()
    plain.unmount()
    rig.end()


def _killed(between, op, kind, change):
    with between.held(op) as came:
        doer = multiprocessing.Process(target=change)
        doer.start()
        assert came(SOON), f"{kind}: no message"
        os.kill(doer.pid, signal.SIGKILL)
        doer.join(SOON)
        assert not doer.is_alive(), f"{kind}: who waits cannot be killed"


@case
def what_was_done_for_who_was_killed_is_seen():
    _each(_killed)


def _broken(between, op, kind, change):
    between.breaking.add(op)
    doer = multiprocessing.Process(target=change)
    doer.start()
    doer.join(SOON)
    between.breaking.discard(op)
    assert not doer.is_alive(), f"{kind}: waits though the lane is gone"


@case
def what_was_done_when_the_answer_was_lost_is_seen():
    _each(_broken)


run(timeout=180)
