#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Owners, modes and special bits: the view, what is recorded, and what the host allows."""
import errno
import itertools
import os
import shutil
import signal
import stat
import struct
import subprocess
import time

from lib import GID, TWINS, UID, Mount, Rig, Twin, calls, case, expect_errno, read_file, run, skip, wait_for, world, \
    write_file

RECORD = "user.containers.override_stat"
ROOT_RECORD = "security.fuseoverlayfs.override_stat"


def _show(path):
    seen = os.lstat(path)
    return oct(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_nlink


def _real(path):
    seen = os.lstat(path)
    return oct(stat.S_IMODE(seen.st_mode)), seen.st_uid, seen.st_gid


def _records(top):
    """Files of the host that carry a record."""
    found = {}
    for folder, directories, files in os.walk(top):
        for name in directories + files + [""]:
            path = os.path.join(folder, name).rstrip("/")
            for key in os.listxattr(path, follow_symlinks=False):
                if "override_stat" in key:
                    found[os.path.relpath(path, top)] = os.getxattr(path, key, follow_symlinks=False)
    return found


def _need_xattrs(rig):
    try:
        os.setxattr(rig.host(), "user.probe", b"1")
        os.removexattr(rig.host(), "user.probe")
    except OSError:
        skip("the host's file system has no user xattrs")


@case
def modes_of_new_objects_under_every_umask_and_kind_of_directory():
    makers = {
        "open": lambda p, mode: os.close(os.open(p, os.O_CREAT | os.O_WRONLY, mode)),
        "mkdir": os.mkdir, "mkfifo": os.mkfifo, "mknod": lambda p, mode: os.mknod(p, stat.S_IFREG | mode),
        "symlink": lambda p, mode: os.symlink("x", p),
    }
    for server in TWINS:
        rig = Twin(server)

        def make(directory, umask, mode, name, folder_mode, folder_group):
            folder = directory + "/folder"
            if os.path.exists(folder):
                shutil.rmtree(folder)
            os.mkdir(folder)
            os.chown(folder, 0, folder_group)
            os.chmod(folder, folder_mode)
            old = os.umask(umask)
            try:
                makers[name](folder + "/new", mode)
            finally:
                os.umask(old)
            return _show(folder + "/new"), _show(folder)[:3]

        for umask, mode, name in itertools.product((0, 0o022, 0o077, 0o777), (0o777, 0o644, 0, 0o7777, 0o2755),
                                                   makers):
            rig.both(make, umask, mode, name, 0o755, 0)
        for name, folder_mode, mode in itertools.product(makers, (0o2775, 0o3777, 0o1777, 0o4755),
                                                         (0o755, 0o2755, 0o2644, 0o1777)):
            rig.both(make, 0o022, mode, name, folder_mode, 77)
        rig.end()


@case
def users_of_the_guest_own_what_they_make():
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            os.mkdir(place + "/open")
            os.chmod(place + "/open", 0o1777)
            os.mkdir(place + "/group")
            os.chown(place + "/group", 0, 88)
            os.chmod(place + "/group", 0o2777)

        def make(directory):
            values = []
            for folder in ("open", "group"):
                top = f"{directory}/{folder}"
                os.close(os.open(top + "/file", os.O_CREAT | os.O_WRONLY, 0o640))
                os.mkdir(top + "/dir", 0o750)
                os.mkdir(top + "/dir/deeper")
                os.mkfifo(top + "/fifo")
                values += [_show(top + "/" + name) for name in ("file", "dir", "dir/deeper", "fifo")]
                # setgid for a group that one is not in is dropped.
                for name in ("file", "dir"):
                    os.chmod(f"{top}/{name}", 0o2755)
                    values.append(_show(f"{top}/{name}"))
                descriptor = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o600)
                seen = os.fstat(descriptor)
                values.append((seen.st_uid, seen.st_gid))
                os.close(descriptor)
            return values

        here = calls.as_ids(1000, 1001, make, rig.local())
        there = calls.as_ids(1000, 1001, make, rig.guest())
        assert here == there, f"{server}:\nlocal {here}\nmount {there}"
        real = _real(rig.host("open/file"))
        assert real[1:] == ((UID, GID) if server == "user" else (1000, 1001)), real
        rig.end()


@case
def setuid_and_setgid_go_where_they_go_locally():
    changes = {
        "write": lambda p: _with(p, os.O_WRONLY, lambda fd: os.write(fd, b"x")),
        "append": lambda p: _with(p, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")),
        "truncate": lambda p: os.truncate(p, 1), "open": lambda p: _with(p, os.O_WRONLY, lambda fd: None),
        "ftruncate": lambda p: _with(p, os.O_WRONLY, lambda fd: os.ftruncate(fd, 1)),
        "O_TRUNC": lambda p: _with(p, os.O_WRONLY | os.O_TRUNC, lambda fd: None),
        "fallocate": lambda p: _with(p, os.O_WRONLY, lambda fd: calls.fallocate(fd, 0, 0, 100)),
        "copy": lambda p: _with(p, os.O_RDWR, lambda fd: os.copy_file_range(fd, fd, 1, 0, 5)),
        "chown": lambda p: os.chown(p, os.getuid(), os.getgid()), "chgrp": lambda p: os.chown(p, -1, os.getgid()),
        "chown to nothing": lambda p: os.chown(p, -1, -1), "utime": os.utime,
        "chmod": lambda p: os.chmod(p, stat.S_IMODE(os.stat(p).st_mode)), "link": lambda p: os.link(p, p + ".l"),
        "setxattr": lambda p: os.setxattr(p, "user.x", b"1"),
        "rename": lambda p: (os.rename(p, p + "2"), os.rename(p + "2", p)),
    }
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            os.chmod(place, 0o777)
        for uid, mode, name in itertools.product((0, 1000), (0o6755, 0o4711, 0o2750, 0o2640, 0o6666), changes):
            found = []
            for place in (rig.local(), rig.guest()):
                path = place + "/file"
                for old in (path, path + ".l"):
                    if os.path.exists(old):
                        os.unlink(old)
                with open(path, "wb") as file:
                    file.write(b"content")
                os.chown(path, uid, uid)
                os.chmod(path, mode)

                def act(path=path, name=name):
                    changes[name](path)
                    return _show(path)

                found.append(calls.as_ids(uid, uid, act))
            if uid == 0 and name in ("fallocate", "copy"):
                # The kernel does not say who asks: it is cleared for root, too.
                found[0] = (oct(int(found[0][0], 8) & ~(0o6000 if mode & 0o10 else 0o4000)),) + found[0][1:]
            assert found[0] == found[1], f"{server}: uid {uid} mode {mode:o} {name}: local {found[0]}, mount {found[1]}"
            assert os.stat(rig.host("file")).st_mode & 0o7000 == 0
        rig.end()


def _with(path, flags, action):
    descriptor = os.open(path, flags)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


@case
def chown_and_chmod_of_everything():
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            write_file(place + "/file", "x", owner=(0, 0))
            os.mkdir(place + "/dir")
            os.symlink("file", place + "/link")
            os.mkfifo(place + "/fifo")

        def change(directory):
            values = []
            for name in ("file", "dir", "fifo"):
                path = f"{directory}/{name}"
                for uid, gid in ((1, 2), (-1, 3), (4, -1), (-1, -1), (2 ** 32 - 2, 2 ** 32 - 2), (0, 0)):
                    os.chown(path, uid, gid)
                    values.append(_show(path))
                for mode in (0, 0o777, 0o7777, 0o1000, 0o644):
                    os.chmod(path, mode)
                    values.append(_show(path))
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                os.fchmod(descriptor, 0o3711)
                os.fchown(descriptor, 5, 6)
                seen = os.fstat(descriptor)
                values.append((oct(seen.st_mode), seen.st_uid, seen.st_gid, _show(path)))
                os.close(descriptor)
            os.chown(directory + "/link", 7, 8)
            values.append(_show(directory + "/file"))
            try:
                calls.fchmodat2(directory + "/link", 0o700, calls.AT_SYMLINK_NOFOLLOW)
            except OSError as error:
                values.append(error.errno)
            return values

        rig.both(change)
        for name in ("file", "dir", "fifo"):
            assert os.stat(rig.host(name)).st_mode & 0o7000 == 0
        if server == "root":
            assert _real(rig.host("file"))[1:] == (7, 8)
        else:
            assert _real(rig.host("file"))[1:] == (UID, GID)
        rig.end()


@case
def where_owners_are_the_hosts_those_of_links_are_too():
    rig = Twin("root")
    os.symlink("x", rig.guest("link"))
    os.lchown(rig.guest("link"), 5, 6)
    assert _show(rig.guest("link"))[1:3] == (5, 6) == _real(rig.host("link"))[1:]
    rig.end()


@case
def the_owners_own_bits_never_stand_in_the_way_of_the_guests_root():
    for server in TWINS:
        rig = Twin(server)

        def use(directory):
            values = []
            descriptor = os.open(directory + "/readonly", os.O_CREAT | os.O_WRONLY, 0o444)
            os.write(descriptor, b"written through a 0444")
            os.close(descriptor)
            values.append((read_file(directory + "/readonly"), _show(directory + "/readonly")))
            _with(directory + "/readonly", os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"!"))
            for mode in (0o444, 0, 0o200, 0o111):
                path = directory + "/readonly"
                os.chmod(path, mode)
                os.utime(path, (1, 2))
                os.setxattr(path, "user.x", b"1")
                values += [os.getxattr(path, "user.x"), os.listxattr(path), read_file(path), os.stat(path).st_mtime]
                os.chown(path, 9, 9)
                values.append(_show(path))
                os.truncate(path, 5)
                os.link(path, path + ".l")
                os.rename(path + ".l", path + ".m")
                os.unlink(path + ".m")
                os.chown(path, 0, 0)
                values.append(_show(path))
            os.mkdir(directory + "/closed", 0)
            os.mkdir(directory + "/closed/inner", 0)
            write_file(directory + "/closed/inner/file", "deep", mode=0, owner=(0, 0))
            os.symlink("x", directory + "/closed/inner/link")
            os.mkfifo(directory + "/closed/inner/fifo")
            os.rename(directory + "/closed/inner/fifo", directory + "/closed/moved")
            values += [sorted(os.listdir(directory + "/closed")), sorted(os.listdir(directory + "/closed/inner")),
                       read_file(directory + "/closed/inner/file"), _show(directory + "/closed/inner"),
                       _show(directory + "/closed")]
            return values

        rig.both(use)
        assert _real(rig.host("closed"))[0] == "0o0" == _real(rig.host("closed/inner"))[0]
        subprocess.run(["cp", "-p", rig.guest("readonly"), rig.guest("copied")], check=True)
        assert read_file(rig.host("copied")) == read_file(rig.host("readonly"))
        for name in ("a/b/c", "a/d"):
            os.makedirs(rig.guest(name))
            write_file(rig.guest(name + "/file"), "x", mode=0o444, owner=(0, 0))
        for folder, _, _ in os.walk(rig.guest("a"), topdown=False):
            os.chmod(folder, 0o555)
        subprocess.run(["rm", "-rf", rig.guest("a"), rig.guest("closed")], check=True)
        assert not os.path.exists(rig.host("a")) and not os.path.exists(rig.host("closed"))
        rig.end()


@case
def nobody_sees_the_bits_that_are_lifted_for_a_moment():
    """One process makes and removes names in a 0555 directory, which takes a lift each time; others look at it."""
    rig = Rig("cache=none")
    os.mkdir(rig.guest("closed"))
    os.chmod(rig.guest("closed"), 0o555)
    pid = os.fork()
    if pid == 0:
        while True:
            os.mkdir(rig.guest("closed/x"))
            os.rmdir(rig.guest("closed/x"))
    try:
        seen = set()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            seen.add(oct(os.stat(rig.guest("closed")).st_mode))
        assert seen == {"0o40555"}, seen
        # A change of the mode meanwhile is not undone by putting the old one back.
        for number in range(200):
            mode = 0o500 if number % 2 else 0o510
            os.chmod(rig.guest("closed"), mode)
            wait_for(lambda mode=mode: stat.S_IMODE(os.stat(rig.guest("closed")).st_mode) == mode, "mode", 1, 0.001)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    wait_for(lambda: _real(rig.host("closed"))[0] == "0o500", "the mode on the host", 2)
    rig.end()


@case
def under_permissions_host_nothing_is_lifted():
    rig = Rig("permissions=host")
    rig.fill("readonly", "kept", mode=0o444)
    rig.fill("closed", "kept", mode=0)
    rig.fill("foreign", "kept", owner=(4321, 4321), mode=0o644)
    for uid in (0, 1000):
        def attempts():
            values = []
            for name, flags in (("readonly", os.O_RDONLY), ("readonly", os.O_WRONLY), ("closed", os.O_RDONLY),
                                ("foreign", os.O_RDONLY), ("foreign", os.O_WRONLY)):
                try:
                    os.close(os.open(rig.guest(name), flags))
                    values.append("opened")
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            with open(rig.guest(f"mine{os.getuid()}"), "wb") as file:
                file.write(b"x")
            os.chmod(rig.guest(f"mine{os.getuid()}"), 0o600)
            return values
        assert calls.as_ids(uid, uid, attempts) == ["opened", "EACCES", "EACCES", "opened", "EACCES"]
        assert _real(rig.host(f"mine{uid}")) == ("0o600", UID, GID)
        assert _show(rig.guest(f"mine{uid}"))[1:3] == (uid, uid)
    rig.end()


@case
def what_is_recorded_outlives_unmount_restart_rename_and_links():
    for server in TWINS:
        rig = Twin(server)
        _need_xattrs(rig)
        os.mkdir(rig.guest("dir"))
        write_file(rig.guest("dir/file"), "x", owner=(1000, 1001))
        os.chmod(rig.guest("dir/file"), 0o4750)
        os.chown(rig.guest("dir/file"), 1000, 1001)
        os.chmod(rig.guest("dir/file"), 0o4750)
        os.chown(rig.guest("dir"), 33, 44)
        os.chmod(rig.guest("dir"), 0o3775)
        os.link(rig.guest("dir/file"), rig.guest("hard"))
        os.rename(rig.guest("dir/file"), rig.guest("dir/moved"))
        os.mknod(rig.guest("device"), stat.S_IFBLK | 0o640, os.makedev(8, 17))

        def look(top):
            return [_show(top + name) for name in ("/dir", "/dir/moved", "/hard", "/device")], os.stat(
                top + "/device").st_rdev
        before = look(rig.guest())
        assert before[0][1][:3] == ("0o104750", 1000, 1001) == before[0][2][:3], before
        assert before[0][0][:3] == ("0o43775", 33, 44), before
        assert before[0][3][0] == "0o60640" and before[1] == os.makedev(8, 17), before
        rig.mount.unmount()
        rig.server.stop()
        rig.server.start()
        rig.remount()
        assert look(rig.guest()) == before
        # cp -a within the mount keeps it; back to plain, and the record goes.
        subprocess.run(["cp", "-a", rig.guest("dir"), rig.guest("copy")], check=True)
        assert _show(rig.guest("copy/moved"))[:3] == before[0][1][:3] and _show(rig.guest("copy")) == before[0][0]
        for name in ("dir", "dir/moved", "hard", "copy", "copy/moved"):
            os.chown(rig.guest(name), 0, 0)
            os.chmod(rig.guest(name), 0o755)
        os.unlink(rig.guest("device"))
        assert _records(rig.host()) == {}, _records(rig.host())
        rig.end()


@case
def an_ordinary_project_never_gets_a_record():
    for server in TWINS:
        rig = Twin(server)
        script = ("umask 022; mkdir -p src/deep; echo x > src/a; cp src/a src/b; cp -a src copy; chmod 755 src/a; "
                  "chmod 600 src/b; ln src/a src/c; ln -s a src/l; mv src/b src/d; touch -d 2020-01-01 src/a; "
                  "tar cf t.tar src; mkdir out; tar xf t.tar -C out; install -m 644 src/a installed; "
                  "chown -R 0:0 .; sed -i s/x/y/ src/a; rm -rf copy")
        subprocess.run(["sh", "-ec", script], cwd=rig.guest(), check=True)
        assert _records(rig.host()) == {}, _records(rig.host())
        rig.end()


@case
def records_of_podman_and_others_are_read():
    rig = Rig()
    _need_xattrs(rig)
    shown = {
        "0:0:0755": (0o100644, 0, 0), "1000:1000:0644:file": (0o100644, 1000, 1000), "5:6:04755": (0o104644, 5, 6),
        "5:6:0104755:file": (0o104644, 5, 6), "7:8:640:pipe": (0o10644, 7, 8), "7:8:0640:socket": (0o140644, 7, 8),
        "0:6:0660:block-8-1": (0o60644, 0, 6), "0:5:0620:char-5-1": (0o20644, 0, 5),
    }
    for number, (text, (mode, uid, gid)) in enumerate(shown.items()):
        name = f"f{number}"
        rig.fill(name)
        os.setxattr(rig.host(name), RECORD, text.encode())
        seen = os.lstat(rig.guest(name))
        assert (seen.st_mode, seen.st_uid, seen.st_gid) == (mode, uid, gid), (text, seen)
        assert os.listxattr(rig.guest(name), follow_symlinks=False) == []
    assert os.stat(rig.guest("f6")).st_rdev == os.makedev(8, 1)
    rig.end()


@case
def a_hostile_record_widens_nothing():
    rig = Rig()
    _need_xattrs(rig)
    texts = (b"", b":", b"0:0", b"0:0:", b"-1:0:0777", b"0:0:0999", b"4294967295:0:0644", b"0:0:0777:link",
             b"0:0:0777:char-1-3x", b"0:0:0777:char-4096-0", b"0:0:0777:char-1", b"0:0:01777777", b"0 :0:0644",
             b"0x0:0:0644", b"0:0:0644\0", b"0:0:0644:file\n", b"9" * 3000, b"+1:0:0644", b"0:0:0644:block--1-0")
    for number, text in enumerate(texts):
        rig.fill(f"f{number}", mode=0o640)
        os.setxattr(rig.host(f"f{number}"), RECORD, text)
        seen = os.lstat(rig.guest(f"f{number}"))
        assert (seen.st_mode, seen.st_uid, seen.st_gid) == (0o100640, 0, 0), (text, seen)
    # Permission bits are the real ones, a file with content is a file, others' files are others'.
    rig.fill("wide", "secret", mode=0o600)
    os.setxattr(rig.host("wide"), RECORD, b"0:0:0777:char-1-3")
    assert os.lstat(rig.guest("wide")).st_mode == 0o100600 and read_file(rig.guest("wide")) == b"secret"
    assert calls.as_ids(1000, 1000, lambda: os.access(rig.guest("wide"), os.R_OK)) is False
    write_file(rig.host("foreign"), "x", mode=0o644, owner=(4321, 4321))
    os.setxattr(rig.host("foreign"), RECORD, b"0:0:06777:file")
    assert _show(rig.guest("foreign"))[:3] == ("0o100644", 65534, 65534)
    for call in ((os.setxattr, rig.guest("wide"), RECORD, b"1:1:0644"), (os.setxattr, rig.guest(), RECORD, b"x")):
        expect_errno(errno.EPERM, *call)
    expect_errno(errno.ENODATA, os.getxattr, rig.guest("wide"), RECORD)
    expect_errno(errno.ENODATA, os.removexattr, rig.guest("wide"), RECORD)
    rig.end()


@case
def a_record_of_a_host_user_means_nothing_to_root_that_shows_real_owners():
    rig = Twin("root")
    write_file(rig.host("device"), owner=(1000, 1000), mode=0o666)
    os.setxattr(rig.host("device"), RECORD, b"0:0:0666:char-1-1")
    write_file(rig.host("program"), "#!/bin/sh\n", owner=(1000, 1000), mode=0o755)
    os.setxattr(rig.host("program"), RECORD, b"0:0:06755:file")
    assert _show(rig.guest("device"))[:3] == ("0o100666", 1000, 1000)
    assert _show(rig.guest("program"))[:3] == ("0o100755", 1000, 1000)
    os.mknod(rig.guest("own"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert ROOT_RECORD in os.listxattr(rig.host("own"))
    assert RECORD not in os.listxattr(rig.host("own"))
    expect_errno(errno.EOPNOTSUPP, os.setxattr, rig.guest("own"), ROOT_RECORD, b"x")
    rig.end()


@case
def real_special_bits_of_the_host_are_shown_and_cleared_by_a_write():
    for server in TWINS:
        rig = Twin(server)
        write_file(rig.host("tool"), "x", mode=0o755, owner=(rig.server.uid, rig.server.gid))
        os.chmod(rig.host("tool"), 0o6755)
        assert _show(rig.guest("tool"))[0] == "0o106755"
        os.chmod(rig.guest(), 0o777)
        uid, gid = os.stat(rig.guest("tool")).st_uid, os.stat(rig.guest("tool")).st_gid
        os.chmod(rig.guest("tool"), 0o6777)
        assert calls.as_ids(uid + 1, gid + 1, lambda: os.truncate(rig.guest("tool"), 0)) is None
        assert _show(rig.guest("tool"))[0] == "0o100777"
        assert _real(rig.host("tool"))[0] == "0o777"
        rig.end()


@case
def other_numbers_for_the_view():
    rig = Rig("uid=1000", "gid=100")
    rig.fill("file", "x", mode=0o600)
    assert _show(rig.guest("file"))[1:3] == (1000, 100) == _show(rig.guest())[1:3]

    def as_him():
        with open(rig.guest("new"), "wb") as file:
            file.write(b"x")
        os.chmod(rig.guest("file"), 0o640)
        return read_file(rig.guest("file")), _show(rig.guest("new"))[1:3]

    assert calls.as_ids(1000, 100, as_him) == (b"x", (1000, 100))
    assert _records(rig.host()) == {}
    os.chown(rig.guest("file"), 0, 0)
    assert _records(rig.host())["file"].startswith(b"0:0:")
    assert _show(rig.guest("file"))[1:3] == (0, 0)
    rig.end()


@case
def real_numbers_by_a_server_that_is_no_root():
    rig = Rig("owner=host")
    rig.fill("file", "x")
    write_file(rig.host("foreign"), "x", owner=(4321, 1234))
    assert _show(rig.guest("file"))[1:3] == (UID, GID) and _show(rig.guest("foreign"))[1:3] == (4321, 1234)
    expect_errno(errno.EPERM, os.chown, rig.guest("file"), 1, 1)
    expect_errno(errno.EPERM, os.chown, rig.guest("foreign"), 0, 0)
    os.chown(rig.guest("file"), UID, GID)
    os.mkfifo(rig.guest("fifo"))
    os.chmod(rig.guest("file"), 0o4755)
    assert _show(rig.guest("file"))[0] == "0o104755" and _real(rig.host("file"))[0] == "0o755"
    assert stat.S_ISFIFO(os.stat(rig.guest("fifo")).st_mode)
    rig.end()


@case
def default_settings_of_a_host_directory_do_not_hurt():
    """Default ACLs, setgid directories of the host: what the guest asked for is what it gets."""
    rig = Rig()
    os.mkdir(rig.host("acl"))
    os.chown(rig.host("acl"), UID, GID)
    done = subprocess.run(["setfacl", "-d", "-m", "u::rwx,g::---,o::---,u:1234:rwx,m::rwx", rig.host("acl")],
                          check=False, capture_output=True) if shutil.which("setfacl") else None
    if done is None or done.returncode != 0:
        # The same by hand: version 2; user, user 1234, group, mask, other.
        entries = [(1, 7, 0xffffffff), (2, 7, 1234), (4, 0, 0xffffffff), (16, 7, 0xffffffff), (32, 0, 0xffffffff)]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        try:
            os.setxattr(rig.host("acl"), "system.posix_acl_default", value)
        except OSError:
            skip("the host's file system has no ACLs")
    os.mkdir(rig.host("group"))
    os.chown(rig.host("group"), UID, 4444)
    os.chmod(rig.host("group"), 0o2775)
    for folder in ("acl", "group"):
        old = os.umask(0o022)
        write_file(rig.guest(folder + "/file"), "x", mode=0o644, owner=(0, 0))
        os.close(os.open(rig.guest(folder + "/made"), os.O_CREAT | os.O_WRONLY, 0o664))
        os.mkdir(rig.guest(folder + "/dir"), 0o775)
        os.umask(old)
        assert stat.S_IMODE(os.stat(rig.guest(folder + "/made")).st_mode) == 0o644, folder
        assert stat.S_IMODE(os.stat(rig.guest(folder + "/dir")).st_mode) & 0o777 == 0o755, folder
        for key in ("system.posix_acl_access", "system.posix_acl_default"):
            expect_errno(errno.EOPNOTSUPP, os.getxattr, rig.guest(folder), key)
            expect_errno(errno.EOPNOTSUPP, os.setxattr, rig.guest(folder), key, b"\x02\0\0\0")
    assert os.stat(rig.guest("group")).st_mode & stat.S_ISGID
    rig.end()


@case
def two_mounts_of_one_share_agree_about_owners():
    rig = Rig()
    where = os.path.join(world.case_directory("second"), "mnt")
    os.mkdir(where)
    second = Mount(rig.server, rig.share, where=where)
    write_file(rig.guest("file"), "x", owner=(1000, 1000))
    wait_for(lambda: os.path.exists(where + "/file") and _show(where + "/file")[1:3] == (1000, 1000), "seen", 2)
    os.chown(where + "/file", 2000, 2000)
    wait_for(lambda: _show(rig.guest("file"))[1:3] == (2000, 2000), "seen by the first", 2)
    second.unmount()
    rig.end()


run()
