# SPDX-License-Identifier: Apache-2.0
"""Where the programs are, in a build tree or installed; builds them when a checkout has none."""
import os
import shutil
import subprocess
import sys

from .common.programs import BUILT

LIB = os.path.dirname(os.path.abspath(__file__))
ABOVE = os.path.dirname(os.path.dirname(LIB))
# The checkout, or None when this is installed.
ROOT = ABOVE if os.path.exists(os.path.join(ABOVE, "meson.build")) else None
BUILD = os.environ.get("BINDSHARE_BUILD") or (os.path.join(ROOT, "build") if ROOT else None)

# name: where it is installed, from the directory of bindshare-bench
_INSTALLED = {
    "bindshare-fileserver": ".",
    "bindshare-mount": "../sbin",
    "bindshare-guestd": "../sbin",
    "bindshare-runtime": ".",
    "bench-workloads": "../libexec/bindshare",
}


class Missing(Exception):
    """Something that is needed is not there; the text tells what."""


def program(name):
    """The path of a program of this project, or Missing."""
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    places = [os.path.join(BUILD, BUILT[name])] if BUILD else []
    places += [os.path.join(here, _INSTALLED[name], name), shutil.which(name)]
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


def _install(say):
    """Installs the Debian packages that building takes."""
    installer = os.path.join(ROOT, "tests", "common", "install-packages")
    missing = subprocess.run([installer, "--missing", "build"], check=False, capture_output=True,
                             text=True).stdout.split()
    if not missing:
        return
    if os.geteuid() != 0:
        raise Missing("packages are missing, and only root can install them: " + " ".join(missing))
    say("installing " + " ".join(missing))
    _call("installing packages", [installer, "build"])


def build(say):
    """In a checkout without programs: builds them. Missing when there are none in the end."""
    try:
        for name in _INSTALLED:
            program(name)
        return
    except Missing:
        if ROOT is None:
            raise
    _install(say)
    say(f"building in {BUILD}")
    as_owner = _owner_of_checkout()
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        _call("meson setup", ["meson", "setup", BUILD, ROOT], **as_owner)
    _call("the build", ["ninja", "-C", BUILD, *(BUILT[name] for name in _INSTALLED)], **as_owner)
    for name in _INSTALLED:
        program(name)
