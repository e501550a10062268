#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server that refuses, talks nonsense or lies from the first message on: words, an exit code, nothing mounted."""
import os
import struct

from lib import case, is_mounted, mount_command, run, world
from lib.false import ATTACH, HELLO, PROOF, REFUSE, FalseServer, challenge, frame

ROOT = 1 << 32  # a node's generation and slot
DIRECTORY = 0o040755


def _refusal(code, text):
    return frame(REFUSE, 1, struct.pack("<IH", code, len(text)) + text.encode(), flags=0)


def _entry(node=ROOT, mode=DIRECTORY):
    times = struct.pack("<QI", 0, 0) * 3
    return struct.pack("<QQQQ", node, 1, 0, 0) + times + struct.pack("<IIIII", mode, 1, 0, 0, 0)


def _welcome(session=77, lane=0, lanes_max=4, heartbeat=15000, block=4096, nodes=1000, entry=None):
    return struct.pack("<QIIIIII", session, lane, lanes_max, heartbeat, block, nodes, 0) + (entry or _entry())


def _mount_fails(answer, code, *words):
    server = FalseServer(answer)
    where = os.path.join(world.case_directory("mount"), "mnt")
    os.mkdir(where)
    done = mount_command(f"unix:{server.path}:/share", where)
    assert done.returncode == code, f"{done.returncode} in place of {code}: {done.stderr}"
    for word in words:
        assert word in done.stderr, done.stderr
    assert not is_mounted(where)


@case
def a_refusal_is_told_in_the_servers_words():
    for refusal, code in ((1, 46), (2, 44), (3, 41), (4, 42), (5, 43), (6, 47), (7, 48), (8, 48), (9, 48), (77, 48)):
        _mount_fails(lambda op, number, payload, state, refusal=refusal: _refusal(refusal, "the server's words"), code,
                     "the server's words")
    _mount_fails(lambda op, number, payload, state: _refusal(3, ""), 41, "the server refuses without a reason")
    _mount_fails(lambda op, number, payload, state: frame(REFUSE, 1, b"\x03", flags=0), 48,
                 "the server refuses without a reason")


@case
def what_is_no_file_server_is_told_apart():
    nonsense = "what answers at that address does not speak bindshare's protocol"
    for answer in (b"SSH-2.0-OpenSSH_9.2 and more that follows\r\n", frame(HELLO, 1, b"short"),
                   frame(HELLO, 1, bytes(76), flags=0), frame(PROOF, 1, bytes(76)), frame(HELLO, 99, bytes(76)),
                   frame(HELLO, 1, b"", status=5)):
        _mount_fails(lambda op, number, payload, state, answer=answer: answer, 48, nonsense)
    _mount_fails(lambda op, number, payload, state: challenge(op, number, payload, version=9), 48, nonsense)
    _mount_fails(lambda op, number, payload, state: None, 40, "cannot reach the file server")
    _mount_fails(lambda op, number, payload, state: challenge(op, number, payload, key=b"x" * 32), 44,
                 "the server does not hold the token that is expected here")


def _lies(welcome):
    def answer(op, number, payload, state):
        return challenge(op, number, payload) if op == HELLO else frame(PROOF, number, welcome)
    return answer


@case
def a_welcome_that_makes_no_sense_is_refused():
    for welcome in (_welcome(session=0), _welcome(lane=1), _welcome(lanes_max=0), _welcome(heartbeat=9),
                    _welcome(heartbeat=600001), _welcome(block=511), _welcome(block=1 << 21),
                    _welcome(entry=_entry(node=5)), _welcome(entry=_entry(mode=0o100644)),
                    _welcome(entry=_entry(mode=0)), _welcome()[:-1], b""):
        _mount_fails(_lies(welcome), 48, "does not speak bindshare's protocol")


@case
def a_lane_that_is_another_than_was_asked_for_is_refused():
    def lane(welcome=None, attach=None, more=b""):
        def answer(op, number, payload, state):
            if op in (HELLO, ATTACH):
                state["attach"] = op == ATTACH
                return attach(number) if attach and op == ATTACH else challenge(op, number, payload)
            if state["attach"]:
                return frame(PROOF, number, welcome) + more
            return frame(PROOF, number, _welcome())
        return answer

    words = "the lanes to the server do not start"
    for answer in (lane(_welcome(lane=0)), lane(_welcome(lane=1, session=78)), lane(_welcome(lane=1)[:-1]),
                   lane(_welcome(lane=1), more=frame(PROOF, 5, b"")), lane(attach=lambda number: None),
                   lane(attach=lambda number: frame(ATTACH, number, b"short")),
                   lane(attach=lambda number: _refusal(6, "no more lanes"))):
        _mount_fails(answer, 32, words)


@case
def a_path_that_is_too_long_is_not_asked_for():
    where = os.path.join(world.case_directory("mount"), "mnt")
    os.mkdir(where)
    done = mount_command("unix:/run/nobody/s:/" + "x/" * 2200, where)
    assert done.returncode == 1 and "the path on the host is too long" in done.stderr, done
    assert not is_mounted(where)


run()
