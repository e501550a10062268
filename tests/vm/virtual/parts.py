# SPDX-License-Identifier: Apache-2.0
"""
What a virtual machine is made of: QEMU, a kernel, the backend of the vsock device. Kernels are unpacked, never
installed; they and the backend, which is built from source, stay in a cache directory.
"""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess

# Debian's packages that always depend on the newest kernel of a kind.
KERNELS = {
    "6.12": "linux-image-6.12-cloud-amd64",
    "6.12-full": "linux-image-6.12-amd64",
    "6.1": "linux-image-cloud-amd64",
    "6.1-full": "linux-image-amd64",
}
DEVICE = "vhost-device-vsock"
DEVICE_VERSION = "0.3.0"
QEMU = "qemu-system-x86_64"


class Missing(Exception):
    """Something that is needed is not there; the text tells what."""


def cache():
    """The directory that keeps what was fetched: BINDSHARE_VM_CACHE, or one in the build directory."""
    build = os.environ.get("BINDSHARE_BUILD", "build")
    place = os.path.abspath(os.environ.get("BINDSHARE_VM_CACHE") or os.path.join(build, "vm-cache"))
    os.makedirs(place, exist_ok=True)
    return place


@contextlib.contextmanager
def _alone(place):
    """One at a time fetches."""
    with open(os.path.join(place, "lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _call(what, command, timeout, **more):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=timeout, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what}: {error}") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise Missing(f"{what}: {lines[-1] if lines else done.returncode}")
    return done.stdout


def missing():
    """Why no virtual machine can be had here, without fetching anything; or None."""
    if os.geteuid() != 0:
        return "the host's side needs root, to serve as an ordinary user"
    if os.uname().machine != "x86_64":
        return "the kernels and QEMU are those of x86_64"
    for name, package in ((QEMU, "qemu-system-x86"), ("busybox", "busybox-static"), ("depmod", "kmod"),
                          ("mkfs.ext4", "e2fsprogs"), ("dpkg-deb", "dpkg"), ("apt-get", "apt")):
        if shutil.which(name) is None:
            return f"there is no {name} (package {package})"
    if not os.path.exists(virtiofsd()):
        return "there is no virtiofsd (package qemu-system-common)"
    return None


def virtiofsd():
    return "/usr/lib/qemu/virtiofsd"


class Kernel:
    """An unpacked kernel. image: the file to boot. load(): what is to be loaded for modules, in order."""

    def __init__(self, directory):
        self.directory = directory
        self.image, = glob.glob(os.path.join(directory, "boot", "vmlinuz-*"))
        self.release = os.path.basename(self.image)[len("vmlinuz-"):]
        self.modules = os.path.join(directory, "lib", "modules", self.release)
        self.version = tuple(int(number) for number in re.match(r"(\d+)\.(\d+)", self.release).groups())
        self._needs = {}
        with open(os.path.join(self.modules, "modules.dep"), encoding="ascii") as file:
            for line in file:
                path, _, needs = line.partition(":")
                self._needs[_module(path)] = (path, [_module(need) for need in needs.split()])

    def load(self, names):
        """(name, file) of these modules and those that they need, in the order of loading; not what is built in."""
        found = {}

        def add(name):
            if name in found or name not in self._needs:
                return
            path, needs = self._needs[name]
            for need in reversed(needs):
                add(need)
            found[name] = os.path.join(self.modules, path)

        for name in names:
            add(name.replace("-", "_"))
        return list(found.items())


def _module(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def _package_of(meta):
    """The name of the package that a kernel's package for all versions stands for."""
    depends = _call(f"apt-cache depends {meta}", ["apt-cache", "depends", meta], 60)
    for line in depends.splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise Missing(f"{meta} names no kernel")


def _download(meta, place):
    """Fetches and unpacks to place; package lists are fetched when the package is not to be had with those here."""
    work = place + ".new"
    for attempt in range(2):
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        try:
            _call(f"download of {meta}", ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root",
                                          _package_of(meta)], 300, cwd=work)
            break
        except Missing:
            if attempt == 1:
                raise
            _call("apt-get update", ["apt-get", "update", "-q"], 300)
    archive, = glob.glob(os.path.join(work, "*.deb"))
    _call(f"unpacking {meta}", ["dpkg-deb", "-x", archive, work], 120)
    os.unlink(archive)
    release, = os.listdir(os.path.join(work, "lib", "modules"))
    _call("depmod", ["depmod", "-b", work, release], 120)
    os.rename(work, place)


def kernel(kind):
    """One of KERNELS; fetched when it is not in the cache. Missing."""
    place = os.path.join(cache(), "kernel-" + kind)
    with _alone(cache()):
        if not os.path.exists(place):
            _download(KERNELS[kind], place)
    return Kernel(place)


def vsock_device():
    """The backend of the vsock device; built when it is not in the cache, in a minute or two. Missing."""
    place = os.path.join(cache(), f"{DEVICE}-{DEVICE_VERSION}")
    program = os.path.join(place, "bin", DEVICE)
    with _alone(cache()):
        if not os.path.exists(program):
            if shutil.which("cargo") is None:
                raise Missing(f"there is no cargo to build {DEVICE} with")
            _call(f"building {DEVICE}", ["cargo", "install", DEVICE, "--version", DEVICE_VERSION, "--locked",
                                         "--root", place], 900)
    return program
