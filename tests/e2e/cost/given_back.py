#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What nobody in the guest uses is released on the host: descriptors, space, disks, and nodes beyond the limit.
"""
import errno
import json
import os
import subprocess
import time

from lib import UID, GID, Rig, case, expect_errno, fill_directory, process, read_file, run, skip, wait_for, world

# The promise is five seconds; the rest is for a busy machine.
SOON = 8


def _gauges(rig):
    mount, = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    return mount


def _resident(pid):
    """Bytes of a process's own memory."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        for line in file:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) * 1024
    return 0


@case
def space_of_files_that_the_host_deletes_comes_back():
    rig = Rig()
    for number in range(4):
        rig.fill(f"large{number}", b"x" * (16 << 20))
        assert len(read_file(rig.guest(f"large{number}"))) == 16 << 20
    held = open(rig.guest("large0"), "rb")

    def deleted():
        """Files of the share that a process of the server has open and that have no name any more."""
        links = process.open_files(rig.server.worker()).values()
        return sum("large" in link and link.endswith("(deleted)") for link in links)

    for number in range(4):
        os.unlink(rig.host(f"large{number}"))
    wait_for(lambda: deleted() == 1, "only what is open in the guest stays", SOON)
    time.sleep(3)
    assert deleted() == 1 and held.read(1) == b"x"
    held.close()
    wait_for(lambda: deleted() == 0, "nothing stays", SOON)
    rig.end()


@case
def descriptors_come_back_after_the_host_removes_a_tree():
    rig = Rig()
    os.mkdir(rig.host("tree"))
    for number in range(300):
        os.mkdir(rig.host(f"tree/d{number}"))
        rig.fill(f"tree/d{number}/file", "x")
    os.chown(rig.host("tree"), UID, GID)
    for number in range(300):
        assert read_file(rig.guest(f"tree/d{number}/file")) == b"x"
    assert _gauges(rig)["descriptors"] >= 300
    subprocess.run(["rm", "-r", rig.host("tree")], check=True)
    wait_for(lambda: _gauges(rig)["descriptors"] <= 1, "the descriptors are given back", SOON)
    expect_errno(errno.ENOENT, os.stat, rig.guest("tree"))
    rig.end()


@case
def a_disk_in_the_share_can_be_unmounted_on_the_host():
    rig = Rig()
    os.mkdir(rig.host("disk"))
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", rig.host("disk")], check=False).returncode:
        skip("no tmpfs can be mounted here")
    try:
        os.mkdir(rig.host("disk/sub"))
        rig.fill("disk/sub/file", "x")
        assert os.listdir(rig.guest("disk")) == ["sub"]
        assert read_file(rig.guest("disk/sub/file")) == b"x"
        with open(rig.guest("disk/sub/file"), "rb") as file:
            time.sleep(3.5)
            assert subprocess.run(["umount", rig.host("disk")], check=False, capture_output=True).returncode
            assert file.read() == b"x"

        def unmounted():
            return subprocess.run(["umount", rig.host("disk")], check=False, capture_output=True).returncode == 0
        wait_for(unmounted, "the disk is unmounted", SOON)

        def is_beneath():
            try:
                return os.listdir(rig.guest("disk")) == []
            except OSError as error:  # the directory was opened just before
                assert error.errno == errno.ESTALE, error
                return False
        wait_for(is_beneath, "the guest sees what is beneath it", SOON)
    finally:
        subprocess.run(["umount", "-q", "-l", rig.host("disk")], check=False)
    rig.end()


@case
def a_working_directory_outlives_its_descriptor_on_the_server():
    rig = Rig()
    os.mkdir(rig.host("work"))
    rig.fill("work/file", "x")
    os.chown(rig.host("work"), UID, GID)
    here = os.getcwd()
    os.chdir(rig.guest("work"))
    try:
        wait_for(lambda: _gauges(rig)["descriptors"] == 0, "nothing is held open", SOON)
        assert read_file("file") == b"x"
        os.rename(rig.host("work"), rig.host("moved"))
        wait_for(lambda: _gauges(rig)["descriptors"] == 0, "nothing is held open", SOON)
        assert read_file("file") == b"x"
        with open("made", "wb") as file:
            file.write(b"y")
        assert read_file(rig.host("moved/made")) == b"y"
    finally:
        os.chdir(here)
    rig.end()


@case
def more_files_than_the_limit_can_be_walked_and_used():
    limit, files = 2000, 12000
    rig = Rig(server_arguments=("--nodes", str(limit)))
    folders = [f"folder{number}" for number in range(6)]
    for folder in folders:
        os.mkdir(rig.host(folder))
        os.chown(rig.host(folder), UID, GID)
        fill_directory(rig.host(folder), files // 6)
    held = os.open(rig.guest("folder0/f000000"), os.O_RDONLY)
    for _ in range(2):
        for folder in folders:
            assert sum(1 for entry in os.scandir(rig.guest(folder)) if entry.stat().st_size == 0) == files // 6
            assert _gauges(rig)["nodes"] <= limit
    os.fstat(held)
    os.close(held)
    for number in range(0, files // 6, 97):
        with open(rig.guest(f"folder3/f{number:06}"), "ab") as file:
            file.write(b"x")
        assert read_file(rig.host(f"folder3/f{number:06}")) == b"x"
    os.mkdir(rig.guest("made"))
    os.rename(rig.guest("folder1/f000001"), rig.guest("made/moved"))
    assert os.path.exists(rig.host("made/moved"))
    rig.end()


@case
def the_guest_forgets_before_the_server_must():
    """The kernel is made to forget what it does not use: neither side grows with what was looked at."""
    limit, files = 4000, 30000
    rig = Rig(server_arguments=("--nodes", str(limit)))
    folders = [f"folder{number}" for number in range(10)]
    for folder in folders:
        os.mkdir(rig.host(folder))
        os.chown(rig.host(folder), UID, GID)
        fill_directory(rig.host(folder), files // 10)
    held = os.open(rig.guest("folder0/f000000"), os.O_RDONLY)
    sizes = []
    for _ in range(3):
        for folder in folders:
            for entry in os.scandir(rig.guest(folder)):
                entry.stat()
        wait_for(lambda: rig.mount.stats()["nodes"] <= limit, "the client knows no more than the server may", SOON)
        sizes.append((_resident(rig.mount.pid), _resident(rig.server.worker())))
    os.fstat(held)
    with open(f"/proc/self/fd/{held}", "rb") as again:
        assert again.read() == b""
    assert os.readlink(f"/proc/self/fd/{held}") == rig.guest("folder0/f000000")
    os.close(held)
    # The address sanitizer keeps what was freed.
    for side in (0, 1):
        assert world.has_sanitizer() or sizes[2][side] < sizes[0][side] + (4 << 20), sizes
    rig.end()


run()
