# SPDX-License-Identifier: Apache-2.0
"""Processes that implement devices for QEMU: vsock (vhost-device-vsock) and, to compare with, virtiofs."""
import os
import signal
import subprocess
import time

from . import parts

# A larger packet comes in several descriptors, of which this backend loses all but one. A connection needs 24,192 bytes
# of credit at least.
TX_BUFFER = 32256


class _Device:
    """A process that QEMU talks to over a socket."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.socket = os.path.join(directory, name)
        self.process = None

    def _command(self):
        raise NotImplementedError

    def start(self):
        for path in self._leftovers():
            if os.path.lexists(path):
                os.unlink(path)
        with open(os.path.join(self.directory, self.name + ".log"), "ab") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not os.path.exists(self.socket):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(self.directory, self.name + ".log"), encoding="utf-8",
                          errors="replace") as file:
                    raise parts.Missing(f"{self.name} does not start: {file.read()[-1000:]}")
            time.sleep(0.02)
        return self

    def _leftovers(self):
        return [self.socket]

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class VsockDevice(_Device):
    """The guest's vsock: what it connects to at CID 2, port N, arrives at the unix socket path(N)."""

    def __init__(self, directory, cid=3, name="vsock"):
        super().__init__(directory, name)
        self.cid = cid
        self.uds = os.path.join(directory, "v")

    def _command(self):
        return [parts.vsock_device(), "--guest-cid", str(self.cid), "--socket", self.socket, "--uds-path", self.uds,
                "--tx-buffer-size", str(TX_BUFFER)]

    def _leftovers(self):
        return [self.socket, self.uds]

    def path(self, port):
        return f"{self.uds}_{port}"


class Virtiofs(_Device):
    """A directory of this side, shown to the guest by QEMU's virtiofsd."""

    def __init__(self, directory, source, tag, cache="none"):
        super().__init__(directory, "virtiofs-" + tag)
        self.source, self.tag, self.cache = source, tag, cache

    def _command(self):
        return [parts.virtiofsd(), f"--socket-path={self.socket}", "-o", f"source={self.source}", "-o",
                f"cache={self.cache}", "-o", "xattr", "-o", "sandbox=chroot"]
