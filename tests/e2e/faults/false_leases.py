#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
A server that lies about changes, and a guest that lies about having acted on them: neither side crashes or hangs, and
a lie costs the liar alone.
"""
import errno
import os
import random

from lib import Mount, Rig, case, is_mounted, read_file, run, wait_for
from lib.between import ALL, ATTRIBUTES, CONTENTS, DIRECTORY, INVALIDATE, INVALIDATED, NAME, Between, invalidate, \
    invalidated

SOON = 5.0
EVERYTHING = NAME | ATTRIBUTES | CONTENTS | DIRECTORY | ALL


def _rig():
    """A rig whose mount is not used, a mount with somebody between, and the one between."""
    rig = Rig()
    for number in range(20):
        rig.fill(f"f{number}", f"text {number}")
    between = Between(rig.server)
    return rig, Mount(between, rig.share), between


def _is_right(rig, mount):
    """What is there is seen, and what the host changes now."""
    for number in range(20):
        assert read_file(mount / f"f{number}") == read_file(rig.host(f"f{number}"))
    rig.fill("f0", os.urandom(8).hex())
    wait_for(lambda: read_file(mount / "f0") == read_file(rig.host("f0")), "the host's change is seen", SOON)
    assert sorted(os.listdir(mount.where)) == sorted(os.listdir(rig.share))


@case
def events_about_what_nobody_knows_change_nothing():
    rig, mount, between = _rig()
    chance = random.Random(1)
    for number in range(3000):
        name = bytes(chance.randrange(97, 123) for _ in range(chance.randrange(1, 255)))
        what = chance.randrange(NAME, ALL)
        between.to_guest(invalidate(number + 1, what, chance.getrandbits(64), chance.getrandbits(64),
                                    chance.choice((b"", name))))
    _is_right(rig, mount)
    mount.unmount()
    rig.end()


@case
def sequences_that_run_backwards_stand_still_or_jump_change_nothing():
    rig, mount, between = _rig()
    for sequence in (7, 3, 3, 0, (1 << 64) - 1, 1, (1 << 63), 2):
        between.to_guest(invalidate(sequence, ALL | CONTENTS))
        _is_right(rig, mount)
    mount.unmount()
    rig.end()


@case
def a_flood_of_events_ends_the_mount_or_is_taken():
    """More than the window of an honest server, none of them read to the end before the next."""
    rig, mount, between = _rig()
    try:
        for number in range(40000):
            between.to_guest(invalidate(number + 1, ALL | CONTENTS))
    except OSError:
        pass  # the guest has had enough
    try:
        _is_right(rig, mount)
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.EIO, errno.ECONNABORTED), error
    mount.unmount()
    rig.end()


@case
def events_that_make_no_sense_end_the_mount():
    for message in (invalidate(1, NAME, 1 << 32, 0, b".."), invalidate(1, NAME, 1 << 32, 0, b"a/b"),
                    invalidate(1, NAME, 1 << 32, 0, b"a\0b"), invalidate(1, ALL)[:-1] + b"\x09",
                    invalidate(1, ALL) + b"x" * 24):
        rig, mount, between = _rig()
        between.to_guest(message)

        def has_ended(mount=mount):
            try:
                os.stat(mount / "f1")
                os.listdir(mount.where)
            except OSError as error:
                assert error.errno in (errno.ENOTCONN, errno.EIO, errno.ECONNABORTED), error
                return True
            return False
        wait_for(has_ended, "the mount has ended", SOON)
        mount.unmount()
        assert not is_mounted(mount.where)
        rig.end()


@case
def a_guest_that_acknowledges_nothing_holds_up_nobody():
    rig, mount, between = _rig()
    between.dropped.add(INVALIDATED)
    for number in range(40):
        os.mkdir(rig.host(f"d{number}"))
        assert os.listdir(mount / f"d{number}") == [] == os.listdir(rig.guest(f"d{number}"))
    # Far more messages than the server sends without an answer.
    for number in range(2000):
        rig.fill(f"d{number % 40}/f{number // 40}", "x")
    assert between.seen.count(INVALIDATE) < 2000, between.seen.count(INVALIDATE)
    for number in range(40):
        want = sorted(os.listdir(rig.host(f"d{number}")))
        wait_for(lambda number=number, want=want: sorted(os.listdir(rig.guest(f"d{number}"))) == want,
                 "the other guest sees it", SOON)
    # It goes on as soon as the guest answers again.
    between.dropped.clear()
    between.to_server(invalidated(256))
    _is_right(rig, mount)
    mount.unmount()
    rig.end()


@case
def acknowledgements_of_what_was_never_sent_change_nothing():
    rig, mount, between = _rig()
    for sequence in ((1 << 64) - 1, 0, 1, 1, 1 << 63, 0):
        between.to_server(invalidated(sequence))
        _is_right(rig, mount)
    for number in range(5000):
        between.to_server(invalidated(number % 7))
    _is_right(rig, mount)
    assert rig.server.alive()
    mount.unmount()
    rig.end()


run()
