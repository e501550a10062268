#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who a symbolic link belongs to, and what follows from it; the record is on its directory."""
import os
import subprocess

from lib import TWINS, Rig, Twin, calls, case, run
from lib.calls import RENAME_EXCHANGE, as_ids, rename

RECORD = "user.bindshare.links"
ENTRY = 24


def owner(path):
    seen = os.lstat(path)
    return seen.st_uid, seen.st_gid


def entries(path):
    """How many links of a directory of the host have a record."""
    try:
        return len(os.getxattr(path, RECORD)) // ENTRY
    except OSError:
        return 0


@case
def a_link_belongs_to_who_made_it_and_to_whom_it_is_given():
    for server in TWINS:
        rig = Twin(server)

        def make(directory):
            def at(name):
                return os.path.join(directory, name)

            os.mkdir(at("open"))
            os.chmod(at("open"), 0o1777)
            values = [as_ids(1000, 1001, lambda: os.symlink("x", at("open/his"))), owner(at("open/his"))]
            os.symlink("x", at("roots"))
            os.lchown(at("roots"), 5, -1)
            values.append(owner(at("roots")))
            os.lchown(at("roots"), -1, 6)
            values.append(owner(at("roots")))
            os.rename(at("roots"), at("renamed"))
            os.rename(at("renamed"), at("open/moved"))
            values.append(owner(at("open/moved")))
            os.link(at("open/his"), at("linked"), follow_symlinks=False)
            os.unlink(at("open/his"))
            values.append(owner(at("linked")))
            os.symlink("y", at("other"))
            os.lchown(at("other"), 8, 9)
            rename(at("other"), at("open/moved"), RENAME_EXCHANGE)
            values += [owner(at("other")), owner(at("open/moved"))]
            os.rename(at("other"), at("open/moved"))
            values += [owner(at("open/moved")), as_ids(1000, 1000, lambda: os.lchown(at("linked"), 1000, 1000)),
                       as_ids(1001, 1000, lambda: os.lchown(at("linked"), 1001, 1000))]
            os.lchown(at("linked"), 0, 0)
            values += [owner(at("linked")), os.readlink(at("linked"))]
            return values

        rig.both(make)
        seen = {name: owner(rig.guest(name)) for name in ("linked", "open/moved")}
        rig.mount.unmount()
        rig.remount()
        assert {name: owner(rig.guest(name)) for name in seen} == seen, seen
        with os.scandir(rig.guest("open")) as found:
            assert {(e.name, e.stat(follow_symlinks=False).st_uid) for e in found} == {("moved", 5)}
        if server == "user":
            # Of what is gone, or belongs to the mount's uid again, nothing stays, unless it had another name.
            assert (entries(rig.host()), entries(rig.host("open"))) == (0, 2)
            os.unlink(rig.guest("open/moved"))
            assert entries(rig.host("open")) == 1
        rig.end()


@case
def in_a_sticky_directory_a_user_replaces_his_own_links_and_nobody_elses():
    for server in TWINS:
        rig = Twin(server)

        def use(directory):
            top = os.path.join(directory, "sticky")
            os.mkdir(top)
            os.chmod(top, 0o1777)
            values = []

            def at(name):
                return os.path.join(top, name)

            for name in ("a", "b", "c", "d"):
                values.append(as_ids(1000, 1000, lambda name=name: os.symlink(name, at(name))))
            for uid in (2000, 1000):
                values += [as_ids(uid, uid, lambda: os.rename(at("a"), at("new"))),
                           as_ids(uid, uid, lambda: os.unlink(at("b"))),
                           as_ids(uid, uid, lambda: os.rename(at("c"), at("d"))),
                           as_ids(uid, uid, lambda: os.utime(at("d"), (1, 1), follow_symlinks=False)),
                           as_ids(uid, uid, lambda: os.link(at("d"), at(f"l{os.getuid()}"), follow_symlinks=False))]
            return values, sorted(os.listdir(top))

        rig.both(use)
        rig.end()


@case
def programs_of_a_user_copy_and_unpack_links():
    for server in TWINS:
        rig = Twin(server)
        source = os.path.join(os.path.dirname(rig.local()), "source")
        os.makedirs(source)
        for number in range(20):
            os.symlink("target", f"{source}/link{number}")

        def use(directory):
            top = os.path.join(directory, "home")
            os.mkdir(top)
            os.chown(top, 1000, 1000)
            for command in (f"cp -a {source} copied", f"tar -C {source} -c . | tar x", "touch -h -d @5 link1",
                            "cp -a copied again", "ln -P link2 hard", "mv link3 copied/", "ln -sfn other link4"):
                subprocess.run(command, shell=True, check=True, cwd=top, user=1000, group=1000)
            found = []
            for folder, _directories, files in os.walk(top):
                found += [(name, owner(os.path.join(folder, name))) for name in files]
            return sorted(found), int(os.lstat(os.path.join(top, "link1")).st_mtime)

        rig.both(use)
        rig.end()


@case
def a_directory_has_room_for_so_many_and_what_the_host_removed_makes_room():
    rig = Rig()
    for number in range(200):
        os.symlink("x", rig.guest(f"link{number}"))
        os.lchown(rig.guest(f"link{number}"), 7, 7)
    count = entries(rig.host())
    assert 100 <= count < 200, count
    owned = [number for number in range(200) if owner(rig.guest(f"link{number}")) == (7, 7)]
    assert owned == list(range(count)), owned
    assert owner(rig.guest("link199")) == (0, 0)
    removed = {os.lstat(rig.host(f"link{number}")).st_ino for number in range(50)}
    for number in range(50):
        os.unlink(rig.host(f"link{number}"))
    os.symlink("x", rig.guest("new"))
    os.lchown(rig.guest("new"), 8, 8)
    assert owner(rig.guest("new")) == (8, 8)
    # Whose number the new one has got seems to be there still.
    again = os.lstat(rig.host("new")).st_ino in removed
    assert entries(rig.host()) == count - 50 + 1 + again, (entries(rig.host()), count, again)
    assert owner(rig.guest("link60")) == (7, 7)
    rig.end()


@case
def a_link_of_the_host_is_nobodys_but_the_mounts():
    rig = Rig("uid=1000", "gid=1000")
    os.symlink("x", rig.guest("link"))
    os.lchown(rig.guest("link"), 5, 5)
    os.unlink(rig.host("link"))
    os.symlink("x", rig.host("link"))
    os.lchown(rig.host("link"), os.stat(rig.host()).st_uid, os.stat(rig.host()).st_gid)
    os.symlink("x", rig.host("foreign"))
    os.lchown(rig.host("foreign"), 4321, 4321)
    assert owner(rig.guest("foreign")) == (65534, 65534)
    rig.mount.unmount()
    rig.remount()
    assert owner(rig.guest("link")) == (1000, 1000)
    # Records that somebody made up say nothing that could do harm.
    for value in (b"", b"x", b"\xff" * ENTRY, b"\0" * 3000, os.urandom(4000 // ENTRY * ENTRY)):
        try:
            os.setxattr(rig.host(), RECORD, value)
        except OSError:
            continue
        assert owner(rig.guest("link")) == (1000, 1000)
        os.symlink("x", rig.guest("another"))
        os.unlink(rig.guest("another"))
    assert RECORD not in os.listxattr(rig.guest())
    assert calls.statx(rig.guest("link")).uid == 1000
    rig.end()


run()
