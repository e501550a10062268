#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The core of the e2e suite in a guest with a kernel of its own: bindshare-mount over a real vsock device, the server on
this side.

BINDSHARE_VM_KERNEL chooses another kernel (tests/vm/virtual/parts.py), BINDSHARE_VM_SUITES other files of tests/e2e.
"""
import os
import queue
import sys

import host
from lib import tap

KERNEL = os.environ.get("BINDSHARE_VM_KERNEL", "6.12")
SUITES = os.environ.get("BINDSHARE_VM_SUITES", """basic_work whole_interface host_changes read_only locks
    directories calls_data message_counts model server_gone killable many_at_once""").split()
SECONDS = int(os.environ.get("BINDSHARE_VM_SECONDS", "900"))


def _run(guest, suite):
    """The lines of a file of cases that runs in the guest."""
    pieces = queue.Queue()
    running = guest.machine.start(["/usr/bin/python3", f"/bindshare/tests/e2e/{suite}.py"], guest.environment,
                                  on_output=pieces.put)
    rest = ""
    while True:
        try:
            rest += pieces.get(timeout=0.1)
        except queue.Empty:
            if running.ended.is_set() and pieces.empty():
                break
            if not guest.machine.alive():
                raise RuntimeError(f"the machine ended: {guest.machine.tail()}") from None
            continue
        *lines, rest = rest.split("\n")
        yield from lines
    yield from rest.split("\n") if rest else ()
    running.wait(1)


def main():
    guest = host.Guest(KERNEL)
    try:
        print(f"# the guest's kernel: {guest.machine.release}", flush=True)
        return tap.relay(SUITES, lambda suite: _run(guest, suite))
    finally:
        guest.stop()


if host.world.INSIDE not in os.environ:
    REASON = host.needed(KERNEL)
    if REASON:
        print(f"1..0 # SKIP {REASON}")
        sys.exit(0)
tap.run_function(main, SECONDS)
