#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Many changes at once, more than any queue holds: afterwards the whole tree is the same on both sides.

BINDSHARE_FILES is how many files two branches differ in (docs/TESTING.md).
"""
import os
import shutil
import signal
import subprocess
import threading
import time

from lib import Mount, Rig, as_user, case, run, skip, world
from lib.changes import as_owner
from lib.common import messages
from lib.freshness import AT_ONCE, TIMEOUT, quantile, settle
from lib.trees import difference_of, tree

FILES = int(os.environ.get("BINDSHARE_FILES", "2000"))
QUEUE = "/proc/sys/fs/fanotify/max_queued_events"


def _git(rig, *arguments):
    options = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "gc.auto=0", "-C", rig.host("work")]
    done = as_user(["git", *options, *arguments], env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    assert done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"


def _fill(rig, branch, share):
    for number in range(FILES):
        if number % 4 in (0, 1, share + 1):
            folder = rig.host(f"work/{number % 10}/{number % 70 if number % 4 < 2 else branch}")
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/f{number}", "w", encoding="ascii") as file:
                file.write(f"{branch} {number}\n" * (1 + number % (30 + share)))
    os.symlink(f"0/{branch}", rig.host("work/link"))


def _repository(rig):
    """Two branches: of the files half are changed, a quarter is only in one of them, a quarter only in the other."""
    with as_owner():
        os.mkdir(rig.host("work"))
    _git(rig, "init", "-q", "-b", "one")
    for share, branch in enumerate(("one", "two"), 1):
        if branch == "two":
            _git(rig, "checkout", "-q", "-b", branch)
            _git(rig, "rm", "-q", "-r", ".")
        with as_owner():
            _fill(rig, branch, share)
        _git(rig, "add", "-A")
        _git(rig, "commit", "-q", "-m", branch)


def _known(rig, name):
    """The guest knows all of it, and for longer than a time-out."""
    assert difference_of(rig.host(name), rig.guest(name)) == ""
    time.sleep(TIMEOUT)
    return tree(rig.guest(name))


def _same(rig, name, mount=None):
    """Afterwards both sides are the same."""
    settle(rig.server, rig.share)
    found = difference_of(rig.host(name), (mount / name) if mount else rig.guest(name))
    assert not found, found


@case
def a_checkout_of_many_files_is_seen_whole():
    if shutil.which("git") is None:
        skip("git is not installed")
    rig = Rig("cache=auto")
    _repository(rig)
    for number, branch in enumerate(("one", "two", "one")):
        before = _known(rig, "work")
        _git(rig, "checkout", "-q", branch)
        _same(rig, "work")
        changed = sum(before.get(name) != value for name, value in tree(rig.host("work")).items())
        assert changed >= FILES / 2, f"{number}: {changed} names were changed"
    rig.end()


@case
def a_checkout_is_seen_whole_while_the_guest_looks_at_everything():
    if shutil.which("git") is None:
        skip("git is not installed")
    rig = Rig("cache=auto")
    second = Mount(rig.server, rig.share, "cache=auto")
    _repository(rig)
    _known(rig, "work")
    stop, walks = threading.Event(), []

    def walk(mount):
        while not stop.is_set():
            for folder, _, files in os.walk(mount / "work"):
                for name in files:
                    try:
                        with open(os.path.join(folder, name), "rb") as file:
                            file.read()
                    except OSError:
                        pass
            walks.append(mount)

    threads = [threading.Thread(target=walk, args=(mount,)) for mount in (rig.mount, second)]
    for thread in threads:
        thread.start()
    try:
        for branch in ("one", "two", "one", "two"):
            _git(rig, "checkout", "-q", branch)
            for mount in (rig.mount, second):
                _same(rig, "work", mount)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert walks
    second.unmount()
    rig.end()


def _deep_tree(rig):
    with as_owner():
        for first in range(20):
            for second in range(10):
                os.makedirs(rig.host(f"tree/{first}/{second}/deep"))
                for number in range(5):
                    with open(rig.host(f"tree/{first}/{second}/deep/{number}"), "w", encoding="ascii") as file:
                        file.write(f"{first} {second} {number}")


@case
def a_tree_that_is_removed_is_gone():
    rig = Rig("cache=auto")
    _deep_tree(rig)
    _known(rig, ".")
    subprocess.run(["rm", "-rf", rig.host("tree/7"), rig.host("tree/8/3")], check=True)
    _same(rig, ".")
    _known(rig, ".")
    subprocess.run(["rm", "-rf", rig.host("tree")], check=True)
    _same(rig, ".")
    assert os.listdir(rig.guest()) == [] and not os.path.lexists(rig.guest("tree/3/3/deep/3"))
    _deep_tree(rig)
    _same(rig, ".")
    rig.end()


LINKS, LINK_TREES = 5000, 50


def _linked_tree(rig):
    """As pnpm makes it: every file is a link to one in a store that the guest does not look into."""
    with as_owner():
        for number in range(LINK_TREES):
            os.makedirs(rig.host(f"store/{number}"))
            os.makedirs(rig.host(f"modules/{number}"))
        for number in range(LINKS):
            name = f"{number % LINK_TREES}/f{number}"
            with open(rig.host(f"store/{name}"), "w", encoding="ascii") as file:
                file.write(f"{number}\n" * (1 + number % 20))
            os.link(rig.host(f"store/{name}"), rig.host(f"modules/{name}"))


def _walk(rig):
    """What a walk of all files that stats costs, and what it has seen."""
    before, seen = rig.mount.stats(), {}
    for folder, _, files in os.walk(rig.guest("modules")):
        for name in files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            seen[os.path.relpath(path, rig.guest("modules"))] = state.st_size, state.st_nlink, state.st_ctime_ns
    return messages.between(before, rig.mount.stats())["fuse"], seen


def _marks(rig):
    """How many objects of the host the worker watches."""
    folder, count = f"/proc/{rig.server.worker()}/fdinfo", 0
    for name in os.listdir(folder):
        with open(f"{folder}/{name}", encoding="ascii") as file:
            count += sum(line.startswith(("fanotify ino:", "inotify wd:")) for line in file)
    return count


def _change_by_store_names(rig):
    """Returns how long it took, in seconds, until the guest was right about each file."""
    times = []
    for number in range(0, LINKS, 25):
        name = f"{number % LINK_TREES}/f{number}"
        with as_owner():
            if number % 3 == 0:
                with open(rig.host(f"store/{name}"), "a", encoding="ascii") as file:
                    file.write("more\n")
            elif number % 3 == 1:
                os.chmod(rig.host(f"store/{name}"), 0o600)
            else:
                os.unlink(rig.host(f"store/{name}"))
        begin = time.monotonic()
        while True:
            seen, there = os.lstat(rig.guest(f"modules/{name}")), os.lstat(rig.host(f"modules/{name}"))
            if [(one.st_size, one.st_mode, one.st_nlink, one.st_ctime_ns) for one in (seen, there)] == \
                    2 * [(there.st_size, there.st_mode, there.st_nlink, there.st_ctime_ns)]:
                break
            assert time.monotonic() - begin < TIMEOUT, f"{name}: {seen}, {there}"
            time.sleep(0.0002)
        times.append(time.monotonic() - begin)
    return times


@case
def a_tree_of_links_to_a_store_is_known_and_seen_to_change():
    rig = Rig("cache=auto")
    _linked_tree(rig)
    _walk(rig)
    # A walk that comes by once is not to cost the user a mark for each file.
    assert world.AGENT or LINK_TREES < _marks(rig) < LINK_TREES * 3, _marks(rig)
    time.sleep(TIMEOUT)
    # Each file is asked about for the second time, and watched from then on.
    second, _ = _walk(rig)
    time.sleep(TIMEOUT)
    third, known = _walk(rig)
    assert set(third) <= {"opendir", "releasedir", "getattr"} and sum(third.values()) < LINK_TREES * 4, third
    assert len(known) == LINKS
    assert world.AGENT or _marks(rig) >= LINKS, _marks(rig)
    times = sorted(_change_by_store_names(rig))
    print(f"# the second walk: {second}, the third: {third}; {len(times)} changes, ms until the guest is right: p50 "
          f"{quantile(times, 0.5) * 1000:.2f}, p99 {quantile(times, 0.99) * 1000:.2f}", flush=True)
    assert quantile(times, 0.5) < AT_ONCE, times
    _same(rig, "modules")
    rig.end()


def _storm(rig, events):
    """Names are made, changed, renamed and removed: so many events that are not merged."""
    for number in range(events // 4):
        path = rig.host(f"storm/{number % 50}/n{number}")
        with open(path, "w", encoding="ascii") as file:
            file.write("x" * (number % 5000))
        if number % 3 == 0:
            os.rename(path, rig.host(f"storm/{number * 7 % 50}/m{number}"))
        elif number % 3 == 1:
            os.unlink(path)
    for number in range(0, events // 4, 10):
        path = rig.host(f"storm/{number % 50}/old{number % 20}")
        with open(path, "r+", encoding="ascii") as file:
            file.write(f"{number}")


def _make_storm(held):
    """held: the worker stands still meanwhile, so that its queue overflows."""
    with open(QUEUE, encoding="ascii") as file:
        queue = int(file.read())
    if held and queue > 100_000:
        skip(f"a queue of {queue} events")
    rig = Rig("cache=auto", server_arguments=("--heartbeat", "60"))
    with as_owner():
        for directory in range(50):
            os.makedirs(rig.host(f"storm/{directory}"))
            for number in range(20):
                with open(rig.host(f"storm/{directory}/old{number}"), "w", encoding="ascii") as file:
                    file.write("old" * 10)
    _known(rig, ".")
    worker = rig.server.worker()
    if held:
        rig.server.signal(worker, signal.SIGSTOP)
    try:
        with as_owner():
            _storm(rig, max(40_000, queue * 3))
    finally:
        rig.server.signal(worker, signal.SIGCONT)
    _same(rig, ".")
    _known(rig, ".")
    with as_owner():
        _storm(rig, 400)
    _same(rig, ".")
    return rig


@case
def a_storm_of_changes_leaves_both_sides_the_same():
    _make_storm(False).end()


@case
def a_storm_that_no_queue_holds_leaves_both_sides_the_same():
    if world.AGENT:
        skip("a worker that stands still answers nobody, and the agent asks it")
    _make_storm(True).end()


run(200 + FILES // 50)
