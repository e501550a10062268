#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindshare-bench runs, measures, and leaves nothing behind, also when it is interrupted."""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "..", "..", "bench", "bindshare-bench")
work = ""


def start(*arguments):
    return subprocess.Popen([PROGRAM, "run", "--quick", "--work", work, *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes():
    """Command lines of processes that have to do with the work directory, in whatever namespace."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/cmdline", "rb") as file:
                command = file.read()
            with open(path + "/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if work.encode() + b"/run." in command + environment:
            found.append((path, command))
    return found


def nothing_is_left():
    deadline = time.monotonic() + 5
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes(), processes()
    assert not glob.glob(os.path.join(work, "run.*")), os.listdir(work)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        assert work not in file.read()


def a_change_by_the_host_is_seen():
    done = subprocess.run([PROGRAM, "coherence", "--quick", "--rounds", "1", "--work", work, "--peers",
                           "native,bindshare", "--json", os.path.join(work, "c.json")], check=False, timeout=240,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    with open(os.path.join(work, "c.json"), encoding="utf-8") as file:
        found = json.load(file)
    for one in found["measurements"]:
        rows = {row["row"]: row["value"] for row in one["rows"]}
        assert one["verified"] and rows["looks"] >= 20 and rows["never seen"] == rows["torn"] == 0, one
    assert len(found["measurements"]) == 2, found
    nothing_is_left()


def a_quick_run_measures_and_verifies():
    kept, drawn = os.path.join(work, "a.json"), os.path.join(work, "a.html")
    process = start("--rounds", "1", "--peers", "native,bindshare", "--workloads", "micro,create,small-files",
                    "--json", kept, "--html", drawn)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, (process.returncode, output, errors)
    with open(kept, encoding="utf-8") as file:
        found = json.load(file)
    assert len(found["measurements"]) == 12 and all(one["verified"] for one in found["measurements"]), found
    through = next(one for one in found["measurements"] if one["peer"] == "bindshare" and one["workload"] == "create")
    assert through["messages"]["rpc"]["create"] == 500, through["messages"]
    assert through["usage"]["server"]["peak_kib"] > 0 and through["usage"]["client"]["peak_kib"] > 0, through["usage"]
    assert "null (statfs)" in output and os.path.getsize(drawn) > 4000, output
    nothing_is_left()


def an_interrupted_run_tells_what_it_has_and_leaves_nothing():
    process = start("--rounds", "100", "--peers", "native,bindshare", "--workloads", "micro")
    for line in process.stderr:
        if line.startswith("[3/"):
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, (process.returncode, output)
    assert "null (statfs)" in output, output
    nothing_is_left()


def a_killed_run_leaves_no_process_and_the_next_one_removes_its_files():
    process = start("--rounds", "100", "--peers", "native,bindshare", "--workloads", "micro")
    for line in process.stderr:
        if line.startswith("[3/"):
            break
    process.kill()
    process.communicate(timeout=60)
    process = start("--rounds", "1", "--peers", "native", "--workloads", "missing")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    nothing_is_left()


CASES = (a_quick_run_measures_and_verifies, a_change_by_the_host_is_seen,
         an_interrupted_run_tells_what_it_has_and_leaves_nothing,
         a_killed_run_leaves_no_process_and_the_next_one_removes_its_files)


def main():
    global work
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("1..0 # SKIP mounting needs root and /dev/fuse")
        return 0
    print(f"1..{len(CASES)}", flush=True)
    work = tempfile.mkdtemp(prefix="bindshare-bench-test.", dir=os.environ.get("BINDSHARE_TEST_DIR", "/var/tmp"))
    bad = 0
    try:
        for number, function in enumerate(CASES, 1):
            try:
                function()
                print(f"ok {number} - {function.__name__.replace('_', ' ')}", flush=True)
            except Exception:  # the next case must have its turn
                bad += 1
                print(f"not ok {number} - {function.__name__.replace('_', ' ')}")
                print("# " + traceback.format_exc().rstrip().replace("\n", "\n# "), flush=True)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
