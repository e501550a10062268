#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Faults that users of other products reported; the docstring of a case names the report (GitHub)."""
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import time

from lib import (GID, UID, Mount, Rig, Server, case, expect_errno, mount_command, read_file, run, wait_for,
                 write_file)
from lib.world import case_directory

SOON = 2.0


def _mkdir(path):
    os.mkdir(path)
    os.chown(path, UID, GID)
    return path


@case
def a_file_that_the_host_makes_shorter_in_place_is_read_as_it_is():
    """docker/for-mac issue 7494."""
    rig = Rig()
    rig.fill("config", "0123456789" * 1000)
    assert read_file(rig.guest("config")) == b"0123456789" * 1000
    with open(rig.host("config"), "r+b") as file:
        file.write(b"short")
        file.truncate(5)
    wait_for(lambda: os.stat(rig.guest("config")).st_size == 5, "the new size", SOON)
    assert read_file(rig.guest("config")) == b"short"
    done = subprocess.run(["cat", rig.guest("config")], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"short"


@case
def a_file_that_the_host_makes_longer_in_place_is_read_as_it_is():
    """docker/for-mac issue 7501."""
    rig = Rig()
    rig.fill("config", "short")
    assert read_file(rig.guest("config")) == b"short"
    with open(rig.host("config"), "r+b") as file:
        file.write(b"0123456789" * 1000)
    wait_for(lambda: os.stat(rig.guest("config")).st_size == 10_000, "the new size", SOON)
    assert read_file(rig.guest("config")) == b"0123456789" * 1000


@case
def what_the_host_overwrites_in_place_is_read():
    """docker/desktop-feedback issue 341."""
    rig = Rig()
    for number in range(4):
        rig.fill("page", b"%04d" % number * 5000)
        wait_for(lambda n=number: read_file(rig.guest("page")) == b"%04d" % n * 5000, "the new content", SOON)
        with open(rig.host("page"), "r+b", buffering=0) as file:
            file.write(b"%04d" % (number + 100) * 5000)
        wait_for(lambda n=number: read_file(rig.guest("page")) == b"%04d" % (n + 100) * 5000, "overwritten", SOON)


@case
def lstat_readdir_and_open_agree_after_an_unlink_by_the_host():
    """docker/desktop-feedback issue 520."""
    rig = Rig()
    for number in range(10):
        rig.fill(f"f{number}", "x")
    names = sorted(os.listdir(rig.guest()))
    assert len(names) == 10 and all(read_file(rig.guest(name)) == b"x" for name in names)
    for number in range(0, 10, 2):
        os.unlink(rig.host(f"f{number}"))
    time.sleep(1.1)
    left = [f"f{number}" for number in range(1, 10, 2)]
    assert sorted(os.listdir(rig.guest())) == left
    for number in range(0, 10, 2):
        expect_errno(errno.ENOENT, os.lstat, rig.guest(f"f{number}"))
        expect_errno(errno.ENOENT, os.open, rig.guest(f"f{number}"), os.O_RDONLY)
        expect_errno(errno.ENOENT, os.unlink, rig.guest(f"f{number}"))
    os.rmdir(_mkdir(rig.guest("other")))


@case
def mtime_of_a_directory_follows_changes_of_either_side():
    """docker/for-mac issue 7616."""
    rig = Rig()
    _mkdir(rig.host("dir"))
    before = os.stat(rig.guest("dir")).st_mtime_ns
    time.sleep(0.02)
    write_file(rig.guest("dir/mine"), "x", owner=(0, 0))
    after = os.stat(rig.guest("dir")).st_mtime_ns
    assert after > before and after == os.stat(rig.host("dir")).st_mtime_ns
    time.sleep(0.02)
    write_file(rig.host("dir/theirs"), "x")
    wait_for(lambda: os.stat(rig.guest("dir")).st_mtime_ns == os.stat(rig.host("dir")).st_mtime_ns > after,
             "the host's change", SOON)
    after = os.stat(rig.guest("dir")).st_mtime_ns
    time.sleep(0.02)
    os.unlink(rig.guest("dir/theirs"))
    assert os.stat(rig.guest("dir")).st_mtime_ns == os.stat(rig.host("dir")).st_mtime_ns > after
    time.sleep(0.02)
    with open(rig.guest("dir/mine"), "ab") as file:
        file.write(b"y")
    assert os.stat(rig.guest("dir")).st_mtime_ns == os.stat(rig.host("dir")).st_mtime_ns


@case
def a_share_whose_root_is_removed_and_made_again_is_shared_when_the_user_says_so():
    """docker/for-mac issue 6989."""
    rig = Rig()
    rig.fill("file", "old")
    assert read_file(rig.guest("file")) == b"old"
    shutil.rmtree(rig.share)
    _mkdir(rig.share)
    rig.fill("file", "new")
    wait_for(lambda: not os.path.exists(rig.guest("file")), "the mount of what is gone ends", SOON)
    assert rig.server.alive()
    # Another directory than the one that was shared: the user says that it is meant, and a new mount has it.
    refused = mount_command(f"{rig.server.address}:{rig.share}", case_directory("elsewhere"))
    assert refused.returncode == 41 and "bindsharectl share add" in refused.stderr, refused
    rig.server.ctl("share", "add", rig.share)
    again = Mount(rig.server, rig.share)
    assert read_file(again / "file") == b"new"
    write_file(again / "more", "more", owner=(0, 0))
    assert read_file(rig.host("more")) == b"more"


@case
def copies_of_a_sparse_file_keep_its_data():
    """docker/sbx-releases issue 526."""
    rig = Rig()
    content = bytearray(4 << 20)
    for at in (0, 4096 * 3, 1 << 20, (4 << 20) - 4096):
        content[at:at + 4096] = os.urandom(4096)
    with open(rig.guest("sparse"), "wb", buffering=0) as file:
        file.truncate(len(content))
        for at in (0, 4096 * 3, 1 << 20, (4 << 20) - 4096):
            os.pwrite(file.fileno(), content[at:at + 4096], at)
        # Read back before anything is on the disk: no hole may be told of where data is.
        for at in (0, 4096 * 3, 1 << 20):
            assert os.lseek(file.fileno(), at, os.SEEK_DATA) == at
            assert os.lseek(file.fileno(), at, os.SEEK_HOLE) > at
    seen = os.stat(rig.guest("sparse"))
    assert seen.st_blocks == os.stat(rig.host("sparse")).st_blocks
    assert seen.st_blocks * 512 < 1 << 20
    for arguments in (["--sparse=auto"], ["--sparse=always"], ["--sparse=never"], ["-a"], ["--reflink=auto"]):
        for source, target in ((rig.guest("sparse"), rig.guest("copy")), (rig.guest("sparse"), rig.host("copy")),
                               (rig.host("sparse"), rig.guest("copy"))):
            subprocess.run(["cp", *arguments, source, target], check=True)
            assert read_file(target) == content, (arguments, target)
            os.unlink(target)


def _create_storm(where, processes, files):
    children = []
    for process in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for number in range(files):
                    path = f"{where}/p{process % 4}/sub{number % 7}"
                    os.makedirs(path, exist_ok=True)
                    with open(f"{path}/{process}.{number}", "xb") as file:
                        file.write(b"%d %d" % (process, number))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert not any(os.waitpid(child, 0)[1] for child in children)


def _check_storm(where, processes, files):
    for process in range(processes):
        for number in range(files):
            path = f"{where}/p{process % 4}/sub{number % 7}/{process}.{number}"
            assert read_file(path) == b"%d %d" % (process, number), path
    assert sum(len(names) for _, _, names in os.walk(where)) == processes * files


@case
def files_that_many_processes_create_all_arrive():
    """docker/sbx-releases issue 539."""
    rig = Rig()
    _create_storm(rig.guest(), 16, 100)
    _check_storm(rig.host(), 16, 100)
    _check_storm(rig.guest(), 16, 100)


@case
def a_tree_that_many_processes_made_is_removed_whole():
    """docker/sbx-releases issue 533."""
    rig = Rig()
    for _ in range(3):
        _create_storm(rig.guest(), 8, 60)
        subprocess.run(["rm", "-rf", *[rig.guest(f"p{number}") for number in range(4)]], check=True)
        assert os.listdir(rig.host()) == [] == os.listdir(rig.guest())


@case
def archives_unpacked_at_the_same_time_keep_every_byte():
    """docker/sbx-releases issue 502."""
    rig = Rig()
    source = case_directory("source")
    for number in range(200):
        os.makedirs(f"{source}/d{number % 10}", exist_ok=True)
        write_file(f"{source}/d{number % 10}/f{number}", os.urandom(number * 37))
    subprocess.run(["tar", "-C", source, "-cf", f"{source}.tar", "."], check=True)
    running = []
    for number in range(6):
        _mkdir(rig.guest(f"t{number}"))
        running.append(subprocess.Popen(["tar", "-C", rig.guest(f"t{number}"), "-xf", f"{source}.tar"]))
    assert not any(process.wait() for process in running)
    for number in range(6):
        for side in (rig.host, rig.guest):
            subprocess.run(["diff", "-r", source, side(f"t{number}")], check=True)


@case
def the_working_directory_survives_many_creates():
    """docker/sbx-releases issue 507."""
    rig = Rig()
    os.makedirs(rig.guest("project/src"))
    os.chdir(rig.guest("project/src"))
    for number in range(60):
        write_file(f"file{number}", str(number), owner=(0, 0))
        os.mkdir(f"dir{number}")
        assert os.getcwd() == rig.guest("project/src")
        assert os.path.exists(f"../src/file{number}")
    done = subprocess.run(["sh", "-c", "pwd -P && ls | wc -l"], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == [rig.guest("project/src"), "120"]
    os.chdir("/")


@case
def lstat_of_a_symbolic_link_gives_its_length_and_one_link():
    """docker/desktop-feedback issue 646."""
    rig = Rig()
    for number, target in enumerate(("t", "some/where/else", "x" * 300)):
        os.symlink(target, rig.guest(f"g{number}"))
        os.symlink(target, rig.host(f"h{number}"))
        for name in (f"g{number}", f"h{number}"):
            seen = os.lstat(rig.guest(name))
            assert (seen.st_size, seen.st_nlink, stat.S_IMODE(seen.st_mode)) == (len(target), 1, 0o777), seen


@case
def two_processes_never_hold_one_lock():
    """docker/for-mac issue 7004."""
    rig = Rig()
    rig.fill("lock", "0")
    for lock in (lambda file: fcntl.flock(file, fcntl.LOCK_EX), lambda file: fcntl.lockf(file, fcntl.LOCK_EX)):
        write_file(rig.guest("lock"), "0", owner=(0, 0))
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                for _ in range(100):
                    with open(rig.guest("lock"), "r+b", buffering=0) as file:
                        lock(file)
                        value = int(file.read())
                        file.seek(0)
                        file.write(b"%d" % (value + 1))
                os._exit(0)
            children.append(child)
        assert not any(os.waitpid(child, 0)[1] for child in children)
        assert read_file(rig.host("lock")) == b"400"
    with open(rig.guest("lock"), "rb") as one, open(rig.guest("lock"), "rb") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        expect_errno(errno.EWOULDBLOCK, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)


@case
def a_file_created_read_only_is_written_by_who_created_it():
    """As git writes its loose objects."""
    rig = Rig()
    descriptor = os.open(rig.guest("object"), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o444)
    assert os.write(descriptor, b"content") == 7
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(rig.guest("object"), rig.guest("final"))
    assert read_file(rig.host("final")) == b"content"
    assert stat.S_IMODE(os.stat(rig.host("final")).st_mode) == 0o444
    os.unlink(rig.guest("final"))


@case
def cp_p_of_a_read_only_file_keeps_mode_and_times():
    """docker/desktop-feedback issue 186."""
    rig = Rig()
    write_file(rig.guest("source"), "content", 0o444, owner=(0, 0))
    os.utime(rig.guest("source"), (1_000_000_000, 1_100_000_000))
    subprocess.run(["cp", "-p", rig.guest("source"), rig.guest("copy")], check=True)
    subprocess.run(["cp", "-a", rig.guest("source"), rig.guest("archive")], check=True)
    for name in ("copy", "archive"):
        seen = os.stat(rig.host(name))
        assert (stat.S_IMODE(seen.st_mode), seen.st_mtime) == (0o444, 1_100_000_000), seen
        assert read_file(rig.host(name)) == b"content"


@case
def a_directory_made_with_mode_0_has_it_and_is_usable_by_root():
    """containers/podman issue 24725."""
    rig = Rig()
    os.mkdir(rig.guest("closed"), 0)
    assert stat.S_IMODE(os.stat(rig.host("closed")).st_mode) == 0
    assert stat.S_IMODE(os.stat(rig.guest("closed")).st_mode) == 0
    write_file(rig.guest("closed/inside"), "x", owner=(0, 0))
    assert os.listdir(rig.guest("closed")) == ["inside"]
    assert read_file(rig.guest("closed/inside")) == b"x"
    os.chmod(rig.guest("closed"), 0o755)
    assert os.listdir(rig.host("closed")) == ["inside"]
    shutil.rmtree(rig.guest("closed"))


@case
def a_symbolic_link_can_have_a_hard_link():
    """docker/for-mac issue 6593."""
    rig = Rig()
    os.symlink("nowhere", rig.guest("link"))
    os.link(rig.guest("link"), rig.guest("second"), follow_symlinks=False)
    assert os.readlink(rig.host("second")) == "nowhere" == os.readlink(rig.guest("second"))
    assert os.lstat(rig.guest("link")).st_nlink == 2
    assert os.lstat(rig.host("link")).st_ino == os.lstat(rig.host("second")).st_ino


@case
def the_absolute_target_of_a_symbolic_link_is_kept():
    """docker/for-mac issue 4862."""
    rig = Rig()
    for target in ("/usr/bin/env", "/", rig.host("inside"), "/nowhere/at/all"):
        os.symlink(target, rig.guest("link"))
        assert os.readlink(rig.host("link")) == target == os.readlink(rig.guest("link"))
        os.unlink(rig.guest("link"))


@case
def times_and_modes_set_again_and_again_stay():
    rig = Rig()
    rig.fill("file", "x")
    for number in range(200):
        moment = 1_600_000_000 * 10**9 + number * 1_234_567
        os.utime(rig.guest("file"), ns=(moment, moment + 1))
        os.chmod(rig.guest("file"), 0o600 | number % 0o100)
        for path in (rig.guest("file"), rig.host("file")):
            seen = os.stat(path)
            assert (seen.st_atime_ns, seen.st_mtime_ns) == (moment, moment + 1), (path, seen)
            assert stat.S_IMODE(seen.st_mode) == 0o600 | number % 0o100


@case
def a_socket_is_bound_connected_to_and_removed():
    """docker/for-win issue 5519."""
    rig = Rig()
    os.chdir(rig.guest())
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        assert stat.S_ISSOCK(os.stat("socket").st_mode)
        client.connect("socket")
        connection, _ = server.accept()
        client.sendall(b"hello")
        assert connection.recv(10) == b"hello"
        connection.close()
        with socket.socket(socket.AF_UNIX) as other:
            expect_errno(errno.EADDRINUSE, other.bind, "socket")
    os.unlink("socket")
    assert os.listdir(rig.host()) == []
    os.chdir("/")


@case
def mounts_inside_each_other_and_with_a_common_prefix_show_their_own_files():
    """docker/desktop-feedback issue 265."""
    top = case_directory("shares")
    os.chmod(top, 0o755)
    paths = [f"{top}/{name}" for name in ("app", "app-data", "app/node_modules", "app2")]
    for path in paths:
        _mkdir(path)
        write_file(f"{path}/marker", path)
    server = Server([paths[0], paths[1], paths[3]])
    where = os.path.join(case_directory("mounts"), "app")
    os.mkdir(where)
    outer = Mount(server, paths[0], where=where)
    inner = Mount(server, paths[1], where=outer / "node_modules")
    others = [Mount(server, paths[1]), Mount(server, paths[3]), Mount(server, paths[2])]
    assert read_file(outer / "marker").decode() == paths[0]
    assert read_file(outer / "node_modules/marker").decode() == paths[1], "the inner mount covers"
    for mount, path in zip(others, (paths[1], paths[3], paths[2])):
        assert read_file(mount / "marker").decode() == path
        write_file(mount / "made", path, owner=(0, 0))
        assert read_file(f"{path}/made").decode() == path
    inner.unmount()
    assert read_file(outer / "node_modules/marker").decode() == paths[2]


@case
def ten_thousand_entries_are_listed_in_seconds_and_few_messages():
    """vmware/open-vm-tools issue 488."""
    rig = Rig()
    _mkdir(rig.host("many"))
    for number in range(10_000):
        os.close(os.open(rig.host(f"many/entry{number}"), os.O_CREAT | os.O_WRONLY))
    begin = time.monotonic()
    done = subprocess.run(["ls", "-l", rig.guest("many")], stdout=subprocess.PIPE, check=True)
    took = time.monotonic() - begin
    assert done.stdout.count(b"\n") == 10_001
    assert took < 10, f"{took:.1f} s"
    with rig.mount.counted() as counted:
        assert len(os.listdir(rig.guest("many"))) == 10_000
    assert counted.rpc_total < 20, counted.rpc


@case
def names_with_spaces_commas_newlines_and_bytes_that_are_no_text_are_kept():
    """abiosoft/colima issue 1471."""
    rig = Rig()
    for name in (b"with space", b" leading", b"trailing ", b"a,b", b"a=b,c=d", b"line\nfeed", b"\x80\xff", b"tab\there",
                 b"quote'\"", b"$HOME", b"-dash"):
        directory = os.path.join(os.fsencode(rig.guest()), name)
        os.mkdir(directory)
        with open(os.path.join(directory, name), "wb") as file:
            file.write(name)
        assert read_file(os.path.join(os.fsencode(rig.host()), name, name)) == name
        assert os.listdir(directory) == [name]
    share = os.path.join(case_directory("spaces"), "My Project, v=2")
    _mkdir(share)
    write_file(f"{share}/a file", "content")
    where = os.path.join(case_directory("spaces"), "mount point, x=1")
    os.mkdir(where)
    mount = Mount(Server([share]), share, where=where)
    assert read_file(mount / "a file") == b"content"


@case
def rmdir_of_a_full_directory_is_enotempty():
    rig = Rig()
    os.makedirs(rig.guest("full/below"))
    expect_errno(errno.ENOTEMPTY, os.rmdir, rig.guest("full"))
    _mkdir(rig.host("theirs"))
    assert os.listdir(rig.guest("theirs")) == []
    rig.fill("theirs/new")
    expect_errno(errno.ENOTEMPTY, os.rmdir, rig.guest("theirs"))
    os.mkdir(rig.guest("empty"))
    expect_errno((errno.ENOTEMPTY, errno.EEXIST), os.rename, rig.guest("empty"), rig.guest("full"))


@case
def descriptors_of_the_server_do_not_grow_with_the_files_that_are_looked_at():
    """docker/for-mac issue 6783."""
    rig = Rig()
    for number in range(3000):
        os.close(os.open(rig.host(f"f{number}"), os.O_CREAT | os.O_WRONLY))
        os.chown(rig.host(f"f{number}"), UID, GID)
    before = rig.server.descriptors(rig.server.worker())
    for number in range(3000):
        os.stat(rig.guest(f"f{number}"))
    assert rig.server.descriptors(rig.server.worker()) < before + 50
    rig = Rig(server_arguments=("--descriptors", "64"))
    for number in range(500):
        os.makedirs(rig.guest(f"d{number}"))
        write_file(rig.guest(f"d{number}/f"), "x", owner=(0, 0))
        assert read_file(rig.guest(f"d{number}/f")) == b"x"
    assert rig.server.descriptors(rig.server.worker()) < 64 + 40


@case
def an_editors_atomic_save_on_either_side_is_seen_on_the_other():
    """docker/for-win issue 12775."""
    rig = Rig()
    rig.fill("file", "version 0")
    for number in range(1, 12):
        side = rig.guest if number % 2 else rig.host
        temporary = side(f".file.{number}.swp")
        write_file(temporary, f"version {number}")
        os.rename(side("file"), side("file~"))
        os.rename(temporary, side("file"))
        os.unlink(side("file~"))
        wait_for(lambda n=number: _content(rig.guest("file")) == f"version {n}".encode(), "the new version", SOON)
        assert read_file(rig.host("file")) == f"version {number}".encode()
        wait_for(lambda: os.listdir(rig.guest()) == ["file"], "nothing else is left", SOON)


def _content(path):
    try:
        return read_file(path)
    except FileNotFoundError:
        return None


@case
def the_files_of_an_ordinary_project_get_no_extended_attributes():
    """chainguard-dev/melange issue 981."""
    rig = Rig()
    os.makedirs(rig.guest("src/deep"))
    write_file(rig.guest("src/deep/main.c"), "int main;", owner=(0, 0))
    os.chmod(rig.guest("src/deep/main.c"), 0o755)
    os.symlink("main.c", rig.guest("src/deep/link"))
    subprocess.run(["cp", "-a", rig.guest("src"), rig.guest("copy")], check=True)
    for where, directories, files in os.walk(rig.host()):
        for name in directories + files:
            path = os.path.join(where, name)
            assert os.listxattr(path, follow_symlinks=False) == [], path
    assert sorted(os.listdir(rig.host())) == ["copy", "src"]


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
run(240)
