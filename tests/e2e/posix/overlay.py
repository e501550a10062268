#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A share as the upper directory of an overlayfs in the guest, and what that takes: whiteouts and trusted.*."""
import errno
import os
import stat
import subprocess

from lib import TWINS, Rig, Twin, calls, case, expect_errno, read_file, run, skip
from lib.twin import tree
from lib.world import at_end, case_directory


class Overlay:
    """Mounted over a lower directory of its own, with this directory's upper and work."""

    def __init__(self, top, lower, *options):
        self.where = os.path.join(case_directory("merged"), "mnt")
        self.top, self.lower, self.options = top, lower, options
        for name in ("upper", "work"):
            os.makedirs(os.path.join(top, name), exist_ok=True)
        os.mkdir(self.where)
        self.mount()

    def mount(self):
        options = [*self.options, f"lowerdir={self.lower}", f"upperdir={self.top}/upper", f"workdir={self.top}/work"]
        done = subprocess.run(["mount", "-t", "overlay", "-o", ",".join(options), "overlay", self.where], check=False,
                              capture_output=True, text=True)
        assert done.returncode == 0, f"{options}: {done.stderr}"
        at_end(self.unmount)

    def unmount(self):
        subprocess.run(["umount", self.where], check=False, capture_output=True)

    def at(self, name=""):
        return os.path.join(self.where, name)


def lower_directory():
    top = os.path.join(case_directory("lower"), "lower")
    os.makedirs(top + "/dir/sub")
    os.makedirs(top + "/other")
    for name in ("file", "changed", "removed", "renamed", "dir/one", "dir/sub/two", "other/three"):
        with open(os.path.join(top, name), "w", encoding="utf-8") as file:
            file.write(name)
    os.symlink("file", top + "/link")
    os.mkfifo(top + "/fifo")
    return top


def work_on(top):
    """Everything that needs a whiteout, an opaque directory or a copy."""
    def at(name):
        return os.path.join(top, name)

    with open(at("changed"), "a", encoding="utf-8") as file:
        file.write(" and more")
    os.unlink(at("removed"))
    os.rename(at("renamed"), at("new name"))
    os.rename(at("other/three"), at("dir/one"))
    subprocess.run(["rm", "-r", at("dir/sub")], check=True)
    os.mkdir(at("dir/sub"))
    os.mkdir(at("made"))
    os.rename(at("made"), at("moved"))
    os.rename(at("link"), at("moved/link"))
    os.symlink("x", at("link"))
    os.rename(at("fifo"), at("moved/fifo"))
    os.chmod(at("file"), 0o600)
    os.chown(at("file"), 12, 13)
    os.setxattr(at("file"), "user.mine", b"value")
    os.link(at("file"), at("linked"))
    return sorted(os.listdir(top)), sorted(os.listdir(at("dir"))), os.stat(at("file")).st_uid


@case
def an_overlay_over_a_share_behaves_like_one_over_a_local_directory():
    for server in TWINS:
        for options in ((), ("userxattr",)):
            rig = Twin(server)
            lower = lower_directory()
            overlays = [Overlay(rig.local(), lower, *options), Overlay(rig.guest(), lower, *options)]
            here, there = (work_on(overlay.where) for overlay in overlays)
            assert here == there, (server, options, here, there)
            trees = [tree(overlay.where) for overlay in overlays]
            assert trees[0] == trees[1], (server, options)
            # The same again from what is kept on the host.
            for overlay in overlays:
                overlay.unmount()
            rig.mount.unmount()
            rig.remount()
            for overlay in overlays:
                overlay.mount()
            assert [tree(overlay.where) for overlay in overlays] == trees, (server, options, "mounted again")
            for overlay in overlays:
                overlay.unmount()
            for folder, _directories, files in os.walk(rig.host("upper")):
                for name in files:
                    kind = stat.S_IFMT(os.lstat(os.path.join(folder, name)).st_mode)
                    assert kind in (stat.S_IFREG, stat.S_IFLNK), f"{name} is a device on the host"
            rig.end()


def is_whiteout(path):
    seen = os.lstat(path)
    return stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0


@case
def a_rename_leaves_a_whiteout_behind():
    for server in TWINS:
        rig = Twin(server)

        def rename(directory, old, new, flags):
            path = os.path.join
            calls.rename(path(directory, old), path(directory, new), calls.RENAME_WHITEOUT | flags)
            return is_whiteout(path(directory, old)), read_file(path(directory, new))

        for place in (rig.local(), rig.guest()):
            os.mkdir(os.path.join(place, "dir"))
            for name in ("one", "two", "three"):
                with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                    file.write(name)
        rig.both(rename, "one", "four", 0)
        rig.both(rename, "two", "dir/two", calls.RENAME_NOREPLACE)
        rig.both(rename, "three", "four", 0)
        rig.fails("EEXIST", rename, "four", "dir/two", calls.RENAME_NOREPLACE)
        rig.fails("EINVAL", rename, "four", "dir/two", calls.RENAME_EXCHANGE)
        rig.fails("ENOENT", rename, "none", "other", 0)
        assert sorted(os.listdir(rig.guest())) == sorted(os.listdir(rig.host())) == sorted(os.listdir(rig.local()))
        for name in ("one", "two", "three"):
            seen = os.lstat(rig.host(name))
            assert stat.S_ISREG(seen.st_mode) and seen.st_size == 0, name
        with os.scandir(rig.guest()) as entries:
            kinds = {entry.name: stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) for entry in entries}
        assert kinds["one"] == kinds["two"] == stat.S_IFCHR, kinds
        for name in ("one", "two", "three"):
            os.unlink(rig.guest(name))
        rig.end()


@case
def trusted_attributes_are_for_the_guests_root_alone():
    for server in TWINS:
        rig = Twin(server)

        def values(directory):
            path = os.path.join(directory, "file")
            with open(path, "w", encoding="utf-8"):
                os.chmod(path, 0o666)
            os.setxattr(path, "trusted.test", b"secret")
            os.setxattr(path, "user.test", b"open")
            seen = [os.getxattr(path, "trusted.test"), sorted(os.listxattr(path))]
            for function in (lambda: os.listxattr(path), lambda: os.getxattr(path, "trusted.test"),
                             lambda: os.setxattr(path, "trusted.test", b"x"),
                             lambda: os.removexattr(path, "trusted.test")):
                seen.append(calls.as_ids(1000, 1000, function))
            os.setxattr(path, "trusted.empty", b"")
            os.removexattr(path, "trusted.test")
            seen += [sorted(os.listxattr(path)), calls.as_ids(1000, 1000, lambda: os.listxattr(path))]
            return seen

        rig.both(values)
        rig.fails("ENODATA", lambda top: os.getxattr(os.path.join(top, "file"), "trusted.none"))
        # A host's own attributes of that kind are not the guest's, and the other way round.
        names = os.listxattr(rig.host("file"))
        assert "trusted.empty" not in names and len(names) == 2, names
        os.setxattr(rig.host("file"), "trusted.hosts", b"x")
        assert "trusted.hosts" not in os.listxattr(rig.guest("file"))
        private = next(name for name in names if name != "user.test")
        if private.startswith("user."):
            expect_errno(errno.EPERM, os.setxattr, rig.guest("file"), private, b"y")
            expect_errno(errno.ENODATA, os.getxattr, rig.guest("file"), private)
        expect_errno(errno.ERANGE if private.startswith("user.") else (errno.ERANGE, errno.EOPNOTSUPP), os.setxattr,
                     rig.guest("file"), "trusted." + "n" * 245, b"")
        rig.end()


@case
def a_file_system_without_attributes_refuses_a_whiteout():
    share = os.path.join(case_directory("ramfs"), "share")
    os.mkdir(share)
    if subprocess.run(["mount", "-t", "ramfs", "ramfs", share], check=False).returncode:
        skip("no ramfs here")
    at_end(lambda: subprocess.run(["umount", "-l", share], check=False))
    rig = Rig(share=share)
    with open(rig.guest("file"), "w", encoding="utf-8") as file:
        file.write("content")
    expect_errno(errno.EINVAL, calls.rename, rig.guest("file"), rig.guest("new"), calls.RENAME_WHITEOUT)
    assert os.listdir(rig.guest()) == ["file"] and read_file(rig.host("file")) == b"content"
    rig.end()


run()
