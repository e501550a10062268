#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A host that lies to bindshare-guestd about what it shares: nothing of the guest is covered or used up."""
import struct

from lib import Guest, case, run, wait_for
from lib.false import FOLLOW, PROOF, SHARE, CHANGED, FalseServer, challenge, frame

SERVED = 1
PATH_SIZE = 4096


def _list(paths, count=None):
    """Answers of a server that shares paths; count: what it says how many they are. Nothing can be mounted of it."""
    def answer(op, number, payload, state):
        if op == FOLLOW:
            return challenge(op, number, payload)
        if op == PROOF:
            return frame(CHANGED, 1, struct.pack("<QI", 1, len(paths) if count is None else count), flags=0)
        if op == SHARE:
            index = struct.unpack("<QI", payload)[1]
            path = paths[index % len(paths)].encode().ljust(PATH_SIZE, b"\0")
            return frame(SHARE, number, path + path + struct.pack("<II", SERVED, 0))
        return None
    return answer


@case
def more_shares_than_a_server_has_are_not_believed():
    for count in (1025, 100000, 0xffffffff):
        guest = Guest("unix:" + FalseServer(_list(["/srv/share"], count)).path)
        guest.start(wait=False)
        wait_for(lambda guest=guest: guest.ask("status")["server"]["state"] == "refused", "it is not believed")
        status = guest.ask("status")
        assert f"tells of {count} shared directories" in status["server"]["error"], status
        assert not status["shares"]
        guest.stop()
        guest.end()
    guest = Guest("unix:" + FalseServer(_list([f"/srv/share{number}" for number in range(1024)])).path)
    guest.start(wait=False)
    wait_for(lambda: len(guest.ask("status")["shares"]) == 1024, "as many as there can be are taken")
    guest.stop()


run()
