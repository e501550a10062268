# SPDX-License-Identifier: Apache-2.0
"""Starting bindshare-fileserver as an ordinary user."""
import os
import select
import subprocess

SECONDS = 20


def start(command, uid, gid, output, **more):
    """
    Starts the server with this command line, and waits until it listens or has ended. output: the file that takes what
    it says. Popen, and whether it listens.
    """
    ready, theirs = os.pipe()
    try:
        process = subprocess.Popen([*command, "--ready-fd", str(theirs)], user=uid, group=gid, extra_groups=[],
                                   pass_fds=[theirs], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                                   **more)
    except BaseException:
        os.close(ready)
        raise
    finally:
        os.close(theirs)
    with os.fdopen(ready, "rb", buffering=0) as file:
        readable, _, _ = select.select([file], [], [], SECONDS)
        said = file.read(16) if readable else b""
    return process, said == b"ready\n"
