# SPDX-License-Identifier: Apache-2.0
"""All workloads: those of the C program, those that are real programs, and the mount that has nothing to do."""
import json
import time

from . import paths
from .programs import PROGRAMS
from .workload import Workload, call, in_c


def c_workloads():
    """A class for each workload of the C program, by name."""
    classes = {}
    for entry in json.loads(call([paths.program("bench-workloads"), "list"])):
        classes[entry["name"]] = type(entry["name"], (_InC,), entry | {"prepare": _InC.prepare, "verify": _InC.verify})
    return classes


class _InC(Workload):
    def prepare(self, host):
        in_c(["prepare", self.name, host], self.quick, as_server=True)

    def run(self, guest, host):
        return [row for row in in_c(["run", self.name, guest, "--host", host], self.quick) if "row" in row]

    def verify(self, host):
        in_c(["verify", self.name, host], self.quick)


class Idle(Workload):
    """Measured by the driver from the peers' processes: see measure.py."""
    name, title = "idle", "wake-ups while nothing happens"

    def run(self, guest, host):
        call(["find", guest])
        time.sleep(3 if self.quick else 2)
        return []

    def seconds(self):
        return 2 if self.quick else 10


def classes():
    """All workloads, by name, in the order in which they run."""
    found = c_workloads()
    for one in (*PROGRAMS, Idle):
        found[one.name] = one
    return found
