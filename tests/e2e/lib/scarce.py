# SPDX-License-Identifier: Apache-2.0
"""What must hold however little there is to watch with: every look is right, if only later, and so are whole trees."""
import contextlib
import json
import os
import threading
import time

from . import freshness
from .changes import CHANGES, as_owner
from .freshness import Matrix, Sides, settle
from .looks import LOOKS
from .trees import difference_of

# Seen when the server looks again at all files, which takes longer (coherence/leases.py). And what no lease covers a
# mapping that is there already does not show (docs/POSIX.md).
UNTOLD = {("link elsewhere, write", look.name) for look in LOOKS}
SEEN_BY = [look for look in LOOKS if look.name != "mmap"]


def leases(rig):
    """What bindsharectl status says of the leases of its mount."""
    mount, = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    return mount["leases"]


def _every_look_is_right(rig):
    freshness.GIVEN_UP = 6.0  # seconds: without a lease it is one, and sanitizers take their time
    matrix = Matrix(Sides(rig.host, rig.guest, mount=rig.mount), SEEN_BY,
                    [change._replace(covered=False) for change in CHANGES], UNTOLD)
    matrix.round()
    matrix.told()
    wrong = [f"{one}" for one in matrix.seen if one.latency is None]
    wrong += [f"{one}, torn: {one.torn}" for one in matrix.seen if one.torn]
    assert len(matrix.seen) >= 150 and not wrong, f"{len(wrong)} of {len(matrix.seen)}: {wrong[:10]}"


def write_tree(rig, turn):
    """A tree of 600 files, each turn anew and with other names missing."""
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
                write_tree(rig, turn)
            settle(rig.server, rig.share)
            found = difference_of(rig.host("tree"), rig.guest("tree"))
            assert not found, f"turn {turn}: {found}"
            time.sleep(0.2)
    finally:
        stop.set()
        thread.join()


def is_never_wrong(rig):
    """Changes times looks, then trees that are written anew while the guest walks them."""
    _every_look_is_right(rig)
    _every_tree_is_right(rig)
    print(f"# {leases(rig)}", flush=True)
