#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A directory that is looked at by name is fetched whole at the second name, and not asked again; nothing else is."""
import json
import os
import time

from lib import Rig, case, run, wait_for
from lib.changes import as_owner

SETTLED = 1.15  # seconds: of what was changed just now it is not known which names are missing


def _fill(path, count):
    for number in range(count):
        os.close(os.open(f"{path}/{number}", os.O_CREAT | os.O_WRONLY, 0o644))


def _tree(rig, directories, files):
    with as_owner():
        for folder in range(directories):
            os.mkdir(rig.host(f"d{folder}"))
            _fill(rig.host(f"d{folder}"), files)
    time.sleep(SETTLED)


def _known(rig):
    """Nodes of the server."""
    mount, = json.loads(rig.server.ctl("status", "--json"))["mounts"]
    return mount["nodes"]


def _names(rig, directories, names):
    return [rig.guest(f"d{folder}/{name}") for folder in range(directories) for name in names]


def _look(names, there=True):
    for name in names:
        assert os.path.lexists(name) == there, name


@case
def the_third_name_costs_no_message_to_the_server():
    rig = Rig()
    _tree(rig, 10, 50)
    _look(_names(rig, 10, [""]))
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, ["0"]))
    assert counts.rpc == {"lookup": 10}, counts.rpc
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, ["1"]))
    assert counts.rpc == {"scan": 10}, counts.rpc
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, [str(number) for number in range(2, 50)]))
    assert counts.rpc == {}, counts.rpc
    assert counts.fuse == {"lookup": 10 * 48}, counts.fuse
    time.sleep(0.3)
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, [f"missing{number}" for number in range(50)]), there=False)
    # One for each directory, if the others come at once.
    assert 10 <= counts.rpc["lookup"] <= 30 and counts.rpc.keys() == {"lookup"}, counts.rpc
    assert counts.fuse == {"lookup": 10 * 50}, counts.fuse
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, [str(number) for number in range(50)]))
        _look(_names(rig, 10, [f"missing{number}" for number in range(50)]), there=False)
    assert counts.fuse == {} and counts.rpc == {}, (counts.fuse, counts.rpc)


@case
def what_was_fetched_is_listed_without_a_message():
    """As git does: it looks at what it knows, then for what it does not know."""
    rig = Rig()
    _tree(rig, 10, 50)
    names = [str(number) for number in range(50)]
    _look(_names(rig, 10, names))
    with rig.mount.counted() as counts:
        for name in _names(rig, 10, [""]):
            assert sorted(os.listdir(name)) == sorted(names)
    assert counts.rpc.keys() <= {"getattr"}, counts.rpc
    assert counts.fuse["opendir"] == counts.fuse["readdirplus"] / 2 == 10, counts.fuse
    with rig.mount.counted() as counts:
        _look(_names(rig, 10, names))
    assert counts.fuse == {} and counts.rpc == {}, (counts.fuse, counts.rpc)
    # What is rewound is read anew, and what is changed is listed.
    with as_owner():
        os.rename(rig.host("d1/1"), rig.host("d1/moved"))
    wait_for(lambda: "moved" in os.listdir(rig.guest("d1")), "the new name")
    assert "1" not in os.listdir(rig.guest("d1"))
    rig.end()


@case
def missing_names_alone_are_known_after_the_second():
    rig = Rig()
    _tree(rig, 20, 50)
    assert os.path.isdir(rig.guest())
    with rig.mount.counted() as counts:
        _look(_names(rig, 20, [f"missing{number}" for number in range(100)]), there=False)
    # The root as well, with its 20 directories.
    assert counts.fuse == {"lookup": 20 + 2000}, counts.fuse
    assert 21 <= counts.rpc["lookup"] <= 60 and counts.rpc["scan"] == 21, counts.rpc


@case
def one_name_in_each_of_many_directories_fetches_none_of_them():
    rig = Rig()
    _tree(rig, 300, 3)
    _look(_names(rig, 300, [""]))
    with rig.mount.counted() as counts:
        for name in _names(rig, 300, ["1"]):
            with open(name, "rb") as file:
                file.read()
    assert "scan" not in counts.rpc and counts.rpc["lookup"] == 300, counts.rpc


@case
def one_name_again_and_again_fetches_nothing():
    rig = Rig()
    _tree(rig, 1, 10)
    _look(_names(rig, 1, ["1"]))
    for number in range(20):
        os.utime(rig.host("d0/1"), (number, number))
        wait_for(lambda number=number: os.stat(rig.guest("d0/1")).st_mtime == number, "the time")
        os.unlink(rig.host("d0/1"))
        wait_for(lambda: not os.path.exists(rig.guest("d0/1")), "the end of the name")
        with as_owner():
            _fill(rig.host("d0"), 2)
        wait_for(lambda: os.path.exists(rig.guest("d0/1")), "the name")
    assert rig.mount.stats()["rpc"]["scan"] <= 1  # of the root


@case
def a_large_directory_is_fetched_when_enough_names_were_asked_for():
    rig = Rig()
    _tree(rig, 1, 1000)
    _look(_names(rig, 1, [""]))
    with rig.mount.counted() as counts:
        _look(_names(rig, 1, [str(number) for number in range(10)]))
    assert rig.mount.stats()["listed"] == 0, rig.mount.stats()
    with rig.mount.counted() as counts:
        _look(_names(rig, 1, [str(number) for number in range(10, 200)]))
    # 32 entries for each name, and it is counted only when twice as many were asked for.
    assert counts.rpc["lookup"] <= 60 and counts.rpc["scan"] <= 4, counts.rpc
    assert rig.mount.stats()["listed"] == 1002, rig.mount.stats()


@case
def a_huge_directory_is_never_fetched():
    rig = Rig()
    _tree(rig, 1, 6000)
    _look(_names(rig, 1, [str(number) for number in range(1000)]))
    stats = rig.mount.stats()
    assert stats["listed"] <= 3 and stats["rpc"]["scan"] <= 9, stats


@case
def without_leases_or_room_nothing_is_fetched():
    for options in (("cache=timeout",), ("cache=none",), ("listings=0",)):
        rig = Rig(*options)
        _tree(rig, 2, 20)
        _look(_names(rig, 2, [str(number) for number in range(20)]))
        stats = rig.mount.stats()
        assert stats["rpc"]["scan"] == 0 and stats["listed"] == 0, (options, stats)
        rig.end()


@case
def the_memory_is_bounded_and_the_least_recently_used_goes():
    rig = Rig("listings=1")  # one MiB: some 6,000 entries
    _tree(rig, 200, 60)
    _look(_names(rig, 200, ["0", "1"]))
    listed = rig.mount.stats()["listed"]
    assert 3000 < listed < 9000, listed
    with rig.mount.counted() as counts:
        _look(_names(rig, 200, ["2"])[-40:])
    assert counts.rpc == {}, counts.rpc
    with rig.mount.counted() as counts:
        _look(_names(rig, 200, ["2"])[:40])
    assert counts.rpc == {"lookup": 40}, counts.rpc
    # What fell out is given back: the server knows what the mount has, and no more.
    wait_for(lambda: _known(rig) < 200 * 3 + listed + 300, "references given back", 10)
    rig.end()


@case
def what_the_kernel_did_not_ask_for_is_given_back():
    """Each entry that was fetched holds a reference of the server's, until the directory changes."""
    rig = Rig()
    _tree(rig, 20, 50)
    _look(_names(rig, 20, ["0", "1"]))
    assert _known(rig) >= 20 * 51, _known(rig)
    for folder in range(20):
        os.utime(rig.host(f"d{folder}/0"))
    # The root, its directories, and of each the two names that the kernel knows.
    wait_for(lambda: _known(rig) == 1 + 20 * 3, "references given back", 10)
    assert rig.mount.stats()["listed"] <= 22
    _look(_names(rig, 20, ["0", "1"]))
    _look(_names(rig, 20, ["7"]))
    rig.end()


run(120)
