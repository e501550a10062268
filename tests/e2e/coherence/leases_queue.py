#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
A queue that holds few events makes the guest ask more often, and never shows it anything wrong. The length of queues
is the machine's: no other test may make a mount meanwhile.
"""
import contextlib
import os
import signal

from lib import Rig, case, run, skip
from lib.changes import as_owner
from lib.freshness import settle
from lib.scarce import is_never_wrong, leases, write_tree
from lib.trees import difference_of

QUEUE = "/proc/sys/fs/fanotify/max_queued_events"


@contextlib.contextmanager
def _queue(length):
    """Of the mounts that are made meanwhile."""
    with open(QUEUE, encoding="ascii") as file:
        before = file.read()
    try:
        with open(QUEUE, "w", encoding="ascii") as file:
            file.write(str(length))
    except OSError as error:
        skip(f"{error}: the length of queues cannot be set here")
    try:
        yield
    finally:
        with open(QUEUE, "w", encoding="ascii") as file:
            file.write(before)


@case
def with_a_queue_of_sixteen_events():
    with _queue(16):
        rig = Rig("cache=auto")
        os.stat(rig.guest())
    is_never_wrong(rig)
    # More than sixteen at once, for certain.
    rig.server.signal(rig.server.worker(), signal.SIGSTOP)
    try:
        with as_owner():
            write_tree(rig, 3)
    finally:
        os.kill(rig.server.worker(), signal.SIGCONT)
    settle(rig.server, rig.share)
    assert not difference_of(rig.host("tree"), rig.guest("tree"))
    assert leases(rig)["overflows"] > 0, leases(rig)
    rig.end()


run(180)
