# SPDX-License-Identifier: Apache-2.0
"""Kinds of change that somebody makes in a small tree, each in a fresh one."""
import contextlib
import os
from typing import Callable, NamedTuple

from . import calls, world


@contextlib.contextmanager
def as_owner():
    """The body is done by the serving user, as his editor or his git would; other threads go on as root."""
    calls.thread_egid(world.GID)
    calls.thread_euid(world.UID)
    try:
        yield
    finally:
        calls.thread_euid(0)
        calls.thread_egid(0)


def script(word, size):
    """A program that prints a word, of this size, every page of which is of its own."""
    head = f"#!/bin/sh\necho {word}\nexit 0\n".encode()
    return head + (f"# {word}\n".encode() * size)[:size - len(head)]


def _write(path, content, flags):
    descriptor = os.open(path, flags, 0o755)
    try:
        assert os.write(descriptor, content) == len(content)
    finally:
        os.close(descriptor)


def _make(path, content):
    _write(path, content, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def prepare(top, size):
    """The tree in which a change is made."""
    for name in ("", "/d", "/e", "/d/sub", "/d/empty"):
        os.mkdir(top + name)
    _make(f"{top}/d/file", script("before", size))
    _make(f"{top}/d/other", script("other", size + 100))
    _make(f"{top}/d/next", script("after", size + 50))
    _make(f"{top}/e/next", script("after", size + 50))
    _make(f"{top}/d/sub/inside", script("inside", size))
    os.symlink("file", f"{top}/d/link")
    os.symlink("other", f"{top}/d/link-next")


class Change(NamedTuple):
    """
    names: what is looked at. covered: a lease covers it, so it is seen at once. several: a file that is looked at has
    several names, so that the third look is the first that costs nothing.
    """
    name: str
    names: tuple
    make: Callable
    before: Callable = lambda top: None
    covered: bool = True
    several: bool = False


def _second_name(top):
    os.link(f"{top}/d/file", f"{top}/e/second")


def _in_place(path):
    size = os.stat(path).st_size
    _write(path, script("AFTER!", size), os.O_WRONLY)


def _saved(path):
    _write(path, script("after", os.stat(path).st_size + 17), os.O_WRONLY | os.O_TRUNC)


def _hole(path):
    descriptor = os.open(path, os.O_WRONLY)
    calls.fallocate(descriptor, calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE, 1000, 1500)
    os.close(descriptor)


def _halve(path):
    os.truncate(path, os.stat(path).st_size // 2)


def _move(source, target, flags=0):
    return lambda top: calls.rename(f"{top}/{source}", f"{top}/{target}", flags)


def _on(function, name, *arguments):
    return lambda top: function(f"{top}/{name}", *arguments)


CHANGES = (
    Change("create", ("d/new",), _on(lambda path: _make(path, script("new", 5000)), "d/new")),
    Change("write in place", ("d/file",), _on(_in_place, "d/file")),
    Change("write through a link", ("d/link", "d/file"), _on(_in_place, "d/link")),
    Change("append", ("d/file",), _on(lambda path: _write(path, b"more\n", os.O_WRONLY | os.O_APPEND), "d/file")),
    Change("save with O_TRUNC", ("d/file",), _on(_saved, "d/file")),
    Change("truncate", ("d/file",), _on(_halve, "d/file")),
    Change("punch a hole", ("d/file",), _on(_hole, "d/file")),
    Change("replace by rename", ("d/file", "d/next"), _move("d/next", "d/file")),
    Change("replace from elsewhere", ("d/file", "e/next"), _move("e/next", "d/file")),
    Change("unlink", ("d/file",), _on(os.unlink, "d/file")),
    Change("unlink, create", ("d/file",), lambda top: (os.unlink(f"{top}/d/file"),
                                                       _make(f"{top}/d/file", script("again", 700)))),
    Change("rename", ("d/file", "d/moved"), _move("d/file", "d/moved")),
    Change("move elsewhere", ("d/file", "e/moved"), _move("d/file", "e/moved")),
    Change("exchange", ("d/file", "d/other"), _move("d/file", "d/other", calls.RENAME_EXCHANGE)),
    Change("exchange with directory", ("d/file", "d/sub", "d/sub/inside", "d/file/inside"),
           _move("d/file", "d/sub", calls.RENAME_EXCHANGE)),
    Change("chmod", ("d/file",), _on(os.chmod, "d/file", 0o640)),
    Change("chmod of directory", ("d/sub",), _on(os.chmod, "d/sub", 0o700)),
    Change("utimens", ("d/file",), _on(os.utime, "d/file", (7, 9))),
    Change("setxattr", ("d/file",), _on(os.setxattr, "d/file", "user.test", b"x")),
    Change("mkdir", ("d/made",), _on(os.mkdir, "d/made")),
    Change("rmdir", ("d/empty",), _on(os.rmdir, "d/empty")),
    Change("rename directory", ("d/sub/inside", "d/sub", "d/new", "d/new/inside"), _move("d/sub", "d/new")),
    Change("move directory", ("d/sub/inside", "d/sub", "e/new", "e/new/inside"), _move("d/sub", "e/new")),
    Change("replace symlink", ("d/link",), _move("d/link-next", "d/link")),
    Change("link", ("d/file", "d/new"), lambda top: os.link(f"{top}/d/file", f"{top}/d/new")),
    Change("in a subdirectory", ("d/sub", "d/sub/new"), _on(lambda path: _make(path, b"x"), "d/sub/new")),
    # Other names of a file, in another directory.
    Change("link elsewhere", ("d/file", "e/new"), lambda top: os.link(f"{top}/d/file", f"{top}/e/new")),
    Change("link elsewhere, write", ("d/file",), lambda top: (_second_name(top), _in_place(f"{top}/e/second")),
           covered=False),
    Change("other name: write", ("d/file",), _on(_in_place, "e/second"), _second_name, several=True),
    Change("other name: append", ("d/file",), _on(lambda path: _write(path, b"more\n", os.O_WRONLY | os.O_APPEND),
                                                  "e/second"), _second_name, several=True),
    Change("other name: chmod", ("d/file",), _on(os.chmod, "e/second", 0o640), _second_name, several=True),
    Change("other name: unlink", ("d/file", "e/second"), _on(os.unlink, "e/second"), _second_name, several=True),
    Change("other name: replace", ("d/file", "e/second"), _move("e/next", "e/second"), _second_name, several=True),
)
