#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A single file, bound elsewhere: with the ioctl of guest-fuse/file-bind.h it follows its name, without it not."""
import errno
import fcntl
import mmap
import os
import subprocess
import time

from lib import Rig, calls, case, expect_errno, run, wait_for, world

# _IOW('b', 0x66, 32 bytes)
FOLLOW = 1 << 30 | 32 << 16 | ord("b") << 8 | 0x66


def _secret_path(rig):
    device = os.stat(rig.guest()).st_dev
    return f"/run/bindshare/mounts/{os.major(device)}:{os.minor(device)}.secret"


def _secret(rig):
    seen = os.stat(_secret_path(rig))
    assert (seen.st_uid, seen.st_mode & 0o777, seen.st_size) == (0, 0o600, 32)
    return _read(_secret_path(rig))


def _bind(rig, name, follow=True):
    """
    A bind of the file, as a container gets it. It is held until it is bound, as bindshare-runtime does: the kernel may
    forget a name, and with it what nobody uses, at any moment.
    """
    where = os.path.join(world.case_directory("bind"), "file")
    world.write_file(where)
    with open(rig.guest(name), "rb") as file:
        if follow:
            fcntl.ioctl(file, FOLLOW, _secret(rig))
            os.fstat(file.fileno())
        subprocess.run(["mount", "--bind", rig.guest(name), where], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", where], check=False, capture_output=True))
    return where


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _send(path):
    """By sendfile(2), as busybox does."""
    reader, writer = os.pipe()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.sendfile(writer, descriptor, 0, 60000)
        return os.read(reader, 60000)
    finally:
        for one in (reader, writer, descriptor):
            os.close(one)


def _save(rig, name, content):
    """As editors do: a new file in the old one's place."""
    rig.fill(name + ".new", content)
    os.rename(rig.host(name + ".new"), rig.host(name))


def _end(rig, where):
    subprocess.run(["umount", where], check=True)
    rig.end()


@case
def an_atomic_save_on_the_host_is_seen():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    assert _read(where) == b"one"
    for content in (b"two, longer", b"3", b"x" * 300000, b"four"):
        _save(rig, "config", content)
        assert _read(where) == content
        assert _send(where) == content[:60000]
        wait_for(lambda content=content: os.stat(where).st_size == len(content), "the new size")
        assert os.stat(where).st_ino == os.stat(rig.host("config")).st_ino
    rig.fill("config", b"in place")
    assert _read(where) == b"in place"
    _end(rig, where)


@case
def sendfile_sees_an_atomic_save_on_the_host():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    for content in (b"two", b"three", b"four"):
        _save(rig, "config", content)
        assert _send(where) == content
    _end(rig, where)


@case
def the_same_size_and_time_do_not_hide_a_save():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    times = os.stat(rig.host("config"))
    for number in range(20):
        content = b"%03d" % number
        rig.fill("config.new", content)
        os.utime(rig.host("config.new"), ns=(times.st_atime_ns, times.st_mtime_ns))
        os.rename(rig.host("config.new"), rig.host("config"))
        assert _read(where) == content
    _end(rig, where)


@case
def what_is_open_keeps_the_file_that_it_was_opened_with():
    rig = Rig()
    rig.fill("log", b"old content " * 1000)
    where = _bind(rig, "log")
    with open(where, "rb") as old:
        assert old.read(11) == b"old content"
        _save(rig, "log", b"new")
        assert _read(where) == b"new"
        old.seek(0)
        assert old.read() == b"old content " * 1000
        with open(where, "rb") as new:
            assert new.read() == b"new"
    _end(rig, where)


@case
def what_is_written_goes_to_the_file_that_has_the_name_now():
    rig = Rig()
    rig.fill("data", b"one", owner=(world.UID, world.GID))
    where = _bind(rig, "data")
    rig.fill("data.new", b"two", owner=(world.UID, world.GID))
    os.rename(rig.host("data.new"), rig.host("data"))
    with open(where, "ab") as file:
        file.write(b" and three")
    assert _read(rig.host("data")) == b"two and three"
    os.truncate(where, 3)
    os.chmod(where, 0o640)
    assert _read(rig.host("data")) == b"two"
    assert os.stat(rig.host("data")).st_mode & 0o777 == 0o640
    _end(rig, where)


@case
def an_atomic_save_in_the_guest_is_seen():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    world.write_file(rig.guest("config.new"), b"two", owner=(0, 0))
    os.rename(rig.guest("config.new"), rig.guest("config"))
    assert _read(where) == b"two"
    os.rename(rig.guest("config"), rig.guest("elsewhere"))
    world.write_file(rig.guest("config"), b"three", owner=(0, 0))
    assert _read(where) == b"three"
    assert _read(rig.guest("elsewhere")) == b"two"
    _end(rig, where)


@case
def while_the_name_is_gone_the_bind_shows_the_last_file():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config")
    assert _read(where) == b"one"
    os.unlink(rig.host("config"))
    assert _read(where) == b"one"
    os.mkdir(rig.host("config"))
    assert _read(where) == b"one"
    os.rmdir(rig.host("config"))
    os.symlink("/etc/passwd", rig.host("config"))
    assert _read(where) == b"one"
    os.unlink(rig.host("config"))
    rig.fill("config", b"two")
    assert _read(where) == b"two"
    _end(rig, where)


@case
def a_bound_file_can_be_mapped_and_run():
    rig = Rig()
    with open("/bin/true", "rb") as file:
        rig.fill("program", file.read(), owner=(world.UID, world.GID))
    os.chmod(rig.host("program"), 0o755)
    where = _bind(rig, "program")
    assert subprocess.run([where], check=False).returncode == 0
    with open("/bin/false", "rb") as file:
        _save(rig, "program", file.read())
    os.chmod(rig.host("program"), 0o755)
    wait_for(lambda: os.access(where, os.X_OK), "the mode")
    assert subprocess.run([where], check=False).returncode == 1
    with open(where, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as pages:
        assert pages[:4] == b"\x7fELF"
    _end(rig, where)


@case
def without_the_ioctl_the_bind_keeps_the_file():
    rig = Rig()
    rig.fill("config", b"one")
    where = _bind(rig, "config", follow=False)
    with open(where, "rb"):
        _save(rig, "config", b"two")
        assert _read(where) == b"one"
    _end(rig, where)


@case
def other_ioctls_and_other_files_are_refused():
    rig = Rig()
    rig.fill("file", b"content")
    with open(rig.guest("file"), "rb") as file:
        expect_errno(errno.ENOTTY, fcntl.ioctl, file, FOLLOW + 1, bytes(32))
    with open("/proc/self/exe", "rb") as file:
        expect_errno(errno.ENOTTY, fcntl.ioctl, file, FOLLOW, bytes(32))
    rig.end()


@case
def only_root_can_have_a_file_follow_its_name():
    """Whoever may open a file cannot ask: he does not know what lies in a file that only root reads."""
    rig = Rig()
    rig.fill("file", b"content", mode=0o666)
    secret = _secret(rig)
    with open(rig.guest("file"), "rb") as file:
        for argument in (bytes(32), secret[:31] + bytes([secret[31] ^ 1]), bytes(reversed(secret))):
            expect_errno(errno.EPERM, fcntl.ioctl, file, FOLLOW, argument)
        # The old form of it, without an argument.
        expect_errno(errno.ENOTTY, fcntl.ioctl, file, ord("b") << 8 | 0x66)
    path = _secret_path(rig)
    assert world.as_user(["cat", path], 1000, 1000).returncode != 0
    rig.end()
    assert not os.path.exists(path)


@case
def an_open_never_leads_to_what_its_user_may_not_read():
    """The name that a bind follows leads to a file of his and to root's 0600 file in turn."""
    rig = Rig("cache=none", "permissions=guest")  # else every user may read everything
    rig.fill("file", b"public " * 100, mode=0o644)
    rig.fill("private", b"secret " * 100, mode=0o600)
    where = _bind(rig, "file")
    os.chmod(os.path.dirname(where), 0o755)
    changer = os.fork()
    if changer == 0:
        while True:
            calls.rename(rig.host("file"), rig.host("private"), calls.RENAME_EXCHANGE)
    reader, writer = os.pipe()
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(1000)
            os.setuid(1000)
            found, deadline = [0, 0, 0], time.monotonic() + 3
            while time.monotonic() < deadline:
                try:
                    content = _read(where)
                    if not content.startswith(b"public"):
                        print("# read", content[:20], len(content), flush=True)
                    found[0 if content.startswith(b"public") else 1] += 1
                except OSError as error:
                    assert error.errno in (errno.EACCES, errno.ESTALE), error
                    found[2] += 1
            os.write(writer, f"{found[0]} {found[1]} {found[2]}\n".encode())
            os._exit(0)
        pids.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    world.kill(changer)
    os.waitpid(changer, 0)
    counts = [[int(word) for word in line.split()] for line in os.read(reader, 4096).decode().splitlines()]
    assert codes == [0] * 3 and len(counts) == 3
    assert sum(count[1] for count in counts) == 0, counts
    assert sum(count[0] for count in counts) > 0, counts
    _end(rig, where)


@case
def nothing_is_kept_when_the_bind_is_gone():
    rig = Rig()
    names = [f"file{number}" for number in range(50)]
    for name in names:
        rig.fill(name, b"one")
    binds = [_bind(rig, name) for name in names]
    for name in names:
        _save(rig, name, b"two")
    assert all(_read(where) == b"two" for where in binds)
    for where in binds:
        subprocess.run(["umount", where], check=True)

    def forgotten():
        calls.forget_names(rig.mount.where)
        return rig.mount.stats()["nodes"] == 1
    wait_for(forgotten, "the client has forgotten every file", 20)
    nodes = rig.server.ctl("status", "--json")
    wait_for(lambda: '"nodes": 1' in rig.server.ctl("status", "--json") or
             '"nodes":1' in rig.server.ctl("status", "--json"), f"the server has forgotten every file: {nodes}", 20)
    rig.end()


run(100)
