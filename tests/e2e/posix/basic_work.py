#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What people do all day in a directory, looked at from both sides."""
import errno
import os
import stat

from lib import GID, UID, Rig, case, expect_errno, read_file, run, skip, write_file


@case
def a_file_made_in_the_guest_is_on_the_host_and_belongs_to_the_user():
    rig = Rig()
    with open(rig.guest("new"), "w", encoding="ascii") as file:
        file.write("from the guest\n")
    assert read_file(rig.host("new")) == b"from the guest\n"
    seen = os.stat(rig.host("new"))
    assert (seen.st_uid, seen.st_gid) == (UID, GID), seen
    inside = os.stat(rig.guest("new"))
    assert (inside.st_uid, inside.st_gid) == (0, 0), inside
    rig.end()


@case
def a_file_of_the_host_is_read_in_the_guest():
    rig = Rig()
    content = os.urandom(3 * 1024 * 1024 + 17)
    rig.fill("data", content)
    assert read_file(rig.guest("data")) == content
    with open(rig.guest("data"), "rb") as file:
        file.seek(1024 * 1024 - 5)
        assert file.read(10) == content[1024 * 1024 - 5:1024 * 1024 + 5]
        file.seek(len(content) + 10)
        assert file.read(10) == b""


@case
def large_and_small_writes_arrive_whole():
    rig = Rig()
    content = os.urandom(5 * 1024 * 1024 + 3)
    write_file(rig.guest("large"), content, owner=(0, 0))
    assert read_file(rig.host("large")) == content
    with open(rig.guest("small"), "wb", buffering=0) as file:
        for number in range(300):
            file.write(b"%05d\n" % number)
    assert read_file(rig.host("small")) == b"".join(b"%05d\n" % n for n in range(300))
    with open(rig.guest("large"), "r+b", buffering=0) as file:
        file.seek(4095)
        file.write(b"XYZ")
    assert read_file(rig.host("large"))[4094:4099] == content[4094:4095] + b"XYZ" + content[4098:4099]


@case
def appending_adds_at_the_end():
    rig = Rig()
    rig.fill("log", "one\n")
    for text in ("two\n", "three\n"):
        with open(rig.guest("log"), "a", encoding="ascii") as file:
            file.write(text)
    assert read_file(rig.host("log")) == b"one\ntwo\nthree\n"


@case
def truncation_and_growth_of_a_file():
    rig = Rig()
    rig.fill("file", "0123456789")
    os.truncate(rig.guest("file"), 4)
    assert read_file(rig.host("file")) == b"0123"
    os.truncate(rig.guest("file"), 8)
    assert read_file(rig.host("file")) == b"0123\0\0\0\0"
    with open(rig.guest("file"), "wb"):
        pass
    assert os.stat(rig.host("file")).st_size == 0
    descriptor = os.open(rig.guest("file"), os.O_RDWR)
    os.ftruncate(descriptor, 3)
    assert os.fstat(descriptor).st_size == 3
    os.close(descriptor)


@case
def directories_are_made_listed_and_removed():
    rig = Rig()
    os.makedirs(rig.guest("a/b/c"))
    assert os.path.isdir(rig.host("a/b/c"))
    write_file(rig.guest("a/b/file"), "x", owner=(0, 0))
    assert sorted(os.listdir(rig.guest("a/b"))) == ["c", "file"]
    expect_errno(errno.ENOTEMPTY, os.rmdir, rig.guest("a/b"))
    os.unlink(rig.guest("a/b/file"))
    os.removedirs(rig.guest("a/b/c"))
    assert not os.path.exists(rig.host("a"))
    expect_errno(errno.ENOENT, os.rmdir, rig.guest("a"))
    expect_errno(errno.ENOTDIR, os.rmdir, write_file(rig.guest("plain"), "", owner=(0, 0)))


@case
def names_of_every_kind_are_kept_byte_for_byte():
    rig = Rig()
    names = [b"with space", b"comma,name", b"back\\slash", b"line\nfeed", b"tab\t", b"\xff\xfe not utf-8",
             "\u00fcml\u00e4ut \u65e5\u672c".encode(), b"x" * 255, b"-o ro", b"..."]
    for name in names:
        with open(os.path.join(os.fsencode(rig.guest()), name), "wb") as file:
            file.write(name)
    assert sorted(os.listdir(os.fsencode(rig.host()))) == sorted(names)
    assert sorted(os.listdir(os.fsencode(rig.guest()))) == sorted(names)
    for name in names:
        assert read_file(os.path.join(os.fsencode(rig.host()), name)) == name
    expect_errno(errno.ENAMETOOLONG, os.stat, rig.guest("y" * 256))


@case
def renaming_moves_replaces_and_exchanges():
    rig = Rig()
    rig.fill("one", "1")
    rig.fill("two", "2")
    os.mkdir(rig.guest("dir"))
    os.rename(rig.guest("one"), rig.guest("dir/one"))
    assert read_file(rig.host("dir/one")) == b"1"
    assert not os.path.exists(rig.guest("one"))
    os.rename(rig.guest("dir/one"), rig.guest("two"))
    assert read_file(rig.guest("two")) == b"1"
    assert os.listdir(rig.host("dir")) == []
    os.rename(rig.guest("dir"), rig.guest("moved"))
    assert os.path.isdir(rig.host("moved"))
    expect_errno((errno.EISDIR, errno.ENOTDIR), os.rename, rig.guest("two"), rig.guest("moved"))
    expect_errno(errno.EINVAL, os.rename, rig.guest("moved"), rig.guest("moved/below"))


@case
def hard_links_share_one_file():
    rig = Rig()
    rig.fill("one", "content")
    os.link(rig.guest("one"), rig.guest("two"))
    assert os.stat(rig.guest("one")).st_nlink == 2
    assert os.stat(rig.guest("one")).st_ino == os.stat(rig.guest("two")).st_ino
    assert os.stat(rig.host("one")).st_ino == os.stat(rig.host("two")).st_ino
    os.unlink(rig.guest("one"))
    assert read_file(rig.guest("two")) == b"content"
    assert os.stat(rig.guest("two")).st_nlink == 1


@case
def symbolic_links_are_kept_verbatim():
    rig = Rig()
    rig.fill("target", "t")
    for name, target in (("relative", "target"), ("absolute", "/etc/hostname"), ("up", "../../.."),
                         ("dangling", "not there")):
        os.symlink(target, rig.guest(name))
        assert os.readlink(rig.host(name)) == target
        assert os.readlink(rig.guest(name)) == target
        assert stat.S_ISLNK(os.lstat(rig.guest(name)).st_mode)
        assert os.lstat(rig.guest(name)).st_size == len(target)
    assert read_file(rig.guest("relative")) == b"t"
    os.symlink("/", rig.host("made by the host"))
    assert os.readlink(rig.guest("made by the host")) == "/"


@case
def permission_bits_and_times_are_set():
    rig = Rig()
    rig.fill("file", "x")
    for mode in (0o600, 0o755, 0o444, 0o640):
        os.chmod(rig.guest("file"), mode)
        assert stat.S_IMODE(os.stat(rig.host("file")).st_mode) == mode
        assert stat.S_IMODE(os.stat(rig.guest("file")).st_mode) == mode
    os.utime(rig.guest("file"), ns=(1_000_000_000_123_456_789, 1_500_000_000_987_654_321))
    seen = os.stat(rig.host("file"))
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (1_000_000_000_123_456_789, 1_500_000_000_987_654_321), seen
    assert os.stat(rig.guest("file")).st_mtime_ns == 1_500_000_000_987_654_321


@case
def extended_attributes_of_users_are_kept():
    rig = Rig()
    rig.fill("file", "x")
    try:
        os.setxattr(rig.host("file"), "user.probe", b"1")
        os.removexattr(rig.host("file"), "user.probe")
    except OSError:
        skip("the host's file system has no user xattrs")
    os.setxattr(rig.guest("file"), "user.colour", b"blue\0green")
    assert os.getxattr(rig.host("file"), "user.colour") == b"blue\0green"
    assert os.getxattr(rig.guest("file"), "user.colour") == b"blue\0green"
    assert os.listxattr(rig.guest("file")) == ["user.colour"]
    expect_errno(errno.EEXIST, os.setxattr, rig.guest("file"), "user.colour", b"", os.XATTR_CREATE)
    os.removexattr(rig.guest("file"), "user.colour")
    expect_errno(errno.ENODATA, os.getxattr, rig.guest("file"), "user.colour")
    assert os.listxattr(rig.host("file")) == []


@case
def set_uid_bits_never_reach_the_hosts_inode():
    rig = Rig()
    rig.fill("tool", "x", mode=0o755)
    os.chmod(rig.guest("tool"), 0o6755)
    assert stat.S_IMODE(os.stat(rig.host("tool")).st_mode) == 0o755


@case
def an_open_file_outlives_its_name():
    rig = Rig()
    rig.fill("file", "still here")
    with open(rig.guest("file"), "r+b") as file:
        os.unlink(rig.guest("file"))
        assert not os.path.exists(rig.host("file"))
        assert file.read() == b"still here"
        file.write(b" and more")
        file.flush()
        file.seek(0)
        assert file.read() == b"still here and more"


@case
def syncing_and_free_space_work():
    rig = Rig()
    with open(rig.guest("file"), "wb") as file:
        file.write(b"x" * 10000)
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(rig.guest(), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)
    inside, outside = os.statvfs(rig.guest()), os.statvfs(rig.host())
    assert inside.f_blocks * inside.f_frsize == outside.f_blocks * outside.f_frsize
    assert inside.f_namemax == 255


@case
def an_exclusive_create_of_an_existing_file_fails():
    rig = Rig()
    rig.fill("there", "kept")
    expect_errno(errno.EEXIST, os.open, rig.guest("there"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert read_file(rig.host("there")) == b"kept"
    expect_errno(errno.ENOENT, os.open, rig.guest("not there"), os.O_RDONLY)
    expect_errno(errno.EISDIR, os.open, rig.guest(), os.O_WRONLY)


@case
def a_name_looked_for_in_vain_can_be_made_at_once():
    rig = Rig()
    for number in range(20):
        name = f"n{number}"
        expect_errno(errno.ENOENT, os.stat, rig.guest(name))
        write_file(rig.guest(name), name, owner=(0, 0))
        assert os.stat(rig.guest(name)).st_size == len(name)
        assert name in os.listdir(rig.guest())
        os.unlink(rig.guest(name))
        expect_errno(errno.ENOENT, os.stat, rig.guest(name))
        assert name not in os.listdir(rig.guest())


run()
