#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What is scarce makes the guest ask more often, and never shows it anything wrong: few watches, inotify in place of
fanotify, no watch at all (a short queue of events: leases_queue.py). Every kind of change by the host times every way
of looking, and trees that are written anew while the guest walks them.
"""
from lib import Rig, case, run
from lib.scarce import is_never_wrong, leases


@case
def with_eight_watches():
    rig = Rig("cache=auto", server_arguments=("--watches", "8"))
    is_never_wrong(rig)
    assert leases(rig)["directories"] <= 8 == leases(rig)["directories_max"], leases(rig)
    rig.end()


@case
def with_inotify():
    rig = Rig("cache=auto", faults="worker.watch-begin:1:EMFILE")
    is_never_wrong(rig)
    assert leases(rig)["state"] == "given" and leases(rig)["directories"] > 0, leases(rig)
    rig.end()


@case
def with_nothing_to_watch_with():
    rig = Rig("cache=auto", faults="worker.watch-begin:1+:EMFILE")
    is_never_wrong(rig)
    assert leases(rig)["state"] == "no-watch" and leases(rig)["directories"] == 0, leases(rig)
    rig.end()


run(360)
