# SPDX-License-Identifier: Apache-2.0
"""What is mounted in this process's namespace."""


def _lines():
    """(mountpoint, fields of its line in mountinfo), in the order in which they were mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            yield fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape"), fields


def places():
    """Every mountpoint."""
    return [place for place, _ in _lines()]


def is_mounted(path):
    """The mount's line in mountinfo, split, or None."""
    return next((fields for place, fields in _lines() if place == path), None)
