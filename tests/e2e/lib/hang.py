# SPDX-License-Identifier: Apache-2.0
"""A part of the host's file system that hangs."""
import os
import subprocess

from . import world
from .mount import is_mounted, unmount
from .server import program
from .tap import skip, wait_for


class Hang:
    """hangfs on a directory: look-ups of names that begin with "hang" wait until release()."""

    def __init__(self, where):
        if world.AGENT:
            skip("what hangs would have to be mounted on the other side of the virtual machine")
        self.where = where
        self.file = os.path.join(world.case_directory("hang"), "released")
        os.mkdir(where)
        world.at_end(self.stop)
        self.process = subprocess.Popen([program("hangfs"), where, self.file], stdin=subprocess.DEVNULL)
        wait_for(lambda: is_mounted(where), "hangfs is mounted")

    def release(self):
        with open(self.file, "wb"):
            pass

    def stop(self):
        self.release()
        unmount(self.where, lazy=True)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
