# SPDX-License-Identifier: Apache-2.0
"""Which system calls a process makes while a block runs, by strace."""
import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import types

from . import world
from .common import process
from .tap import skip, wait_for


def _is_traced(pid):
    """Every thread of it."""
    return all("TracerPid:\t0\n" not in text for text in process.threads(pid))


@contextlib.contextmanager
def calls_of(pid, *names):
    """What the body makes the process call, of these names: in the value's lines, and in counts by name."""
    if shutil.which("strace") is None:
        skip("strace is missing")
    log = os.path.join(world.case_directory("trace"), "calls")
    command = ["strace", "-f", "-qq", "-y", "-o", log, "-e", "trace=" + ",".join(names), "-p", str(pid)]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    world.at_end(strace.kill)
    value = types.SimpleNamespace(lines=[], counts=collections.Counter())
    try:
        wait_for(lambda: strace.poll() is not None or _is_traced(pid), "strace follows the worker")
        assert strace.poll() is None, strace.stderr.read()
        yield value
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=20)
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"\d+ +(\w+)\(", line)
            if found:
                value.lines.append(line.rstrip())
                value.counts[found[1]] += 1
