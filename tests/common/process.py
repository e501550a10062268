# SPDX-License-Identifier: Apache-2.0
"""What /proc tells of a running process. What ends or closes while it is read is left out."""
import glob
import os


def open_files(pid):
    """Where each of its descriptors leads, by number."""
    links = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            links[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            pass
    return links


def name_of(pid):
    """What /proc/PID/comm says; "" when there is none."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def sleeps(pid):
    """How often each thread of a process has gone to sleep so far, by its number."""
    return {int(text.split("\nPid:")[1].split()[0]): int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
            for text in threads(pid)}


def threads(pid):
    """The text of /proc/PID/task/TID/status of each of its threads."""
    texts = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                texts.append(file.read())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return texts


def children(pid):
    """Pids of the processes that it has started and that run."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.split("/")[2]))
    return sorted(found)
