# SPDX-License-Identifier: Apache-2.0
"""
Random operations by guest and host in turn in a small tree, each of them in a local directory, too: its outcome there
is what it must be, and the tree is the same in all three places.
"""
import contextlib
import errno
import os
import random
import stat

from . import calls, world
from .changes import as_owner
from .looks import attributes

FOLDERS = ("", "a/", "b/", "a/c/")
NAMES = ("f", "g", "h", "a", "b", "c")
ANY_NAME = tuple(folder + name for folder in FOLDERS for name in NAMES)
MODES = (0o600, 0o644, 0o755, 0o666)


def _write(path, content, flags, offset=None):
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        return os.write(descriptor, content) if offset is None else os.pwrite(descriptor, content, offset)
    finally:
        os.close(descriptor)


def _replace(path, content):
    _write(path + ".new", content, os.O_CREAT | os.O_TRUNC)
    try:
        os.rename(path + ".new", path)
    except OSError:
        os.unlink(path + ".new")
        raise


def _store(top, path):
    """A file of a store, from which the host installs by hard links as package managers do: beside the tree."""
    return f"{top}-store/{path[-1]}"


class _Choice:
    """One random operation, to be done below any top."""

    def __init__(self, chance, local, with_store):
        one, two = self.any_path(chance), self.any_path(chance)
        if chance.randrange(5):
            one = chance.choice(["/" + name for name, _ in _walk(local)] or [one])
        content = bytes([chance.randrange(97, 123)]) * chance.choice((1, 100, 4096, 9000))
        offset, mode = chance.choice((0, 50, 4096)), chance.choice(MODES)
        times = chance.randrange(9), chance.randrange(9)
        kinds = (
            ("create", lambda top: _write(top + one, content, os.O_CREAT | os.O_EXCL)),
            ("write", lambda top: _write(top + one, content, 0, offset)),
            ("append", lambda top: _write(top + one, content, os.O_APPEND)),
            ("save", lambda top: _write(top + one, content, os.O_CREAT | os.O_TRUNC)),
            ("replace", lambda top: _replace(top + one, content)),
            ("truncate", lambda top: os.truncate(top + one, offset)),
            ("unlink", lambda top: os.unlink(top + one)),
            ("rename", lambda top: os.rename(top + one, top + two)),
            ("exchange", lambda top: calls.rename(top + one, top + two, calls.RENAME_EXCHANGE)),
            ("link", lambda top: os.link(top + one, top + two, follow_symlinks=False)),
            ("symlink", lambda top: os.symlink(os.path.basename(two), top + one)),
            ("mkdir", lambda top: os.mkdir(top + one)),
            ("rmdir", lambda top: os.rmdir(top + one)),
            ("chmod", lambda top: None if os.path.isdir(top + one) else os.chmod(top + one, mode)),
            ("utimens", lambda top: os.utime(top + one, times)),
            ("setxattr", lambda top: os.setxattr(top + one, "user.test", content[:9])),
            # What a package manager does with hard links.
            ("store", lambda top: _write(_store(top, two), content, os.O_CREAT | os.O_EXCL)),
            ("install", lambda top: os.link(_store(top, two), top + one)),
            ("write in store", lambda top: _write(_store(top, two), content, 0, offset)),
            ("chmod in store", lambda top: os.chmod(_store(top, two), mode)),
            ("remove from store", lambda top: os.unlink(_store(top, two))))
        weights = (4, 3, 3, 2, 3, 2, 3, 4, 2, 6, 1, 4, 1, 2, 1, 1)
        weights += (3, 6, 2, 2, 1) if with_store else (0, 0, 0, 0, 0)
        self.kind, self.make = chance.choices(kinds, weights)[0]
        self.text = f"{self.kind} {one} {two} ({len(content)} bytes, at {offset}, {mode:o})"

    @staticmethod
    def any_path(chance):
        return "/" + chance.choice(FOLDERS) + chance.choice(NAMES)

    def outcome(self, top):
        try:
            return self.make(top)
        except OSError as error:
            return errno.errorcode.get(error.errno, error.errno)


def _content(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _walk(top):
    """(name, attributes as os.lstat() gives them) of all that is below, each directory in order."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for name in sorted(os.listdir(f"{top}/{folder}")):
            seen = os.lstat(f"{top}/{folder}{name}")
            if stat.S_ISDIR(seen.st_mode):
                waiting.append(f"{folder}{name}/")
            yield folder + name, seen


def _picture(top, times, xattrs):
    """All of a small tree; names of one file are told by the first of them."""
    found, first = {}, {}
    for name, seen in _walk(top):
        kind, mode, size, links, *when = attributes(seen)
        content = same = None
        if stat.S_ISLNK(seen.st_mode):
            content = os.readlink(f"{top}/{name}")
        elif stat.S_ISREG(seen.st_mode):
            same = first.setdefault(seen.st_ino, name)
            content = _content(f"{top}/{name}"), os.listxattr(f"{top}/{name}") if xattrs else None
        found[name] = (kind, mode, size, links, same, content, when if times else None)
    for name in ANY_NAME:
        if name not in found:
            try:
                *what, modified, changed = attributes(os.lstat(f"{top}/{name}"))  # on a way through a link
                found[name] = (*what, (modified, changed) if times else None)
            except OSError as error:
                found[name] = errno.errorcode[error.errno], None
    return found


def _seen(descriptor):
    kind, mode, size, links, *_ = attributes(os.fstat(descriptor))
    return kind, mode, size, links, os.pread(descriptor, 1 << 20, 0)


class Actors:
    """
    Guest, host and the local directory in which every operation is done, too. links: the tree is full of hard links to
    a store in which the guest looks and works as well; else the store is the host's alone.
    """

    def __init__(self, rig, seed, links=False):
        self.chance = random.Random(seed)
        self.host, self.guest = rig.host(f"tree{seed}"), rig.guest(f"tree{seed}")
        self.local = os.path.join(world.case_directory("local"), f"tree{seed}")
        self.links = links
        self.open = []  # (in the guest, local)
        self.done, self.what = [], f"seed {seed}"
        self._begin(self.local)
        with as_owner():
            self._begin(self.host)

    def _begin(self, top):
        os.mkdir(top)
        os.mkdir(top + "-store")
        for folder in FOLDERS[1:]:
            os.mkdir(top + "/" + folder)
        for name in NAMES if self.links else ():
            _write(_store(top, name), name.encode() * 100, os.O_CREAT | os.O_EXCL)
            for folder in (FOLDERS[NAMES.index(name) % len(FOLDERS)], "a/c/"):
                with contextlib.suppress(FileExistsError):
                    os.link(_store(top, name), f"{top}/{folder}{name}")

    def difference(self, with_local=True):
        """How the host differs from the local directory, or the guest from the host; None when nothing differs."""
        for suffix in ("", "-store") if self.links else ("",):
            found = self._difference(suffix, with_local)
            if found:
                return found
        for here, there in self.open:
            if _seen(here) != _seen(there):
                return f"an open file: guest {_seen(here)!r:.300}, local {_seen(there)!r:.300}"
        return None

    def _difference(self, suffix, with_local):
        host = _picture(self.host + suffix, True, with_local)
        if with_local:
            local = _picture(self.local + suffix, False, True)
            if local != {name: (*value[:-1], None) for name, value in host.items()}:
                return f"local {local!r:.1500}\nhost {host!r:.1500}"
        try:
            guest = _picture(self.guest + suffix, True, with_local)
        except OSError as error:  # what was listed went away
            return f"guest: {error}"
        names = [name for name in sorted(host.keys() | guest.keys()) if host.get(name, 0) != guest.get(name, 0)]
        return "\n".join(f"{name}: host {host.get(name)!r:.300}\n guest {guest.get(name)!r:.300}" for name in names)

    def do(self, who):
        """One operation by "guest" or "host"."""
        choice = _Choice(self.chance, self.local, who == "host" or self.links)
        self.done.append(f"{who}: {choice.text}")
        wanted = choice.outcome(self.local)
        if who == "host":
            with as_owner():
                got = choice.outcome(self.host)
        else:
            got = choice.outcome(self.guest)
        assert got == wanted, self.told(f"{got} instead of {wanted}: {_picture(self.local, False, True)!r:.2000}")

    def open_and_close(self):
        """Now and then another file is kept open, a few at most."""
        if self.chance.randrange(4) == 0:
            path = _Choice.any_path(self.chance)
            if os.path.isfile(self.local + path):
                self.open.append(tuple(os.open(top + path, os.O_RDWR) for top in (self.guest, self.local)))
        if len(self.open) > 4:
            for descriptor in self.open.pop(self.chance.randrange(4)):
                os.close(descriptor)

    def told(self, what):
        """The words of a failure."""
        return f"{self.what}, operation {len(self.done)}: {what}\n" + "\n".join(self.done[-12:])

    def end(self):
        for pair in self.open:
            for descriptor in pair:
                os.close(descriptor)
        self.open.clear()
