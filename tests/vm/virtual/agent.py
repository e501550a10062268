# SPDX-License-Identifier: Apache-2.0
"""
Starts and ends servers on the host for a test that runs in the guest. Each connection to its socket is one request and
one answer, a line of JSON each.
"""
import json
import os
import signal
import socketserver
import subprocess
import threading

from .common import server
from .common.process import children

FIRST_PORT = 7001


class Agent:
    """
    Answers at device.path(port). program(name): the path of one of the programs that may be run; environment(faults):
    with which variables; more: requests beside those here, {name: function that gives the answer}.
    """

    def __init__(self, device, port, program, environment, more=None):
        self.device, self.program, self.environment = device, program, environment
        self.more = more or {}
        self.processes = {}
        self._port = FIRST_PORT
        self._lock = threading.Lock()
        agent = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                line = self.rfile.readline()
                if line:
                    self.wfile.write(json.dumps(agent.answer(json.loads(line))).encode() + b"\n")
                    # The guest closes: what is sent just before a close from this side can be lost.
                    self.rfile.read(1)

        self.server = socketserver.ThreadingUnixStreamServer(device.path(port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        do = request.pop("do")
        try:
            return (self.more.get(do) or getattr(self, "_" + do))(**request)
        except (OSError, subprocess.SubprocessError) as error:
            return {"error": str(error)}

    def next_port(self):
        """A port of vsock that nothing else has."""
        with self._lock:
            self._port += 1
            return self._port

    def _port_for(self, path):
        """One whose connections arrive at the socket at path."""
        port = self.next_port()
        target = f"{path}_{port}"
        os.symlink(target, self.device.path(port))
        return {"port": port, "path": target}

    def _command(self, argv):
        return [self.program(os.path.basename(argv[0])), *argv[1:]]

    def _start(self, argv, uid, gid, log, faults=None):
        """Starts a server; answers when it listens or has ended."""
        with open(log, "ab") as output:
            process, listens = server.start(self._command(argv), uid, gid, output, start_new_session=True,
                                            env=self.environment(faults))
        self.processes[process.pid] = process
        return {"pid": process.pid, "ready": listens}

    def _run(self, argv, uid, gid):
        done = subprocess.run(self._command(argv), user=uid, group=gid, extra_groups=[], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, check=False, env=self.environment(None))
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

    def _poll(self, pid):
        return {"code": self.processes[pid].poll()}

    def _signal(self, pid, number):
        """To a server or a worker of one."""
        if pid in self.processes:
            self.processes[pid].send_signal(number)
        elif any(pid in self._children(parent)["pids"] for parent in self.processes):
            os.kill(pid, number)
        return {}

    def _children(self, pid):
        return {"pids": children(pid)}

    def _exists(self, pid):
        return {"exists": os.path.exists(f"/proc/{pid}")}

    def _descriptors(self, pid):
        return {"count": len(os.listdir(f"/proc/{pid}/fd"))}

    def stop(self):
        """Ends every server that is left."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
