# SPDX-License-Identifier: Apache-2.0
"""What a workload is, and what all of them need."""
import json
import os
import subprocess
import time

from . import paths
from .peers import GID, UID

PHASE_SECONDS = 900


class Failed(Exception):
    """A phase of a workload failed; the text tells how."""


def call(command, seconds=PHASE_SECONDS, as_server=False, **more):
    """Runs a command to its end; its output, or Failed."""
    if as_server and os.geteuid() == 0:
        more.update(user=UID, group=GID, extra_groups=[])
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=seconds, check=False, **more)
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[0])} did not end within {seconds} s") from None
    except OSError as error:
        raise Failed(str(error)) from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip())[-300:]
        raise Failed(f"{os.path.basename(command[0])}: exit code {done.returncode}: {last}")
    return done.stdout


def parse_rows(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def timed(row, function, *arguments, **more):
    """A row with the time that function takes."""
    begin = time.monotonic_ns()
    function(*arguments, **more)
    taken = time.monotonic_ns() - begin
    return {"row": row, "unit": "ns", "value": taken, "ops": 1, "total_ns": taken}


def rest(quick):
    """As measure_rest() of bench/workloads/measure.h."""
    time.sleep(0.1 if quick else 3)


class Workload:
    """
    prepare(host) fills a directory on the host, as the user who serves it; run(guest, host) works through the peer and
    returns rows; verify(host) looks on the host at what was done. All raise Failed.
    """
    name = title = ""

    def __init__(self, quick, inputs):
        """inputs: a directory of what all rounds use, made by setup()."""
        self.quick = quick
        self.inputs = inputs

    def setup(self):
        """Once a run. Missing when this cannot be run here."""

    def prepare(self, host):
        pass

    def run(self, guest, host):
        raise NotImplementedError

    def verify(self, host):
        pass


def in_c(arguments, quick=False, **more):
    """A phase of bench-workloads; its rows."""
    return parse_rows(call([_c_program(), *arguments, *(["--quick"] if quick else [])], **more))


def _c_program():
    """bench-workloads; inside a run, the copy that every user can reach."""
    copy = os.environ.get("BINDSHARE_BENCH_WORKLOADS")
    return copy or paths.program("bench-workloads")


def digest(directory):
    return in_c(["digest", directory])[0]["xxh3"]
