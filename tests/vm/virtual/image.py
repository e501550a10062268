# SPDX-License-Identifier: Apache-2.0
"""The guest's root file system: an initramfs of programs of this machine with their libraries, and kernel modules."""
import lzma
import os
import stat
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST = os.path.join(os.path.dirname(HERE), "guest")
# For the devices; then for mounts and containers.
MODULES = ("virtio_pci", "virtio_console", "vmw_vsock_virtio_transport", "fuse", "virtiofs", "overlay",
           "virtio_blk", "ext4", "crc32c_generic", "crc32c_intel")
TOOLS = ("mount", "umount", "unshare", "setpriv", "nsenter", "stat", "bash", "dash", "env", "findmnt")
PYTHON = "/usr/bin/python3"
_PYTHON_WITHOUT = ("test", "idlelib", "lib2to3", "tkinter", "ensurepip", "distutils", "site-packages", "dist-packages",
                   "turtledemo", "pydoc_data")

_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/inittab": "::sysinit:/etc/rc\n::respawn:/usr/bin/python3 -B /guest/executor.py\n",
}
# The root of an initramfs is no mount that pivot_root takes; a bind of it is.
_INIT = """#!/bin/busybox sh
/bin/busybox mount --bind / /mnt
cd /mnt
/bin/busybox mount --move . /
exec /bin/busybox chroot . /bin/busybox init
"""
_RC = """#!/bin/busybox sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs dev /dev 2>/dev/null || mount -t tmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
for name in $(cat /modules/order); do
	insmod /modules/$name || echo "cannot load $name"
done
mount -t ext4 /dev/vda /var/tmp 2>/dev/null || mount -t tmpfs tmpfs /var/tmp
chmod 1777 /var/tmp
chmod 666 /dev/fuse
ln -sf /proc/self/fd /dev/fd
hostname guest
ip link set lo up
ulimit -n 65536
"""


class Image:
    """Collects files, then writes them as a cpio archive of the form that the kernel unpacks."""

    def __init__(self, kernel, modules=()):
        self.entries = {}  # path in the guest: (mode, content, or the file that has it, device)
        for name in ("bin", "sbin", "lib", "lib64"):
            self.directory("usr/" + name)
            self.link(name, "usr/" + name)
        for name in ("proc", "sys", "dev", "run", "tmp", "root", "mnt", "var/tmp", "var/lib", "etc", "guest"):
            self.directory(name)
        for name, major, minor in (("console", 5, 1), ("null", 1, 3)):
            self.entries["dev/" + name] = (stat.S_IFCHR | 0o600, b"", (major, minor))
        self.text("init", _INIT, 0o755)
        self.text("etc/rc", _RC, 0o755)
        for name, text in _FILES.items():
            self.text(name, text)
        self._busybox()
        self._modules(kernel, [*MODULES, *modules])
        self._python()
        for name in TOOLS:
            self.program(name)
        self.copy(os.path.join(GUEST, "executor.py"), "guest/executor.py")

    def directory(self, path):
        self.entries.setdefault(path.strip("/"), (stat.S_IFDIR | 0o755, b"", (0, 0)))
        above = os.path.dirname(path.strip("/"))
        if above:
            self.directory(above)

    def text(self, path, content, mode=0o644):
        self._put(path, stat.S_IFREG | mode, content.encode() if isinstance(content, str) else content)

    def link(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def _put(self, path, mode, content):
        path = path.strip("/")
        first, _, rest = path.partition("/")
        if rest and first in ("bin", "sbin", "lib", "lib64"):
            path = "usr/" + path
        if os.path.dirname(path):
            self.directory(os.path.dirname(path))
        self.entries[path] = (mode, content, (0, 0))

    def copy(self, source, path=None):
        """A file under its own path, or another."""
        mode = stat.S_IMODE(os.stat(source).st_mode) & 0o755
        self._put(path or source, stat.S_IFREG | mode, source)

    def tree(self, top, path=None, without=()):
        """A directory with all beneath it but directories of certain names; a link to a directory stays one."""
        for folder, directories, files in os.walk(top):
            directories[:] = [name for name in directories if name not in without]
            to = os.path.join(path or top, os.path.relpath(folder, top))
            for name in directories:
                source = os.path.join(folder, name)
                if os.path.islink(source):
                    self.link(os.path.normpath(os.path.join(to, name)), os.readlink(source))
            for name in files:
                source = os.path.join(folder, name)
                if os.path.isfile(source):
                    self.copy(source, os.path.normpath(os.path.join(to, name)))

    def libraries(self, *sources):
        """The libraries that these files need."""
        done = subprocess.run(["ldd", *sources], check=False, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            words = line.split()
            path = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
            if path.startswith("/") and os.path.exists(path) and not path.endswith(":"):
                self.copy(path)

    def program(self, name, path=None):
        """A program of this machine, or the file, with its libraries, at its own path or another. False: not here."""
        source = _find(name)
        if source is None:
            return False
        self.copy(source, path or source)
        self.libraries(source)
        return True

    def _busybox(self):
        source = _find("busybox")
        self.copy(source, "usr/bin/busybox")
        for line in subprocess.run([source, "--list-full"], check=True, capture_output=True,
                                   text=True).stdout.split():
            name = os.path.join("usr", line) if line.startswith(("bin", "sbin")) else line
            if not name.endswith("/busybox"):
                self.link(name, "/usr/bin/busybox")

    def _modules(self, kernel, names):
        order = []
        for name, path in kernel.load(names):
            with open(path, "rb") as file:
                content = file.read()
            self.text(f"modules/{name}.ko", lzma.decompress(content) if path.endswith(".xz") else content)
            order.append(name + ".ko")
        self.text("modules/order", "\n".join(order) + "\n")

    def modules_to_load(self, kernel, names):
        """Modules that the guest loads when it likes, by insmod in this order: their paths there."""
        paths = []
        for name, path in kernel.load(names):
            where = f"modules/{name}.ko"
            if where not in self.entries:
                with open(path, "rb") as file:
                    content = file.read()
                self.text(where, lzma.decompress(content) if path.endswith(".xz") else content)
                paths.append("/" + where)
        return paths

    def _python(self):
        top = subprocess.run([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"], check=True,
                             capture_output=True, text=True).stdout.strip()
        self.program(PYTHON)
        self.tree(top, without=_PYTHON_WITHOUT)
        dynamic = os.path.join(top, "lib-dynload")
        self.libraries(*(os.path.join(dynamic, name) for name in os.listdir(dynamic) if name.endswith(".so")))

    def write(self, path):
        with open(path, "wb") as file:
            for number, (name, (mode, content, device)) in enumerate(sorted(self.entries.items()), 1):
                if isinstance(content, str):
                    with open(content, "rb") as source:
                        content = source.read()
                _entry(file, number, name, mode, content, device)
            _entry(file, 0, "TRAILER!!!", 0, b"", (0, 0))


def _find(name):
    if os.path.isabs(name):
        return name if os.path.exists(name) else None
    for folder in ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"):
        if os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return None


def _entry(file, number, name, mode, content, device):
    """One entry of a cpio archive of the form "newc" (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(content), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    file.write(head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4))
