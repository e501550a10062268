# SPDX-License-Identifier: Apache-2.0
"""
The file server of a case that runs in a virtual machine. It runs on the host of the machine, where an agent (tests/vm)
starts and ends it. The guest reaches it over vsock, and sees the host's directories at their own paths by virtiofs.
"""
import json
import signal
import socket
import subprocess
import time
import types

from . import server, world

HOST_CID = 2


def ask(do, **members):
    """One request to the agent; its answer."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect((HOST_CID, world.AGENT))
        client.sendall(json.dumps({"do": do, **members}).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            chunk = client.recv(65536)
            if not chunk:
                raise OSError(f"the agent gave no answer to {do} {members}")
            line += chunk
    answer = json.loads(line)
    if "error" in answer:
        raise OSError(f"{do}: {answer['error']}")
    return answer


class Process:
    """What subprocess.Popen is for a program of this side."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            self.returncode = ask("poll", pid=self.pid)["code"]
        return self.returncode

    def wait(self, timeout):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number):
        ask("signal", pid=self.pid, number=number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class RemoteServer(server.Server):
    """Over vsock there is always a token."""

    def _choose_address(self, listen):
        if listen is not None:
            return listen, listen
        place = ask("port_for", path=f"{self.run}/s")
        return "unix:" + place["path"], f"vsock:{HOST_CID}:{place['port']}"

    def _choose_token(self, token):
        return token or server.TOKEN

    def start(self):
        answer = ask("start", argv=self.command, uid=self.uid, gid=self.gid, log=self.log, faults=self.faults)
        self.process = Process(answer["pid"])
        world.at_end(self.stop_hard)
        assert answer["ready"], f"the server does not listen:\n{self.log_text()}"
        return self

    def _run_as_user(self, command, **_more):
        done = ask("run", argv=command, uid=self.uid, gid=self.gid)
        return types.SimpleNamespace(returncode=done["code"], stdout=done["out"], stderr=done["err"])

    def workers(self):
        return sorted(ask("children", pid=self.process.pid)["pids"])

    def descriptors(self, pid=None):
        return ask("descriptors", pid=pid or self.process.pid)["count"]

    def signal(self, pid, number=signal.SIGKILL):
        ask("signal", pid=pid, number=number)

    def is_gone(self, pid):
        return not ask("exists", pid=pid)["exists"]
