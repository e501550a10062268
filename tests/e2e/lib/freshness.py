# SPDX-License-Identifier: Apache-2.0
"""
How fresh the guest's looks are: changes times looks, each pair in a tree of its own, of which the guest knows all there
is for longer than any time-out of it lasts.
"""
import collections
import contextlib
import itertools
import os
import random
import shutil
import statistics
import time
from typing import Callable, NamedTuple

from . import changes, world
from .common import messages

TIMEOUT = 1.3  # longer than the guest keeps what no lease covers
SETTLED = 0.3  # of what was changed just before, nothing is kept
SHORT = 0.010
# A virtual machine without help by the processor, and programs with sanitizers, take several times as long.
SLOW = bool(world.AGENT) or world.has_sanitizer()
AT_ONCE = 0.4 if SLOW else 0.1  # what time-outs alone do not give: half a second and more
SOON = 3.0 if SLOW else 1.5     # what is promised without a lease is a second; the rest is for a busy machine
GIVEN_UP = 4.0 if SLOW else 2.0
MOST_LATE = 15


class Sides(NamedTuple):
    """Functions of a name: where it is on the host, for who looks and for who makes the changes (None: the host)."""
    host: Callable
    guest: Callable
    actor: Callable = None
    mount: object = None  # of who looks


class Seen(NamedTuple):
    """latency: from the end of the change to the first look that was right, None when there was none."""
    change: str
    look: str
    covered: bool
    waited: bool     # SHORT before the first look
    first: bool      # right at the first look
    latency: float
    torn: object     # a look that was neither the old state nor the new one

    @property
    def late(self):
        """It was wrong for longer than a lease explains. A first look that is right may have begun late by itself."""
        return self.latency is None or (not self.first and self.latency > AT_ONCE)

    def __str__(self):
        return f"{self.change}, {self.look}: " + ("never" if self.latency is None else f"{self.latency:.3f} s")


class _Cell:
    """One change and one look in a tree of their own."""

    def __init__(self, sides, base, number, change, look):
        self.change, self.look, self.sides = change, look, sides
        self.name = f"{base}/{number}"
        self.host, self.guest = sides.host(self.name), sides.guest(self.name)
        self.kept = ()

    def prepare(self):
        changes.prepare(self.host, self.look.size)
        self.change.before(self.host)

    def begin(self):
        self.kept = [self.look.begin(top, self.change.names) for top in (self.host, self.guest)]

    def on_host(self):
        return self.look.expected(self.host, self.change.names, self.kept[0])

    def in_guest(self):
        return self.look.see(self.guest, self.change.names, self.kept[1])

    def check(self, when):
        here, there = self.on_host(), self.in_guest()
        assert here == there, f"{self}, {when}: host {here!r:.300}, guest {there!r:.300}"

    def make(self):
        if self.sides.actor is None:
            with changes.as_owner():
                self.change.make(self.host)
        else:
            self.change.make(self.sides.actor(self.name))

    def watch(self, waited):
        """The change, and looks until one is right. None when it makes no difference to them."""
        old = self.on_host()
        if not waited:
            # Where a time-out ends what is known, it begins again here.
            assert self.in_guest() == old, f"{self}, just before the change"
        self.make()
        begin = time.monotonic()
        new = self.on_host()
        if new == old:
            self.check("after a change that is not seen")
            return None
        if waited:
            time.sleep(max(0, begin + SHORT - time.monotonic()))
        torn, first = None, None
        while True:
            started = time.monotonic()
            value = self.in_guest()
            first = value == new if first is None else first
            if value == new or started - begin > GIVEN_UP:
                break
            torn = torn or self._torn(value, old, new)
            time.sleep(0.0001)
        return Seen(self.change.name, self.look.name, self.change.covered, waited, first,
                    started - begin if value == new else None, torn)

    def _torn(self, value, old, new):
        # A name may for a moment still lead to an object that has moved on, of which all is known by its new name.
        parts = [part for part in value if part not in old and part not in new]
        return f"{parts!r:.200} old {old!r:.200} new {new!r:.200}" if parts and self.look.of_one_call else None

    def end(self):
        for kept in self.kept:
            self.look.end(kept)

    def __str__(self):
        return f"{self.change.name}, {self.look.name}"


class Matrix:
    """What rounds of all pairs have shown."""

    def __init__(self, sides, looks, kinds=changes.CHANGES, without=()):
        """without: pairs of names, of a change and a look."""
        self.sides, self.looks, self.kinds, self.without = sides, looks, kinds, without
        self.seen = []
        # By look: the second time, and how many looks these were.
        self.requests, self.counted = collections.defaultdict(collections.Counter), collections.Counter()
        self.rounds = 0

    def round(self, waited=False, rest=0):
        """rest: seconds before the trees are removed again."""
        base = f"round{self.rounds}"
        # What was never right would take its time in each round.
        never = {(one.change, one.look) for one in self.seen if one.latency is None}
        cells = self._prepare(base, lambda pair: pair not in never and pair not in self.without)
        self.rounds += 1
        with contextlib.ExitStack() as stack:
            for cell in cells:
                cell.begin()
                stack.callback(cell.end)
                cell.check("at the beginning")
            time.sleep(TIMEOUT)
            self._again(cells)
            for cell in cells:
                seen = cell.watch(waited)
                if seen is None:
                    continue
                self.seen.append(seen)
                if seen.late:
                    print(f"# late: {seen}", flush=True)
                late = [str(one) for one in self.seen if one.covered and one.late]
                if len(late) == MOST_LATE:
                    self.told()
                assert len(late) < MOST_LATE, f"no more is learned from what is as late as these: {late[:10]}"
        time.sleep(rest)
        shutil.rmtree(self.sides.host(base))

    def _prepare(self, base, wanted):
        cells = [_Cell(self.sides, base, number, change, look)
                 for number, (change, look) in enumerate(itertools.product(self.kinds, self.looks))
                 if wanted((change.name, look.name))]
        random.Random(self.rounds).shuffle(cells)
        with changes.as_owner():
            os.mkdir(self.sides.host(base))
            for cell in cells:
                cell.prepare()
        time.sleep(SETTLED)
        return cells

    def together(self, pairs, bound):
        """All changes of these pairs at once. For each pair the seconds until it was right, None: not within bound."""
        cells, found = self._prepare("together", lambda pair: pair in pairs), {}
        with contextlib.ExitStack() as stack:
            for cell in cells:
                cell.begin()
                stack.callback(cell.end)
                cell.check("at the beginning")
            time.sleep(TIMEOUT)
            for cell in cells:
                cell.check("at the second look")
            for cell in cells:
                cell.make()
            begin = time.monotonic()
            while len(found) < len(cells) and time.monotonic() - begin < bound:
                for cell in cells:
                    if str(cell) not in found and cell.in_guest() == cell.on_host():
                        found[str(cell)] = time.monotonic() - begin
                time.sleep(0.01)
        shutil.rmtree(self.sides.host("together"))
        return {str(cell): found.get(str(cell)) for cell in cells}

    def _again(self, cells):
        """All looks for the second time, at files with several names for the third; counts the requests of these."""
        for cell in cells:
            if cell.change.several:
                cell.check("at the second look")
        time.sleep(TIMEOUT if any(cell.change.several for cell in cells) else 0)
        for look in self.looks:
            own = [cell for cell in cells if cell.look is look]
            before = self.sides.mount.stats()
            values = [cell.in_guest() for cell in own]
            cost = messages.between(before, self.sides.mount.stats())["fuse"]
            # The round that cost least: leases may be given up and given anew at any time.
            if look.name not in self.counted or sum(cost.values()) < sum(self.requests[look.name].values()):
                self.requests[look.name] = collections.Counter(cost)
                self.counted[look.name] = len(own)
            for cell, value in zip(own, values):
                assert value == cell.on_host(), f"{cell}, at the look after it: {value!r:.300}"

    def told(self):
        """The table as TAP comments."""
        print(f"# {'':<26}{'looks':>6}{'first':>7}{'10 ms':>7}{'p50 ms':>9}{'p99 ms':>9}{'worst':>9}{'never':>6}"
              f"{'torn':>5}")
        for change in self.kinds:
            _tell(change.name, self.of(change))
        for look in self.looks:
            _tell(look.name, [seen for seen in self.seen if seen.look == look.name])
        _tell("all", self.seen)
        for look in self.looks:
            cost = dict(self.requests[look.name])
            print(f"# second look: {look.name:<14} {self.counted[look.name]} times: {cost or 'no request'}", flush=True)

    def of(self, change):
        return [seen for seen in self.seen if seen.change == change.name]


def quantile(values, part):
    """The value below which this part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


def _part(count, whole):
    return f"{100 * count / whole:6.0f}%" if whole else f"{'-':>7}"


def _tell(name, seen):
    direct = [one for one in seen if not one.waited]
    after = [one for one in seen if one.waited]
    times = [one.latency * 1000 for one in direct if one.latency is not None]
    figures = [f"{quantile(times, 0.5):9.2f}", f"{quantile(times, 0.99):9.2f}", f"{max(times, default=0):9.2f}"]
    print(f"# {name:<26}{len(seen):>6}{_part(sum(one.first for one in direct), len(direct))}"
          f"{_part(sum(one.first for one in after), len(after))}{''.join(figures)}"
          f"{sum(one.latency is None for one in seen):>6}{sum(one.torn is not None for one in seen):>5}", flush=True)


def problems(seen):
    """
    What is wrong with these looks: one that was not right within a second, one that was torn, a pair that a lease
    covers and whose median is late.
    """
    found = [f"{one}" for one in seen if one.latency is None or one.latency > SOON]
    found += [f"{one}, torn: {one.torn}" for one in seen if one.torn]
    pairs = collections.defaultdict(list)
    for one in seen:
        if one.covered and not one.waited:
            pairs[one.change, one.look].append(GIVEN_UP if one.latency is None else one.latency if one.late else 0)
    for pair, times in pairs.items():
        median = statistics.median_low(times)
        if median > AT_ONCE:
            found.append(f"{', '.join(pair)}: the median of {len(times)} is {median:.3f} s")
    return found


def has_sync(server):
    """bindsharectl knows sync."""
    return "sync" in server.ctl("--help")


def settle(server, share, seconds=2.0):
    """Waits until the guests have taken in every change of the host's."""
    if has_sync(server):
        server.ctl("sync", share)
    else:
        time.sleep(seconds)


