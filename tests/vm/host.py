# SPDX-License-Identifier: Apache-2.0
"""What the cases of virtual machines share: the guest with this build's programs, and the e2e library."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
E2E = os.path.join(os.path.dirname(HERE), "e2e")
sys.path[:0] = [HERE, E2E]

import virtual  # noqa: E402
from lib import program, world  # noqa: E402

AGENT_PORT = 5000
GUEST_BUILD = "/bindshare/build"
# What the cases call that is no part of the guest anyway.
_TOOLS = ("cat", "cp", "dd", "find", "flock", "ls", "mkfifo", "mv", "rm", "sh", "sleep", "tar", "touch", "truncate")


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
    for name in ("bindshare-fileserver", "bindsharectl", "bindshare-mount", "model"):
        source = program(name)
        made.program(source, f"{GUEST_BUILD[1:]}/{_place(name)}")
    made.tree(E2E, "bindshare/tests/e2e", without=("__pycache__", "model"))
    for name in _TOOLS:
        made.program(name)
    if more:
        more(made)
    path = os.path.join(world.case_directory("image"), "initramfs")
    made.write(path)
    return path


def _place(name):
    from lib.server import _PLACES
    return _PLACES[name]


class Guest:
    """A machine whose other side is here: the agent, and a directory that both see."""

    def __init__(self, kind, *, vsock=True, modules=(), more=None, **machine):
        kernel = virtual.kernel(kind)
        self.directory = world.case_directory("vm")
        self.shared = os.path.join(world.case_directory("x"), "h")
        os.mkdir(self.shared)
        os.chmod(self.shared, 0o755)
        self.vsock = virtual.VsockDevice(self.directory).start()
        self.agent = virtual.Agent(self.vsock, AGENT_PORT, program, world.sanitizer_environment)
        self.host_view = virtual.Virtiofs(self.directory, self.shared, "host").start()
        self.machine = virtual.Machine(self.directory, kernel, image(kernel, modules, more), vsock=self.vsock,
                                       shares=[self.host_view], **machine)
        self.machine.must(f"mkdir -p {self.shared} && mount -t virtiofs host {self.shared}")
        self.environment = {"BINDSHARE_BUILD": GUEST_BUILD, "BINDSHARE_VM_AGENT": str(AGENT_PORT),
                            "BINDSHARE_VM_SHARED": self.shared}

    def stop(self):
        self.machine.stop()
        self.agent.stop()
        for device in (self.vsock, self.host_view):
            device.stop()
