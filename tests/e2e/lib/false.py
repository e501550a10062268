# SPDX-License-Identifier: Apache-2.0
"""A server that answers as a test tells it to."""
import hashlib
import os
import socket
import struct
import threading

from . import world

HELLO, ATTACH, PROOF, REFUSE, FOLLOW, CHANGED, SHARE = 1, 2, 3, 4, 8, 9, 10
REPLY = 1
TOKEN = bytes(32)


def frame(op, number, payload, flags=REPLY, status=0):
    return struct.pack("<IHHQiI", len(payload), op, flags, number, status, 0) + payload


class FalseServer:
    """Listens; each message that arrives is answered with what answer(op, number, payload, state) returns."""

    def __init__(self, answer):
        self.path = os.path.join(world.case_directory("false"), "s")
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        state = {}
        with connection:
            while True:
                header = connection.recv(24, socket.MSG_WAITALL)
                if len(header) < 24:
                    return
                length, op, _, number, _, _ = struct.unpack("<IHHQiI", header)
                payload = connection.recv(length, socket.MSG_WAITALL) if length else b""
                answer = self.answer(op, number, payload, state)
                if answer is None:
                    return
                connection.sendall(answer)


def challenge(op, number, payload, key=TOKEN, version=1):
    """What a server that holds the token answers to HELLO, ATTACH or FOLLOW."""
    client = {HELLO: payload[32:64], ATTACH: payload[16:48], FOLLOW: payload[12:44]}[op]
    server = bytes(range(32))
    proof = hashlib.blake2b(b"bindshare server 1" + client + server + payload, digest_size=32, key=key).digest()
    first = {HELLO: struct.pack("<IQ", version, 0), ATTACH: b"", FOLLOW: struct.pack("<I", version)}[op]
    return frame(op, number, first + server + proof)
