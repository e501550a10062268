#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Every C source has a unit test program, tests/PART/test_SOURCE.c, or stands in tests/without-unit-test with the tests
that run it. Prints how many have one, part by part, and what is wrong; speaks TAP.
"""
import collections
import glob
import os
import sys

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIST = "tests/without-unit-test"
# A part is a folder of these, or the folder itself where it has no folders.
TOPS = ("protocol", "fileserver", "guest-fuse", "ctl")


def part_of(path):
    """fileserver/worker/tree.c is of the part fileserver/worker, and so is a file in a room of it; tests mirror it."""
    folders = os.path.dirname(path).split("/")
    return "/".join(folders[:2])


def sources():
    """{"fileserver/worker/tree": its path}"""
    return {f"{part_of(path)}/{os.path.basename(path)[:-2]}": path
            for top in TOPS for path in sorted(glob.glob(f"{top}/**/*.c", recursive=True))}


def programs():
    """The sources that have a test program."""
    found = set()
    for top in TOPS:
        for path in glob.glob(f"tests/{top}/**/test_*.c", recursive=True):
            found.add(f"{part_of(path.removeprefix('tests/'))}/{os.path.basename(path)[len('test_'):-2]}")
    return found


def exemptions():
    """{source: [files of tests that run it]}"""
    found = {}
    with open(LIST, encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            if words:
                found[words[0]] = words[1:]
    return found


def problems(known, tested, exempt):
    for name in known:
        if name not in tested and name not in exempt:
            yield f"{known[name]} has no tests/{os.path.dirname(name)}/test_{os.path.basename(name)}.c: write it, or " \
                  f"say in {LIST} which tests run it"
        if name in tested and name in exempt:
            yield f"{LIST}: {name} has a test program now"
    for name, tests in exempt.items():
        if name not in known:
            yield f"{LIST}: there is no {name}.c"
        if not tests:
            yield f"{LIST}: {name} without the tests that run it"
        for path in tests:
            if not os.path.exists(path):
                yield f"{LIST}: {name} is run by {path}, which is not there"


def main():
    known, tested = sources(), programs()
    parts = collections.defaultdict(list)
    for name in known:
        parts[os.path.dirname(name)].append(name in tested)
    print("1..1")
    for part, has in sorted(parts.items()):
        print(f"# {part}: {sum(has)} of {len(has)}")
    found = list(problems(known, tested, exemptions()))
    print(("not ok" if found else "ok") + " 1 - every source has its unit tests, or a reason")
    for problem in found:
        print("# " + problem)
    return 1 if found else 0


sys.exit(main())
