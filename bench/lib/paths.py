# SPDX-License-Identifier: Apache-2.0
"""Where the programs are, in a build tree or installed; builds them when a checkout has none."""
import os
import shutil
import subprocess
import sys

LIB = os.path.dirname(os.path.abspath(__file__))
ABOVE = os.path.dirname(os.path.dirname(LIB))
# The checkout, or None when this is installed.
ROOT = ABOVE if os.path.exists(os.path.join(ABOVE, "meson.build")) else None
BUILD = os.environ.get("BINDSHARE_BUILD") or (os.path.join(ROOT, "build") if ROOT else None)

# name: (in the build tree, where it is installed, from the directory of bindshare-bench)
_PLACES = {
    "bindshare-fileserver": ("fileserver/bindshare-fileserver", "."),
    "bindshare-mount": ("guest-fuse/bindshare-mount", "../sbin"),
    "bindshare-guestd": ("guest-fuse/bindshare-guestd", "../sbin"),
    "bindshare-runtime": ("guest-fuse/bindshare-runtime", "."),
    "bench-workloads": ("bench/bench-workloads", "../libexec/bindshare"),
}
_PACKAGES = ("gcc", "libc6-dev", "meson", "ninja-build", "pkg-config", "libfuse3-dev", "libuv1-dev", "libxxhash-dev",
             "libsodium-dev", "libjansson-dev", "libmicrohttpd-dev", "uthash-dev")


class Missing(Exception):
    """Something that is needed is not there; the text tells what."""


def program(name):
    """The path of a program of this project, or Missing."""
    built, installed = _PLACES[name]
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    places = [os.path.join(BUILD, built)] if BUILD else []
    places += [os.path.join(here, installed, name), shutil.which(name)]
    for path in places:
        if path and os.access(path, os.X_OK):
            return os.path.realpath(path)
    raise Missing(f"{name} is not built" + (f" in {BUILD}" if BUILD else " or not installed"))


def default_work():
    """Where everything lies that a run makes."""
    return os.path.join(BUILD, "bench-work") if BUILD else "/var/tmp/bindshare-bench"


def _owner_of_checkout():
    """Keywords for subprocess: root leaves nothing in a user's checkout that the user could not remove."""
    owner = os.stat(ROOT)
    build = os.stat(BUILD) if os.path.exists(BUILD) else None
    if os.geteuid() == 0 and owner.st_uid != 0 and (build is None or build.st_uid != 0):
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": [],
                "env": {**os.environ, "HOME": "/nonexistent"}}
    return {}


def _call(what, command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **more)
    if done.returncode != 0:
        raise Missing(f"{what} failed:\n{done.stdout[-4000:]}")


def install(packages, say):
    """Installs Debian packages that are missing; Missing when that cannot be."""
    if shutil.which("dpkg-query") is None:
        return
    absent = []
    for package in packages:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}\n", package], check=False,
                              capture_output=True, text=True)
        if "installed" not in done.stdout.split("\n"):
            absent.append(package)
    if not absent:
        return
    if os.geteuid() != 0:
        raise Missing("packages are missing, and only root can install them: " + " ".join(absent))
    say("installing " + " ".join(absent))
    _call("apt-get update", ["apt-get", "update", "-q"])
    _call("apt-get install", ["apt-get", "install", "-q", "-y", "--no-install-recommends", *absent],
          env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def build(say):
    """In a checkout without programs: builds them. Missing when there are none in the end."""
    try:
        for name in _PLACES:
            program(name)
        return
    except Missing:
        if ROOT is None:
            raise
    install(_PACKAGES, say)
    say(f"building in {BUILD}")
    as_owner = _owner_of_checkout()
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        _call("meson setup", ["meson", "setup", BUILD, ROOT], **as_owner)
    _call("the build", ["ninja", "-C", BUILD, *(place[0] for place in _PLACES.values())], **as_owner)
    for name in _PLACES:
        program(name)
