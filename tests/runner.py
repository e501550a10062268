#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds, runs every test, sums them up. Called by tests/run, which installs the packages first."""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import coverage

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = str(os.cpu_count() or 2)
# Tests wait more than they compute, on mounts, time-outs, other processes: one is busy for 0.4 of its time.
TESTS_AT_ONCE = str((os.cpu_count() or 2) * 2)
FUZZ_SECONDS = "20"
SANITIZED = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:allocator_may_return_null=1",
    "LSAN_OPTIONS": "print_suppressions=0:suppressions=" + os.path.join(ROOT, "tests", "lsan.supp"),
    "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=99:second_deadlock_stack=1:suppressions=" +
                    os.path.join(ROOT, "tests", "tsan.supp"),
}


class Sum:
    """What passed, failed and was skipped, and the output of what failed."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def stage(self, name, problem, took):
        """One stage counts as one test. problem: what it printed when it failed, else None."""
        if problem is None:
            self.passed += 1
            print(f"ok      {name} ({took:.0f} s)", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {name} ({took:.0f} s)\n{problem.rstrip()}\n", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)

    def test(self, entry, where):
        """One entry of testlog.json: every TAP line counts; a test that gives none or dies counts as one failure."""
        output = entry.get("stdout") or ""
        passed = failed = skipped = 0
        planned = None
        for line in output.splitlines():
            plan = re.match(r"1\.\.(\d+)\s*(#\s*SKIP.*)?$", line, re.IGNORECASE)
            if plan and planned is None:
                planned = int(plan.group(1))
                skipped += planned == 0
            elif re.match(r"not ok\b", line):
                failed += 1
            elif re.match(r"ok\b", line):
                if re.search(r"#\s*SKIP", line, re.IGNORECASE):
                    skipped += 1
                else:
                    passed += 1
        bad = entry["result"] not in ("OK", "SKIP", "EXPECTEDFAIL")
        count = passed + failed + skipped
        if planned is None and count == 0 and not bad:
            passed = 1  # no TAP: the exit code is the result
        elif (bad and failed == 0) or (planned and count < planned and failed == 0):
            failed = 1
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        took = f"{entry.get('duration', 0):.0f} s"
        if failed:
            errors = entry.get("stderr") or ""
            print(f"FAILED  {where}: {entry['name']} ({failed} failed, {passed} passed, {entry['result']}, {took})")
            print(_failures(output) + errors[-8000:] + "\n", flush=True)
        else:
            print(f"ok      {where}: {entry['name']} ({passed} passed, {skipped} skipped, {took})", flush=True)


def _failures(output):
    """The failed lines of a TAP output with the comments that follow them; all of it when it is short."""
    if len(output) < 6000:
        return output
    kept, inside = [], False
    for line in output.splitlines():
        if re.match(r"(not ok|Bail out)\b", line):
            inside = True
        elif re.match(r"ok\b|# running:", line):
            inside = False
        if inside:
            kept.append(line)
    return "\n".join(kept)[-20000:] + "\n"


class Runner:
    def __init__(self, options):
        self.options = options
        self.sum = Sum()

    def chosen(self, name):
        filters = self.options.filters
        return not filters or any(word in name or fnmatch.fnmatch(name, word) for word in filters)

    def call(self, command, timeout=1200, **more):
        """(output, exit code) of a command; it cannot hang."""
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
                              **more) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
                return output, process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                return output + f"\nnot finished within {timeout} s", 124

    def stage(self, name, command, timeout=1200, **more):
        """Runs a command as a stage. True when it passed."""
        begin = time.monotonic()
        output, code = self.call(command, timeout, **more)
        self.sum.stage(name, None if code == 0 else output[-20000:] or f"exit code {code}", time.monotonic() - begin)
        return code == 0

    def build(self, name, directory, options, compiler="gcc", targets=()):
        """Sets a build directory up and builds all of it, or some targets."""
        command = ["meson", "setup", directory, "-Dwerror=true", *options]
        if os.path.exists(os.path.join(ROOT, directory, "build.ninja")):
            command.insert(2, "--reconfigure")
        begin = time.monotonic()
        output, code = self.call(command, env={**os.environ, "CC": compiler})
        if code == 0:
            output, code = self.call(["ninja", "-C", directory, "-j", JOBS, *targets])
        self.sum.stage(name, None if code == 0 else output[-20000:], time.monotonic() - begin)
        return code == 0

    def tests(self, where, directory, suites=(), environment=None, multiplier="1", at_once=TESTS_AT_ONCE):
        """meson test of the suites in a build directory, so many at once, and the sum of it."""
        output, code = self.call(["meson", "test", "-C", directory, "--list", *_suites(suites)])
        # "bindshare:e2e+quick / lanes": suites and name.
        wanted = [line.split(" / ")[-1].strip() for line in output.splitlines() if " / " in line and self.chosen(line)]
        if code != 0:
            self.sum.stage(f"{where}: list of tests", output, 0)
        if not wanted:
            return
        log = os.path.join(ROOT, directory, "meson-logs", "testlog.json")
        if os.path.exists(log):
            os.unlink(log)
        output, _ = self.call(["meson", "test", "-C", directory, "--no-rebuild", "--num-processes", at_once,
                               "--timeout-multiplier", multiplier, *_suites(suites),
                               *(wanted if self.options.filters else [])],
                              3600, env={**os.environ, **(environment or {})})
        if not os.path.exists(log):
            self.sum.stage(f"{where}: meson test", output, 0)
            return
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                self.sum.test(json.loads(line), where)

    # The stages.

    def sources(self):
        output, _ = self.call(["git", "ls-files", "*.c", "*.h"])
        names = output.split()
        return [name for name in names if os.path.exists(os.path.join(ROOT, name))]

    def format(self):
        self.stage("clang-format", ["clang-format", "--dry-run", "-Werror", "--style=file", *self.sources()])

    def words(self):
        self.stage("house rules", [sys.executable, "-B", "tests/check-style.py"])

    def tidy(self):
        names = [name for name in self.sources() if name.endswith(".c") and not name.startswith("tests/")]
        database = os.path.join(ROOT, "build-clang", "compile_commands.json")
        if not os.path.exists(database):
            self.sum.stage("clang-tidy", f"there is no {database}", 0)
            return
        with open(database, encoding="utf-8") as file:
            known = {os.path.normpath(os.path.join(e["directory"], e["file"])) for e in json.load(file)}
        names = [name for name in names if os.path.join(ROOT, name) in known]
        begin = time.monotonic()
        running, bad = [], ""
        queue = list(names)
        while queue or running:
            while queue and len(running) < int(JOBS):
                part, queue = queue[:4], queue[4:]
                running.append(subprocess.Popen(
                    ["clang-tidy", "-p", "build-clang", "--quiet", "--warnings-as-errors=*", *part], cwd=ROOT,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            process = running.pop(0)
            output, _ = process.communicate()
            if process.returncode != 0:
                bad += output
        self.sum.stage("clang-tidy", bad or None, time.monotonic() - begin)

    def fuzz(self):
        targets = [os.path.splitext(name)[0] for name in sorted(os.listdir(os.path.join(ROOT, "tests", "fuzz")))
                   if name.startswith("fuzz_") and name.endswith(".c")]
        paths = [os.path.join("tests", "fuzz", name) for name in targets]
        if not self.build("fuzz", "build-fuzz", ["-Dtests=enabled", "-Dfuzz=true", "-Db_sanitize=address,undefined",
                                                 "-Db_lundef=false"], "clang", paths):
            return
        wanted = [name for name in targets if self.chosen(name) or self.chosen("fuzz")]
        # Each is one thread.
        with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
            for name, (problem, took) in zip(wanted, pool.map(self.fuzz_one, wanted)):
                self.sum.stage(name, problem, took)

    def fuzz_one(self, name):
        """(what it printed when it failed, else None; seconds) of a target."""
        begin = time.monotonic()
        output, code = self.call([
            os.path.join(ROOT, "build-fuzz", "tests", "fuzz", name), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10",
            "-rss_limit_mb=2048", "-print_final_stats=0", "-verbosity=0",
            f"-artifact_prefix={os.path.join(ROOT, 'build-fuzz', 'findings-')}{name}-"], 300)
        return None if code == 0 else output[-20000:] or f"exit code {code}", time.monotonic() - begin

    def coverage(self):
        """Lines and branches that the tests reach, with fault injection. Not the slow suites."""
        options = ["-Dtests=enabled", "-Dfaults=true", "-Db_coverage=true", "-Doptimization=0",
                   "-Dc_args=-fprofile-update=atomic", "-Dwerror=false"]
        directory = os.path.join(ROOT, "build-coverage")
        if not self.build("coverage", "build-coverage", options):
            return
        coverage.prepare(directory)
        self.tests("coverage", "build-coverage", ("-slow", "-bench"), None, "3")
        begin = time.monotonic()
        text, problem = coverage.report(ROOT, directory)
        print(text, flush=True)
        self.sum.stage("coverage report", problem, time.monotonic() - begin)

    def counts(self):
        """Messages of operations and workloads are no more than those of the table that is kept."""
        if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
            self.sum.skip("message counts", "mounting needs root and /dev/fuse")
            return
        build = os.path.join(ROOT, "build-tests")
        self.stage("message counts", ["bench/bindshare-bench", "counts", "--check", "bench/counts.json", "--work",
                                      os.path.join(build, "bench-work")], 600,
                   env={**os.environ, "BINDSHARE_BUILD": build})

    def left_out(self):
        """Suites that are too long for each run; a name that was given chooses among all."""
        if self.options.filters:
            return ()
        return ("-releases",) if self.options.all else ("-releases", "-long")

    def quick(self):
        if self.build("gcc", "build-tests", ["-Dtests=enabled"]):
            self.tests("gcc", "build-tests", ("unit", "quick"))

    def full(self):
        simple = (("clang-format", self.format), ("house rules", self.words))
        for name, stage in simple:
            if self.chosen(name):
                stage()
        if self.build("gcc", "build-tests", ["-Dtests=enabled"]):
            self.tests("gcc", "build-tests", ("-vm", *self.left_out()))
            # One takes a processor, and its guest is slow enough.
            self.tests("gcc", "build-tests", ("vm",), at_once=JOBS)
        if self.chosen("clang") and self.build("clang", "build-clang", ["-Dtests=enabled"], "clang"):
            self.tidy()
        if self.chosen("message counts"):
            self.counts()
        for name, script in (("docs", "check-docs"), ("readme", "check-readme")):
            if self.chosen(name):
                self.stage(name, [os.path.join("tests", script)], 600)
        if not self.options.filters:
            self.sanitized()
        elif self.chosen("faults"):
            self.address_sanitizer(("faults",))
        if self.chosen("fuzz"):
            self.fuzz()

    def address_sanitizer(self, suites):
        """With fault injection: the sanitizer looks for what leaks when something fails, too."""
        if self.build("asan+ubsan", "build-asan", ["-Dtests=enabled", "-Dfaults=true",
                                                   "-Db_sanitize=address,undefined"]):
            self.tests("asan", "build-asan", suites, SANITIZED, "3")

    def sanitized(self):
        if self.options.only in (None, "asan"):
            self.address_sanitizer(("-slow",))
        if self.options.only in (None, "tsan"):
            if self.build("tsan", "build-tsan", ["-Dtests=enabled", "-Db_sanitize=thread"]):
                self.tests("tsan", "build-tsan", ("tsan",), SANITIZED, "3")


def _suites(names):
    """Options of meson test for suites; "-name" leaves one out."""
    return [part for name in names for part in (("--no-suite", name[1:]) if name[0] == "-" else ("--suite", name))]


def main():
    parser = argparse.ArgumentParser(
        prog="tests/run", description="Installs what the tests need, builds, runs them. Without a flag: all that "
        "continuous integration runs. The last line is the sum: N passed, N failed, N skipped.")
    parser.add_argument("--quick", action="store_true", help="unit tests and the fast e2e cases, under 3 minutes")
    parser.add_argument("--asan", dest="only", action="store_const", const="asan",
                        help="only the build with the address and undefined-behaviour sanitizers")
    parser.add_argument("--tsan", dest="only", action="store_const", const="tsan",
                        help="only the build with the thread sanitizer")
    parser.add_argument("--coverage", action="store_true", help="only a build with coverage and fault injection: its "
                        "tests, then lines and branches reached of protocol/, fileserver/common/, fileserver/worker/ "
                        "and guest-fuse/mount/")
    parser.add_argument("--all", action="store_true", help="as without a flag, and the suite \"long\": what the "
                        "others prove, in many more rounds")
    parser.add_argument("filters", nargs="*", metavar="FILTER",
                        help="only tests and stages whose name contains it")
    runner = Runner(parser.parse_args())
    os.environ.pop("MAKEFLAGS", None)
    if shutil.which("meson") is None:
        runner.sum.stage("meson", "meson is not installed", 0)
    elif runner.options.only:
        runner.sanitized()
    elif runner.options.coverage:
        runner.coverage()
    elif runner.options.quick:
        runner.quick()
    else:
        runner.full()
    result = runner.sum
    print(f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped", flush=True)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
