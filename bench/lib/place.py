# SPDX-License-Identifier: Apache-2.0
"""
A private mount and PID namespace in which everything is mounted and measured. However a run ends, Ctrl-C, an error or
SIGKILL, its mounts and processes end with the namespaces, and the outer process removes its directory.
"""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from .paths import Missing

INSIDE = "BINDSHARE_BENCH_INSIDE"  # the directory of the run, set within the namespaces
SHORT = "/run/bindshare-bench"     # the same within: short enough for a socket, reachable by every user
_PREFIX = "run."
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """Why nothing can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse"):
        subprocess.run(["modprobe", "fuse"], check=False, capture_output=True)
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    for name in ("unshare", "mount", "umount"):
        if shutil.which(name) is None:
            return f"there is no {name}"
    return None


def demand():
    """Missing when nothing can be mounted here."""
    reason = missing()
    if reason:
        raise Missing(reason)


def remove_tree(path):
    """Removes a directory with what is in it. What is mounted in it is unmounted first, or nothing is removed."""
    path = os.path.abspath(path)
    for _ in range(2):
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            places = [line.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape") for line in file]
        inside = [place for place in places if place == path or place.startswith(path + "/")]
        if not inside:
            shutil.rmtree(path, ignore_errors=True)
            return
        for place in reversed(inside):
            subprocess.run(["umount", "-l", "--", place], check=False, capture_output=True)
    print(f"{path} is left: something is mounted in it: {inside}", file=sys.stderr)


def _remove_stale(work):
    """Directories of runs that were killed."""
    for path in glob.glob(os.path.join(work, _PREFIX + "*")):
        owner = os.path.basename(path)[len(_PREFIX):].split(".")[0]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            remove_tree(path)


def _stop(child):
    """Ends the inner process politely, then the namespaces with all that is in them."""
    try:
        with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGINT)
    except OSError:
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
    _remove_stale(work)
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
        child = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
             sys.executable, "-B", *sys.argv],
            env={**os.environ, **environment, INSIDE: directory}, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
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


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return any(line.split()[4] == path for line in file)


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
