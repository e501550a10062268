# SPDX-License-Identifier: Apache-2.0
"""The table of a run as Markdown, for documents: memory and disk side by side."""
from . import table

_DISK = " (ext4)"


def _ratios(cells, peers):
    return [table.times(table.ratio(cells, peer, "native")) for peer in peers]


def _native(cells):
    cell = cells.get("native")
    return table.quantity(cell["median"], cell["unit"]) if cell else "-"


def _names(found):
    """In order, each once, whether it is there in memory, on ext4 or both."""
    return list(dict.fromkeys(name.removesuffix(_DISK) for name in found))


def _line(cells):
    return "| " + " | ".join(cells) + " |"


def render(found):
    """
    A line for each row that native has a time for: native's median and the others' ratios to it, in memory and on ext4;
    then the means, and the messages of each workload.
    """
    rows = table.collect(found)
    peers = [peer for peer in table.peers_in(rows, found["peers"]) if peer != "native"]
    shown = [table.short(peer) for peer in peers]
    out = [_line(["", "native", *shown, "native, ext4", *(f"{peer}, ext4" for peer in shown)]),
           "|---|" + "---:|" * (2 * len(peers) + 2)]
    for row in _names(rows):
        cells, disk = rows.get(row, {}), rows.get(row + _DISK, {})
        if (cells or disk).get("native", {}).get("unit") != "ns":
            continue
        out.append(_line([row, _native(cells), *_ratios(cells, peers), _native(disk), *_ratios(disk, peers)]))
    means = table.means_of(rows)
    if means:
        out.append(_line(["geometric mean", "", *(table.times(means.get("", {}).get(peer)) for peer in peers), "",
                          *(table.times(means.get(_DISK, {}).get(peer)) for peer in peers)]))
    messages, usage = table.messages(found), table.usage(found)
    out += ["", _line(["", "FUSE requests", "RPCs", *(f"CPU s, {peer}" for peer in shown),
                       *(f"CPU s, {peer}, ext4" for peer in shown)]), "|---|" + "---:|" * (2 * len(peers) + 2)]
    for workload in _names(messages):
        counts = messages.get(workload) or messages[workload + _DISK]
        seconds = [usage.get(name, {}).get(peer) for name in (workload, workload + _DISK) for peer in peers]
        out.append(_line([workload, *(f"{count:.0f}" for count in counts),
                          *(f"{sum(one[:2]):.2f}" if one else "-" for one in seconds)]))
    return "\n".join(out)
