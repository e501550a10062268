# SPDX-License-Identifier: Apache-2.0
"""The workloads: those of the C program, and those that are real programs."""
import json
import os
import shutil
import subprocess
import sys
import time

from . import paths
from .paths import Missing
from .peers import GID, UID

PHASE_SECONDS = 900


class Failed(Exception):
    """A phase of a workload failed; the text tells how."""


def call(command, seconds=PHASE_SECONDS, as_server=False, **more):
    """Runs a command to its end; its output, or Failed."""
    if as_server and os.geteuid() == 0:
        more.update(user=UID, group=GID, extra_groups=[])
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=seconds, check=False, **more)
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[0])} did not end within {seconds} s") from None
    except OSError as error:
        raise Failed(str(error)) from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip())[-300:]
        raise Failed(f"{os.path.basename(command[0])}: exit code {done.returncode}: {last}")
    return done.stdout


def parse_rows(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def timed(row, function, *arguments):
    """A row with the time that function takes."""
    begin = time.monotonic_ns()
    function(*arguments)
    taken = time.monotonic_ns() - begin
    return {"row": row, "unit": "ns", "value": taken, "ops": 1, "total_ns": taken}


class Workload:
    """
    prepare(host) fills a directory on the host, as the user who serves it; run(guest, host) works through the peer and
    returns rows; verify(host) looks on the host at what was done. All raise Failed.
    """
    name = title = ""

    def __init__(self, quick, inputs):
        """inputs: a directory of what all rounds use, made by setup()."""
        self.quick = quick
        self.inputs = inputs

    def setup(self):
        """Once a run. Missing when this cannot be run here."""

    def prepare(self, host):
        pass

    def run(self, guest, host):
        raise NotImplementedError

    def verify(self, host):
        pass


def in_c(arguments, quick=False, **more):
    """A phase of bench-workloads; its rows."""
    return parse_rows(call([_c_program(), *arguments, *(["--quick"] if quick else [])], **more))


def _c_program():
    """bench-workloads; inside a run, the copy that every user can reach."""
    copy = os.environ.get("BINDSHARE_BENCH_WORKLOADS")
    return copy or paths.program("bench-workloads")


def digest(directory):
    return in_c(["digest", directory])[0]["xxh3"]


def c_workloads():
    """A class for each workload of the C program, by name."""
    classes = {}
    for entry in json.loads(call([paths.program("bench-workloads"), "list"])):
        classes[entry["name"]] = type(entry["name"], (_InC,), entry | {"prepare": _InC.prepare, "verify": _InC.verify})
    return classes


class _InC(Workload):
    def prepare(self, host):
        in_c(["prepare", self.name, host], self.quick, as_server=True)

    def run(self, guest, host):
        return [row for row in in_c(["run", self.name, guest, "--host", host], self.quick) if "row" in row]

    def verify(self, host):
        in_c(["verify", self.name, host], self.quick)


class Tar(Workload):
    name, title = "tar", "tar x of 10,000 files"

    def setup(self):
        self.archive = os.path.join(self.inputs, "tree.tar")
        folder = os.path.join(self.inputs, "tar")
        os.mkdir(folder)
        in_c(["prepare", "walk", folder], self.quick)
        call(["tar", "cf", self.archive, "-C", folder, "tree"])
        shutil.rmtree(folder)

    def run(self, guest, host):
        return [timed("tar x", call, ["tar", "xf", self.archive, "-C", guest])]

    def verify(self, host):
        in_c(["verify", "walk", host], self.quick)


# What the mount shows of owners and inode numbers is not what git saw on the host: without checkStat it would read
# every file. A file, because git clone takes settings out of the environment of the program that serves it.
_GIT_SETTINGS = """[safe]
	directory = *
[core]
	checkStat = minimal
	trustctime = false
[init]
	defaultBranch = main
[gc]
	auto = 0
[user]
	name = bench
	email = bench@localhost
"""


class GitClone(Workload):
    name, title = "git-clone", "git clone of 10,000 files"

    def setup(self):
        if shutil.which("git") is None:
            raise Missing("there is no git")
        self.settings = os.path.join(self.inputs, "gitconfig")
        with open(self.settings, "w", encoding="utf-8") as file:
            file.write(_GIT_SETTINGS)
        self.origin = os.path.join(self.inputs, self.name + "-origin")
        os.mkdir(self.origin)
        in_c(["prepare", "walk", self.origin], self.quick)
        self.git("-C", self.origin, "init", "-q")
        self.git("-C", self.origin, "add", ".")
        self.git("-C", self.origin, "commit", "-q", "-m", "all")
        self.expected = digest(os.path.join(self.origin, "tree"))

    def run(self, guest, host):
        clone = os.path.join(guest, "clone")
        return [timed("git clone", self.git, "clone", "-q", "file://" + self.origin, clone),
                timed("git status after clone", self._clean, clone)]

    def git(self, *arguments, **more):
        return call(["git", *arguments], env={
            **os.environ, "GIT_CONFIG_GLOBAL": self.settings, "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": "/nonexistent",
            "GIT_TERMINAL_PROMPT": "0"}, **more)

    def _clean(self, clone):
        changed = self.git("-C", clone, "status", "--porcelain")
        if changed:
            raise Failed("git status: " + changed[:300])

    def verify(self, host):
        clone = os.path.join(host, "clone")
        if digest(os.path.join(clone, "tree")) != self.expected:
            raise Failed("the clone's files are not those of the origin")
        self.git("-C", clone, "fsck", "--no-progress")


class GitStatus(GitClone):
    name, title = "git-status", "git status of 10,000 files"

    def prepare(self, host):
        clone = os.path.join(host, "clone")
        self.git("clone", "-q", "file://" + self.origin, clone, as_server=True)
        # Older than the index, so that git need not read them.
        call(["find", os.path.join(clone, "tree"), "-exec", "touch", "-d", "2026-01-01", "{}", "+"], as_server=True)
        self.git("-C", clone, "status", "--porcelain", as_server=True)

    def run(self, guest, host):
        clone = os.path.join(guest, "clone")
        return [timed("git status, cold", self._clean, clone), timed("git status, warm", self._clean, clone)]


class Npm(Workload):
    name, title = "npm", "npm install from a filled cache"
    packages = {"express": "4.19.2", "lodash": "4.17.21", "typescript": "5.4.5", "webpack": "5.91.0"}

    def setup(self):
        self.npm = shutil.which("npm")
        if self.npm is None:
            raise Missing("there is no npm")
        self.cache = os.path.join(self.inputs, "npm-cache")
        reference = os.path.join(self.inputs, "npm-reference")
        os.mkdir(reference)
        packages = {"lodash": self.packages["lodash"]} if self.quick else self.packages
        with open(os.path.join(reference, "package.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "bench", "version": "1.0.0", "private": True, "dependencies": packages}, file)
        try:
            self._install(reference, "--prefer-offline", seconds=300)
        except Failed as problem:
            raise Missing(f"the cache could not be filled: {problem}") from None
        self.lock = os.path.join(reference, "package-lock.json")
        self.manifest = os.path.join(reference, "package.json")
        self.expected = digest(os.path.join(reference, "node_modules"))

    def _install(self, directory, *flags, seconds=PHASE_SECONDS):
        call([self.npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier",
              "--cache", self.cache, "--prefix", directory, *flags], seconds, cwd=directory,
             env={**os.environ, "HOME": self.inputs, "npm_config_userconfig": "/dev/null"})

    def run(self, guest, host):
        for path in (self.lock, self.manifest):
            shutil.copyfile(path, os.path.join(guest, os.path.basename(path)))
        return [timed("npm install", self._install, guest, "--offline")]

    def verify(self, host):
        if digest(os.path.join(host, "node_modules")) != self.expected:
            raise Failed("node_modules is not what npm makes on a local disk")


class Sqlite(Workload):
    name, title = "sqlite", "SQLite transactions"

    def _call(self, phase, directory):
        script = os.path.join(paths.LIB, "sqlite_work.py")
        return parse_rows(call([sys.executable, "-B", script, phase, directory, "20" if self.quick else "200"]))

    def run(self, guest, host):
        return self._call("run", guest)

    def verify(self, host):
        self._call("verify", host)


class Idle(Workload):
    """Measured by the driver from the peers' processes: see measure.py."""
    name, title = "idle", "wake-ups while nothing happens"

    def run(self, guest, host):
        call(["find", guest])
        time.sleep(3 if self.quick else 2)
        return []

    def seconds(self):
        return 2 if self.quick else 10


def classes():
    """All workloads, by name, in the order in which they run."""
    found = c_workloads()
    for one in (Tar, GitClone, GitStatus, Npm, Sqlite, Idle):
        found[one.name] = one
    return found
