#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The broker: shares side by side, lost workers, settings, bindsharectl."""
import errno
import json
import os
import signal
import threading
import time

from lib import Mount, Rig, Server, case, expect_errno, kill, mount_command, read_file, run, wait_for, world, write_file


def _directory(name="share"):
    path = os.path.join(world.case_directory("host"), name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


def _settings(content):
    return write_file(_directory("settings") + "/settings.json", json.dumps(content), 0o600)


@case
def two_shares_are_served_at_once_by_two_workers():
    one, two = _directory("one"), _directory("two")
    server = Server([one, two + ":ro"])
    first, second = Mount(server, one), Mount(server, two)
    write_file(two + "/file", "2")
    write_file(first / "file", "1", owner=(0, 0))
    assert read_file(one + "/file") == b"1"
    assert read_file(second / "file") == b"2"
    expect_errno(errno.EROFS, os.unlink, second / "file")
    assert len(server.workers()) == 2
    first.unmount()
    wait_for(lambda: len(server.workers()) == 1, "the worker ends with its mount")
    assert read_file(second / "file") == b"2"
    second.unmount()
    wait_for(lambda: not server.workers(), "the other worker ends with its mount")
    server.stop()


@case
def a_killed_worker_takes_nobody_with_it():
    one, two = _directory("one"), _directory("two")
    server = Server([one, two])
    first, second = Mount(server, one), Mount(server, two)
    write_file(two + "/file", "2")
    victim = [pid for pid in server.workers() if pid != _worker_of(server, two)]
    assert len(victim) == 1
    stop = threading.Event()
    problems = []

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                write_file(second / f"w{number % 50}", str(number), owner=(0, 0))
            except OSError as error:
                problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    kill(victim[0])
    time.sleep(1)
    stop.set()
    thread.join()
    assert not problems, problems
    assert server.alive()
    expect_errno((errno.ENOTCONN, errno.EIO, errno.ECONNABORTED), os.mkdir, first / "dir")
    first.unmount()
    write_file(Mount(server, one) / "again", "x", owner=(0, 0))


def _worker_of(server, share):
    for mount in json.loads(server.ctl("status", "--json"))["mounts"]:
        if mount["share"] == share:
            return mount["pid"]
    raise AssertionError(f"{share} is not in bindsharectl status")


@case
def the_worker_runs_as_the_user_with_few_descriptors():
    rig = Rig()
    worker = rig.server.worker()
    with open(f"/proc/{worker}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(world.UID)] * 4, status["Uid"]
    assert int(status["CapEff"], 16) == 0, status["CapEff"]
    # Three of standard, the four of the contract, the lanes, four to watch the host; no descriptor of the broker's.
    lanes = rig.mount.stats()["lanes"]
    assert rig.server.descriptors(worker) <= 7 + lanes + 4 + 4, os.listdir(f"/proc/{worker}/fd")


@case
def status_stats_and_shares_are_told():
    rig = Rig()
    rig.fill("file", "x")
    read_file(rig.guest("file"))
    mounts = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    assert len(mounts) == 1 and mounts[0]["share"] == rig.share and mounts[0]["pid"] == rig.server.worker(), mounts
    shares = json.loads(rig.server.ctl("share", "ls", "--json"))["shares"]
    assert [share["path"] for share in shares] == [rig.share], shares
    assert rig.share in rig.server.ctl("share", "ls")
    assert rig.share in rig.server.ctl("status")
    assert "lookup" in rig.server.ctl("stats")
    assert "lookup" in rig.server.ctl("stats", "--json")


@case
def the_control_socket_is_for_the_user_only():
    rig = Rig()
    assert os.stat(rig.server.control).st_mode & 0o077 == 0
    assert os.stat(rig.server.address[len("unix:"):]).st_mode & 0o077 == 0


@case
def settings_name_the_shared_directories():
    for key in ("FilesharingDirectories", "filesharingDirectories"):
        share, other = _directory("share"), _directory("other")
        path = _settings({key: [share], "other": {"a": 1}})
        server = Server([], arguments=["--settings", path])
        write_file(Mount(server, share) / "file", "x", owner=(0, 0))
        done = mount_command(f"{server.address}:{other}", _directory("mnt"))
        assert done.returncode == 41, done


@case
def a_share_that_leaves_the_settings_is_taken_away():
    share, other = _directory("share"), _directory("other")
    settings = _settings({"FilesharingDirectories": [share, other]})
    server = Server([], arguments=["--settings", settings])
    mount, kept = Mount(server, share), Mount(server, other)
    write_file(share + "/file", "x")
    descriptor = os.open(mount / "file", os.O_RDWR)
    write_file(settings, json.dumps({"FilesharingDirectories": [other]}), 0o600)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == 1, "the worker of the share is stopped")
    wait_for(lambda: _errno_of(os.mkdir, mount / "dir") in (errno.EACCES, errno.ENOTCONN), "operations fail", 5)
    assert _errno_of(os.pwrite, descriptor, b"y", 0) in (errno.EACCES, errno.ENOTCONN)
    os.close(descriptor)
    assert read_file(share + "/file") == b"x"
    write_file(kept / "file", "x", owner=(0, 0))
    mount.unmount()
    assert mount_command(f"{server.address}:{share}", mount.where).returncode == 41


@case
def broken_settings_leave_the_last_good_list():
    share = _directory("share")
    settings = _settings({"FilesharingDirectories": [share]})
    server = Server([], arguments=["--settings", settings])
    mount = Mount(server, share)
    write_file(settings, "{", 0o600)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: settings in server.log_text(), "the log tells of the broken settings")
    write_file(mount / "file", "x", owner=(0, 0))
    write_file(Mount(server, share) / "more", "x", owner=(0, 0))


def _errno_of(function, *arguments):
    try:
        function(*arguments)
        return 0
    except OSError as error:
        return error.errno


@case
def fifty_mounts_come_and_go_without_a_trace():
    rig = Rig()
    wait_for(lambda: len(rig.server.workers()) == 1, "one worker")
    before = rig.server.descriptors()
    for _ in range(50):
        mount = Mount(rig.server, rig.share)
        mount.unmount()
    wait_for(lambda: len(rig.server.workers()) == 1, "the workers have ended")
    wait_for(lambda: rig.server.descriptors() <= before, "the broker's descriptors are back where they were")



@case
def a_worker_has_nothing_of_the_servers_environment():
    os.environ["SECRET_OF_THE_USERS"] = "hush"
    world.at_end(lambda: os.environ.pop("SECRET_OF_THE_USERS", None))
    rig = Rig()
    with open(f"/proc/{rig.server.process.pid}/environ", "rb") as file:
        assert b"SECRET_OF_THE_USERS" in file.read()
    with open(f"/proc/{rig.server.worker()}/environ", "rb") as file:
        names = {entry.split(b"=")[0] for entry in file.read().split(b"\0") if entry}
    assert names <= {b"LD_LIBRARY_PATH", b"BINDSHARE_FAULTS", b"ASAN_OPTIONS", b"LSAN_OPTIONS", b"TSAN_OPTIONS",
                     b"UBSAN_OPTIONS", b"LLVM_PROFILE_FILE", b"GCOV_PREFIX", b"GCOV_PREFIX_STRIP"}, names


run()
