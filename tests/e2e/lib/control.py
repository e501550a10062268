# SPDX-License-Identifier: Apache-2.0
"""The control socket as docs/BACKEND.md tells it: one line of JSON there, one back, or events."""
import json
import socket
import time


def connect(path, timeout=15):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    client.connect(path)
    return client


def ask_bytes(place, data, half_close=False):
    """Sends bytes to the socket at place; the answer's object. The server must close after it."""
    with connect(place) as client:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.endswith(b"\n") and answer.count(b"\n") == 1, answer
    answer = json.loads(answer)
    assert answer["version"] == 1, answer
    return answer


def ask(place, request, **members):
    """A request; its answer."""
    return ask_bytes(place, json.dumps({"version": 1, "request": request, **members}).encode() + b"\n")


class Subscriber:
    """A connection on which events come."""

    def __init__(self, path):
        self.client = connect(path)
        self.client.sendall(b'{"version":1,"request":"subscribe"}\n')
        self.bytes = b""
        self.events = []
        first = self._next(10)
        assert first["subscribed"] is True, first
        self.sequence = first["sequence"]

    def _next(self, seconds):
        self.client.settimeout(max(seconds, 0.001))
        while b"\n" not in self.bytes:
            chunk = self.client.recv(65536)
            if not chunk:
                raise EOFError("the server closed the subscription")
            self.bytes += chunk
        line, self.bytes = self.bytes.split(b"\n", 1)
        return json.loads(line)

    def wait(self, name, seconds=10, **members):
        """The next event of this name with these members; those before it are passed over."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._next(deadline - time.monotonic())
            except TimeoutError:
                raise AssertionError(f"no event {name} {members} within {seconds} s; there were {self.events}") \
                    from None
            assert event["sequence"] == self.sequence + 1, event
            self.sequence = event["sequence"]
            self.events.append(event)
            if event["event"] == name and all(event.get(key) == value for key, value in members.items()):
                return event

    def close(self):
        self.client.close()
