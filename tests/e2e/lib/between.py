# SPDX-License-Identifier: Apache-2.0
"""Between a mount and a real server: messages can be added, left out, and held back."""
import contextlib
import os
import socket
import struct
import threading

from . import world
from .false import HELLO, frame
from .server import TOKEN

INVALIDATE, INVALIDATED = 13, 14
OPERATIONS = {"lookup": 32, "getattr": 34, "setattr": 35, "readlink": 36, "symlink": 37, "mknod": 38, "mkdir": 39,
              "unlink": 40, "rmdir": 41, "rename": 42, "link": 43, "open": 44, "create": 45, "read": 47, "write": 48,
              "opendir": 51, "setxattr": 55, "fallocate": 59, "copy_range": 61, "scan": 63}
LONGEST = 20  # seconds for which a message is held back
NAME, ATTRIBUTES, CONTENTS, DIRECTORY, ALL = 1, 2, 4, 8, 16


def invalidate(sequence, what, directory=0, node=0, name=b""):
    payload = struct.pack("<QIQQH", sequence, what, directory, node, len(name)) + name
    return frame(INVALIDATE, 1, payload, flags=0)


def invalidated(sequence):
    return frame(INVALIDATED, 1, struct.pack("<Q", sequence), flags=0)


def _read(connection):
    """One message, or None at the end."""
    header = connection.recv(24, socket.MSG_WAITALL)
    if len(header) < 24:
        return None, b""
    length, op = struct.unpack("<IH", header[:6])
    payload = connection.recv(length, socket.MSG_WAITALL) if length else b""
    return (op, header + payload) if len(payload) == length else (None, b"")


class Between:
    """
    As Mount's server, in place of the real one. Both ways of the event lane can be written to; messages to the server
    whose operations are in dropped do not arrive, and a lane on which an answer to one in breaking comes ends there.
    """

    def __init__(self, server):
        self.path = os.path.join(world.case_directory("between"), "s")
        self.address = f"unix:{self.path}"
        self.dropped = set()
        self.breaking = set()
        self.seen = []  # operations that the guest was sent on the event lane
        kind, self._server = server.address.split(":", 1)
        # From a virtual machine to the host: the server asks for a token there.
        self._vsock = kind == "vsock"
        self.token_file = world.token_file(TOKEN) if self._vsock else None
        self._event = None
        self._lock = threading.Lock()
        self._holds = {}  # operation -> (a message of it has come, it may go on)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(16)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def to_guest(self, message):
        with self._lock:
            self._event[0].sendall(message)

    def to_server(self, message):
        with self._lock:
            self._event[1].sendall(message)

    @contextlib.contextmanager
    def held(self, op):
        """
        Messages of this operation from the server do not go on before the end of the block. The value waits until one
        has come; False: none within seconds.
        """
        came, may_go = self._holds[op] = threading.Event(), threading.Event()
        try:
            yield came.wait
        finally:
            del self._holds[op]
            may_go.set()

    def _connect(self):
        server = socket.socket(socket.AF_VSOCK if self._vsock else socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(tuple(int(number) for number in self._server.split(":")) if self._vsock else self._server)
        return server

    def _accept(self, listener):
        while True:
            guest, _ = listener.accept()
            server = self._connect()
            threading.Thread(target=self._pass, args=(guest, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, guest, False), daemon=True).start()

    def _pass(self, source, target, from_guest):
        """Whole messages one way, until either side ends."""
        try:
            while True:
                op, message = _read(source)
                if op is None:
                    break
                if from_guest and op == HELLO:
                    self._event = (source, target)
                event = self._event is not None and source in self._event
                if event and not from_guest:
                    self.seen.append(op)
                if event and from_guest and op in self.dropped:
                    continue
                hold = None if from_guest else self._holds.get(op)
                if hold:
                    hold[0].set()
                    hold[1].wait(LONGEST)
                if not from_guest and op in self.breaking:
                    break
                if event:
                    with self._lock:
                        target.sendall(message)
                else:
                    target.sendall(message)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
