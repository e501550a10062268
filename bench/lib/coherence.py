# SPDX-License-Identifier: Apache-2.0
"""How soon, and whether, a change by the host is seen through a peer that knew the state before."""
import mmap
import os
import time

from .peers import GID, UID
from .sqlite_work import latency_row
from .workload import Failed, Workload

KNOWN = 1.3     # seconds for which the peer has known what changes then: longer than a time-out of a second
GIVEN_UP = 2.0  # seconds: who has not seen it by then never does
SIZE = 3000


def _text(word):
    return (word * SIZE)[:SIZE].encode()


def _write(path, content):
    with open(path, "wb") as file:
        file.write(content)
    if os.geteuid() == 0:
        os.chown(path, UID, GID)


def _in_place(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def _over(path, name, target=None):
    new = f"{path}/new"
    if target:
        os.symlink(target, new)
    else:
        _write(new, _text("after ")[:-5])
    os.rename(new, f"{path}/{name}")


CHANGES = {
    "write in place": lambda d: _in_place(f"{d}/file", 0, _text("after ")),
    "append": lambda d: _in_place(f"{d}/file", SIZE, b"more"),
    "truncate": lambda d: os.truncate(f"{d}/file", 100),
    "replace by rename": lambda d: _over(d, "file"),
    "remove": lambda d: os.unlink(f"{d}/file"),
    "make": lambda d: _write(f"{d}/missing", b"made"),
    "rename": lambda d: os.rename(f"{d}/file", f"{d}/missing"),
    "chmod": lambda d: os.chmod(f"{d}/file", 0o600),
    "link replaced": lambda d: _over(d, "link", "after"),
    "directory removed": lambda d: os.rmdir(f"{d}/sub"),
}


def _stat(path, _kept):
    seen = os.stat(f"{path}/file")
    return seen.st_size, seen.st_mode, seen.st_mtime_ns


def _read(path, _kept):
    with open(f"{path}/file", "rb") as file:
        return file.read()


LOOKS = {
    "stat": _stat,
    "open and read": _read,
    "read of an open file": lambda _path, kept: os.pread(kept[0], 2 * SIZE, 0),
    "mapping": lambda _path, kept: kept[1][:100],
    "listing": lambda path, _kept: sorted(os.listdir(path)),
    "missing name": lambda path, _kept: os.path.lexists(f"{path}/missing"),
    "link target": lambda path, _kept: os.readlink(f"{path}/link"),
    "directory": lambda path, _kept: os.path.isdir(f"{path}/sub"),
}
# Read by one call, so that what is neither the old nor the new content is a mixture of both.
WHOLE = ("open and read", "read of an open file")


class _Side:
    """A directory of one trial, on the host or through the peer, with its open file and mapping."""

    def __init__(self, path):
        self.path = path
        descriptor = os.open(f"{path}/file", os.O_RDONLY)
        self.kept = descriptor, mmap.mmap(descriptor, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)

    def see(self, look):
        try:
            return LOOKS[look](self.path, self.kept)
        except OSError as error:
            return error.errno

    def end(self):
        self.kept[1].close()
        os.close(self.kept[0])


class Coherence(Workload):
    """Not among those of bindshare-bench run: what it tells is not how fast something is done."""
    name, title = "coherence", "how soon a change by the host is seen"

    def _trials(self):
        return [(change, look, number) for number in range(1 if self.quick else 3) for change in CHANGES
                for look in LOOKS if not (change == "truncate" and look == "mapping")]  # that would be SIGBUS

    def prepare(self, host):
        for number in range(len(self._trials())):
            path = f"{host}/{number}"
            os.mkdir(path)
            os.mkdir(path + "/sub")
            _write(path + "/file", _text("before "))
            os.symlink("before", path + "/link")
            for name in ("", "/sub", "/link"):
                if os.geteuid() == 0:
                    os.chown(path + name, UID, GID, follow_symlinks=False)

    def run(self, guest, host):
        trials = self._trials()
        sides = [(_Side(f"{host}/{number}"), _Side(f"{guest}/{number}")) for number in range(len(trials))]
        try:
            for _ in range(2):
                for (_change, look, _number), (here, there) in zip(trials, sides):
                    if look != "stat" and here.see(look) != there.see(look):
                        raise Failed(f"{look} differs before anything has changed")
                    there.see(look)
                time.sleep(KNOWN)
            seen = [(change, *_watch(here, there, change, look))
                    for (change, look, _number), (here, there) in zip(trials, sides)]
        finally:
            for here, there in sides:
                there.end()
                here.end()
        return _rows([one for one in seen if one[1] is not None])


def _watch(here, there, change, look):
    """(nanoseconds until it was right, first look was right, torn); None where the change makes no difference."""
    old, old_there = here.see(look), there.see(look)
    CHANGES[change](here.path)
    begin = time.monotonic_ns()
    new = here.see(look)
    if new == old:
        return None, True, False
    # What is not shown as on the host at all (times, for some) is right once it differs from what it was.
    same = old == old_there
    first, torn = None, False
    while True:
        started = time.monotonic_ns()
        value = there.see(look)
        right = value == new if same else value != old_there
        first = right if first is None else first
        torn = torn or (look in WHOLE and isinstance(value, bytes) and value not in (old, new))
        if right or started - begin > GIVEN_UP * 1e9:
            return (started - begin if right else int(GIVEN_UP * 1e9)), first, torn
        time.sleep(0.0001)


def _rows(seen):
    """A row for each change, and for all of them together."""
    rows = [latency_row(f"seen: {change}", [taken for name, taken, _, _ in seen if name == change])
            for change in CHANGES]
    rows.append(latency_row("seen: all", [taken for _, taken, _, _ in seen]))
    for row, count in (("looks", len(seen)), ("first look wrong", sum(not first for _, _, first, _ in seen)),
                       ("never seen", sum(taken >= GIVEN_UP * 1e9 for _, taken, _, _ in seen)),
                       ("torn", sum(torn for _, _, _, torn in seen))):
        rows.append({"row": row, "unit": "count", "value": count})
    return rows
