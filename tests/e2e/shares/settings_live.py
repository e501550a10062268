#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The list of shares changes while it is in use: settings, policy, what lies at a share's path."""
import errno
import json
import mmap
import os
import subprocess
import threading
import time

from lib import Mount, Server, case, expect_errno, program, read_file, run, wait_for, world, write_file
from lib.control import Subscriber, ask
from lib.hang import Hang
from lib.live import Live, directory, settings_of


def _errno_of(function, *arguments):
    try:
        function(*arguments)
        return 0
    except OSError as error:
        return error.errno


# How the file changes.

@case
def a_file_that_is_replaced_counts_at_once():
    one, two = directory("one"), directory("two")
    live = Live(settings_of(one))
    live.refuses(two)
    begin = time.monotonic()
    live.replace(settings_of(one, two))
    live.events.wait("share-added", path=two)
    print(f"# a directory is on the list {(time.monotonic() - begin) * 1000:.1f} ms after its settings")
    Mount(live.server, two)
    for number in range(20):
        live.replace(settings_of(one) if number % 2 else settings_of(two))
    wait_for(lambda: list(live.shares()) == [one], "the last of many settings")


@case
def a_file_that_is_written_in_place_counts_when_it_is_whole():
    one, two = directory("one"), directory("two")
    live = Live(settings_of(one))
    text = json.dumps(settings_of(one, two))
    write_file(live.path, text[:20], 0o600)
    live.expect_error(live.path, "line 1")
    assert live.shares() == {one: "served"}
    write_file(live.path, text, 0o600)
    live.events.wait("settings-good")
    assert live.shares() == {one: "served", two: "served"}
    assert live.error() is None


@case
def a_directory_on_the_way_that_is_a_link_is_set_anew():
    one, two = directory("one"), directory("two")
    place = world.case_directory("links")
    for name, share in (("a", one), ("b", two)):
        write_file(os.path.join(directory(name, place), "settings.json"), json.dumps(settings_of(share)), 0o600)
    os.symlink("a", place + "/now")
    server = Server([], arguments=["--settings", place + "/now/settings.json"])
    events = Subscriber(server.control)
    os.symlink("b", place + "/new")
    os.rename(place + "/new", place + "/now")
    events.wait("share-added", path=two)
    assert [share["path"] for share in ask(server.control, "shares")["shares"]] == [two]
    # What it leads to now is watched, too.
    write_file(place + "/b/settings.json", json.dumps(settings_of(one)), 0o600)
    events.wait("share-added", path=one)


@case
def a_file_that_is_removed_changes_nothing_and_counts_when_it_is_back():
    one, two = directory("one"), directory("two")
    live = Live(settings_of(one))
    os.unlink(live.path)
    live.expect_error("No such file")
    assert live.shares() == {one: "served"}
    Mount(live.server, one)
    live.replace(settings_of(two))
    live.events.wait("settings-good")
    live.events.wait("share-added", path=two)
    assert list(live.shares()) == [two]
    # Its directory goes, and comes back.
    os.rename(live.place, live.place + ".away")
    live.events.wait("settings-error")
    os.mkdir(live.place)
    live.replace(settings_of(one, two))
    live.events.wait("share-added", path=one)


@case
def a_file_that_others_could_have_written_changes_nothing():
    one, two = directory("one"), directory("two")
    live = Live(settings_of(one))
    path = write_file(live.path + ".new", json.dumps(settings_of(one, two)), 0o660)
    os.rename(path, live.path)
    live.expect_error("chmod go-w")
    assert live.shares() == {one: "served"}
    os.chmod(live.path, 0o600)
    live.events.wait("share-added", path=two)
    os.rename(write_file(live.path + ".new", json.dumps(settings_of()), 0o600, (1234, 1234)), live.path)
    live.expect_error("cannot open" if world.UID else "belongs to user 1234")
    os.rename(write_file(live.path + ".new", json.dumps(settings_of()), 0o644, (1234, 1234)), live.path)
    live.expect_error("belongs to user 1234")
    os.symlink(write_file(live.path + ".real", json.dumps(settings_of()), 0o600), live.path + ".link")
    os.rename(live.path + ".link", live.path)
    live.expect_error("symbolic link")
    assert live.shares() == {one: "served", two: "served"}


@case
def own_keys_make_a_share_read_only_and_tell_the_guest_how_to_mount():
    one, two = directory("one"), directory("two")
    write_file(one + "/file", "x")
    live = Live(settings_of(one, two, cache="none", shares={one: {"readOnly": True, "owner": "host"}}))
    shares = {share["path"]: share for share in ask(live.control, "shares")["shares"]}
    assert shares[one]["read_only"] and not shares[two]["read_only"], shares
    assert (shares[one]["owner"], shares[one]["cache"], shares[one]["permissions"]) == ("host", "none", None), shares
    expect_errno(errno.EROFS, os.unlink, Mount(live.server, one) / "file")
    for own, word in (({"readonly": True}, "readonly"), ({"readOnly": 1}, "readOnly"), ({"owner": "me"}, "owner"),
                      ({"cache": None}, "cache"), ({"permissions": "all"}, "permissions"), (7, "object")):
        live.replace(settings_of(one, two, shares={one: own}))
        live.expect_error(word)
    live.replace(settings_of(one, two, share={}))
    live.expect_error("share")
    assert {share["path"]: share["read_only"] for share in ask(live.control, "shares")["shares"]} == {
        one: True, two: False}


# What is mounted and open.

def _mapped(path):
    """A file of one page in the guest, changed in memory and not written yet."""
    descriptor = os.open(path, os.O_RDWR)
    memory = mmap.mmap(descriptor, 4096)
    memory[:5] = b"dirty"
    return descriptor, memory


def _unmap(memory):
    """Lets go of the page, whose writing fails once more."""
    try:
        memory.close()
    except OSError:
        pass


def _measured(change, function, *arguments, expect):
    """Makes the change; how many ms later function fails as expected."""
    begin = time.monotonic()
    change()
    wait_for(lambda: _errno_of(function, *arguments) == expect, f"errno {expect}", 10, 0)
    return (time.monotonic() - begin) * 1000


@case
def a_share_that_is_removed_fails_at_once_and_old_handles_stay_dead():
    share, kept = directory("share"), directory("kept")
    live = Live(settings_of(share, kept))
    mount, other = Mount(live.server, share), Mount(live.server, kept)
    write_file(share + "/mapped", "." * 4096)
    write_file(share + "/file", "x" * 100)
    descriptor, memory = _mapped(mount / "mapped")
    handle = os.open(mount / "file", os.O_RDWR)
    took = _measured(lambda: live.replace(settings_of(kept)), os.pwrite, handle, b"x", 0, expect=errno.EACCES)
    print(f"# a write fails {took:.1f} ms after the share left the settings")
    expect_errno(errno.EACCES, os.mkdir, mount / "dir")
    expect_errno(errno.EACCES, os.pread, handle, 100, 4096)
    expect_errno((errno.EACCES, errno.EIO), memory.flush)
    live.replace(settings_of(share, kept))
    live.events.wait("share-added", path=share)
    for again in (lambda: os.pwrite(handle, b"y", 0), lambda: os.mkdir(mount / "dir"), lambda: os.fsync(handle)):
        expect_errno(errno.EACCES, again)
    os.close(handle)
    os.close(descriptor)
    _unmap(memory)
    assert read_file(share + "/mapped") == b"." * 4096 and read_file(share + "/file") == b"x" * 100
    assert sorted(os.listdir(share)) == ["file", "mapped"]
    write_file(other / "file", "x", owner=(0, 0))
    mount.unmount()
    write_file(Mount(live.server, share) / "new", "x", owner=(0, 0))
    for _ in range(3):
        second = Mount(live.server, share)
        begin = time.monotonic()
        ask(live.control, "share-remove", path=share)
        expect_errno(errno.EACCES, os.mkdir, second / "dir")
        print(f"# share-remove is answered and effective in {(time.monotonic() - begin) * 1000:.1f} ms")
        ask(live.control, "share-add", path=share)


@case
def nothing_is_written_after_the_removal_is_answered():
    share = directory("share")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)
    stop = threading.Event()

    def work(number):
        descriptor = os.open(mount / f"file{number}", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            while not stop.is_set():
                os.pwrite(descriptor, os.urandom(65536), 0)
        except OSError:
            pass
        os.close(descriptor)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(os.listdir(share)) == 6, "every thread writes")
    begin = time.monotonic()
    assert "error" not in ask(live.control, "share-remove", path=share)
    print(f"# share-remove is answered in {(time.monotonic() - begin) * 1000:.1f} ms while six threads write")
    files = [os.path.join(share, f"file{number}") for number in range(6)]
    before = [(read_file(path), os.stat(path).st_mtime_ns) for path in files]
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert before == [(read_file(path), os.stat(path).st_mtime_ns) for path in files]


@case
def a_share_that_becomes_read_only_refuses_writes_at_once_and_is_read_on():
    share = directory("share")
    live = Live(settings_of(share))
    write_file(share + "/mapped", "." * 4096)
    write_file(share + "/file", "x" * 100)
    mount = Mount(live.server, share)
    descriptor, memory = _mapped(mount / "mapped")
    handle = os.open(mount / "file", os.O_RDWR)
    read_only = settings_of(share, shares={share: {"readOnly": True}})
    took = _measured(lambda: live.replace(read_only), os.pwrite, handle, b"x", 0, expect=errno.EROFS)
    print(f"# a write fails {took:.1f} ms after the share became read-only in the settings")
    live.events.wait("mount-read-only", share=share)
    expect_errno(errno.EROFS, os.mkdir, mount / "dir")
    expect_errno((errno.EROFS, errno.EIO), memory.flush)
    assert os.pread(handle, 4, 0) == b"xxxx"
    write_file(share + "/new", "new")
    assert wait_for(lambda: os.path.exists(mount / "new") and read_file(mount / "new"), "what is new") == b"new"
    # A mount gains no right back; a new one has it.
    live.replace(settings_of(share))
    live.events.wait("share-changed", path=share, read_only=False)
    expect_errno(errno.EROFS, os.pwrite, handle, b"y", 0)
    write_file(Mount(live.server, share) / "writable", "x", owner=(0, 0))
    os.close(handle)
    os.close(descriptor)
    assert read_file(share + "/mapped") == b"." * 4096 and read_file(share + "/file") == b"x" * 100


@case
def a_worker_that_is_held_up_by_the_host_is_killed():
    share = directory("share")
    hang = Hang(share + "/slow")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)
    worker = live.server.worker()
    threading.Thread(target=_errno_of, args=(os.stat, mount / "slow/hang"), daemon=True).start()
    wait_for(lambda: any(line.startswith(f"{worker}/") and "fuse" in line.rsplit(" ", 1)[1] or
                         line.startswith(f"{worker}/") and "request_wait_answer" in line
                         for line in world.waiting()), "a request hangs on the host")
    begin = time.monotonic()
    assert "error" not in ask(live.control, "share-remove", path=share)
    print(f"# the removal is answered after {time.monotonic() - begin:.2f} s although a request hangs on the host")
    assert worker not in live.server.workers()
    hang.release()


@case
def a_thousand_changes_leave_no_trace():
    share, other = directory("share"), directory("other")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)

    def change(times):
        for number in range(times):
            for request in ("share-add", "share-remove"):
                answer = ask(live.control, request, path=other, persist=number % 10 == 0)
                assert "error" not in answer, answer
        return _resident(live.server.process.pid)

    resident, descriptors = change(50), live.server.descriptors()
    more = change(500)
    wait_for(lambda: live.server.descriptors() <= descriptors, "the descriptors are back where they were")
    if b"__asan_init" not in read_file(program("bindshare-fileserver")):  # it keeps what was freed, and looks for leaks
        assert more - resident < 2048, f"{more - resident} kB more after 1000 changes"
    write_file(mount / "file", "x", owner=(0, 0))
    assert live.shares() == {share: "served"}


def _resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@case
def a_server_that_has_nothing_to_do_is_not_woken():
    place = directory("quiet", "/run")  # of this world alone: /var/tmp is a way on which others work
    share = directory("share", place)
    live = Live(settings_of(share), inside=place)
    Mount(live.server, share)
    time.sleep(1)
    before = _wakes(live.server.process.pid)
    for number in range(20):  # in the share, which is no way to anything
        write_file(f"{share}/{number}", "x")
    time.sleep(2)
    assert _wakes(live.server.process.pid) == before


def _wakes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))


# The administrator's policy.

@case
def the_policy_limits_what_is_shared_and_says_so():
    allowed, inside_one, other = directory("allowed"), None, directory("other")
    inside_one = directory("inside", allowed)
    policy = {"filesharingAllowedDirectories": [{"path": allowed}]}
    live = Live(settings_of(inside_one, other), policy)
    assert live.shares() == {inside_one: "served", other: "denied"}
    assert "policy" in live.server.log_text() and other in live.server.log_text()
    live.refuses(other)
    Mount(live.server, inside_one)
    answer = ask(live.control, "share-add", path=other)
    assert answer["code"] == "policy" and live.policy in answer["error"], answer
    done = live.server.ctl("share", "add", other, check=False)
    assert done.returncode == 77 and "policy" in done.stderr, done
    # A link does not lead around it.
    os.symlink(other, allowed + "/link")
    assert ask(live.control, "share-add", path=allowed + "/link")["code"] == "policy"
    live.replace({"filesharingAllowedDirectories": [{"path": allowed}, {"path": other}]}, live.policy)
    live.events.wait("share-changed", path=other, state="served")
    mount = Mount(live.server, other)
    live.replace(policy, live.policy)
    live.events.wait("share-changed", path=other, state="denied")
    wait_for(lambda: _errno_of(os.listdir, mount.where) == errno.EACCES, "what the policy forbids is taken away")


@case
def a_policy_that_is_bad_leaves_the_last_good_one():
    allowed, other = directory("allowed"), directory("other")
    policy = {"filesharingAllowedDirectories": [{"path": allowed}]}
    live = Live(settings_of(allowed), policy)
    for bad in ("{", '{"filesharingAllowedDirectories": {}}', '{"filesharingAllowedDirectories": ["/"]}',
                '{"filesharingAllowedDirectories": [{"path": "$NAME"}]}',
                '{"filesharingAllowedDirectories": [{"path": "/", "sharedByDefault": "yes"}]}'):
        live.replace(bad, live.policy)
        wait_for(lambda: live.error("policy_error"), f"an error for {bad}")
        assert ask(live.control, "share-add", path=other)["code"] == "policy"
        live.replace(policy, live.policy)
        wait_for(lambda: live.error("policy_error") is None, "the policy is good again")
    os.unlink(live.policy)
    live.events.wait("policy-error")
    wait_for(lambda: live.error("policy_error"), "the policy is missed")
    assert ask(live.control, "share-add", path=other)["code"] == "policy"


@case
def what_is_shared_by_default_is_shared_until_the_settings_have_a_list():
    allowed = directory("allowed")
    inside = directory("inside", allowed)
    live = Live({"theme": "dark"}, {"filesharingAllowedDirectories": [{"path": allowed, "sharedByDefault": True},
                                                                      {"path": "$HOME"}, {"path": "$TMP/x"}]})
    assert live.shares() == {allowed: "served"}
    Mount(live.server, inside)
    live.replace(settings_of(inside))
    live.events.wait("share-added", path=inside)
    assert live.shares() == {inside: "served"}
    # Adding to the default writes it down.
    live.replace({"theme": "dark"})
    live.events.wait("share-added", path=allowed)
    ask(live.control, "share-add", path=inside)
    assert json.loads(read_file(live.path))["FilesharingDirectories"] == [allowed, inside]


# What lies at a share's path.

def _ends(mount, code=errno.ESTALE):
    wait_for(lambda: _errno_of(os.listdir, mount.where) == code, f"the mount ends with {errno.errorcode[code]}")


@case
def a_share_that_is_moved_away_is_served_again_when_it_is_back():
    share = directory("share")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)
    os.rename(share, share + ".away")
    live.events.wait("share-changed", path=share, state="missing")
    _ends(mount)
    live.refuses(share, 42)
    os.rename(share + ".away", share)
    live.events.wait("share-changed", path=share, state="served")
    write_file(Mount(live.server, share) / "file", "x", owner=(0, 0))
    # One above it is moved.
    top = os.path.dirname(share)
    os.rename(top, top + ".away")
    live.events.wait("share-changed", path=share, state="missing")
    os.rename(top + ".away", top)
    live.events.wait("share-changed", path=share, state="served")


@case
def a_share_that_is_replaced_is_served_when_the_user_says_so():
    share = directory("share")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)
    for _ in range(5):  # until the file system uses an inode's number again, too
        os.rmdir(share)
        os.mkdir(share)
        os.chown(share, world.UID, world.GID)
    live.events.wait("share-changed", path=share, state="replaced")
    _ends(mount)
    assert "bindsharectl share add" in live.refuses(share)
    assert "bindsharectl share add" in live.server.log_text()
    live.server.ctl("share", "add", share)
    assert live.shares() == {share: "served"}
    Mount(live.server, share)


@case
def a_share_that_something_is_mounted_on_is_served_again_afterwards():
    share = directory("share")
    write_file(share + "/file", "x")
    live = Live(settings_of(share))
    mount = Mount(live.server, share)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", share], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", share], check=False, capture_output=True))
    live.events.wait("share-changed", path=share, state="replaced")
    _ends(mount)
    live.refuses(share)
    subprocess.run(["umount", share], check=True)
    live.events.wait("share-changed", path=share, state="served")
    assert read_file(Mount(live.server, share) / "file") == b"x"


@case
def a_file_system_that_is_unmounted_and_mounted_again_is_the_same_share():
    share = directory("share")
    image = share + ".image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, share], check=False, capture_output=True)
    if mounted.returncode:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", share], check=True)
    world.at_end(lambda: subprocess.run(["umount", "-l", share], check=False, capture_output=True))
    live = Live(settings_of(share))
    Mount(live.server, share)
    subprocess.run(["umount", "-l", share], check=True)
    live.events.wait("share-changed", path=share, state="replaced")
    wait_for(lambda: not live.server.workers(), "the mount's worker ends")
    if mounted.returncode:
        print("# no loop devices here: only the end of a file system was tried")
        return
    subprocess.run(["mount", "-o", "loop", image, share], check=True)
    live.events.wait("share-changed", path=share, state="served")
    Mount(live.server, share)


@case
def a_share_in_a_directory_that_may_not_be_listed_is_looked_at_for_each_mount():
    top = world.case_directory("closed")
    share = directory("share", top)
    os.chmod(top, 0o711)
    live = Live(settings_of(share))
    assert ask(live.control, "status")["unwatched_directories"] == 1
    Mount(live.server, share)
    os.rename(share, share + ".away")
    live.refuses(share, 42)
    os.rename(share + ".away", share)
    Mount(live.server, share)


@case
def a_directory_beneath_a_share_that_is_made_anew_can_be_mounted_again():
    share = directory("share")
    below = directory("below", share)
    live = Live(settings_of(share))
    mount, top = Mount(live.server, below), Mount(live.server, share)
    os.rmdir(below)
    directory("below", share)
    _ends(mount)
    write_file(Mount(live.server, below) / "file", "x", owner=(0, 0))
    assert read_file(top / "below/file") == b"x"


run(180)
