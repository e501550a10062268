#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The right error, also where two apply, and what a full disk does."""
import errno
import itertools
import mmap
import os
import shutil
import subprocess

from lib import TWINS, Mount, Rig, Server, Twin, calls, case, expect_errno, read_file, run, unmount, wait_for, world, \
    write_file
from lib.hang import Hang
from lib.twin import outcome


def _prepare(directory):
    def at(name):
        return os.path.join(directory, name)
    with open(at("file"), "wb") as file:
        file.write(b"content")
    os.mkdir(at("empty"))
    os.mkdir(at("full"))
    with open(at("full/inside"), "wb"):
        pass
    os.symlink("file", at("link"))
    os.symlink("full", at("dirlink"))
    os.symlink("nothing", at("dangling"))
    os.symlink("loop2", at("loop1"))
    os.symlink("loop1", at("loop2"))
    for number in range(42):
        os.symlink("file" if number == 0 else f"chain{number - 1}", at(f"chain{number}"))


# Each gets a path; what they answer for each kind of path must be what a local directory answers.
CALLS = {
    "stat": os.stat, "lstat": os.lstat, "readlink": os.readlink, "listdir": lambda p: sorted(os.listdir(p)),
    "rmdir": os.rmdir, "unlink": os.unlink, "mkdir": os.mkdir, "chmod": lambda p: os.chmod(p, 0o700),
    "chown": lambda p: os.chown(p, 0, 0), "lchown": lambda p: os.lchown(p, 0, 0),
    "truncate": lambda p: os.truncate(p, 3), "truncate-1": lambda p: os.truncate(p, -1), "utime": os.utime,
    "read": lambda p: os.close(os.open(p, os.O_RDONLY)), "write": lambda p: os.close(os.open(p, os.O_WRONLY)),
    "directory": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_DIRECTORY)),
    "create": lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT, 0o644)),
    "exclusive": lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)),
    "nofollow": lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NOFOLLOW)),
    "symlink": lambda p: os.symlink("x", p), "mkfifo": os.mkfifo, "access": lambda p: calls.faccessat2(p, os.R_OK),
    "chdir": lambda p: (os.chdir(p), os.chdir("/")), "statvfs": lambda p: os.statvfs(p).f_namemax,
    "setxattr": lambda p: os.setxattr(p, "user.x", b"1"), "getxattr": lambda p: os.getxattr(p, "user.x"),
    "lchmod": lambda p: calls.fchmodat2(p, 0o700, calls.AT_SYMLINK_NOFOLLOW),
}
READING = {"stat", "lstat", "readlink", "listdir", "read", "directory", "nofollow", "access", "chdir", "statvfs"}
PATHS = ("file", "empty", "full", "link", "dirlink", "dangling", "loop1", "none", "none/x", "file/x", "file/", "empty/",
         "empty/.", "full/..", "file/.", "link/", "dirlink/", "dangling/", "loop1/x", "chain38", "chain39", "chain40",
         "chain41/", "full/inside", "full/inside/x/y", "x" * 255, "x" * 256, "full/" + "x" * 256, "x/" * 2040 + "y",
         "./" * 2046 + "x", "x" * 4096, "full/../file", "none/../file", "file/../file", "")


def _fresh(rig):
    for place in (rig.local("w"), rig.guest("w")):
        shutil.rmtree(place, ignore_errors=True)
        os.mkdir(place)
        _prepare(place)


@case
def every_call_with_every_kind_of_path_answers_as_a_local_directory():
    for server in TWINS:
        rig = Twin(server)
        problems = []
        _fresh(rig)
        for name, call in CALLS.items():
            for path in PATHS:
                def attempt(directory, call=call, path=path):
                    # Relative, so that the length of the names before it does not count.
                    os.chdir(os.path.join(directory, "w"))
                    try:
                        value = call(path)
                    finally:
                        os.chdir("/")
                    return None if isinstance(value, os.stat_result) else value

                value = None
                try:
                    value = rig.same(attempt, what=f"{name} of {path[:40]!r} ({len(path)})")
                except AssertionError as error:
                    problems.append(str(error))
                if not isinstance(value, str) and name not in READING:
                    _fresh(rig)
        assert not problems, f"{len(problems)} differences:\n" + "\n".join(problems[:30])
        rig.end()


@case
def writes_and_reads_with_bad_arguments():
    for server in TWINS:
        rig = Twin(server)
        rig.both(_prepare)

        def bad(directory):
            reading = os.open(os.path.join(directory, "file"), os.O_RDONLY)
            writing = os.open(os.path.join(directory, "file"), os.O_WRONLY)
            folder = os.open(directory, os.O_RDONLY)
            values = [outcome(*call) for call in (
                (os.write, reading, b"x"), (os.read, writing, 1), (os.read, folder, 1), (os.write, folder, b"x"),
                (os.ftruncate, reading, 0), (os.ftruncate, folder, 0), (os.ftruncate, writing, -1),
                (os.pread, reading, 1, -1), (os.pwrite, writing, b"x", -1), (os.lseek, reading, -1, os.SEEK_SET),
                (os.lseek, reading, -100, os.SEEK_END), (os.lseek, reading, 0, 9),
                (os.lseek, reading, -1, os.SEEK_DATA), (os.lseek, reading, 7, os.SEEK_DATA),
                (os.lseek, reading, 7, os.SEEK_HOLE), (os.lseek, reading, 99, os.SEEK_HOLE),
                (calls.fallocate, reading, 0, 0, 9), (calls.fallocate, folder, 0, 0, 9),
                (calls.fallocate, writing, 0, 0, 0), (calls.fallocate, writing, 0, -1, 5),
                (calls.fallocate, writing, calls.FALLOC_PUNCH_HOLE, 0, 5), (os.fdatasync, reading),
                (os.copy_file_range, folder, writing, 1), (os.copy_file_range, reading, folder, 1))]
            for mapping in ((reading, mmap.PROT_WRITE), (writing, mmap.PROT_READ), (folder, mmap.PROT_READ)):
                values.append(outcome(lambda m=mapping: mmap.mmap(m[0], 1, prot=m[1]).close()))
            for descriptor in (reading, writing, folder):
                os.close(descriptor)
            return values

        rig.both(bad)
        rig.same_tree()
        rig.end()


@case
def permissions_stand_in_the_way_of_guests_users_as_they_do_locally():
    """uid 1000 against files of root and of its own, every mode of directory and file."""
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            os.chmod(place, 0o755)
            for mode in range(8):
                for owner, folder in ((0, f"root{mode}"), (1000, f"own{mode}")):
                    top = os.path.join(place, folder)
                    os.mkdir(top)
                    for inner in ("file", "other"):
                        with open(os.path.join(top, inner), "wb") as file:
                            file.write(b"x")
                        os.chmod(os.path.join(top, inner), mode << 6 | mode)
                        os.chown(os.path.join(top, inner), owner, owner)
                    os.mkdir(os.path.join(top, "dir"))
                    os.chown(os.path.join(top, "dir"), owner, owner)
                    os.chown(top, owner, owner)
                    os.chmod(top, mode << 6 | mode)
            os.mkdir(os.path.join(place, "sticky"))
            for owner in (0, 1000):
                write_file(os.path.join(place, f"sticky/{owner}"), owner=(owner, owner))
                write_file(os.path.join(place, f"sticky/{owner}b"), owner=(owner, owner))
            os.chmod(os.path.join(place, "sticky"), 0o1777)

        def probe(directory):
            values = []
            for owner, mode in itertools.product(("root", "own"), range(8)):
                top = f"{directory}/{owner}{mode}"
                for call in ((os.listdir, top), (os.stat, top + "/file"), (os.stat, top + "/none"),
                             (lambda p: os.close(os.open(p, os.O_RDONLY)), top + "/file"),
                             (lambda p: os.close(os.open(p, os.O_WRONLY)), top + "/file"),
                             (lambda p: os.close(os.open(p, os.O_RDONLY | os.O_NOATIME)), top + "/file"),
                             (lambda p: os.close(os.open(p, os.O_RDWR | os.O_CREAT)), top + "/new"),
                             (os.mkdir, top + "/newdir"), (os.mkdir, top + "/dir"), (os.symlink, "x", top + "/newlink"),
                             (os.mkfifo, top + "/newfifo"), (os.link, top + "/file", top + "/linked"),
                             (os.rename, top + "/other", top + "/renamed"), (os.chmod, top + "/file", mode << 6 | mode),
                             (os.chown, top + "/file", 1000, 1000), (os.chown, top + "/file", 0, 0),
                             (os.chown, top + "/file", -1, 2000), (os.utime, top + "/file"),
                             (os.utime, top + "/file", (1, 1)), (os.truncate, top + "/file", 1),
                             (os.setxattr, top + "/file", "user.x", b"1"), (os.getxattr, top + "/file", "user.x"),
                             (os.access, top + "/file", 4), (os.access, top + "/file", 2), (os.chdir, top),
                             (os.unlink, top + "/file"), (os.rmdir, top + "/dir"), (os.rmdir, top)):
                    value = outcome(*call)
                    values.append((owner, mode, getattr(call[0], "__name__", ""), sorted(value) if isinstance(
                        value, list) else None if isinstance(value, os.stat_result) else value))
            for name in ("0", "1000"):
                values.append(outcome(os.rename, f"{directory}/sticky/{name}b", f"{directory}/sticky/moved{name}"))
                values.append(outcome(os.unlink, f"{directory}/sticky/{name}"))
            values.append(outcome(os.mknod, f"{directory}/sticky/device", 0o20666, os.makedev(1, 3)))
            values.append(outcome(os.mknod, f"{directory}/sticky/fifo", 0o10666))
            values.append(outcome(os.mknod, f"{directory}/sticky/plain", 0o100666))
            return values

        here = calls.as_ids(1000, 1000, probe, rig.local())
        there = calls.as_ids(1000, 1000, probe, rig.guest())
        problems = [f"local {one}, mount {two}" for one, two in zip(here, there) if one != two]
        assert not problems, f"{server}: {len(problems)} differences:\n" + "\n".join(problems[:30])
        rig.end()


@case
def a_read_only_mount_refuses_every_change_with_erofs():
    rig = Rig("ro")
    _prepare(rig.host())
    for path, _, files in os.walk(rig.host()):
        for name in [path] + [os.path.join(path, name) for name in files]:
            os.lchown(name, world.UID, world.GID)
    file, folder, new = rig.guest("file"), rig.guest("empty"), rig.guest("new")
    for call in ((os.open, file, os.O_WRONLY), (os.open, file, os.O_RDONLY | os.O_TRUNC),
                 (os.open, new, os.O_RDWR | os.O_CREAT), (os.mkdir, new), (os.rmdir, folder), (os.unlink, file),
                 (os.rename, file, new), (os.link, file, new), (os.symlink, "x", new), (os.chmod, file, 0o600),
                 (os.mkfifo, new), (os.chown, file, 0, 0), (os.utime, file), (os.truncate, file, 0),
                 (os.setxattr, file, "user.x", b""), (os.removexattr, file, "user.x"),
                 (os.open, rig.guest(), os.O_TMPFILE | os.O_RDWR)):
        expect_errno(errno.EROFS, *call)
    expect_errno(errno.EROFS, calls.faccessat2, file, os.W_OK)
    # As on every read-only mount: what is there is told first, what is not there is not.
    expect_errno(errno.EEXIST, os.mkdir, folder)
    expect_errno(errno.EROFS, os.unlink, rig.guest("none"))
    expect_errno(errno.ENOENT, os.open, new, os.O_RDONLY)
    assert os.statvfs(rig.guest()).f_flag & os.ST_RDONLY
    assert read_file(file) == b"content"
    rig.end()


@case
def another_file_system_below_is_another_device():
    rig = Rig()
    os.mkdir(rig.host("below"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,uid={world.UID}", "tmpfs", rig.host("below")], check=True)
    try:
        rig.fill("file", "x")
        write_file(rig.host("below/inside"), "y")
        assert read_file(rig.guest("below/inside")) == b"y"
        expect_errno(errno.EXDEV, os.rename, rig.guest("file"), rig.guest("below/file"))
        expect_errno(errno.EXDEV, os.link, rig.guest("file"), rig.guest("below/file"))
        expect_errno(errno.EBUSY, os.rmdir, rig.guest("below"))
        expect_errno(errno.EBUSY, os.rename, rig.guest("below"), rig.guest("elsewhere"))
        expect_errno(errno.EXDEV, os.rename, rig.guest("file"), os.path.join(world.work_directory(), "away"))
        expect_errno(errno.EBUSY, os.rmdir, rig.guest())
        assert os.statvfs(rig.guest("below")).f_blocks == os.statvfs(rig.host("below")).f_blocks
    finally:
        rig.mount.unmount()
        unmount(rig.host("below"))
    rig.server.stop()


def _small(size, *options):
    """A rig whose share is a tmpfs of that size, without a reserve."""
    share = os.path.join(world.case_directory("small"), "share")
    os.mkdir(share)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},{','.join(options) or 'rw'}", "tmpfs", share],
                   check=True)
    world.at_end(lambda: unmount(share, lazy=True))
    return Rig(share=share, server_arguments=["--disk-reserve", "0"])


def _once_freed(action):
    """The kernel tells of a close after it is done: what an unlinked file took is free a moment later."""
    def works():
        try:
            action()
            return True
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            return False
    wait_for(works, "space of a removed file", 1)


@case
def a_full_disk_is_told_at_the_write_and_nothing_is_lost():
    rig = _small("2m")
    content = os.urandom(4 << 20)
    with open(rig.guest("kept"), "wb") as file:
        file.write(content[:500_000])
    descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_RDWR)
    written = 0
    try:
        while True:
            written += os.write(descriptor, content[written:written + 100_000])
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    assert written > 1_000_000
    assert os.fstat(descriptor).st_size == written == os.stat(rig.host("file")).st_size
    assert read_file(rig.host("file")) == content[:written] == read_file(rig.guest("file"))
    # One write of more than fits is short, and its part is there.
    os.ftruncate(descriptor, 0)
    first = os.pwrite(descriptor, content, 0)
    assert 1_000_000 < first < len(content)
    assert read_file(rig.host("file")) == content[:first]
    expect_errno(errno.ENOSPC, calls.fallocate, descriptor, 0, 0, 4 << 20)
    expect_errno(errno.ENOSPC, os.pwrite, descriptor, b"x", 3 << 20)
    # Overwriting needs no space.
    assert os.pwrite(descriptor, b"over", 10) == 4
    os.fsync(descriptor)
    os.close(descriptor)
    assert read_file(rig.guest("kept")) == content[:500_000] == read_file(rig.host("kept"))
    with open(rig.guest("new"), "wb") as file:
        expect_errno(errno.ENOSPC, os.write, file.fileno(), b"x" * 8192)
    os.unlink(rig.guest("file"))
    _once_freed(lambda: write_file(rig.guest("again"), content[:1_000_000], owner=(0, 0)))
    assert read_file(rig.host("again")) == content[:1_000_000]
    rig.end()


@case
def the_last_of_a_disk_is_not_for_guests():
    share = os.path.join(world.case_directory("small"), "share")
    os.mkdir(share)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", share], check=True)
    world.at_end(lambda: unmount(share, lazy=True))
    rig = Rig(share=share)
    rig.fill("file")
    rig.fill("hosts", bytes(10_200_000))
    expect_errno(errno.ENOSPC, os.mkdir, rig.guest("new"))
    with open(rig.guest("file"), "wb", buffering=0) as stream:
        expect_errno(errno.ENOSPC, stream.write, b"x")
        expect_errno(errno.ENOSPC, os.posix_fallocate, stream.fileno(), 0, 4096)
        # Removing, and making a hole, needs no room; what the host writes is the host's business.
        calls.fallocate(stream.fileno(), calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE, 0, 4096)
        rig.fill("more", bytes(100_000))
        os.unlink(rig.guest("hosts"))
        _once_freed(lambda: stream.write(b"content"))
    assert read_file(rig.host("file")) == b"content"
    rig.end()


@case
def a_full_disk_under_a_mapping_is_told_at_msync_or_by_a_signal():
    rig = _small("1m")
    descriptor = os.open(rig.guest("file"), os.O_CREAT | os.O_RDWR)
    os.ftruncate(descriptor, 4 << 20)
    told = None
    with mmap.mmap(descriptor, 4 << 20) as view:
        for at in range(0, 4 << 20, 4096):
            view[at] = 1
        try:
            view.flush()
            os.fsync(descriptor)
        except OSError as error:
            told = error.errno
    assert told in (errno.ENOSPC, errno.EIO), told
    os.close(descriptor)
    rig.end()


@case
def a_quota_is_told_at_the_write_or_at_close_and_fsync():
    """Where the host's file system tells late (it is reached by network or FUSE), close and fsync tell."""
    share = os.path.join(world.case_directory("quota"), "share")
    Hang(share)
    server = Server([share], arguments=["--disk-reserve", "0"])
    mount = Mount(server, share)
    content = os.urandom(100_000)
    descriptor = os.open(mount / "quota", os.O_RDWR)
    written = sum(os.write(descriptor, content[at:at + 8192]) for at in range(0, 65536, 8192))
    assert written == 65536
    expect_errno(errno.EDQUOT, os.write, descriptor, content[written:])
    os.fsync(descriptor)
    os.close(descriptor)
    assert read_file(mount / "quota") == content[:written] == read_file(os.path.join(share, "quota"))
    descriptor = os.open(mount / "late", os.O_WRONLY)
    assert os.write(descriptor, content) == len(content)
    expect_errno(errno.EDQUOT, os.fsync, descriptor)
    expect_errno(errno.EDQUOT, os.fdatasync, descriptor)
    expect_errno(errno.EDQUOT, os.close, descriptor)
    descriptor = os.open(mount / "late", os.O_RDONLY)
    os.close(descriptor)
    mount.unmount()
    server.stop()


@case
def no_more_inodes_is_enospc_for_all_that_makes_one():
    rig = _small("2m", "nr_inodes=20")
    made = 0
    try:
        while True:
            os.close(os.open(rig.guest(f"f{made}"), os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    assert 10 < made < 20 and len(os.listdir(rig.host())) == made
    for call in ((os.mkdir, rig.guest("dir")), (os.mkfifo, rig.guest("fifo")), (os.symlink, "x", rig.guest("link")),
                 (os.open, rig.guest(), os.O_TMPFILE | os.O_RDWR)):
        expect_errno(errno.ENOSPC, *call)
    assert sorted(os.listdir(rig.guest())) == sorted(os.listdir(rig.host()))
    assert os.statvfs(rig.guest()).f_ffree == 0
    write_file(rig.guest("f0"), b"contents still fit", owner=(0, 0))
    os.unlink(rig.guest("f1"))
    _once_freed(lambda: os.mkdir(rig.guest("dir")))
    rig.end()


@case
def too_many_links_is_emlink():
    rig = Rig()
    os.mkdir(rig.host("d"))
    os.chown(rig.host("d"), world.UID, world.GID)
    rig.fill("d/file")
    most = os.pathconf(rig.host("d"), "PC_LINK_MAX")
    for number in range(most - 1):
        try:
            os.link(rig.host("d/file"), rig.host(f"d/l{number}"))
        except OSError:
            break
    assert os.stat(rig.guest("d/file")).st_nlink == most
    expect_errno(errno.EMLINK, os.link, rig.guest("d/file"), rig.guest("d/one more"))
    assert os.stat(rig.guest("d/file")).st_nlink == most
    rig.end()


@case
def a_name_that_became_another_file_is_stale_or_the_new_file_never_a_mix():
    rig = Rig()
    rig.fill("file", "old")
    pinned = os.open(rig.guest("file"), os.O_PATH)
    os.unlink(rig.host("file"))
    rig.fill("file", "new and longer")
    try:
        descriptor = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY)
        assert os.read(descriptor, 99) == b"old"
        os.close(descriptor)
    except OSError as error:
        assert error.errno in (errno.ESTALE, errno.ENOENT), error
    os.close(pinned)
    assert read_file(rig.guest("file")) == b"new and longer"
    rig.end()


@case
def the_hosts_own_refusals_arrive():
    """What the serving user may not do, guest's root may not do: EACCES or EPERM, whatever the view says."""
    rig = Rig()
    write_file(rig.host("foreign"), "secret", mode=0o600, owner=(0, 0))
    os.mkdir(rig.host("closed"), 0o700)
    os.mkdir(rig.host("shown"), 0o755)
    write_file(rig.host("shown/file"), "public", mode=0o644, owner=(0, 0))
    for call in ((os.open, rig.guest("foreign"), os.O_RDONLY), (os.listdir, rig.guest("closed")),
                 (os.open, rig.guest("shown/new"), os.O_CREAT | os.O_RDWR), (os.unlink, rig.guest("shown/file")),
                 (os.open, rig.guest("shown/file"), os.O_WRONLY), (os.truncate, rig.guest("shown/file"), 0)):
        expect_errno(errno.EACCES, *call)
    for call in ((os.chmod, rig.guest("shown/file"), 0o666), (os.chown, rig.guest("foreign"), 0, 0),
                 (os.utime, rig.guest("shown/file"), (1, 1))):
        expect_errno(errno.EPERM, *call)
    assert read_file(rig.guest("shown/file")) == b"public" and read_file(rig.host("foreign")) == b"secret"
    assert os.stat(rig.host("foreign")).st_mode & 0o777 == 0o600 and os.stat(rig.host("foreign")).st_uid == 0
    rig.end()


run()
