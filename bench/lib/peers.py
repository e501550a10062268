# SPDX-License-Identifier: Apache-2.0
"""The peers: each shows one directory of the host at a mountpoint."""
import glob
import json
import os
import resource
import shutil
import socket
import subprocess
import time

from . import paths, place
from .common import server
from .common.mounts import is_mounted
from .common.process import children
from .paths import Missing

# Who serves the files and owns them: an ordinary user; a number is enough.
UID = GID = 65534
_TICKS = os.sysconf("SC_CLK_TCK")


class Peer:
    """Not yet mounted. A subclass has _start(), which begins self.client and self.server (processes)."""
    name = ""
    title = ""

    def __init__(self, sources):
        """Finds or builds what it needs; Missing when that cannot be had."""
        self.sources = sources
        self.client = self.server = None
        self.host = self.guest = None
        self.log = None

    def mount(self, host, where, log):
        """Shows the directory host at where. log: the file that takes what the programs say."""
        self.host, self.guest = host, where
        os.makedirs(where, exist_ok=True)
        with open(log, "wb") as self.log:
            self._start()
        deadline = time.monotonic() + 20
        while not is_mounted(where):
            if self.client.poll() is not None or time.monotonic() > deadline:
                with open(log, encoding="utf-8", errors="replace") as file:
                    raise Missing(f"{self.name} did not mount: {file.read().strip()[-500:]}")
            time.sleep(0.01)
        os.stat(where)
        self._wait_ready(deadline)

    def _start(self):
        raise NotImplementedError

    def _wait_ready(self, deadline):
        """What is to be waited for after the mount."""

    def _run(self, command, **more):
        return subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log,
                                            "cwd": "/", **more})

    def _serve(self, command):
        """Starts bindshare-fileserver."""
        self.server, listens = server.start(command, UID, GID, self.log)
        if not listens:
            raise Missing("bindshare-fileserver does not start")

    def unmount(self):
        """Ends it; False when it did not end by itself."""
        polite = True
        if self.guest and self.guest != self.host:
            polite = place.unmount(self.guest)
        for process in (self.client, self.server):
            if process is None:
                continue
            if process is self.server:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                polite = False
                process.kill()
                process.wait()
        self.client = self.server = None
        return polite

    def processes(self):
        """Pids by role."""
        found = {}
        if self.client is not None:
            found["client"] = [self.client.pid]
        if self.server is not None:
            found["server"] = [self.server.pid, *children(self.server.pid)]
        return found

    def usage(self):
        """By role: CPU seconds so far, peak of resident memory in KiB, voluntary context switches."""
        usage = {}
        for role, pids in self.processes().items():
            one = {"cpu": 0.0, "peak_kib": 0, "switches": 0}
            for pid in pids:
                one["cpu"] += _cpu(pid)
                one["peak_kib"] += _status(f"/proc/{pid}/status", "VmHWM")
                one["switches"] += sum(_status(path, "voluntary_ctxt_switches")
                                       for path in glob.glob(f"/proc/{pid}/task/*/status"))
            usage[role] = one
        return usage

    def messages(self):
        """FUSE requests and RPCs so far by operation, or None for a peer that does not count."""
        return None


def _cpu(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except OSError:
        return 0.0


def _status(path, name):
    """A number of /proc/PID/status; 0 for a process that has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class Native(Peer):
    name = "native"
    title = "the directory itself"

    def mount(self, host, where, log):
        self.host = self.guest = host


class Bindshare(Peer):
    name = "bindshare"
    title = "bindshare-fileserver and bindshare-mount over a unix socket"

    def __init__(self, sources):
        super().__init__(sources)
        self.server_program = paths.program("bindshare-fileserver")
        self.mount_program = paths.program("bindshare-mount")
        self.run = None

    def _start(self):
        self.run = os.path.join(os.path.dirname(self.guest), "serve")
        place.remove_tree(self.run)
        os.mkdir(self.run, 0o700)
        os.chown(self.run, UID, GID)
        # A copy: the user may not reach the build directory.
        program = os.path.join(os.path.dirname(self.guest), "bindshare-fileserver")
        if not os.path.exists(program):
            shutil.copy(self.server_program, program)
        self._serve([program, "--listen", f"unix:{self.run}/s", "--control", f"{self.run}/control",
                     "--share", self.host])
        self.client = self._run([self.mount_program, f"unix:{self.run}/s:{self.host}", self.guest, "-f"])

    def _wait_ready(self, deadline):
        # It mounts before it listens for requests for its statistics.
        while True:
            try:
                self.messages()
                return
            except Missing:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def messages(self):
        """What bindshare-mount --stats says: {"fuse": {...}, "rpc": {...}, ...}."""
        done = subprocess.run([self.mount_program, "--stats", self.guest, "--json"], check=False, timeout=20,
                              capture_output=True)
        if done.returncode != 0:
            raise Missing(f"--stats: {done.stderr.decode(errors='replace').strip()}")
        return json.loads(done.stdout)


def _many_descriptors():
    """In a child: for those that hold a descriptor for each file, 100,000 are more than many systems give."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except (ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class PassthroughHp(Peer):
    name = "passthrough_hp"
    title = "libfuse's passthrough_hp: no second program, no socket"
    arguments = ()

    def __init__(self, sources):
        super().__init__(sources)
        self.program = sources.example("passthrough_hp")

    def _start(self):
        self.client = self._run([self.program, "--foreground", *self.arguments, self.host, self.guest],
                                preexec_fn=_many_descriptors)


class PassthroughHpPlain(PassthroughHp):
    name = "passthrough_hp_nopt"
    title = "the same without kernel passthrough"
    arguments = ("--nopassthrough",)

    def __init__(self, sources):
        super().__init__(sources)
        done = subprocess.run([self.program, "--help"], check=False, capture_output=True, text=True, timeout=20)
        if "--nopassthrough" not in done.stdout + done.stderr:
            raise Missing("this passthrough_hp knows no kernel passthrough: passthrough_hp itself is the same")


class PassthroughLl(Peer):
    name = "passthrough_ll"
    title = "libfuse's passthrough_ll: no second program, no socket"

    def __init__(self, sources):
        super().__init__(sources)
        self.program = sources.example("passthrough_ll")

    def _start(self):
        self.client = self._run([self.program, "-f", "-o", f"source={self.host}", self.guest],
                                preexec_fn=_many_descriptors)


class Sshfs(Peer):
    name = "sshfs"
    title = "sshfs and sftp-server over a socket pair, without ssh"

    def __init__(self, sources):
        super().__init__(sources)
        self.server_program = sources.packaged("openssh-sftp-server", "sftp-server",
                                               ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"))
        self.mount_program = sources.packaged("sshfs", "sshfs", ())
        help_text = subprocess.run([self.mount_program, "--help"], check=False, capture_output=True, text=True,
                                   timeout=20).stdout
        self.mode = "passive" if "passive" in help_text else "slave"

    def _start(self):
        # A copy: the user may not reach the directory of the packages.
        program = os.path.join(os.path.dirname(self.guest), "sftp-server")
        if not os.path.exists(program):
            shutil.copy(self.server_program, program)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024 * 1024)
        self.server = self._run([program, "-e"], stdin=theirs, stdout=theirs, user=UID, group=GID, extra_groups=[],
                                cwd=self.host)
        # The serving user's files appear as root's, as with bindshare; for sshfs he is who owns the directory.
        self.client = self._run([self.mount_program, "-f", "-o", f"{self.mode},allow_other,idmap=user", f":{self.host}",
                                 self.guest], stdin=ours, stdout=ours)
        ours.close()
        theirs.close()


PEERS = {peer.name: peer for peer in (Native, Bindshare, PassthroughHp, PassthroughHpPlain, PassthroughLl, Sshfs)}
