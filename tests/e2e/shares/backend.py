#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plays the program that ships the server, with nothing but what docs/BACKEND.md says."""
import concurrent.futures
import json
import os
import signal
import socket
import subprocess

from lib import case, expect_errno, mount_command, program, read_file, run, unmount, wait_for, world, write_file
from lib.control import Subscriber, ask, ask_bytes

TOKEN = "0123456789abcdef" * 4


def _directory(name, mode=0o755):
    path = os.path.join(world.case_directory("backend"), name)
    os.mkdir(path, mode)
    os.chown(path, world.UID, world.GID)
    return path


class Backend:
    """One desktop product: its directory, its settings, its server."""

    def __init__(self, *more, token=None, settings=None):
        self.place = _directory("run", 0o700)
        self.share = _directory("project")
        self.settings = os.path.join(self.place, "settings-store.json")
        self.write_settings({"FilesharingDirectories": [self.share]} if settings is None else settings)
        self.socket, self.control = os.path.join(self.place, "server"), os.path.join(self.place, "control")
        self.log = os.path.join(self.place, "server.log")
        self.token = os.path.join(self.place, "token")
        self.arguments = ["--listen", "unix:" + self.socket, "--control", self.control, "--settings", self.settings,
                          "--log-file", self.log, "--log-format", "json"]
        if token:
            write_file(self.token, token + "\n", 0o600)
            self.arguments += ["--token-file", self.token]
        self.arguments += more
        self.process = self.notified = None

    def write_settings(self, content):
        """As the backend must: another file, renamed."""
        text = content if isinstance(content, str) else json.dumps(content)
        os.rename(write_file(self.settings + ".new", text, 0o600), self.settings)

    def start(self):
        """Starts the server and waits for its readiness, told in both ways."""
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.place, f"notify{os.urandom(4).hex()}")
        self.notified.bind(path)
        os.chown(path, world.UID, world.GID)
        self.notified.settimeout(20)
        ready, theirs = os.pipe()
        self.process = subprocess.Popen(
            [program("bindshare-fileserver"), *self.arguments, "--ready-fd", str(theirs)], pass_fds=[theirs],
            user=world.UID, group=world.GID, extra_groups=[], stdin=subprocess.DEVNULL, cwd="/",
            env={**world.sanitizer_environment(), "NOTIFY_SOCKET": path})
        os.close(theirs)
        world.at_end(self.kill)
        with os.fdopen(ready, "rb") as file:
            assert file.read() == b"ready\n", self.log_lines()
        assert self.notified.recv(4096).startswith(b"READY=1")
        return self

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.notified.recv(4096) == b"STOPPING=1"
        assert self.process.wait(20) == 0
        assert not os.path.exists(self.socket) and not os.path.exists(self.control)

    def exit_code(self):
        return world.as_user([program("bindshare-fileserver"), *self.arguments], env=world.sanitizer_environment()
                             ).returncode

    def log_lines(self, name=None):
        return [json.loads(line) for line in read_file(name or self.log).splitlines()]

    def ask(self, request, **members):
        return ask(self.control, request, **members)

    def mount(self, share=None, token=None, expect=0):
        """As the guest; where it is mounted."""
        where = os.path.join(world.case_directory("guest"), "mnt")
        os.mkdir(where)
        options = []
        if token:
            options = ["token-file=" + write_file(where + ".token", token, 0o600, (0, 0))]
        world.at_end(lambda: unmount(where, lazy=True))
        done = mount_command(f"unix:{self.socket}:{share or self.share}", where, options)
        assert done.returncode == expect, done
        return where


@case
def start_readiness_and_stop():
    backend = Backend().start()
    write_file(backend.mount() + "/file", "x", owner=(0, 0))
    assert read_file(backend.share + "/file") == b"x"
    backend.stop()


@case
def status_shares_and_stats_have_the_members_that_are_promised():
    backend = Backend(token=TOKEN).start()
    where = backend.mount(token=TOKEN)
    write_file(where + "/file", "x", owner=(0, 0))
    status = backend.ask("status")
    assert status["pid"] == backend.process.pid and status["uid"] == world.UID and status["token"] is True
    assert status["listen"] == ["unix:" + backend.socket] and status["settings"] == backend.settings
    assert status["settings_error"] is None and status["policy_error"] is None and status["sandbox"]
    assert status["unwatched_directories"] == 0 and status["watched_directories"] > 0
    mount, = status["mounts"]
    assert mount["share"] == mount["requested"] == backend.share and mount["state"] == "serving", mount
    assert mount["read_only"] is False and mount["lanes"] >= 1 and mount["peer"].startswith("uid 0"), mount
    share, = backend.ask("shares")["shares"]
    assert share == {"path": backend.share, "canonical": backend.share, "read_only": False, "present": True,
                     "state": "served", "source": "settings", "owner": None, "permissions": None, "cache": None}
    stats = backend.ask("stats")
    assert stats["operations"]["write"]["count"] >= 1 and stats["operations"]["write"]["bytes"] >= 1, stats
    assert stats["mounts"][0]["pid"] == mount["pid"] and "write" in stats["mounts"][0]["operations"], stats


@case
def shares_are_added_and_removed_and_the_settings_keep_it():
    backend = Backend(settings={"theme": "dark", "FilesharingDirectories": []}).start()
    backend.mount(expect=41)
    assert backend.ask("share-add", path=backend.share + "/", read_only=True) == {
        "version": 1, "added": backend.share + "/", "persistent": True}
    where = backend.mount()
    expect_errno(30, os.mkdir, where + "/dir")
    kept = json.loads(read_file(backend.settings))
    assert kept == {"theme": "dark", "FilesharingDirectories": [backend.share],
                    "bindshare": {"shares": {backend.share: {"readOnly": True}}}}, kept
    assert os.stat(backend.settings).st_mode & 0o777 == 0o600
    assert backend.ask("share-add", path=backend.share)["added"] == backend.share
    os.mkdir(backend.mount() + "/dir")
    assert backend.ask("share-remove", path=backend.share)["persistent"] is True
    expect_errno(13, os.listdir, where)
    assert json.loads(read_file(backend.settings))["FilesharingDirectories"] == []
    other = _directory("other")
    assert backend.ask("share-add", path=other, persist=False)["persistent"] is False
    assert [share["source"] for share in backend.ask("shares")["shares"]] == ["control"]
    assert other not in read_file(backend.settings).decode()
    assert backend.ask("share-remove", path=other)["persistent"] is False
    assert backend.ask("shares")["shares"] == []


@case
def events_tell_what_happens():
    backend = Backend().start()
    subscriber = Subscriber(backend.control)
    where = backend.mount()
    event = subscriber.wait("mounted", share=backend.share, read_only=False)
    assert event["peer"].startswith("uid 0") and event["time"] > 1e9, event
    other = _directory("other")
    backend.mount(other, expect=41)
    assert "not shared" in subscriber.wait("mount-refused", path=other)["reason"]
    backend.ask("share-add", path=other, persist=False)
    subscriber.wait("share-added", path=other, state="served", source="control")
    backend.ask("share-add", path=other, persist=False, read_only=True)
    subscriber.wait("share-changed", path=other, read_only=True)
    backend.ask("share-remove", path=other)
    subscriber.wait("share-removed", path=other)
    backend.write_settings("{")
    assert backend.settings in subscriber.wait("settings-error")["error"]
    assert backend.settings in backend.ask("status")["settings_error"]
    backend.write_settings({"FilesharingDirectories": [backend.share]})
    subscriber.wait("settings-good")
    assert unmount(where).returncode == 0
    subscriber.wait("unmounted", share=backend.share, reason="unmounted")
    world.kill(wait_for(lambda: _mounted_again(backend), "a mount")["pid"])
    subscriber.wait("unmounted", share=backend.share, reason="failed")
    backend.process.send_signal(signal.SIGTERM)
    subscriber.wait("stopping")
    subscriber.close()


def _mounted_again(backend):
    backend.mount()
    return backend.ask("status")["mounts"][0]


@case
def the_token_is_changed_without_ending_what_is_mounted():
    backend = Backend(token=TOKEN).start()
    where = backend.mount(token=TOKEN)
    for number in range(8):
        write_file(f"{backend.share}/{number}", os.urandom(1 << 20))
    subscriber = Subscriber(backend.control)
    assert backend.ask("token-rotate")["token_file"] == backend.token
    subscriber.wait("token-rotated", end_mounts=False)
    token = read_file(backend.token).decode()
    assert token.strip() != TOKEN and len(token.strip()) == 64
    assert os.stat(backend.token).st_mode & 0o777 == 0o600 and os.stat(backend.token).st_uid == world.UID
    backend.mount(token=TOKEN, expect=44)
    write_file(backend.mount(token=token) + "/new", "x", owner=(0, 0))
    # The first mount goes on, and its new connections are proven by the token that it has.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, content in enumerate(pool.map(lambda n: read_file(f"{where}/{n}"), range(8))):
            assert content == read_file(f"{backend.share}/{number}")
    # The backend's own token.
    write_file(backend.token, TOKEN, 0o600)
    assert "error" not in backend.ask("token-rotate", from_file=True, end_mounts=True)
    expect_errno(13, os.listdir, where)
    wait_for(lambda: backend.ask("status")["mounts"] == [], "both mounts end")
    backend.mount(token=TOKEN)


@case
def a_token_file_that_is_bad_changes_nothing():
    backend = Backend(token=TOKEN).start()
    write_file(backend.token, "f" * 64, 0o644)
    answer = backend.ask("token-rotate", from_file=True)
    assert answer["code"] == "token-file" and "chmod 600" in answer["error"], answer
    write_file(backend.token, "short", 0o600)
    assert backend.ask("token-rotate", from_file=True)["code"] == "token-file"
    backend.mount(token=TOKEN)
    assert Backend().start().ask("token-rotate")["code"] == "no-token"


@case
def the_log_is_json_and_may_be_rotated_either_way():
    backend = Backend().start()
    backend.mount()
    lines = backend.log_lines()
    assert all(set(line) == {"time", "level", "program", "pid", "text"} for line in lines), lines
    assert any(line["text"].startswith("listening at") and line["level"] == "info" for line in lines), lines
    worker = backend.ask("status")["mounts"][0]["pid"]
    os.rename(backend.log, backend.log + ".1")
    backend.process.send_signal(signal.SIGUSR1)
    for pid in (backend.process.pid, worker):
        wait_for(lambda pid=pid: os.readlink(f"/proc/{pid}/fd/2") == backend.log, "the new file is the log")
    backend.mount(expect=41, share="/etc")
    assert any("/etc" in line["text"] for line in backend.log_lines())
    assert not any("/etc" in line["text"] for line in backend.log_lines(backend.log + ".1"))
    os.truncate(backend.log, 0)
    backend.mount(expect=41, share="/usr")
    assert any("/usr" in line["text"] for line in backend.log_lines())


@case
def the_server_is_upgraded_by_stopping_the_old_and_starting_the_new():
    backend = Backend().start()
    where = backend.mount()
    backend.stop()
    expect_errno(107, os.listdir, where)
    backend.start()
    assert backend.ask("status")["mounts"] == []
    write_file(backend.mount() + "/file", "x", owner=(0, 0))
    backend.stop()


@case
def requests_that_make_no_sense_have_a_code_each():
    backend = Backend().start()
    for data, code in ((b"\n", "malformed"), (b"status\n", "malformed"), (b'{"version":1}\n', "malformed"),
                       (b'{"version":1,"request":"status"}}\n', "malformed"),
                       (b'{"version":7,"request":"status"}\n', "version"),
                       (b'{"version":1,"request":"shutdown"}\n', "no-such-request"),
                       (b'{"version":1,"request":"share-add"}\n', "malformed"),
                       (b"x" * 40000, "too-long")):
        answer = ask_bytes(backend.control, data)
        assert answer["code"] == code and answer["error"], (data[:60], answer)
    assert ask_bytes(backend.control, b'{"version":1,"requ', half_close=True)["code"] == "truncated"
    for path, code in (("relative", "bad-path"), ("/a/../b", "bad-path"), ("/nowhere/x", "not-found"),
                       ("/dev/null", "not-directory")):
        assert backend.ask("share-add", path=path)["code"] == code, path
    assert backend.ask("share-remove", path="/etc")["code"] == "not-shared"
    backend.write_settings("[1")
    other = _directory("other")
    assert backend.ask("share-add", path=other)["code"] == "settings"
    assert backend.ask("share-remove", path=backend.share)["code"] == "settings"
    assert read_file(backend.settings) == b"[1"
    assert [share["path"] for share in backend.ask("shares")["shares"]] == [backend.share]


@case
def other_users_reach_nothing():
    backend = Backend().start()
    done = world.as_user([program("bindsharectl"), "--control", backend.control, "status"], 1234, 1234)
    assert done.returncode == 69, done
    os.chmod(backend.place, 0o755)
    os.chmod(backend.control, 0o777)
    done = world.as_user([program("bindsharectl"), "--control", backend.control, "status"], 1234, 1234)
    assert done.returncode == 76 and done.stdout == "", done


@case
def every_start_that_fails_has_its_exit_code():
    backend = Backend(settings="{")
    assert backend.exit_code() == 78
    backend.write_settings({"FilesharingDirectories": []})
    os.chmod(backend.settings, 0o660)
    assert backend.exit_code() == 77
    os.unlink(backend.settings)
    assert backend.exit_code() == 66
    policy = write_file(os.path.join(backend.place, "policy"), "[]", 0o644)
    assert Backend("--admin-settings", policy).exit_code() == 78
    assert Backend("--admin-settings", policy + ".none").exit_code() == 66
    write_file(policy, '{"filesharingAllowedDirectories": []}', 0o666)
    assert Backend("--admin-settings", policy).exit_code() == 77
    os.chmod(policy, 0o644)
    share = _directory("share")
    assert Backend("--admin-settings", policy, "--share", share).exit_code() == 77
    assert Backend("--share", share + "/none").exit_code() == 66
    assert Backend("--log-file", "/nowhere/log").exit_code() == 73
    assert Backend("--log-format", "xml").exit_code() == 64
    os.chmod(backend.place, 0o750)
    backend.write_settings({"FilesharingDirectories": []})
    assert backend.exit_code() == 77
    token = Backend(token=TOKEN)
    os.chmod(token.token, 0o640)
    assert token.exit_code() == 77
    write_file(token.token, "x", 0o600)
    assert token.exit_code() == 78
    os.unlink(token.token)
    assert token.exit_code() == 66


run()
