#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The other files' cases once more, with permissions=host wherever a case does not say otherwise: which of them must
differ is listed here with the reason, and all others must pass. BINDSHARE_TEST_UID says who serves: root or another.
"""
import glob
import os
import re
import subprocess
import sys

E2E = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.environ.get("BINDSHARE_TEST_UID") == "0"

# Those whose cases open, make, change or look at files: what the kernel checks or knows of attributes plays a part.
FILES = """basic_work calls_data calls_names calls_open closed errors file_binds host_changes identity links locks model
mount_options overlay ownership read_only regressions space stale_names synchronous times whole_interface"""
# Those on messages, lanes, ends and beginnings, which no right has to do with: the suite "long" has them.
REST = """alive bad_input directories given_back killable lanes many_at_once message_counts server_gone torn"""
CHOSEN = sys.argv[1:] or (REST if os.environ.get("BINDSHARE_PERMISSIONS") == "rest" else FILES).split()

# Whom a reason is about: the server as an ordinary user, as root, or both.
USER, AS_ROOT, BOTH = (False,), (True,), (False, True)

NOT_LIFTED = "what the mode closes to the serving user is closed to guest's root, too"
NOT_CHECKED = "the guest's kernel checks nothing, and every user has the serving user's rights"
SERVES_ROOT = "the case is about a server that is an ordinary user"
KERNEL = "the kernel maps ids only where it checks permissions"
PROTECTED = "fs.protected_regular goes by the owners that the kernel knows, and it asks for new ones when it checks"
SENDFILE = "sendfile(2) goes by the size that the kernel knows, and only a check of permissions at open asks anew"

DIFFERS = {
    "bad_input": {"mounting without root is refused": [(AS_ROOT, SERVES_ROOT)]},
    "calls_data": {"programs and libraries run from the mount": [(USER, NOT_LIFTED)]},
    "calls_names": {"access is answered like an open": [(BOTH, NOT_CHECKED)]},
    "closed": {
        "reading changes neither mode nor ctime": [(USER, NOT_LIFTED)],
        "tar reads a closed file without a warning": [(USER, NOT_LIFTED)],
        "what is written into a closed directory leaves its mode alone": [(USER, NOT_LIFTED)],
        "a read only share opens nothing that is closed": [(AS_ROOT, SERVES_ROOT)],
        "files of others stay closed": [(AS_ROOT, SERVES_ROOT)],
        "setuid of the host goes with the first byte that the guest writes":
            [(USER, NOT_LIFTED), (AS_ROOT, SERVES_ROOT)],
    },
    "errors": {
        "permissions stand in the way of guests users as they do locally": [(BOTH, NOT_CHECKED)],
        "the hosts own refusals arrive": [(AS_ROOT, SERVES_ROOT)],
    },
    "file_binds": {"sendfile sees an atomic save on the host": [(BOTH, SENDFILE)]},
    "links": {
        "a link belongs to who made it and to whom it is given": [(BOTH, NOT_CHECKED)],
        "in a sticky directory a user replaces his own links and nobody elses": [(BOTH, NOT_CHECKED)],
    },
    "model": {
        "random operations give the same as on a local directory": [(USER, NOT_LIFTED)],
        "random operations give the same with few descriptors": [(USER, NOT_LIFTED)],
        "random operations give the same without a cache": [(USER, NOT_LIFTED), (AS_ROOT, PROTECTED)],
    },
    "mount_options": {
        "uid and gid choose the owner that is shown": [(AS_ROOT, SERVES_ROOT)],
        "the guest kernel checks permissions unless told otherwise": [(BOTH, NOT_CHECKED)],
        "stats are for root and a mount that answers": [(AS_ROOT, SERVES_ROOT)],
    },
    "overlay": {"an overlay over a share behaves like one over a local directory": [(USER, NOT_LIFTED)]},
    "ownership": {
        "modes of new objects under every umask and kind of directory": [(USER, NOT_LIFTED)],
        "users of the guest own what they make": [(BOTH, NOT_CHECKED)],
        "the owners own bits never stand in the way of the guests root": [(USER, NOT_LIFTED)],
        "nobody sees the bits that are lifted for a moment": [(USER, NOT_LIFTED)],
        "under permissions host nothing is lifted": [(AS_ROOT, SERVES_ROOT)],
        "a hostile record widens nothing": [(BOTH, NOT_CHECKED)],
        "real numbers by a server that is no root": [(AS_ROOT, SERVES_ROOT)],
    },
    "regressions": {"a directory made with mode 0 has it and is usable by root": [(USER, NOT_LIFTED)]},
    "whole_interface": {"an id mapped bind shows files as the containers users": [(BOTH, KERNEL)]},
}


def results(name):
    """Of one file: case -> passed; and its output."""
    environment = dict(os.environ, BINDSHARE_TEST_OPTIONS="permissions=host")
    [path] = glob.glob(f"{E2E}/*/{name}.py")
    done = subprocess.run([sys.executable, path], check=False, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(not )?ok \d+ - (.*?)( # SKIP.*)?$", line)
        if match:
            found[match[2]] = match[1] is None
    complete = done.returncode in (0, 1) and "Bail out" not in done.stdout and found
    return found if complete else None, done.stdout


def main():
    number = 0
    for name in CHOSEN:
        found, output = results(name)
        if found is None:
            number += 1
            print(f"not ok {number} - {name}: did not run to its end")
            print("# " + output[-4000:].replace("\n", "\n# "), flush=True)
            continue
        for case, passed in found.items():
            reason = next((why for who, why in DIFFERS.get(name, {}).get(case, ()) if ROOT in who), None)
            number += 1
            if passed != bool(reason):
                print(f"ok {number} - {name}: {case}" + (f", differs: {reason}" if reason else ""))
            elif passed:
                print(f"not ok {number} - {name}: {case}, is listed as one that differs and does not")
            else:
                print(f"not ok {number} - {name}: {case}")
                print("# " + output[output.find(f"- {case}"):][:3000].replace("\n", "\n# "))
        sys.stdout.flush()
    print(f"1..{number}")


main()
