#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
"A new operation" of CONTRIBUTING.md does what it says: a copy of the tracked files gets the edits and the commands that
stand there, and nothing else; it builds without a warning, and the tests of the operation pass. Speaks TAP.

An edit is a line "In `FILE`, before `LINE`:" (or "after", or "at its end") above a block of C; LINE is in the file
once. The commands are the block of sh.
"""
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "CONTRIBUTING.md"
TESTS = ("protocol-messages", "worker-look", "worker-ids")
_count = 0


class Failed(Exception):
    """The text tells what is not as CONTRIBUTING.md says."""


def section():
    """The text of the page from its heading to the next of the same kind."""
    with open(os.path.join(ROOT, PAGE), encoding="utf-8") as file:
        found = re.search(r"^## A new operation\n(.*?)(?=^## |\Z)", file.read(), re.MULTILINE | re.DOTALL)
    if not found:
        raise Failed(f"{PAGE} has no section \"A new operation\"")
    return found[1]


def edits(text):
    """[(file, "before", "after" or "at its end", line, block)]"""
    found = re.findall(r"^In `([^`]+)`, (?:(before|after) `([^`]+)`|(at its end)):\n\n```c\n(.*?)^```$", text,
                       re.MULTILINE | re.DOTALL)
    if len(found) != len(re.findall(r"^```c$", text, re.MULTILINE)):
        raise Failed(f"{PAGE}: a block of C has no line above it that says where it goes")
    return [(file, where or end, line, block) for file, where, line, end, block in found]


def commands(text):
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise Failed(f"{PAGE}: not one block of sh, but {len(found)}")
    return found[0]


def apply(top, file, where, line, block):
    path = os.path.join(top, file)
    with open(path, encoding="utf-8") as source:
        lines = source.read().split("\n")[:-1]
    new = block.split("\n")[:-1]
    if where == "at its end":
        lines += ["", *new]
    else:
        at = [number for number, text in enumerate(lines) if text.strip() == line]
        if len(at) != 1:
            raise Failed(f"{file} has the line \"{line}\" {len(at)} times")
        gap = [] if line.endswith(("{", ",")) else [""]
        place = at[0] + (where == "after")
        lines[place:place] = [*gap, *new] if where == "after" else [*new, *gap]
    with open(path, "w", encoding="utf-8") as source:
        source.write("\n".join(lines) + "\n")


def call(top, command, what, **more):
    done = subprocess.run(command, cwd=top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{what}: exit code {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def copy(top):
    """The tracked files as they are here."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, names)):
        source, target = os.path.join(ROOT, name), os.path.join(top, name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def changed(top, name):
    """(lines that are gone, lines that are new) of a file, compared with the one here."""
    texts = []
    for where in (ROOT, top):
        with open(os.path.join(where, name), encoding="utf-8") as file:
            texts.append(file.read().splitlines())
    lines = list(difflib.unified_diff(*texts, lineterm="", n=0))[2:]
    return [line[1:] for line in lines if line[0] == "-"], [line[1:] for line in lines if line[0] == "+"]


def generated(top, name):
    """What comes from the table has the operation's lines more, and is the same else."""
    for file, least in (("tests/golden/messages.txt", 2), ("docs/PROTOCOL.md", 3)):
        gone, new = changed(top, file)
        if gone or len(new) < least or not any(name in line for line in new):
            raise Failed(f"{file}: lost {gone}, gained {new}, looked for {name}")


def step(name, function, *arguments):
    global _count
    function(*arguments)
    _count += 1
    print(f"ok {_count} - {name}", flush=True)


def main():
    if subprocess.run(["git", "ls-files"], cwd=ROOT, check=False, capture_output=True).returncode != 0:
        print("1..0 # SKIP this is no checkout: which files belong to it is not known")
        return 0
    # So that the copy is removed when the test runs out of time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    top = tempfile.mkdtemp(prefix="bindshare-operation.", dir=os.environ.get("BINDSHARE_TEST_DIR", "/var/tmp"))
    print("1..5")
    name = "the edits can be made"
    try:
        copy(top)
        text = section()
        operation = re.search(r"^OP\(([A-Z0-9_]+), ([a-z0-9_]+),", text, re.MULTILINE)
        if not operation:
            raise Failed(f"{PAGE} shows no row of the table")

        def edit():
            for one in edits(text):
                apply(top, *one)
        step(name, edit)
        name = "with them it builds without a warning"

        def build():
            call(top, ["meson", "setup", "build", "-Dwerror=true", "-Dtests=enabled"], "meson setup")
            call(top, ["meson", "compile", "-C", "build"], "meson compile")
        step(name, build)
        name = "the commands bring what comes from the table up to date"
        step(name, call, top, ["bash", "-euc", commands(text)], "the commands")
        name = "nothing else of it has changed"
        step(name, generated, top, operation[2])
        name = "the tests of messages and handlers pass, and one of them calls it"

        def test():
            call(top, ["meson", "test", "-C", "build", "--no-rebuild", *TESTS], "meson test")
            case = re.search(r"^static void (\w+)\(void \*\*state\)$", text, re.MULTILINE)
            with open(os.path.join(top, "build/meson-logs/testlog.txt"), encoding="utf-8") as file:
                if not case or not re.search(rf"^ok \d+ - {case[1]}$", file.read(), re.MULTILINE):
                    raise Failed(f"{PAGE} shows no case, or it did not run: {case and case[1]}")
        step(name, test)
    except Failed as problem:
        print(f"not ok {_count + 1} - {name}")
        print("# " + str(problem).replace("\n", "\n# "), flush=True)
        return 1
    finally:
        shutil.rmtree(top)
    return 0


sys.exit(main())
