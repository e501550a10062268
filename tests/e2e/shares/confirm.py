#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A listed directory that is made later is served; one that others could have made only when the user confirms it."""
import json
import os

from lib import Mount, Server, case, mount_command, run, wait_for, world, write_file
from lib.control import Subscriber, ask

_STRANGER = 64321


def _directory(path, owner=None, mode=0o755):
    os.mkdir(path)
    os.chown(path, *(owner or (world.UID, world.GID)))
    os.chmod(path, mode)
    return path


class Listed:
    """A server whose settings list directories beneath a place where everybody may write, as in /tmp."""

    def __init__(self, *names, mode=0o1777):
        self.place = _directory(os.path.join(world.case_directory("host"), "place"), (0, 0), mode)
        settings = _directory(os.path.join(world.case_directory("host"), "settings"))
        self.paths = [os.path.join(self.place, name) for name in names]
        write_file(os.path.join(settings, "settings.json"), json.dumps({"FilesharingDirectories": self.paths}), 0o600)
        self.settings = ["--settings", os.path.join(settings, "settings.json")]
        self.server = Server([], arguments=self.settings)
        self.events = Subscriber(self.server.control)

    def state(self, path):
        return {share["path"]: share["state"] for share in ask(self.server.control, "shares")["shares"]}[path]

    def becomes(self, path, state):
        wait_for(lambda: self.state(path) == state, f"{path} is {state}")

    def refused(self, path):
        done = mount_command(f"{self.server.address}:{path}", _directory(os.path.join(world.case_directory("m"), "m")))
        return done.stderr if done.returncode != 0 else None


@case
def what_the_user_makes_later_is_served_and_what_a_stranger_makes_is_not():
    listed = Listed("mine", "his")
    mine, his = listed.paths
    _directory(mine)
    _directory(his, (_STRANGER, _STRANGER), 0o777)
    listed.becomes(mine, "served")
    listed.becomes(his, "unconfirmed")
    assert "bindsharectl share add" in listed.refused(his)
    assert "share add " + his in listed.server.log_text()
    doctor = listed.server.ctl("doctor", check=False).stdout
    assert f"{his} is unconfirmed" in doctor, doctor
    Mount(listed.server, mine)
    # The user says that it is the one.
    listed.server.ctl("share", "add", his)
    assert listed.state(his) == "served"
    Mount(listed.server, his)


@case
def where_everybody_may_rename_nothing_is_served_unconfirmed():
    listed = Listed("mine", mode=0o777)
    _directory(listed.paths[0])
    listed.becomes(listed.paths[0], "unconfirmed")
    # The same after a restart, when it is there already.
    listed.server.stop()
    listed.server.start()
    assert listed.state(listed.paths[0]) == "unconfirmed"


@case
def a_stranger_who_removes_it_and_makes_it_anew_is_not_served():
    listed = Listed("group")
    above = _directory(listed.paths[0], (_STRANGER, _STRANGER), 0o777)
    inner = _directory(os.path.join(above, "inner"))
    listed.becomes(above, "unconfirmed")
    done = listed.server.ctl("share", "add", inner)
    assert inner in done
    assert listed.state(inner) == "served"
    os.rename(inner, inner + ".old")
    _directory(inner, (_STRANGER, _STRANGER))
    wait_for(lambda: listed.state(inner) in ("replaced", "unconfirmed"), "the strangers directory is seen")


@case
def a_guests_link_in_a_share_does_not_become_another_share():
    home = _directory(os.path.join(world.case_directory("host"), "home"))
    secret = _directory(os.path.join(os.path.dirname(home), "secret"), mode=0o700)
    write_file(os.path.join(secret, "key"), "secret", 0o600)
    project = _directory(os.path.join(home, "project"))
    inner = os.path.join(project, "later")
    settings = _directory(os.path.join(world.case_directory("host"), "settings"))
    write_file(os.path.join(settings, "s.json"), json.dumps({"FilesharingDirectories": [project, inner]}), 0o600)
    server = Server([], arguments=["--settings", os.path.join(settings, "s.json")])
    mount = Mount(server, project)

    def state():
        return {share["path"]: share["state"] for share in ask(server.control, "shares")["shares"]}[inner]

    assert state() == "missing"
    os.symlink(secret, mount / "later")
    wait_for(lambda: state() == "unconfirmed", "the link is seen")
    done = mount_command(f"{server.address}:{inner}", _directory(os.path.join(world.case_directory("m"), "m")))
    assert done.returncode != 0, done
    # A restart, which forgets what was there before, makes no difference.
    mount.unmount()
    server.stop()
    server.start()
    assert state() == "unconfirmed"
    # What is no link is in the share anyway.
    os.unlink(inner)
    _directory(inner)
    wait_for(lambda: state() == "served", "a directory")


@case
def a_directory_of_the_command_line_is_looked_at_as_well():
    listed = Listed("x")
    place = listed.place
    _directory(os.path.join(place, "his"), (_STRANGER, _STRANGER))
    server = Server([os.path.join(place, "his")])
    shares = ask(server.control, "shares")["shares"]
    assert [share["state"] for share in shares] == ["unconfirmed"], shares


run()
