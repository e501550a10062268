# SPDX-License-Identifier: Apache-2.0
"""A mount by bindshare-mount, as root."""
import contextlib
import json
import os
import signal
import subprocess
import types

from . import uring, world
from .common import messages, process
from .common.mounts import is_mounted
from .remote import RemoteServer, ask
from .server import TOKEN, Server, program
from .tap import wait_for

# Where the cases' servers run: here, or on the other side of a virtual machine.
SERVER = RemoteServer if world.AGENT else Server


def unmount(path, lazy=False):
    return subprocess.run(["umount", *(["-l"] if lazy else []), path], check=False, timeout=30, capture_output=True,
                          text=True)


def mount_command(source, where, options=(), flags=(), timeout=40, faults=None, **more):
    """Runs bindshare-mount, with rules for faults; CompletedProcess."""
    command = [program("bindshare-mount"), source, where, *flags]
    if source.startswith("vsock:") and not any(option.startswith("token-file=") for option in options):
        options = [*options, "token-file=" + world.token_file(TOKEN)]
    if options:
        command += ["-o", ",".join(options)]
    return subprocess.run(command, check=False, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env=world.sanitizer_environment(faults), **more)


class Mount:
    """A share mounted in the background: made when it serves."""

    def __init__(self, server, share, *options, where=None, flags=(), faults=None):
        self.server = server
        self.share = share
        self.source = f"{server.address}:{share}"
        if where is None:
            where = os.path.join(world.case_directory("mount"), "mnt")
            os.mkdir(where)
        self.where = where
        options = [*options, *world.more_options(options)]
        if server.token_file:
            token = os.path.join(os.path.dirname(where), "token")
            world.write_file(token, world.read_file(server.token_file), 0o600, (0, 0))
            options.append(f"token-file={token}")
        before = set(_daemons())
        world.at_end(self.unmount_hard)
        with uring.as_wanted():
            done = mount_command(self.source, where, options, flags, faults=faults)
        assert done.returncode == 0, f"bindshare-mount: {done.returncode}: {done.stderr}"
        assert is_mounted(where), "bindshare-mount returned 0 and nothing is mounted"
        started = set(_daemons()) - before
        assert len(started) == 1, f"processes of the mount: {started}"
        self.pid = started.pop()

    def __truediv__(self, name):
        return os.path.join(self.where, name)

    def on_host(self, name):
        return os.path.join(self.share, name)

    def stats(self):
        done = subprocess.run([program("bindshare-mount"), "--stats", self.where, "--json"], check=False, timeout=20,
                              capture_output=True, text=True, env=world.sanitizer_environment())
        assert done.returncode == 0, f"--stats: {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def counted(self):
        """
        What the body costs: in the value's fuse and rpc, counts by operation that are not 0, without heartbeats and
        forgets; fuse_total and rpc_total are their sums.
        """
        before = self.stats()
        value = types.SimpleNamespace()
        yield value
        for part, counts in messages.between(before, self.stats()).items():
            setattr(value, part, counts)
            setattr(value, part + "_total", sum(counts.values()))

    def unmount(self):
        """Unmounts; the process must end by itself."""
        def gone():
            done = unmount(self.where)
            return done.returncode == 0 or not is_mounted(self.where)
        wait_for(gone, f"umount {self.where}")
        wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"), "bindshare-mount ends after umount")

    def unmount_hard(self):
        _let_go(self.where)
        while is_mounted(self.where):
            if unmount(self.where).returncode and unmount(self.where, lazy=True).returncode:
                break
        pid = getattr(self, "pid", None)
        if pid:
            try:
                wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "end of bindshare-mount", 5)
            except AssertionError as error:
                print(f"# {error}", flush=True)
                world.kill(pid, signal.SIGKILL)


def _let_go(where):
    """
    Descriptors that a case has left open in a mount would keep it, and its end would be waited for in vain. They lead
    to /dev/null from now on: whoever closes one of these numbers later closes nothing of others'.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        try:
            leads_to = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one of the listing
            continue
        if leads_to == where or leads_to.startswith(where + "/"):
            os.dup2(null, int(name), inheritable=False)
    os.close(null)


def _daemons():
    """Pids of bindshare-mount processes of this world."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    first = file.read().split(b"\0")[0]
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    state = file.read().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            # Not the process that waits for the end of another one.
            if first.endswith(b"bindshare-mount") and state != "Z" and process.name_of(name) != "bindshare-watch":
                yield int(name)


def fill_directory(path, count, text="f"):
    """Empty files of the serving user in a directory of the host, named by numbers."""
    if world.AGENT:
        ask("fill", path=path, count=count, text=text)
    else:
        world.fill(path, count, text)


class Rig:
    """The usual case: one directory of an ordinary user, a server for it, a mount of it."""

    def __init__(self, *options, mode="", server_arguments=(), token=None, uid=world.UID, gid=world.GID, share=None,
                 faults=None, mount_faults=None):
        if share is None:
            share = os.path.join(world.case_directory("host"), "share")
            os.mkdir(share)
        self.share = share
        os.chown(self.share, uid, gid)
        self.server = SERVER([self.share + mode], arguments=server_arguments, token=token, uid=uid, gid=gid,
                             faults=faults)
        self.options = options
        self.mount = Mount(self.server, self.share, *options, faults=mount_faults)

    def remount(self):
        """After an unmount: a new mount of the same share."""
        self.mount = Mount(self.server, self.share, *self.options, where=self.mount.where)
        return self.mount

    def host(self, name=""):
        return os.path.join(self.share, name)

    def guest(self, name=""):
        return os.path.join(self.mount.where, name)

    def fill(self, name, content=b"", **more):
        """A file on the host."""
        return world.write_file(self.host(name), content, **more)

    def end(self):
        """Unmounts and stops the server, both in order."""
        self.mount.unmount()
        self.server.stop()
