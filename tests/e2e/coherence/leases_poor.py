#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What is scarce makes the guest ask more often, and never shows it anything wrong: few watches, a short queue of events,
inotify in place of fanotify, no watch at all. Every kind of change by the host times every way of looking, and trees
that are written anew while the guest walks them.
"""
import contextlib
import json
import os
import signal
import threading
import time

from lib import Rig, case, freshness, run, skip
from lib.changes import CHANGES, as_owner
from lib.freshness import Matrix, Sides, settle
from lib.looks import LOOKS
from lib.trees import difference_of

freshness.GIVEN_UP = 6.0  # seconds: without a lease it is one, and sanitizers take their time
QUEUE = "/proc/sys/fs/fanotify/max_queued_events"
# Seen when the server looks again at all files, which takes longer (coherence/leases.py). And what no lease covers a
# mapping that is there already does not show (docs/POSIX.md).
UNTOLD = {("link elsewhere, write", look.name) for look in LOOKS}
SEEN_BY = [look for look in LOOKS if look.name != "mmap"]


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


def _leases(rig):
    mount, = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    return mount["leases"]


def _every_look_is_right(rig):
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), SEEN_BY,
                    [change._replace(covered=False) for change in CHANGES], UNTOLD)
    matrix.round()
    matrix.told()
    wrong = [f"{one}" for one in matrix.seen if one.latency is None]
    wrong += [f"{one}, torn: {one.torn}" for one in matrix.seen if one.torn]
    assert len(matrix.seen) >= 150 and not wrong, f"{len(wrong)} of {len(matrix.seen)}: {wrong[:10]}"


def _write(rig, turn):
    for folder in range(30):
        os.makedirs(rig.host(f"tree/{folder}"), exist_ok=True)
        for number in range(20):
            name = rig.host(f"tree/{folder}/{number}")
            if (folder + number + turn) % 5 == 0:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
            else:
                with open(name, "w", encoding="ascii") as file:
                    file.write(f"{turn} {folder} {number}" * (turn + 1))


def _every_tree_is_right(rig):
    stop = threading.Event()

    def walk():
        while not stop.is_set():
            for folder, _, files in os.walk(rig.guest("tree")):
                for name in files:
                    with contextlib.suppress(FileNotFoundError):
                        os.stat(os.path.join(folder, name))

    thread = threading.Thread(target=walk)
    thread.start()
    try:
        for turn in range(3):
            with as_owner():
                _write(rig, turn)
            settle(rig.server, rig.share)
            found = difference_of(rig.host("tree"), rig.guest("tree"))
            assert not found, f"turn {turn}: {found}"
            time.sleep(0.2)
    finally:
        stop.set()
        thread.join()


def _is_never_wrong(rig):
    _every_look_is_right(rig)
    _every_tree_is_right(rig)
    print(f"# {_leases(rig)}", flush=True)


@case
def with_eight_watches():
    rig = Rig("cache=auto", server_arguments=("--watches", "8"))
    _is_never_wrong(rig)
    assert _leases(rig)["directories"] <= 8 == _leases(rig)["directories_max"], _leases(rig)
    rig.end()


@case
def with_a_queue_of_sixteen_events():
    with _queue(16):
        rig = Rig("cache=auto")
        os.stat(rig.guest())
    _is_never_wrong(rig)
    # More than sixteen at once, for certain.
    os.kill(rig.server.worker(), signal.SIGSTOP)
    try:
        with as_owner():
            _write(rig, 3)
    finally:
        os.kill(rig.server.worker(), signal.SIGCONT)
    settle(rig.server, rig.share)
    assert not difference_of(rig.host("tree"), rig.guest("tree"))
    assert _leases(rig)["overflows"] > 0, _leases(rig)
    rig.end()


@case
def with_inotify():
    rig = Rig("cache=auto", faults="worker.watch-begin:1:EMFILE")
    _is_never_wrong(rig)
    assert _leases(rig)["state"] == "given" and _leases(rig)["directories"] > 0, _leases(rig)
    rig.end()


@case
def with_nothing_to_watch_with():
    rig = Rig("cache=auto", faults="worker.watch-begin:1+:EMFILE")
    _is_never_wrong(rig)
    assert _leases(rig)["state"] == "no-watch" and _leases(rig)["directories"] == 0, _leases(rig)
    rig.end()


run(420)
