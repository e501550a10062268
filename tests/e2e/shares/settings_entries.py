#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What stands in the settings: bad entries beside good ones, "~" and $HOME, keys in another case."""
import errno
import json
import os

from lib import Mount, Server, case, expect_errno, read_file, run, wait_for, write_file
from lib.control import ask
from lib.live import Live, directory, settings_of


@case
def a_bad_entry_is_told_by_its_text_and_the_rest_is_served():
    one, two = directory("one"), directory("two")
    live = Live(settings_of("no/path", one, 7, "$NOTHING/x"))
    # From the start: it is in the log, and kept for who asks.
    assert live.shares() == {one: "served"}
    for word in (live.path, 'entry 1 of FilesharingDirectories, "no/path",', ", 7,", '"$NOTHING/x"', "left out"):
        assert word in live.error(), live.error()
    assert '"no/path"' in live.server.log_text()
    assert "ERROR" in live.server.ctl("status") and "no/path" in live.server.ctl("doctor", check=False).stdout
    mount = Mount(live.server, one)
    write_file(mount / "file", "x", owner=(0, 0))
    # One that is added beside it counts, and nothing of the rest is lost from the file.
    live.server.ctl("share", "add", two)
    assert json.loads(read_file(live.path))["FilesharingDirectories"] == ["no/path", one, 7, "$NOTHING/x", two]
    assert live.shares() == {one: "served", two: "served"}
    live.replace(settings_of(one, "../two"))
    live.expect_error('"../two"')
    assert live.shares() == {one: "served"}
    live.replace(settings_of(one))
    live.events.wait("settings-good")
    assert live.error() is None
    write_file(mount / "file", "y", owner=(0, 0))
    # A file that is no list at all still changes nothing.
    for bad in ('{"FilesharingDirectories": ["%s"' % two, '{"FilesharingDirectories": {}}', ""):
        live.replace(bad)
        wait_for(live.error, f"an error for {bad}")
        assert live.shares() == {one: "served"}
        live.replace(settings_of(one))
        wait_for(lambda: live.error() is None, "it is good again")


@case
def home_and_keys_in_another_case_are_understood():
    home = directory("home")
    directory("a", home)
    directory("b", home)
    place = directory("settings")
    path = write_file(place + "/settings.json", json.dumps({
        "FileSharingDirectories": ["~/a", "$HOME/b/"],
        "Bindshare": {"shares": {"~/b": {"readOnly": True}}}}), 0o600)
    os.environ["HOME"] = home
    server = Server(["~/a:ro"], arguments=["--settings", path])
    shares = {share["path"]: share["read_only"] for share in ask(server.control, "shares")["shares"]}
    assert shares == {home + "/a": True, home + "/b": True}, shares
    assert ask(server.control, "status")["settings_error"] is None
    expect_errno(errno.EROFS, os.mkdir, Mount(server, home + "/b") / "dir")
    server.ctl("share", "rm", home + "/b")
    assert json.loads(read_file(path))["FileSharingDirectories"] == ["~/a"]


@case
def a_misspelt_key_lets_nobody_write():
    one, two = directory("one"), directory("two")
    live = Live(settings_of(one, two, shares={one: {"readonly": True}}))
    assert 'no key "readonly"' in live.error() and one in live.error(), live.error()
    expect_errno(errno.EROFS, os.mkdir, Mount(live.server, one) / "dir")
    os.mkdir(Mount(live.server, two) / "dir")


run(120)
