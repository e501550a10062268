# SPDX-License-Identifier: Apache-2.0
"""
A private mount and PID namespace in which everything is mounted and measured. However a run ends, Ctrl-C, an error or
SIGKILL, its mounts and processes end with the namespaces, and the outer process removes its directory.
"""
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from .common import namespace
from .common.mounts import is_mounted
from .common.namespace import remove_stale, remove_tree
from .common.process import children
from .paths import Missing

INSIDE = "BINDSHARE_BENCH_INSIDE"  # the directory of the run, set within the namespaces
SHORT = "/run/bindshare-bench"     # the same within: short enough for a socket, reachable by every user
_PREFIX = "run."
EXT4_SIZE = 16 << 30


def demand():
    """Missing when nothing can be mounted here."""
    reason = namespace.missing()
    if reason:
        raise Missing(reason)


def _stop(child):
    """Ends the inner process politely, then the namespaces with all that is in them."""
    for pid in children(child.pid):
        try:
            os.kill(pid, signal.SIGINT)
        except ProcessLookupError:
            pass
    try:
        child.wait(8)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def enter(work, environment, report):
    """
    Outside: runs this program again within new namespaces, calls report(directory, interrupted) when that has ended,
    removes the directory and returns the exit code. Inside: never called (see inside()).
    """
    os.makedirs(work, exist_ok=True)
    remove_stale(work, _PREFIX)
    directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}.", dir=work)
    os.chmod(directory, 0o755)
    child = None
    interrupted = 0

    def stop(number, _frame):
        nonlocal interrupted
        interrupted = number
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        child = namespace.start([sys.executable, "-B", *sys.argv], {**os.environ, **environment, INSIDE: directory},
                                start_new_session=True)
        code = child.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if child is not None:
            _stop(child)
        code = 128 + interrupted
    try:
        if not report(directory, bool(interrupted)) and code == 0:
            code = 1
    finally:
        remove_tree(directory)
    return code if code >= 0 else 128 - code


def inside():
    """Within the namespaces: the directory of the run by its short name; None outside."""
    if INSIDE not in os.environ:
        return None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    os.mkdir(SHORT)
    subprocess.run(["mount", "--bind", os.environ[INSIDE], SHORT], check=True)
    os.umask(0o022)
    return SHORT


def mount_tmpfs(path):
    """A file system in memory for the data."""
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=75%,nr_inodes=4m", "tmpfs", path], check=True)


def _mount_ext4(path, image):
    """A file system of its own in a file, as a disk has it; sparse, so that it takes what is written."""
    if shutil.which("mkfs.ext4") is None:
        raise Missing("there is no mkfs.ext4 (Debian: apt install e2fsprogs)")
    with open(image, "wb") as file:
        file.truncate(EXT4_SIZE)
    os.makedirs(path, exist_ok=True)
    for command in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, path]):
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise Missing(f"{command[0]}: {done.stderr.strip()[-200:]}; --backing DIR takes a directory that is there")


def back(backing, path, directory):
    """A place for data: "memory", "ext4", or within a directory that is there. Returns it. directory: of the run."""
    if backing == "memory":
        mount_tmpfs(path)
    elif backing == "ext4":
        _mount_ext4(path, os.path.join(directory, "ext4.image"))
    else:
        os.makedirs(path, exist_ok=True)
        try:
            inside_it = tempfile.mkdtemp(prefix=_PREFIX, dir=backing)
        except OSError as problem:
            raise Missing(f"{backing}: {problem.strerror}") from None
        os.chmod(inside_it, 0o755)
        atexit.register(remove_tree, inside_it)
        subprocess.run(["mount", "--bind", inside_it, path], check=True)
    os.chmod(path, 0o755)
    return path


def unmount(path, seconds=5.0):
    """Unmounts what is mounted there; lazily when it stays busy. False when it had to be lazy."""
    deadline = time.monotonic() + seconds
    while is_mounted(path):
        if subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0:
            continue
        if time.monotonic() > deadline:
            subprocess.run(["umount", "-l", path], check=False, capture_output=True)
            return False
        time.sleep(0.05)
    return True


def drop_caches():
    """The kernel forgets names, attributes and pages that are not in use; False without the right to ask for it."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3\n")
        return True
    except OSError:
        return False
