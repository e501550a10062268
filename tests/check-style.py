#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that no other tool checks: SPDX lines, sizes, the direction of includes, words that do not belong."""
import os
import re
import subprocess
import sys

FILE_LINES = 600
FUNCTION_LINES = 60
COLUMNS = 120
# Written in two parts, so that they are not in this file either.
WORDS = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "\\bX" + "XX\\b", "\\bst" + "ubs?\\b", "\\bha" + "ck\\b")))
FREE_OF_SPDX = {"LICENSE", ".gitignore"}
# Folders whose includes go one way (docs/ARCHITECTURE.md): what each may include of ours. No files in them include one
# another in a circle, a source and its header being one file.
MOUNT = "guest-fuse/mount/"
MOUNT_LEAVES = (MOUNT + "mount-options.h", MOUNT + "exits.h")
WORKER = "fileserver/worker/"
WORKER_BELOW = ("protocol/", "fileserver/common/")
ROOMS = {
    MOUNT + "known": ("protocol/", MOUNT + "known/"),
    MOUNT + "server": ("protocol/", MOUNT + "known/", MOUNT + "server/", *MOUNT_LEAVES),
    MOUNT + "kernel": ("protocol/", MOUNT + "known/", MOUNT + "server/", MOUNT + "kernel/", "guest-fuse/file-bind.h",
                       *MOUNT_LEAVES),
    WORKER + "nodes": (*WORKER_BELOW, WORKER + "nodes/"),
    WORKER + "leases": (*WORKER_BELOW, WORKER + "nodes/", WORKER + "leases/"),
    WORKER + "session": (*WORKER_BELOW, WORKER + "nodes/", WORKER + "leases/leases.h", WORKER + "session/"),
    WORKER + "host": (*WORKER_BELOW, WORKER + "nodes/", WORKER + "leases/leases.h", WORKER + "session/",
                      WORKER + "host/"),
    WORKER + "operations": (*WORKER_BELOW, WORKER + "nodes/nodes.h", WORKER + "leases/leases.h", WORKER + "session/",
                            WORKER + "host/",
                            WORKER + "operations/"),
}
# From numbers to objects: a handler gets objects, so nothing but the gate and what makes a session includes this.
IDS = WORKER + "nodes/ids.h"
MAY_RESOLVE = (WORKER + "gate.c", WORKER + "service.c", WORKER + "nodes/", WORKER + "leases/", "tests/", "bench/")
# Two files that are one object: a node stays as long as another has its name in it.
ONE_OBJECT = {WORKER + "nodes/places": WORKER + "nodes/table"}


def tracked():
    done = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\n") if name and os.path.isfile(name)]


def long_functions(name, lines):
    """Functions begin after a "{" in the first column and end at the next "}" there."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_LINES:
                yield f"{name}:{start}: a function of {number - start - 1} lines"
            start = None


def includes(name):
    """The headers of ours that a source or header includes, with the numbers of the lines."""
    with open(name, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = re.match(r'#include "([^"]+)"', line)
            if found:
                yield number, found.group(1)


def against_the_direction(names):
    for name in names:
        allowed = ROOMS.get(os.path.dirname(name))
        if allowed is not None and name.endswith((".c", ".h")):
            for number, header in includes(name):
                if not header.startswith(allowed):
                    yield f"{name}:{number}: {header} does not belong in this folder's includes"
        if name.endswith((".c", ".h")) and not name.startswith(MAY_RESOLVE):
            for number, header in includes(name):
                if header == IDS:
                    yield f"{name}:{number}: {header} is the gate's: a handler gets objects and no numbers"


def unit_of(name):
    unit = os.path.splitext(name)[0]
    return ONE_OBJECT.get(unit, unit)


def circles(names):
    graph = {}
    for name in names:
        if os.path.dirname(name) in ROOMS and name.endswith((".c", ".h")):
            unit = unit_of(name)
            graph.setdefault(unit, set()).update(
                other for other in (unit_of(header) for _, header in includes(name)) if other != unit)
    # What includes nothing that is left goes, until nothing more does: the rest leads into circles.
    while True:
        done = {unit for unit, others in graph.items() if not others & graph.keys()}
        if not done:
            break
        for unit in done:
            del graph[unit]
    if graph:
        yield "files that include one another in a circle, or such files: " + ", ".join(sorted(graph))


def suppressions(name):
    """What a sanitizer is to overlook is in files that are there: a file that moved would be reported again."""
    with open(name, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = re.match(r"\w+:([\w-]+/.*\.c)$", line)
            if found and not os.path.isfile(found.group(1)):
                yield f"{name}:{number}: there is no {found.group(1)}"


def check(name):
    with open(name, encoding="utf-8") as file:
        lines = file.read().split("\n")
    # What Debian's tools read has its licence in debian/copyright.
    if not name.endswith((".md", ".txt")) and not name.startswith("debian/") and name not in FREE_OF_SPDX:
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
            yield f"{name}:1: no SPDX line"
    code = name.endswith((".c", ".h"))
    if code and not any("/*" in line for line in lines[1:4]):
        yield f"{name}:2: no comment that tells the file's purpose"
    if (code or name.endswith(".py")) and len(lines) - 1 > FILE_LINES:
        yield f"{name}: {len(lines) - 1} lines"
    if code:
        yield from long_functions(name, lines)
    for number, line in enumerate(lines, 1):
        if name != "LICENSE" and WORDS.search(line):
            yield f"{name}:{number}: a word that does not belong here: {line.strip()}"
        if line != line.rstrip() and name != "LICENSE":
            yield f"{name}:{number}: white space at the end"
        if name.endswith(".py") and len(line) > COLUMNS:
            yield f"{name}:{number}: {len(line)} columns"
    if lines[-1] != "":
        yield f"{name}: no newline at the end"


def main():
    names = tracked()
    problems = [problem for name in names for problem in check(name)]
    problems += against_the_direction(names)
    problems += circles(names)
    for name in names:
        if name.endswith(".supp"):
            problems += suppressions(name)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
