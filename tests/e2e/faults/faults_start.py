#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A start that fails half-way, on either side: it says why, and leaves neither mount nor process nor descriptor."""
import os
import subprocess

from lib import Mount, Server, case, is_mounted, mount_command, read_file, run, wait_for, world


def _share():
    share = os.path.join(world.case_directory("host"), "share")
    os.mkdir(share)
    os.chown(share, world.UID, world.GID)
    world.write_file(os.path.join(share, "file"), b"content")
    return share


def _where():
    where = os.path.join(world.case_directory("mount"), "mnt")
    os.mkdir(where)
    return where


def _mounts():
    """Processes of bindshare-mount."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/comm", encoding="utf-8") as file:
                if file.read().strip() == "bindshare-mount":
                    found.append(name)
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _fails(server, share, *, code, words, faults=None):
    """The mount fails so, and nothing of it stays."""
    where = _where()
    done = mount_command(f"{server.address}:{share}", where, faults=faults)
    assert done.returncode == code, f"{faults}: {done.returncode}: {done.stderr}"
    for word in words:
        assert word in done.stderr, f"{faults}: {done.stderr}"
    assert not is_mounted(where), faults
    wait_for(lambda: not _mounts(), f"{faults}: bindshare-mount ends")
    wait_for(lambda: not server.workers(), f"{faults}: the worker ends with the mount")


@case
def rules_that_make_no_sense_are_refused_at_the_start():
    share = _share()
    server = Server([share], wait=False, faults="worker.reed:1:EIO")
    done = server.try_run()
    assert done.returncode == 64, done.returncode
    assert 'BINDSHARE_FAULTS: there is no point "worker.reed"; protocol/faults.def has them all' in done.stderr
    server = Server([share])
    _fails(server, share, code=1, words=['BINDSHARE_FAULTS: "x" is no rule'], faults="x")
    server.stop()


@case
def a_client_that_cannot_start_leaves_nothing():
    share = _share()
    server = Server([share])
    descriptors = server.descriptors()
    no_session = "the session with the kernel does not start"
    no_lanes = "the lanes to the server do not start"
    for rule, code, words in (
            ("channel.options:1:EIO", 2, ["cannot be set up: Input/output error"]),
            ("channel.buffer:1:ENOMEM", 2, ["cannot be set up: Cannot allocate memory"]),
            ("channel.send:1:EIO", 40, ["cannot reach the file server", "Input/output error"]),
            ("channel.receive:1:EIO", 40, ["cannot reach the file server", "Input/output error"]),
            ("channel.send:2:EIO", 40, ["cannot reach the file server"]),
            ("mount.objects:1:ENOMEM", 2, ["out of memory"]), ("mount.object:1:ENOMEM", 2, ["out of memory"]),
            ("mount.device:1:ENOENT", 2, ["/dev/fuse cannot be opened: load the kernel's module fuse"]),
            ("mount.context:1:ENODEV", 2, ["fsopen", "No such device"]),
            ("mount.option:1:EINVAL", 32, ["setting the mount's options", "Invalid argument"]),
            ("mount.option:9:EINVAL", 32, ["making the file system", "Invalid argument"]),
            ("mount.make:1:EPERM", 2, ["making the mount", "Operation not permitted"]),
            ("mount.place:1:EACCES", 32, ["mounting at", "Permission denied"]),
            ("mount.identify:1:EIO", 32, ["cannot be told from others: Input/output error"]),
            ("mount.session:1:ENOMEM", 2, [no_session]), ("mount.thread:1:EAGAIN", 2, [no_session]),
            ("mount.thread:2:EAGAIN", 2, [no_session]),
            ("mount.fuse-open:1:EMFILE", 32, [no_lanes, "Too many open files"]),
            ("mount.fuse-clone:2:EIO", 32, [no_lanes, "Input/output error"]),
            ("mount.lane:1:ENOMEM", 32, [no_lanes]), ("mount.lane:2:ENOMEM", 32, [no_lanes]),
            ("mount.lane-buffer:1:ENOMEM", 32, [no_lanes]), ("mount.thread:3:EAGAIN", 32, [no_lanes]),
            ("mount.thread:4:EAGAIN", 32, [no_lanes]), ("channel.options:3:EIO", 32, [no_lanes]),
            ("channel.buffer:2:ENOMEM", 32, [no_lanes]), ("channel.send:4:EIO", 32, [no_lanes]),
            ("mount.fuse-read:1+:EIO", 32, ["reading from /dev/fuse", "the kernel does not take the file system"]),
            ("mount.keeper:1:ENOMEM", 2, ["the mount does not start"]),
            ("mount.wake:1:EMFILE", 2, ["out of memory"]), ("mount.fork:1:EAGAIN", 2, ["cannot go to the background"]),
            ("mount.pipe:1:EMFILE", 2, ["cannot go to the background"])):
        _fails(server, share, code=code, words=words, faults=rule)
    wait_for(lambda: server.descriptors() <= descriptors, "the server has as many descriptors as before")
    mount = Mount(server, share)
    assert read_file(mount / "file") == b"content"
    mount.unmount()
    server.stop()


@case
def a_client_that_nobody_watches_serves():
    share, where = _share(), _where()
    server = Server([share])
    world.at_end(lambda: subprocess.run(["umount", "-l", where], check=False))
    done = mount_command(f"{server.address}:{share}", where, faults="mount.watchdog:1:EAGAIN")
    assert done.returncode == 0 and "may hang if this process is killed: Resource temporarily" in done.stderr, done
    assert read_file(f"{where}/file") == b"content"
    subprocess.run(["umount", where], check=True)
    server.stop()


@case
def a_worker_that_cannot_start_is_a_reason_in_words():
    share = _share()
    for rule, words in (
            ("worker.broker:1:EIO", "no configuration from the file server: Input/output error"),
            ("worker.counters:1:ENOMEM", "cannot map the counters: Cannot allocate memory"),
            ("worker.session:1:ENOMEM", "cannot serve the share: Cannot allocate memory"),
            ("worker.end:1:EMFILE", "cannot serve the share: Too many open files"),
            ("worker.nodes:1:ENOMEM", "cannot serve the share: Cannot allocate memory"),
            ("worker.node:1:ENOMEM", "cannot serve the share: Cannot allocate memory"),
            ("worker.slots:1:ENOMEM", "cannot serve the share: Cannot allocate memory"),
            ("worker.stat:1:EIO", "cannot serve the share: Input/output error"),
            ("channel.options:1:EIO", "cannot serve the share: Input/output error"),
            ("channel.buffer:1:ENOMEM", "cannot serve the share: Cannot allocate memory"),
            ("worker.stat:2:EIO", "cannot welcome the guest: Input/output error"),
            ("channel.send:1:EIO", "cannot welcome the guest: Input/output error"),
            ("worker.thread:1:EAGAIN", "cannot welcome the guest: Resource temporarily unavailable")):
        server = Server([share], faults=rule)
        descriptors = server.descriptors()
        where = _where()
        done = mount_command(f"{server.address}:{share}", where)
        assert done.returncode != 0 and done.stderr, f"{rule}: {done.returncode}: {done.stderr}"
        assert not is_mounted(where)
        wait_for(lambda server=server: not server.workers(), f"{rule}: the worker ends")
        assert words in server.log_text(), f"{rule}: {server.log_text()}"
        wait_for(lambda server=server, most=descriptors: server.descriptors() <= most,
                 f"{rule}: the server has as many descriptors as before")
        server.stop()


@case
def lanes_that_the_server_cannot_have_at_the_start_are_told():
    share = _share()
    for rule in ("worker.lane:1:ENOMEM", "worker.lane:2:ENOMEM", "worker.reply:1:ENOMEM", "worker.thread:2:EAGAIN",
                 "channel.options:2:EIO", "channel.buffer:2:ENOMEM"):
        server = Server([share], faults=rule)
        _fails(server, share, code=32, words=["the lanes to the server do not start"])
        server.stop()


run(140)
