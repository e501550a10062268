# SPDX-License-Identifier: Apache-2.0
"""Whole trees of both sides, compared."""
import os
import stat

from .looks import attributes


def tree(top):
    """name -> (type, mode, size, links, times, content), of the top, too."""
    found = {".": attributes(os.lstat(top))}
    for folder, directories, files in os.walk(top, onerror=_fail):
        for name in directories + files:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            content = b""
            if stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(seen.st_mode):
                content = os.readlink(path)
            found[os.path.relpath(path, top)] = (*attributes(seen), content)
    return found


def _fail(error):
    raise error


def differences(host, guest, most=10):
    """Where two trees differ, a line a name."""
    names = [name for name in sorted(host.keys() | guest.keys()) if host.get(name) != guest.get(name)]
    lines = [f"{name}: host {host.get(name, 'nothing')!r:.160}, guest {guest.get(name, 'nothing')!r:.160}"
             for name in names[:most]]
    return f"{len(names)} names differ:\n" + "\n".join(lines) if names else ""


def difference_of(host, guest):
    """The same for two directories. One that goes away while it is looked at is told as a difference."""
    try:
        seen = tree(guest)
    except OSError as error:
        return f"guest: {error}"
    return differences(tree(host), seen)
