# SPDX-License-Identifier: Apache-2.0
"""FUSE over io_uring for mounts of a case: the kernel's switch, which belongs to the whole machine."""
import contextlib
import fcntl
import os

PARAMETER = "/sys/module/fuse/parameters/enable_uring"
LOCK = "/var/tmp/bindshare-e2e-uring.lock"  # the tests' own: several of them may run at once

# For every mount of a file of cases: where the kernel has it.
WANTED = os.environ.get("BINDSHARE_TEST_IO_URING") == "1"


def why_not():
    """Why it cannot be switched on; None: it can."""
    if not os.path.exists(PARAMETER):
        return "this kernel has no FUSE over io_uring (Linux 6.14, CONFIG_FUSE_IO_URING)"
    try:
        with open(PARAMETER, "r+", encoding="ascii") as file:
            file.write(file.read(1))
    except OSError as error:
        return f"{PARAMETER} cannot be written: {error.strerror}"
    return None


_switching = False  # this process holds the lock


@contextlib.contextmanager
def switched(on):
    """
    The switch, while the body makes mounts, as it is wanted; then as it was. A mount asks once, at its start, and keeps
    what it got.
    """
    global _switching
    with open(LOCK, "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(PARAMETER, encoding="ascii") as file:
            before = file.read(1)
        try:
            _switching = True
            _set("Y" if on else "N")
            yield
        finally:
            _set(before)
            _switching = False


def _set(value):
    with open(PARAMETER, "w", encoding="ascii") as file:
        file.write(value)


@contextlib.contextmanager
def _as_it_is():
    """The switch is not moved by another test meanwhile."""
    with open(LOCK, "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def as_wanted():
    """
    Around the making of a mount: BINDSHARE_TEST_IO_URING=1 has it by rings, if that can be and the case does not decide
    it; else it gets what the machine has, and not what another test has switched on for its own.
    """
    if _switching:
        return contextlib.nullcontext()
    return switched(True) if WANTED and why_not() is None else _as_it_is()
