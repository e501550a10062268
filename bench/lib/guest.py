# SPDX-License-Identifier: Apache-2.0
"""
bindshare-bench guest: workloads in a virtual machine of tests/vm, over bindshare and over QEMU's own virtiofs and 9p,
all in one boot.
"""
import json
import os
import subprocess
import sys

from . import measure, paths, place
from .paths import Missing
from .peers import GID, UID, Peer
from .workload import PHASE_SECONDS, Failed, parse_rows

# The module that makes the machine; only a checkout has it.
_VM = os.path.join(paths.ROOT, "tests", "vm") if paths.ROOT else None
KERNELS = ("6.12-full", "6.12", "6.1-full", "6.1")
WORKLOADS = ("micro", "walk", "small-files", "missing", "create", "remove", "listing-large", "seq-write", "seq-read",
             "random-read")
RATIO_TO = ("virtiofs", "9p")
_TOKEN = "ab" * 32
_PORT = 7000


def _virtual():
    """The module that makes machines."""
    if _VM is None or not os.path.isdir(_VM):
        raise Missing("virtual machines are made by tests/vm of a checkout, and this is none")
    if _VM not in sys.path:
        sys.path.insert(0, _VM)
    import virtual
    return virtual


def demand(kernel):
    """Fetches what is needed for this kernel; Missing."""
    virtual = _virtual()
    os.environ.setdefault("BINDSHARE_BUILD", paths.BUILD)
    reason = virtual.missing()
    if reason:
        raise Missing(reason)
    try:
        virtual.kernel(kernel)
        virtual.vsock_device()
    except virtual.Missing as problem:
        raise Missing(str(problem)) from None


class _Shown(Peer):
    """The directory with all data is mounted in the guest; the share is in it."""
    mount_command = ""

    def __init__(self, machine, data):
        super().__init__(None)
        self.machine, self.data = machine, data
        self.point = f"/mnt/{self.name}"

    def mount(self, host, where, log):
        self.host = host
        self.machine.must(f"mkdir -p {self.point} && {self.mount_command} {self.point}")
        self.guest = os.path.join(self.point, os.path.relpath(host, self.data))

    def unmount(self):
        if self.guest is None:
            return True
        self.guest = None
        return self.machine.run(f"umount {self.point} || {{ umount -l {self.point}; exit 1; }}")[0] == 0


class Virtiofs(_Shown):
    name, title = "virtiofs", "QEMU's virtiofsd, cache=auto"
    mount_command = "mount -t virtiofs data"


class Plan9(_Shown):
    name, title = "9p", "QEMU's 9p, cache=mmap"
    mount_command = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap plan9"


class Bindshare(Peer):
    name, title = "bindshare", "bindshare-fileserver and bindshare-mount over a virtio-vsock device"

    def __init__(self, machine, device):
        super().__init__(None)
        self.machine, self.device = machine, device
        self.run = os.path.join(place.SHORT, "serve")
        # A copy: the user may not reach the build directory.
        self.program = os.path.join(place.SHORT, "bindshare-fileserver")
        subprocess.run(["cp", paths.program("bindshare-fileserver"), self.program], check=True)
        os.mkdir(self.run, 0o700)
        with open(os.path.join(self.run, "token"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_TOKEN + "\n")
        for path in (self.run, os.path.join(self.run, "token")):
            os.chown(path, UID, GID)
        os.symlink(f"{self.run}/s_{_PORT}", device.path(_PORT))
        machine.put("/root/token", _TOKEN + "\n", 0o600)

    def mount(self, host, where, log):
        self.host = host
        with open(log, "ab") as self.log:
            self._serve([self.program, "--listen", f"unix:{self.run}/s_{_PORT}", "--control", f"{self.run}/control",
                         "--token-file", f"{self.run}/token", "--share", host])
        self.machine.must("mkdir -p /mnt/bindshare && bindshare-mount "
                          f"vsock:2:{_PORT}:{host} /mnt/bindshare -o token-file=/root/token")
        self.guest = "/mnt/bindshare"

    def unmount(self):
        polite = self.guest is None or self.machine.run("umount /mnt/bindshare || { umount -l /mnt/bindshare; exit 1; }"
                                                        )[0] == 0
        self.guest = None
        return super().unmount() and polite

    def messages(self):
        return json.loads(self.machine.must("bindshare-mount --stats /mnt/bindshare --json"))

    def processes(self):
        return {}


class _InGuest:
    """A workload whose timed part runs in the guest."""

    def __init__(self, workload, machine):
        self.workload, self.machine = workload, machine
        self.name, self.prepare, self.verify = workload.name, workload.prepare, workload.verify

    def run(self, guest, _host):
        command = ["bench-workloads", "run", self.name, guest, *(["--quick"] if self.workload.quick else [])]
        self.machine.must("sync; echo 3 > /proc/sys/vm/drop_caches")
        code, output = self.machine.run(command, PHASE_SECONDS)
        if code != 0:
            raise Failed(f"bench-workloads: exit code {code}: {output[-300:]}")
        return [row for row in parse_rows(output) if "row" in row]


class _Run(measure.Run):
    """With a machine that sees the directory of the data in three ways."""

    def __init__(self, options, directory, found):
        super().__init__(options, directory, found)
        virtual = _virtual()
        data = self.data["memory"]
        place_of_machine = os.path.join(directory, "vm")
        os.mkdir(place_of_machine)
        kernel = virtual.kernel(options.kernel)
        full = options.kernel.endswith("-full")
        image = virtual.Image(kernel, ("9p", "9pnet_virtio") if full else ())
        for name in ("bindshare-mount", "bench-workloads"):
            image.program(paths.program(name), f"usr/bin/{name}")
        image.write(os.path.join(place_of_machine, "initramfs"))
        device = virtual.VsockDevice(place_of_machine)
        share = virtual.Virtiofs(place_of_machine, data, "data", cache="auto")
        self.machine = virtual.Machine(place_of_machine, kernel, os.path.join(place_of_machine, "initramfs"),
                                       vsock=device, shares=[share], plan9={"plan9": data} if full else None,
                                       memory=3072)
        self.peers = [Bindshare(self.machine, device), Virtiofs(self.machine, data)]
        if full:
            self.peers.append(Plan9(self.machine, data))
        else:
            found["missing_peers"]["9p"] = "Debian's cloud kernels have none; --kernel 6.12-full has"
        found["peers"] = {peer.name: peer.title for peer in self.peers}
        found["machine"] |= {"kernel": f"{self.machine.release} in QEMU without hardware help", "cpus": 2}

    def setup(self, names):
        return [_InGuest(workload, self.machine) for workload in super().setup(names)]


def inner_main(options, directory):
    """Within the namespaces: measures everything."""
    found = measure.results(options.quick, {}, {"data_on": "the host's memory"})
    found |= {"rounds": options.rounds, "ratio_to": RATIO_TO}
    run = None
    try:
        run = _Run(options, directory, found)
        run.save()
        run.rounds(run.peers, options.workloads)
    except KeyboardInterrupt:
        measure.say("interrupted")
        return 130
    finally:
        if run is not None:
            run.machine.stop()
    return 0
