# SPDX-License-Identifier: Apache-2.0
"""What the cases of virtual machines share: the guest with this build's programs, and the e2e library."""
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
E2E = os.path.join(os.path.dirname(HERE), "e2e")
sys.path[:0] = [HERE, E2E]

import virtual  # noqa: E402
from lib import program, world  # noqa: E402
from lib import run as run_cases  # noqa: E402
from lib.common.programs import BUILT  # noqa: E402
from lib.server import TOKEN, Server  # noqa: E402

AGENT_PORT = 5000
GUEST_BUILD = "/bindshare/build"
# Programs that the cases call and the guest would not have otherwise.
_TOOLS = ("cat", "chmod", "chown", "cp", "dd", "find", "flock", "install", "ldconfig", "ln", "ls", "mkdir", "mkfifo",
          "mv", "rm", "sed", "sh", "sleep", "tar", "touch", "truncate")


def needed(kind):
    """Fetches what a machine with this kernel needs; why there can be none, or None. Outside of the namespaces."""
    reason = virtual.missing()
    if reason:
        return reason
    try:
        virtual.kernel(kind)
        virtual.vsock_device()
    except virtual.Missing as error:
        return str(error)
    return None


def image(kernel, modules=(), more=None):
    """The path of an image with the programs and e2e cases of this build. more(image) adds to it."""
    made = virtual.Image(kernel, modules)
    for name in ("bindshare-fileserver", "bindsharectl", "bindshare-mount", "bindshare-guestd", "model"):
        source = program(name)
        made.program(source, f"{GUEST_BUILD[1:]}/{BUILT[name]}")
    made.tree(E2E, "bindshare/tests/e2e", without=("__pycache__", "model"))
    made.tree(os.path.join(os.path.dirname(E2E), "common"), "bindshare/tests/common", without=("__pycache__",))
    for name in _TOOLS:
        made.program(name)
    made.text("etc/ld.so.conf", "/usr/lib/x86_64-linux-gnu\n")
    if more:
        more(made)
    path = os.path.join(world.case_directory("image"), "initramfs")
    made.write(path)
    return path


def case_file(name):
    """The path of a file of e2e cases in the guest."""
    found = glob.glob(f"{E2E}/*/{name}.py")
    if not found:
        raise RuntimeError(f"there is no {name}.py in the folders of {E2E}")
    return f"/bindshare/tests/e2e/{os.path.relpath(found[0], E2E)}"


def installed(name):
    """The path of a program of this build in the guest."""
    return f"{GUEST_BUILD}/{BUILT[name]}"


def _disk(directory):
    """An ext4 file system, so that cases compare the mount with one that is like the host's."""
    path = os.path.join(directory, "disk")
    with open(path, "wb") as file:
        file.truncate(4 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", path], check=True,
                   stdin=subprocess.DEVNULL)
    return path


class Guest:
    """A machine whose other side is here: the agent, and a directory that both see."""

    def __init__(self, kind, *, modules=(), more=None, **machine):
        self.kernel = virtual.kernel(kind)
        self.directory = world.case_directory("vm")
        self.shared = os.path.join(world.case_directory("x"), "h")
        os.mkdir(self.shared)
        os.chmod(self.shared, 0o755)
        self.vsock = virtual.VsockDevice(self.directory)
        self.agent = virtual.Agent(self.vsock, AGENT_PORT, program, world.sanitizer_environment,
                                   {"fill": world.fill})
        self.host_view = virtual.Virtiofs(self.directory, self.shared, "host")
        self.machine = virtual.Machine(self.directory, self.kernel, image(self.kernel, modules, more),
                                       vsock=self.vsock, shares=[self.host_view], disk=_disk(self.directory),
                                       **machine)
        self.machine.must(f"ldconfig; mkdir -p {self.shared} && mount -t virtiofs host {self.shared}")
        self.environment = {"BINDSHARE_BUILD": GUEST_BUILD, "BINDSHARE_VM_AGENT": str(AGENT_PORT),
                            "BINDSHARE_VM_SHARED": self.shared, "BINDSHARE_TIME_FACTOR": "3",
                            **{name: value for name, value in os.environ.items()
                               if name in ("BINDSHARE_OPERATIONS", "BINDSHARE_SEED", "BINDSHARE_SECONDS",
                                            "BINDSHARE_ROUNDS")}}

    def stop(self):
        self.machine.stop()
        self.agent.stop()
        for device in (self.vsock, self.host_view):
            device.stop()


class VsockServer(Server):
    """A server of this side that the guest reaches over its vsock device."""

    def __init__(self, guest, shares, *, port=None, **more):
        self.guest = guest
        self.port = port or guest.agent.next_port()
        super().__init__(shares, token=TOKEN, **more)

    def _choose_address(self, _listen):
        path = f"{self.run}/s_{self.port}"
        self.lead(path)
        return "unix:" + path, f"vsock:2:{self.port}"

    def lead(self, path):
        """What the guest connects to at this server's port arrives at that socket."""
        link = self.guest.vsock.path(self.port)
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(path, link)


class Share:
    """A directory of the serving user, a server for it, and its mount in the guest."""

    def __init__(self, guest, *options, server_arguments=()):
        self.guest = guest
        self.path = os.path.join(world.case_directory("share"), "share")
        os.mkdir(self.path)
        os.chown(self.path, world.UID, world.GID)
        self.server = VsockServer(guest, [self.path], arguments=server_arguments)
        self.where = f"/mnt/{self.server.port}"
        self.options = options
        guest.machine.must(f"mkdir -p {self.where}")
        guest.machine.put("/root/token", TOKEN + "\n", 0o600)
        world.at_end(lambda: guest.machine.run(f"umount -l {self.where}", 30))

    def try_mount(self, *options, token="/root/token", timeout=60):
        """bindshare-mount in the guest; (exit code, output)."""
        given = ",".join([*self.options, *options, *([f"token-file={token}"] if token else [])])
        return self.guest.machine.run([installed("bindshare-mount"), f"{self.server.address}:{self.path}", self.where,
                                       *(["-o", given] if given else [])], timeout)

    def mount(self):
        code, output = self.try_mount()
        assert code == 0, f"bindshare-mount: {code} {output}"
        return self

    def unmount(self):
        """Unmounts; bindshare-mount must end by itself."""
        self.guest.machine.must(f"umount {self.where}", 60)
        self.guest.machine.must(f"""for i in $(seq 200); do
            pgrep -f 'bindshare-mount.*{self.where}' >/dev/null || exit 0; sleep 0.1; done; exit 1""", 60)


_kind = None
_guest = None


def the_guest(kind="6.12", **more):
    """For a file of cases that share one guest: a function that gives it, started by the first who asks."""
    global _kind
    _kind = kind

    def get():
        global _guest
        if _guest is None:
            _guest = Guest(kind, **more)
            print(f"# the guest's kernel: {_guest.machine.release}", flush=True)
        return _guest

    return get


def run(timeout, kind=None):
    """The last line of a file of cases: as run() of the e2e library, when there can be a machine with this kernel."""
    if world.INSIDE not in os.environ:
        reason = needed(kind or _kind)
        if reason:
            print(f"1..0 # SKIP {reason}")
            sys.exit(0)
    run_cases(timeout)
