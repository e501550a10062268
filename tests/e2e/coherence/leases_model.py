#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Random operations by guest and host in turn. After each of the host's and `bindsharectl sync`, and now and then after
one of the guest's own without it, the whole tree is the same on both sides at the first look: names, missing names,
types, modes, sizes, numbers of links, times, contents, targets.

Many trees take their turns at the same time, so that one sync serves all of them: it may wait a second for what the
guest knows without a lease. Every other tree is full of hard links to a store that the guest knows, too.

BINDSHARE_OPERATIONS and BINDSHARE_SEED choose another length and other sequences (docs/TESTING.md).
"""
import os
import time

from lib import Rig, calls, case, run
from lib.control import ask
from lib.turns import Actors

OPERATIONS = int(os.environ.get("BINDSHARE_OPERATIONS", "3000"))
SEED = int(os.environ.get("BINDSHARE_SEED", "1"))
TREES = max(100, OPERATIONS // 200)
LOCAL_LOOK = 8  # turns: how often the local directory is compared, too
FORGET = 5      # turns: how often the guest's kernel forgets all that is not open
OWN_LOOK = 4    # operations of the guest's: how many of them are followed by a comparison


def _sync(rig):
    answer = ask(rig.server.control, "sync", path=rig.share)
    assert answer.get("mounts") == 1, answer


def _turn(rig, trees, with_local):
    """An operation in each tree. The seconds that sync took, None when there was nothing to wait for."""
    who = [tree.chance.choice(("guest", "guest", "host")) for tree in trees]
    for tree, actor in zip(trees, who):
        tree.do(actor)
        if actor == "guest" and tree.chance.randrange(OWN_LOOK) == 0:
            found = tree.difference(with_local)
            assert not found, tree.told("not the same at once:\n" + found)
    begin = time.monotonic()
    _sync(rig)
    took = time.monotonic() - begin
    for tree, actor in zip(trees, who):
        if actor == "host":
            found = tree.difference(with_local)
            assert not found, tree.told("not the same after sync:\n" + found)
        tree.open_and_close()
    return took


def _play(rig, operations, seed):
    trees = [Actors(rig, seed + number, number % 2 == 1) for number in range(min(TREES, operations))]
    turns = -(-operations // len(trees))
    times = []
    for number in range(turns):
        times.append(_turn(rig, trees, number % LOCAL_LOOK == LOCAL_LOOK - 1 or number == turns - 1))
        if number % FORGET == FORGET - 1:
            calls.forget_names(rig.mount.where)
    for tree in trees:
        tree.end()
    print(f"# {turns} operations in each of {len(trees)} trees; {sum(times):.0f} s of waiting for sync", flush=True)


@case
def after_sync_both_sides_show_the_same_tree():
    rig = Rig("cache=auto")
    _play(rig, OPERATIONS, SEED)
    rig.end()


run(120 + OPERATIONS // 100)
