# SPDX-License-Identifier: Apache-2.0
"""From measurements to medians, spreads, ratios, and the tables that are printed."""
import re
import shutil
import statistics

RATIO_TO = ("native", "passthrough_hp")
_SHORT = {"passthrough_hp": "hp"}

# Which parts of the operations a row's quantiles are of, as in bench/workloads/measure.c.
QUANTILES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1)
P1, P50, P90, P99, MAX = (QUANTILES.index(part) for part in (0.01, 0.5, 0.9, 0.99, 1))

# Goals: (row, at most this many times native, with data in memory and on a disk).
BARS_NATIVE = (
    ("walk, warm", 1.3, 1.3),
    ("git status, warm", 1.5, 1.5),
    ("ripgrep, warm", 2.5, 2.5),
    ("small files, warm", 4, 4),
    ("missing names, warm", 1.1, 1.1),
    ("listing of 20,000, warm", 1, 1),
    ("listing of 20,000, cold", 4, 4),
    ("git status, cold", 6, 6),
    ("small files, cold", 12, 12),
    ("missing names, cold", 6, 6),
    ("node require, cold", 1.25, 1.25),
    ("python compileall", 1.3, 1.3),
    ("mixed changes, 4 processes", 20, 3.5),
    ("npm install", 1.25, 1.25),
    ("git clone", 2, 2),
    ("tar x", 6, 1.6),
    ("cp -r", 6, 1.6),
    ("create 4 KiB files", 12, 2),
    ("rm -rf", 6, 3.5),
    ("sqlite transaction", 5, 5),
    ("sequential write", 2.5, 2.5),
    ("1 KiB writes", 10, 10),
    ("sequential read, cold", 2, 2),
    ("mmap sequential, cold", 5, 5),
    ("random read 4 KiB", 10, 10),
)
BARS_MEAN = (4, 3)
LEAST_ROWS = 5  # of which a mean is told
# (row, peer, at most this many times that peer's median).
BARS = (
    ("null (statfs)", "passthrough_hp", 1.4),
    ("walk, cold", "passthrough_hp", 1.1),
    ("small files, cold", "passthrough_hp", 1.1),
    ("create 4 KiB files", "passthrough_hp", 1.2),
    ("create 4 KiB files", "sshfs", 0.6),
    ("tar x", "passthrough_hp", 1.2),
    ("tar x", "sshfs", 0.6),
    ("rm -rf", "passthrough_hp", 1.2),
    ("rm -rf", "sshfs", 0.6),
    ("sequential write", "passthrough_hp", 1 / 0.8),
    ("sequential write", "sshfs", 0.5),
    ("sequential read, cold", "passthrough_hp", 1.0),
    ("sequential read, cold", "sshfs", 0.5),
    ("random read 4 KiB", "passthrough_ll", 1.0),
    ("mmap sequential, cold", "passthrough_ll", 1.0),
    ("mmap random, cold", "passthrough_ll", 1.0),
)
# Rows that are compared with another row of bindshare: 64 clients do at least twice the work of one.
BARS_OWN = (
    ("clients 64", "clients 1", 0.5),
    ("mixed changes, 4 processes", "mixed changes, 1 process", 1 / 1.6),
    ("mixed changes, 64 processes", "mixed changes, 1 process", 1 / 2.5),
    ("mixed changes, 1 process after 64", "mixed changes, 1 process", 1.05),
)
BARS_VALUE = (("clients 64, fairness", 2.0),)
BARS_HEAD = ["", "is", "at most", ""]


def named(one, text):
    """A row or a workload of a measurement, told apart by where the data lay; in memory it has no more to say."""
    backing = one.get("backing", "memory")
    return text if backing == "memory" else f"{text} ({backing})"


_PLACE = re.compile(r" \((ext4|/[^()]*)\)$")


def _suffix(row):
    """What is behind a row's name when its data did not lie in memory."""
    found = _PLACE.search(row)
    return found.group() if found else ""


def _suffixes(rows):
    return list(dict.fromkeys(map(_suffix, rows)))


def collect(found):
    """{row: {peer: {"values", "median", "spread", "unit", "quantiles", "bytes", "ops"}}}, rows in order of running."""
    rows = {}
    for one in found["measurements"]:
        for row in one["rows"]:
            cell = rows.setdefault(named(one, row["row"]), {}).setdefault(
                one["peer"], {"values": [], "unit": row["unit"], "all_quantiles": []})
            cell["values"].append(row["value"])
            if row.get("quantiles"):
                cell["all_quantiles"].append(row["quantiles"])
            for name in ("bytes", "ops"):
                if row.get(name):
                    cell[name] = row[name]
    for peers in rows.values():
        for cell in peers.values():
            cell["median"] = statistics.median(cell["values"])
            cell["spread"] = spread(cell["values"])
            if cell["all_quantiles"]:
                cell["quantiles"] = [statistics.median(ranks) for ranks in zip(*cell["all_quantiles"])]
            del cell["all_quantiles"]
    return rows


def spread(values):
    """Half the distance between the extremes, as a part of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def ratio(peers, peer, other):
    """How many times the other's median, or None."""
    if peer == other or peer not in peers or other not in peers or peers[peer]["unit"] != "ns":
        return None
    return peers[peer]["median"] / peers[other]["median"] if peers[other]["median"] else None


def quantity(value, unit):
    """A value with a unit that people read."""
    if unit == "ns":
        for name, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
            if value >= size:
                return f"{value / size:.3g} {name}" if value / size < 1000 else f"{value / size:.0f} {name}"
        return f"{value:.0f} ns"
    shown = f"{value:.0f}" if unit == "count" else f"{value:.2f}"
    return f"{shown} s" if unit == "s" else shown


def times(value):
    if value is None:
        return "-"
    if value < 0.1:
        return f"{value:.1g}x"
    return f"{value:.2f}x" if value < 9.95 else f"{value:.1f}x" if value < 99.5 else f"{value:.0f}x"


def median(cell):
    """The median with its spread."""
    return f"{quantity(cell['median'], cell['unit'])} ±{percent(cell['spread'])}"


def percent(part):
    return f"{part * 100:.0f}%"


def short(peer):
    """The peer's name where room is scarce."""
    return _SHORT.get(peer, peer)


def rate(cell):
    """MB/s for rows of more than 64 KiB an operation, else an empty text."""
    moved, count = cell.get("bytes", 0), cell.get("ops", 1)
    if not moved or moved / count < 65536 or not cell["median"]:
        return ""
    return f"{moved * 1000 / cell['median']:.0f} MB/s"


def peers_in(rows, known):
    """Peers that have a value, in the order of the known ones."""
    present = {peer for peers in rows.values() for peer in peers}
    return [peer for peer in known if peer in present] + sorted(present - set(known))


def grid(lines, out):
    """Columns in line: the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        out.append("  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                             for i, (text, width) in enumerate(zip(line, widths))).rstrip())


def ratios_to(found):
    """The peers that the others are compared with in this run."""
    return found.get("ratio_to", RATIO_TO)


def _main_grid(rows, peers, ratio_to, out):
    lines = [["", *peers]]
    for row, cells in rows.items():
        line = [row]
        for peer in peers:
            if peer not in cells:
                line.append("-")
                continue
            text = ", ".join(part for part in (rate(cells[peer]), median(cells[peer])) if part)
            ratios = [times(ratio(cells, peer, other)) for other in ratio_to if other in peers and peer != "native"]
            line.append(f"{text}  {' '.join(shown.rjust(6) for shown in ratios)}" if ratios else text)
        lines.append(line)
    grid(lines, out)


def _long(rows, peers, ratio_to, out):
    """For narrow terminals: a line for each row and peer."""
    names = ["x " + short(other) for other in ratio_to if other in peers]
    lines = [["", "", "median", "spread", *names, ""]]
    for row, cells in rows.items():
        for number, peer in enumerate(peer for peer in peers if peer in cells):
            cell = cells[peer]
            lines.append([row if number == 0 else "", peer, quantity(cell["median"], cell["unit"]),
                          "±" + percent(cell["spread"]),
                          *(times(ratio(cells, peer, other)) for other in ratio_to if other in peers), rate(cell)])
    grid(lines, out)


def usage(found):
    """{workload: {peer: (CPU seconds of client, of server, peak MiB of client, of server)}}, medians and maxima."""
    table = {}
    for one in found["measurements"]:
        if one.get("usage"):
            table.setdefault(named(one, one["workload"]), {}).setdefault(one["peer"], []).append(one["usage"])
    result = {}
    for workload, peers in table.items():
        for peer, uses in peers.items():
            roles = ("client", "server")
            cpu = [statistics.median(use.get(role, {}).get("cpu", 0.0) for use in uses) for role in roles]
            peak = [max(use.get(role, {}).get("peak_kib", 0) for use in uses) / 1024 for role in roles]
            result.setdefault(workload, {})[peer] = (*cpu, *peak)
    return result


def messages(found):
    """{workload: (FUSE requests, RPCs)} of bindshare, medians."""
    table = {}
    for one in found["measurements"]:
        if one.get("messages"):
            table.setdefault(named(one, one["workload"]), []).append(
                tuple(sum(one["messages"][kind].values()) for kind in ("fuse", "rpc")))
    return {workload: tuple(statistics.median(column) for column in zip(*counts))
            for workload, counts in table.items()}


def means_of(rows):
    """{suffix: {peer: geometric mean of its ratios to native}}, of rows that all of these peers have."""
    result = {}
    for suffix in _suffixes(rows):
        table = [cells for row, cells in rows.items() if _suffix(row) == suffix and "native" in cells]
        peers = {peer for cells in table for peer in cells if ratio(cells, peer, "native")}
        # Only what all of them could do.
        shared = [cells for cells in table if all(ratio(cells, peer, "native") for peer in peers)]
        if len(shared) >= LEAST_ROWS:
            result[suffix] = {peer: statistics.geometric_mean(ratio(cells, peer, "native") for cells in shared)
                              for peer in peers}
    return result


def bars(rows):
    """[(text, value, limit, met)] for each bar whose figures are there, the first three as they are shown."""
    found = []

    def judge(text, value, limit):
        found.append((text, f"{value:.2f}", f"{limit:.2f}", value <= limit))
    for suffix in _suffixes(rows):
        for row, *limits in BARS_NATIVE:
            value = ratio(rows.get(row + suffix, {}), "bindshare", "native")
            if value is not None:
                judge(f"{row}{suffix}, to native", value, limits[suffix != ""])
        for row, own, limit in BARS_OWN:
            cells, others = rows.get(row + suffix, {}), rows.get(own + suffix, {})
            if "bindshare" in cells and "bindshare" in others:
                judge(f"{row}{suffix}, to {own}", cells["bindshare"]["median"] / others["bindshare"]["median"], limit)
    for suffix, means in means_of(rows).items():
        if "bindshare" in means:
            judge(f"geometric mean{suffix}, to native", means["bindshare"], BARS_MEAN[suffix != ""])
    for row, other, limit in BARS:
        # No server across a socket can use the kernel's passthrough: data are judged against the one without it.
        if row.startswith("sequential") and other + "_nopt" in rows.get(row, {}):
            other += "_nopt"
        value = ratio(rows.get(row, {}), "bindshare", other)
        if value is not None:
            judge(f"{row}, to {other}", value, limit)
    for row, limit in BARS_VALUE:
        if "bindshare" in rows.get(row, {}):
            judge(row, rows[row]["bindshare"]["median"], limit)
    return found


def errors(found):
    """A text for each way in which workloads have failed on a peer."""
    table = {}
    for one in found["measurements"]:
        if one.get("error"):
            table.setdefault((one["peer"], one["error"]), []).append(named(one, one["workload"]))
    return [f"on {peer}, {len(names)} times, {', '.join(dict.fromkeys(names))}: {text}"
            for (peer, text), names in table.items()]


def conditions(found, model=None):
    """On what it was measured, and how often. model: that of the CPUs, where it is to be told."""
    machine = found["machine"]
    kind = f" ({model})" if model is not None else ""
    return (f"{machine['cpus']} CPUs{kind}, Linux {machine['kernel']}, data on {machine['data_on']}, "
            f"{found['rounds']} rounds, scale {found['scale']}")


def _headline(found):
    known = [other for other in ratios_to(found) if other in found["peers"]]
    ratios = f"; the ratios are to {' and to '.join(known)}" if known else ""
    return f"{conditions(found)}; median, ± half the range{ratios}"


def usage_lines(found, peers, unit=""):
    """[[workload, [CPU seconds, MiB] of each of the peers, or "-"]], each of client + server. unit: behind the MiB."""
    return [[workload, *(["{:.2f} + {:.2f} s".format(*cells[peer][:2]),
                          "{:.0f} + {:.0f}".format(*cells[peer][2:]) + unit]
                         if peer in cells else "-" for peer in peers)] for workload, cells in usage(found).items()]


def _usage_grid(found, peers, out):
    table = usage(found)
    if not table:
        return
    shown = [peer for peer in peers if any(peer in cells for cells in table.values())]
    out += ["", "CPU seconds of client + server, peak memory of client + server in MiB:"]
    grid([["", *shown], *([workload, *(", ".join(cell) if isinstance(cell, list) else cell for cell in cells)]
                          for workload, *cells in usage_lines(found, shown))], out)


def render(found, width=None):
    """The whole report as text."""
    rows = collect(found)
    peers = peers_in(rows, list(found["peers"]))
    out = [_headline(found), ""]
    if rows:
        lines = []
        _main_grid(rows, peers, ratios_to(found), lines)
        if max(len(line) for line in lines) > (width or shutil.get_terminal_size((240, 24)).columns):
            lines = []
            _long(rows, peers, ratios_to(found), lines)
        out += lines
    _usage_grid(found, peers, out)
    if messages(found):
        out += ["", "Messages of bindshare:"]
        grid([["", "FUSE requests", "RPCs"],
               *([workload, f"{fuse:.0f}", f"{rpc:.0f}"] for workload, (fuse, rpc) in messages(found).items())], out)
    for suffix, means in means_of(rows).items():
        out += ["", f"Geometric mean{suffix}: " + ", ".join(f"{peer} {times(means[peer])}" for peer in peers
                                                          if peer in means)]
    if bars(rows):
        out += ["", "Bars:"]
        grid([BARS_HEAD, *([*texts, "met" if met else "MISSED"] for *texts, met in bars(rows))], out)
    for title, table in (("peer", found["missing_peers"]), ("workload", found["missing_workloads"])):
        for name, why in table.items():
            out.append(f"Without the {title} {name}: {why}")
    out += ["FAILED " + text for text in errors(found)]
    verified = sum(1 for one in found["measurements"] if one.get("verified"))
    out.append(f"{verified} of {len(found['measurements'])} measurements done, with their contents verified")
    return "\n".join(out)
