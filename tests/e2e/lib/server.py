# SPDX-License-Identifier: Apache-2.0
"""A file server that runs as an ordinary user."""
import glob
import os
import shutil
import signal
import subprocess

from . import world
from .common import process, server
from .common.programs import BUILT
from .tap import wait_for

TOKEN_MODE = 0o600
TOKEN = "00112233445566778899aabbccddeeff" * 2


def _built(name):
    """Where a program was built."""
    path = os.path.join(world.BUILD, BUILT[name])
    if os.path.exists(path):
        return path
    # Each program lies in its part's directory, possibly in a room of it.
    found = glob.glob(os.path.join(world.BUILD, BUILT[name].split("/", maxsplit=1)[0], "*", name))
    return found[0] if found else None


def _is_reachable(path):
    """An ordinary user may go the way to it."""
    folder = os.path.dirname(path)
    while folder != "/":
        if not os.stat(folder).st_mode & 0o001:
            return False
        folder = os.path.dirname(folder)
    return True


def program(name):
    """
    The path of a fresh binary; a copy of it where an ordinary user cannot reach the build directory. All are copied
    then: some look for others in their own directory.
    """
    path = _built(name)
    assert path is not None, f"{name} is not built in {world.BUILD}"
    if _is_reachable(path):
        return path
    for other in BUILT:
        copy = os.path.join(world.work_directory(), other)
        if _built(other) is not None and not os.path.exists(copy):
            shutil.copy(_built(other), copy)
    return os.path.join(world.work_directory(), name)


class Server:
    """
    bindshare-fileserver, started when made. shares: arguments of --share. token: its text, or None for no token file.
    listen: an address in place of a fresh unix: socket. faults: rules, for builds with fault injection.
    """

    def __init__(self, shares, *, token=None, listen=None, arguments=(), uid=world.UID, gid=world.GID, wait=True,
                 faults=None):
        self.directory = world.case_directory("server")
        self.run = os.path.join(self.directory, "run")
        os.mkdir(self.run, 0o700)
        os.chown(self.run, uid, gid)
        self.uid, self.gid = uid, gid
        self.faults = faults
        self.listen, self.address = self._choose_address(listen)
        self.control = os.path.join(self.run, "control")
        self.log = os.path.join(self.directory, "fileserver.log")
        self.token_file = None
        token = self._choose_token(token)
        command = [program("bindshare-fileserver"), "--listen", self.listen, "--control", self.control]
        for share in shares:
            command += ["--share", share]
        if token is not None:
            self.token_file = os.path.join(self.run, "token")
            world.write_file(self.token_file, token + "\n", TOKEN_MODE, (uid, gid))
            command += ["--token-file", self.token_file]
        if uid == 0:
            command.append("--allow-root")
        self.command = command + list(arguments)
        self.process = None
        if wait:
            self.start()

    def _choose_address(self, listen):
        """Where it listens, and what a mount names it."""
        address = listen or f"unix:{self.run}/s"
        return address, address

    def _choose_token(self, token):
        return token

    def _run_as_user(self, command, **more):
        return world.as_user(command, self.uid, self.gid, env=world.sanitizer_environment(self.faults), **more)

    def signal(self, pid, number=signal.SIGKILL):
        """To the server or one of its workers, which may have gone."""
        world.kill(pid, number)

    def is_gone(self, pid):
        return not os.path.exists(f"/proc/{pid}")

    def start(self):
        """Starts it and waits until it listens."""
        with open(self.log, "ab") as log:
            self.process, listens = server.start(self.command, self.uid, self.gid, log, start_new_session=True,
                                                 env=world.sanitizer_environment(self.faults))
        world.at_end(self.stop_hard)
        assert listens, f"the server does not listen:\n{self.log_text()}"
        return self

    def try_run(self, **more):
        """Runs the command to its end, which must come by itself: a start that fails. CompletedProcess."""
        return self._run_as_user(self.command, **more)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        return self.process.poll() is None

    def workers(self):
        """Pids of its workers."""
        return process.children(self.process.pid)

    def worker(self):
        """Pid of its only worker."""
        pids = self.workers()
        assert len(pids) == 1, f"workers: {pids}"
        return pids[0]

    def descriptors(self, pid=None):
        return len(os.listdir(f"/proc/{pid or self.process.pid}/fd"))

    def ctl(self, *arguments, check=True):
        """bindsharectl on its control socket; its output."""
        done = self._run_as_user([program("bindsharectl"), *arguments, "--control", self.control])
        if check:
            assert done.returncode == 0, f"bindsharectl {arguments}: {done.returncode} {done.stderr}"
            return done.stdout
        return done

    def stop(self):
        """Ends it politely: it must exit with 0, and leave no worker and no socket."""
        workers = self.workers()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert code == 0, f"the server's exit code is {code}"
        for pid in workers:
            wait_for(lambda pid=pid: self.is_gone(pid), f"worker {pid} ends with the server")
        if self.listen.startswith("unix:"):
            assert not os.path.exists(self.listen[len("unix:"):]), "the socket stays behind"

    def stop_hard(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
