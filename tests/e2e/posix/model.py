#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
A random sequence of file operations gives the same results, errnos and trees on the mount as on a local directory.

BINDSHARE_OPERATIONS and BINDSHARE_SEED choose another length and another sequence (docs/TESTING.md).
"""
import os
import subprocess

from lib import Rig, case, program, run, work_directory

OPERATIONS = int(os.environ.get("BINDSHARE_OPERATIONS", "30000"))
SEED = int(os.environ.get("BINDSHARE_SEED", "1"))
SECONDS = 120 + OPERATIONS // 400


def _compare(rig, operations, seed, name):
    local = os.path.join(work_directory(), f"local-{name}")
    os.mkdir(local)
    done = subprocess.run([program("model"), "--local", local, "--mount", rig.guest(), "--host", rig.host(),
                           "--operations", str(operations), "--seed", str(seed)], check=False, timeout=SECONDS,
                          capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, (
        f"seed {seed}, {operations} operations: exit {done.returncode}\n{done.stdout}{done.stderr}")
    rig.end()


@case
def random_operations_give_the_same_as_on_a_local_directory():
    _compare(Rig(), OPERATIONS, SEED, "usual")


@case
def random_operations_give_the_same_with_few_descriptors():
    _compare(Rig(server_arguments=("--descriptors", "32")), OPERATIONS // 3, SEED + 1000, "few")


@case
def random_operations_give_the_same_without_a_cache():
    _compare(Rig("cache=none"), OPERATIONS // 3, SEED + 2000, "uncached")


run(180 + OPERATIONS // 150)
