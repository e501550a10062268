# SPDX-License-Identifier: Apache-2.0
"""What the e2e cases are made of: a private world, a file server, a mount, TAP."""
from . import calls
from .common import process
from .tap import case, run, skip, expect_errno, wait_for
from .world import UID, GID, work_directory, write_file, read_file, as_user, kill
from .server import TOKEN_MODE, program
from .twin import Twin, TWINS
from .mount import SERVER as Server
from .guest import Guest, Pair
from .mount import Mount, mount_command, unmount, is_mounted, fill_directory, Rig

__all__ = [
    "calls", "process", "case", "run", "skip", "expect_errno", "wait_for",
    "UID", "GID", "work_directory", "write_file", "read_file", "as_user", "kill",
    "Guest", "Pair", "Server", "TOKEN_MODE", "program",
    "Mount", "mount_command", "unmount", "is_mounted", "fill_directory", "Rig", "Twin", "TWINS",
]
