#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Read-only shares, read-only mounts, and which entry of the allowlist counts."""
import errno
import os
import re
import subprocess

from lib import Mount, Rig, Server, case, expect_errno, read_file, run, skip, world, write_file
from lib.mount import mount_command


def _directory(*parts):
    """A directory of the serving user on the host."""
    path = os.path.join(world.case_directory("host"), *parts)
    os.makedirs(path)
    os.chown(path, world.UID, world.GID)
    return path


def _below(path, name):
    path = os.path.join(path, name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


def _check_every_change_fails(guest, host):
    """guest, host: a directory with "file" and "dir" in it, seen from both sides."""
    before = sorted(os.listdir(host))
    content = read_file(os.path.join(host, "file"))
    attributes = os.stat(os.path.join(host, "file"))
    path = os.path.join(guest, "file")
    new = os.path.join(guest, "new")
    refused = (errno.EROFS,)
    assert read_file(path) == content
    assert sorted(os.listdir(guest)) == before
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        expect_errno(refused, os.open, path, flags)
    expect_errno(refused, os.open, new, os.O_RDONLY | os.O_CREAT, 0o644)
    expect_errno(refused, os.mkdir, new)
    expect_errno(refused, os.mkfifo, new)
    expect_errno(refused, os.symlink, "target", new)
    expect_errno(refused, os.link, path, new)
    expect_errno(refused, os.unlink, path)
    expect_errno(refused, os.rmdir, os.path.join(guest, "dir"))
    expect_errno(refused, os.rename, path, new)
    expect_errno(refused, os.chmod, path, 0o600)
    expect_errno(refused, os.chown, path, 0, 0)
    expect_errno(refused, os.utime, path)
    expect_errno(refused, os.truncate, path, 1)
    expect_errno(refused, os.setxattr, path, "user.x", b"1")
    after = os.stat(os.path.join(host, "file"))
    assert sorted(os.listdir(host)) == before
    assert read_file(os.path.join(host, "file")) == content
    for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_nlink"):
        assert getattr(after, field) == getattr(attributes, field), field


def _fill(host):
    write_file(os.path.join(host, "file"), "content")
    _below(host, "dir")


@case
def a_read_only_share_refuses_every_change():
    rig = Rig(mode=":ro")
    _fill(rig.share)
    _check_every_change_fails(rig.guest(), rig.share)
    rig.end()


@case
def a_read_only_share_stays_so_when_the_guest_remounts_it():
    rig = Rig(mode=":ro")
    _fill(rig.share)
    subprocess.run(["mount", "-i", "-o", "remount,rw", rig.mount.where], check=False, capture_output=True, timeout=20)
    _check_every_change_fails(rig.guest(), rig.share)


@case
def a_mount_asked_for_as_read_only_refuses_every_change():
    rig = Rig("ro")
    _fill(rig.share)
    _check_every_change_fails(rig.guest(), rig.share)
    subprocess.run(["mount", "-i", "-o", "remount,rw", rig.mount.where], check=False, capture_output=True, timeout=20)
    _check_every_change_fails(rig.guest(), rig.share)


@case
def a_directory_beneath_an_allowed_one_can_be_mounted():
    share = _directory("share")
    below = _below(share, "below")
    _fill(below)
    mount = Mount(Server([share]), below)
    assert sorted(os.listdir(mount.where)) == ["dir", "file"]
    write_file(mount / "new", "x", owner=(0, 0))
    assert read_file(os.path.join(below, "new")) == b"x"


@case
def a_nested_read_only_entry_beats_the_writable_one_around_it():
    share = _directory("share")
    nested = _below(share, "nested")
    _fill(nested)
    server = Server([share, nested + ":ro"])
    mount = Mount(server, nested)
    _check_every_change_fails(mount.where, nested)
    deeper = _below(nested, "deeper")
    _fill(deeper)
    _check_every_change_fails(Mount(server, deeper).where, deeper)


@case
def a_writable_entry_inside_a_read_only_one_stays_read_only():
    share = _directory("share")
    nested = _below(share, "nested")
    _fill(nested)
    mount = Mount(Server([share + ":ro", nested + ":rw"]), nested)
    _check_every_change_fails(mount.where, nested)


@case
def a_read_only_entry_is_known_by_what_it_is_and_not_by_its_name():
    if world.AGENT:
        skip("mounts of the host cannot be made from a machine")
    share = _directory("share")
    nested = _below(share, "nested")
    again = _below(share, "again")
    deeper = _below(nested, "deeper")
    _fill(nested)
    subprocess.run(["mount", "--bind", nested, again], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", again], check=False))
    server = Server([share, nested + ":ro"])
    _fill(deeper)
    _check_every_change_fails(Mount(server, again).where, again)
    _check_every_change_fails(Mount(server, os.path.join(again, "deeper")).where, deeper)
    # What contains it, by another name of that.
    whole = _directory("whole")
    subprocess.run(["mount", "--bind", share, whole], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", whole], check=False))
    server = Server([whole, nested + ":ro"])
    expect_errno(errno.EROFS, os.mkdir, Mount(server, whole) / "new")


@case
def what_is_not_on_the_list_is_refused_whether_it_exists_or_not():
    share = _directory("share")
    other = _below(os.path.dirname(share), "other")
    server = Server([share])
    texts = set()
    for path in (other, os.path.join(other, "not there"), os.path.dirname(share), "/", "/etc"):
        done = mount_command(f"{server.address}:{path}", _directory("mnt"))
        assert done.returncode == 41, (path, done)
        begin = f"Mounts denied: The path {path} is not shared from the host and is not known to bindshare."
        assert begin in done.stderr, done.stderr
        texts.add(re.sub(r"\[\d+\]", "", done.stderr.replace(path, "X")))
    assert len(texts) == 1, texts
    assert server.workers() == []


@case
def a_sibling_with_the_same_prefix_is_not_shared():
    share = _directory("share")
    server = Server([share])
    sibling = share + "-private"
    os.mkdir(sibling)
    os.chown(sibling, world.UID, world.GID)
    for path in (sibling, share[:-1]):
        done = mount_command(f"{server.address}:{path}", _directory("mnt"))
        assert done.returncode == 41, (path, done)


@case
def a_path_with_detours_is_cleaned_by_its_text():
    share = _directory("share")
    server = Server([share])
    sibling = share + "-private"
    os.mkdir(sibling)
    for path in (share + "/../share", share + "/.", "/" + share, share + "///"):
        mount = Mount(server, path)
        mount.unmount()
    done = mount_command(f"{server.address}:{share}/../share-private", _directory("mnt"))
    assert done.returncode == 41, done


@case
def a_link_out_of_the_share_leads_nowhere():
    share = _directory("share")
    outside = _below(os.path.dirname(share), "outside")
    write_file(os.path.join(outside, "secret"), "secret")
    os.symlink(outside, os.path.join(share, "link"))
    server = Server([share])
    done = mount_command(f"{server.address}:{share}/link", _directory("mnt"))
    assert done.returncode == 41, done
    assert "secret" not in done.stderr


run()
