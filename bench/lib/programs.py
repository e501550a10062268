# SPDX-License-Identifier: Apache-2.0
"""The workloads that are real programs: archives, git, searching, package managers, interpreters, a database."""
import json
import os
import shutil
import sys

from . import paths
from .paths import Missing
from .peers import GID, UID
from .workload import PHASE_SECONDS, Failed, Workload, call, digest, in_c, parse_rows, rest, timed


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
        cold = timed("git status, cold", self._clean, clone)
        rest(self.quick)
        return [cold, timed("git status, warm", self._clean, clone)]


class GitCheckout(GitClone):
    """Two states of a tree, of which half of the files differ."""
    name, title = "git-checkout", "git checkout that changes 5,000 of 10,000 files"

    def setup(self):
        super().setup()
        tree = os.path.join(self.origin, "tree")
        for folder in sorted(os.listdir(tree))[::2]:
            for name in os.listdir(os.path.join(tree, folder)):
                with open(os.path.join(tree, folder, name), "ab") as file:
                    file.write(b"one more line\n")
        self.git("-C", self.origin, "checkout", "-q", "-b", "changed")
        self.git("-C", self.origin, "commit", "-q", "-a", "-m", "changed")
        self.changed = digest(tree)
        self.git("-C", self.origin, "checkout", "-q", "main")

    def prepare(self, host):
        clone = os.path.join(host, "clone")
        self.git("clone", "-q", "file://" + self.origin, clone, as_server=True)

    def run(self, guest, host):
        clone = os.path.join(guest, "clone")
        return [timed("git checkout", self.git, "-C", clone, "checkout", "-q", "changed"),
                timed("git status after checkout", self._clean, clone)]

    def verify(self, host):
        if digest(os.path.join(host, "clone", "tree")) != self.changed:
            raise Failed("the files are not those of the branch")


class Copy(Workload):
    name, title = "cp", "cp -r of 10,000 files"

    def setup(self):
        self.source = os.path.join(self.inputs, "cp")
        os.mkdir(self.source)
        in_c(["prepare", "walk", self.source], self.quick)

    def run(self, guest, host):
        return [timed("cp -r", call, ["cp", "-r", os.path.join(self.source, "tree"), guest])]

    def verify(self, host):
        in_c(["verify", "walk", host], self.quick)


class Ripgrep(Workload):
    name, title = "ripgrep", "ripgrep of 10,000 files"

    def setup(self):
        self.program = shutil.which("rg")
        if self.program is None:
            raise Missing("there is no rg")

    def prepare(self, host):
        in_c(["prepare", "walk", host], self.quick, as_server=True)

    def _search(self, guest):
        found = call([self.program, "--no-config", "--no-ignore", "--text", "--count", "a", "tree"], cwd=guest)
        if len(found.splitlines()) < (900 if self.quick else 9000):
            raise Failed("it has not found what is in nearly every file")

    def run(self, guest, host):
        cold = timed("ripgrep, cold", self._search, guest)
        rest(self.quick)
        return [cold, timed("ripgrep, warm", self._search, guest)]


class Compileall(Workload):
    name, title = "compileall", "python compileall of the standard library's packages"
    packages = ("asyncio", "email", "http", "json", "logging", "unittest", "xml", "importlib", "concurrent", "urllib")

    def prepare(self, host):
        for package in self.packages[:2] if self.quick else self.packages:
            shutil.copytree(os.path.join(os.path.dirname(os.__file__), package), os.path.join(host, "lib", package),
                            ignore=shutil.ignore_patterns("__pycache__"))
        call(["chown", "-R", f"{UID}:{GID}", os.path.join(host, "lib")])

    def run(self, guest, host):
        return [timed("python compileall", call, [sys.executable, "-B", "-m", "compileall", "-q", "lib"], cwd=guest)]

    def verify(self, host):
        made, sources = set(), set()
        for folder, _, names in os.walk(os.path.join(host, "lib")):
            sources |= {os.path.join(folder, name[:-3]) for name in names if name.endswith(".py")}
            made |= {os.path.join(os.path.dirname(folder), name.split(".")[0]) for name in names
                     if name.endswith(".pyc")}
        if not sources or sources != made:
            raise Failed(f"of {len(sources)} sources {len(made)} were compiled")


class Npm(Workload):
    name, title = "npm", "npm install from a filled cache"
    packages = {"express": "4.19.2", "lodash": "4.17.21", "typescript": "5.4.5", "webpack": "5.91.0",
                "react": "18.3.1", "axios": "1.7.2"}

    def setup(self):
        self.npm = shutil.which("npm")
        if self.npm is None:
            raise Missing("there is no npm")
        self.cache = os.path.join(self.inputs, self.name + "-cache")
        reference = os.path.join(self.inputs, self.name + "-reference")
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


class NodeRequire(Npm):
    name, title = "node-require", "node loads six packages"
    script = "for (const name of process.argv.slice(1)) require(name)"

    def setup(self):
        self.node = shutil.which("node")
        if self.node is None:
            raise Missing("there is no node")
        super().setup()

    def prepare(self, host):
        modules = os.path.join(os.path.dirname(self.manifest), "node_modules")
        call(["cp", "-r", "--no-preserve=mode", modules, host])
        call(["chown", "-R", f"{UID}:{GID}", os.path.join(host, "node_modules")])

    def _load(self, guest):
        names = ["lodash"] if self.quick else list(self.packages)
        call([self.node, "-e", self.script, *names], cwd=guest)

    def run(self, guest, host):
        cold = timed("node require, cold", self._load, guest)
        rest(self.quick)
        return [cold, timed("node require, warm", self._load, guest)]


class Sqlite(Workload):
    name, title = "sqlite", "SQLite transactions"

    def _call(self, phase, directory):
        script = os.path.join(paths.LIB, "sqlite_work.py")
        return parse_rows(call([sys.executable, "-B", script, phase, directory, "20" if self.quick else "2000"]))

    def run(self, guest, host):
        return self._call("run", guest)

    def verify(self, host):
        self._call("verify", host)


PROGRAMS = (Tar, Copy, GitClone, GitCheckout, GitStatus, Ripgrep, Compileall, NodeRequire, Npm, Sqlite)
