#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindshare-bench guest: a short run in a virtual machine, and what it refuses."""
import json
import os
import subprocess

import host
from lib import case, world

KERNEL = "6.12"  # without 9p, which the full ones have
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(host.HERE)), "bench", "bindshare-bench")


def _bench(*arguments):
    return subprocess.run([PROGRAM, "guest", *arguments], check=False, timeout=300, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env={**os.environ, "BINDSHARE_BUILD": world.BUILD})


@case
def a_short_run_gives_figures_of_each_and_the_messages_of_bindshare():
    work = world.case_directory("work")
    result = os.path.join(work, "result.json")
    done = _bench("--kernel", KERNEL, "--quick", "--rounds", "1", "--workloads", "micro,walk", "--work",
                  os.path.join(work, "w"), "--json", result)
    assert done.returncode == 0, (done.stdout, done.stderr)
    with open(result, encoding="utf-8") as file:
        found = json.load(file)
    rows = {(one["peer"], one["workload"]): one for one in found["measurements"]}
    assert set(rows) == {(peer, workload) for peer in ("bindshare", "virtiofs") for workload in ("micro", "walk")}
    for one in rows.values():
        assert one["verified"] and one["rows"] and all(row["value"] > 0 for row in one["rows"]), one
    for workload in ("micro", "walk"):
        assert sum(rows["bindshare", workload]["messages"]["rpc"].values()) > 10, rows["bindshare", workload]
    assert "9p" in found["missing_peers"] and "Without the peer 9p" in done.stdout, done.stdout
    assert "the ratios are to virtiofs" in done.stdout, done.stdout
    assert not [name for name in os.listdir(os.path.join(work, "w")) if name.startswith("run.")]


@case
def what_makes_no_sense_is_refused():
    for arguments, code, words in ((("--workloads", "npm"), 2, "there is no workload for a guest npm"),
                                   (("--kernel", "5.10"), 2, "invalid choice: '5.10'"),
                                   (("--rounds", "0"), 2, "a number from 1 to 1000")):
        done = _bench(*arguments)
        assert done.returncode == code and words in done.stderr, done


host.run(300, KERNEL)
