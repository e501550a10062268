# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side."""
from . import table


def verdict(old, new):
    """What a change means: only one beyond both spreads is told from noise."""
    if not old["median"]:
        return ""
    change = new["median"] / old["median"] - 1
    # One or two rounds do not show how large the noise is.
    least = 0.05 if min(len(old["values"]), len(new["values"])) >= 3 else 0.25
    noise = max(old["spread"] + new["spread"], least)
    if abs(change) <= noise:
        return "same"
    return "slower" if change > 0 else "faster"


def lines_of(before, after, peer):
    """[(row, old, new, change, old ratio to native, new ratio, verdict)] for one peer."""
    old_rows, new_rows = table.collect(before), table.collect(after)
    found = []
    for row, cells in old_rows.items():
        other = new_rows.get(row, {})
        if peer not in cells or peer not in other:
            continue
        old, new = cells[peer], other[peer]
        change = f"{(new['median'] / old['median'] - 1) * 100:+.0f}%" if old["median"] else "-"
        found.append((row, *(table.quantity(cell["median"], cell["unit"]) for cell in (old, new)), change,
                      table.times(table.ratio(cells, peer, "native")), table.times(table.ratio(other, peer, "native")),
                      verdict(old, new)))
    return found


def render(before, after):
    out = []
    for name, found in (("A", before), ("B", after)):
        out.append(f"{name}: {found['started']}, {table.conditions(found)}")
    if before["scale"] != after["scale"] or before["machine"] != after["machine"]:
        out.append("The two were not made under the same conditions: only the ratios to native can be compared.")
    both = [peer for peer in before["peers"] if peer in after["peers"]]
    for peer in both:
        lines = lines_of(before, after, peer)
        if not lines:
            continue
        out += ["", peer]
        table.grid([["", "A", "B", "change", "A x native", "B x native", ""], *map(list, lines)], out)
    old, new = table.messages(before), table.messages(after)
    shared = [workload for workload in old if workload in new]
    if shared:
        out += ["", "messages of bindshare (FUSE requests, RPCs)"]
        table.grid([["", "A", "B"], *([workload, *("{:.0f}, {:.0f}".format(*counts[workload]) for counts in (old, new))]
                                       for workload in shared)], out)
    for name, one, other in (("A", before, after), ("B", after, before)):
        alone = [peer for peer in one["peers"] if peer not in other["peers"]]
        if alone:
            out.append(f"only in {name}: {', '.join(alone)}")
    return "\n".join(out)
