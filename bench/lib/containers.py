# SPDX-License-Identifier: Apache-2.0
"""
bindshare-bench containers: how long it takes to create a container with 1, 10 and 50 binds: plain binds by the OCI
runtime alone, and binds of a share by bindshare-runtime and the OCI runtime.
"""
import json
import os
import shutil
import subprocess
import time

from . import measure, paths, place
from .common import guestd
from .paths import Missing
from .peers import Bindshare

BINDS = (1, 10, 50)
BUSYBOX = "/bin/busybox"
RATIO_TO = ("runc",)
_WAIT_S = 30
_RUN = "/run/bindshare"  # of the namespace


def demand(runtime):
    """What is needed beside what run needs; Missing."""
    for name in (runtime, BUSYBOX):
        if shutil.which(name) is None:
            raise Missing(f"{name} is not installed")
    for name in ("bindshare-guestd", "bindshare-runtime"):
        paths.program(name)


class _Setup:
    """A server, guestd, and a bundle for each number of binds and each kind of them."""

    def __init__(self, options, directory):
        self.directory = directory
        self.runtime = shutil.which(options.runtime)
        self.host = os.path.join(directory, "host")
        self.plain = os.path.join(directory, "plain")
        for base in (self.host, self.plain):
            for number in range(max(BINDS)):
                os.makedirs(os.path.join(base, f"d{number}"))
        self.server = Bindshare(None)
        self.config = os.path.join(directory, "guest.json")
        self.rootfs = os.path.join(directory, "rootfs")
        os.makedirs(os.path.join(self.rootfs, "bin"))
        for name in ("proc", "dev", "sys"):
            os.mkdir(os.path.join(self.rootfs, name))
        shutil.copy(BUSYBOX, os.path.join(self.rootfs, "bin/busybox"))
        os.symlink("busybox", os.path.join(self.rootfs, "bin/true"))

    def start(self):
        # The mount by hand is only how the peer starts its server: guestd makes the one that is measured.
        where = os.path.join(self.directory, "by-hand")
        self.server.mount(self.host, where, os.path.join(self.directory, "log"))
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(guestd.configuration(self.directory, f"unix:{self.server.run}/s", runDirectory=_RUN,
                                           runtime=self.runtime, guestPaths=[self.plain]), file)
        self.agent = guestd.start([paths.program("bindshare-guestd"), "--config", self.config],
                                  os.path.join(self.directory, "guestd.log"))
        deadline = time.monotonic() + _WAIT_S
        while not self._is_mounted():
            if time.monotonic() > deadline or self.agent.poll() is not None:
                raise Missing("bindshare-guestd does not mount the share")
            time.sleep(0.05)

    def _is_mounted(self):
        try:
            return any(share["state"] == "mounted" for share in guestd.ask(_RUN, "status")["shares"])
        except OSError:
            return False

    def stop(self):
        self.agent.terminate()
        self.agent.wait(10)
        subprocess.run([paths.program("bindshare-guestd"), "--config", self.config, "--unmount"], check=False,
                       capture_output=True)
        self.server.unmount()

    def create(self, base, count, through):
        """Seconds that create takes; the container is deleted again."""
        bundle = os.path.join(self.directory, "bundle")
        place.remove_tree(bundle)
        os.mkdir(bundle)
        mounts = [{"type": "bind", "source": os.path.join(base, f"d{number}"), "destination": f"/m/d{number}",
                   "options": ["rbind", "rprivate"]} for number in range(count)]
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump({"ociVersion": "1.0.2", "root": {"path": self.rootfs},
                       "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"],
                                   "cwd": "/"},
                       "mounts": [{"type": "proc", "source": "proc", "destination": "/proc"}, *mounts],
                       "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]}}, file)
        program = [paths.program("bindshare-runtime"), "--bindshare-config", self.config] if through else [self.runtime]
        command = [*program, "--root", os.path.join(self.directory, "state")]
        # A file and not a pipe: the created container waits for its start and keeps its output open.
        with open(os.path.join(self.directory, "words"), "w+", encoding="utf-8") as words:
            begin = time.monotonic()
            done = subprocess.run([*command, "create", "--bundle", bundle, "bench"], check=False,
                                  stdin=subprocess.DEVNULL, stdout=words, stderr=words)
            took = time.monotonic() - begin
            words.seek(0)
            if done.returncode != 0:
                raise Missing(f"the container is not made: {words.read()[-500:]}")
        subprocess.run([*command, "delete", "--force", "bench"], check=True, capture_output=True)
        return took


def inner_main(options, directory):
    """Within the namespaces: measures everything, interleaved."""
    found = measure.results(False, {}, {"data_on": "disk"})
    found |= {"rounds": options.rounds, "ratio_to": RATIO_TO,
              "peers": {"runc": f"{options.runtime} alone, plain binds",
                        "own": f"bindshare-runtime before {options.runtime}, plain binds of the guest's own",
                        "bindshare": f"bindshare-runtime before {options.runtime}, binds of a share"}}
    # runc and crun do not work with both versions of control groups mounted.
    subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], check=False, capture_output=True)
    setup = _Setup(options, directory)
    try:
        setup.start()
        for number in range(options.rounds):
            measure.say(f"round {number + 1} of {options.rounds}")
            for count in BINDS:
                kinds = [("runc", setup.plain, False), ("own", setup.plain, True), ("bindshare", setup.host, True)]
                # Each kind comes first equally often.
                for peer, base, through in kinds[number % 3:] + kinds[:number % 3]:
                    seconds = setup.create(base, count, through)
                    found["measurements"].append({"peer": peer, "workload": "containers", "round": number, "rows": [
                        {"row": f"create, {count} binds", "unit": "ns", "value": round(seconds * 1e9)}],
                                                  "verified": True})
            with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as file:
                json.dump(found, file)
    except KeyboardInterrupt:
        measure.say("interrupted")
        return 130
    finally:
        setup.stop()
    return 0
