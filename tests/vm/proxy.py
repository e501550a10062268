# SPDX-License-Identifier: Apache-2.0
"""A relay between the vsock device and a server, which can be told to stall and to cut connections."""
import os
import selectors
import socket
import threading


class Proxy:
    """Listens at path and connects on to target. connections: pairs of sockets in the order in which they came."""

    def __init__(self, path, target):
        self.target = target
        self.connections = []
        self.stalled = False
        self._cut = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        if os.path.lexists(path):
            os.unlink(path)
        self._listener.bind(path)
        self._listener.listen(64)
        self._wake, self._woken = socket.socketpair()
        self._ended = False
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _accept(self, selector):
        guest, _ = self._listener.accept()
        host = socket.socket(socket.AF_UNIX)
        try:
            host.connect(self.target)
        except OSError:
            guest.close()
            return
        self.connections.append((guest, host))
        selector.register(guest, selectors.EVENT_READ, host)
        selector.register(host, selectors.EVENT_READ, guest)

    def _pass_on(self, selector, key):
        try:
            data = key.fileobj.recv(65536)
            if data:
                key.data.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(selector, key.fileobj, key.data)

    @staticmethod
    def _close(selector, *sockets):
        for one in sockets:
            if one.fileno() >= 0:
                try:
                    selector.unregister(one)
                except KeyError:
                    pass
                one.close()

    def _run(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._ended:
                for key, _ in selector.select(0.1):
                    if key.fileobj is self._woken:
                        self._woken.recv(64)
                    elif key.fileobj.fileno() < 0 or self.stalled:
                        pass
                    elif key.fileobj is self._listener:
                        self._accept(selector)
                    else:
                        self._pass_on(selector, key)
                with self._lock:
                    cut, self._cut = self._cut, []
                for pair in cut:
                    self._close(selector, *pair)
                while self.stalled and not self._ended and not self._cut:
                    self._changed.wait(0.05)

    def cut(self, first=0):
        """Closes connections from that number on."""
        with self._lock:
            self._cut = self.connections[first:]
        self._wake.send(b"x")

    def stop(self):
        self._ended = True
        self._wake.send(b"x")
        self._thread.join(5)
        for pair in self.connections:
            for one in pair:
                one.close()
        self._listener.close()
