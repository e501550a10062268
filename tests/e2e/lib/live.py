# SPDX-License-Identifier: Apache-2.0
"""A server whose settings change while it runs."""
import json
import os

from . import world
from .control import Subscriber, ask
from .mount import SERVER, mount_command


def directory(name="share", inside=None):
    path = os.path.join(inside or world.case_directory("host"), name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


class Live:
    """A server with a settings file, and optionally a policy."""

    def __init__(self, content, policy=None, inside=None):
        self.place = directory("settings", inside)
        self.path = os.path.join(self.place, "settings.json")
        self.policy = os.path.join(self.place, "policy.json")
        self.replace(content)
        arguments = ["--settings", self.path]
        if policy is not None:
            self.replace(policy, self.policy)
            arguments += ["--admin-settings", self.policy]
        self.server = SERVER([], arguments=arguments)
        self.control = self.server.control
        self.events = Subscriber(self.control)

    def replace(self, content, path=None):
        """Another file in the place of the old one."""
        text = content if isinstance(content, str) else json.dumps(content)
        path = path or self.path
        os.rename(world.write_file(path + ".new", text, 0o600), path)

    def shares(self):
        return {share["path"]: share["state"] for share in ask(self.control, "shares")["shares"]}

    def error(self, name="settings_error"):
        return ask(self.control, "status")[name]

    def expect_error(self, *words):
        """The error is told as an event, in the status and in the log; the list stays as it was."""
        event = self.events.wait("settings-error")
        for word in words:
            assert word in event["error"], event
        assert self.error() == event["error"]
        assert event["error"].split(":")[0] in self.server.log_text()

    def refuses(self, share, code=41):
        done = mount_command(f"{self.server.address}:{share}", directory("mnt"))
        assert done.returncode == code, done
        return done.stderr


def settings_of(*paths, **own):
    """Settings with these directories, and these keys of bindshare's own."""
    content = {"FilesharingDirectories": list(paths)}
    if own:
        content["bindshare"] = own
    return content
