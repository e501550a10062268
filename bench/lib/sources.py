# SPDX-License-Identifier: Apache-2.0
"""
The programs to compare with, from Debian's packages: libfuse's passthrough_hp and passthrough_ll built from the source
package of fuse3, sftp-server and sshfs. Everything lies in one directory: lists, archives and programs; the system's
own list of sources is only read, and nothing is installed.
"""
import glob
import os
import re
import shlex
import shutil
import subprocess
import tarfile

from .paths import Missing

_DEFINES = ["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-DHAVE_UTIMENSAT", "-DHAVE_POSIX_FALLOCATE",
            "-DHAVE_SETXATTR", "-DHAVE_COPY_FILE_RANGE", "-DHAVE_FSTATAT", "-DHAVE_OPENAT", "-DHAVE_READLINKAT"]


class Sources:
    """directory: where it all lies. say: a function that prints progress."""

    def __init__(self, directory, say):
        self.directory = directory
        self.say = say
        self.lists_are_current = False
        self.list_problem = None

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def _call(self, command, **more):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, timeout=900, **more)
        if done.returncode != 0:
            last = [line for line in done.stdout.strip().split("\n") if line.strip()][-3:]
            raise Missing(f"{os.path.basename(command[0])} {command[1] if len(command) > 1 else ''} failed: " +
                          " / ".join(last))
        return done.stdout

    def _apt_options(self):
        return ["-o", "Dir::Etc::sourcelist=" + self.path("apt", "bench.sources"),
                "-o", "Dir::Etc::sourceparts=" + self.path("apt", "none"),
                "-o", "Dir::State::lists=" + self.path("apt", "lists"),
                "-o", "Dir::Cache=" + self.path("apt", "cache"),
                "-o", "APT::Sandbox::User=root", "-q", "-y"]

    def _update(self):
        """Private lists of packages, once a run."""
        if self.list_problem:
            raise Missing(self.list_problem)
        if self.lists_are_current:
            return
        try:
            if shutil.which("apt-get") is None:
                raise Missing("there is no apt-get to get it with")
            stanzas = private_sources(_system_sources(), _codename())
            if not stanzas:
                raise Missing("apt has no source of the distribution to derive a deb-src list from")
            for name in ("none", "lists/partial", "cache/archives/partial"):
                os.makedirs(self.path("apt", name), exist_ok=True)
            with open(self.path("apt", "bench.sources"), "w", encoding="utf-8") as file:
                file.write("\n".join(stanzas))
            self.say("getting lists of packages (private ones, in " + self.path("apt") + ")")
            self._call(["apt-get", "update", *self._apt_options()])
        except Missing as problem:
            self.list_problem = str(problem)
            raise
        self.lists_are_current = True

    def _fuse_examples(self):
        """The directory with libfuse's examples."""
        found = glob.glob(self.path("fuse-source", "*", "example"))
        if found:
            return found[0]
        self._update()
        os.makedirs(self.path("fuse-source"), exist_ok=True)
        self.say("getting the source package of fuse3")
        command = ["apt-get", "source", "--download-only", *self._apt_options()]
        installed = subprocess.run(["dpkg-query", "-W", "-f", "${source:Version}", "libfuse3-dev"], check=False,
                                   capture_output=True, text=True).stdout.strip()
        try:
            self._call([*command, f"fuse3={installed}"], cwd=self.path("fuse-source"))
        except Missing:
            self._call([*command, "fuse3"], cwd=self.path("fuse-source"))
        archives = [name for name in glob.glob(self.path("fuse-source", "*.orig.tar.*")) if not name.endswith(".asc")]
        if not archives:
            raise Missing("the source package of fuse3 has no archive")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(self.path("fuse-source"), members=[
                member for member in archive.getmembers()
                if re.match(r"[^/]+/example/[^/]+$", member.name) and member.isfile()])
        found = glob.glob(self.path("fuse-source", "*", "example"))
        if not found:
            raise Missing("the source package of fuse3 has no examples")
        return found[0]

    def example(self, name):
        """The path of passthrough_hp or passthrough_ll, built with the installed libfuse; or Missing."""
        result = self.path(name)
        if os.path.exists(result):
            return result
        compiler, suffix = ("g++", ".cc") if name == "passthrough_hp" else ("gcc", ".c")
        if shutil.which(compiler) is None:
            raise Missing(f"there is no {compiler} to build it with")
        source = os.path.join(self._fuse_examples(), name + suffix)
        flags = shlex.split(self._call(["pkg-config", "--cflags", "--libs", "fuse3"]))
        self.say(f"building {name}")
        standard = "-std=gnu++17" if suffix == ".cc" else "-std=gnu11"
        self._call([compiler, standard, "-O2", "-w", *_DEFINES, source, "-o", result + ".new", *flags, "-pthread"])
        os.rename(result + ".new", result)
        return result

    def packaged(self, package, program, places):
        """The path of a program: where the system has it, else from the package, unpacked here; or Missing."""
        for path in (*places, shutil.which(program)):
            if path and os.access(path, os.X_OK):
                return path
        target = self.path("packages", package)
        if not os.path.isdir(target):
            self._update()
            os.makedirs(self.path("packages"), exist_ok=True)
            self.say(f"getting {package}")
            self._call(["apt-get", "download", *self._apt_options(), package], cwd=self.path("packages"))
            archives = glob.glob(self.path("packages", package + "_*.deb"))
            if not archives:
                raise Missing(f"the package {package} did not come")
            self._call(["dpkg-deb", "-x", archives[0], target + ".new"])
            os.rename(target + ".new", target)
        for folder, _, files in os.walk(target):
            if program in files:
                return os.path.join(folder, program)
        raise Missing(f"the package {package} has no {program}")


def _codename():
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            if name == "VERSION_CODENAME":
                return value.strip('"')
    return ""


def _system_sources():
    """The texts of apt's lists of sources: (file name, text)."""
    names = ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]
    found = []
    for name in names:
        if name.endswith((".list", ".sources")) and os.path.isfile(name):
            with open(name, encoding="utf-8", errors="replace") as file:
                found.append((name, file.read()))
    return found


def private_sources(texts, codename):
    """Stanzas with deb and deb-src of the distribution's own suites, from apt's lists."""
    stanzas = []
    for name, text in texts:
        stanzas += _from_stanzas(text, codename) if name.endswith(".sources") else _from_lines(text, codename)
    return stanzas


def _stanza(fields):
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _wanted(suites, components, codename):
    """The suites of the distribution among these; without main there is nothing to get."""
    if "main" not in components:
        return []
    return [suite for suite in suites if codename and suite.split("/")[0].split("-")[0] == codename]


def _from_stanzas(text, codename):
    found = []
    for block in re.split(r"\n\s*\n", text):
        fields, last = {}, None
        for line in block.split("\n"):
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t" and last:
                fields[last] += "\n" + line
            else:
                last, _, value = line.partition(":")
                fields[last] = value.strip()
        if fields.get("Enabled", "yes").lower() in ("no", "false") or "deb" not in fields.get("Types", "").split():
            continue
        suites = _wanted(fields.get("Suites", "").split(), fields.get("Components", "").split(), codename)
        if suites:
            found.append(_stanza({**fields, "Types": "deb deb-src", "Suites": " ".join(suites), "Components": "main"}))
    return found


def _from_lines(text, codename):
    found = []
    for line in text.split("\n"):
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if not match:
            continue
        options, uri, suite, components = match.groups()
        suites = _wanted([suite], components.split(), codename)
        if not suites:
            continue
        fields = {"Types": "deb deb-src", "URIs": uri, "Suites": suite, "Components": "main"}
        for option in (options or "").split():
            key, _, value = option.partition("=")
            if key in ("signed-by", "trusted"):
                fields[key.title()] = value
        found.append(_stanza(fields))
    return found
