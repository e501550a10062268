#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
What the guest is told of names in a directory that was fetched whole is what it would be told name by name: whatever
kind of object has the name, whoever asks, and whatever was changed before, meanwhile, and afterwards, from either side.
"""
import errno
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import threading
import time

from lib import GID, UID, Mount, Rig, Server, calls, case, expect_errno, read_file, run, skip, wait_for, world
from lib.between import INVALIDATE, OPERATIONS, Between
from lib.changes import as_owner
from lib.common import process

SOON = 5.0
SEED = int(os.environ.get("BINDSHARE_SEED", "1"))
SETTLED = 0.5  # seconds: of what was changed just now it is not known which names are missing


def _fill(path, names, content="old", settle=True):
    with as_owner():
        os.makedirs(path, exist_ok=True)
        for name in names:
            with open(f"{path}/{name}", "w", encoding="ascii") as file:
                file.write(content)
    time.sleep(SETTLED if settle else 0)


def _picture(path):
    """All that stat tells of a name but the time of the last access, or the error."""
    try:
        seen = os.lstat(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return tuple(getattr(seen, "st_" + name) for name in
                 ("ino", "mode", "nlink", "uid", "gid", "rdev", "size", "mtime_ns", "ctime_ns"))


def _scans(mount):
    return mount.stats()["rpc"]["scan"]


def _fetch(mount, folder, known=("k1", "k2")):
    """Has the directory fetched: two names of it are asked for."""
    os.stat(mount / folder)
    before = _scans(mount)
    for name in known:
        os.path.lexists(f"{mount / folder}/{name}")
    assert _scans(mount) == before + 1, "the directory was not fetched"


def _same_by_name(rig, folder, names, *options, fetched=True):
    """Two fresh mounts, of which one fetches directories, tell the same of each name."""
    told = []
    for more in ("listings=0", "listings=16"):
        mount = Mount(rig.server, rig.share, more, *options)
        os.listdir(mount.where)
        told.append({name: _picture(f"{mount / folder}/{name}") for name in names})
        listed = {entry.name: _picture(entry.path) for entry in os.scandir(mount / folder)}
        assert listed == {name: seen for name, seen in told[-1].items() if name in listed}, listed
        assert len(listed) == sum(seen != "ENOENT" for seen in told[-1].values()), listed
        scans = _scans(mount)
        assert scans == (0 if more == "listings=0" or not fetched else scans), scans
        assert not fetched or more == "listings=0" or scans > 0, "nothing was fetched"
        mount.unmount()
    for name in names:
        assert told[0][name] == told[1][name], f"{name}: {told[0][name]} and when fetched {told[1][name]}"
    return told[0]


def _all_kinds(rig):
    """A directory with every kind of object; made from the guest where only it can."""
    _fill(rig.host("kinds"), ("plain", "run", "secret", "linked", "noted", "gone"))
    with as_owner():
        os.mkdir(rig.host("kinds/folder"))
        os.symlink("plain", rig.host("kinds/symlink"))
        os.link(rig.host("kinds/linked"), rig.host("kinds/linked again"))
        os.chmod(rig.host("kinds/run"), 0o755)
        os.chmod(rig.host("kinds/secret"), 0o000)
        os.mkdir(rig.host("kinds/closed"), 0o000)
    rig.fill("kinds/foreign", "x", owner=(4321, 4321))
    if not {"permissions=host", "owner=host"} & set(rig.options):
        os.chown(rig.guest("kinds/noted"), 7, 8)
        os.chmod(rig.guest("kinds/run"), 0o4755)
        os.mknod(rig.guest("kinds/null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mkfifo(rig.guest("kinds/fifo"))
        calls.rename(rig.guest("kinds/gone"), rig.guest("kinds/moved"), 4)  # RENAME_WHITEOUT
    time.sleep(SETTLED)
    return [*os.listdir(rig.host("kinds")), "none", "Plain", "plain ", "gone"]


@case
def every_kind_of_object_is_told_as_by_its_name():
    rig = Rig()
    names = _all_kinds(rig)
    told = _same_by_name(rig, "kinds", names)
    assert told["none"] == "ENOENT" and told["gone"][5] == 0 and stat.S_ISCHR(told["gone"][1]), told
    rig.end()


@case
def every_kind_of_object_with_the_hosts_owners():
    rig = Rig("owner=host")
    _same_by_name(rig, "kinds", _all_kinds(rig), "owner=host")
    rig.end()


@case
def every_kind_of_object_with_the_hosts_permissions():
    rig = Rig("permissions=host")
    _same_by_name(rig, "kinds", _all_kinds(rig), "permissions=host")
    rig.end()


@case
def who_may_not_look_names_up_does_not_learn_which_are_missing():
    """The host's permissions decide, for the serving user: a directory can be listed but not searched, say."""
    if UID == 0:
        skip("root may do all of it")
    rig = Rig("permissions=host")
    for mode in (0o400, 0o100, 0o000):
        _fill(rig.host(f"m{mode:o}"), ("a", "b", "known"))
        assert os.path.exists(rig.guest(f"m{mode:o}/known"))  # a second name is worth fetching all
        os.chmod(rig.host(f"m{mode:o}"), mode)
    time.sleep(SETTLED)
    wanted = {0o400: ("EACCES", "EACCES"), 0o100: (None, "ENOENT"), 0o000: ("EACCES", "EACCES")}
    for mode, (there, missing) in wanted.items():
        for name in ("a", "b", "none", "nothing"):
            seen = _picture(rig.guest(f"m{mode:o}/{name}"))
            expected = there if name in "ab" else missing
            assert seen == expected or expected is None and isinstance(seen, tuple), (oct(mode), name, seen)
    rig.end()


@case
def hidden_names_stay_hidden_and_unknown():
    share = os.path.join(world.case_directory("host"), "share")
    os.mkdir(share)
    os.chown(share, UID, GID)
    token = world.write_file(os.path.join(share, "token"), "0123456789abcdef" * 4 + "\n", 0o600)
    server = Server([share], arguments=("--token-file", token), wait=False)
    server.token_file = token
    server.start()
    mount = Mount(server, share)
    for name in ("k1", "k2"):
        world.write_file(os.path.join(share, name), "x")
    time.sleep(SETTLED)
    _fetch(mount, "")
    for name in ("token", "token.77.tmp", "none"):
        expect_errno(errno.ENOENT, os.stat, mount / name)
    assert os.stat(mount / "k2").st_size == 1
    os.rename(os.path.join(share, "token"), os.path.join(share, "kept"))
    expect_errno(errno.ENOENT, os.stat, mount / "token")
    mount.unmount()
    server.stop()


@case
def where_case_does_not_matter_other_spellings_are_found():
    rig = Rig()
    image, where = os.path.join(world.case_directory("image"), "image"), rig.host("disk")
    os.mkdir(where)
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "casefold", image], check=False).returncode:
        skip("mkfs.ext4 knows no casefold")
    if subprocess.run(["mount", "-o", "loop", image, where], check=False, stderr=subprocess.DEVNULL).returncode:
        skip("this kernel has no casefold")
    world.at_end(lambda: subprocess.run(["umount", "-l", where], check=False))
    os.mkdir(f"{where}/folded")
    subprocess.run(["chattr", "+F", f"{where}/folded"], check=True)
    os.chown(f"{where}/folded", UID, GID)
    _fill(f"{where}/folded", ("k1", "k2", "Name"))
    os.listdir(rig.guest("disk"))
    _fetch(rig.mount, "disk/folded")
    assert os.path.exists(rig.guest("disk/folded/NAME")) and os.path.exists(rig.guest("disk/folded/name"))
    assert not os.path.exists(rig.guest("disk/folded/other"))
    rig.mount.unmount()
    subprocess.run(["umount", where], check=True)


# What the guest itself does in a directory that was fetched: each name that it concerns, and no other, changes.
OWN = {
    "make": lambda d: open(d + "/none", "x", encoding="ascii").close(),
    "make a directory": lambda d: os.mkdir(d + "/none"),
    "make a symbolic link": lambda d: os.symlink("a", d + "/none"),
    "make a link": lambda d: os.link(d + "/a", d + "/none"),
    "make a node": lambda d: os.mknod(d + "/none"),
    "remove": lambda d: os.unlink(d + "/a"),
    "remove a directory": lambda d: os.rmdir(d + "/sub"),
    "rename": lambda d: os.rename(d + "/a", d + "/none"),
    "rename over": lambda d: os.rename(d + "/a", d + "/b"),
    "rename away": lambda d: os.rename(d + "/a", os.path.dirname(d) + "/a"),
    "rename here": lambda d: os.rename(os.path.dirname(d) + "/outside", d + "/none"),
    "exchange": lambda d: calls.rename(d + "/a", d + "/sub", 2),
    "write": lambda d: _write(d + "/a"),
    "chmod": lambda d: os.chmod(d + "/a", 0o600),
    "link elsewhere": lambda d: os.link(d + "/a", os.path.dirname(d) + "/elsewhere"),
    "make in a directory below": lambda d: open(d + "/sub/x", "x", encoding="ascii").close(),
}


def _write(path):
    with open(path, "a", encoding="ascii") as file:
        file.write("more")


def _is_same(guest, host, names=("a", "b", "c", "sub", "none", "never")):
    """By name, and listed."""
    def told(path, name):
        seen = _picture(f"{path}/{name}")
        return seen if isinstance(seen, str) else (seen[1], seen[2], seen[6], seen[7])
    differ = {name: (told(guest, name), told(host, name)) for name in names if told(guest, name) != told(host, name)}
    assert not differ, differ
    listed = sorted(entry.name for entry in os.scandir(guest) if entry.stat(follow_symlinks=False))
    assert listed == sorted(os.listdir(host)), listed


@case
def what_the_guest_changes_afterwards_is_seen_at_once():
    rig = Rig()
    _prepare(rig)
    for number, (what, change) in enumerate(OWN.items()):
        folder = f"{number}/d"
        os.stat(rig.guest(f"{number}/outside"))
        _fetch(rig.mount, folder)
        if number % 2:
            os.listdir(rig.guest(folder))
        change(rig.guest(folder))
        try:
            _is_same(rig.guest(folder), rig.host(folder))
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
    rig.end()


@case
def what_the_kernel_has_forgotten_meanwhile_is_not_shown_as_before():
    rig = Rig()
    _fill(rig.host("d"), ("a", "b", "k1", "k2"), settle=False)
    _fill(rig.host("e"), ())
    with as_owner():
        os.link(rig.host("d/a"), rig.host("e/other"))
    time.sleep(SETTLED)
    os.stat(rig.guest("e/other"))
    os.stat(rig.guest("d/a"))
    _fetch(rig.mount, "d")
    os.link(rig.guest("e/other"), rig.guest("e/third"))
    kept = os.open(rig.guest("d"), os.O_PATH)  # the directory itself stays known
    calls.forget_names(rig.mount.where)
    for name in ("e/other", "d/a", "e/third"):
        assert os.stat(rig.guest(name)).st_nlink == 3, name
    os.close(kept)
    rig.end()


def _prepare(rig):
    for number in range(len(OWN)):
        _fill(rig.host(f"{number}/d"), ("a", "b", "c", "k1", "k2"), settle=False)
        with as_owner():
            os.mkdir(rig.host(f"{number}/d/sub"))
        _fill(rig.host(str(number)), ("outside",), settle=False)
    time.sleep(SETTLED)


def _look_killed(path, known):
    for name in known:
        os.path.lexists(f"{path}/{name}")


@case
def what_the_guest_changes_while_the_directory_is_fetched_is_seen():
    """Who looked is killed: the kernel does not wait for its answer, and lets others change names meanwhile."""
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    _prepare(rig)
    for number, (what, change) in enumerate(OWN.items()):
        folder = f"{number}/d"
        for name in (str(number), folder, f"{number}/outside"):
            os.stat(mount / name)
        with between.held(OPERATIONS["scan"]) as came:
            # Names that it does not look at again are known from here on.
            looker = multiprocessing.Process(target=_look_killed, args=(mount / folder, ("k1", "k2")))
            looker.start()
            assert came(SOON), f"{what}: the directory was not fetched"
            os.kill(looker.pid, signal.SIGKILL)
            looker.join(SOON)
            assert not looker.is_alive(), f"{what}: who looked cannot be killed"
            changer = threading.Thread(target=change, args=(mount / folder,), daemon=True)
            changer.start()
            changer.join(SOON)
            assert not changer.is_alive(), f"{what}: waits for who was killed"
            scans = _scans(mount)
        wait_for(lambda scans=scans: _scans(mount) > scans, "the answer", SOON)
        time.sleep(0.02)
        try:
            _is_same(mount / folder, rig.host(folder))
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
    mount.unmount()
    rig.end()


@case
def a_change_by_the_host_is_seen_name_by_name():
    """Each event makes the guest ask again; what it asks then is not answered from what was fetched before."""
    rig = Rig()
    _fill(rig.host("d"), [f"f{number}" for number in range(20)] + ["k1", "k2"])
    os.listdir(rig.guest())
    for number in range(20):
        os.path.lexists(rig.guest("d/k1"))
        os.path.lexists(rig.guest(f"d/x{number}"))
        time.sleep(0.05)
        with as_owner():
            os.rename(rig.host(f"d/f{number}"), rig.host(f"d/x{number}"))
        wait_for(lambda number=number: os.path.exists(rig.guest(f"d/x{number}")), "the new name", SOON)
        wait_for(lambda number=number: not os.path.exists(rig.guest(f"d/f{number}")), "the end of the old name", SOON)
    assert _scans(rig.mount) > 0
    rig.end()


@case
def a_name_that_the_host_makes_is_there_at_the_first_look():
    """INVALIDATE is held back: the host has told the guest by another way than the file system."""
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    _fill(rig.host("d"), ("k1", "k2", "k3"))
    _fetch(mount, "d")
    for number in range(10):
        assert not os.path.exists(mount / "d/none")
        time.sleep(0.3)
        with between.held(INVALIDATE):
            with as_owner():
                os.mkdir(rig.host(f"d/made{number}"))
            assert os.path.isdir(mount / f"d/made{number}"), number
    mount.unmount()
    rig.end()


@case
def a_name_that_the_host_makes_where_the_guest_works_is_there_at_the_first_look():
    """Also a name that the guest has just removed; and what the guest makes meets what the host has made."""
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    os.mkdir(mount / "d")
    for number in range(20):
        for name in ("a", "b", "c"):
            _make_and_remove(mount / f"d/{name}{number}")
        with between.held(INVALIDATE):
            _fill(rig.host("d"), [f"made{number}", f"a{number}", f"b{number}"], settle=False)
            for name in ("made", "a"):
                assert os.path.isfile(mount / f"d/{name}{number}"), f"{name}{number}"
            expect_errno(errno.EEXIST, os.open, mount / f"d/b{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            expect_errno(errno.EEXIST, os.mkdir, mount / f"d/b{number}")
            assert read_file(mount / f"d/b{number}") == b"old"
    mount.unmount()
    rig.end()


def _is_never_missing(entries, change):
    """change: what the guest does in the directory before each look."""
    rig = Rig()
    _fill(rig.host("d"), [f"f{number}" for number in range(entries)])
    os.listdir(rig.guest())
    end = threading.Event()

    def replace():
        while not end.is_set():
            with open(rig.host("d/new"), "w", encoding="ascii") as file:
                file.write("x")
            os.chown(rig.host("d/new"), UID, GID)
            os.rename(rig.host("d/new"), rig.host("d/f30"))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        deadline = time.monotonic() + 4
        number = 0
        while time.monotonic() < deadline:
            number += 1
            change(rig.guest(f"d/own{number}"))
            os.path.lexists(rig.guest(f"d/missing{number}"))
            assert os.path.exists(rig.guest("d/f30")), f"missing at look {number}"
    finally:
        end.set()
        thread.join()
    assert read_file(rig.guest("d/f30")) == b"x"
    rig.end()


@case
def a_name_that_is_replaced_all_the_time_is_never_missing():
    """A listing may miss a name that is replaced while it is read: then missing names are not concluded from it."""
    _is_never_missing(60, lambda path: None)


def _make_and_remove(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    os.unlink(path)


@case
def a_name_that_is_replaced_is_never_missing_where_the_guest_works_too():
    _is_never_missing(60, _make_and_remove)


@case
def a_name_that_is_replaced_in_a_large_directory_is_never_missing():
    """More than one system call reads."""
    _is_never_missing(1500, _make_and_remove)


def _work(chance, folder):
    """One change of names from the guest; it may fail."""
    one, other = (f"{folder}/n{chance.randrange(6)}" for _ in range(2))
    try:
        chance.choice((
            lambda: os.close(os.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL)), lambda: os.unlink(one),
            lambda: os.unlink(one), lambda: os.rename(one, other), lambda: os.link(one, other), lambda: os.mkdir(one),
            lambda: os.rmdir(one), lambda: calls.rename(one, other, 1), lambda: calls.rename(one, other, 2),
            lambda: os.symlink("n0", one), lambda: os.rename(one, folder + "/below/n0"),
            lambda: os.rename(folder + "/below/n0", one)))()
    except OSError:
        pass


@case
def the_guest_knows_what_it_has_made_and_removed():
    """In a directory that it makes itself, and without asking the server for each name that it is about to make."""
    rig = Rig()
    chance = random.Random(SEED)
    os.makedirs(rig.guest("d/below"))
    names = [f"n{number}" for number in range(8)] + ["below/n0", "below/n1"]
    with rig.mount.counted() as counts:
        for number in range(1000):
            _work(chance, rig.guest("d"))
            for name in names:
                seen, there = os.path.lexists(rig.guest(f"d/{name}")), os.path.lexists(rig.host(f"d/{name}"))
                assert seen == there, f"seed {SEED}, step {number}: {name} is {'' if there else 'not '}there"
            if number % 100 == 0:
                calls.forget_names(rig.mount.where)
    assert counts.rpc["scan"] > 0 and counts.rpc["lookup"] < counts.fuse["lookup"], (counts.fuse, counts.rpc)
    rig.end()


# What the guest was doing when it was killed; what it does then.
CROSSED = {
    "unlink": (lambda d: os.unlink(d + "/a"), lambda d: os.close(os.open(d + "/a", os.O_WRONLY | os.O_CREAT))),
    "rename": (lambda d: os.rename(d + "/a", d + "/b"),
               lambda d: os.close(os.open(d + "/a", os.O_WRONLY | os.O_CREAT))),
    "create": (lambda d: os.close(os.open(d + "/new", os.O_WRONLY | os.O_CREAT)), lambda d: os.unlink(d + "/new")),
    "link": (lambda d: os.link(d + "/a", d + "/new"), lambda d: os.unlink(d + "/new")),
}


def _try(change, folder):
    try:
        change(folder)
    except OSError:
        pass


@case
def changes_of_one_name_that_cross_leave_what_the_server_says():
    """The answer to the first is held back, and whoever asked is killed, so that the kernel lets the second begin."""
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    for kind, (first, second) in CROSSED.items():
        _fill(rig.host(kind), ("a", "b", "k1", "k2"))
        _fetch(mount, kind)
        with between.held(OPERATIONS[kind]) as came:
            doer = multiprocessing.Process(target=_try, args=(first, mount / kind))
            doer.start()
            assert came(SOON), f"{kind}: no message"
            os.kill(doer.pid, signal.SIGKILL)
            doer.join(SOON)
            assert not doer.is_alive(), f"{kind}: cannot be killed"
            other = threading.Thread(target=_try, args=(second, mount / kind), daemon=True)
            other.start()
            other.join(SOON)
            assert not other.is_alive(), f"{kind}: waits for who was killed"
        time.sleep(0.02)
        _same_there(mount, rig, kind)
    mount.unmount()
    rig.end()


def _same_there(mount, rig, folder):
    for name in ("a", "b", "new", "k1", "none"):
        seen, there = (os.path.lexists(f"{path}/{name}") for path in (mount / folder, rig.host(folder)))
        assert seen == there, f"{folder}: {name} is {'' if there else 'not '}there"


@case
def who_was_told_that_a_name_is_stale_hears_what_the_server_says_now():
    """The event is held back: only the server's ESTALE tells that the directory was replaced."""
    rig = Rig()
    between = Between(rig.server)
    mount = Mount(between, rig.share)
    for number in range(5):
        _fill(rig.host(f"top{number}/d"), ("a", "b"), "old", settle=False)
        _fill(rig.host(f"top{number}/e"), ("a", "b"), "newer")
        for name in ("d", "none"):
            os.path.lexists(mount / f"top{number}/{name}")
        os.stat(mount / f"top{number}/d/a")
        with between.held(INVALIDATE):
            with as_owner():
                calls.rename(rig.host(f"top{number}/d"), rig.host(f"top{number}/e"), 2)
            assert read_file(mount / f"top{number}/d/a") == b"newer"
            assert read_file(mount / f"top{number}/d/b") == b"newer"
    mount.unmount()
    rig.end()


@case
def what_the_guest_removes_from_a_fetched_directory_is_gone_from_the_disk():
    rig = Rig("cache=auto")
    for remove in (os.unlink, lambda path: os.rename(os.path.dirname(path) + "/other", path)):
        folder = "unlinked" if remove is os.unlink else "replaced"
        _fill(rig.host(folder), ("first", "other"))
        # The guest's kernel knows the first one before the directory is fetched, with another reference to it.
        _fetch(rig.mount, folder, ("first", "missing"))
        remove(rig.guest(folder + "/first"))
        wait_for(lambda: not any(link.endswith("/first (deleted)") for link in
                                 process.open_files(rig.server.worker()).values()), "nothing keeps it", SOON)
    rig.end()


run(180)
