#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mount helper for mount(8) and fstab, the options of a mount, and --stats."""
import errno
import json
import os
import re
import socket
import stat
import subprocess
import threading
import time

from lib import (Mount, Rig, case, expect_errno, is_mounted, mount_command, program, read_file, run, skip,
                 unmount, wait_for, world, write_file)


def _install_helper():
    """Puts mount.fuse.bindshare where mount(8) looks, in this world only."""
    real = "/run/sbin"
    if os.path.isdir(real):
        return
    os.mkdir(real)
    subprocess.run(["mount", "--bind", "/usr/sbin", real], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/usr/sbin"], check=True)
    for name in os.listdir(real):
        os.symlink(os.path.join(real, name), os.path.join("/usr/sbin", name))
    helper = "/usr/sbin/mount.fuse.bindshare"
    if os.path.lexists(helper):
        os.unlink(helper)
    os.symlink(program("bindshare-mount"), helper)
    if not os.path.exists("/sbin/mount.fuse.bindshare"):
        skip("/sbin is not /usr/sbin here")


def _mount(*arguments):
    return subprocess.run(["mount", *arguments], check=False, timeout=40, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=world.sanitizer_environment())


def _mountpoint():
    path = os.path.join(world.case_directory("mount"), "mnt")
    os.mkdir(path)
    return path


@case
def mount_by_type_works_and_umount_ends_it():
    _install_helper()
    rig = Rig()
    where = _mountpoint()
    done = _mount("-t", "fuse.bindshare", f"{rig.server.address}:{rig.share}", where)
    assert done.returncode == 0, done
    write_file(os.path.join(where, "file"), "x", owner=(0, 0))
    assert read_file(rig.host("file")) == b"x"
    subprocess.run(["umount", where], check=True, timeout=20)
    assert not is_mounted(where)


@case
def a_line_in_fstab_mounts():
    _install_helper()
    rig = Rig()
    where = _mountpoint()
    fstab = os.path.join(world.case_directory("etc"), "fstab")
    with open(fstab, "w", encoding="ascii") as file:
        file.write(f"{rig.server.address}:{rig.share} {where} fuse.bindshare ro,noatime,uid=7,nofail,x-test=1 0 0\n")
    done = _mount("-T", fstab, where)
    assert done.returncode == 0, done
    options = is_mounted(where)[5].split(",")
    assert "ro" in options and "noatime" in options, options
    rig.fill("file", "x")
    assert os.stat(os.path.join(where, "file")).st_uid == 7
    expect_errno(errno.EROFS, os.mkdir, os.path.join(where, "dir"))
    subprocess.run(["umount", where], check=True, timeout=20)


@case
def the_helper_speaks_mounts_exit_codes():
    _install_helper()
    rig = Rig()
    assert _mount("-t", "fuse.bindshare", f"{rig.server.address}:/etc", _mountpoint()).returncode == 32
    assert _mount("-t", "fuse.bindshare", "unix:/run/nobody/here:/etc", _mountpoint()).returncode == 32
    done = _mount("-t", "fuse.bindshare", "-o", "no-such-option", f"{rig.server.address}:{rig.share}", _mountpoint())
    assert done.returncode == 1, done
    assert "no-such-option" in done.stderr, done.stderr


@case
def the_mount_shows_as_what_it_is():
    rig = Rig("fsname=projects")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line = next(line for line in file if rig.mount.where in line)
    kind, source = line.split(" - ")[1].split()[:2]
    assert kind == "fuse.bindshare", line
    assert source == "projects", line
    plain = Mount(rig.server, rig.share)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line = next(line for line in file if plain.where in line)
    assert line.split(" - ")[1].split()[1] == plain.source, line


@case
def set_uid_programs_and_devices_are_off_unless_asked_for():
    rig = Rig()
    options = is_mounted(rig.mount.where)[5].split(",")
    assert "nosuid" in options and "nodev" in options, options
    asked = Mount(rig.server, rig.share, "suid", "dev", "noexec", "noatime", "nodiratime")
    options = is_mounted(asked.where)[5].split(",")
    assert "nosuid" not in options and "nodev" not in options, options
    assert {"noexec", "noatime", "nodiratime"} <= set(options), options
    write_file(asked / "tool", "#!/bin/sh\n", mode=0o755, owner=(0, 0))
    expect_errno(errno.EACCES, os.execv, asked / "tool", ["tool"])


@case
def uid_and_gid_choose_the_owner_that_is_shown():
    rig = Rig("uid=1234", "gid=4321")
    rig.fill("file", "x")
    seen = os.stat(rig.guest("file"))
    assert (seen.st_uid, seen.st_gid) == (1234, 4321), seen
    rig.fill("foreign", "x", owner=(0, 0))
    assert os.stat(rig.guest("foreign")).st_uid == 65534
    assert os.stat(rig.guest()).st_uid == 1234


@case
def owner_host_shows_the_real_numbers():
    rig = Rig("owner=host")
    rig.fill("file", "x")
    rig.fill("foreign", "x", owner=(0, 0))
    assert os.stat(rig.guest("file")).st_uid == world.UID
    assert os.stat(rig.guest("foreign")).st_uid == 0


@case
def the_guest_kernel_checks_permissions_unless_told_otherwise():
    rig = Rig()
    rig.fill("private", "secret", mode=0o600)
    command = ["cat", rig.guest("private")]
    assert world.as_user(command, 1000, 1000).returncode != 0
    shared = Mount(rig.server, rig.share, "permissions=host")
    done = world.as_user(["cat", shared / "private"], 1000, 1000)
    assert done.stdout == "secret", done


@case
def the_files_of_a_chosen_owner_are_his():
    rig = Rig("uid=1000", "gid=1000")
    done = world.as_user(["sh", "-c", "echo mine >file && chmod 600 file && cat file"], 1000, 1000, cwd=rig.guest())
    assert done.stdout == "mine\n", done
    assert os.stat(rig.host("file")).st_uid == world.UID
    assert stat.S_IMODE(os.stat(rig.host("file")).st_mode) == 0o600


@case
def in_the_background_it_returns_when_the_mount_serves():
    rig = Rig()
    rig.fill("file", "x")
    for _ in range(5):
        where = _mountpoint()
        begin = time.monotonic()
        done = mount_command(rig.mount.source, where)
        assert done.returncode == 0, done
        assert os.listdir(where) == ["file"]
        assert time.monotonic() - begin < 15
        assert done.stdout == "", done
        subprocess.run(["umount", where], check=True, timeout=20)


@case
def in_the_foreground_a_signal_unmounts():
    rig = Rig()
    where = _mountpoint()
    process = subprocess.Popen([program("bindshare-mount"), rig.mount.source, where, "-f"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=world.sanitizer_environment())
    world.at_end(process.kill)
    deadline = time.monotonic() + 15
    while not is_mounted(where) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert os.listdir(where) == os.listdir(rig.share)
    process.terminate()
    assert process.wait(15) == 0, process.stderr.read()
    assert not is_mounted(where)


@case
def two_mounts_of_one_share_see_each_other():
    rig = Rig()
    other = Mount(rig.server, rig.share)
    write_file(rig.guest("file"), "x", owner=(0, 0))
    assert read_file(other / "file") == b"x"
    assert len(rig.server.workers()) == 2


@case
def stats_are_for_people_and_for_programs():
    rig = Rig()
    rig.fill("file", "x")
    read_file(rig.guest("file"))
    stats = rig.mount.stats()
    assert stats["rpc"]["lookup"] >= 1 and stats["rpc"]["open"] >= 1, stats
    assert stats["fuse"]["lookup"] >= 1 and stats["fuse"]["init"] == 1, stats
    assert stats["lanes"] >= 2 and stats["nodes"] >= 1 and stats["missing"] == 0 and stats["leases"] is True, stats
    assert Mount(rig.server, rig.share, "cache=timeout").stats()["leases"] is False
    done = subprocess.run([program("bindshare-mount"), "--stats", rig.mount.where], check=False, timeout=20,
                          capture_output=True, text=True)
    assert done.returncode == 0 and "lookup" in done.stdout, done
    try:
        json.loads(done.stdout)
        raise AssertionError("the table for people is JSON")
    except ValueError:
        pass


@case
def stats_tell_what_is_known_under_leases():
    rig = Rig("cache=auto")
    for number in range(3):
        assert not os.path.exists(rig.guest(f"none{number}"))
    stats = rig.mount.stats()
    assert stats["leases"] is True and stats["missing"] == 3 and stats["rpc"]["invalidate"] == 0, stats
    rig.fill("none1", "x")
    wait_for(lambda: os.path.exists(rig.guest("none1")), "the guest sees the new file")
    stats = rig.mount.stats()
    assert stats["missing"] == 2 and stats["rpc"]["invalidate"] >= 1, stats
    done = subprocess.run([program("bindshare-mount"), "--stats", rig.mount.where], check=False, timeout=20,
                          capture_output=True, text=True)
    assert re.search(r"^known missing +2$", done.stdout, re.MULTILINE), done
    assert re.search(r"^leases asked for +yes$", done.stdout, re.MULTILINE), done


@case
def stats_of_what_is_no_mount_says_so():
    where = _mountpoint()
    done = subprocess.run([program("bindshare-mount"), "--stats", where], check=False, timeout=20,
                          capture_output=True, text=True)
    assert done.returncode != 0 and where in done.stderr, done
    done = _stats(os.path.join(where, "none"))
    assert done.returncode == 1 and "No such file or directory" in done.stderr, done


def _stats(where, **more):
    return subprocess.run([program("bindshare-mount"), "--stats", where], check=False, timeout=20,
                          capture_output=True, text=True, **more)


@case
def a_mount_may_be_synchronous():
    rig = Rig("sync", "dirsync")
    assert {"sync", "dirsync"} <= set(is_mounted(rig.mount.where)[-1].split(",")), is_mounted(rig.mount.where)
    write_file(rig.guest("file"), b"content", owner=(0, 0))
    assert read_file(rig.host("file")) == b"content"
    rig.end()


@case
def stats_are_for_root_and_a_mount_that_answers():
    rig = Rig()
    done = _stats(rig.mount.where, user=world.UID, group=world.GID, extra_groups=[])
    assert done.returncode == 1 and "only root may ask for the figures of a mount" in done.stderr, done
    where = _mountpoint()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], check=True)
    world.at_end(lambda: unmount(where))
    device = os.stat(where).st_dev
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"/run/bindshare/mounts/{os.major(device)}:{os.minor(device)}.sock")
        listener.listen(4)
        for answer, words in ((b"", "does not answer: No data available"),
                              (b"[1]", "the mount's answer makes no sense"),
                              (b"nonsense", "the mount's answer makes no sense")):
            def once(answer=answer):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(answer)
            thread = threading.Thread(target=once, daemon=True)
            thread.start()
            done = _stats(where)
            thread.join(5)
            assert done.returncode == 2 and words in done.stderr, done
    rig.end()


@case
def a_share_with_commas_spaces_and_backslashes_is_mounted():
    rig = Rig()
    for name in ("a,b", "with space", "back\\slash", "ro,suid"):
        path = rig.host(name)
        os.mkdir(path)
        os.chown(path, world.UID, world.GID)
        where = os.path.join(world.case_directory("mount"), name)
        os.mkdir(where)
        mount = Mount(rig.server, path, where=where)
        write_file(mount / "file", "x", owner=(0, 0))
        assert read_file(os.path.join(path, "file")) == b"x"


@case
def a_token_lets_in_who_holds_it():
    rig = Rig(token="c0ffee00" * 8)
    write_file(rig.guest("file"), "x", owner=(0, 0))
    assert read_file(rig.host("file")) == b"x"
    rig.end()


run()
