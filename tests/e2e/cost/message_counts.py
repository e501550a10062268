#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many messages things cost. Times are noisy; counts are not."""
import mmap
import os
import subprocess
import time

from lib import Rig, calls, case, fill_directory, read_file, run, wait_for, write_file

ENTRIES = 100_000
MIB = 1024 * 1024


def _at_most_one_rpc_a_request(counts):
    assert counts.rpc_total <= counts.fuse_total, (counts.fuse, counts.rpc)


@case
def a_warm_stat_costs_nothing():
    rig = Rig()
    rig.fill("file", "x")
    wait_for(lambda: _stat_costs(rig, 1000) == ({}, {}), "1,000 stats without a message", 10)


def _stat_costs(rig, times):
    os.stat(rig.guest("file"))
    with rig.mount.counted() as counts:
        for _ in range(times):
            os.stat(rig.guest("file"))
    return counts.fuse, counts.rpc


@case
def a_name_that_is_not_there_is_asked_for_once():
    rig = Rig()

    def costs():
        with rig.mount.counted() as counts:
            for _ in range(1000):
                assert not os.path.exists(rig.guest("missing"))
        return counts.rpc.get("lookup", 0) <= 1 and counts.rpc_total <= 1
    wait_for(costs, "1,000 look-ups in vain with one message", 10)


@case
def listing_the_attributes_of_a_directorys_entries_costs_nothing():
    """As coreutils 9.7 does for "ls -l"; also ACLs and labels, which are not there."""
    rig = Rig()
    for number in range(200):
        rig.fill(f"file{number}", b"x")
        os.mkdir(rig.host(f"dir{number}"))
        os.symlink("x", rig.host(f"link{number}"))
    rig.fill("foreign", owner=(4321, 4321))
    os.chown(rig.guest("file1"), 5, 5)
    time.sleep(0.1)  # a change of just now is not remembered

    def costs():
        with rig.mount.counted() as counts:
            names = os.listdir(rig.guest())
            for name in names:
                os.lstat(rig.guest(name))
                assert os.listxattr(rig.guest(name), follow_symlinks=False) == [], name
        assert len(names) == 601, len(names)
        return counts.rpc

    seen = costs()
    assert "listxattr" not in seen and sum(seen.values()) <= 10, seen
    os.setxattr(rig.guest("file1"), "user.a", b"1")
    assert os.listxattr(rig.guest("file1")) == ["user.a"]
    os.setxattr(rig.host("file2"), "user.b", b"1")
    wait_for(lambda: os.listxattr(rig.guest("file2")) == ["user.b"], "the host's attribute", 2)
    os.removexattr(rig.guest("file1"), "user.a")
    assert os.listxattr(rig.guest("file1")) == []
    os.removexattr(rig.host("file2"), "user.b")
    wait_for(lambda: os.listxattr(rig.guest("file2")) == [], "the end of the host's attribute", 2)
    assert costs().get("listxattr", 0) <= 2


@case
def writing_asks_for_no_security_attribute():
    rig = Rig()
    with open(rig.guest("file"), "wb", buffering=0) as file:
        # Whole kilobytes: the kernel splits a write across two pages of which it has neither.
        file.write(b"x" * 1024)
        with rig.mount.counted() as counts:
            for _ in range(1000):
                file.write(b"x" * 1024)
    assert counts.rpc == {"write": 1000}, counts.rpc
    assert counts.fuse.get("getxattr", 0) == 0, counts.fuse
    assert os.stat(rig.host("file")).st_size == 1001 * 1024
    _at_most_one_rpc_a_request(counts)


@case
def a_write_is_one_message_wherever_it_begins():
    """Through its page cache the kernel cuts it at a page of which it has only a part."""
    rig = Rig()
    with rig.mount.counted() as counts:
        with open(rig.guest("file"), "wb", buffering=0) as file:
            for number in range(100):
                assert file.write(bytes([number]) * 3001) == 3001
    assert counts.rpc["write"] == 100, counts.rpc
    assert read_file(rig.guest("file")) == read_file(rig.host("file"))


@case
def a_large_sequential_read_uses_large_requests():
    rig = Rig()
    content = os.urandom(MIB) * 64
    rig.fill("file", content)
    with rig.mount.counted() as counts:
        assert read_file(rig.guest("file")) == content
    assert 64 <= counts.rpc["read"] <= 80, counts.rpc
    _at_most_one_rpc_a_request(counts)


@case
def a_large_sequential_write_uses_large_requests():
    rig = Rig()
    # From where a page begins: else it touches one page more than a request may have.
    block = mmap.mmap(-1, MIB)
    block.write(os.urandom(MIB))
    with rig.mount.counted() as counts:
        with open(rig.guest("file"), "wb", buffering=0) as file:
            for _ in range(64):
                assert file.write(block) == MIB
    assert 64 <= counts.rpc["write"] <= 80, counts.rpc
    assert counts.rpc_total <= counts.rpc["write"] + 4, counts.rpc
    _at_most_one_rpc_a_request(counts)


@case
def a_file_that_did_not_change_is_not_read_again():
    rig = Rig()
    rig.fill("file", b"x" * MIB)
    read_file(rig.guest("file"))
    with rig.mount.counted() as counts:
        for _ in range(20):
            read_file(rig.guest("file"))
    assert counts.rpc.get("read", 0) == 0, counts.rpc


@case
def reading_a_small_file_takes_two_rpcs():
    rig = Rig()
    contents = {f"f{number}": bytes([number]) * (1 + number * 600) for number in range(100)}
    for name, content in contents.items():
        rig.fill(name, content)
    with rig.mount.counted() as counts:
        for name, content in contents.items():
            assert read_file(rig.guest(name)) == content, name
    # LOOKUP, OPEN, RELEASE. One of the READs may come too late on a busy machine.
    assert counts.rpc["open"] == 100 and counts.fuse["read"] >= 100, (counts.fuse, counts.rpc)
    assert counts.rpc.get("read", 0) <= 10, counts.rpc
    _at_most_one_rpc_a_request(counts)


@case
def so_does_reading_what_was_just_written():
    """The kernel keeps no page that was written in part, such as the last one."""
    rig = Rig()
    contents = {f"f{number}": bytes([number]) * (1 + number * 600) for number in range(100)}
    for name, content in contents.items():
        write_file(rig.guest(name), content, owner=(0, 0))
    with rig.mount.counted() as counts:
        for name, content in contents.items():
            assert read_file(rig.guest(name)) == content, name
    assert counts.rpc["open"] <= 100 and counts.rpc.get("read", 0) <= 10, counts.rpc


@case
def what_came_with_open_is_not_kept_for_long():
    rig = Rig()
    rig.fill("file", "before")
    with open(rig.guest("file"), "rb", buffering=0) as file:
        time.sleep(0.3)
        with open(rig.host("file"), "r+b", buffering=0) as host:
            host.write(b"after!")
        with rig.mount.counted() as counts:
            assert file.read() == b"after!"
    assert counts.rpc.get("read", 0) == 1, counts.rpc


@case
def what_came_with_open_is_not_read_after_a_change_from_here():
    rig = Rig()
    for number in range(50):
        rig.fill(f"f{number}", "before")
        with open(rig.guest(f"f{number}"), "rb", buffering=0) as file:
            fd = os.open(rig.guest(f"f{number}"), os.O_WRONLY | os.O_DIRECT * (number % 2))
            if number % 4 < 2:
                os.truncate(rig.guest(f"f{number}"), 0)
                assert file.read() == b""
            else:
                os.ftruncate(fd, 3)
                assert file.read() == b"bef"
            os.close(fd)


@case
def a_directory_of_100000_entries_takes_twelve_rpcs():
    rig = Rig()
    os.mkdir(rig.host("many"))
    fill_directory(rig.host("many"), ENTRIES, "entry-")
    # In a process of its own: the descriptor of the listing is closed when it has ended.
    with rig.mount.counted() as counts:
        done = subprocess.run(["ls", "-U", "-1", rig.guest("many")], check=True, capture_output=True, timeout=120)
    names = done.stdout.split()
    assert len(names) == len(set(names)) == ENTRIES, len(names)
    listing = counts.rpc.get("opendir", 0) + counts.rpc.get("readdir", 0)
    assert listing <= 12, counts.rpc
    assert counts.rpc_total <= 12 + 4, counts.rpc
    assert counts.fuse.get("lookup", 0) <= 1, counts.fuse
    _at_most_one_rpc_a_request(counts)


@case
def listing_with_attributes_looks_nothing_up():
    rig = Rig()
    for number in range(2000):
        rig.fill(f"f{number}", "x")
    with rig.mount.counted() as counts:
        with os.scandir(rig.guest()) as listing:
            sizes = [entry.stat().st_size for entry in listing]
    assert len(sizes) == 2000 and set(sizes) == {1}
    assert counts.rpc.get("lookup", 0) == 0, counts.rpc
    assert counts.rpc.get("getattr", 0) <= 2, counts.rpc
    _at_most_one_rpc_a_request(counts)


@case
def making_a_small_file_costs_few_messages():
    rig = Rig()
    os.mkdir(rig.guest("d"))
    with rig.mount.counted() as counts:
        for number in range(200):
            with open(rig.guest(f"d/f{number}"), "wb", buffering=0) as file:
                file.write(b"content")
    # CREATE, WRITE, RELEASE. That the name is not there is asked now and then, and known in between.
    assert counts.rpc["create"] == 200 and counts.rpc["write"] == 200, counts.rpc
    assert counts.rpc.get("lookup", 0) <= 100, counts.rpc
    assert counts.rpc.get("scan", 0) <= 2, counts.rpc
    assert counts.rpc_total <= 710, counts.rpc
    assert counts.fuse.get("flush", 0) <= 1, counts.fuse
    assert counts.fuse.get("getxattr", 0) == 0, counts.fuse
    _at_most_one_rpc_a_request(counts)


@case
def of_a_directory_in_which_a_name_was_changed_the_server_told_with_its_answer():
    """The kernel asks again for its attributes after each change of names in it."""
    rig = Rig()
    os.mkdir(rig.guest("d"))
    write_file(rig.guest("d/a0"), "x", owner=(0, 0))
    with rig.mount.counted() as counts:
        for number in range(100):
            os.rename(rig.guest(f"d/a{number}"), rig.guest(f"d/a{number + 1}"))
            os.stat(rig.guest("d"))
    assert counts.fuse["getattr"] >= 100 and counts.rpc.get("getattr", 0) <= 10, (counts.fuse, counts.rpc)


@case
def the_guest_is_not_told_of_what_it_did_itself():
    """Also when the file had several names, and is gone with the last one."""
    rig = Rig()
    with rig.mount.counted() as counts:
        for number in range(50):
            write_file(rig.guest("file"), "x", owner=(0, 0))
            os.link(rig.guest("file"), rig.guest("link"))
            assert read_file(rig.guest("link")) == b"x"
            os.chmod(rig.guest("file"), 0o600 + number % 2)
            os.unlink(rig.guest("file"))
            os.unlink(rig.guest("link"))
        os.mkdir(rig.guest("directory"))
        os.rmdir(rig.guest("directory"))
        time.sleep(0.2)  # for what would come late
    assert counts.rpc.get("invalidate", 0) == 0, counts.rpc


@case
def no_request_of_a_days_work_costs_more_than_one_rpc():
    rig = Rig()
    with rig.mount.counted() as counts:
        os.makedirs(rig.guest("a/b/c"))
        for number in range(50):
            write_file(rig.guest(f"a/b/c/f{number}"), "x" * number, owner=(0, 0))
        subprocess.run(["cp", "-a", rig.guest("a"), rig.guest("copy")], check=True, timeout=60)
        subprocess.run(["tar", "cf", rig.guest("all.tar"), "-C", rig.guest(), "a"], check=True, timeout=60)
        calls.forget_names(rig.mount.where)
        subprocess.run(["find", rig.guest(), "-type", "f", "-size", "+0"], check=True, timeout=60,
                       stdout=subprocess.DEVNULL)
        os.rename(rig.guest("a/b"), rig.guest("b"))
        subprocess.run(["rm", "-rf", rig.guest("copy")], check=True, timeout=60)
    assert sorted(os.listdir(rig.share)) == ["a", "all.tar", "b"]
    _at_most_one_rpc_a_request(counts)


@case
def an_idle_mount_sends_only_heartbeats():
    rig = Rig(server_arguments=["--heartbeat", "600"])
    rig.fill("file", "x")
    read_file(rig.guest("file"))
    wait_for(lambda: _idle(rig), "two seconds without a message", 15)


def _idle(rig):
    with rig.mount.counted() as counts:
        subprocess.run(["sleep", "2"], check=True)
    return not counts.fuse and not counts.rpc


run(timeout=300)
