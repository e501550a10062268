# SPDX-License-Identifier: Apache-2.0
"""What the tests reach: makes the counters writable for all programs, and prints the table of lines and branches."""
import json
import os
import subprocess

PARTS = ("protocol", "fileserver/common", "fileserver/worker", "guest-fuse/mount")
# Prints the protocol's documentation while building; no part of the programs.
APART = ("protocol/proto-doc.c",)


def prepare(directory):
    """
    Empty counters for each object, which programs of any user may write: the server and its workers run as an ordinary
    user in the e2e cases, and only whoever makes a file owns it.
    """
    for folder, _, names in os.walk(directory):
        for name in names:
            if name.endswith(".gcno"):
                path = os.path.join(folder, name[:-len("gcno")] + "gcda")
                with open(path, "wb"):
                    pass
                os.chmod(path, 0o666)


def unreachable(directory):
    """The first folder on the way that an ordinary user may not pass, or None."""
    path = directory
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return path
        path = os.path.dirname(path)
    return None


def _share(covered, total):
    return f"{100 * covered / total:5.1f} %" if total else "      -"


def _row(name, lines, branches, missing=""):
    return (f"{name:<44} {lines[0]:5}/{lines[1]:<5} {_share(*lines)}  {branches[0]:5}/{branches[1]:<5} "
            f"{_share(*branches)}  {missing}").rstrip()


def _ranges(numbers):
    """[1, 2, 3, 7] as "1-3 7"."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _count(file):
    """((covered lines, lines), (covered branches, branches), lines that are not covered) of one file of gcovr's."""
    lines = [line for line in file["lines"] if not line.get("gcovr/noncode")]
    branches = [branch for line in lines for branch in line["branches"]]
    missing = {line["line_number"] for line in lines} - {line["line_number"] for line in lines if line["count"] > 0}
    return ((sum(line["count"] > 0 for line in lines), len(lines)),
            (sum(branch["count"] > 0 for branch in branches), len(branches)), missing)


def _add(left, right):
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(left, right))


def _table(files):
    text = [f"{'':<44} {'lines':>19}  {'branches':>19}  lines not reached"]
    for part in PARTS:
        total = ((0, 0), (0, 0))
        for name in sorted(name for name in files if os.path.dirname(name) == part and name not in APART):
            lines, branches, missing = _count(files[name])
            text.append(_row(name, lines, branches, _ranges(missing)))
            total = _add(total, (lines, branches))
        text.append(_row(f"{part}/ in all", *total))
        text.append("")
    return "\n".join(text)


def report(root, directory):
    """(table, None), or ("", what is wrong)."""
    closed = unreachable(directory)
    if closed is not None:
        return "", f"the server of the e2e cases cannot write its counters: others may not pass {closed}; run: " \
                   f"chmod o+x {closed}"
    command = ["gcovr", "--root", root, "--json", "-", "--exclude-throw-branches", "--gcov-ignore-parse-errors",
               "--object-directory", directory]
    for part in PARTS:
        command += ["--filter", f"{root}/{part}/"]
    done = subprocess.run(command + [directory], check=False, capture_output=True, text=True, cwd=root)
    if done.returncode != 0:
        return "", done.stderr or f"gcovr: exit code {done.returncode}"
    files = {file["file"]: file for file in json.loads(done.stdout)["files"]}
    reached = {part for part in PARTS for name in files if name.startswith(part + "/")}
    if len(reached) != len(PARTS):
        return "", f"gcovr knows only {sorted(reached)}: {done.stderr}"
    return _table(files), None
