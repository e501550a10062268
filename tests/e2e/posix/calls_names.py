#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""stat, statx, statfs, mkdir, rename, link, symlink, mknod, extended attributes, access."""
import ctypes
import errno
import itertools
import os
import socket
import stat
import subprocess

from lib import TWINS, Rig, Twin, calls, case, expect_errno, read_file, run, skip, write_file


def _write(directory, name, content=b""):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)


@case
def statx_tells_everything_and_numbers_are_stable():
    for server in TWINS:
        rig = Twin(server)
        _write(rig.guest(), "file", b"x" * 5000)
        os.mkdir(rig.guest("dir"))
        os.symlink("file", rig.guest("link"))
        devices, numbers = set(), set()
        for name in ("file", "dir", "link", ""):
            outside, inside = calls.statx(rig.host(name)), calls.statx(rig.guest(name))
            for field in ("ino", "size", "blocks", "nlink", "atime", "mtime", "ctime", "btime"):
                assert getattr(outside, field) == getattr(inside, field), f"{name}: {field}: {outside} {inside}"
            assert inside.mask & calls.STATX_BTIME, "no time of birth"
            assert inside.btime > 0 and stat.S_IFMT(inside.mode) == stat.S_IFMT(outside.mode)
            old = os.lstat(rig.guest(name))
            assert (old.st_ino, old.st_size, old.st_blocks, old.st_mtime_ns) == (
                inside.ino, inside.size, inside.blocks, inside.mtime)
            devices.add(inside.dev)
            numbers.add(inside.ino)
        assert len(devices) == 1 and len(numbers) == 4
        descriptor = os.open(rig.guest("file"), os.O_RDONLY)
        by_descriptor = calls.statx("", calls.AT_EMPTY_PATH, descriptor=descriptor)
        assert by_descriptor.btime == calls.statx(rig.host("file")).btime
        os.close(descriptor)
        before = os.stat(rig.guest("file")).st_ino
        os.rename(rig.guest("file"), rig.guest("other"))
        rig.mount.unmount()
        again = rig.remount()
        assert os.stat(os.path.join(again.where, "other")).st_ino == before
        rig.end()


@case
def figures_of_the_file_system_are_the_hosts():
    rig = Twin(server_arguments=["--disk-reserve", "0"])
    for path, outside in ((rig.guest(), rig.host()),):
        inside, outside = os.statvfs(path), os.statvfs(outside)
        for field in ("f_blocks", "f_files", "f_frsize", "f_namemax"):
            assert getattr(inside, field) == getattr(outside, field), field
        for field in ("f_bfree", "f_bavail", "f_ffree"):
            assert abs(getattr(inside, field) - getattr(outside, field)) < getattr(outside, field) / 50, field
        assert inside.f_bsize == outside.f_bsize, (inside, outside)
    _write(rig.guest(), "file")
    descriptor = os.open(rig.guest("file"), os.O_RDONLY)
    assert os.fstatvfs(descriptor).f_blocks == os.statvfs(rig.host()).f_blocks
    os.close(descriptor)
    rig.end()


@case
def links_of_directories_and_files_are_counted():
    for server in TWINS:
        rig = Twin(server)

        def count(directory):
            top = os.path.join(directory, "top")
            values = []
            os.mkdir(top)
            values.append(os.stat(top).st_nlink)
            os.mkdir(top + "/one")
            os.mkdir(top + "/two")
            values.append(os.stat(top).st_nlink)
            os.mkdir(directory + "/away")
            os.rename(top + "/two", directory + "/away/two")
            values += [os.stat(top).st_nlink, os.stat(directory + "/away").st_nlink]
            os.rmdir(top + "/one")
            values.append(os.stat(top).st_nlink)
            _write(top, "file")
            for number in range(4):
                os.link(top + "/file", f"{top}/l{number}")
                values.append(os.stat(top + "/l0").st_nlink)
            os.rename(top + "/l1", top + "/l2")  # the same object: both names stay
            values += [os.stat(top + "/file").st_nlink, sorted(os.listdir(top))]
            descriptor = os.open(top + "/l0", os.O_RDONLY)
            _write(top, "new")
            os.rename(top + "/new", top + "/l0")
            values.append(os.fstat(descriptor).st_nlink)
            for name in os.listdir(top):
                os.unlink(top + "/" + name)
            values.append(os.fstat(descriptor).st_nlink)
            os.close(descriptor)
            folder = os.open(top, os.O_RDONLY)
            os.rmdir(top)
            values.append(os.fstat(folder).st_nlink)
            os.close(folder)
            values.append(os.stat(directory).st_nlink)
            return values

        rig.both(count)
        rig.same_tree()
        rig.end()


@case
def renames_with_every_flag_between_every_kind():
    kinds = ("file", "dir", "full", "link", "none")
    for server in TWINS:
        rig = Twin(server)

        def make(directory, name, kind):
            path = os.path.join(directory, name)
            if kind == "file":
                _write(directory, name, name.encode())
            elif kind in ("dir", "full"):
                os.mkdir(path)
                if kind == "full":
                    _write(path, "inside")
            elif kind == "link":
                os.symlink(name, path)

        def attempt(directory, flags, one, two, across):
            subprocess.run(["rm", "-rf", directory + "/x"], check=True)
            os.mkdir(directory + "/x")
            os.mkdir(directory + "/x/y")
            make(directory + "/x", "one", one)
            target = directory + ("/x/y" if across else "/x")
            make(target, "two", two)
            try:
                calls.rename(directory + "/x/one", target + "/two", flags)
                value = "done"
            except OSError as error:
                value = errno.errorcode[error.errno]
            found = [sorted(os.listdir(directory + "/x")), sorted(os.listdir(target))]
            for name in ("one", "two"):
                for folder in (directory + "/x", target):
                    path = os.path.join(folder, name)
                    if os.path.lexists(path):
                        seen = os.lstat(path)
                        found.append((stat.S_IFMT(seen.st_mode), seen.st_nlink,
                                      read_file(path) if stat.S_ISREG(seen.st_mode) else None))
            return value, found

        for flags, one, two, across in itertools.product((0, calls.RENAME_NOREPLACE, calls.RENAME_EXCHANGE, 3, 8),
                                                         kinds, kinds, (False, True)):
            rig.same(attempt, flags, one, two, across)
        rig.same_tree()

        def itself(directory):
            subprocess.run(["rm", "-rf", directory + "/x"], check=True)
            os.makedirs(directory + "/x/y/z")
            _write(directory + "/x", "f", b"f")
            values = []
            for old, new, flags in (("x", "x/y", 0), ("x", "x/y/z/n", 0), ("x/y/z", "x/y", 0), ("x/y/z", "x", 0),
                                    ("x", "x", 0), ("x/f", "x/f", 0), ("x/f", "x/f", 1), ("x", "x/y", 2),
                                    ("x/f/", "g", 0), ("x/f", "g/", 0), ("x/y/", "x/w/", 0), ("x/w/.", "v", 0),
                                    ("x/w/..", "v", 0), ("x/f", "n/n", 0), ("x/n", "x/m", 0), ("x/f/a", "b", 0),
                                    (".", "b", 0), ("x", "..", 0)):
                try:
                    calls.rename(os.path.join(directory, old), os.path.join(directory, new), flags)
                    values.append("done")
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            return values

        rig.both(itself)
        rig.end()


@case
def links_and_symbolic_links():
    for server in TWINS:
        rig = Twin(server)

        def link(directory):
            def at(name):
                return os.path.join(directory, name)
            _write(directory, "file", b"content")
            os.mkdir(at("dir"))
            values = []
            attempts = [lambda: os.link(at("file"), at("hard")), lambda: os.link(at("dir"), at("dirhard")),
                        lambda: os.link(at("file"), at("dir")), lambda: os.link(at("none"), at("new")),
                        lambda: os.link(at("file/x"), at("new")), lambda: os.link(at("file"), at("none/x")),
                        lambda: os.symlink("hard", at("soft")), lambda: os.symlink("", at("empty")),
                        lambda: os.symlink("x", at("file")), lambda: os.symlink("x", at("dir")),
                        lambda: os.symlink("x", at("none/x")), lambda: os.symlink("x" * 4095, at("longest")),
                        lambda: os.symlink("x" * 4096, at("too long")), lambda: len(os.readlink(at("longest"))),
                        lambda: os.link(at("soft"), at("softhard"), follow_symlinks=False),
                        lambda: os.link(at("soft"), at("followed"), follow_symlinks=True),
                        lambda: os.lstat(at("softhard")).st_nlink, lambda: os.stat(at("hard")).st_nlink,
                        lambda: os.readlink(at("softhard")), lambda: os.readlink(at("file")),
                        lambda: os.readlink(at("dir")), lambda: os.readlink(at("none")),
                        lambda: os.lstat(at("soft")).st_size, lambda: oct(os.lstat(at("soft")).st_mode),
                        lambda: os.unlink(at("soft")), lambda: os.readlink(at("softhard"))]
            for attempt in attempts:
                try:
                    values.append(attempt())
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            return values

        rig.both(link)
        rig.same_tree()
        rig.end()


@case
def nodes_of_every_kind_are_made_and_remembered():
    kinds = {"fifo": (stat.S_IFIFO, 0), "socket": (stat.S_IFSOCK, 0), "char": (stat.S_IFCHR, os.makedev(1, 3)),
             "block": (stat.S_IFBLK, os.makedev(259, 70000)), "whiteout": (stat.S_IFCHR, 0),
             "regular": (stat.S_IFREG, 0), "plain": (0, 0)}
    for server in TWINS:
        rig = Twin(server)

        def show(directory, name):
            seen = os.lstat(os.path.join(directory, name))
            return oct(seen.st_mode), seen.st_rdev, seen.st_nlink, seen.st_size, seen.st_uid, seen.st_gid

        def make(directory, name):
            kind, device = kinds[name]
            os.mknod(os.path.join(directory, name), kind | 0o664, device)
            return show(directory, name)

        for name in kinds:
            rig.both(make, name)
            rig.fails("EEXIST", make, name)
            assert stat.S_ISREG(os.lstat(rig.host(name)).st_mode), name
        for kind in (stat.S_IFDIR, stat.S_IFLNK, 0o170000):
            rig.same(lambda d, kind=kind: os.mknod(os.path.join(d, "no"), kind | 0o600, 0))

        def change(directory):
            values = []
            for name in ("fifo", "char", "socket"):
                path = os.path.join(directory, name)
                os.chmod(path, 0o7640)
                os.chown(path, 12, 34)
                os.utime(path, (1, 2))
                os.link(path, path + ".hard")
                os.rename(path, path + ".moved")
                values += [show(directory, name + ".moved"), show(directory, name + ".hard")]
                try:
                    os.truncate(path + ".moved", 0)
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            return values

        rig.both(change)
        before = {name: show(rig.guest(), name) for name in os.listdir(rig.guest())}
        listed = {entry.name: stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) for entry in
                  os.scandir(rig.guest())}
        rig.mount.unmount()
        rig.server.stop()
        rig.server.start()
        again = rig.remount()
        assert before == {name: show(again.where, name) for name in os.listdir(again.where)}
        for entry in os.scandir(again.where):
            assert listed[entry.name] == stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            assert entry.is_file(follow_symlinks=False) == stat.S_ISREG(listed[entry.name]), entry.name
        rig.end()


@case
def a_fifo_joins_two_processes_and_a_socket_two_more():
    for server in TWINS:
        rig = Twin(server)
        os.mkfifo(rig.guest("fifo"))
        with subprocess.Popen(["cat", rig.guest("fifo")], stdout=subprocess.PIPE) as reader:
            with open(rig.guest("fifo"), "wb") as file:
                file.write(b"through the pipe")
            assert reader.stdout.read() == b"through the pipe"
        program = ("import socket,sys\n"
                   "s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); print('ready', flush=True)\n"
                   "c,_=s.accept(); c.sendall(b'hello '+c.recv(99))\n")
        command = ["/usr/bin/python3", "-c", program, rig.guest("socket")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            assert stat.S_ISSOCK(os.stat(rig.guest("socket")).st_mode)
            assert stat.S_ISREG(os.stat(rig.host("socket")).st_mode)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(rig.guest("socket"))
                client.sendall(b"guest")
                assert client.recv(99) == b"hello guest"

            def bind_again(directory):
                if not os.path.exists(os.path.join(directory, "socket")):
                    with socket.socket(socket.AF_UNIX) as first:
                        first.bind(os.path.join(directory, "socket"))
                with socket.socket(socket.AF_UNIX) as second:
                    second.bind(os.path.join(directory, "socket"))

            rig.fails("EADDRINUSE", bind_again)

        def nobody_listens(directory):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(os.path.join(directory, "socket"))

        rig.fails("ECONNREFUSED", nobody_listens)
        os.unlink(rig.guest("socket"))
        assert not os.path.exists(rig.host("socket"))
        rig.end()


@case
def devices_work_where_the_mount_allows_them():
    for options in ((), ("dev",)):
        rig = Rig(*options)
        os.mknod(rig.guest("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        if options:
            with open(rig.guest("null"), "r+b", buffering=0) as file:
                assert file.write(b"gone") == 4 and file.read() == b""
        else:
            expect_errno(errno.EACCES, os.open, rig.guest("null"), os.O_RDWR)
        assert os.stat(rig.host("null")).st_size == 0
        rig.end()


@case
def extended_attributes_of_every_size_and_flag():
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            _write(place, "file")
            os.mkdir(os.path.join(place, "dir"))
            os.symlink("file", os.path.join(place, "link"))
            os.mkfifo(os.path.join(place, "fifo"))
        try:
            os.setxattr(rig.local("file"), "user.x", b"")
            os.removexattr(rig.local("file"), "user.x")
        except OSError:
            skip("the host's file system has no user xattrs")

        def use(directory, name):
            path = os.path.join(directory, name)
            values = []
            attempts = []
            for size in (0, 1, 10, 255, 1024, 3000, 65536, 65537, 1 << 20):
                attempts.append(lambda size=size: os.setxattr(path, "user.sized", b"v" * size))
                attempts.append(lambda: os.getxattr(path, "user.sized"))
            for flags in (os.XATTR_CREATE, os.XATTR_REPLACE, 0, 3, 4):
                attempts.append(lambda flags=flags: os.setxattr(path, "user.sized", b"again", flags))
                attempts.append(lambda flags=flags: os.setxattr(path, f"user.new{flags}", b"new", flags))
            for key in ("user.none", "user.", "user", "", "nothing.x", "x" * 255, "user." + "n" * 250,
                        "user." + "n" * 251, "user.with space", "user.\udcff"):
                attempts.append(lambda key=key: os.getxattr(path, key))
                attempts.append(lambda key=key: os.removexattr(path, key))
                attempts.append(lambda key=key: os.setxattr(path, key, b"1"))
            attempts.append(lambda: os.getxattr(path, "trusted.none"))
            attempts.append(lambda: sorted(os.listxattr(path)))
            attempts.append(lambda: [os.removexattr(path, key) for key in os.listxattr(path)
                                     if key != "security.selinux"])
            attempts.append(lambda: os.listxattr(path))
            for attempt in attempts:
                try:
                    values.append(attempt())
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            return values

        for name in ("file", "dir"):
            rig.both(use, name)

        def elsewhere(directory):
            values = []
            for name in ("link", "fifo"):
                for call in (lambda p: os.setxattr(p, "user.x", b"1", follow_symlinks=False),
                             lambda p: os.getxattr(p, "user.x", follow_symlinks=False),
                             lambda p: os.removexattr(p, "user.x", follow_symlinks=False),
                             lambda p: os.listxattr(p, follow_symlinks=False)):
                    try:
                        values.append(call(os.path.join(directory, name)))
                    except OSError as error:
                        values.append(errno.errorcode[error.errno])
            return values

        rig.both(elsewhere)

        def through_a_descriptor(directory):
            path = os.path.join(directory, "file")
            descriptor = os.open(path, os.O_RDWR)
            os.unlink(path)
            os.setxattr(descriptor, "user.late", b"still")
            value = os.getxattr(descriptor, "user.late"), os.listxattr(descriptor)
            os.close(descriptor)
            return value

        rig.both(through_a_descriptor)
        rig.end()


@case
def a_buffer_too_small_for_an_attribute_is_told():
    libc = ctypes.CDLL(None, use_errno=True)
    for server in TWINS:
        rig = Twin(server)

        def sizes(directory):
            _write(directory, "f")
            path = os.fsencode(os.path.join(directory, "f"))
            os.setxattr(path, "user.a", b"0123456789")
            values = []
            ctypes.set_errno(0)
            for size in (0, 9, 10, 70000):
                buffer = ctypes.create_string_buffer(70000)
                for result in (libc.getxattr(path, b"user.a", buffer, size), libc.listxattr(path, buffer, size)):
                    values.append(result)
                values.append(errno.errorcode.get(ctypes.get_errno()))
                ctypes.set_errno(0)
            return values

        rig.both(sizes)
        rig.end()


@case
def access_is_answered_like_an_open():
    for options in ((), ("permissions=host",)):
        rig = Rig(*options)
        rig.fill("readable", mode=0o444)
        rig.fill("writable", mode=0o222)
        rig.fill("program", b"#!/bin/sh\n", mode=0o755)
        rig.fill("nothing", mode=0)
        write_file(rig.host("foreign"), mode=0o600, owner=(4321, 4321))
        for name, uid, mode in itertools.product(("readable", "writable", "program", "nothing", "foreign"), (0, 1000),
                                                 (os.F_OK, os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK)):
            def probe(path, mode=mode):
                calls.faccessat2(path, mode, calls.AT_EACCESS)
                return os.access(path, mode)
            real = calls.as_ids(uid, uid, probe, rig.guest(name))
            if options:
                wanted = calls.as_ids(65534, 65534, probe, rig.host(name))
            elif uid == 0:
                wanted = True if mode != os.X_OK or name == "program" else "EACCES"
            else:
                have = stat.S_IMODE(os.stat(rig.host(name)).st_mode) & 7
                wanted = True if have & mode == mode else "EACCES"
            assert real == wanted, (options, name, uid, mode, real, wanted)
        rig.end()


run()
