# SPDX-License-Identifier: Apache-2.0
"""Containers by runc or crun: bundles with a root file system of busybox."""
import json
import os
import shutil
import subprocess

from . import world
from .server import program

BUSYBOX = "/bin/busybox"
RUNTIMES = ("runc", "crun")
APPLETS = ("sh", "cat", "id", "ls", "stat", "touch", "mkdir", "chown", "chmod", "sleep", "echo", "grep", "mount", "rm",
           "head", "wc", "true", "dd", "readlink", "mv", "cp", "sync", "test", "df", "find")


def missing(*programs):
    """Why no container can be made here, or None."""
    for name in programs:
        if shutil.which(name) is None and not os.path.exists(name):
            return f"{name} is not installed"
    return None


def make_rootfs(path):
    """A root file system with busybox alone."""
    for name in ("bin", "proc", "dev", "tmp", "etc", "sys"):
        os.makedirs(os.path.join(path, name))
    shutil.copy(BUSYBOX, os.path.join(path, "bin/busybox"))
    for name in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", name))
    world.write_file(os.path.join(path, "etc/passwd"), "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\n",
                     owner=(0, 0))
    world.write_file(os.path.join(path, "etc/group"), "root:x:0:\nme:x:1000:\n", owner=(0, 0))
    return path


class Container:
    """A bundle, and bindshare-runtime to make a container of it in a guest."""

    number = 0

    def __init__(self, guest, runtime="runc", mounts=(), user=(0, 0), script="true", **linux):
        Container.number += 1
        self.guest = guest
        self.id = f"test{Container.number}"
        self.bundle = os.path.join(world.case_directory("bundle"), "b")
        self.state = os.path.join(os.path.dirname(self.bundle), "state")
        self.log = os.path.join(os.path.dirname(self.bundle), "runtime.json")
        os.mkdir(self.bundle)
        make_rootfs(os.path.join(self.bundle, "rootfs"))
        namespaces = [{"type": name} for name in ("pid", "mount", "ipc", "uts")]
        self.config = {
            "ociVersion": "1.0.2",
            "process": {"terminal": False, "user": {"uid": user[0], "gid": user[1]}, "args": ["/bin/sh", "-c", script],
                        "env": ["PATH=/bin"], "cwd": "/",
                        "rlimits": [{"type": "RLIMIT_CORE", "hard": 18446744073709551615,
                                     "soft": 18446744073709551615}],
                        "capabilities": {kind: ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE",
                                                "CAP_FOWNER"]
                                         for kind in ("bounding", "effective", "permitted")}},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, *mounts],
            "linux": {"namespaces": namespaces, **linux},
        }
        if "uidMappings" in linux:
            namespaces.append({"type": "user"})
        self.runtime = shutil.which(runtime)
        # crun does not work with both versions of control groups mounted.
        if not hasattr(guest, "one_kind_of_cgroups"):
            guest.do("umount", "-l", "/sys/fs/cgroup/unified", check=False)
            guest.one_kind_of_cgroups = True
        self.write()

    def write(self):
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(self.config, file)

    def written(self):
        """config.json as it is now, as text."""
        with open(os.path.join(self.bundle, "config.json"), encoding="utf-8") as file:
            return file.read()

    def command(self, *arguments, through=True):
        """The command line; with through by bindshare-runtime, else by the runtime itself."""
        own = [program("bindshare-runtime"), "--bindshare-config", self.guest.config_file]
        return [*(own if through else [self.runtime]), "--root", self.state, "--log", self.log, "--log-format", "json",
                *arguments]

    def configure(self):
        """Which runtime is behind."""
        if self.guest.config.get("runtime") != self.runtime:
            self.guest.config["runtime"] = self.runtime
            self.guest.write_config()

    def do(self, *arguments, check=False, through=True):
        self.configure()
        return self.guest.do(*self.command(*arguments, through=through), check=check, timeout=60)

    def run(self):
        """From the beginning to the end: what it prints."""
        done = self.do("run", "--bundle", self.bundle, self.id)
        assert done.returncode == 0, f"{self.runtime}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self):
        """It is not made: the words of the log's last error."""
        done = self.do("run", "--bundle", self.bundle, self.id)
        assert done.returncode != 0, f"it ran: {done.stdout}"
        with open(self.log, encoding="utf-8") as file:
            last = json.loads(file.read().splitlines()[-1])
        assert last["level"] == "error" and last["msg"] in done.stderr, (last, done.stderr)
        return last["msg"]

    def start(self):
        """Makes it and lets it run in the background."""
        out = os.path.join(os.path.dirname(self.bundle), "output")
        self.configure()
        with open(out, "wb") as file:
            done = subprocess.run(
                self.guest.command(*self.command("create", "--bundle", self.bundle, self.id)), check=False, timeout=60,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=world.sanitizer_environment())
        with open(out, encoding="utf-8", errors="replace") as file:
            assert done.returncode == 0, file.read()
        world.at_end(lambda: self.do("delete", "--force", self.id))
        self.do("start", self.id, check=True)
        return self

    def execute(self, script, user="0:0"):
        done = self.do("exec", "--user", user, self.id, "/bin/sh", "-c", script)
        return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}{done.stderr}"

    def delete(self):
        done = self.do("delete", "--force", self.id)
        assert done.returncode == 0, done.stderr

    def clones(self):
        """What bindshare-runtime keeps for it."""
        place = self.guest.path(os.path.join(self.guest.run, "binds", self.id))
        return sorted(os.listdir(place)) if os.path.isdir(place) else []


def bind(source, destination, *options):
    """A mount of config.json, as Docker writes it."""
    return {"type": "bind", "source": source, "destination": destination, "options": list(options) or ["rbind"]}
