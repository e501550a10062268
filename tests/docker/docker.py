#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docker run -v just works: a real dockerd in a namespace that sees the host's directories only through the mounts."""
import json
import os
import threading
import time

from lib import case, run, wait_for, world
from lib.docker import PLUGIN, docker_pair


def _end(pair):
    for name in pair.engine.run("ps", "-aq").split():
        pair.engine.run("rm", "-f", name)
    pair.engine.stop()
    pair.end()
    assert not os.path.exists(os.path.join(pair.guest.run, "binds")) or not os.listdir(
        pair.guest.path(os.path.join(pair.guest.run, "binds"))), "every clone is undone"


def _is_refused(pair, words, *arguments):
    before = set(os.listdir(pair.guest.path("/")))
    done = pair.engine.try_run("run", "--rm", *arguments, "box", "true")
    assert done.returncode != 0 and words in done.stderr, (arguments, done.returncode, done.stdout, done.stderr)
    assert set(os.listdir(pair.guest.path("/"))) == before, "dockerd makes nothing of it"
    return done.stderr


@case
def docker_run_just_works():
    pair = docker_pair("proj", "proj/deep", "ro:ro")
    box = pair.engine.run
    proj = pair.host("proj")
    pair.fill("proj/file", b"from the host\n")
    pair.fill("proj/deep/file", b"deep\n")
    text = box("run", "--rm", "-v", f"{proj}:/src", "box", "cat", "/src/file", "/src/deep/file")
    assert text == "from the host\ndeep\n", text
    box("run", "--rm", "-v", f"{proj}:/src", "box", "sh", "-c", "echo back >/src/back")
    with open(pair.host("proj/back"), encoding="utf-8") as file:
        assert file.read() == "back\n"
    assert os.stat(pair.host("proj/back")).st_uid == world.UID
    for options in ("cached", "delegated", "consistent", "z", "Z", "rw", "rslave", "rprivate", "ro", "cached,ro"):
        text = box("run", "--rm", "-v", f"{proj}:/src:{options}", "box", "cat", "/src/file")
        assert text == "from the host\n", options
    assert box("run", "--rm", "--mount", f"type=bind,source={proj},target=/src", "box", "cat", "/src/file")
    for options in (("-v", f"{proj}:/src:ro"), ("--mount", f"type=bind,source={proj},target=/src,readonly"),
                    ("-v", f"{pair.host('ro')}:/src")):
        done = pair.engine.try_run("run", "--rm", *options, "box", "touch", "/src/new")
        assert done.returncode == 1 and "Read-only file system" in done.stderr, (options, done.stderr)
    assert not os.path.exists(pair.host("proj/new"))
    # A directory that is not there: -v makes it, as the user's; --mount does not.
    box("run", "--rm", "-v", f"{proj}/made:/src", "box", "touch", "/src/x")
    assert os.listdir(pair.host("proj/made")) == ["x"] and os.stat(pair.host("proj/made")).st_uid == world.UID
    _is_refused(pair, "does not exist on the host", "--mount", f"type=bind,source={proj}/none,target=/src")
    assert not os.path.exists(pair.host("proj/none"))
    # Volumes of the engine are none of bindshare's business.
    box("volume", "create", "data")
    box("run", "--rm", "-v", "data:/data", "-v", f"{proj}:/src", "box", "sh", "-c",
        "cp /src/file /data/ && cat /data/file")
    _end(pair)


@case
def a_path_that_is_not_shared_is_refused_in_each_form():
    pair = docker_pair("proj")
    other = pair.make("other")
    os.symlink(other, pair.host("proj/out"))
    words = f"Mounts denied: The path {other} is not shared from the host and is not known to"
    for arguments in (("-v", f"{other}:/x"), ("-v", f"{other}:/x:ro"), ("--mount", f"type=bind,src={other},dst=/x"),
                      ("--volume", f"{other}/../other:/x"),
                      ("-v", f"{pair.host('proj')}:/ok", "-v", f"{other}:/x")):
        message = _is_refused(pair, words, *arguments)
        assert f"bindsharectl share add {other}" in message, message
    for path in ("/etc", "/nonexistent/dir", "/"):
        _is_refused(pair, f"Mounts denied: The path {path} is not shared", "-v", f"{path}:/x")
    _is_refused(pair, "leads by a symbolic link to", "-v", f"{pair.host('proj/out')}:/x")
    for path in ("/tmp/ssh-abc/agent.1", "/run/host-services/ssh-auth.sock"):
        _is_refused(pair, "SSH agent is not supported yet", "-v", f"{path}:/agent")
        assert not os.path.exists(pair.guest.path(path))
    assert not os.path.exists(pair.guest.path(other)), "no empty directory is made"
    done = pair.engine.try_run("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", f"device={other}",
                               "v")
    assert done.returncode != 0 and words in done.stderr, done.stderr
    # The same without the plugin: the runtime refuses, too.
    pair.engine.stop()
    pair.engine.config["authorization-plugins"] = []
    pair.engine.start()
    message = _is_refused(pair, words, "-v", f"{pair.base}/../{os.path.basename(pair.base)}/other:/x")
    assert "Mounts denied" in message
    pair.share("add", other)
    wait_for(lambda: pair.guest.shares().get(other) == "mounted", "it is shared")
    pair.fill("other/file", b"content")
    assert pair.engine.run("run", "--rm", "-v", f"{other}:/x", "box", "cat", "/x/file") == "content"
    _end(pair)


@case
def files_belong_to_the_containers_user():
    pair = docker_pair("proj")
    proj = pair.host("proj")
    pair.fill("proj/file", b"content")
    tree = os.path.join(world.case_directory("image"), "tree")
    from lib.container import make_rootfs
    pair.engine.load("userbox", make_rootfs(tree), "USER 1000")
    script = "stat -c %u:%g /src/file && echo x >/src/$0 && stat -c %u:%g /src/$0"
    for number, (arguments, image, owner) in enumerate((
            (("-u", "1000"), "box", "1000:"), (("-u", "1000:1000"), "box", "1000:1000"), ((), "userbox", "1000:"),
            ((), "box", "0:0"), (("-u", "1234:5678"), "box", "1234:5678"))):
        text = pair.engine.run("run", "--rm", *arguments, "-v", f"{proj}:/src", image, "sh", "-c", script,
                               f"new{number}")
        assert all(line.startswith(owner) for line in text.split()) and len(text.split()) == 2, (arguments, text)
        assert os.stat(pair.host(f"proj/new{number}")).st_uid == world.UID
        assert os.listxattr(pair.host(f"proj/new{number}")) == []
    # Starts as root, chowns and drops.
    pair.engine.run("run", "-d", "--name", "db", "-v", f"{proj}:/data", "box", "sh", "-c",
                    "mkdir /data/db && chown 999:999 /data/db && sleep 600")
    wait_for(lambda: pair.engine.run("exec", "db", "stat", "-c", "%u", "/data/db") == "999\n", "it has chowned")
    assert pair.engine.run("exec", "-u", "999:999", "db", "sh", "-c",
                           "echo x >/data/db/f && stat -c %u:%g /data/db/f") == "999:999\n"
    assert os.stat(pair.host("proj/db/f")).st_uid == world.UID
    _end(pair)


@case
def a_file_that_is_saved_anew_on_the_host_is_seen():
    pair = docker_pair("proj")
    pair.fill("proj/app.conf", b"one")
    pair.engine.run("run", "-d", "--name", "app", "-v", f"{pair.host('proj/app.conf')}:/etc/app.conf:ro", "box",
                    "sleep", "600")
    for content in ("two", "three", "4"):
        pair.fill("proj/.app.conf.swp", content)
        os.rename(pair.host("proj/.app.conf.swp"), pair.host("proj/app.conf"))
        assert pair.engine.run("exec", "app", "cat", "/etc/app.conf") == content
    done = pair.engine.try_run("exec", "app", "sh", "-c", "echo x >/etc/app.conf")
    assert done.returncode != 0, "it is bound read-only"
    _end(pair)


@case
def many_containers_share_one_mount():
    pair = docker_pair("proj")
    pair.fill("proj/file", b"content")
    count = 50
    outcomes = [None] * count

    def go(number):
        outcomes[number] = pair.engine.try_run("run", "--rm", "-v", f"{pair.host('proj')}:/src", "box", "sh", "-c",
                                               f"cat /src/file && echo {number} >/src/out{number}", timeout=200)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done.returncode == 0 and done.stdout == "content" for done in outcomes), \
        [done.stderr for done in outcomes if done.returncode]
    assert len(os.listdir(pair.host("proj"))) == count + 1
    assert len(pair.guest.daemons()) == 1, "one superblock"
    _end(pair)


@case
def a_share_that_is_taken_away_is_gone_for_a_running_container():
    pair = docker_pair("proj")
    pair.fill("proj/file", b"content")
    pair.engine.run("run", "-d", "--name", "app", "-v", f"{pair.host('proj')}:/src", "box", "sleep", "600")
    assert pair.engine.run("exec", "app", "cat", "/src/file") == "content"
    pair.share("rm", pair.host("proj"))

    def is_gone():
        done = pair.engine.try_run("exec", "app", "ls", "/src")
        return done.returncode != 0 and ("Permission denied" in done.stderr or "not connected" in done.stderr)
    wait_for(is_gone, "nothing of it can be reached")
    assert pair.engine.try_run("exec", "app", "touch", "/src/new").returncode != 0
    assert os.listdir(pair.host("proj")) == ["file"]
    _is_refused(pair, "is not shared from the host", "-v", f"{pair.host('proj')}:/src")
    # Shared again: the old container's bind stays dead, a new one has it.
    pair.share("add", pair.host("proj"))
    wait_for(lambda: pair.guest.shares().get(pair.host("proj")) == "mounted", "it is mounted again")
    assert pair.engine.try_run("exec", "app", "ls", "/src").returncode != 0
    assert pair.engine.run("run", "--rm", "-v", f"{pair.host('proj')}:/src", "box", "cat", "/src/file") == "content"
    _end(pair)


@case
def restarts_in_each_order():
    pair = docker_pair("proj")
    pair.fill("proj/file", b"content")

    def works():
        text = pair.engine.run("run", "--rm", "-v", f"{pair.host('proj')}:/src", "box", "cat", "/src/file")
        assert text == "content", text

    def restart_server():
        pair.server.stop_hard()
        pair.server.start()

    def restart_agent():
        pair.guest.stop()
        pair.guest.start()

    def restart_engine():
        pair.engine.stop()
        pair.engine.start()
    works()
    restarts = {"server": restart_server, "guestd": restart_agent, "dockerd": restart_engine}
    for names in (("server",), ("guestd",), ("dockerd",), ("server", "guestd"), ("guestd", "dockerd"),
                  ("dockerd", "server", "guestd")):
        for name in names:
            restarts[name]()
        works()
    # guestd's restart leaves running containers as they are.
    pair.engine.run("run", "-d", "--name", "app", "-v", f"{pair.host('proj')}:/src", "box", "sleep", "600")
    restart_agent()
    assert pair.engine.run("exec", "app", "cat", "/src/file") == "content"
    # A container that restarts with the engine: guestd comes first, as its unit says.
    pair.engine.run("run", "-d", "--restart", "always", "--name", "always", "-v", f"{pair.host('proj')}:/src", "box",
                    "sleep", "600")
    pair.engine.stop()
    pair.guest.stop()
    assert pair.guest.try_run("--unmount").returncode == 0
    pair.guest.start()
    pair.engine.start()
    wait_for(lambda: pair.engine.try_run("exec", "always", "cat", "/src/file").stdout == "content", "it has its files",
             30)
    _end(pair)


@case
def the_engine_goes_on_without_guestd():
    pair = docker_pair("proj")
    pair.fill("proj/file", b"content")
    pair.engine.run("run", "-d", "--name", "app", "-v", f"{pair.host('proj')}:/src", "box", "sleep", "600")
    pair.guest.stop()
    listener, plugin = pair.guest.start_plugin(PLUGIN)
    began = time.monotonic()
    for words in (("ps",), ("ps", "-a"), ("images",), ("exec", "app", "cat", "/src/file"),
                  ("run", "--rm", "box", "true")):
        pair.engine.run(*words)
    assert time.monotonic() - began < 30, "each of them alone took as long when nobody listened"
    _is_refused(pair, "bindshare-guestd is not running", "-v", f"{pair.host('proj')}:/src")
    pair.guest.start()
    assert pair.engine.run("run", "--rm", "-v", f"{pair.host('proj')}:/src", "box", "cat", "/src/file") == "content"
    # As systemd does it: the socket stays when the plugin's process ends.
    plugin.terminate()
    assert plugin.wait(20) == 0
    pair.guest.stop()
    listener.close()
    os.unlink(pair.guest.path(PLUGIN))
    pair.guest.start()
    _end(pair)


@case
def names_of_every_kind():
    names = ["with space", "ünïcode", "with'quote", "with\"double"]
    pair = docker_pair("proj", *names)
    for name in names:
        pair.fill(f"{name}/file", b"content")
        text = pair.engine.run("run", "--rm", "-v", f"{pair.host(name)}:/src", "box", "cat", "/src/file")
        assert text == "content", name
    for name in ("with,comma", "with:colon"):
        path = pair.make(f"proj/{name}")
        pair.fill(f"proj/{name}/file", b"content")
        # docker's own command line has no way to write these: its API has.
        body = {"Image": "box", "Cmd": ["cat", "/src/file"],
                "HostConfig": {"Mounts": [{"Type": "bind", "Source": path, "Target": "/src"}]}}
        world.write_file(os.path.join(pair.guest.directory, "body"), json.dumps(body))
        assert _api(pair, body) == "content", name
    _end(pair)


def _api(pair, body):
    """Runs a container by the Engine API alone: what it prints."""
    import http.client
    import socket

    def call(method, path, content=None):
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(pair.engine.socket)
        connection.request(method, path, json.dumps(content) if content is not None else None,
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        assert response.status < 300, (method, path, response.status, data)
        return data
    name = json.loads(call("POST", "/containers/create", body))["Id"]
    call("POST", f"/containers/{name}/start")
    call("POST", f"/containers/{name}/wait")
    return pair.engine.run("logs", name)


run(540)
