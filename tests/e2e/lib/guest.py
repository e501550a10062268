# SPDX-License-Identifier: Apache-2.0
"""A mount namespace that plays the guest: of the host's directories it sees nothing but what is mounted in it."""
import json
import os
import signal
import socket
import subprocess

from . import world
from .common import guestd
from .server import TOKEN, Server, program
from .tap import wait_for


class Guest:
    """
    The namespace, with its configuration. hidden: directories of the host that are not there in it. config: keys of
    guest.json in place of the usual ones.
    """

    def __init__(self, address, hidden=(), token=None, **config):
        self.directory = world.case_directory("guest")
        self.log = os.path.join(self.directory, "guestd.log")
        self.config_file = os.path.join(self.directory, "guest.json")
        self.config = guestd.configuration(self.directory, address, waitSeconds=10)
        self.root, self.run = self.config["root"], self.config["runDirectory"]
        if token is not None:
            self.config["tokenFile"] = os.path.join(self.directory, "token")
            world.write_file(self.config["tokenFile"], token + "\n", 0o600, (0, 0))
        self.config.update(config)
        self.write_config()
        script = "".join(f"mount -t tmpfs -o mode=755 tmpfs '{path}' && " for path in hidden)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             script + "mount --make-rshared / && echo ready && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        world.at_end(self.end)
        assert self.holder.stdout.readline() == b"ready\n", "the guest's namespace"
        self.process = None

    def write_config(self):
        world.write_file(self.config_file, json.dumps(self.config), 0o644, (0, 0))

    def command(self, *command):
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--wdns=/", *command]

    def do(self, *command, check=True, timeout=60, env=None, **more):
        """Runs something in the guest."""
        done = subprocess.run(self.command(*command), check=False, timeout=timeout, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=env or world.sanitizer_environment(), **more)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stderr}"
        return done

    def path(self, path):
        """A path of the guest as this process can use it."""
        return f"/proc/{self.holder.pid}/root{path}"

    def mounted(self, path):
        """A path beneath the guest's root, as this process can use it."""
        return self.path(self.root + path)

    def mounts(self):
        """What is mounted by bindshare-mount: [(where, source)]."""
        with open(f"/proc/{self.holder.pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split() for line in file]
        found = [(row[4], row[row.index("-") + 2]) for row in rows if row[row.index("-") + 1] == "fuse.bindshare"]
        return [tuple(text.encode().decode("unicode_escape") for text in pair) for pair in found]

    def start(self, *arguments, wait=True, environment=None):
        """Starts bindshare-guestd; with wait, until every share is mounted or has failed. environment: more of it."""
        self.process = guestd.start(
            self.command(program("bindshare-guestd"), "--config", self.config_file, *arguments), self.log,
            env={**world.sanitizer_environment(), **(environment or {})})
        wait_for(self.answers, "bindshare-guestd answers", 30)
        if wait:
            self.settled()
        return self

    def start_plugin(self, path):
        """The plugin as a process of its own, at a socket that is handed to it as systemd does: the socket and it."""
        listener = socket.socket(socket.AF_UNIX)
        os.makedirs(self.path(os.path.dirname(path)), exist_ok=True)
        listener.bind(self.path(path))
        os.chmod(self.path(path), 0o600)
        listener.listen(64)
        script = 'exec 3<&"$1" && LISTEN_FDS=1 LISTEN_PID=$$ && export LISTEN_FDS LISTEN_PID && shift && exec "$@"'
        process = subprocess.Popen(
            self.command("sh", "-c", script, "sh", str(listener.fileno()), program("bindshare-guestd"), "--config",
                         self.config_file, "--plugin"),
            pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, env=world.sanitizer_environment())
        world.at_end(process.kill)
        return listener, process

    def try_run(self, *arguments):
        """Runs bindshare-guestd to its end, which must come by itself."""
        return self.do(program("bindshare-guestd"), "--config", self.config_file, *arguments, check=False)

    def ask_line(self, line):
        return guestd.ask_line(self.run, line)

    def ask(self, request, **members):
        return guestd.ask(self.run, request, **members)

    def answers(self):
        assert self.process.poll() is None, f"bindshare-guestd ended: {self.log_text()}"
        try:
            return self.ask("status")
        except OSError:
            return None

    def binds(self, *sources, wait_ms=0):
        answer = self.ask("binds", sources=list(sources), waitMs=wait_ms)
        assert answer["ok"], answer
        return answer["binds"]

    def shares(self):
        """{path: state}"""
        return {share["path"]: share["state"] for share in self.ask("status")["shares"]}

    def settled(self):
        def is_settled():
            status = self.ask("status")
            return status["server"]["state"] == "connected" and all(
                share["state"] != "pending" for share in status["shares"]) and status["shares"]
        wait_for(is_settled, "every share is mounted", 60)

    def daemons(self):
        """{mountpoint: pid} of the bindshare-mount processes of this guest."""
        found = {}
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                same = os.readlink(f"/proc/{name}/ns/mnt") == os.readlink(f"/proc/{self.holder.pid}/ns/mnt")
            except (OSError, ValueError):
                continue
            if same and words[0].endswith(b"bindshare-mount"):
                found[os.fsdecode(words[2])] = int(name)
        return found

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        """Ends bindshare-guestd politely; the mounts stay."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert code == 0, f"bindshare-guestd's exit code is {code}: {self.log_text()}"

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in self.daemons().values():
            world.kill(pid)
        if self.holder.poll() is None:
            self.holder.kill()
            self.holder.wait(10)


class Pair:
    """The usual case: directories of the host, a server for them, a guest that sees them only through it."""

    def __init__(self, *names, arguments=(), server_arguments=(), **config):
        self.base = world.case_directory("host")
        os.chown(self.base, world.UID, world.GID)
        for name in names:
            self.make(name.removesuffix(":ro"))
        self.server = Server([f"{self.base}/{name}" for name in names], token=TOKEN, arguments=server_arguments)
        self.guest = Guest(self.server.address, [self.base], token=TOKEN, **config)
        self.guest.start(*arguments)

    def make(self, name):
        """A directory of the host."""
        path = self.base
        for part in name.split("/"):
            path = os.path.join(path, part)
            if not os.path.isdir(path):
                os.mkdir(path)
                os.chown(path, world.UID, world.GID)
        return path

    def host(self, name=""):
        return os.path.join(self.base, name) if name else self.base

    def fill(self, name, content=b"", **more):
        return world.write_file(self.host(name), content, **more)

    def identical(self, name=""):
        """The same path in the guest, as this process can use it."""
        return self.guest.path(self.host(name))

    def mounted(self, name=""):
        return self.guest.mounted(self.host(name))

    def share(self, *arguments):
        self.server.ctl("share", *arguments)

    def end(self):
        self.guest.stop()
        done = self.guest.try_run("--unmount")
        assert done.returncode == 0, done.stderr
        assert not self.guest.mounts(), self.guest.mounts()
        self.server.stop()
