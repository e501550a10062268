#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the guest knows costs no message, however long ago it asked; a change costs what is changed and no more."""
import os
import shutil
import subprocess
import time

from lib import Rig, as_user, case, run, skip
from lib.changes import as_owner

LONG = 3.0  # three times what a time-out lasts
OPENDIR = {"opendir", "releasedir"}  # counted by themselves


def _tree(rig):
    """40 directories of 20 files and 3 links."""
    with as_owner():
        for folder in range(40):
            os.makedirs(rig.host(f"tree/{folder}"))
            for number in range(20):
                with open(rig.host(f"tree/{folder}/f{number}"), "w", encoding="ascii") as file:
                    file.write("x" * number)
            for number in range(3):
                os.symlink(f"f{number}", rig.host(f"tree/{folder}/l{number}"))
    time.sleep(0.3)  # what was changed just now is not kept


def _walk(top):
    """Everything is listed and looked at, link targets too."""
    count = 0
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(folder, name)
            os.lstat(path)
            if os.path.islink(path):
                os.readlink(path)
            count += 1
    return count


def _look(function, names):
    for name in names:
        function(name)


def _second(rig, what, function, beside=()):
    """
    What function costs the second time, LONG after the first. beside: what may be asked nevertheless. Leases may be
    given up and given anew at any time, which costs more once, so that it is tried three times.
    """
    for left in (2, 1, 0):
        function()
        time.sleep(LONG)
        with rig.mount.counted() as counts:
            function()
        print(f"# {what}: {counts.fuse or 'no request'}", flush=True)
        asked = {name: count for name, count in counts.fuse.items() if name not in beside}
        quiet = ("getattr", "opendir", "release") if beside else ()
        rpcs = {name: count for name, count in counts.rpc.items() if name not in quiet}
        if not asked and not rpcs:
            return
        assert left, f"{what}: {asked}, RPCs {rpcs}"


@case
def a_stat_costs_nothing():
    rig = Rig("cache=auto")
    _tree(rig)
    names = [rig.guest(f"tree/{folder}/f{number}") for folder in range(40) for number in range(20)]
    _second(rig, "800 stats", lambda: _look(os.stat, names))
    _second(rig, "40 stats of directories", lambda: _look(os.stat, [os.path.dirname(name) for name in names[::20]]))


@case
def a_missing_name_costs_nothing():
    rig = Rig("cache=auto")
    _tree(rig)
    names = [rig.guest(f"tree/{folder}/missing{number}") for folder in range(40) for number in range(20)]
    assert not any(map(os.path.exists, names))
    _second(rig, "800 missing names", lambda: _look(os.path.lexists, names))


@case
def a_link_target_costs_nothing():
    rig = Rig("cache=auto")
    _tree(rig)
    names = [rig.guest(f"tree/{folder}/l{number}") for folder in range(40) for number in range(3)]
    _second(rig, "120 link targets", lambda: _look(os.readlink, names))
    _second(rig, "120 files through links", lambda: _look(os.stat, names))


@case
def a_listing_costs_nothing():
    rig = Rig("cache=auto")
    _tree(rig)
    names = [rig.guest(f"tree/{folder}") for folder in range(40)]
    assert sorted(os.listdir(names[0])) == sorted(os.listdir(rig.host("tree/0")))
    # The kernel asks for a directory's attributes again after it was read, for the time of the last access.
    _second(rig, "40 listings", lambda: _look(os.listdir, names), (*OPENDIR, "getattr"))


@case
def a_walk_that_looks_at_everything_costs_nothing():
    rig = Rig("cache=auto")
    _tree(rig)
    assert _walk(rig.guest()) == 40 * 24 + 1
    _second(rig, "a walk", lambda: _walk(rig.guest()), OPENDIR)


@case
def git_status_of_an_unchanged_tree_costs_nothing():
    if shutil.which("git") is None:
        skip("git is not installed")
    rig = Rig("cache=auto")
    _tree(rig)
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    base = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*", "-C"]
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
        done = as_user([*base, rig.host("tree"), *arguments], env=environment)
        assert done.returncode == 0, done.stderr

    def status():
        done = subprocess.run([*base, rig.guest("tree"), "status", "--porcelain"], env=environment, check=True,
                              capture_output=True, text=True)
        assert done.stdout == "", done.stdout

    status()  # writes its index anew, by the guest's numbers
    time.sleep(LONG)
    status()
    time.sleep(LONG)
    with rig.mount.counted() as counts:
        status()
    print(f"# git status: {counts.fuse}, RPCs {counts.rpc}", flush=True)
    assert not {"readdir", "readdirplus", "readlink"} & counts.fuse.keys(), counts.fuse
    # Its lock, and what it reads of its own.
    assert counts.fuse.get("lookup", 0) <= 4 and counts.fuse.get("getattr", 0) <= 8, counts.fuse


@case
def what_was_read_is_not_read_again():
    rig = Rig("cache=auto")
    _tree(rig)
    names = [rig.guest(f"tree/{folder}/f{number}") for folder in range(40) for number in range(20)]

    def read():
        for name in names:
            with open(name, "rb") as file:
                file.read()

    # The second time the kernel asks for attributes, since the first one has moved the time of the last access.
    for _ in range(2):
        read()
        time.sleep(LONG)
    with rig.mount.counted() as counts:
        read()
    print(f"# 800 files opened, read, closed: {counts.fuse}, RPCs {counts.rpc}", flush=True)
    assert "lookup" not in counts.fuse and counts.fuse.get("getattr", 0) <= len(names), counts.fuse
    # A watch or a descriptor may be given up at any time.
    assert sum(counts.rpc.values()) <= len(names) // 20, counts.rpc


@case
def a_change_by_the_host_costs_what_it_concerns():
    """One file of 800 is changed: not everything is asked for again."""
    rig = Rig("cache=auto")
    _tree(rig)
    _walk(rig.guest())
    time.sleep(LONG)
    with as_owner():
        with open(rig.host("tree/3/f3"), "a", encoding="ascii") as file:
            file.write("more")
        os.unlink(rig.host("tree/5/f5"))
    time.sleep(0.5)
    with rig.mount.counted() as counts:
        count = _walk(rig.guest())
    print(f"# a walk after two changes: {counts.fuse}, RPCs {counts.rpc}", flush=True)
    assert count == 40 * 24
    asked = sum(number for name, number in counts.fuse.items() if name not in OPENDIR)
    assert asked <= 24 + 23 + 10, counts.fuse
    rig.end()


run(180)
