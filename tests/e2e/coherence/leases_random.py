#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Random operations by guest and host in turn. Each gives what it gives on a local directory; after it the small tree is
the same in all three places: in the guest at once after its own operations, soon after the host's.

BINDSHARE_OPERATIONS and BINDSHARE_SEED choose another length and another sequence (docs/TESTING.md).
"""
import os
import time

from lib import Rig, case, run
from lib.freshness import AT_ONCE, SOON, quantile
from lib.turns import Actors

OPERATIONS = int(os.environ.get("BINDSHARE_OPERATIONS", "500"))
SEED = int(os.environ.get("BINDSHARE_SEED", "1"))
A_TREE = 2000  # operations, and a fresh one is begun


def _step(actors):
    """
    An operation of the guest, or one or some of the host, and the comparison. The seconds until the guest was right
    after the host's, None after its own.
    """
    who = actors.chance.choice(("guest", "host", "host"))
    for _ in range(actors.chance.choice((1, 1, 1, 5)) if who == "host" else 1):
        actors.do(who)
    begin = time.monotonic()
    while True:
        started = time.monotonic()
        found = actors.difference()
        if not found:
            break
        assert who == "host", actors.told("not the same at once:\n" + found)
        assert started - begin < SOON, actors.told(f"not the same after {SOON} s:\n{found}")
        time.sleep(0.0002)
    actors.open_and_close()
    return started - begin if who == "host" else None


def _play(rig, operations, seed):
    times = []
    for number in range(0, operations, A_TREE):
        actors, own = Actors(rig, seed + number), []
        for _ in range(min(A_TREE, operations - number)):
            took = _step(actors)
            if took is not None:
                own.append(took)
            late = sum(took > AT_ONCE for took in own)
            assert late < 20 or late < len(own) / 10, actors.told(f"{late} of {len(own)} are late")
        times += own
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
