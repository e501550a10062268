# SPDX-License-Identifier: Apache-2.0
"""A mount and PID namespace in which something is mounted, and the directory of such a run."""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys

from . import mounts

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "private-namespace")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """Why nothing can be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse") and shutil.which("modprobe"):
        subprocess.run(["modprobe", "fuse"], check=False, capture_output=True)
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    for name in ("unshare", "mount", "umount"):
        if shutil.which(name) is None:
            return f"there is no {name}"
    return None


def start(command, environment, **more):
    """Starts a command in new namespaces, which end with this process, too, however that ends. Popen."""
    return subprocess.Popen([_PROGRAM, *command], env=environment, stdin=subprocess.DEVNULL,
                            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), **more)


def remove_tree(path):
    """Removes a directory with what is in it. What is mounted in it is unmounted first, or nothing is removed."""
    path = os.path.abspath(path)
    for _ in range(2):
        inside = [place for place in mounts.places() if place == path or place.startswith(path + "/")]
        if not inside:
            shutil.rmtree(path, ignore_errors=True)
            return
        for place in reversed(inside):
            subprocess.run(["umount", "-l", "--", place], check=False, capture_output=True)
    print(f"{path} is left: something is mounted in it: {inside}", file=sys.stderr)


def remove_stale(base, prefix):
    """Directories base/PREFIXpid.* whose process was killed."""
    for path in glob.glob(os.path.join(base, prefix + "*")):
        owner = os.path.basename(path)[len(prefix):].split(".")[0]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            remove_tree(path)
