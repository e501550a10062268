#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Every kind of change by the host times every way of looking in the guest: what is known costs no message, and a change
is in the guest at once, however long it was known.

BINDSHARE_ROUNDS is how often each pair is tried (docs/TESTING.md).
"""
import functools
import os

from lib import Rig, case, run
from lib.changes import CHANGES
from lib.freshness import Matrix, Sides, problems
from lib.looks import LOOKS

ROUNDS = int(os.environ.get("BINDSHARE_ROUNDS", "4"))
# What reads makes the kernel ask for attributes again, since it does not know the time of the last access any more.
READS = {"open+read", "listdir", "scandir+stat", "cwd"}


def _is_blind(one):
    """
    Nothing tells of a change by another name of a hard link: of a file with several names a mapping keeps old pages,
    and a second name made in a directory that the guest does not know changes nothing at the first one.
    """
    return one.change == "link elsewhere, write" or (one.change.startswith("other name: ") and one.look == "mmap")


@functools.cache
def _measured():
    rig = Rig("cache=auto")
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), LOOKS)
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
        _fail(problems([one for one in seen if not _is_blind(one)]))
    see.__name__ = "a change by the host is seen: " + change.name
    return see


for _change in CHANGES:
    case(_change_is_seen(_change))


@case
def what_is_known_costs_no_message():
    matrix, found = _measured()[0], []
    for look in LOOKS:
        keeps = (*look.keeps, "getattr", "opendir", "releasedir") if look.name in READS else look.keeps
        cost = {name: count for name, count in matrix.requests[look.name].items() if name not in keeps}
        if cost:
            found.append(f"{look.name}: {cost} for {matrix.counted[look.name]} looks")
    _fail(found)


@case
def trees_that_follow_removed_ones_are_seen():
    """The old ones stay longer than the server keeps descriptors that nobody needs (three seconds)."""
    rig = Rig("cache=auto")
    sides = Sides(rig.host, rig.guest, mount=rig.mount)
    matrix = Matrix(sides, LOOKS, [change for change in CHANGES if change.covered])
    matrix.round(rest=6)
    matrix.round(waited=True)
    _fail(problems(matrix.seen))
    rig.end()


@case
def without_a_cache_every_look_is_right_at_once():
    """But for a mapping that is there already: the kernel asks nobody when a page of it is touched."""
    rig = Rig("cache=none")
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), [look for look in LOOKS if look.name != "mmap"])
    matrix.round()
    _fail([f"{one.change}, {one.look}: not at the first look" for one in matrix.seen if not one.first])
    rig.end()


run(120 + 10 * ROUNDS)
