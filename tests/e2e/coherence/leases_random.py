#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Random operations by guest and host in turn. Each gives what it gives on a local directory; after it the small tree is
the same in all three places: in the guest at once after its own operations, soon after the host's.

BINDSHARE_OPERATIONS and BINDSHARE_SEED choose another length and another sequence (docs/TESTING.md).
"""
import errno
import os
import random
import time

from lib import Rig, calls, case, run, world
from lib.changes import as_owner
from lib.freshness import AT_ONCE, SOON, quantile
from lib.looks import attributes

OPERATIONS = int(os.environ.get("BINDSHARE_OPERATIONS", "500"))
SEED = int(os.environ.get("BINDSHARE_SEED", "1"))
A_TREE = 2000  # operations, and a fresh one is begun
FOLDERS = ("", "a/", "b/", "a/c/")
NAMES = ("f", "g", "h", "a", "b", "c")
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
    """A file of the store, which the guest does not look into: beside the tree."""
    return f"{top}-store/{path[-1]}"


class _Choice:
    """One random operation, to be done below any top."""

    def __init__(self, chance, local, host):
        one, two = self._path(chance), self._path(chance)
        there = sorted(os.path.join(folder, name).removeprefix(local) for folder, directories, files in os.walk(local)
                       for name in directories + files)
        if there and chance.randrange(5):
            one = chance.choice(there)
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
            # What a package manager does with hard links, on the host alone.
            ("store", lambda top: _write(_store(top, two), content, os.O_CREAT | os.O_EXCL)),
            ("install", lambda top: os.link(_store(top, two), top + one)),
            ("write in store", lambda top: _write(_store(top, two), content, 0, offset)),
            ("chmod in store", lambda top: os.chmod(_store(top, two), mode)),
            ("remove from store", lambda top: os.unlink(_store(top, two))))
        weights = (4, 3, 3, 2, 3, 2, 3, 4, 2, 6, 1, 4, 1, 2, 1, 1) + ((3, 6, 2, 2, 1) if host else (0, 0, 0, 0, 0))
        self.kind, self.make = chance.choices(kinds, weights)[0]
        self.text = f"{self.kind} {one} {two} ({len(content)} bytes, at {offset}, {mode:o})"

    @staticmethod
    def _path(chance):
        return "/" + chance.choice(FOLDERS) + chance.choice(NAMES)

    def outcome(self, top):
        try:
            return self.make(top)
        except OSError as error:
            return errno.errorcode.get(error.errno, error.errno)


def _picture(top, times):
    """All of a small tree; names of one file are told by the first of them."""
    found, first = {}, {}
    for folder, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(directories + files):
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            relative = os.path.relpath(path, top)
            kind, mode, size, links, *when = attributes(seen)
            content = same = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                same = first.setdefault(seen.st_ino, relative)
                with open(path, "rb") as file:
                    content = file.read()
                content = content, os.listxattr(path)
            found[relative] = (kind, mode, size, links, same, content, when if times else None)
    for name in (folder + name for folder in FOLDERS for name in NAMES):
        if name not in found:
            try:
                found[name] = attributes(os.lstat(f"{top}/{name}"))
            except OSError as error:
                found[name] = errno.errorcode[error.errno], None
    return found


def _seen(descriptor):
    kind, mode, size, links, *_ = attributes(os.fstat(descriptor))
    return kind, mode, size, links, os.pread(descriptor, 1 << 20, 0)


class _Actors:
    """Guest, host and the local directory in which every operation is done, too."""

    def __init__(self, rig, seed):
        self.rig, self.chance = rig, random.Random(seed)
        self.host, self.guest = rig.host(f"tree{seed}"), rig.guest(f"tree{seed}")
        self.local = os.path.join(world.case_directory("local"), f"tree{seed}")
        os.makedirs(self.local)
        os.mkdir(self.local + "-store")
        self.open = []  # (in the guest, local)
        self.done, self.times, self.what = [], [], f"seed {seed}"
        with as_owner():
            os.mkdir(self.host)
            os.mkdir(self.host + "-store")
        for folder in FOLDERS[1:]:
            os.mkdir(self.local + "/" + folder)
            with as_owner():
                os.mkdir(self.host + "/" + folder)

    def _difference(self):
        """How the host differs from the local directory, or the guest from the host; None when nothing differs."""
        host, local = _picture(self.host, True), _picture(self.local, False)
        if local != {name: (*value[:-1], None) for name, value in host.items()}:
            return f"local {local!r:.1500}\nhost {host!r:.1500}"
        try:
            guest = _picture(self.guest, True)
        except OSError as error:  # what was listed went away
            return f"guest: {error}"
        names = [name for name in sorted(host.keys() | guest.keys()) if host.get(name, 0) != guest.get(name, 0)]
        if names:
            return "\n".join(f"{name}: host {host.get(name)!r:.300}\n guest {guest.get(name)!r:.300}" for name in names)
        for here, there in self.open:
            if _seen(here) != _seen(there):
                return f"an open file: guest {_seen(here)!r:.300}, local {_seen(there)!r:.300}"
        return None

    def _do(self, who):
        choice = _Choice(self.chance, self.local, who == "host")
        self.done.append(f"{who}: {choice.text}")
        wanted = choice.outcome(self.local)
        if who == "host":
            with as_owner():
                got = choice.outcome(self.host)
        else:
            got = choice.outcome(self.guest)
        assert got == wanted, self._told(f"{got} instead of {wanted}: {_picture(self.local, False)!r:.2000}")

    def step(self):
        """An operation of the guest, or one or some of the host, and the comparison."""
        chance = self.chance
        who = chance.choice(("guest", "host", "host"))
        for _ in range(chance.choice((1, 1, 1, 5)) if who == "host" else 1):
            self._do(who)
        begin = time.monotonic()
        while True:
            started = time.monotonic()
            found = self._difference()
            if found is None:
                break
            assert who == "host", self._told("not the same at once:\n" + found)
            assert started - begin < SOON, self._told(f"not the same after {SOON} s:\n{found}")
            time.sleep(0.0002)
        if who == "host":
            self.times.append(started - begin)
        self._open_and_close(chance)

    def _open_and_close(self, chance):
        if chance.randrange(4) == 0:
            path = _Choice._path(chance)
            if os.path.isfile(self.local + path):
                self.open.append(tuple(os.open(top + path, os.O_RDWR) for top in (self.guest, self.local)))
        if len(self.open) > 4:
            for descriptor in self.open.pop(chance.randrange(4)):
                os.close(descriptor)

    def _told(self, what):
        return f"{self.what}, operation {len(self.done)}: {what}\n" + "\n".join(self.done[-12:])

    def end(self):
        for pair in self.open:
            for descriptor in pair:
                os.close(descriptor)


def _play(rig, operations, seed):
    times, late = [], 0
    for number in range(0, operations, A_TREE):
        actors = _Actors(rig, seed + number)
        for _ in range(min(A_TREE, operations - number)):
            actors.step()
            late = sum(took > AT_ONCE for took in actors.times)
            assert late < 20 or late < len(actors.times) / 10, actors._told(f"{late} of {len(actors.times)} are late")
        times += actors.times
        actors.end()
    print(f"# {len(times)} operations by the host, ms until the guest is right: p50 {quantile(times, 0.5) * 1000:.2f}, "
          f"p99 {quantile(times, 0.99) * 1000:.2f}, worst {max(times) * 1000:.2f}", flush=True)


@case
def operations_of_guest_and_host_in_turn():
    rig = Rig("cache=auto")
    _play(rig, OPERATIONS, SEED)
    rig.end()


@case
def operations_in_turn_with_few_descriptors():
    rig = Rig("cache=auto", server_arguments=("--descriptors", "32"))
    _play(rig, OPERATIONS // 3, SEED + 1_000_000)
    rig.end()


@case
def operations_in_turn_without_a_cache():
    rig = Rig("cache=none")
    _play(rig, OPERATIONS // 3, SEED + 2_000_000)
    rig.end()


run(120 + OPERATIONS // 50)
