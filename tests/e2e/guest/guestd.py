#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindshare-guestd: keeps what is shared mounted, whatever happens to the server, the list, the mounts or itself."""
import errno
import json
import os
import signal
import subprocess
import threading
import time

from lib import Guest, Pair, Server, case, expect_errno, program, run, wait_for, world
from lib.control import Subscriber
from lib.server import TOKEN


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _daemon(pair, name):
    """None while there is none, as between its end and the next one's beginning."""
    return pair.guest.daemons().get(pair.guest.root + pair.host(name))


@case
def every_share_is_mounted_beneath_the_root_and_at_its_own_path():
    pair = Pair("one", "two:ro")
    pair.fill("one/file", b"content")
    assert pair.guest.shares() == {pair.host("one"): "mounted", pair.host("two"): "mounted"}
    for path in (pair.mounted("one/file"), pair.identical("one/file")):
        assert _read(path) == b"content"
    with open(pair.identical("one/new"), "wb") as file:
        file.write(b"from the guest")
    assert _read(pair.host("one/new")) == b"from the guest"
    assert os.stat(pair.host("one/new")).st_uid == world.UID
    expect_errno(errno.EROFS, open, pair.mounted("two/new"), "wb")
    assert not os.path.exists(pair.identical("three"))
    # One superblock for each.
    assert os.stat(pair.mounted("one")).st_dev == os.stat(pair.identical("one")).st_dev
    assert os.stat(pair.mounted("one")).st_dev != os.stat(pair.mounted("two")).st_dev
    assert len(pair.guest.daemons()) == 2
    pair.end()
    assert not os.path.exists(pair.identical("one")), "what guestd made is removed"


@case
def shares_added_and_removed_on_the_host_are_mounted_and_unmounted():
    pair = Pair("one")
    times = []
    for number in range(3):
        path = pair.make(f"more{number}")
        began = time.monotonic()
        pair.share("add", path)
        wait_for(lambda path=path: os.path.ismount(pair.guest.path(path)), "an added share is mounted")
        times.append(time.monotonic() - began)
    pair.share("add", pair.host("one"), "--read-only")
    wait_for(lambda: pair.guest.ask("status")["shares"][-1]["readOnly"] and
             pair.guest.shares()[pair.host("one")] == "mounted", "it is mounted read-only")
    expect_errno(errno.EROFS, open, pair.mounted("one/new"), "wb")
    pair.share("rm", pair.host("more1"))
    # Its worker's end may be seen before the new list is, and the mount be undone for that.
    wait_for(lambda: pair.host("more1") not in pair.guest.shares(), "it is a share no more")
    wait_for(lambda: pair.host("more1") not in [where for where, _ in pair.guest.mounts()], "it is unmounted")
    wait_for(lambda: not os.path.exists(pair.identical("more1")), "its directory is removed")
    print(f"# share add until it is mounted, s: {[round(value, 3) for value in times]}")
    pair.end()


@case
def a_busy_mount_of_a_removed_share_is_unmounted_lazily():
    pair = Pair("one", "two")
    pair.fill("one/file", bytes(1 << 20))
    with open(pair.mounted("one/file"), "rb") as file:
        pair.share("rm", pair.host("one"))
        wait_for(lambda: len(pair.guest.mounts()) == 2, "it is unmounted though it is in use")
        expect_errno((errno.EACCES, errno.ENOTCONN), os.pread, file.fileno(), 10, 900000)
    wait_for(lambda: len(pair.guest.daemons()) == 1, "its process ends")
    pair.end()


@case
def a_server_that_is_not_there_yet_is_waited_for():
    base = world.case_directory("host")
    os.mkdir(f"{base}/share")
    server = Server([f"{base}/share"], token=TOKEN, wait=False)
    guest = Guest(server.address, [base], token=TOKEN, waitSeconds=1)
    guest.start(wait=False)
    wait_for(lambda: "cannot be reached" in guest.log_text(), "it says so")
    assert guest.ask("status")["server"]["state"] == "connecting"
    answer, = guest.binds(f"{base}/share")
    assert answer["code"] == "unknown-yet" and "has not been reached" in answer["text"], answer
    wait_for(lambda: "ready without" in guest.log_text(), "it is ready all the same")
    server.start()
    answer, = guest.binds(f"{base}/share", wait_ms=20000)
    assert answer["verdict"] == "share", answer
    assert guest.log_text().count("cannot be reached") == 1, guest.log_text()
    guest.stop()
    server.stop()


@case
def a_server_that_comes_back_is_mounted_again():
    pair = Pair("one", "one/deep", "two")
    pair.fill("two/file", b"content")
    pair.fill("one/deep/file", b"deep")
    pair.server.stop_hard()
    wait_for(lambda: pair.guest.ask("status")["server"]["state"] == "connecting", "the loss is seen")
    pair.server.start()
    wait_for(lambda: set(pair.guest.shares().values()) == {"mounted"}, "all is mounted again", 60)
    assert _read(pair.mounted("two/file")) == b"content"
    assert _read(pair.identical("one/deep/file")) == b"deep"
    assert len(pair.guest.mounts()) == 6, pair.guest.mounts()
    wait_for(lambda: len(pair.guest.daemons()) == 3, "the old processes end")
    pair.end()


@case
def a_mount_that_dies_is_made_anew():
    pair = Pair("one")
    pair.fill("one/file", b"content")
    for _ in range(3):
        before = _daemon(pair, "one")
        world.kill(before)
        wait_for(lambda before=before: _daemon(pair, "one") not in (None, before) and
                 pair.guest.shares() == {pair.host("one"): "mounted"}, "it is mounted again", 60)
        assert _read(pair.identical("one/file")) == b"content"
    for worker in pair.server.workers():
        world.kill(worker)
    wait_for(lambda: "lost its server" in pair.guest.log_text() and
             pair.guest.shares() == {pair.host("one"): "mounted"} and os.path.exists(pair.mounted("one/file")),
             "the worker's end is seen, too", 60)
    pair.end()


@case
def nested_shares_come_and_go_in_order():
    pair = Pair("one", "one/deep/empty", "one/deep")
    pair.fill("one/deep/file", b"deep")
    both = {pair.host("one"): "mounted", pair.host("one/deep"): "mounted", pair.host("one/deep/empty"): "mounted"}
    before = _daemon(pair, "one")
    world.kill(before)
    wait_for(lambda: _daemon(pair, "one") not in (None, before) and
             pair.guest.shares() == both, "the outer one dies: all are mounted anew", 60)
    assert _read(pair.identical("one/deep/file")) == b"deep" and len(pair.guest.mounts()) == 6, pair.guest.mounts()
    pair.share("rm", pair.host("one"))
    wait_for(lambda: pair.host("one") not in pair.guest.shares() and len(pair.guest.mounts()) == 4,
             "the outer one goes: the inner ones stay", 60)
    wait_for(lambda: set(pair.guest.shares().values()) == {"mounted"}, "they are there", 60)
    assert _read(pair.mounted("one/deep/file")) == b"deep" and os.listdir(pair.mounted("one")) == ["deep"]
    pair.share("add", pair.host("one"))
    wait_for(lambda: pair.guest.shares() == both, "the outer one comes back", 60)
    assert _read(pair.identical("one/deep/file")) == b"deep" and len(pair.guest.mounts()) == 6, pair.guest.mounts()
    pair.end()
    assert os.listdir(pair.host("one")) == ["deep"] and os.path.isdir(pair.host("one/deep/empty")), \
        "nothing is made or removed on the host"


@case
def a_share_that_cannot_be_mounted_is_in_nobodys_way():
    base = world.case_directory("host")
    for name in ("one/deep", "two"):
        os.makedirs(f"{base}/{name}")
    server = Server([f"{base}/one", f"{base}/one/deep", f"{base}/two"], token=TOKEN)
    guest = Guest(server.address, [base], token=TOKEN)
    way = guest.path(guest.root + base)
    os.makedirs(way)
    os.symlink("/etc", f"{way}/one")
    guest.start()
    assert guest.shares() == {f"{base}/one": "failed", f"{base}/one/deep": "failed", f"{base}/two": "mounted"}
    assert "symbolic links" in guest.log_text() and not os.path.exists(guest.path("/etc/deep"))
    os.unlink(f"{way}/one")
    wait_for(lambda: set(guest.shares().values()) == {"mounted"}, "it is tried again", 60)
    assert len(guest.mounts()) == 6, guest.mounts()
    guest.stop()
    assert guest.try_run("--unmount").returncode == 0
    assert not guest.mounts()
    assert not os.listdir(way), "what was made is removed"
    server.stop()


@case
def a_symbolic_link_of_the_host_leads_no_mount_astray():
    base = world.case_directory("host")
    os.makedirs(f"{base}/one")
    os.makedirs(f"{base}/target/deep")
    world.write_file(f"{base}/target/deep/file", b"shared")
    os.symlink(f"{base}/target", f"{base}/one/link")
    server = Server([f"{base}/one", f"{base}/target", f"{base}/one/link/deep"], token=TOKEN)
    guest = Guest(server.address, [base], token=TOKEN)
    # What the guest has where the link leads.
    guest.do("sh", "-c", f"mkdir -p {base}/target/deep && echo own >{base}/target/deep/own")
    guest.start()
    assert set(guest.shares().values()) == {"mounted"}, guest.ask("status")
    assert os.listdir(guest.path(f"{base}/target/deep")) == ["own"]
    answer, = guest.binds(f"{base}/one/link/deep/file")
    assert answer["verdict"] == "share" and answer["mount"].startswith(guest.run), answer
    assert _read(guest.path(f"{answer['mount']}/{answer['rest']}")) == b"shared"
    guest.stop()
    guest.start()
    assert guest.binds(f"{base}/one/link/deep/file") == [answer], "it is taken up"
    guest.stop()
    assert guest.try_run("--unmount").returncode == 0
    assert not guest.mounts(), guest.mounts()
    server.stop()


@case
def a_change_of_address_or_root_leaves_no_mount_of_the_old_one():
    pair = Pair("one", "two")
    pair.fill("one/file", b"content")
    pair.guest.stop()
    pair.server.stop()
    link = pair.server.address.removeprefix("unix:") + "2"
    os.symlink(pair.server.address.removeprefix("unix:"), link)
    pair.server.start()
    pair.guest.config["address"] = "unix:" + link
    pair.guest.root = pair.guest.config["root"] = os.path.join(pair.guest.directory, "other_mnt")
    pair.guest.write_config()
    pair.guest.start(wait=False)
    wait_for(lambda: pair.guest.shares() == {pair.host("one"): "mounted", pair.host("two"): "mounted"} and
             len(pair.guest.mounts()) == 4, "the mounts are made anew", 60)
    assert all(source.startswith(f"unix:{link}:") for _, source in pair.guest.mounts()), pair.guest.mounts()
    assert _read(pair.mounted("one/file")) == b"content"
    # What is mounted can be undone without what it took to mount it.
    pair.guest.stop()
    os.unlink(pair.guest.config["tokenFile"])
    done = pair.guest.try_run("--unmount")
    assert done.returncode == 0, done.stderr
    assert not pair.guest.mounts(), pair.guest.mounts()
    pair.server.stop()


@case
def mounts_outlive_guestd():
    pair = Pair("one", "one/deep", "two")
    pair.fill("one/file", b"content")
    before = pair.guest.daemons()
    with open(pair.identical("one/file"), "rb") as file:
        for kill in (False, True):
            if kill:
                world.kill(pair.guest.process.pid)
                pair.guest.process.wait(10)
            else:
                pair.guest.stop()
            assert os.pread(file.fileno(), 7, 0) == b"content"
            pair.guest.start()
            assert pair.guest.daemons() == before, "it takes up what is mounted"
    assert len(pair.guest.mounts()) == 6, pair.guest.mounts()
    pair.guest.stop()
    pair.share("rm", pair.host("two"))
    world.kill(before[pair.guest.root + pair.host("one/deep")])
    pair.guest.start(wait=False)
    wait_for(lambda: pair.guest.shares() == {pair.host("one"): "mounted", pair.host("one/deep"): "mounted"} and
             len(pair.guest.mounts()) == 4, "what has gone is unmounted, what has died is made anew", 60)
    assert _daemon(pair, "one") == before[pair.guest.root + pair.host("one")]
    pair.end()


@case
def as_a_service_each_mount_is_a_unit_of_its_own():
    pair = Pair("one")
    pair.fill("one/file", b"content")
    pair.guest.stop()
    assert pair.guest.try_run("--unmount").returncode == 0
    place = world.case_directory("programs")
    log = os.path.join(place, "log")
    os.makedirs("/run/systemd/system", exist_ok=True)
    environment = {"INVOCATION_ID": "0" * 32, "PATH": f"{place}:{os.environ['PATH']}"}
    for script, words in (('echo "$@" >>LOG; while [ "$1" != -- ]; do shift; done; shift; exec "$@"', "--scope"),
                          ('echo "$@" >>LOG; echo "Failed to connect to bus: no" >&2; exit 1', "--scope")):
        world.write_file(f"{place}/systemd-run", f"#!/bin/sh\n{script}\n".replace("LOG", log), 0o755, (0, 0))
        pair.guest.start(environment=environment)
        assert pair.guest.shares() == {pair.host("one"): "mounted"}, pair.guest.ask("status")
        assert _read(pair.identical("one/file")) == b"content"
        said = _read(log).decode()
        assert words in said and "Before=docker.service" in said and "bindshare-mount" in said, said
        os.unlink(log)
        pair.guest.stop()
        assert pair.guest.try_run("--unmount").returncode == 0
    pair.guest.start()
    assert not os.path.exists(log), "not by hand"
    pair.end()
    os.rmdir("/run/systemd/system")


@case
def what_is_under_way_at_the_end_is_recorded_with_the_rest():
    pair = Pair("one", "two")
    for _ in range(5):
        pair.share("rm", pair.host("two"))
        wait_for(lambda: len(pair.guest.mounts()) < 4, "one of its mounts is gone, the other and more are to go")
        pair.guest.stop()
        with open(os.path.join(pair.guest.run, "state.json"), encoding="utf-8") as file:
            assert pair.host("one") in [share["path"] for share in json.load(file)["shares"]]
        pair.share("add", pair.host("two"))
        pair.guest.start()
        wait_for(lambda: len(pair.guest.mounts()) == 4, "both are mounted again", 60)
    pair.end()


@case
def names_that_look_alike_are_told_apart():
    names = ["proj", "proj2", "proj/inner", "with space", "with,comma", "with:colon", "tab\there", "ünïcode"]
    pair = Pair(*names)
    for name in names:
        pair.fill(f"{name}/file", name.encode())
    assert set(pair.guest.shares().values()) == {"mounted"}, pair.guest.ask("status")
    for name in names:
        assert _read(pair.mounted(f"{name}/file")) == name.encode()
        assert _read(pair.identical(f"{name}/file")) == name.encode()
        answer, = pair.guest.binds(pair.host(f"{name}/file"))
        assert (answer["share"], answer["rest"], answer["kind"]) == (pair.host(name), "file", "file"), answer
    pair.end()


@case
def where_the_guest_has_files_no_share_is_mounted_at_its_own_path():
    base = world.case_directory("host")
    for name in ("has/sub", "empty", "link", "file"):
        os.makedirs(f"{base}/{name}")
    server = Server([f"{base}/has", f"{base}/empty", f"{base}/link", f"{base}/file"], token=TOKEN)
    guest = Guest(server.address, [base], token=TOKEN)
    guest.do("sh", "-c", f"cd {base} && mkdir has empty && echo own >has/own && ln -s /etc link && echo own >file")
    guest.start()
    status = {share["path"]: share["identical"] for share in guest.ask("status")["shares"]}
    assert status == {f"{base}/has": False, f"{base}/empty": True, f"{base}/link": False, f"{base}/file": False}
    assert os.listdir(guest.path(f"{base}/has")) == ["own"]
    assert os.listdir(guest.mounted(f"{base}/has")) == ["sub"]
    guest.stop()
    assert guest.try_run("--unmount").returncode == 0
    assert os.listdir(guest.path(f"{base}/has")) == ["own"]
    assert os.path.isdir(guest.path(f"{base}/empty")), "a directory that was there stays"
    server.stop()


@case
def places_where_the_guest_keeps_keys_and_units_are_never_covered():
    base, units = world.case_directory("host"), "/run/units"
    shares = {f"{base}/me/.ssh": False, f"{base}/me/.config/systemd": False, f"{base}/me/src": True,
              f"{units}/system": False}
    for path in shares:
        os.makedirs(path)
        world.write_file(f"{path}/file", b"of the host")
    os.chmod(units, 0o755)
    server = Server(list(shares), token=TOKEN)
    guest = Guest(server.address, [base, units], token=TOKEN)
    guest.do("mkdir", "-p", f"{base}/me/.ssh", f"{units}/system")
    guest.start()
    status = {share["path"]: (share["state"], share["identical"]) for share in guest.ask("status")["shares"]}
    assert status == {path: ("mounted", identical) for path, identical in shares.items()}, status
    assert os.listdir(guest.path(f"{base}/me/.ssh")) == [] == os.listdir(guest.path(f"{units}/system"))
    assert not os.path.exists(guest.path(f"{base}/me/.config"))
    # Containers have them all the same.
    for path in shares:
        answer, = guest.binds(f"{path}/file")
        assert answer["verdict"] == "share", (path, answer)
        assert _read(guest.mounted(f"{path}/file")) == b"of the host"
    guest.stop()
    assert guest.try_run("--unmount").returncode == 0
    server.stop()


@case
def a_share_that_is_not_there_on_the_host_is_said_to_be():
    pair = Pair("one", "two")
    os.rename(pair.host("one"), pair.host("away"))
    wait_for(lambda: pair.guest.shares()[pair.host("one")] == "missing", "it is missing")
    answer, = pair.guest.binds(pair.host("one/x"))
    assert answer["code"] == "missing" and "is not there on the host" in answer["text"], answer
    os.rename(pair.host("away"), pair.host("one"))
    wait_for(lambda: pair.guest.shares()[pair.host("one")] == "mounted", "it is back", 60)
    pair.end()


@case
def the_source_of_a_bind_is_shared_own_missing_or_refused():
    pair = Pair("share")
    pair.make("share/dir")
    pair.make("other")
    pair.fill("share/file", b"content")
    os.symlink(pair.host("share/dir"), pair.host("into"))
    os.symlink(pair.host("other"), pair.host("share/out"))
    own, file, missing, outside, into, out, made = pair.guest.binds(
        "/var/lib/docker/volumes/x", pair.host("share/file"), pair.host("share/none"), pair.host("other"),
        pair.host("into"), pair.host("share/out"), {"path": pair.host("share/none"), "create": True})
    assert own == {"verdict": "own"}
    assert file == {"verdict": "share", "share": pair.host("share"), "mount": pair.guest.root + pair.host("share"),
                    "rest": "file", "kind": "file", "readOnly": False, "idmap": True, "identical": True}
    assert missing["code"] == "missing" and out["code"] == "leads-out", (missing, out)
    assert outside["text"].startswith(
        f"Mounts denied: The path {pair.host('other')} is not shared from the host and is not known to"), outside
    assert (into["verdict"], into["rest"]) == ("share", "dir"), "a link outside of the shares that leads into one"
    assert (made["verdict"], made["kind"]) == ("share", "missing")
    pair.end()


@case
def refusals_are_events_of_the_host():
    pair = Pair("share")
    other = pair.make("other")
    os.symlink(other, pair.host("share/out"))
    events = Subscriber(pair.server.control)
    for source, reason, path in ((f"{other}/x", "not-shared", f"{other}/x"), ("/etc/../etc", "not-shared", "/etc"),
                                 (pair.host("share/out/y"), "leads-out", f"{other}/y"),
                                 (pair.host("share/none"), "missing", pair.host("share/none")),
                                 ("/run/host-services/ssh-auth.sock", "socket", "/run/host-services/ssh-auth.sock")):
        answer, = pair.guest.binds(source)
        assert answer["verdict"] == "refused", answer
        events.wait("bind-refused", reason=reason, path=path)
    # What a backend makes of it.
    pair.share("add", other)
    wait_for(lambda: pair.guest.shares().get(other) == "mounted", "it is shared")
    assert pair.guest.binds(other)[0]["verdict"] == "share"
    pair.guest.binds(*[f"/flood{number}" for number in range(1000)])
    assert pair.guest.binds(other)[0]["verdict"] == "share"
    pair.end()


@case
def what_only_the_server_knows_is_not_guessed():
    pair = Pair("share")
    other, share = pair.make("other"), pair.host("share")
    assert pair.guest.binds(other)[0]["code"] == "not-shared"
    # It says nothing: the answer comes all the same, before the connection is given up.
    world.kill(pair.server.process.pid, signal.SIGSTOP)
    try:
        answers = pair.guest.binds(other, share, {"path": other, "create": True})
        assert pair.guest.ask("status")["server"]["state"] == "connected"
    finally:
        os.kill(pair.server.process.pid, signal.SIGCONT)
    assert [answer.get("code") for answer in answers] == ["unknown-yet", None, "unknown-yet"], answers
    assert "has not been reached" in answers[0]["text"] and answers[1]["verdict"] == "share", answers
    wait_for(lambda: pair.guest.binds(other)[0]["code"] == "not-shared", "it is asked again", 30)
    # It is gone: whoever may wait hears what it says when it is back.
    pair.server.stop_hard()
    wait_for(lambda: pair.guest.ask("status")["server"]["state"] == "connecting", "the loss is seen")
    assert pair.guest.binds(other)[0]["code"] == "unknown-yet"
    late = []
    thread = threading.Thread(target=lambda: late.extend(pair.guest.binds(other, share, wait_ms=50000)))
    thread.start()
    pair.server.start()
    thread.join(60)
    assert late and late[0]["code"] == "not-shared" and late[1]["verdict"] == "share", late
    pair.end()


@case
def doctor_says_what_is_wrong():
    pair = Pair("one", "two")

    def findings():
        done = pair.guest.do(program("bindsharectl"), "doctor", "--guest", "--config", pair.guest.config_file, "--json",
                             check=False)
        found = {}
        for entry in json.loads(done.stdout)["findings"]:
            found.setdefault(entry["check"], []).append(entry)
        return done.returncode, found

    code, found = findings()
    assert code == 0 and [entry["level"] for entry in found["share"]] == ["ok", "ok"], found
    assert {found[name][0]["level"] for name in ("config", "guestd", "server")} == {"ok"} and "docker" in found, found
    # Docker, as it is told of bindshare.
    etc, plugin = "/etc/docker/daemon.json", os.path.join(pair.guest.directory, "plugins/bindshare.sock")
    pair.guest.do("sh", "-c", "mount -t tmpfs tmpfs /etc && mkdir /etc/docker")
    pair.guest.config.update(pluginSocket=plugin)
    pair.guest.write_config()
    for name, level, words in (("bindshare", "error", "nobody listens at"), ("other", "warning", "is called other"),
                               ("bindshare", "ok", "names bindshare")):
        daemon = {"authorization-plugins": ["bindshare"], "default-runtime": name,
                  "runtimes": {name: {"path": "/usr/bin/bindshare-runtime"}}}
        world.write_file(pair.guest.path(etc), json.dumps(daemon), owner=(0, 0))
        if level == "warning":
            pair.guest.start_plugin(plugin)
        entry, = findings()[1]["docker"]
        assert entry["level"] == level and words in entry["text"], entry
    pair.guest.config.update(pluginSocket=None)
    pair.guest.write_config()
    os.rename(pair.host("one"), pair.host("away"))
    wait_for(lambda: pair.guest.shares()[pair.host("one")] == "missing", "it is missing")
    code, found = findings()
    assert code == 0 and found["share"][0]["level"] == "warning" and "is missing" in found["share"][0]["text"], found
    pair.server.stop_hard()
    wait_for(lambda: pair.guest.ask("status")["server"]["state"] == "connecting", "the loss is seen")
    code, found = findings()
    assert code == 1 and found["server"][0]["level"] == "error" and "Start the server" in found["server"][0]["advice"]
    pair.guest.stop()
    code, found = findings()
    assert code == 1 and "bindshare-guestd" in found["guestd"][0]["advice"] and "server" not in found, found
    pair.guest.config.update(runtime="/nowhere/runc")
    pair.guest.write_config()
    assert "/nowhere/runc cannot be run" in findings()[1]["runtime"][0]["text"]
    pair.guest.config.update(more=1)
    pair.guest.write_config()
    code, found = findings()
    assert code == 1 and "more" in found["config"][0]["text"] and "guestd" not in found, found


@case
def bad_requests_are_answered_with_a_code():
    pair = Pair("one")
    for line, code in ((b"nonsense\n", "bad-request"), (b"[]\n", "bad-request"), (b'{"version":1}\n', "bad-request"),
                       (b'{"request":"status"}\n', "bad-version"),
                       (b'{"version":2,"request":"status"}\n', "bad-version"),
                       (b'{"version":1,"request":"reboot"}\n', "unknown-request"),
                       (b'{"version":1,"request":"status","request":"binds"}\n', "bad-request"),
                       (b'{"version":1,"request":"binds"}\n', "bad-request"),
                       (b'{"version":1,"request":"binds","sources":"/a"}\n', "bad-request"),
                       (b'{"version":1,"request":"binds","sources":[1]}\n', "bad-request"),
                       (b'{"version":1,"request":"binds","sources":["/a\\u0000b"]}\n', "bad-request"),
                       (b'{"version":1,"request":"binds","sources":[],"waitMs":-1}\n', "bad-request"),
                       (b"x" * 300000, "too-long")):
        answer = pair.guest.ask_line(line)
        assert answer["ok"] is False and answer["code"] == code, (line[:60], answer)
        assert answer["text"], answer
    done = subprocess.run(["python3", "-c", "import socket, sys; socket.socket(1).connect(sys.argv[1])",
                           f"{pair.guest.run}/guestd.sock"], user=world.UID, check=False, capture_output=True,
                          text=True)
    assert "Permission denied" in done.stderr, done.stderr
    assert pair.guest.answers()["ok"]
    pair.end()


@case
def mistakes_in_the_configuration_are_named():
    server = Server([world.case_directory("host")], token=TOKEN)
    guest = Guest(server.address, token=TOKEN)
    for config, code, words in (
            ({"address": "nowhere"}, 78, '"address" must be'), ({"adress": "x"}, 78, 'unknown key "adress"'),
            ({"tokenFile": "/none"}, 66, "/none"), ({"runDirectory": "/proc/x"}, 73, "/proc/x")):
        before = dict(guest.config)
        guest.config.update(config)
        guest.write_config()
        done = guest.try_run()
        assert done.returncode == code and words in done.stderr, (config, done.returncode, done.stderr)
        guest.config = before
    guest.write_config()
    os.chmod(guest.config["tokenFile"], 0o644)
    done = guest.try_run()
    assert done.returncode == 77 and "chmod" in done.stderr, done.stderr
    os.chmod(guest.config["tokenFile"], 0o600)
    os.chmod(guest.config_file, 0o666)
    done = guest.try_run()
    assert done.returncode == 77 and "chmod go-w" in done.stderr, done.stderr
    os.chmod(guest.config_file, 0o644)
    done = guest.try_run("--config", "/none")
    assert done.returncode == 66 and "/none" in done.stderr, done.stderr
    done = guest.try_run("--bogus")
    assert done.returncode == 64, done
    done = guest.try_run("more")
    assert done.returncode == 64 and "more" in done.stderr, done
    done = guest.try_run("--status")
    assert done.returncode == 69 and "is not running" in done.stderr, done
    done = world.as_user([program("bindshare-guestd"), "--config", guest.config_file])
    assert done.returncode == 77 and "only root" in done.stderr, done
    done = guest.do("unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /dev && exec \"$@\"", "sh",
                    program("bindshare-guestd"), "--config", guest.config_file, check=False)
    assert done.returncode == 69 and "modprobe fuse" in done.stderr, done
    guest.start()
    done = guest.try_run()
    assert done.returncode == 69 and "another bindshare-guestd" in done.stderr, done
    done = guest.try_run("--status")
    assert done.returncode == 0 and "mounted" in done.stdout, done.stdout
    guest.stop()
    server.stop()


@case
def sighup_ends_nobody():
    pair = Pair("share")
    os.kill(pair.guest.process.pid, signal.SIGHUP)
    wait_for(lambda: "read at the start only" in pair.guest.log_text(), "it says what it does not do")
    assert pair.guest.answers()["ok"]
    pair.end()


@case
def a_wrong_token_is_said_to_be_wrong():
    base = world.case_directory("host")
    server = Server([base], token=TOKEN)
    guest = Guest(server.address, [base], token="ab" * 32)
    guest.start(wait=False)
    wait_for(lambda: guest.ask("status")["server"]["state"] == "refused", "it is refused")
    assert "token" in guest.ask("status")["server"]["error"], guest.ask("status")
    assert not guest.mounts()
    guest.stop()
    server.stop()


run(200)
