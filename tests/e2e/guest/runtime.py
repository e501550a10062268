#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindshare-runtime before runc and crun: what containers get of shares, whose it is, what they do not get."""
import json
import os
import signal
import subprocess
import threading

from lib import Pair, case, program, run, skip, wait_for, world
from lib.container import BUSYBOX, RUNTIMES, Container, bind, missing


def _pair(*names, **config):
    reason = missing(BUSYBOX, "runc")
    if reason:
        skip(reason)
    return Pair(*names, **config)


def _runtimes():
    return [name for name in RUNTIMES if not missing(name)]


@case
def a_container_sees_the_hosts_files():
    pair = _pair("share", "share/deep", "ro:ro")
    pair.fill("share/file", b"from the host\n")
    pair.fill("share/deep/file", b"deep\n")
    pair.fill("ro/file", b"read-only\n")
    for runtime in _runtimes():
        box = Container(pair.guest, runtime, [bind(pair.host("share"), "/src"), bind(pair.host("ro"), "/ro"),
                                              bind(pair.host("share"), "/once", "bind", "ro")],
                        script="cat /src/file /src/deep/file /ro/file; echo back >/src/back; touch /ro/x; "
                               "touch /once/x; ls /once/deep | wc -l; stat -c %u:%g /src/file")
        assert box.run().split("\n") == ["from the host", "deep", "read-only", "1", "0:0", ""], runtime
        with open(pair.host("share/back"), encoding="utf-8") as file:
            assert file.read() == "back\n"
        assert os.stat(pair.host("share/back")).st_uid == world.UID
        assert not os.path.exists(pair.host("share/x")) and not os.path.exists(pair.host("ro/x"))
        assert not box.clones(), "everything is undone at the end"
        assert box.written() == json.dumps(box.config), "the bundle is as it was"
        os.unlink(pair.host("share/back"))
    pair.end()


@case
def a_user_who_is_not_root_owns_the_files():
    pair = _pair("share")
    pair.fill("share/file", b"content")
    for runtime in _runtimes():
        box = Container(pair.guest, runtime, [bind(pair.host("share"), "/src")], user=(1000, 1000),
                        script="id -u; stat -c %u:%g /src/file /src; echo new >/src/new && stat -c %u:%g /src/new; "
                               "chmod 600 /src/file && mkdir /src/dir && mv /src/new /src/dir/ && echo moved")
        assert box.run().split() == ["1000", "1000:1000", "1000:1000", "1000:1000", "moved"], runtime
        assert os.stat(pair.host("share/dir/new")).st_uid == world.UID
        assert os.listxattr(pair.host("share/dir/new")) == [], "no record is needed"
        # Beside it, root's view of the same superblock.
        assert os.stat(pair.mounted("share/dir/new")).st_uid == 0
        root = Container(pair.guest, runtime, [bind(pair.host("share"), "/src")], script="stat -c %u /src/dir/new")
        assert root.run() == "0\n"
        os.unlink(pair.host("share/dir/new"))
        os.rmdir(pair.host("share/dir"))
    pair.end()


@case
def a_container_that_starts_as_root_and_drops_its_rights_works():
    pair = _pair("share")
    for runtime in _runtimes():
        box = Container(pair.guest, runtime, [bind(pair.host("share"), "/data")],
                        script="mkdir /data/db && chown 1000:1000 /data/db && sleep 600").start()
        wait_for(lambda box=box: box.execute("stat -c %u /data/db") == "1000\n", "it has started")
        assert box.execute("echo x >/data/db/file && stat -c %u:%g /data/db/file", "1000:1000") == "1000:1000\n"
        assert "exit" in box.execute("echo x >/data/db/file", "2000:2000"), "others may not"
        assert os.stat(pair.host("share/db/file")).st_uid == world.UID
        box.delete()
        subprocess.run(["rm", "-r", pair.host("share/db")], check=True)
    pair.end()


@case
def a_containers_user_namespace_is_mapped():
    pair = _pair("share")
    pair.fill("share/file", b"content")
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    for user, owner in (((0, 0), "0:0"), ((1000, 1000), "1000:1000")):
        box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], user=user, uidMappings=maps,
                        gidMappings=maps,
                        script=f"stat -c %u:%g /src/file; echo x >/src/{user[0]} && stat -c %u:%g /src/{user[0]}")
        os.chmod(os.path.dirname(box.bundle), 0o711)
        for path, directories, files in os.walk(box.bundle):
            for name in directories + files:
                os.lchown(os.path.join(path, name), 100000, 100000)
        assert box.run().split() == [owner, owner], user
        assert os.stat(pair.host(f"share/{user[0]}")).st_uid == world.UID
    pair.end()


@case
def a_bound_file_follows_its_name():
    pair = _pair("share")
    pair.fill("share/config", b"one")
    for runtime in _runtimes():
        box = Container(pair.guest, runtime, [bind(pair.host("share/config"), "/etc/config")],
                        script="sleep 600").start()
        for content in ("two", "three, longer", "4"):
            pair.fill("share/config.new", content)
            os.rename(pair.host("share/config.new"), pair.host("share/config"))
            got = box.execute("cat /etc/config")
            assert got == content, (runtime, got, content)
        assert box.clones(), "it is bound by a clone"
        box.delete()
        assert not box.clones()
    pair.end()


@case
def what_is_not_shared_is_refused():
    pair = _pair("share")
    pair.make("other")
    os.symlink(pair.host("other"), pair.host("share/out"))
    os.symlink(pair.host("share"), pair.host("into"))
    for path, words in ((pair.host("other"), f"The path {pair.host('other')} is not shared from the host and is not"),
                        ("/etc", "The path /etc is not shared from the host and is not known to"),
                        (pair.host("share/none"), "does not exist on the host"),
                        (pair.host("share/out"), "leads by a symbolic link to"),
                        ("/tmp/ssh-x/agent.7", "SSH agent is not supported yet")):
        for runtime in _runtimes():
            box = Container(pair.guest, runtime, [bind(pair.host("share"), "/src"), bind(path, "/x")])
            message = box.refused()
            assert message.startswith("Mounts denied: ") and words in message, message
            assert not box.clones()
    # All forms that are binds to a runtime.
    for mount in ({"source": "/etc", "destination": "/x", "options": ["bind"]},
                  {"type": "none", "source": "/etc", "destination": "/x", "options": ["rbind", "ro"]},
                  {"type": "bind", "source": "/etc/../etc", "destination": "/x"}):
        assert "is not shared from the host" in Container(pair.guest, "runc", [mount]).refused()
    box = Container(pair.guest, "runc", [bind(pair.host("into"), "/src")], script="ls -d /src")
    assert box.run() == "/src\n", "a link of the host that leads into a share"
    pair.end()


@case
def binds_of_the_guests_own_paths_are_left_alone():
    pair = _pair("share")
    own = os.path.join(world.case_directory("own"), "data")
    os.mkdir(own)
    pair.guest.config["guestPaths"] = [own, "/run"]
    pair.guest.stop()
    pair.guest.write_config()
    pair.guest.start()
    box = Container(pair.guest, "runc", [bind(own, "/data")], script="echo x >/data/file; stat -c %u /data/file")
    assert box.run() == "0\n" and os.listdir(own) == ["file"]
    pair.guest.stop()
    assert Container(pair.guest, "runc", [bind(own, "/data")], script="echo without guestd").run() == "without guestd\n"
    message = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")]).refused()
    assert "bindshare-guestd is not running" in message and message.startswith("Mounts denied: "), message
    pair.guest.start()
    pair.end()


@case
def a_share_that_comes_late_is_waited_for():
    pair = _pair("share")
    pair.fill("share/file", b"content")
    pair.server.stop_hard()
    wait_for(lambda: pair.guest.ask("status")["server"]["state"] == "connecting", "the loss is seen")
    thread = threading.Timer(1.0, pair.server.start)
    thread.start()
    box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="cat /src/file")
    assert box.run() == "content"
    thread.join()
    pair.end()


@case
def names_of_every_kind_can_be_bound():
    names = ["with space", "with,comma", "with:colon", "with\"quote", "with\\backslash", "ünïcode", "tab\there"]
    pair = _pair("share", *names[:3])
    for name in names:
        pair.make(f"share/{name}")
        pair.fill(f"share/{name}/file", b"content")
        box = Container(pair.guest, "runc", [bind(pair.host(f"share/{name}"), "/src")], script="cat /src/file")
        assert box.run() == "content", name
    pair.end()


@case
def a_link_that_is_swapped_in_later_is_not_followed():
    """The decision is about what lay there: what lies there afterwards is bound as itself, or not at all."""
    pair = _pair("share")
    pair.make("share/dir")
    outcomes = set()
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(pair.host("share/dir"), pair.host("share/kept"))
            os.symlink("/etc", pair.host("share/dir"))
            os.unlink(pair.host("share/dir"))
            os.rename(pair.host("share/kept"), pair.host("share/dir"))
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(15):
            box = Container(pair.guest, "runc", [bind(pair.host("share/dir"), "/src")], script="ls -a /src")
            done = box.do("run", "--bundle", box.bundle, box.id)
            assert "passwd" not in done.stdout, done.stdout
            outcomes.add(done.returncode)
    finally:
        stop.set()
        thread.join()
    print(f"# exit codes: {outcomes}")
    pair.end()


@case
def what_a_killed_runtime_left_is_undone():
    pair = _pair("share")
    box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="sleep 600").start()
    assert box.clones() == ["0", "record.json"], box.clones()
    assert '"hard":18446744073709551615' in box.written(), "what is not ours stays as it was"
    # The runtime behind is gone with its state: delete fails, the clones go all the same.
    box.do("kill", box.id, "KILL")
    wait_for(lambda: '"stopped"' in box.do("state", box.id).stdout, "it ends")
    subprocess.run(["rm", "-rf", box.state], check=True)
    box.do("delete", box.id)
    assert not box.clones()
    # Nobody ever deletes it: its bundle goes, and the next guestd sees to it.
    other = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="sleep 600").start()
    kept = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="sleep 600").start()
    other.do("kill", other.id, "KILL")
    wait_for(lambda: '"stopped"' in other.do("state", other.id).stdout, "it ends")
    subprocess.run(["rm", "-rf", other.bundle], check=True)
    pair.guest.stop()
    pair.guest.start()
    wait_for(lambda: not other.clones(), "what is left over is undone")
    assert kept.clones() and kept.execute("ls -d /src") == "/src\n"
    kept.delete()
    pair.end()


@case
def a_containers_name_can_be_used_again():
    pair = _pair("share")
    pair.fill("share/file", b"content")
    for _ in range(3):
        box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="cat /src/file")
        box.id = "again"
        assert box.run() == "content"
        # The bundle is as it was: it can be used again, too.
        assert box.written() == json.dumps(box.config)
        assert box.run() == "content"
        assert sorted(os.listdir(box.bundle)) == ["config.json", "rootfs"]
    pair.end()


@case
def twenty_containers_start_at_once():
    pair = _pair("share")
    pair.fill("share/file", b"content")
    boxes = [Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], user=(1000, 1000),
                       script=f"cat /src/file; echo {number} >/src/out{number}") for number in range(20)]
    boxes[0].do("list")
    outputs = [None] * len(boxes)

    def go(number):
        outputs[number] = boxes[number].do("run", "--bundle", boxes[number].bundle, boxes[number].id)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(len(boxes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(done.returncode, done.stdout) for done in outputs} == {(0, "content")}, outputs
    assert sorted(os.listdir(pair.host("share"))) == sorted(["file"] + [f"out{number}" for number in range(20)])
    assert len(pair.guest.daemons()) == 1 and len(pair.guest.mounts()) == 2, "one superblock"
    pair.end()


@case
def propagation_works_as_asked():
    pair = _pair("share", "share/late")
    pair.share("rm", pair.host("share/late"))
    wait_for(lambda: len(pair.guest.mounts()) == 2, "one share is left")
    pair.fill("share/late/file", b"late")
    boxes = [Container(pair.guest, "runc", [bind(pair.host("share"), "/src", "rbind", flag)],
                       script="sleep 600").start() for flag in ("rslave", "rprivate")]
    pair.share("add", pair.host("share/late"))
    wait_for(lambda: pair.guest.shares().get(pair.host("share/late")) == "mounted", "it is mounted again")
    seen = [box.execute("grep -c fuse.bindshare /proc/self/mountinfo").strip() for box in boxes]
    assert seen == ["2", "1"], seen
    for box in boxes:
        box.delete()
    pair.end()


@case
def mistakes_in_bundle_and_configuration_are_named():
    pair = _pair("share")
    box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")])
    for text, words in (("{", "config.json, line 1"), ("[]", "is not a container's configuration"),
                        ('{"mounts": {}}', "is not a container's configuration"),
                        ('{"mounts": [{"type": "bind", "destination": "/x"}]}', "a bind without a source"),
                        ('{"mounts": [{"type": "bind", "source": "", "destination": "/x"}]}', "without a source"),
                        ('{"mounts": [{"type": "bind", "source": "/a\\u0000b", "destination": "/x"}]}',
                         "without a source"),
                        ('{"mounts": [], "mounts": []}', "duplicate")):
        world.write_file(os.path.join(box.bundle, "config.json"), text, owner=(0, 0))
        assert words in box.refused(), text
    os.unlink(os.path.join(box.bundle, "config.json"))
    assert "cannot read" in box.refused()
    box.write()
    pair.guest.config["runtime"] = "/usr/bin/no-such-runtime"
    pair.guest.write_config()
    box.runtime = "/usr/bin/no-such-runtime"
    message = box.refused()
    assert "/usr/bin/no-such-runtime cannot be run" in message, message
    pair.guest.config["runtime"] = None
    pair.guest.write_config()
    done = pair.guest.do(*box.command("run", box.id), check=False)
    assert done.returncode == 1 and '"runtime" must be' in done.stderr, done.stderr
    del pair.guest.config["runtime"]
    pair.guest.write_config()
    done = pair.guest.do("env", "PATH=/none", *box.command("run", "-b", box.bundle, box.id), check=False)
    assert done.returncode == 1 and "neither runc nor crun" in done.stderr, done.stderr
    done = pair.guest.do(program("bindshare-runtime"), "--bindshare-config", check=False)
    assert done.returncode == 1 and "wants a file" in done.stderr, done.stderr
    done = pair.guest.do(program("bindshare-runtime"), "--bindshare-config", "/none", "run", "x", check=False)
    assert done.returncode == 1 and "/none" in done.stderr, done.stderr
    pair.end()


def _rootless(pair, runtime, user=1000):
    """A container of a user's own engine: in a user namespace in which the guest's root is nobody."""
    box = Container(pair.guest, runtime, [bind(pair.host("share"), "/src", "rbind", "rprivate")],
                    script="cat /src/file; echo new >/src/new; stat -c %u /src/file /src/new",
                    uidMappings=[{"containerID": 0, "hostID": 0, "size": 1}],
                    gidMappings=[{"containerID": 0, "hostID": 0, "size": 1}])
    box.config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}
    box.config["process"].pop("rlimits")
    box.write()
    box.configure()
    place = os.path.dirname(box.bundle)
    subprocess.run(["chown", "-R", f"{user}:{user}", place], check=True)
    return pair.guest.do("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", f"HOME={place}",
                         f"XDG_RUNTIME_DIR={place}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
                         "unshare", "--user", "--map-root-user", "--mount",
                         *box.command("run", "--bundle", box.bundle, box.id), check=False)


@case
def an_engine_of_a_user_binds_what_the_guest_has():
    pair = _pair("share")
    pair.fill("share/file", b"content\n")
    done = _rootless(pair, "runc")
    assert "belongs to the guest's root, and to nobody (65534)" in done.stderr, done
    assert "mountOptions" in done.stderr and "belongs to user 65534" not in done.stderr, done
    assert done.stdout.split() == ["content", "65534"], done
    assert not os.path.exists(pair.host("share/new"))
    pair.guest.stop()
    assert pair.guest.try_run("--unmount").returncode == 0
    pair.guest.config["mountOptions"] = "uid=1000,gid=1000"
    pair.guest.write_config()
    pair.guest.start()
    done = _rootless(pair, "runc")
    assert done.stdout.split() == ["content", "0", "0"] and "nobody" not in done.stderr, done
    assert os.stat(pair.host("share/new")).st_uid == world.UID
    # A container of the guest's root, whose user is that one.
    box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], user=(1000, 1000),
                    script="stat -c %u:%g /src/file; rm /src/new")
    assert box.run() == "1000:1000\n"
    pair.end()


@case
def other_commands_go_straight_through():
    pair = _pair("share")
    box = Container(pair.guest, "runc", [bind(pair.host("share"), "/src")], script="sleep 600").start()
    state = json.loads(box.do("state", box.id).stdout)
    assert state["status"] == "running" and state["id"] == box.id, state
    assert box.do("kill", box.id, str(int(signal.SIGKILL))).returncode == 0
    wait_for(lambda: '"stopped"' in box.do("state", box.id).stdout, "it ends")
    assert box.id in box.do("list").stdout
    assert box.do("nonsense").returncode != 0
    done = pair.guest.do(program("bindshare-runtime"), "--bindshare-config", pair.guest.config_file, "--version")
    assert "bindshare-runtime" in done.stdout and "runc version" in done.stdout, done.stdout
    box.delete()
    pair.end()


run(300)
