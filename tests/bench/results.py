#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bindshare-bench makes of results: tables, comparisons, the page, counts, sources of packages."""
import copy
import html.parser
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "bench")
sys.path.insert(0, BENCH)

from lib import compare, counts, page, sources, table  # noqa: E402

FIXTURE = os.path.join(HERE, "result.json")
_cases = []


def case(function):
    _cases.append(function)
    return function


def fixture():
    with open(FIXTURE, encoding="utf-8") as file:
        return json.load(file)


def bench(*arguments):
    return subprocess.run([os.path.join(BENCH, "bindshare-bench"), *arguments], check=False, capture_output=True,
                          text=True, timeout=60)


@case
def medians_and_spreads_are_over_the_rounds():
    cell = table.collect(fixture())["null (statfs)"]["bindshare"]
    assert cell["median"] == 40000 and len(cell["values"]) == 3, cell
    assert abs(cell["spread"] - 0.1) < 0.001, cell
    assert cell["quantiles"][5] == 40000, cell


@case
def ratios_are_to_native_and_to_passthrough_hp():
    cells = table.collect(fixture())["null (statfs)"]
    assert table.ratio(cells, "bindshare", "native") == 80
    assert table.ratio(cells, "bindshare", "passthrough_hp") == 2
    assert table.ratio(cells, "native", "native") is None
    fairness = table.collect(fixture())["clients 64, fairness"]
    assert table.ratio(fairness, "bindshare", "native") is None


@case
def the_table_tells_medians_ratios_rates_and_what_is_missing():
    text = table.render(fixture(), 300)
    for part in ("40 us ±10%   80.0x  2.00x", "1342 MB/s", "Without the peer sshfs: there is no network",
                 "Without the workload npm: there is no npm", "FAILED on passthrough_hp, 1 times, clients: it broke",
                 "21 of 22 measurements done"):
        assert part in text, f"{part!r} is not in\n{text}"


@case
def a_narrow_terminal_gets_a_line_for_each_peer():
    lines = table.render(fixture(), 80).split("\n")
    assert max(len(line) for line in lines[1:] if not line.startswith(("Without", "FAILED"))) <= 80, lines


@case
def bars_are_met_or_missed():
    bars = {text: met for text, _, _, met in table.bars(table.collect(fixture()))}
    assert bars == {"null (statfs), to passthrough_hp": False, "sequential write, to passthrough_hp": True,
                    "sequential write, to native": True, "clients 64, fairness": True}, bars


@case
def places_of_the_data_are_told_apart():
    found = fixture()
    for number in range(table.LEAST_ROWS):
        for peer, value in (("native", 100), ("bindshare", 100 * 2 ** number)):
            for backing, factor in (("memory", 1), ("ext4", 4 if peer == "bindshare" else 1)):
                found["measurements"].append({"round": 0, "peer": peer, "workload": "w", "backing": backing, "rows": [
                    {"row": f"r{number}", "unit": "ns", "value": value * factor}]})
    for backing in ("memory", "ext4"):
        for peer, value in (("native", 100), ("bindshare", 300)):
            found["measurements"].append({"round": 0, "peer": peer, "workload": "tar", "backing": backing, "rows": [
                {"row": "tar x", "unit": "ns", "value": value}]})
    found["measurements"] = [one for one in found["measurements"] if "backing" in one]
    rows = table.collect(found)
    assert table.ratio(rows["r0"], "bindshare", "native") == 1, rows
    assert table.ratio(rows["r0 (ext4)"], "bindshare", "native") == 4, rows
    bars = {text: met for text, _, _, met in table.bars(rows)}
    assert bars["tar x, to native"] and not bars["tar x (ext4), to native"], bars
    means = table.means_of(rows)
    assert round(means[""]["bindshare"] ** 6) == 2 ** 10 * 3, means
    assert round(means[" (ext4)"]["bindshare"] ** 6) == 2 ** 10 * 4 ** 5 * 3, means
    text = table.render(found, 300)
    assert "Geometric mean: bindshare" in text, text
    assert "Geometric mean (ext4)" in text and "Geometric mean</h2>" in page.render(found), text


@case
def quantities_are_readable():
    assert [table.quantity(ns, "ns") for ns in (999, 1500, 2.5e6, 3e9, 120e9)] == [
        "999 ns", "1.5 us", "2.5 ms", "3 s", "120 s"]
    assert [table.times(value) for value in (0.5, 12.34, 250.4, None)] == ["0.50x", "12.3x", "250x", "-"]


@case
def comparing_tells_changes_from_noise():
    before, after = fixture(), fixture()
    for one in after["measurements"]:
        for row in one["rows"]:
            if row["row"] == "null (statfs)" and one["peer"] == "bindshare":
                row["value"] *= 2
            if row["row"] == "sequential write" and one["peer"] == "bindshare":
                row["value"] *= 1.05
    lines = {line[0]: line for line in compare.lines_of(before, after, "bindshare")}
    assert lines["null (statfs)"][3] == "+100%" and lines["null (statfs)"][-1] == "slower", lines
    assert lines["sequential write"][-1] == "same", lines
    assert "only the ratios to native" not in compare.render(before, after)
    after["scale"] = "quick"
    assert "only the ratios to native" in compare.render(before, after)


@case
def the_command_compares_two_files():
    done = bench("compare", FIXTURE, FIXTURE)
    assert done.returncode == 0 and "null (statfs)" in done.stdout and "slower" not in done.stdout, done


@case
def the_command_refuses_what_is_no_result():
    done = bench("compare", FIXTURE, os.path.join(BENCH, "counts.json"))
    assert done.returncode == 2 and "no result" in done.stderr, done
    assert bench("run", "--peers", "nobody").returncode == 2
    assert bench("run", "--rounds", "0").returncode == 2


@case
def a_run_is_shown_as_a_table_for_documents():
    done = bench("show", FIXTURE, "--markdown")
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    tables = [lines[:lines.index("")], lines[lines.index("") + 1:]]
    assert all(len({line.count("|") for line in one}) == 1 for one in tables), done.stdout
    assert any(line.startswith("| null (statfs) |") for line in tables[0]), done.stdout


@case
def the_table_for_documents_has_what_was_measured_on_disk_alone():
    found = fixture()
    for measurement in found["measurements"]:
        measurement["workload"] += " (ext4)"
        for row in measurement["rows"]:
            row["row"] += " (ext4)"
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(found, file)
        file.flush()
        done = bench("show", file.name, "--markdown")
    assert done.returncode == 0, done
    assert any(line.startswith("| null (statfs) | - |") for line in done.stdout.splitlines()), done.stdout


class _Reader(html.parser.HTMLParser):
    """Elements must be closed in order, and nothing may be loaded."""
    void = {"meta", "br", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        assert not any(name in ("src", "href") for name, _ in attrs), attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


@case
def the_page_is_whole_and_loads_nothing():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.html")
        done = bench("show", FIXTURE, "--html", path)
        assert done.returncode == 0, done
        with open(path, encoding="utf-8") as file:
            text = file.read()
    reader = _Reader()
    reader.feed(text)
    assert not reader.open, reader.open
    # The bars of ratios, and the latencies of one row.
    assert reader.count["svg"] == 2 and reader.count["polyline"] == 3, reader.count
    assert "prefers-color-scheme: dark" in text and "url(" not in text and "@import" not in text
    assert "it broke &lt;here&gt; &amp; there" in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        xml.dom.minidom.parseString(picture)


@case
def the_page_fits_a_screen_and_a_phone():
    found = fixture()
    # As many peers as there are.
    for name in ("passthrough_hp_nopt", "passthrough_ll", "sshfs"):
        found["peers"][name] = name
        found["measurements"] += [{**one, "peer": name} for one in found["measurements"]
                                  if one["peer"] == "passthrough_hp"]
    text = page.render(found)
    # The bars are as high, and their letters as large, on a narrow page as on a wide one: only widths are relative.
    bars, = re.findall(r'<svg class="bars".*?</svg>', text, re.DOTALL)
    assert "viewBox" not in bars, bars
    for element in xml.dom.minidom.parseString(bars).getElementsByTagName("rect"):
        assert element.getAttribute("x").endswith("%") and element.getAttribute("width").endswith("%")
        assert float(element.getAttribute("x")[:-1]) + float(element.getAttribute("width")[:-1]) <= 85
    # What a column of figures needs: six of them and the names are less than 1280 pixels, with letters of 14.
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text[text.index("All figures"):], re.DOTALL)
    longest = max(len(part) for cell in cells for part in re.split(r"<[^>]*>", cell))
    assert len(found["peers"]) == 6 and longest * 7 * 7 < 1280, longest
    assert "@media (max-width" in text and 'data-of="sshfs"' in text


@case
def the_page_stands_without_native_and_without_latencies():
    found = fixture()
    found["measurements"] = [one for one in found["measurements"] if one["workload"] == "clients"]
    reader = _Reader()
    reader.feed(page.render(found))
    assert not reader.open and "svg" not in reader.count, reader.count


@case
def a_rise_of_messages_is_found_and_a_few_are_no_rise():
    with open(os.path.join(BENCH, "counts.json"), encoding="utf-8") as file:
        kept = json.load(file)
    assert counts.rises(kept, kept) == ([], [])
    for change, name in ((20, "mkdir"), (-20, "mkdir"), (3, "mkdir")):
        found = copy.deepcopy(kept)
        found["operations"][name]["rpc"] += change
        worse, better = counts.rises(kept, found)
        assert (len(worse), len(better)) == (change > 3, change < 0), (worse, better)
    found = copy.deepcopy(kept)
    found["operations"]["new"] = {"fuse": 1, "rpc": 1}
    del found["workloads"]["walk"]
    assert len(counts.rises(kept, found)[0]) == 2


@case
def sources_are_derived_from_both_kinds_of_lists():
    stanza = """# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/some.gpg

Types: deb
URIs: http://other.example/tool
Suites: tool-bookworm
Components: main
"""
    line = ("deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main non-free\n"
            "# deb http://mirror.example/debian bookworm main\n")
    found = sources.private_sources([("/a.sources", stanza), ("/b.list", line)], "bookworm")
    assert len(found) == 2, found
    assert "Types: deb deb-src\n" in found[0] and "Suites: bookworm bookworm-updates\n" in found[0], found[0]
    assert "Components: main\n" in found[0] and "Signed-By: /usr/share/keyrings/some.gpg\n" in found[0], found[0]
    assert "URIs: http://mirror.example/debian\n" in found[1] and "Signed-By: /k.gpg\n" in found[1], found[1]
    assert sources.private_sources([("/b.list", line)], "") == []


def main():
    print(f"1..{len(_cases)}")
    bad = 0
    for number, function in enumerate(_cases, 1):
        try:
            function()
            print(f"ok {number} - {function.__name__.replace('_', ' ')}")
        except Exception:  # the next case must have its turn
            bad += 1
            print(f"not ok {number} - {function.__name__.replace('_', ' ')}")
            print("# " + traceback.format_exc().rstrip().replace("\n", "\n# "))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
