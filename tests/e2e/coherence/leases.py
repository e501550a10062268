#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Every kind of change by the host times every way of looking in the guest: what is known costs no message, and a change
is in the guest at once, however long it was known.

BINDSHARE_ROUNDS is how often each pair is tried (docs/TESTING.md).
"""
import functools
import os
import time

from lib import Rig, case, run
from lib.changes import CHANGES, as_owner
from lib.common import messages
from lib.freshness import SETTLED, SLOW, Matrix, Sides, problems
from lib.looks import LOOKS

ROUNDS = int(os.environ.get("BINDSHARE_ROUNDS", "2" if SLOW else "4"))
# What reads makes the kernel ask for attributes again, since it does not know the time of the last access any more.
READS = {"open+read", "listdir", "scandir+stat", "cwd"}


# The server looks again each so many seconds (fileserver/worker/leases/leases.h) for what no event tells.
LOOKS_AGAIN, BUSY = 10, 10
# A second name in a directory that the guest does not know, and what is done by that name; and by another name of a
# file that the guest has mapped and asks nobody about. Whoever opens the file is right at once.
UNTOLD = {("link elsewhere, write", look) for look in ("stat", "fstat", "pread", "mmap", "scandir+stat")} | {
    (change.name, "mmap") for change in CHANGES if change.name.startswith("other name: ")}


@functools.cache
def _measured():
    rig = Rig("cache=auto")
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), LOOKS, without=UNTOLD)
    problem = None
    try:
        for number in range(ROUNDS):
            matrix.round(waited=number % 2 == 1)
        matrix.told()
        rig.end()
    except AssertionError as error:  # it is told by the first case, and the others tell what was seen
        problem = error
    return matrix, problem


def _fail(found):
    assert not found, f"{len(found)}:\n" + "\n".join(found[:12])


@case
def every_pair_is_looked_at():
    """Each change is seen by some look, each look sees some changes, of each kind as many as there must be."""
    matrix, problem = _measured()
    if problem:
        raise problem
    seen = {(one.change, one.look) for one in matrix.seen}
    assert {change for change, _ in seen} == {change.name for change in CHANGES}
    assert {look for _, look in seen} == {look.name for look in LOOKS}
    assert len(seen) >= 150, len(seen)


def _change_is_seen(change):
    def see():
        seen = _measured()[0].of(change)
        assert seen, "it was not tried"
        _fail(problems(seen))
    see.__name__ = "a change by the host is seen: " + change.name
    return see


for _change in CHANGES:
    case(_change_is_seen(_change))


# What the kernel keeps in pages, some machines take back now and then, with all that they hold for unused.
TAKEN_BACK = {"read", "readlink"}


@case
def what_is_known_costs_no_message():
    matrix, found = _measured()[0], []
    for look in LOOKS:
        keeps = (*look.keeps, "getattr", "opendir", "releasedir") if look.name in READS else look.keeps
        cost = {name: count for name, count in matrix.requests[look.name].items() if name not in keeps}
        if {*cost} - TAKEN_BACK or sum(cost.values()) > matrix.counted[look.name] // 16:
            found.append(f"{look.name}: {cost} for {matrix.counted[look.name]} looks")
    _fail(found)


@case
def trees_that_follow_removed_ones_are_seen():
    """The old ones stay longer than the server keeps descriptors that nobody needs (three seconds)."""
    rig = Rig("cache=auto")
    sides = Sides(rig.host, rig.guest, mount=rig.mount)
    matrix = Matrix(sides, LOOKS, [change for change in CHANGES if change.covered], UNTOLD)
    matrix.round(rest=6)
    matrix.round(waited=True)
    _fail(problems(matrix.seen))
    rig.end()


@case
def what_no_event_tells_is_seen_when_the_server_looks_again():
    rig = Rig("cache=auto")
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), LOOKS)
    found = matrix.together(UNTOLD, LOOKS_AGAIN + BUSY)
    assert len(found) == len(UNTOLD), sorted(found)
    times = sorted(seconds for seconds in found.values() if seconds is not None)
    print("# seconds until it is right: " + ", ".join(f"{seconds:.2f}" for seconds in times), flush=True)
    _fail([f"{pair}: not within {LOOKS_AGAIN + BUSY} s" for pair, seconds in found.items() if seconds is None])
    rig.end()


@case
def looking_again_finds_nothing_where_nothing_has_changed():
    """Nor what the guest itself has written since it looked."""
    rig = Rig("cache=auto")
    with as_owner():
        for name in ("a", "b"):
            os.mkdir(rig.host(name))
            for number in range(200):
                with open(rig.host(f"{name}/{number}"), "w", encoding="ascii") as file:
                    file.write(name)
            os.symlink("0", rig.host(f"{name}/link"))
    known = [f"{folder}/{name}" for folder in ("a", "b") for name in os.listdir(rig.guest(folder))]
    for name in known:
        os.lstat(rig.guest(name))
    for number in range(100):
        with open(rig.guest(f"b/{number}"), "a", encoding="ascii") as file:
            file.write("more")
    os.chmod(rig.guest("b/150"), 0o600)
    os.utime(rig.guest("b/151"), (3, 4))
    time.sleep(SETTLED)
    for name in known:
        os.lstat(rig.guest(name))
    time.sleep(LOOKS_AGAIN + 2)
    before = rig.mount.stats()
    for name in known:
        seen, there = os.lstat(rig.guest(name)), os.lstat(rig.host(name))
        assert (seen.st_size, seen.st_ctime_ns, seen.st_nlink) == (there.st_size, there.st_ctime_ns, there.st_nlink)
    cost = messages.between(before, rig.mount.stats())["fuse"]
    assert not cost, cost
    rig.end()


@case
def without_a_cache_every_look_is_right_at_once():
    """But for a mapping that is there already: the kernel asks nobody when a page of it is touched."""
    rig = Rig("cache=none")
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), [look for look in LOOKS if look.name != "mmap"])
    matrix.round()
    _fail([f"{one.change}, {one.look}: not at the first look" for one in matrix.seen if not one.first])
    rig.end()


run(180 + 10 * ROUNDS)
