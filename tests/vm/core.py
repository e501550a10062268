#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The core of the e2e suite in a guest with a kernel of its own: bindshare-mount over a real vsock device, the server on
this side.

BINDSHARE_VM_KERNEL chooses another kernel (tests/vm/virtual/parts.py), BINDSHARE_VM_SUITES other files of tests/e2e:
"name", or "name:word,word" for those of their cases whose names contain one of the words.
"""
import os
import queue
import sys

import host
from lib import tap

KERNEL = os.environ.get("BINDSHARE_VM_KERNEL", "6.12")
# The large directories come last: the host's disk is busy afterwards, and tests that synchronise would wait for it.
SUITES = os.environ.get("BINDSHARE_VM_SUITES", """basic_work whole_interface calls_data model:local_directory,cache
    host_changes read_only locks server_gone killable many_at_once directories:exactly_once,sought
    message_counts:large,small,days,idle,100000""").split()
SECONDS = int(os.environ.get("BINDSHARE_VM_SECONDS", "900"))


def _run(guest, suite):
    """The lines of a file of cases that runs in the guest."""
    pieces = queue.Queue()
    name, *words = suite.replace(",", ":").split(":")
    running = guest.machine.start(["/usr/bin/python3", host.case_file(name), *words], guest.environment,
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
