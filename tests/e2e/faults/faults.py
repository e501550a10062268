#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""System calls that fail, do less or take long under a mount: the right error, nothing half done, right bytes."""
import errno
import hashlib
import json
import mmap
import os
import threading
import time

from lib import GID, UID, Mount, Rig, Server, calls, case, expect_errno, fill_directory, read_file, run, wait_for, \
    write_file
from lib.hang import Hang

MEBIBYTE = 1 << 20


def _bytes(size):
    """No two parts of it are alike."""
    return b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(size // 32))


def _held(rig):
    """What the server keeps for the mount: nodes, handles."""
    mount, = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    return mount["nodes"], mount["handles"]


def _nothing_open(rig):
    """Whatever failed, the server holds no file open, and knows no more than there is."""
    wait_for(lambda: _held(rig)[1] == 0, "the server closes every file")
    wait_for(lambda: _held(rig)[0] <= 1 + len(os.listdir(rig.share)), "the server forgets what is gone")


@case
def each_operation_gives_its_error_once_and_works_then():
    rules = {
        "mkdir": errno.EDQUOT, "symlink": errno.EMLINK, "unlink": errno.EBUSY, "rename": errno.EXDEV,
        "link": errno.EMLINK, "truncate": errno.EFBIG, "allocate": errno.EFBIG, "sync": errno.EIO,
        "readlink": errno.EIO, "list": errno.EIO, "times": errno.EPERM, "setxattr": errno.E2BIG,
        "reopen": errno.EMFILE, "chown": errno.EPERM,
    }
    # With leases it is a watch that opens something first, and goes without.
    rig = Rig("cache=timeout",
              faults=",".join(f"worker.{name}:1:{errno.errorcode[number]}" for name, number in rules.items()))
    for name in ("file", "gone", "old"):
        rig.fill(name, "content")
    os.symlink("file", rig.host("link"))
    os.mkdir(rig.host("empty"))
    steps = [
        # The first of these is the first that opens anything on the host.
        ("reopen", lambda: os.open(rig.guest("file"), os.O_RDWR)), ("mkdir", lambda: os.mkdir(rig.guest("new"))),
        ("symlink", lambda: os.symlink("target", rig.guest("newlink"))),
        ("unlink", lambda: os.unlink(rig.guest("gone"))),
        ("rename", lambda: os.rename(rig.guest("old"), rig.guest("moved"))),
        ("link", lambda: os.link(rig.guest("file"), rig.guest("hard"))),
        ("truncate", lambda: os.truncate(rig.guest("file"), 3)),
        ("allocate", lambda: os.posix_fallocate(descriptor, 0, 1000)), ("sync", lambda: os.fsync(descriptor)),
        ("readlink", lambda: os.readlink(rig.guest("link"))), ("list", lambda: os.listdir(rig.guest("empty"))),
        ("times", lambda: os.utime(rig.guest("file"), (1, 1))),
        ("setxattr", lambda: os.mkfifo(rig.guest("fifo"))), ("chown", lambda: os.chown(rig.guest("file"), 5, 5)),
    ]
    descriptor = None
    for name, step in steps:
        before = sorted(os.listdir(rig.share)), read_file(rig.host("file"))
        expect_errno(rules[name], step)
        assert (sorted(os.listdir(rig.share)), read_file(rig.host("file"))) == before, name
        value = step()
        if name == "reopen":
            descriptor = value
    os.close(descriptor)
    assert sorted(os.listdir(rig.share)) == ["empty", "fifo", "file", "hard", "link", "moved", "new", "newlink"]
    assert os.stat(rig.host("file")).st_size == 1000
    assert os.stat(rig.guest("file")).st_uid == 5
    _nothing_open(rig)
    rig.end()


@case
def what_cannot_be_finished_is_not_there():
    rig = Rig(faults="worker.setxattr:1:EIO,worker.handle:1:ENOMEM,worker.node-name:4:ENOMEM")
    for error, name, make in (
            (errno.EIO, "device", lambda: os.mknod(rig.guest("device"), 0o020644, os.makedev(1, 3))),
            (errno.ENOMEM, "file", lambda: os.close(os.open(rig.guest("file"), os.O_CREAT | os.O_WRONLY))),
            (errno.ENOMEM, "directory", lambda: os.mkdir(rig.guest("directory")))):
        expect_errno(error, make)
        assert name not in os.listdir(rig.share)
        assert not os.path.lexists(rig.guest(name))
        make()
        assert name in os.listdir(rig.share)
    _nothing_open(rig)
    rig.end()


@case
def bytes_arrive_whole_however_little_each_call_moves():
    content = _bytes(MEBIBYTE)
    rig = Rig(faults="worker.read:1+:short=7001,worker.write:1+:short=5003,worker.copy:1+:short=100003,"
                     "channel.send:1+:short=3001,channel.receive:1+:short=4099",
              mount_faults="channel.send:1+:short=2003,channel.receive:1+:short=1009")
    rig.fill("host", content)
    assert read_file(rig.guest("host")) == content
    with open(rig.guest("guest"), "wb", buffering=0) as file:
        for part in range(0, MEBIBYTE, 100000):
            assert file.write(content[part:part + 100000]) == len(content[part:part + 100000])
        os.fsync(file.fileno())
    assert read_file(rig.host("guest")) == content
    with open(rig.guest("guest"), "ab") as file:
        file.write(content)
    assert read_file(rig.host("guest")) == content + content
    with open(rig.guest("host"), "rb") as source, open(rig.guest("copy"), "wb") as target:
        done = 0
        while done < MEBIBYTE:
            n = os.copy_file_range(source.fileno(), target.fileno(), MEBIBYTE - done)
            assert 0 < n <= 100003
            done += n
    assert read_file(rig.host("copy")) == content
    names = [f"name{number}" for number in range(3000)]
    for name in names:
        rig.fill(name)
    assert sorted(os.listdir(rig.guest())) == sorted(names + ["copy", "guest", "host"])
    rig.end()


@case
def a_disk_that_fills_up_keeps_what_it_had_room_for():
    content = _bytes(MEBIBYTE)
    rig = Rig(faults="worker.write:1:full=300000")
    descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_WRONLY)
    done = 0
    try:
        while done < MEBIBYTE:
            done += os.write(descriptor, content[done:done + 65536])
        raise AssertionError("a full disk took everything")
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    assert done <= 300000
    os.close(descriptor)
    assert read_file(rig.host("file")) == content[:300000][:os.stat(rig.host("file")).st_size]
    assert os.stat(rig.host("file")).st_size >= done
    assert read_file(rig.guest("file")) == read_file(rig.host("file"))
    expect_errno(errno.ENOSPC, write_file, rig.guest("other"), b"x", owner=(0, 0))
    os.unlink(rig.guest("other"))
    os.unlink(rig.guest("file"))
    assert os.listdir(rig.share) == []
    _nothing_open(rig)
    rig.end()


@case
def a_write_that_failed_changes_nothing_and_is_told_of():
    rig = Rig(faults="worker.write:2:EIO,worker.write:4:EDQUOT")
    rig.fill("file", b"x" * 4096)
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    assert os.write(descriptor, b"one") == 3
    expect_errno(errno.EIO, os.pwrite, descriptor, b"two", 100)
    assert os.pwrite(descriptor, b"three", 200) == 5
    with mmap.mmap(descriptor, 4096) as memory:
        memory[300:304] = b"four"
        expect_errno((errno.EDQUOT, errno.EIO), memory.flush)
        memory[400:404] = b"five"
        memory.flush()
    os.close(descriptor)
    content = read_file(rig.host("file"))
    assert content[:3] == b"one" and content[100:103] == b"xxx" and content[200:205] == b"three"
    assert content[400:404] == b"five"
    _nothing_open(rig)
    rig.end()


@case
def a_slow_peer_is_only_slow():
    rig = Rig(faults="channel.send:3+:delay=20ms", mount_faults="channel.receive:5+:delay=5ms")
    content = _bytes(MEBIBYTE)
    rig.fill("file", content)
    assert read_file(rig.guest("file")) == content
    threads = [threading.Thread(target=write_file, args=(rig.guest(f"file{n}"), content[n:n + 1000])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for number in range(8):
        assert read_file(rig.host(f"file{number}")) == content[number:number + 1000]
    rig.end()


def _is_over(rig):
    """The mount serves again, or says for good that its session is over. It never hangs."""
    try:
        os.statvfs(rig.guest())
        return True
    except OSError as error:
        return error.errno == errno.ENOTCONN


@case
def a_lane_that_breaks_costs_one_operation():
    # Several, since the lane that breaks first may be one that nobody uses at that moment.
    for rules in ({"faults": ",".join(f"channel.receive:{n}:EIO" for n in (9, 13, 17, 21))},
                  {"faults": ",".join(f"channel.send:{n}:EPIPE" for n in (6, 9, 12))},
                  {"mount_faults": ",".join(f"channel.receive:{n}:ECONNRESET" for n in (10, 14, 18))},
                  {"mount_faults": ",".join(f"channel.send:{n}:EPIPE" for n in (8, 10, 11, 13))}):
        rig = Rig(**rules)
        written = []
        try:
            for number in range(30):
                write_file(rig.guest(f"file{number}"), b"content", owner=(0, 0))
                written.append(f"file{number}")
            raise AssertionError(f"{rules}: nothing broke")
        except OSError as error:
            assert error.errno in (errno.EIO, errno.ENOTCONN), error
        wait_for(lambda rig=rig: _is_over(rig), "a new lane")
        for name in written:
            assert read_file(rig.host(name)) == b"content"
        rig.server.stop()
        rig.mount.unmount_hard()


@case
def a_lane_that_the_server_cannot_have_is_not_needed():
    rig = Rig(faults="worker.lane:3:ENOMEM,worker.reply:3:ENOMEM,worker.thread:6:EAGAIN")
    rig.fill("file", "content")
    hang = Hang(rig.host("h"))
    assert os.stat(rig.guest("h/calm")).st_size == 0
    threads = [threading.Thread(target=_stat, args=(rig.guest(f"h/hang{n}"),), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    # Refused lanes are tried again after a second; the others go on.
    wait_for(lambda: rig.mount.stats()["lanes"] >= 7, "lanes for all that hang", 20)
    assert os.stat(rig.guest("file")).st_size == 7
    hang.release()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    hang.stop()
    rig.end()


def _stat(path):
    try:
        os.stat(path)
    except OSError:
        pass


@case
def the_client_without_memory_says_so_and_lives_on():
    rig = Rig(mount_faults="mount.file:1:ENOMEM,mount.file:3:ENOMEM,mount.object:2:ENOMEM,mount.object-name:2:ENOMEM,"
                           "mount.listing:1:ENOMEM,mount.listing:3:ENOMEM,mount.forgets:1:ENOMEM")
    names = [f"file{number}" for number in range(20)]
    for name in names:
        rig.fill(name, name)
    failures = 0
    for attempt in range(6):
        for name in names:
            try:
                assert read_file(rig.guest(name)) == name.encode()
            except OSError as error:
                assert error.errno == errno.ENOMEM, error
                failures += 1
        try:
            assert sorted(os.listdir(rig.guest())) == sorted(names)
        except OSError as error:
            assert error.errno == errno.ENOMEM, error
            failures += 1
            continue
        if attempt > 2:
            break
    assert 4 <= failures <= 7, failures
    for name in names:
        os.unlink(rig.guest(name))
    assert os.listdir(rig.share) == []
    rig.end()


@case
def a_worker_that_stops_answering_is_given_up():
    rig = Rig("timeout=2")
    rig.fill("file", "content")
    # Broker and worker each count their own: handshakes, which grow in number with the load, must not use it up.
    server = Server([rig.share], faults="channel.send:200+:delay=30000ms")
    other = Mount(server, rig.share, "timeout=2")
    outcome = []

    def look():
        try:
            for _ in range(2000):
                os.statvfs(other.where)  # never answered from what is known: a message each
        except OSError as error:
            outcome.append(error.errno)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    assert outcome == [errno.ENOTCONN], outcome
    assert read_file(rig.guest("file")) == b"content"
    other.unmount_hard()
    rig.end()


@case
def a_mount_that_cannot_read_the_kernels_requests_ends():
    # A lane that looks for the next request before it sleeps reads many times: the start must not use the number up.
    rig = Rig(mount_faults="mount.fuse-read:1:EINTR,mount.fuse-read:5000:EIO")
    rig.fill("file", "content")
    codes = set()
    for _ in range(20000):
        if errno.ENOTCONN in codes:
            break
        try:
            os.statvfs(rig.guest())
        except OSError as error:
            codes.add(error.errno)
    # What was under way when it ended may get EIO.
    assert errno.ENOTCONN in codes and codes <= {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}, codes
    wait_for(lambda: not os.path.exists(f"/proc/{rig.mount.pid}"), "bindshare-mount ends")
    wait_for(lambda: not rig.server.workers(), "the worker ends")
    rig.mount.unmount_hard()
    rig.server.stop()


@case
def setuid_that_the_host_gave_does_not_come_back_when_chmod_takes_long():
    """One mount says chmod 4755, and the other writes before the host's kernel has heard of it."""
    rig = Rig("cache=none", faults="worker.chmod:1:delay=600ms")
    rig.fill("file", "#!")
    os.chmod(rig.host("file"), 0o6755)
    second = Mount(rig.server, rig.share, "cache=none")
    thread = threading.Thread(target=os.chmod, args=(second / "file", 0o4755))
    thread.start()
    time.sleep(0.2)
    with open(rig.guest("file"), "ab", buffering=0) as file:
        file.write(b"written")
    thread.join()
    assert os.stat(rig.host("file")).st_mode & 0o7000 == 0, oct(os.stat(rig.host("file")).st_mode)


@case
def a_record_is_told_of_its_own_file_when_the_host_exchanges_names():
    rig = Rig(faults="worker.getxattr:3+:delay=400ms")
    rig.fill("one", "1", mode=0o600)
    rig.fill("two", "2", mode=0o644)
    os.setxattr(rig.host("one"), "user.containers.override_stat", b"1000:1000:04600:file")
    expected = {os.stat(rig.host("one")).st_ino: (0o104600, 1000), os.stat(rig.host("two")).st_ino: (0o100644, 0)}
    found = []
    # The first two are read of the root of the mount.
    thread = threading.Thread(target=lambda: found.append(os.stat(rig.guest("one"))))
    thread.start()
    time.sleep(0.15)
    calls.rename(rig.host("one"), rig.host("two"), calls.RENAME_EXCHANGE)
    thread.join()
    assert (found[0].st_mode, found[0].st_uid) == expected[found[0].st_ino], found


@case
def a_kernel_that_does_not_forget_by_number_does_so_by_name():
    """As kernels before 6.18: names are taken back, of files that nobody has open."""
    limit, files = 2000, 12000
    rig = Rig(server_arguments=("--nodes", str(limit)), mount_faults="mount.prune:1+:EINVAL")
    for number in range(4):
        os.mkdir(rig.host(f"folder{number}"))
        os.chown(rig.host(f"folder{number}"), UID, GID)
        fill_directory(rig.host(f"folder{number}"), files // 4)
    held = os.open(rig.guest("folder0/f000000"), os.O_RDONLY)
    here = os.getcwd()
    os.chdir(rig.guest("folder1"))
    try:
        for number in range(4):
            assert sum(entry.stat().st_size == 0 for entry in os.scandir(rig.guest(f"folder{number}"))) == files // 4
        wait_for(lambda: rig.mount.stats()["nodes"] <= limit, "the client knows no more than the server may", 8)
        assert os.readlink(f"/proc/self/fd/{held}") == rig.guest("folder0/f000000")
        assert os.getcwd() == rig.guest("folder1") and len(os.listdir(".")) == files // 4
    finally:
        os.chdir(here)
        os.close(held)
    rig.end()


@case
def who_opens_meanwhile_reads_what_the_host_wrote():
    """
    The host writes in place; the first who opens is answered late, and the second must not get the old pages. Size and
    time of modification are as before, so that the kernel does not see by itself that they are old.
    """
    rig = Rig(mount_faults="mount.opened:2:delay=800ms")
    rig.fill("file", b"old" * 50000)
    assert read_file(rig.guest("file")) == b"old" * 50000
    before = os.stat(rig.host("file"))
    with open(rig.host("file"), "r+b") as file:
        file.write(b"new" * 50000)
    os.utime(rig.host("file"), ns=(before.st_atime_ns, before.st_mtime_ns))
    time.sleep(0.2)  # until the guest has been told, who opens the file need not ask
    found = []
    thread = threading.Thread(target=lambda: found.append(read_file(rig.guest("file"))))
    thread.start()
    time.sleep(0.3)
    second = read_file(rig.guest("file"))
    thread.join()
    assert second == b"new" * 50000, second[:3]
    assert found[0] == b"new" * 50000

    def from_pages():
        with rig.mount.counted() as cost:
            assert read_file(rig.guest("file")) == b"new" * 50000
        return "read" not in cost.fuse
    wait_for(from_pages, "the new pages stay", 2)
    rig.end()


def _written_by(path, flags, content, at=0):
    descriptor = os.open(path, flags)
    os.pwrite(descriptor, content, at)
    os.close(descriptor)


def _with_the_time_of_before(path):
    """Size and time are the same afterwards, so that the kernel does not see by itself that its pages are old."""
    before = os.stat(path)
    _written_by(path, os.O_WRONLY, b"new" * 4000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# Sides and what happens there after the server has answered OPEN, with what the file held before.
MEANWHILE = {
    "written to": ("guest", lambda path: _written_by(path, os.O_WRONLY, b"new" * 1000)),
    "written to, for reading, too": ("guest", lambda path: _written_by(path, os.O_RDWR, b"new" * 1000)),
    "written to in the middle": ("guest", lambda path: _written_by(path, os.O_RDWR, b"new", 5000)),
    "cut and written to": ("guest", lambda path: _written_by(path, os.O_WRONLY | os.O_TRUNC, b"new")),
    "cut": ("guest", lambda path: os.truncate(path, 100)),
    "made longer": ("guest", lambda path: os.truncate(path, 20000)),
    "edited by the host": ("host", lambda path: _written_by(path, os.O_WRONLY, b"new" * 1000)),
    "cut by the host": ("host", lambda path: os.truncate(path, 100)),
    "written to, and its time put back": ("guest", _with_the_time_of_before),
    "edited by the host, and its time put back": ("host", _with_the_time_of_before),
    "replaced by the host": ("host", lambda path: (write_file(path + "~", b"new"), os.rename(path + "~", path))),
}


@case
def what_came_with_open_is_not_read_in_place_of_what_is_newer():
    old = b"old" * 4000
    for name, (side, act) in MEANWHILE.items():
        rig = Rig(mount_faults="mount.opened:1:delay=500ms")
        rig.fill("file", old)
        time.sleep(0.7)  # there is no lease on the contents of what was written just now
        found = []
        thread = threading.Thread(target=lambda rig=rig, found=found: found.append(read_file(rig.guest("file"))))
        thread.start()
        time.sleep(0.2)
        act(rig.guest("file") if side == "guest" else rig.host("file"))
        thread.join()
        new = read_file(rig.host("file"))
        # It was opened before that happened, and read afterwards.
        assert found[0] == (old if "replaced" in name else new), (name, found[0][:3], len(found[0]))
        if side == "host":
            wait_for(lambda rig=rig, new=new: read_file(rig.guest("file")) == new, name, 2)
        assert os.stat(rig.guest("file")).st_size == len(new), name
        assert read_file(rig.guest("file")) == new, name
        rig.end()


run(140)
