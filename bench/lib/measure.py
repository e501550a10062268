# SPDX-License-Identifier: Apache-2.0
"""Runs workloads on peers, round by round, each on fresh data and a fresh mount. Inside the namespaces."""
import itertools
import json
import os
import shutil
import sys
import time

from . import coherence, paths, place, table, workloads
from .paths import Missing
from .peers import GID, PEERS, UID
from .sources import Sources
from .workload import Failed


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """options: as parsed. directory: of this run. found: the results so far, written after each measurement."""

    def __init__(self, options, directory, found):
        self.options = options
        self.directory = directory
        self.found = found
        self.inputs = os.path.join(directory, "inputs")
        place.mount_tmpfs(self.inputs)
        self.data = {}
        for backing in options.backing:
            path = os.path.join(directory, f"data{len(self.data)}")
            try:
                self.data[backing] = place.back(backing, path, directory)
            except Missing as problem:
                say(f"without data on {backing}: {problem}")
                found["missing_workloads"][f"on {backing}"] = str(problem)
        if not self.data:
            raise Missing("there is nowhere to put the data")
        os.makedirs(os.path.join(directory, "logs"), exist_ok=True)
        # A copy that the serving user can reach.
        copy = os.path.join(directory, "bench-workloads")
        shutil.copy(paths.program("bench-workloads"), copy)
        os.environ["BINDSHARE_BENCH_WORKLOADS"] = copy

    def save(self):
        path = os.path.join(self.directory, "results.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.found, file)
        os.rename(path + ".new", path)

    def setup(self, names):
        """The workloads that can be run; the others are noted with the reason."""
        ready = []
        known = workloads.classes() | {coherence.Coherence.name: coherence.Coherence}
        for name in names:
            workload = known[name](self.options.quick, self.inputs)
            say(f"setting up {name}")
            try:
                workload.setup()
                ready.append(workload)
            except (Missing, Failed) as problem:
                say(f"  {name} is left out: {problem}")
                self.found["missing_workloads"][name] = str(problem)
        return ready

    def rounds(self, peers, names):
        ready = self.setup(names)
        total = self.options.rounds * len(ready) * len(peers) * len(self.data)
        done, begin = 0, time.monotonic()
        for number in range(self.options.rounds):
            # Each round begins with another peer, so that none always runs after the same one.
            turned = peers[number % len(peers):] + peers[:number % len(peers)]
            for workload, backing, peer in itertools.product(ready, self.data, turned):
                done += 1
                one = self.measure(number, workload, peer, backing)
                self.found["measurements"].append(one)
                self.save()
                left = (time.monotonic() - begin) / done * (total - done)
                say(f"[{done}/{total}] round {number + 1}, {workload.name}, {backing}, {peer.name}: "
                    f"{one.get('error') or summary(one)}; {remaining(left)} left")

    def measure(self, number, workload, peer, backing):
        """One measurement: fresh data, a fresh mount, run, verify."""
        one = {"round": number, "peer": peer.name, "workload": workload.name, "backing": backing, "rows": []}
        base = os.path.join(self.data[backing], "now")
        share = os.path.join(base, "share")
        log = os.path.join(self.directory, "logs", f"{workload.name}-{peer.name}.log")
        os.makedirs(share)
        os.chown(share, UID, GID)
        try:
            workload.prepare(share)
            os.sync()
            peer.mount(share, os.path.join(base, "mnt"), log)
            self._timed_part(one, workload, peer, share)
            if not peer.unmount():
                say(f"  {peer.name} did not unmount by itself")
            workload.verify(share)
            one["verified"] = True
        except (Missing, Failed, OSError) as problem:
            one["rows"] = []
            one["error"] = " ".join(str(problem).split())
        finally:
            peer.unmount()
            place.remove_tree(base)
        return one

    def _timed_part(self, one, workload, peer, share):
        before, counted = peer.usage(), peer.messages()
        one["rows"] = workload.run(peer.guest, share)
        after = peer.usage()
        one["usage"] = {role: {"cpu": round(use["cpu"] - before.get(role, {}).get("cpu", 0.0), 3),
                               "peak_kib": use["peak_kib"]} for role, use in after.items()}
        if counted is not None:
            now = peer.messages()
            one["messages"] = {kind: {name: count - counted[kind].get(name, 0) for name, count in now[kind].items()
                                      if count != counted[kind].get(name, 0)} for kind in ("fuse", "rpc")}
        if workload.name == "idle" and after:
            one["rows"] = idle_rows(peer, workload.seconds())


def idle_rows(peer, seconds):
    """Wake-ups of both programs while nothing happens, for 10 seconds."""
    before = peer.usage()
    time.sleep(seconds)
    after = peer.usage()
    switches = sum(use["switches"] - before[role]["switches"] for role, use in after.items())
    cpu = sum(use["cpu"] - before[role]["cpu"] for role, use in after.items())
    return [{"row": "idle wake-ups in 10 s", "unit": "count", "value": switches * 10 / seconds},
            {"row": "idle CPU in 10 s", "unit": "s", "value": round(cpu * 10 / seconds, 3)}]


def remaining(seconds):
    return f"about {seconds / 60:.0f} min" if seconds >= 120 else f"about {seconds:.0f} s"


def summary(one):
    shown = [f"{row['row']} {table.quantity(row['value'], row['unit'])}" for row in one["rows"][:3]]
    return ", ".join(shown) + (" ..." if len(one["rows"]) > 3 else "")


def results(quick, peers, more):
    """What a run begins with: nothing measured. more: what else there is to know of the machine."""
    return {"format": 1, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": _machine() | more,
            "rounds": 1, "scale": "quick" if quick else "full", "peers": peers, "missing_peers": {},
            "missing_workloads": {}, "measurements": []}


def _machine():
    """What the figures depend on, without names."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "model": model,
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)}


def find_peers(names, work, fetch):
    """(peers, {name: why it is missing}). fetch False: only what is there already."""
    sources = Sources(os.path.join(work, "peers"), say)
    if not fetch:
        sources.list_problem = "it was not made before the run"
    ready, missing = [], {}
    for name in names:
        try:
            ready.append(PEERS[name](sources))
        except (Missing, OSError) as problem:
            missing[name] = str(problem)
    return ready, missing


def inner_main(options, directory, missing):
    """Within the namespaces: measures everything."""
    peers, _ = find_peers([name for name in options.peers if name not in missing], options.work, False)
    found = results(options.quick, {peer.name: peer.title for peer in peers}, {"data_on": ", ".join(options.backing)})
    found |= {"rounds": options.rounds, "missing_peers": missing}
    run = Run(options, directory, found)
    run.save()
    try:
        run.rounds(peers, options.workloads)
    except KeyboardInterrupt:
        say("interrupted")
        for peer in peers:
            peer.unmount()
        return 130
    return 0
