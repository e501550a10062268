# SPDX-License-Identifier: Apache-2.0
"""A run as one page: bars of ratios, distributions of latencies, the tables. Nothing is loaded from elsewhere."""
import html
import math

from . import table

_STYLE = """
:root { --back: #fbfaf7; --text: #22252b; --soft: #6b7280; --line: #d9d7d0; --card: #ffffff;
  --native: #6b7280; --bindshare: #c2410c; --passthrough_hp: #1d6fa5; --passthrough_hp_nopt: #5aa9d6;
  --passthrough_ll: #3f7d4e; --sshfs: #8a5aa8; --good: #2f7d32; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --text: #e6e4df; --soft: #9aa0a8; --line: #33373e;
  --card: #1e2126; --native: #9aa0a8; --bindshare: #fb923c; --passthrough_hp: #5fb3e6; --passthrough_hp_nopt: #9fd3f2;
  --passthrough_ll: #7cc48c; --sshfs: #c39be0; --good: #7cc48c; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { max-width: 60rem; } .soft { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; padding: .6rem 0; position: sticky; top: 0;
  background: var(--back); border-bottom: 1px solid var(--line); }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
  background: currentColor; vertical-align: -.05em; } .key span { color: var(--text); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem .9rem; }
.card h3 { font-size: .95rem; margin: 0 0 .3rem; }
svg { display: block; width: 100%; font: 11px system-ui, sans-serif; }
svg.bars { font-size: 12px; }
svg text { fill: var(--text); } svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); stroke-width: 1; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
th, td { text-align: right; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid var(--line); }
td span { white-space: nowrap; } td span + span { display: block; color: var(--soft); }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
@media (max-width: 48rem) {
  .legend { position: static; } tr:first-child { display: none; }
  table, tbody, tr, td { display: block; } table { width: 100%; } tr { padding: .4rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0; text-align: right; }
  td::before { content: attr(data-of); color: var(--soft); text-align: left; }
  td:first-child { font-weight: 600; text-align: left; } td:first-child::before { display: none; }
  tr { border-bottom: 1px solid var(--line); }
}
"""


def _color(peer):
    return f"var(--{peer}, var(--soft))"


def _escape(text):
    return html.escape(str(text), quote=True)


def _text(x, y, text, anchor="start", css=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css and f" class={css!r}"}>{_escape(text)}</text>'


def _ratio_bars(rows, peers):
    """One group of bars a row: times of native, on a logarithmic scale; 1 is native itself."""
    shown = [(row, [(peer, table.ratio(cells, peer, "native")) for peer in peers if peer != "native"])
             for row, cells in rows.items()]
    shown = [(row, [(peer, value) for peer, value in bars if value]) for row, bars in shown]
    shown = [(row, bars) for row, bars in shown if bars]
    if not shown:
        return ""
    values = [value for _, bars in shown for _, value in bars]
    # A few outliers would leave no room for the others.
    low, high = math.log10(min(0.8, min(values))), math.log10(min(max(10.0, max(values)) * 1.15, 500.0))
    # Widths are parts of the page's, heights and letters are not: a phone shows shorter bars, not smaller ones.
    room, bar, gap, label = 84.0, 13, 10, 16
    height = sum(label + len(bars) * bar + gap for _, bars in shown) + 24

    def at(value):
        return (min(math.log10(value), high) - low) / (high - low) * room
    parts = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = at(10 ** power)
        parts.append(f'<line class="grid" x1="{x:.2f}%" y1="16" x2="{x:.2f}%" y2="{height}"/>'
                     f'<text class="soft" x="{x:.2f}%" y="11" text-anchor="middle">{10.0 ** power:g}x</text>')
    y = 24
    for row, bars in shown:
        parts.append(f'<text x="0" y="{y + label - 5}">{_escape(row)}</text>')
        y += label
        for peer, value in bars:
            x, end = sorted((at(1), at(value)))
            cell = rows[row][peer]
            about = f"{row}, {peer}: {table.quantity(cell['median'], 'ns')}, {table.times(value)} native"
            shown_value = ("» " if math.log10(value) > high else "") + table.times(value)
            parts.append(f'<g><title>{_escape(about)}</title><rect x="{x:.2f}%" y="{y}" rx="2" '
                         f'width="{max(end - x, 0.3):.2f}%" height="{bar - 2}" style="fill:{_color(peer)}"/>'
                         f'<text class="soft" x="{max(end, at(1)):.2f}%" dx="5" y="{y + bar - 3}">'
                         f'{_escape(shown_value)}</text></g>')
            y += bar
        y += gap
    return f'<svg class="bars" height="{height}" role="img">{"".join(parts)}</svg>'


def _distribution(cells, peers):
    """Latency to the right, on a logarithmic scale; the part of the operations that was done by then upwards."""
    curves = [(peer, cells[peer]["quantiles"]) for peer in peers if peer in cells and "quantiles" in cells[peer]]
    low = math.log10(max(1.0, min(ranks[0] for _, ranks in curves)))
    high = max(math.log10(max(ranks[-2] for _, ranks in curves)), low + 0.5)
    left, width, top, bottom, height = 34, 340, 8, 150, 172

    def x_of(ns):
        return left + (min(max(math.log10(max(ns, 1.0)), low), high) - low) / (high - low) * (width - left - 8)

    def y_of(part):
        return bottom - part * (bottom - top)
    parts = []
    for part in (0, 0.5, 0.9, 1):
        parts.append(f'<line class="grid" x1="{left}" y1="{y_of(part):.1f}" x2="{width - 8}" y2="{y_of(part):.1f}"/>')
        if part != 1:
            parts.append(_text(left - 5, y_of(part) + 4, f"{part:.0%}", "end", "soft"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = x_of(10 ** power)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 15, table.quantity(10.0 ** power, "ns"), "middle", "soft"))
    for peer, ranks in curves:
        points = " ".join(f"{x_of(ns):.1f},{y_of(part):.1f}" for part, ns in zip(table.QUANTILES, ranks))
        about = f"{peer}: p50 {table.quantity(ranks[table.P50], 'ns')}, p99 {table.quantity(ranks[table.P99], 'ns')}"
        parts.append(f'<polyline points="{points}" style="fill:none;stroke:{_color(peer)};stroke-width:2">'
                     f'<title>{_escape(about)}</title></polyline>')
    return f'<svg viewBox="0 0 {width} {height}" style="height: auto" role="img">{"".join(parts)}</svg>'


def _distributions(rows, peers):
    cards = []
    for row, cells in rows.items():
        if any("quantiles" in cell for cell in cells.values()):
            percentiles = ", ".join(f"{peer} {table.quantity(cells[peer]['quantiles'][table.P99], 'ns')}"
                                    for peer in peers if "quantiles" in cells.get(peer, {}))
            cards.append(f'<div class="card"><h3>{_escape(row)}</h3>{_distribution(cells, peers)}'
                         f'<div class="soft">p99: {_escape(percentiles)}</div></div>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _html_table(head, lines, css=()):
    """
    Cells are texts, or lists of them for lines; css: the texts that are a class of their own. On a narrow page each row
    is a list, with its columns' names.
    """
    def cell(name, parts):
        parts = parts if isinstance(parts, list) else [parts]
        kind = f' class="{parts[0]}"' if parts[0] in css else ""
        shown = "".join(f"<span>{_escape(part)}</span>" for part in parts)
        return f'<td data-of="{_escape(name)}"{kind}><div>{shown}</div></td>'

    body = "".join("<tr>" + "".join(map(cell, head, line)) + "</tr>" for line in lines)
    return (f'<div class="wide"><table><tr>{"".join(f"<th>{_escape(text)}</th>" for text in head)}</tr>{body}'
            '</table></div>')


def _all_figures(rows, peers, ratio_to):
    lines = []
    for row, cells in rows.items():
        line = [row]
        for peer in peers:
            if peer not in cells:
                line.append("-")
                continue
            ratios = [f"{table.times(table.ratio(cells, peer, other))} {table.short(other)}"
                      for other in ratio_to if table.ratio(cells, peer, other) is not None]
            line.append([part for part in (table.median(cells[peer]), table.rate(cells[peer]), *ratios) if part])
        lines.append(line)
    return _html_table(["", *peers], lines)


def _means_table(rows, peers):
    means = table.means_of(rows)
    if not means:
        return ""
    shown = [peer for peer in peers if any(peer in of for of in means.values())]
    lines = [["in memory" if not suffix else suffix.strip(" ()"), *(table.times(of.get(peer)) for peer in shown)]
             for suffix, of in means.items()]
    return ("<h2>Geometric mean</h2><p class='soft'>Of the times of native, over the rows that all peers have.</p>" +
            _html_table(["", *shown], lines))


def _bars_table(rows):
    lines = [[*texts, "met" if met else "missed"] for *texts, met in table.bars(rows)]
    return "<h2>Bars</h2>" + _html_table(table.BARS_HEAD, lines, ("met", "missed")) if lines else ""


def _costs(found, peers):
    shown = [peer for peer in peers if peer != "native"]
    lines = table.usage_lines(found, shown, " MiB")
    if not lines:
        return ""
    return "<h2>CPU seconds and peak memory, client + server</h2>" + _html_table(["", *shown], lines)


def _notes(found):
    notes = [f"Without {name}: {why}" for part in ("missing_peers", "missing_workloads")
             for name, why in found[part].items()]
    notes += ["Failed " + text for text in table.errors(found)]
    return "<h2>Left out</h2><ul>" + "".join(f"<li>{_escape(note)}</li>" for note in notes) + "</ul>" if notes else ""


def render(found):
    """The page as text."""
    rows = table.collect(found)
    peers = table.peers_in(rows, list(found["peers"]))
    legend = "".join(f'<div class="key" style="color:{_color(peer)}"><span>{_escape(peer)}: '
                     f'{_escape(found["peers"].get(peer, ""))}</span></div>' for peer in peers)
    conditions = f"{found['started']}; {table.conditions(found, found['machine']['model'])}; medians."
    sections = [
        f"<h1>bindshare-bench</h1><p class='soft'>{_escape(conditions)}</p>",
        f'<div class="legend">{legend}</div>',
        "<h2>Times of native</h2><p class='soft'>How many times as long as the directory itself takes, on a "
        "logarithmic scale: shorter is better.</p>" + bars if (bars := _ratio_bars(rows, peers)) else "",
        "<h2>Latencies</h2><p class='soft'>Which part of the operations was done by when: further left is better.</p>"
        + cards if (cards := _distributions(rows, peers)) else "",
        _means_table(rows, peers),
        _bars_table(rows),
        "<h2>All figures</h2><p class='soft'>Median and spread of the rounds; bytes per second; times of native's "
        "median, and of passthrough_hp's (hp).</p>" + _all_figures(rows, peers, table.ratios_to(found)),
        _costs(found, peers),
        _notes(found),
    ]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
            f"<title>bindshare-bench</title><style>{_STYLE}</style></head><body>\n" + "\n".join(sections) +
            "\n</body></html>\n")
