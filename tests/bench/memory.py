#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many bytes each name costs that is known: a bound for the client and one for the server, names of 20 bytes."""
import json
import os
import re
import subprocess
import sys

BUILD = os.environ["BINDSHARE_BUILD"]
NODES = "500000"
# bench/memory-*: what is printed, the most bytes.
BOUNDS = {"client": ("memory-client", 400), "client, absent names": ("memory-client", 400),
          "server": ("memory-server", 348)}


def main():
    with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as file:
        options = {option["name"]: option["value"] for option in json.load(file)}
    if options["b_sanitize"] not in ("none", []) or options["b_coverage"]:
        print("1..0 # SKIP sanitizers take memory of their own")
        return 0
    print(f"1..{len(BOUNDS)}")
    good = True
    for number, (what, (program, most)) in enumerate(BOUNDS.items(), 1):
        done = subprocess.run([os.path.join(BUILD, "bench", program), NODES, "20"], check=False, timeout=60, text=True,
                              stdout=subprocess.PIPE)
        found = re.search(rf"^{what}: .* ([0-9.]+) bytes each$", done.stdout, re.MULTILINE)
        fits = done.returncode == 0 and found is not None and 100 < float(found[1]) <= most
        good = good and fits
        print(f"{'ok' if fits else 'not ok'} {number} - {what}: at most {most} bytes each")
        print("# " + done.stdout.replace("\n", "\n# "), flush=True)
    return 0 if good else 1


sys.exit(main())
