#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever the host does to a file is seen whole within a second: size and content always belong together."""
import errno
import mmap
import os
import shutil
import stat
import time

from lib import GID, UID, Rig, case, read_file, run, write_file

# The promise is one second; the rest is for a busy machine.
SOON = 1.5
SIZES = (100, 5000, 300_000)


def _pattern(letter, size):
    return bytes([letter]) * size


def _open_and_read(rig, _kept):
    descriptor = os.open(rig.guest("file"), os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, 1 << 23, 0)
        assert len(content) == size, f"fstat says {size} bytes, read gives {len(content)}"
        return content
    finally:
        os.close(descriptor)


def _kept_open(_rig, kept):
    return os.pread(kept, 1 << 23, 0)


def _kept_open_in_parts(_rig, kept):
    content, part = b"", b"x"
    while part:
        part = os.pread(kept, 65536, len(content))
        content += part
    return content


def _mapped(rig, _kept):
    descriptor = os.open(rig.guest("file"), os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return b""
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
            return mapped[:]
    finally:
        os.close(descriptor)


def _by_path(rig, _kept):
    return read_file(rig.guest("file"))


OPENING_LOOKS = (_open_and_read, _by_path, _mapped)
LOOKS = OPENING_LOOKS + (_kept_open, _kept_open_in_parts)


def _in_place(rig, content):
    with open(rig.host("file"), "r+b", buffering=0) as file:
        file.write(content)


def _edits(size):
    """(what, how the host does it, content afterwards), one after the other; content begins as letters a."""
    yield "in place", _in_place, _pattern(98, size)
    yield "in place again", _in_place, _pattern(99, size)
    yield "appended", lambda rig, new: os.pwrite(_host_file(rig), new[size:], size), _pattern(99, size * 2)
    yield "shrunk", lambda rig, new: os.truncate(rig.host("file"), len(new)), _pattern(99, size // 2)
    yield "grown", lambda rig, new: os.truncate(rig.host("file"), len(new)), (
        _pattern(99, size // 2) + b"\0" * (size // 2 + 77))
    yield "in place", lambda rig, new: os.pwrite(_host_file(rig), new, 0), _pattern(100, size // 2 * 2 + 77)
    yield "emptied", lambda rig, new: os.truncate(rig.host("file"), 0), b""
    yield "written", _in_place, _pattern(101, size)


def _host_file(rig):
    if getattr(rig, "host_file", None) is None:
        rig.host_file = os.open(rig.host("file"), os.O_RDWR)
    return rig.host_file


def _kind(content):
    if not content:
        return "nothing"
    runs, last = [], None
    for at, letter in enumerate(content):
        if letter != last:
            last = letter
            runs.append(f"{chr(last)!r} from {at}")
            if len(runs) > 6:
                break
    return f"{len(content)} bytes: " + ", ".join(runs)


def _watch(rig, look, kept, old, new, what):
    """Looks until the new content is seen; anything but the old or the new one is torn."""
    begin = time.monotonic()
    while True:
        started = time.monotonic()
        content = look(rig, kept)
        if content == new:
            return
        assert content == old, f"{what}, {look.__name__}: torn: {_kind(content)} (old {_kind(old)}, new {_kind(new)})"
        assert started - begin < SOON, f"{what}, {look.__name__}: not seen after {SOON} s"


def _begin(rig, look, size):
    """The file anew, and a descriptor of it that stays open."""
    old = _pattern(97, size)
    write_file(rig.host("file"), old)
    rig.host_file = None
    kept = os.open(rig.guest("file"), os.O_RDONLY)
    until = time.monotonic() + SOON
    while look(rig, kept) != old:
        assert time.monotonic() < until, "the file's beginning"
    return old, kept


def _end(rig, kept):
    os.close(kept)
    if rig.host_file is not None:
        os.close(rig.host_file)


@case
def edits_of_a_file_that_is_cached_whole():
    rig = Rig()
    for size in SIZES:
        for look in OPENING_LOOKS:
            old, kept = _begin(rig, look, size)
            for what, edit, new in _edits(size):
                edit(rig, new)
                _watch(rig, look, kept, old, new, f"{what}, {size} bytes")
                old = new
            _end(rig, kept)


def _keep_few_pages(descriptor, size):
    """Leaves a few pages of the file in the guest's cache."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.pread(descriptor, 10, 0)
    os.pread(descriptor, 10, size // 3)


@case
def edits_of_a_file_of_which_pages_are_cached():
    rig = Rig()
    for size in SIZES:
        for look in OPENING_LOOKS:
            old, kept = _begin(rig, look, size)
            for what, edit, new in _edits(size):
                _keep_few_pages(kept, size)
                edit(rig, new)
                _watch(rig, look, kept, old, new, f"{what}, {size} bytes")
                old = new
            _end(rig, kept)


@case
def a_descriptor_that_stays_open_gives_the_new_content_after_a_second():
    # Within that second it may give old pages beside new ones: docs/POSIX.md.
    rig = Rig()
    for size in (5000, 300_000):
        _, kept = _begin(rig, _kept_open, size)
        for what, edit, new in _edits(size):
            _keep_few_pages(kept, size)
            edit(rig, new)
            time.sleep(1.05)
            for look in LOOKS:
                assert look(rig, kept) == new, (what, size, look.__name__)
        _end(rig, kept)


@case
def a_descriptor_that_stays_open_gives_the_new_content_soon_under_a_lease():
    """There are old pages beside new ones only until the news has come; then it is all new, for good."""
    rig, times = Rig("cache=auto"), []
    for size in (5000, 300_000):
        for look in (_kept_open, _kept_open_in_parts):
            _, kept = _begin(rig, look, size)
            for what, edit, new in _edits(size):
                _keep_few_pages(kept, size)
                edit(rig, new)
                begin = time.monotonic()
                while look(rig, kept) != new:
                    assert time.monotonic() - begin < SOON, (what, size, look.__name__)
                times.append(time.monotonic() - begin)
                for again in LOOKS:
                    assert again(rig, kept) == new, (what, size, again.__name__)
            _end(rig, kept)
    times.sort()
    print(f"# seen after {times[len(times) // 2] * 1000:.1f} ms, {times[-1] * 1000:.1f} ms at the latest")
    rig.end()


@case
def edits_are_seen_at_once_without_a_cache():
    rig = Rig("cache=none")
    for size in (5000, 300_000):
        old = _pattern(97, size)
        write_file(rig.host("file"), old)
        kept = os.open(rig.guest("file"), os.O_RDONLY)
        rig.host_file = None
        for what, edit, new in _edits(size):
            edit(rig, new)
            for look in LOOKS:
                assert look(rig, kept) == new, (what, look.__name__)
        os.close(kept)
        os.close(rig.host_file)


@case
def a_file_that_is_replaced_is_seen_whole():
    rig = Rig()
    for size in SIZES:
        old = _pattern(97, size)
        write_file(rig.host("file"), old)
        for number, look in enumerate((_open_and_read, _by_path, _mapped)):
            write_until = time.monotonic() + SOON
            while look(rig, -1) != old:
                assert time.monotonic() < write_until
            new = _pattern(98 + number, size + 1000 * number - 50)
            write_file(rig.host("next"), new)
            os.rename(rig.host("next"), rig.host("file"))
            _watch(rig, look, -1, old, new, "replaced")
            old = new


def _state(path):
    """What the name is: content, listing or absence; through one look at the type."""
    try:
        seen = os.lstat(path)
        if stat.S_ISDIR(seen.st_mode):
            return "directory", tuple(sorted(os.listdir(path)))
        if stat.S_ISLNK(seen.st_mode):
            return "link", os.readlink(path)
        return "file", read_file(path)
    except FileNotFoundError:
        return ("nothing",)


@case
def a_name_may_become_anything_else_and_back():
    rig = Rig()
    name = rig.host("name")

    def to_file():
        write_file(name, "content")

    def to_directory():
        os.mkdir(name)
        for inside in ("a", "b"):
            write_file(f"{name}/{inside}", inside)
        os.chown(name, UID, GID)

    def to_link():
        os.symlink("target", name)

    def to_nothing():
        pass

    states = {"file": to_file, "directory": to_directory, "link": to_link, "nothing": to_nothing}
    wanted = {"file": ("file", b"content"), "directory": ("directory", ("a", "b")), "link": ("link", "target"),
              "nothing": ("nothing",)}
    order = ("file", "directory", "file", "nothing", "directory", "link", "directory", "nothing", "link", "file",
             "link", "nothing", "file")
    for what in order:
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        elif os.path.lexists(name):
            os.unlink(name)
        states[what]()
        begin = time.monotonic()
        while True:
            started = time.monotonic()
            try:
                if _state(rig.guest("name")) == wanted[what]:
                    break
            except OSError as error:  # what the first look said may have been a second old
                assert error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EINVAL), error
            assert started - begin < SOON, f"{what} is not seen: {_state(rig.guest('name'))}"


@case
def modes_and_times_of_the_host_are_seen():
    rig = Rig()
    rig.fill("file", "x")
    for mode in (0o600, 0o755, 0o444, 0o640):
        os.stat(rig.guest("file"))
        os.chmod(rig.host("file"), mode)
        os.utime(rig.host("file"), (mode, mode))
        begin = time.monotonic()
        while True:
            started = time.monotonic()
            seen = os.stat(rig.guest("file"))
            if (seen.st_mode & 0o777, seen.st_mtime) == (mode, mode):
                break
            assert started - begin < SOON


run(240)
