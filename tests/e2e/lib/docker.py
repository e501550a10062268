# SPDX-License-Identifier: Apache-2.0
"""A real dockerd in a guest, with bindshare-runtime before runc and the authorization plugin."""
import json
import os
import shutil
import subprocess
import tarfile

from . import world
from .container import BUSYBOX, make_rootfs, missing
from .guest import Pair
from .server import program
from .tap import skip, wait_for

PLUGIN = "/run/docker/plugins/bindshare.sock"


class Engine:
    """dockerd and what it needs; the namespaces end it whatever happens."""

    def __init__(self, guest, **config):
        self.guest = guest
        self.directory = world.case_directory("docker")
        self.socket = os.path.join(self.directory, "docker.sock")
        self.log = os.path.join(self.directory, "dockerd.log")
        self.config_file = os.path.join(self.directory, "daemon.json")
        self.config = {
            "data-root": os.path.join(self.directory, "data"), "exec-root": os.path.join(self.directory, "exec"),
            "pidfile": os.path.join(self.directory, "pid"), "storage-driver": "vfs", "bridge": "none",
            "iptables": False, "ip6tables": False, "default-runtime": "bindshare",
            "authorization-plugins": ["bindshare"],
            "runtimes": {"bindshare": {"path": program("bindshare-runtime"),
                                       "runtimeArgs": ["--bindshare-config", guest.config_file]}},
            **config}
        self.process = None

    def start(self):
        world.write_file(self.config_file, json.dumps(self.config), owner=(0, 0))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.guest.command("dockerd", "--config-file", self.config_file, "-H", f"unix://{self.socket}"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        world.at_end(self.stop_hard)
        wait_for(self.answers, "dockerd answers", 60, 0.1)
        return self

    def answers(self):
        assert self.process.poll() is None, f"dockerd ended: {self.log_text()}"
        return os.path.exists(self.socket) and self.try_run("version").returncode == 0

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def try_run(self, *arguments, **more):
        return self.guest.do("docker", "-H", f"unix://{self.socket}", *arguments, check=False, **more)

    def run(self, *arguments, **more):
        """docker ARGUMENTS: what it prints."""
        done = self.try_run(*arguments, **more)
        assert done.returncode == 0, f"docker {arguments}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def compose(self, file, *arguments):
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}
        done = subprocess.run(self.guest.command("docker-compose", "-f", file, *arguments), check=False, timeout=120,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        assert done.returncode == 0, f"docker-compose {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def load(self, name, tree, *changes):
        """An image of a directory."""
        archive = os.path.join(self.directory, f"{name}.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(tree, ".")
        options = [word for change in changes for word in ("--change", change)]
        self.run("import", *options, archive, name)
        os.unlink(archive)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log_text()

    def stop_hard(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def copy_with_libraries(tree, *paths):
    """Programs, and the shared libraries that they need, into a tree."""
    needed = set()
    for path in paths:
        needed.add(path)
        done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
        for word in done.stdout.split():
            if word.startswith("/"):
                needed.add(word)
    for path in sorted(needed):
        target = tree + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            shutil.copy(path, target)


def docker_pair(*names, **config):
    """A pair with dockerd in the guest, and an image "box" of busybox."""
    reason = missing(BUSYBOX, "dockerd", "docker", "runc", "containerd")
    if reason:
        skip(reason)
    pair = Pair(*names)
    pair.guest.stop()
    pair.engine = Engine(pair.guest, **config)
    pair.guest.config.update(pluginSocket=PLUGIN, guestPaths=["/run", "/var/run", "/sys", "/proc", "/dev",
                                                              pair.engine.directory])
    pair.guest.write_config()
    pair.guest.start()
    pair.engine.start()
    tree = make_rootfs(os.path.join(world.case_directory("image"), "tree"))
    pair.engine.load("box", tree)
    return pair
