#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""permissions=host: the server alone decides, and an owner may do to his own what a local file system lets him."""
import errno
import os
import stat
import subprocess

from lib import Rig, calls, case, expect_errno, read_file, run

MODES = (0o444, 0o400, 0o555, 0o500, 0o200, 0o100, 0o000, 0o777)
USERS = (65534, 0)


def rig_of(uid, *options):
    return Rig("permissions=host", *options, uid=uid, gid=uid)


def modes(rig, name):
    """As the guest sees it, and on the host."""
    return tuple(stat.S_IMODE(os.stat(path).st_mode) for path in (rig.guest(name), rig.host(name)))


def owners(rig, name):
    seen = os.stat(rig.guest(name))
    return seen.st_uid, seen.st_gid


@case
def an_owner_may_take_every_bit_from_his_file_and_his_directory():
    for uid in USERS:
        rig = rig_of(uid)
        for before in MODES:
            for after in MODES:
                for kind in ("file", "dir"):
                    name = f"{kind}-{before:o}-{after:o}"
                    if kind == "file":
                        rig.fill(name, b"x", owner=(uid, uid))
                    else:
                        os.mkdir(rig.guest(name))
                    os.chmod(rig.guest(name), before)
                    assert modes(rig, name) == (before, before), f"uid {uid}, {name}: {modes(rig, name)}"
                    os.chmod(rig.guest(name), after)
                    assert modes(rig, name) == (after, after), f"uid {uid}, {name}: {modes(rig, name)}"
        rig.end()


@case
def special_bits_and_owners_of_what_is_read_only_are_recorded():
    for uid in USERS:
        rig = rig_of(uid)
        for mode in MODES:
            for kind, special in (("file", 0o6000), ("dir", 0o3000)):
                name = f"{kind}-{mode:o}"
                if kind == "file":
                    os.close(os.open(rig.guest(name), os.O_CREAT | os.O_WRONLY, 0o644))
                else:
                    os.mkdir(rig.guest(name))
                os.chmod(rig.guest(name), mode)
                os.chown(rig.guest(name), 1234, 4321)
                assert owners(rig, name) == (1234, 4321), f"uid {uid}, {name}"
                assert modes(rig, name) == (mode, mode), f"uid {uid}, {name}: {modes(rig, name)}"
                os.chmod(rig.guest(name), mode | special)
                assert modes(rig, name) == (mode | special, mode), f"uid {uid}, {name}: {modes(rig, name)}"
                os.chown(rig.guest(name), 77, 78)
                os.chmod(rig.guest(name), mode)
                assert owners(rig, name) == (77, 78) and modes(rig, name) == (mode, mode), f"uid {uid}, {name}"
        rig.mount.unmount()
        rig.remount()
        for mode in MODES:
            for kind in ("file", "dir"):
                assert owners(rig, f"{kind}-{mode:o}") == (77, 78), f"uid {uid}, {kind}, {mode:o}, a new mount"
        rig.end()


@case
def what_only_the_bits_forbid_stays_forbidden_to_the_serving_user():
    rig = rig_of(65534)
    rig.fill("file", b"x")
    os.mkdir(rig.guest("dir"))
    os.chmod(rig.guest("file"), 0o444)
    os.chmod(rig.guest("dir"), 0o555)
    expect_errno(errno.EACCES, open, rig.guest("file"), "w")
    expect_errno(errno.EACCES, os.truncate, rig.guest("file"), 0)
    expect_errno(errno.EACCES, os.setxattr, rig.guest("file"), "user.a", b"1")
    expect_errno(errno.EACCES, os.mkdir, rig.guest("dir/new"))
    expect_errno(errno.EACCES, os.rename, rig.guest("file"), rig.guest("dir/file"))
    os.chmod(rig.guest("file"), 0)
    expect_errno(errno.EACCES, open, rig.guest("file"), "r")
    assert modes(rig, "file") == (0, 0) and read_file(rig.host("file")) == b"x"
    rig.end()


@case
def another_users_file_is_not_his_to_change():
    rig = rig_of(65534)
    rig.fill("file", b"x", owner=(4242, 4242))
    expect_errno(errno.EPERM, os.chmod, rig.guest("file"), 0o444)
    expect_errno(errno.EPERM, os.chown, rig.guest("file"), 1, 1)
    assert modes(rig, "file") == (0o644, 0o644)
    rig.end()


@case
def programs_that_make_read_only_files_work():
    """As tar, Go's module cache and Java's archives make them; guest's root has no more powers than the server."""
    for uid in USERS:
        rig = rig_of(uid)
        source = os.path.join(os.path.dirname(rig.share), "source")
        os.makedirs(os.path.join(source, "module/sub"))
        for name in ("module/go.mod", "module/sub/file.go"):
            with open(os.path.join(source, name), "w", encoding="utf-8") as file:
                file.write(name)
            os.chmod(os.path.join(source, name), 0o444)
        for name in ("module/sub", "module"):
            os.chmod(os.path.join(source, name), 0o555)
        for command in (f"tar -C {source} -c module | tar -C {rig.guest()} -xp",
                        f"cp -r --preserve=mode,timestamps {source}/module {rig.guest('copy')}"):
            subprocess.run(command, shell=True, check=True, user=1000, group=1000)
        for top in ("module", "copy"):
            assert modes(rig, f"{top}/sub/file.go") == (0o444, 0o444) and modes(rig, f"{top}/sub") == (0o555, 0o555)
            assert read_file(rig.host(f"{top}/sub/file.go")) == b"module/sub/file.go"
        rig.end()


@case
def who_makes_a_file_owns_it():
    """ls, cp -p, ssh and git compare the owner with themselves."""
    for uid in USERS:
        rig = rig_of(uid)

        def make():
            os.mkdir(rig.guest("dir"), 0o700)
            os.close(os.open(rig.guest("dir/file"), os.O_CREAT | os.O_WRONLY, 0o600))
            os.mkfifo(rig.guest("dir/fifo"))
            return [(os.stat(rig.guest(name)).st_uid, os.stat(rig.guest(name)).st_gid)
                    for name in ("dir", "dir/file", "dir/fifo")]

        assert calls.as_ids(1000, 1001, make) == [(1000, 1001)] * 3, uid
        rig.fill("theirs", b"x", mode=0o444, owner=(uid, uid))
        done = subprocess.run("cp -p dir/file dir/copy && cp -p theirs taken && git init -q dir/repository && "
                              "git -C dir/repository status", shell=True, check=False, user=1000, group=1000,
                              cwd=rig.guest(), capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0 and not done.stderr, done
        assert owners(rig, "dir/copy")[0] == owners(rig, "taken")[0] == 1000
        rig.end()


@case
def a_file_is_given_away_by_the_guests_root_alone():
    rig = rig_of(65534)

    def give(owner):
        os.close(os.open(rig.guest("file"), os.O_CREAT | os.O_WRONLY, 0o600))
        os.chown(rig.guest("file"), owner, -1)
        return os.stat(rig.guest("file")).st_uid

    assert calls.as_ids(1000, 1000, give, 0) == "EPERM"
    assert calls.as_ids(1000, 1000, give, 1000) == 1000
    os.chown(rig.guest("file"), 7, 8)
    assert owners(rig, "file") == (7, 8)
    rig.end()


@case
def reading_the_record_of_what_its_owner_may_not_read_leaves_its_mode():
    rig = rig_of(65534)
    rig.fill("file", b"")
    os.chown(rig.guest("file"), 12, 13)
    os.chmod(rig.guest("file"), 0)
    rig.mount.unmount()
    rig.remount()
    assert owners(rig, "file") == (12, 13)
    assert modes(rig, "file") == (0, 0)
    assert calls.statx(rig.guest("file")).uid == 12
    rig.end()


run()
