#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An object stays the same object, whatever file system of the host it is on."""
import fcntl
import mmap
import os
import shutil
import subprocess
import time

from lib import GID, UID, Rig, calls, case, read_file, run, skip, wait_for, world, write_file


def _mount(*arguments):
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        skip(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
    world.at_end(lambda: subprocess.run(["umount", "-l", arguments[-1]], check=False))


def _overlay(lower_elsewhere):
    """A share on overlayfs, with files that lie in the lower layer."""
    top = world.case_directory("overlay")
    _mount("-t", "tmpfs", "tmpfs", top)
    for name in ("lower", "up", "merged"):
        os.mkdir(f"{top}/{name}")
    if lower_elsewhere:
        _mount("-t", "tmpfs", "tmpfs", f"{top}/lower")
    os.mkdir(f"{top}/up/upper")
    os.mkdir(f"{top}/up/work")
    os.mkdir(f"{top}/lower/directory")
    for name in ("file", "mapped", "directory/file"):
        write_file(f"{top}/lower/{name}", "lower" * 100)
    for path in (f"{top}/lower", f"{top}/lower/directory", f"{top}/up/upper"):
        os.chown(path, UID, GID)
    _mount("-t", "overlay", "overlay", "-o", f"lowerdir={top}/lower,upperdir={top}/up/upper,workdir={top}/up/work",
           f"{top}/merged")
    return Rig(share=f"{top}/merged")


@case
def the_first_write_to_a_lower_layer_makes_no_other_file_of_it():
    for elsewhere in (False, True):
        rig = _overlay(elsewhere)
        before = os.stat(rig.guest("file"))
        one = open(rig.guest("file"), "r+b")
        fcntl.flock(one, fcntl.LOCK_EX)
        one.write(b"written")
        one.flush()
        time.sleep(1.2)  # the guest's kernel looks the name up again
        other = open(rig.guest("file"), "r+b")
        assert os.path.sameopenfile(one.fileno(), other.fileno())
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise AssertionError("two hold one lock")
        except BlockingIOError:
            pass
        wait_for(lambda: os.stat(rig.guest("file")).st_size == 500, "attributes", 2)
        assert os.stat(rig.guest("file")).st_ino == before.st_ino
        for path in (rig.guest("file"), rig.host("file")):
            assert read_file(path).startswith(b"written")
        for file in (one, other):
            file.close()
        rig.end()


@case
def two_mappings_of_a_lower_file_are_one():
    for elsewhere in (False, True):
        rig = _overlay(elsewhere)
        maps = []
        for number in range(2):
            with open(rig.guest("mapped"), "r+b") as file:
                maps.append(mmap.mmap(file.fileno(), 0))
            maps[number][:4] = b"%04d" % number
            maps[number].flush()
            time.sleep(1.2 * (1 - number))
        assert maps[0][:4] == b"0001" == maps[1][:4]
        for mapping in maps:
            mapping.flush()
            mapping.close()
        assert read_file(rig.host("mapped"))[:4] == b"0001"
        rig.end()


@case
def a_working_directory_survives_the_first_write_in_it():
    for elsewhere in (False, True):
        rig = _overlay(elsewhere)
        here = os.getcwd()
        os.chdir(rig.guest("directory"))
        try:
            write_file("new", "x", owner=(0, 0))
            os.chmod(".", 0o700)
            os.stat(rig.guest("directory"))
            assert os.getcwd() == rig.guest("directory")
            assert sorted(os.listdir(".")) == ["file", "new"] == sorted(os.listdir(rig.guest("directory")))
        finally:
            os.chdir(here)
        rig.end()


@case
def a_mount_in_a_lower_directory_stays_when_the_directory_is_changed():
    rig = _overlay(True)
    _mount("-t", "tmpfs", "volume", rig.guest("directory"))
    write_file(rig.guest("directory/inside"), "volume", owner=(0, 0))
    os.chmod(rig.host("directory"), 0o711)
    write_file(rig.host("directory/beneath"), "x")
    for _ in range(3):
        os.stat(rig.guest())
        os.listdir(rig.guest())
        wait_for(lambda: os.listdir(rig.guest("directory")) == ["inside"], "the volume is there", 3)
    subprocess.run(["umount", rig.guest("directory")], check=True)
    rig.end()


def _image(kind, *make):
    """A file system of some kind in a file, mounted within the share of a rig; its directory there."""
    if shutil.which(make[0]) is None:
        skip(f"{make[0]} is missing")
    rig = Rig()
    image = os.path.join(world.case_directory("image"), "image")
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run([*make, image], check=True, capture_output=True)
    os.mkdir(rig.host("disk"))
    _mount("-t", kind, "-o", "loop", image, rig.host("disk"))
    os.chown(rig.host("disk"), UID, GID)
    return rig


def _use(rig):
    name = "disk/file"
    with open(rig.guest(name), "wb") as file:
        file.write(b"one")
    seen = os.stat(rig.guest(name))
    with open(rig.guest(name), "ab") as first, open(rig.guest(name), "ab") as second:
        first.write(b"two")
        first.flush()
        second.write(b"three")
        assert os.path.sameopenfile(first.fileno(), second.fileno())
    assert os.stat(rig.guest(name)).st_ino == seen.st_ino
    os.rename(rig.guest(name), rig.guest("disk/moved"))
    assert read_file(rig.guest("disk/moved")) == b"onetwothree" == read_file(rig.host("disk/moved"))
    assert calls.statx(rig.guest("disk/moved")).size == 11


@case
def a_disk_with_ext4_in_the_share():
    rig = _image("ext4", "mkfs.ext4", "-q", "-F")
    _use(rig)
    rig.end()


run()
