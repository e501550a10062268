#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""System calls that few programs use and that some depend on, looked at from both sides."""
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import subprocess
import time

from lib import Rig, case, expect_errno, read_file, run, skip, wait_for, write_file


@case
def a_file_without_a_name_can_be_written_and_gets_one_later():
    rig = Rig()
    descriptor = os.open(rig.guest(), os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(descriptor, b"content")
    seen = os.fstat(descriptor)
    assert (seen.st_size, seen.st_nlink) == (7, 0), seen
    assert os.listdir(rig.host()) == []
    nowhere = os.open("/", os.O_PATH)
    os.link(f"/proc/self/fd/{descriptor}", rig.guest("named"), src_dir_fd=nowhere, follow_symlinks=True)
    os.close(descriptor)
    assert read_file(rig.host("named")) == b"content"


@case
def the_time_of_birth_is_the_hosts():
    rig = Rig()
    rig.fill("file", "x")
    births = [subprocess.run(["stat", "-c", "%W", path], check=True, capture_output=True).stdout
              for path in (rig.host("file"), rig.guest("file"))]
    if births[0].strip() == b"0":
        skip("the host's file system tells no time of birth here")
    assert births[0] == births[1], births


@case
def appending_together_with_the_host_loses_nothing():
    rig = Rig()
    rig.fill("log", "host 1\n")
    descriptor = os.open(rig.guest("log"), os.O_RDWR | os.O_APPEND)
    os.write(descriptor, b"guest 1\n")
    for number in range(2, 6):
        with open(rig.host("log"), "ab") as file:
            file.write(b"host, longer than before %d\n" % number)
        os.write(descriptor, b"guest %d\n" % number)
    want = read_file(rig.host("log"))
    assert want.count(b"\n") == 10 and want.count(b"guest") == 5, want
    time.sleep(1.2)
    assert os.pread(descriptor, 4096, 0) == want
    assert read_file(rig.guest("log")) == want


@case
def what_is_written_through_a_mapping_arrives():
    rig = Rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 8192)
    with mmap.mmap(descriptor, 8192) as memory:
        memory[0:5] = b"hello"
        memory[5000:5003] = b"xyz"
        memory.flush()
        content = read_file(rig.host("file"))
    os.close(descriptor)
    assert content[:5] == b"hello" and content[5000:5003] == b"xyz" and len(content) == 8192


@case
def holes_are_where_the_host_has_them():
    rig = Rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, b"x", 1 << 20)
    other = os.open(rig.host("file"), os.O_RDONLY)
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        assert os.lseek(descriptor, 0, whence) == os.lseek(other, 0, whence)
    expect_errno(errno.ENXIO, os.lseek, descriptor, 2 << 20, os.SEEK_DATA)
    assert os.stat(rig.guest("file")).st_blocks == os.stat(rig.host("file")).st_blocks


@case
def space_is_allocated_and_copied_on_the_host():
    rig = Rig()
    descriptor = os.open(rig.guest("file"), os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, 100000)
    assert os.fstat(descriptor).st_size == os.stat(rig.host("file")).st_size == 100000
    content = os.urandom(300000)
    rig.fill("from", content)
    source = os.open(rig.guest("from"), os.O_RDONLY)
    with rig.mount.counted() as counts:
        assert os.copy_file_range(source, descriptor, len(content), 0, 0) == len(content)
    # The guest may only now be told of what the host has just written.
    sent = {name: count for name, count in counts.rpc.items() if "invalidate" not in name}
    assert sent == {"copy_range": 1}, counts.rpc
    assert read_file(rig.host("file")) == read_file(rig.guest("file")) == content


@case
def set_uid_bits_go_when_another_writes_or_the_owner_changes():
    rig = Rig()
    write_file(rig.guest("file"), "x", owner=(0, 0))
    os.chmod(rig.guest("file"), 0o6755)
    assert os.stat(rig.guest("file")).st_mode & 0o7777 == 0o6755
    subprocess.run(["setpriv", "--bounding-set=-fsetid", "--inh-caps=-fsetid", "sh", "-c",
                    f"echo y >> '{rig.guest('file')}'"], check=True, timeout=20)
    assert os.stat(rig.guest("file")).st_mode & 0o6000 == 0
    os.chmod(rig.guest("file"), 0o4755)
    os.chown(rig.guest("file"), 1234, 1235)
    seen = os.stat(rig.guest("file"))
    assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o6000) == (1234, 1235, 0), seen


@case
def special_files_are_there_for_the_guest_only():
    rig = Rig()
    os.mkfifo(rig.guest("fifo"), 0o640)
    os.mknod(rig.guest("device"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert stat.S_ISFIFO(os.stat(rig.guest("fifo")).st_mode)
    assert os.stat(rig.guest("device")).st_rdev == os.makedev(1, 3)
    for name in ("fifo", "device"):
        assert stat.S_ISREG(os.stat(rig.host(name)).st_mode)
    # The mount is nodev.
    expect_errno(errno.EACCES, os.open, rig.guest("device"), os.O_RDONLY)


@case
def opening_for_reading_can_cut_a_file():
    rig = Rig()
    rig.fill("file", "content")
    os.close(os.open(rig.guest("file"), os.O_RDONLY | os.O_TRUNC))
    assert os.stat(rig.host("file")).st_size == 0


@case
def locks_hold_within_the_guest():
    rig = Rig()
    with open(rig.guest("file"), "wb") as one, open(rig.guest("file"), "r+b") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        expect_errno(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(one, fcntl.LOCK_EX)


@case
def a_listing_can_be_started_again_and_sees_what_is_new():
    rig = Rig()
    for number in range(300):
        rig.fill(f"f{number}")
    with os.scandir(rig.guest()) as listing:
        assert len(list(listing)) == 300
    descriptor = os.open(rig.guest(), os.O_RDONLY | os.O_DIRECTORY)
    assert len(os.listdir(descriptor)) == 300
    os.unlink(rig.host("f0"))
    rig.fill("new")


    def is_seen():
        names = os.listdir(descriptor)
        return "new" in names and "f0" not in names and len(names) == 300
    wait_for(is_seen, "the change of the host is in the listing")
    os.close(descriptor)


# asm-generic/unistd.h, linux/mount.h, linux/fcntl.h
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _AT_EMPTY_PATH, _MOVE_MOUNT_F_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 1, 0x1000, 4, 0x100000


def _system_call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, *[ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a)
                                    for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"system call {number}")
    return result


def _bind_with_swap(source, target, user):
    """A bind of source in which root and user have changed places."""
    process = subprocess.Popen(["unshare", "-U", "sleep", "30"])
    try:
        time.sleep(0.3)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{process.pid}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 {user} 1\n1 1 {user - 1}\n{user} 0 1\n")
        namespace = os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY)
    finally:
        process.kill()
        process.wait()
    tree = _system_call(_OPEN_TREE, -100, source.encode(), _OPEN_TREE_CLONE)
    attributes = ctypes.create_string_buffer(_MOUNT_ATTR_IDMAP.to_bytes(8, "little") + bytes(16) +
                                             namespace.to_bytes(8, "little"), 32)
    _system_call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.addressof(attributes), 32)
    _system_call(_MOVE_MOUNT, tree, b"", -100, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
    os.close(namespace)


@case
def an_id_mapped_bind_shows_files_as_the_containers_users():
    if tuple(int(n) for n in os.uname().release.split(".")[:2]) < (6, 12):
        skip("the kernel maps no ids of FUSE")
    rig = Rig()
    rig.fill("file", "x")
    target = rig.mount.where + "-mapped"
    os.mkdir(target)
    _bind_with_swap(rig.guest(), target, 1000)
    try:
        assert os.stat(os.path.join(target, "file")).st_uid == 1000
        subprocess.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c",
                        f"echo y >> '{target}/file' && echo new > '{target}/new'"], check=True, timeout=20)
        assert os.stat(os.path.join(target, "new")).st_uid == 1000
        assert os.stat(rig.guest("new")).st_uid == 0
        assert read_file(rig.host("file")) == b"xy\n"
    finally:
        subprocess.run(["umount", target], check=True, timeout=20)


@case
def the_kernel_reads_far_ahead():
    rig = Rig()
    device = os.stat(rig.guest()).st_dev
    path = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
    assert read_file(path).strip() == b"1024"


run()
