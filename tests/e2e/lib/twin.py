# SPDX-License-Identifier: Apache-2.0
"""A mount and a local directory: the same call on both must give the same result."""
import errno
import os
import stat

from . import world
from .mount import Rig

# How the server runs: as an ordinary user with the view of owners, and as root with the real ones.
TWINS = ("user", "root")


def outcome(function, *arguments, **more):
    """What a call gives: its value, or the name of its errno."""
    try:
        return function(*arguments, **more)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def difference(here, there):
    """Where two values differ first, in few words."""
    if isinstance(here, (list, tuple)) and isinstance(there, (list, tuple)):
        if len(here) != len(there):
            return f"local {len(here)} values, mount {len(there)}: local {here!r:.500}, mount {there!r:.500}"
        for number, (one, two) in enumerate(zip(here, there)):
            if one != two:
                return f"value {number}: {difference(one, two)}"
    return f"local {here!r:.500}, mount {there!r:.500}"


class Twin(Rig):
    """A rig with a local directory of root's. server: "user" or "root"."""

    def __init__(self, server="user", *options, **more):
        if server == "root":
            super().__init__(*options, "owner=host", uid=0, gid=0, **more)
        else:
            super().__init__(*options, **more)
        self.kind = server
        self.local_directory = os.path.join(world.case_directory("local"), "share")
        os.mkdir(self.local_directory)

    def local(self, name=""):
        return os.path.join(self.local_directory, name)

    def same(self, function, *arguments, what="", **more):
        """function(directory, ...) on the local directory and on the mount: equal values or errnos. The value."""
        here = outcome(function, self.local_directory, *arguments, **more)
        there = outcome(function, self.mount.where, *arguments, **more)
        label = what or getattr(function, "__name__", "call")
        assert here == there, f"{self.kind}: {label}{arguments!r:.200}: {difference(here, there)}"
        return here

    def both(self, function, *arguments, **more):
        """The same, and the call must succeed."""
        value = self.same(function, *arguments, **more)
        assert not (isinstance(value, str) and value in errno.errorcode.values()), f"{function.__name__}: {value}"
        return value

    def fails(self, name, function, *arguments, **more):
        """The same, and the call must fail with the errno of that name."""
        value = self.same(function, *arguments, **more)
        assert value == name, f"{getattr(function, '__name__', function)}{arguments}: {value!r} instead of {name}"

    def same_tree(self):
        """The local directory, the mount and the host's directory hold the same names, types and contents."""
        local, guest, host = tree(self.local()), tree(self.guest()), tree(self.host(), types=False)
        assert sorted(local) == sorted(guest), difference(sorted(local), sorted(guest))
        for name, value in local.items():
            assert value == guest[name], f"{name}: {difference(value, guest[name])}"
        plain = {name: value[1] for name, value in guest.items()}
        assert plain == {name: value[1] for name, value in host.items()}, "the host's files differ"


def tree(top, types=True):
    """What is below top: name -> (type, content)."""
    found = {}
    for folder, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            path = os.path.join(folder, name)
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            content = b""
            if kind == stat.S_IFREG:
                content = world.read_file(path)
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            found[os.path.relpath(path, os.fsencode(top))] = (kind if types else 0, content)
    return found
