# SPDX-License-Identifier: Apache-2.0
"""FUSE requests and RPCs of operations and workloads, and the comparison with a table that is kept."""
import json
import os
import shutil

from . import measure, paths, place, table, workloads
from .common import messages
from .peers import GID, UID, Bindshare
from .sources import Sources
from .workload import Failed

TIMES = 20
# Attributes are kept for a second: a busy machine may have to ask again. A count is the least of some attempts; one
# that is compared is counted until it is no more than the table's, or so often.
ATTEMPTS = 3
ATTEMPTS_TO_COMPARE = 8
# Those whose messages do not depend on time.
WORKLOADS = ("walk", "small-files", "missing", "create", "remove", "listing-large", "seq-write", "seq-read",
             "random-read", "random-write", "mmap", "fsync", "write-1k", "tar", "sqlite")


def _write(path, content=b"x"):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)


def _read(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 65536)
    os.close(descriptor)


def _missing(path):
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    raise Failed(f"{path} is there")


def _create(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


# name: (what is made on the host for each repetition, what is done with it). The path is a fresh one each time.
_OPERATIONS = {
    "lookup": (_create, os.lstat),
    "lookup of a missing name": (None, _missing),
    "lookup, and stat again": (_create, lambda path: [os.lstat(path) for _ in range(2)]),
    "open and close": (_create, lambda path: os.close(os.open(path, os.O_RDONLY))),
    "open, read and close of 4 KiB": (lambda path: _write(path, b"x" * 4096), _read),
    "create and close": (None, _create),
    "create, write 4 KiB and close": (None, lambda path: _write(path, b"x" * 4096)),
    "mkdir": (None, os.mkdir),
    "rmdir": (os.mkdir, os.rmdir),
    "unlink": (_create, os.unlink),
    "rename": (_create, lambda path: os.rename(path, path + ".new")),
    "link": (_create, lambda path: os.link(path, path + ".new")),
    "symlink and readlink": (None, lambda path: (os.symlink("target", path), os.readlink(path))),
    "chmod": (_create, lambda path: os.chmod(path, 0o600)),
    "utimens": (_create, lambda path: os.utime(path, (1, 1))),
    "truncate": (lambda path: _write(path, b"x" * 4096), lambda path: os.truncate(path, 100)),
    "listdir of an empty directory": (os.mkdir, os.listdir),
    "statvfs": (_create, os.statvfs),
}


class Counter:
    """Counts on mounts of its own below a directory. Inside the namespaces."""

    def __init__(self, directory):
        self.data = os.path.join(directory, "data")
        self.inputs = os.path.join(directory, "inputs")
        for path in (self.data, self.inputs):
            place.mount_tmpfs(path)
        copy = os.path.join(directory, "bench-workloads")
        shutil.copy(paths.program("bench-workloads"), copy)
        os.environ["BINDSHARE_BENCH_WORKLOADS"] = copy
        self.log = os.path.join(directory, "mount.log")
        self.peer = Bindshare(Sources(directory, measure.say))

    def _counted(self, prepare, action):
        """Messages of action(guest, host) on a fresh mount of what prepare(host) has made."""
        base = os.path.join(self.data, "now")
        share = os.path.join(base, "share")
        os.makedirs(share)
        os.chown(share, UID, GID)
        try:
            prepare(share)
            self.peer.mount(share, os.path.join(base, "mnt"), self.log)
            before = self.peer.messages()
            action(self.peer.guest, share)
            after = self.peer.messages()
        finally:
            self.peer.unmount()
            place.remove_tree(base)
        return {kind: sum(counts.values()) for kind, counts in messages.between(before, after).items()}

    def _least(self, prepare, action, kept):
        least = {}
        for _ in range(ATTEMPTS_TO_COMPARE if kept else ATTEMPTS):
            counts = self._counted(prepare, action)
            least = {kind: min(count, least.get(kind, count)) for kind, count in counts.items()}
            if kept and all(least[kind] <= allowed(kept[kind]) for kind in least):
                break
        return least

    def operation(self, made, done, kept):
        """Messages of TIMES repetitions, each with a name of its own."""
        def prepare(host):
            for number in range(TIMES if made else 0):
                made(os.path.join(host, f"name{number:03}"))
                os.chown(os.path.join(host, f"name{number:03}"), UID, GID)

        def action(guest, _host):
            for number in range(TIMES):
                done(os.path.join(guest, f"name{number:03}"))
        return self._least(prepare, action, kept)

    def workload(self, workload, kept):
        workload.setup()
        return self._least(workload.prepare, workload.run, kept)


def _table(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _inner(directory, check):
    kept = _table(check) if check else {"operations": {}, "workloads": {}}
    counter = Counter(directory)
    found = {"times": TIMES, "operations": {}, "workloads": {}}
    for name, (made, done) in _OPERATIONS.items():
        found["operations"][name] = counter.operation(made, done, kept["operations"].get(name))
    measure.say(f"{len(found['operations'])} operations counted")
    known = workloads.classes()
    for name in WORKLOADS:
        found["workloads"][name] = counter.workload(known[name](True, counter.inputs), kept["workloads"].get(name))
        measure.say(f"{name}: {found['workloads'][name]}")
    with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as file:
        json.dump(found, file)
    return 0


def render(found):
    """The counts as text: of an operation, and of a workload as a whole."""
    out = [f"Messages of an operation (mean of {found['times']}; directories of the way are looked up once):"]
    table.grid([["", "FUSE requests", "RPCs"],
                *([name, *(f"{count[kind] / found['times']:.2f}" for kind in ("fuse", "rpc"))]
                  for name, count in found["operations"].items())], out)
    out += ["", "Messages of a workload at the scale quick:"]
    table.grid([["", "FUSE requests", "RPCs"],
                *([name, str(count["fuse"]), str(count["rpc"])] for name, count in found["workloads"].items())], out)
    return "\n".join(out)


def allowed(count):
    """What is still no rise: readahead and a second that ends in between move counts by a few."""
    return count + max(3, count * 3 // 100)


def rises(kept, found):
    """Texts for the counts that are above the table's, for those that are not in it, and for those that went down."""
    worse, better = [], []
    for part in ("operations", "workloads"):
        for name, counts in found[part].items():
            old = kept[part].get(name)
            if old is None:
                worse.append(f"{name} is not in the table")
                continue
            for kind, what in (("fuse", "FUSE requests"), ("rpc", "RPCs")):
                if counts[kind] > allowed(old[kind]):
                    worse.append(f"{name}: {counts[kind]} {what}, the table has {old[kind]}")
                elif allowed(counts[kind]) < old[kind]:
                    better.append(f"{name}: {counts[kind]} {what}, the table has {old[kind]}")
        worse += [f"{name} is in the table and was not counted" for name in kept[part] if name not in found[part]]
    return worse, better


def _report(options, directory, interrupted):
    path = os.path.join(directory, "results.json")
    if interrupted or not os.path.exists(path):
        return False
    found = _table(path)
    print(render(found))
    if options.write:
        text = json.dumps({"comment": "SPDX-License-Identifier: Apache-2.0", **found}, indent=1)
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    if not options.check:
        return True
    worse, better = rises(_table(options.check), found)
    for text in better:
        print(f"fewer than before, the table may be lowered: {text}")
    for text in worse:
        print(f"MORE MESSAGES: {text}")
    print(f"{len(worse)} counts above the table")
    return not worse


def run(options):
    directory = place.inside()
    if directory:
        return _inner(directory, options.check)
    if options.check:
        _table(options.check)
    place.demand()
    paths.build(measure.say)
    return place.enter(options.work, {}, lambda directory, interrupted: _report(options, directory, interrupted))
