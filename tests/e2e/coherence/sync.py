#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bindsharectl sync: what the host changed before it is in the guests when it returns."""
import json
import os
import signal
import subprocess
import time

from lib import Mount, Rig, Server, as_user, case, program, read_file, run, wait_for, world, write_file
from lib.changes import as_owner

LEASES = "cache=auto"


def _start(server, *arguments):
    """bindsharectl sync in the background."""
    command = [program("bindsharectl"), "sync", *arguments, "--control", server.control]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, user=world.UID,
                               group=world.GID, env=world.sanitizer_environment())
    world.at_end(lambda: process.poll() is None and (process.kill(), process.wait()))
    return process


def _directory(name="share"):
    path = os.path.join(world.case_directory("host"), name)
    os.mkdir(path)
    os.chown(path, world.UID, world.GID)
    return path


def _stop(mount):
    """The guest does not answer from now on."""
    world.kill(mount.pid, signal.SIGSTOP)
    world.at_end(lambda: world.kill(mount.pid, signal.SIGCONT))
    wait_for(lambda: b" T " in read_file(f"/proc/{mount.pid}/stat"), "the mount is stopped")


def _go_on(mount):
    os.kill(mount.pid, signal.SIGCONT)


def _write(path, text):
    with as_owner(), open(path, "w", encoding="ascii") as file:
        file.write(text)


def _read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def _finish(process, code=0):
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


def _changes_are_known(rig, rounds=10):
    """Each kind of change, of names and files that the guest has looked at just before."""
    for number in range(rounds):
        for name in ("old", "gone"):
            rig.fill(f"{name}{number}", "before")
            assert _read(rig.guest(f"{name}{number}")) == "before"
        assert not os.path.exists(rig.guest(f"new{number}"))
        before = os.listdir(rig.guest())
        _write(rig.host(f"old{number}"), "and after it")
        os.chmod(rig.host(f"old{number}"), 0o600)
        os.unlink(rig.host(f"gone{number}"))
        _write(rig.host(f"new{number}"), "new")
        rig.server.ctl("sync")
        assert os.stat(rig.guest(f"old{number}")).st_size == 12 and _read(rig.guest(f"old{number}")) == "and after it"
        assert os.stat(rig.guest(f"old{number}")).st_mode & 0o777 == 0o600
        assert not os.path.exists(rig.guest(f"gone{number}")) and _read(rig.guest(f"new{number}")) == "new"
        assert set(os.listdir(rig.guest())) == set(before) - {f"gone{number}"} | {f"new{number}"}


@case
def what_the_host_changed_is_in_the_guest_when_sync_returns():
    rig = Rig(LEASES)
    _changes_are_known(rig, 30)
    assert rig.server.ctl("sync", rig.share) == "taken in by 1 mounts\n"
    assert json.loads(rig.server.ctl("sync", "--json")) == {"version": 1, "mounts": 1}
    rig.end()


@case
def a_mount_without_leases_is_right_when_sync_returns():
    """It keeps what it was told for a second."""
    rig = Rig("cache=timeout")
    _changes_are_known(rig, 3)
    rig.end()


@case
def what_no_lease_covers_is_right_when_sync_returns():
    """A name elsewhere is no name in a directory that the guest knows."""
    rig = Rig(LEASES)
    outside = os.path.join(os.path.dirname(rig.share), "outside")
    write_file(outside, "before")
    for number in range(3):
        os.link(outside, rig.host(f"file{number}"))
        assert os.stat(rig.guest(f"file{number}")).st_size == len(_read(outside))
        _write(outside, "x" * (20 + number))
        rig.server.ctl("sync")
        assert os.stat(rig.guest(f"file{number}")).st_size == 20 + number
    rig.end()


@case
def sync_waits_for_a_guest_and_returns_when_it_has_answered():
    rig = Rig(LEASES)
    rig.fill("file", "before")
    assert os.stat(rig.guest("file")).st_size == 6
    _stop(rig.mount)
    _write(rig.host("file"), "and after it")
    process = _start(rig.server)
    time.sleep(1.5)  # longer than what is kept without a lease
    assert process.poll() is None, _finish(process)
    _go_on(rig.mount)
    _finish(process)
    assert os.stat(rig.guest("file")).st_size == 12
    rig.end()


@case
def a_guest_that_does_not_answer_in_time_is_named():
    one, two = _directory("one"), _directory("two")
    server = Server([one, two])
    mounts = [Mount(server, one, LEASES), Mount(server, two, LEASES)]
    for mount in mounts:
        _write(mount.on_host("file"), "before")
        assert _read(mount / "file") == "before"
    _stop(mounts[1])
    for mount in mounts:
        _write(mount.on_host("file"), "and after it")
    done = server.ctl("sync", "--timeout", "1", check=False)
    assert done.returncode == 75 and done.stdout == "", done
    assert f"{two} (uid 0, pid {mounts[1].pid})" in done.stderr and one not in done.stderr, done.stderr
    done = server.ctl("sync", two, "--timeout", "1", "--json", check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 75 and answer["code"] == "unanswered", done
    mount, = answer["unanswered"]
    assert mount["share"] == two and mount["pid"] in server.workers() and mount["peer"].startswith("uid 0"), answer
    server.ctl("sync", one)
    assert os.stat(mounts[0] / "file").st_size == 12
    _go_on(mounts[1])
    server.ctl("sync")
    assert os.stat(mounts[1] / "file").st_size == 12


@case
def a_directory_concerns_what_lies_in_it_and_what_it_lies_in():
    top, other = _directory("top"), _directory("top-of-another")
    below = os.path.join(top, "below")
    os.mkdir(below)
    os.chown(below, world.UID, world.GID)
    server = Server([top, other])
    for share in (top, below, other):
        Mount(server, share, LEASES)
    os.symlink(top, os.path.join(os.path.dirname(top), "link"))
    for path, mounts in ((top, 2), (below, 2), (other, 1), (top + "/", 2), (top + "//below/.", 2)):
        assert json.loads(server.ctl("sync", path, "--json"))["mounts"] == mounts, path
    done = as_user([program("bindsharectl"), "sync", "below", "--json", "--control", server.control], cwd=top)
    assert json.loads(done.stdout)["mounts"] == 2, done
    os.mkdir(os.path.join(top, "aside"), 0o755)
    assert json.loads(server.ctl("sync", os.path.join(top, "aside"), "--json"))["mounts"] == 1


@case
def what_is_wrong_has_its_exit_code_and_words():
    share = _directory()
    server = Server([share])
    _write(share + "/file", "")
    for code, words, arguments in (
            (66, "/etc is not shared", ["/etc"]), (66, "/none is not shared", ["/none"]),
            (66, share + "/none: there is no", [share + "/none"]), (66, "/file: not a directory", [share + "/file"]),
            (65, "absolute path", [share + "/none/.."]), (64, "--timeout 0", ["--timeout", "0"]),
            (64, "one word too many", [share, share])):
        done = server.ctl("sync", *arguments, check=False)
        assert done.returncode == code and words in done.stderr, (arguments, done)
    # Nothing is mounted.
    assert json.loads(server.ctl("sync", "--json")) == json.loads(server.ctl("sync", share, "--json")) == \
        {"version": 1, "mounts": 0}


@case
def a_mount_that_ends_is_not_waited_for():
    share = _directory()
    server = Server([share])
    for ends in ("mount", "worker", "share"):
        mount = Mount(server, share, LEASES)
        _write(share + "/file", "text")
        assert os.path.exists(mount / "file")
        _stop(mount)
        _write(share + "/file", "text " + ends)
        process = _start(server, "--timeout", "60")
        time.sleep(0.5)
        assert process.poll() is None, _finish(process)
        if ends == "mount":
            os.kill(mount.pid, signal.SIGKILL)
        elif ends == "worker":
            server.signal(server.worker())
        else:
            server.ctl("share", "rm", share)
        _finish(process)
        world.kill(mount.pid, signal.SIGCONT)
        mount.unmount_hard()
        if ends == "share":
            break
        wait_for(lambda: not server.workers(), "the worker has ended")


@case
def many_at_once_are_all_answered():
    """More than are remembered apart by the worker; the guest answers after each of them has been asked for."""
    rig = Rig(LEASES)
    rig.fill("file", "")
    assert os.stat(rig.guest("file")).st_size == 0
    _stop(rig.mount)
    processes = []
    for number in range(1, 29):
        _write(rig.host("file"), "x" * number)
        processes.append(_start(rig.server, "--timeout", "60"))
    time.sleep(1.5)
    assert all(process.poll() is None for process in processes)
    _go_on(rig.mount)
    for process in processes:
        _finish(process)
    assert os.stat(rig.guest("file")).st_size == 28
    rig.end()


@case
def one_that_was_given_up_takes_no_place():
    """The control socket has room for 32 at a time."""
    rig = Rig(LEASES)
    rig.fill("file", "")
    assert os.stat(rig.guest("file")).st_size == 0
    _stop(rig.mount)
    _write(rig.host("file"), "text")
    for _ in range(2):
        processes = [_start(rig.server, "--timeout", "600") for _ in range(20)]
        time.sleep(0.5)
        for process in processes:
            assert process.poll() is None
            process.kill()
            process.wait()
    rig.server.ctl("status")
    _go_on(rig.mount)
    rig.server.ctl("sync")
    assert os.stat(rig.guest("file")).st_size == 4
    rig.end()


def _tree(top, size):
    """100 directories of 20 files of this size."""
    with as_owner():
        for folder in range(100):
            os.makedirs(f"{top}/{folder}", exist_ok=True)
            for number in range(20):
                with open(f"{top}/{folder}/f{number}", "wb") as file:
                    file.write(b"x" * size)


def _queue():
    """How many events a queue holds here."""
    return max(int(read_file(f"/proc/sys/fs/{kind}/max_queued_events")) for kind in ("fanotify", "inotify"))


def _raise(error):
    raise error


def _sizes(top):
    return {os.path.join(folder, name)[len(top):]: os.stat(os.path.join(folder, name)).st_size
            for folder, _, names in os.walk(top, onerror=_raise) for name in names}


@case
def a_tree_that_was_written_anew_is_right_when_sync_returns():
    """Also after events have been lost: the server is stopped while more are made than a queue holds."""
    rig = Rig(LEASES, "timeout=600")  # a mount gives a server up that is stopped for longer
    for size, lost in ((10, False), (20, False), (30, True)):
        if lost:
            worker = rig.server.worker()
            rig.server.signal(worker, signal.SIGSTOP)
            for number in range(_queue() + 100):
                os.mkdir(rig.host(f"0/new{number}"))
                os.rmdir(rig.host(f"0/new{number}"))
        _tree(rig.host(), size)
        if lost:
            rig.server.signal(worker, signal.SIGCONT)
        rig.server.ctl("sync", "--timeout", "60")
        assert _sizes(rig.guest()) == _sizes(rig.host()), size
        assert set(_sizes(rig.guest()).values()) == {size}
        assert sorted(os.listdir(rig.guest("0"))) == sorted(os.listdir(rig.host("0")))
        overflows = json.loads(rig.server.ctl("status", "--json"))["mounts"][0]["leases"]["overflows"]
        assert (overflows > 0) == lost, overflows
    assert "overflowed" in rig.server.ctl("status")
    rig.end()


@case
def a_file_system_that_the_host_mounts_is_seen_when_sync_returns():
    """All leases are given anew; whoever waits is answered nevertheless."""
    rig = Rig(LEASES)
    os.mkdir(rig.host("d"))
    rig.fill("d/below", "")
    assert os.listdir(rig.guest("d")) == ["below"]
    _stop(rig.mount)
    rig.fill("file", "")
    process = _start(rig.server, "--timeout", "60")
    time.sleep(0.3)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", rig.host("d")], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", rig.host("d")], check=False))
    time.sleep(0.3)
    assert process.poll() is None, _finish(process)
    _go_on(rig.mount)
    _finish(process)
    for _ in range(5):
        write_file(rig.host("d/above"), "", owner=(0, 0))
        rig.server.ctl("sync")
        assert os.listdir(rig.guest("d")) == ["above"]
        subprocess.run(["umount", "-l", rig.host("d")], check=True)  # the server may have it in use
        rig.server.ctl("sync")
        assert os.listdir(rig.guest("d")) == ["below"]
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", rig.host("d")], check=True)
    rig.end()


run(150)
