#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Files that a program of the host has mapped, and stores into, or keeps open for writing. No event tells of a store: who
opens the file anew sees it, an open descriptor and a mapping see it within a second.
"""
import contextlib
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time

from lib import Rig, case, read_file, run, skip, wait_for, world
from lib.changes import as_owner

# The promise is one second; the rest is for a busy machine.
SOON = 3
PAGE = mmap.PAGESIZE


@contextlib.contextmanager
def _mapped(path, size):
    """A writable shared mapping of a file of the host; its descriptor is closed."""
    with as_owner():
        descriptor = os.open(path, os.O_RDWR)
    mapped = mmap.mmap(descriptor, size)
    os.close(descriptor)
    try:
        yield mapped
    finally:
        mapped.close()


def _fill(rig, name, size):
    rig.fill(name, b"-" * size, owner=(world.UID, world.GID))


def _store(mapped, number):
    """The same number into each page, at its end."""
    text = b"%08d" % number
    for end in range(PAGE, len(mapped) + 1, PAGE):
        mapped[end - 8:end] = text
    mapped[-8:] = text


def _numbers(content):
    found = {content[end - 8:end] for end in range(PAGE, len(content) + 1, PAGE)} | {content[-8:]}
    return {int(text) if text.isdigit() else text for text in found}


def _mapped_look(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return mapped[:]


def _cat(path):
    return subprocess.run(["cat", path], check=True, stdout=subprocess.PIPE, timeout=20).stdout


@contextlib.contextmanager
def _in_memory():
    """A directory for a share on tmpfs, where a store leaves no time either."""
    if not os.path.ismount("/dev/shm"):
        skip("no tmpfs at /dev/shm")
    top = tempfile.mkdtemp(dir="/dev/shm")
    os.chmod(top, 0o755)
    try:
        os.mkdir(top + "/share")
        yield top + "/share"
    finally:
        shutil.rmtree(top)


def _opens_see_every_store(rig):
    number = 0
    for size in (100, 5000, 300_000):
        names = [f"file{size}-{index}" for index in range(5)]
        for name in names:
            _fill(rig, name, size)
            assert read_file(rig.guest(name)) == b"-" * size
        with contextlib.ExitStack() as stack:
            kept = {name: stack.enter_context(_mapped(rig.host(name), size)) for name in names}
            for _ in range(25):
                for name, mapped in kept.items():
                    number += 1
                    _store(mapped, number)
                    for look in (read_file, _mapped_look):
                        seen = _numbers(look(rig.guest(name)))
                        assert seen == {number}, f"{name}, {look.__name__}: {seen}, not {number}"
            for name, mapped in kept.items():
                number += 1
                _store(mapped, number)
                assert _numbers(_cat(rig.guest(name))) == {number}, name
                number += 1
                _store(mapped, number)
                mapped.close()
                assert _numbers(_cat(rig.guest(name))) == {number}, name


@case
def whoever_opens_anew_sees_every_store():
    rig = Rig("cache=auto")
    _opens_see_every_store(rig)
    rig.end()


@case
def whoever_opens_anew_sees_every_store_in_memory():
    with _in_memory() as share:
        rig = Rig("cache=auto", share=share)
        _opens_see_every_store(rig)
        rig.end()


def _until_seen(look, number):
    begin = time.monotonic()
    while _numbers(look()) != {number}:
        assert time.monotonic() - begin < SOON, f"{number} is not seen after {SOON} s: {_numbers(look())}"
        time.sleep(0.01)
    return time.monotonic() - begin


def _open_ones_see_stores(rig):
    size, number, worst = 3 * PAGE + 100, 0, 0.0
    for flags in (os.O_RDONLY, os.O_RDWR):
        for early in (False, True):
            name = f"file{flags}{early}"
            _fill(rig, name, size)
            with contextlib.ExitStack() as stack:
                def host(name=name, stack=stack):
                    return stack.enter_context(_mapped(rig.host(name), size))
                mapped = host() if early else None
                kept = os.open(rig.guest(name), flags)
                stack.callback(os.close, kept)
                view = stack.enter_context(mmap.mmap(kept, size, prot=mmap.PROT_READ))
                assert view[:] == os.pread(kept, size, 0) == b"-" * size
                time.sleep(0.05)  # the news of what came before has been read
                mapped = mapped or host()
                for _ in range(3):
                    for look in (lambda kept=kept: os.pread(kept, size + PAGE, 0), lambda view=view: view[:]):
                        number += 1
                        _store(mapped, number)
                        worst = max(worst, _until_seen(look, number))
                number += 1
                _store(mapped, number)
                mapped.close()
                worst = max(worst, _until_seen(lambda kept=kept: os.pread(kept, size + PAGE, 0), number))
    print(f"# seen after {worst:.3f} s at the latest")


@case
def an_open_descriptor_and_a_mapping_see_a_store_within_a_second():
    rig = Rig("cache=auto")
    _open_ones_see_stores(rig)
    rig.end()


@case
def an_open_descriptor_and_a_mapping_see_a_store_within_a_second_in_memory():
    with _in_memory() as share:
        rig = Rig("cache=auto", share=share)
        _open_ones_see_stores(rig)
        rig.end()


@case
def of_many_open_files_all_stores_are_seen():
    rig, count = Rig("cache=auto"), 400
    names = [f"file{index}" for index in range(count)]
    for name in names:
        _fill(rig, name, PAGE)
    kept = {name: os.open(rig.guest(name), os.O_RDONLY) for name in names}
    assert {os.pread(descriptor, PAGE, 0) for descriptor in kept.values()} == {b"-" * PAGE}
    with contextlib.ExitStack() as stack:
        maps = {name: stack.enter_context(_mapped(rig.host(name), PAGE)) for name in names}
        for number in range(3):
            for mapped in maps.values():
                _store(mapped, number)
            begin = time.monotonic()
            while {name for name, at in kept.items() if _numbers(os.pread(at, PAGE, 0)) != {number}}:
                assert time.monotonic() - begin < SOON
                time.sleep(0.02)
    for descriptor in kept.values():
        os.close(descriptor)
    rig.end()


def _counted_for(rig, seconds, look):
    """How many reads and writes the guest sends meanwhile."""
    until = time.monotonic() + seconds
    with rig.mount.counted() as cost:
        while time.monotonic() < until:
            look()
            time.sleep(0.05)
    return cost.fuse.get("read", 0), cost.fuse.get("write", 0)


def _is_at_rest(rig, seconds, look):
    """
    The guest sends no reads and no writes meanwhile. It may have to read again what the machine has taken back of its
    page cache, which some do now and then with what they hold for unused, but not in each of four windows.
    """
    counts = []
    while (0, 0) not in counts and len(counts) < 4:
        counts.append(_counted_for(rig, seconds, look))
    return (0, 0) in counts


@case
def when_the_last_writer_has_gone_nothing_is_read_again():
    rig = Rig("cache=auto")
    _fill(rig, "file", 20 * PAGE)
    with _mapped(rig.host("file"), 20 * PAGE) as mapped:
        kept = os.open(rig.guest("file"), os.O_RDONLY)
        _store(mapped, 1)
        assert _counted_for(rig, 2.5, lambda: os.pread(kept, 20 * PAGE, 0))[0] >= 2
        _store(mapped, 2)
    wait_for(lambda: _counted_for(rig, 1.5, lambda: os.pread(kept, 20 * PAGE, 0)) == (0, 0), "rest", 10)
    assert _numbers(os.pread(kept, 20 * PAGE, 0)) == {2}
    assert _is_at_rest(rig, 2.5, lambda: os.pread(kept, 20 * PAGE, 0))
    os.close(kept)
    with rig.mount.counted() as cost:
        for _ in range(5):
            assert _numbers(read_file(rig.guest("file"))) == {2}
    assert cost.fuse.get("read", 0) <= 1, cost.fuse
    rig.end()


@case
def what_only_the_guest_writes_keeps_its_pages():
    """A database: several descriptors that are open for writing, and others for reading, for a long time."""
    rig, size = Rig("cache=auto"), 30 * PAGE
    _fill(rig, "old", size)
    time.sleep(1)  # it is a while ago that the host has made it
    written = {}
    for name in ("old", "new"):
        first = os.open(rig.guest(name), os.O_RDWR | os.O_CREAT)
        content = os.urandom(size)
        assert os.pwrite(first, content, 0) == size
        written[name] = [content, first, os.open(rig.guest(name), os.O_RDWR), os.open(rig.guest(name), os.O_RDONLY)]
    for name, (content, *descriptors) in written.items():
        for descriptor in descriptors:
            assert os.pread(descriptor, size, 0) == content
    round_number = 0

    def look():
        for name, kept in written.items():
            assert os.pread(kept[3], size, 0) == kept[0], name
            assert read_file(rig.guest(name)) == kept[0], name

    def work():
        nonlocal round_number
        round_number += 1
        for kept in written.values():
            page = b"%08d" % round_number * (PAGE // 8)
            at = round_number % 30 * PAGE
            assert os.pwrite(kept[1], page, at) == PAGE
            kept[0] = kept[0][:at] + page + kept[0][at + PAGE:]
        look()

    look()
    assert _is_at_rest(rig, 4, look)
    # The guest's kernel reads again after each write of its own, since it sees another time of the file.
    reads, writes = _counted_for(rig, 4, work)
    assert 0 < writes and reads <= writes, (reads, writes)
    for _, *descriptors in written.values():
        for descriptor in descriptors:
            os.close(descriptor)
    rig.end()


@case
def what_the_guest_stores_is_not_lost_when_its_pages_are_dropped():
    """The host stores into one page and the guest into the next, both by mappings, for some seconds."""
    rig = Rig("cache=auto")
    _fill(rig, "file", 2 * PAGE)
    with _mapped(rig.host("file"), 2 * PAGE) as mapped:
        kept = os.open(rig.guest("file"), os.O_RDWR)
        with mmap.mmap(kept, 2 * PAGE) as own:
            until, number = time.monotonic() + 4, 0
            while time.monotonic() < until:
                number += 1
                mapped[:8] = own[PAGE:PAGE + 8] = b"%08d" % number
                assert own[PAGE:PAGE + 8] == b"%08d" % number
            own.flush()
            assert mapped[PAGE:PAGE + 8] == b"%08d" % number
            wait_for(lambda: own[:8] == b"%08d" % number, "the host's store", SOON)
        os.close(kept)
    assert read_file(rig.host("file"))[PAGE:PAGE + 8] == b"%08d" % number
    rig.end()


# Opens a file for writing until its standard input is closed; tells how often, how often in vain, and the longest time.
OPENER = """
import os, select, sys, time
path, flags, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
count = failed = 0
worst = 0.0
while not select.select([0], [], [], pause)[0]:
    count += 1
    begin = time.monotonic()
    try:
        os.close(os.open(path, flags))
    except BlockingIOError:
        failed += 1
    worst = max(worst, time.monotonic() - begin)
print(count, failed, worst)
"""


def _storm(rig, flags, pause, seconds=3):
    with subprocess.Popen([sys.executable, "-c", OPENER, rig.host("file"), str(flags), str(pause)], user=world.UID,
                          group=world.GID, extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as opener:
        time.sleep(0.3)
        until, opens = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            assert read_file(rig.guest("file")) == b"-" * 100
            opens += 1
        told, _ = opener.communicate(timeout=20)
    assert opener.returncode == 0
    count, failed, worst = told.split()
    print(f"# {opens} opens in the guest, {count} on the host, {failed} in vain, "
          f"the longest {float(worst) * 1000:.1f} ms")
    assert opens > 100 and int(count) > 100
    return int(failed)


@case
def programs_of_the_host_that_open_for_writing_are_not_hurt():
    """The server asks the kernel for a lease for a moment: nobody fails by that, nor does the server."""
    rig = Rig("cache=auto")
    _fill(rig, "file", 100)
    worker = rig.server.worker()
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_NONBLOCK):
        for pause in (0, 0.002):
            assert _storm(rig, flags, pause) == 0
    for _ in range(100):
        assert read_file(rig.guest("file")) == b"-" * 100
        done = world.as_user(["truncate", "-s", "100", rig.host("file")])
        assert done.returncode == 0, done.stderr
    assert rig.server.worker() == worker, "the worker has died"
    rig.end()


run(180)
