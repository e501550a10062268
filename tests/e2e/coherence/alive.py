#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is open stays usable when its name is removed or replaced, also when the server may have 16 descriptors only."""
import errno
import mmap
import os
import shutil
import subprocess
import sys
import time

from lib import GID, UID, Rig, calls, case, expect_errno, read_file, run, wait_for, write_file

SOON = 2.0


def _rigs():
    yield Rig()
    yield Rig(server_arguments=("--descriptors", "16"))


def _crowd(rig):
    """Makes the server forget descriptors that it can do without: looks at more directories and files than 16."""
    if not os.path.exists(rig.host("crowd")):
        for number in range(40):
            os.makedirs(rig.host(f"crowd/d{number}"))
            write_file(rig.host(f"crowd/d{number}/f"), "crowd")
        for path, _, _ in os.walk(rig.host("crowd")):
            os.chown(path, UID, GID)
    for number in range(40):
        assert read_file(rig.guest(f"crowd/d{number}/f")) == b"crowd"


def _sides(rig):
    yield "guest", rig.guest
    yield "host", rig.host


def _mkdir(path):
    os.mkdir(path)
    os.chown(path, UID, GID)


def _seen(path):
    """Waits until a name is seen that the guest may have looked for in vain before."""
    wait_for(lambda: os.path.lexists(path), f"{path} is seen", SOON)
    return path


def _use_file(descriptor, before):
    """Everything that works on an open file without a name."""
    assert os.pread(descriptor, 100, 0) == before
    assert os.pwrite(descriptor, b"written", len(before)) == 7
    assert os.pread(descriptor, 100, 0) == before + b"written"
    os.ftruncate(descriptor, 4)
    assert os.fstat(descriptor).st_size == 4
    os.fchmod(descriptor, 0o640)
    assert os.fstat(descriptor).st_mode & 0o777 == 0o640
    os.ftruncate(descriptor, 8192)
    with mmap.mmap(descriptor, 8192) as mapped:
        mapped[4096:4100] = b"page"
        mapped.flush()
    os.fsync(descriptor)
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    assert os.pread(again, 4, 4096) == b"page"
    os.pwrite(again, b"PAGE", 4096)
    os.close(again)
    assert os.pread(descriptor, 4, 4096) == b"PAGE"
    os.utime(descriptor, (1, 2))
    assert os.fstat(descriptor).st_mtime == 2


@case
def an_unlinked_file_works_through_its_descriptor():
    for rig in _rigs():
        for who, side in _sides(rig):
            rig.fill("file", "content")
            descriptor = os.open(_seen(rig.guest("file")), os.O_RDWR)
            reader = os.open(rig.guest("file"), os.O_RDONLY)
            os.unlink(side("file"))
            _crowd(rig)
            wait_for(lambda d=descriptor: os.fstat(d).st_nlink == 0, f"no links left after unlink by the {who}", SOON)
            _use_file(descriptor, b"content")
            assert os.pread(reader, 4, 4096) == b"PAGE"
            os.close(descriptor)
            assert os.fstat(reader).st_size == 8192
            os.close(reader)
            wait_for(lambda: not os.path.exists(rig.guest("file")), "the name is gone", SOON)


@case
def a_replaced_file_works_through_its_descriptor():
    for rig in _rigs():
        for who, side in _sides(rig):
            rig.fill("file", "old content")
            descriptor = os.open(_seen(rig.guest("file")), os.O_RDWR)
            rig.fill("next", "the new one")
            os.rename(side("next"), side("file"))
            _crowd(rig)
            wait_for(lambda: read_file(rig.guest("file")) == b"the new one", f"replaced by the {who}", SOON)
            _use_file(descriptor, b"old content")
            os.close(descriptor)
            assert read_file(rig.host("file")) == b"the new one"
            assert read_file(rig.guest("file")) == b"the new one"


@case
def a_renamed_file_works_through_its_descriptor():
    for rig in _rigs():
        _mkdir(rig.host("dir"))
        for who, side in _sides(rig):
            rig.fill("file", "content")
            descriptor = os.open(_seen(rig.guest("file")), os.O_RDWR)
            os.rename(side("file"), side("dir/moved"))
            _crowd(rig)
            _use_file(descriptor, b"content")
            assert os.fstat(descriptor).st_nlink == 1
            os.close(descriptor)
            assert os.stat(rig.host("dir/moved")).st_size == 8192, who
            wait_for(lambda: not os.path.exists(rig.guest("file")), "the old name is gone", SOON)


@case
def an_unlinked_file_that_nobody_reads_lives_through_an_o_path_descriptor():
    for rig in _rigs():
        rig.fill("file", "content")
        path = os.open(rig.guest("file"), os.O_PATH)
        os.unlink(rig.guest("file"))
        assert os.fstat(path).st_nlink == 0
        with open(f"/proc/self/fd/{path}", "rb") as file:
            assert file.read() == b"content"
        os.close(path)


@case
def the_other_name_of_a_file_serves_when_one_is_taken_away():
    for rig in _rigs():
        for _who, side in _sides(rig):
            rig.fill("one", "content")
            os.link(_seen(rig.guest("one")), rig.guest("two"))
            descriptor = os.open(rig.guest("one"), os.O_RDONLY)
            os.unlink(side("two"))
            _crowd(rig)
            assert os.stat(rig.guest("one")).st_size == 7
            assert read_file(rig.guest("one")) == b"content"
            wait_for(lambda d=descriptor: os.fstat(d).st_nlink == 1, "one link is left", SOON)
            os.close(descriptor)
            os.unlink(rig.guest("one"))


@case
def a_removed_directory_is_empty_and_takes_nothing():
    for rig in _rigs():
        for who, side in _sides(rig):
            _mkdir(rig.host("dir"))
            descriptor = os.open(_seen(rig.guest("dir")), os.O_RDONLY | os.O_DIRECTORY)
            os.rmdir(side("dir"))
            _crowd(rig)
            wait_for(lambda d=descriptor: os.fstat(d).st_nlink == 0, f"removed by the {who}", SOON)
            assert os.listdir(descriptor) == []
            expect_errno(errno.ENOENT, os.open, "new", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
            expect_errno(errno.ENOENT, os.mkdir, "new", dir_fd=descriptor)
            expect_errno(errno.ENOENT, os.stat, "old", dir_fd=descriptor)
            os.close(descriptor)
            wait_for(lambda: not os.path.exists(rig.guest("dir")), "the name is gone", SOON)


@case
def a_renamed_directory_works_through_its_descriptor():
    for rig in _rigs():
        for who, side in _sides(rig):
            _mkdir(rig.host("dir"))
            write_file(rig.host("dir/file"), "content")
            descriptor = os.open(_seen(rig.guest("dir")), os.O_RDONLY | os.O_DIRECTORY)
            os.rename(side("dir"), side("moved"))
            _crowd(rig)
            assert os.listdir(descriptor) == ["file"]
            inside = os.open("file", os.O_RDWR, dir_fd=descriptor)
            assert os.read(inside, 10) == b"content"
            os.close(inside)
            os.mkdir("new", dir_fd=descriptor)
            assert os.path.isdir(rig.host("moved/new")), who
            os.close(descriptor)
            shutil.rmtree(rig.host("moved"))
            wait_for(lambda: not os.path.exists(rig.guest("moved")), "gone", SOON)


@case
def ancestors_may_be_renamed_meanwhile():
    for rig in _rigs():
        for number, (who, side) in enumerate(_sides(rig)):
            deep = f"top{number}/middle/low"
            os.makedirs(rig.guest(deep))
            write_file(rig.host(f"{deep}/file"), "content")
            descriptor = os.open(rig.guest(f"{deep}/file"), os.O_RDWR)
            directory = os.open(rig.guest(deep), os.O_RDONLY | os.O_DIRECTORY)
            os.rename(side(f"top{number}/middle"), side(f"top{number}/center"))
            os.rename(side(f"top{number}"), side(f"peak{number}"))
            _crowd(rig)
            _use_file(descriptor, b"content")
            os.rename("file", "renamed", src_dir_fd=directory, dst_dir_fd=directory)
            write_file(f"/proc/self/fd/{directory}/second", "second", owner=(0, 0))
            listed = sorted(os.listdir(directory))
            assert listed == ["renamed", "second"], (who, listed, os.listdir(rig.host(f"peak{number}/center/low")))
            where = f"peak{number}/center/low"
            assert sorted(os.listdir(rig.host(where))) == ["renamed", "second"], who
            wait_for(lambda w=where: os.path.exists(rig.guest(w)), "the new path", SOON)
            assert read_file(rig.guest(f"{where}/second")) == b"second"
            os.close(descriptor)
            os.close(directory)


@case
def a_working_directory_survives_what_happens_around_it():
    for rig in _rigs():
        for number, (who, side) in enumerate(_sides(rig)):
            os.makedirs(rig.guest(f"home{number}/project/src"))
            write_file(rig.host(f"home{number}/project/src/main.c"), "main")
            os.chdir(rig.guest(f"home{number}/project/src"))
            os.rename(side(f"home{number}/project/src"), side(f"home{number}/project/source"))
            _crowd(rig)
            assert read_file("main.c") == b"main", who
            os.rename(side(f"home{number}"), side(f"house{number}"))
            _crowd(rig)
            time.sleep(1.1)
            assert os.listdir(".") == ["main.c"]
            write_file("made.o", "object", owner=(0, 0))
            assert read_file(rig.host(f"house{number}/project/source/made.o")) == b"object"
            assert sorted(os.listdir("..")) == ["source"]
            os.mkdir(side("elsewhere"))
            os.chown(rig.host("elsewhere"), UID, GID)
            os.rename(side(f"house{number}/project"), side("elsewhere/project"))
            _crowd(rig)
            assert read_file("made.o") == b"object"
            os.mkdir("more")
            assert os.path.isdir(rig.host("elsewhere/project/source/more"))
            os.chdir("/")
            os.rename(rig.host("elsewhere"), rig.host(f"done{number}"))
            wait_for(lambda: not os.path.exists(rig.guest("elsewhere")), "gone", SOON)


@case
def a_removed_working_directory_behaves_as_on_a_local_disk():
    for rig in _rigs():
        for who, side in 3 * list(_sides(rig)):  # the crowd's files stay open at the server when it was read before
            _mkdir(rig.host("here"))
            os.chdir(_seen(rig.guest("here")))
            os.rmdir(side("here"))
            if who == "guest":
                _crowd(rig)
                expect_errno(errno.ENOENT, os.getcwd)
            wait_for(lambda: os.stat(".").st_nlink == 0, "the directory has no links", SOON)
            expect_errno(errno.ENOENT, os.mkdir, "new")
            expect_errno(errno.ENOENT, os.stat, "new")
            assert os.listdir(".") == []
            os.chdir(rig.guest())
            _mkdir(rig.host("here"))
            wait_for(lambda: os.path.isdir(rig.guest("here")), "made again", SOON)
            os.chdir(rig.guest("here"))
            write_file("file", "x", owner=(0, 0))
            assert os.listdir(rig.host("here")) == ["file"]
            os.chdir("/")
            shutil.rmtree(rig.guest("here"))


def _copy_of_python(rig, name):
    shutil.copy(os.path.realpath(sys.executable), rig.host(name))
    os.chown(rig.host(name), UID, GID)
    os.chmod(rig.host(name), 0o755)
    wait_for(lambda: os.access(rig.guest(name), os.X_OK), "the copy", SOON)


# Waits for a line, then imports much, so that pages of the executable are read late.
_LATE = "import sys; sys.stdin.readline(); import json, decimal, sqlite3, ssl, zlib, re; print(re.sub('a', 'b', 'a'))"


@case
def an_executable_that_is_replaced_goes_on_running():
    for rig in _rigs():
        for how in ("renamed over by the host", "unlinked by the host", "renamed over by the guest"):
            _copy_of_python(rig, "program")
            with subprocess.Popen([rig.guest("program"), "-S", "-c", _LATE.replace("sqlite3, ssl, ", "")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env={"PYTHONHOME": sys.base_prefix}) as process:
                wait_for(lambda p=process: os.readlink(f"/proc/{p.pid}/exe").endswith("program"), "it runs")
                side = rig.guest if "guest" in how else rig.host
                if "unlinked" in how:
                    os.unlink(side("program"))
                else:
                    rig.fill("next", "#!/bin/sh\necho replaced\n", mode=0o755)
                    os.rename(side("next"), side("program"))
                _crowd(rig)
                calls.page_out(process.pid, rig.guest("program"))
                out, _ = process.communicate("go\n", timeout=30)
                assert process.returncode == 0 and out == "b\n", (how, process.returncode, out)
            if "unlinked" not in how:
                wait_for(lambda: subprocess.run([rig.guest("program")], stdout=subprocess.PIPE, check=False,
                                                timeout=20).stdout == b"replaced\n", "the new program", SOON)


@case
def a_mapping_keeps_the_file_that_it_was_made_of():
    for rig in _rigs():
        for _who, side in _sides(rig):
            content = os.urandom(3 * 1024 * 1024)
            rig.fill("data", content)
            with open(_seen(rig.guest("data")), "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            assert mapped[:10] == content[:10]
            rig.fill("next", b"x" * 100)
            os.rename(side("next"), side("data"))
            _crowd(rig)
            calls.page_out(os.getpid(), rig.guest("data"))
            assert mapped[:] == content
            mapped.close()
            os.unlink(rig.host("data"))
            wait_for(lambda: not os.path.exists(rig.guest("data")), "gone", SOON)


@case
def as_many_files_stay_open_as_the_budget_allows_and_one_more_is_refused():
    rig = Rig(server_arguments=("--descriptors", "16"))
    for number in range(40):
        rig.fill(f"f{number}", str(number))
    files = []
    try:
        for number in range(40):
            files.append(os.open(rig.guest(f"f{number}"), os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.ENFILE, error
    assert 12 <= len(files) <= 16, len(files)
    for number, descriptor in enumerate(files):
        assert os.read(descriptor, 10) == str(number).encode()
        os.close(descriptor)
    wait_for(lambda: read_file(rig.guest("f39")) == b"39", "room again", SOON)


run(180)
