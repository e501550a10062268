#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
A reply of the server and a change by the host cross: whichever the guest hears of first, what it sees afterwards is
right. A relay between mount and server holds the reply, or what tells of the change, back.
"""
import os
import threading
import time

from lib import GID, UID, Mount, Rig, case, read_file, run, wait_for, world
from lib.between import INVALIDATE, OPERATIONS, Between

SOON = 5.0
TIMES = 1 if world.AGENT else 3
BIG = 200_000 if world.AGENT else 3 << 20  # bytes: OPEN does not bring it along


def _put(path, content, mode=0o644):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.chown(path, UID, GID)


def _replace(path, content=b"new content"):
    _put(path + ".new", content)
    os.rename(path + ".new", path)


def _edit(path, size=11):
    with open(path, "r+b") as file:
        file.write(b"E" * size)


def _picture(path):
    """What can be seen of a name; it may be gone by the second look."""
    try:
        seen = os.lstat(path)
        kind = seen.st_mode & 0o170000
        content = (os.readlink(path) if kind == 0o120000 else sorted(os.listdir(path)) if kind == 0o040000
                   else read_file(path))
    except FileNotFoundError:
        return None
    return oct(seen.st_mode), seen.st_size if kind == 0o100000 else 0, seen.st_nlink, seen.st_mtime_ns, content


def _write(path, content=b"by the guest"):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)


def _two(path):
    """Two names are looked up, at the second of which the directory is fetched."""
    for name in ("big", "link"):
        os.lstat(f"{path}/{name}")


# name: (operation whose reply is held, the guest knows the names before, what the guest does, what the host does)
CROSSINGS = {
    "lookup, replaced": ("lookup", False, lambda g: os.stat(g + "/f"), lambda h: _replace(h + "/f")),
    "lookup, removed": ("lookup", False, lambda g: os.stat(g + "/f"), lambda h: os.unlink(h + "/f")),
    "lookup, moved away": ("lookup", False, lambda g: os.stat(g + "/f"), lambda h: os.rename(h + "/f", h + "/f~")),
    "lookup, written": ("lookup", False, lambda g: os.stat(g + "/f"), lambda h: _edit(h + "/f", 300)),
    "missing name, made": ("lookup", False, lambda g: os.path.exists(g + "/none"), lambda h: _put(h + "/none", b"x")),
    "missing name, moved there": ("lookup", False, lambda g: os.path.exists(g + "/none"),
                                  lambda h: os.rename(h + "/other", h + "/none")),
    "listing, made": ("opendir", False, os.listdir, lambda h: _put(h + "/none", b"x")),
    "listing, removed": ("opendir", False, os.listdir, lambda h: os.unlink(h + "/f")),
    "listing, renamed": ("opendir", False, os.listdir, lambda h: os.rename(h + "/f", h + "/none")),
    "listing, written": ("opendir", False, os.listdir, lambda h: _edit(h + "/f", 300)),
    "fetched, made": ("scan", False, _two, lambda h: _put(h + "/none", b"x")),
    "fetched, removed": ("scan", False, _two, lambda h: os.unlink(h + "/f")),
    "fetched, replaced": ("scan", False, _two, lambda h: _replace(h + "/f")),
    "fetched, moved away": ("scan", False, _two, lambda h: os.rename(h + "/f", h + "/f~")),
    "fetched, moved there": ("scan", False, _two, lambda h: os.rename(h + "/other", h + "/none")),
    "fetched, written": ("scan", False, _two, lambda h: _edit(h + "/f", 300)),
    "fetched, chmod": ("scan", False, _two, lambda h: os.chmod(h + "/f", 0o600)),
    "attributes, chmod": ("getattr", True, lambda g: os.stat(g + "/f"), lambda h: os.chmod(h + "/f", 0o600)),
    "attributes, written": ("getattr", True, lambda g: os.stat(g + "/f"), lambda h: _edit(h + "/f", 300)),
    "open with data, edited": ("open", True, lambda g: read_file(g + "/f"), lambda h: _edit(h + "/f")),
    "open with data, replaced": ("open", True, lambda g: read_file(g + "/f"), lambda h: _replace(h + "/f")),
    "open with data, cut": ("open", True, lambda g: read_file(g + "/f"), lambda h: os.truncate(h + "/f", 3)),
    "first open, edited": ("open", False, lambda g: read_file(g + "/f"), lambda h: _edit(h + "/f")),
    "first open, replaced": ("open", False, lambda g: read_file(g + "/f"), lambda h: _replace(h + "/f")),
    "first open, chmod": ("open", False, lambda g: read_file(g + "/f"), lambda h: os.chmod(h + "/f", 0o600)),
    "read, edited": ("read", False, lambda g: read_file(g + "/big"), lambda h: _edit(h + "/big", BIG)),
    "read, cut": ("read", False, lambda g: read_file(g + "/big"), lambda h: os.truncate(h + "/big", 70000)),
    "link target, replaced": ("readlink", False, lambda g: os.readlink(g + "/link"),
                              lambda h: (os.symlink("elsewhere", h + "/link~"), os.rename(h + "/link~", h + "/link"))),
    "create, chmod": ("create", True, lambda g: _write(g + "/none"),
                      lambda h: os.path.exists(h + "/none") and os.chmod(h + "/none", 0o600)),
    "create, removed": ("create", True, lambda g: _write(g + "/none"),
                        lambda h: os.path.exists(h + "/none") and os.unlink(h + "/none")),
    "mkdir, filled": ("mkdir", True, lambda g: os.mkdir(g + "/none"),
                      lambda h: os.path.exists(h + "/none") and _put(h + "/none/x", b"x")),
    "mkdir, removed": ("mkdir", True, lambda g: os.mkdir(g + "/none"),
                       lambda h: os.path.exists(h + "/none") and os.rmdir(h + "/none")),
    "symlink, replaced": ("symlink", True, lambda g: os.symlink("target", g + "/none"),
                          lambda h: _replace(h + "/none")),
    "chmod, written": ("setattr", True, lambda g: os.chmod(g + "/f", 0o640), lambda h: _edit(h + "/f", 300)),
    "truncate, written": ("setattr", True, lambda g: os.truncate(g + "/f", 5), lambda h: _edit(h + "/f", 300)),
    "write, chmod": ("write", True, lambda g: _write(g + "/f"), lambda h: os.chmod(h + "/f", 0o600)),
    "write, cut": ("write", True, lambda g: _write(g + "/f"), lambda h: os.truncate(h + "/f", 2)),
    "rename, old name made": ("rename", True, lambda g: os.rename(g + "/f", g + "/none"),
                              lambda h: _replace(h + "/f")),
    "rename, new name replaced": ("rename", True, lambda g: os.rename(g + "/f", g + "/none"),
                                  lambda h: _replace(h + "/none")),
    "link, removed": ("link", True, lambda g: os.link(g + "/f", g + "/none"), lambda h: os.unlink(h + "/f")),
    "unlink, made": ("unlink", True, lambda g: os.unlink(g + "/f"), lambda h: _replace(h + "/f")),
}


def _set_up(path):
    os.mkdir(path)
    for name in ("f", "other"):
        _put(f"{path}/{name}", b"old content")
    _put(path + "/big", b"b" * BIG)
    os.symlink("target", path + "/link")
    os.chown(path, UID, GID)


def _all(path):
    return {name: _picture(os.path.join(path, name))
            for name in {*os.listdir(path), "f", "other", "big", "link", "none", "f~"}}


def _is_same(guest, host):
    return sorted(os.listdir(guest)) == sorted(os.listdir(host)) and _all(guest) == _all(host)


class _Side:
    """One crossing in a directory of its own."""

    def __init__(self, rig, mount, name, number):
        self.operation, knows, self.guest_does, self.host_does = CROSSINGS[name]
        self.host, self.guest = rig.host(f"d{number}"), mount / f"d{number}"
        _set_up(self.host)
        wait_for(lambda: os.path.isdir(self.guest), "the directory", SOON)
        if knows:
            _all(self.guest)
        if self.operation == "open" and knows:
            os.chmod(self.guest + "/f", 0o644)  # it cannot be opened again without asking
        if self.operation == "getattr":
            os.utime(self.host + "/f", (1, 1))  # what the guest knew does not hold any more
            wait_for(lambda: os.stat(self.guest + "/f").st_mtime == 1, "the time", SOON)
            os.utime(self.host + "/f", (2, 2))
            time.sleep(0.05)

    def acts(self):
        """The guest, in a thread; failing is allowed: the host may have been first."""
        def act():
            try:
                self.guest_does(self.guest)
            except OSError:
                pass
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread


def _change_before(side, between):
    with between.held(INVALIDATE) as came:
        side.host_does(side.host)
        side.acts().join(SOON)
        came(0.2)


def _change_between(side, between):
    with between.held(OPERATIONS[side.operation]) as came:
        thread = side.acts()
        assert came(5), f"the server was not asked for {side.operation}"
        told = between.seen.count(INVALIDATE)
        side.host_does(side.host)
        deadline = time.monotonic() + 0.5
        while between.seen.count(INVALIDATE) == told and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.02)  # the guest has acted on it, as far as it can
    thread.join(SOON)


def _change_after(side, between):
    side.acts().join(SOON)
    side.host_does(side.host)


def _crossed(name):
    def cross():
        rig = Rig()
        between = Between(rig.server)
        mount = Mount(between, rig.share)
        changes = (_change_before, _change_between, _change_after) * TIMES
        sides = (_Side(rig, mount, name, number) for number in range(len(changes)))
        if CROSSINGS[name][0] == "scan":
            sides = list(sides)
            time.sleep(1.15)  # of what was changed just now it is not known which names are missing
        for side, change in zip(sides, changes):
            change(side, between)
            try:
                wait_for(lambda side=side: _is_same(side.guest, side.host), change.__name__, SOON)
            except AssertionError as error:
                seen, there = _all(side.guest), _all(side.host)
                raise AssertionError(f"{error}: " + ", ".join(
                    f"{key}: {str(seen.get(key))[:90]} for {str(there.get(key))[:90]}"
                    for key in {*seen, *there} if seen.get(key) != there.get(key))) from error
        mount.unmount()
        rig.end()
    cross.__name__ = "a change by the host crosses: " + name
    return cross


for _name in CROSSINGS:
    case(_crossed(_name))


@case
def an_open_file_has_lost_its_name_also_when_the_next_one_was_seen_before_the_news():
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    for folder, replace in (("one", _replace), ("many", lambda path: [_replace(path) for _ in range(3)])):
        _set_up(rig.host(folder))
        wait_for(lambda folder=folder: os.path.isdir(mount / folder), "the directory", SOON)
        with open(mount / f"{folder}/f", "rb") as kept:
            assert os.fstat(kept.fileno()).st_nlink == 1
            with between.held(INVALIDATE) as came:
                replace(rig.host(f"{folder}/f"))
                # Listed for the first time, and each entry with its attributes.
                assert "f" in [entry.name for entry in os.scandir(mount / folder)]
                assert os.stat(mount / f"{folder}/f").st_ino != os.fstat(kept.fileno()).st_ino
                assert came(SOON)
            wait_for(lambda kept=kept: os.fstat(kept.fileno()).st_nlink == 0, "no name is left", SOON)
            assert kept.read() == b"old content"
        assert read_file(mount / f"{folder}/f") == b"new content"
    mount.unmount()
    rig.end()

run(150)
