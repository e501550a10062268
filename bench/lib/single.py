# SPDX-License-Identifier: Apache-2.0
"""bindshare-bench micro DIR: single operations in one directory, whatever file system it is on."""
import json
import tempfile

from . import measure, paths, place, table
from .workload import in_c

_SHOWN = ((table.P1, "p1"), (table.P50, "p50"), (table.P90, "p90"), (table.P99, "p99"), (table.MAX, "max"))


def run(options):
    paths.build(measure.say)
    directory = tempfile.mkdtemp(prefix=".bindshare-bench.", dir=options.directory)
    try:
        in_c(["prepare", "micro", directory], options.quick)
        if not place.drop_caches():
            measure.say("only root can empty the kernel's caches: lookup and read 4 KiB are not cold")
        rows = in_c(["run", "micro", directory], options.quick)
    finally:
        place.remove_tree(directory)
    lines = [["", *(name for _, name in _SHOWN)]]
    for row in rows:
        lines.append([row["row"], *(table.quantity(row["quantiles"][rank], "ns") for rank, _ in _SHOWN)])
    out = []
    table.grid(lines, out)
    print("\n".join(out))
    if options.json:
        found = measure.results(options.quick, {"directory": options.directory}, {"data_on": "the directory"})
        found["measurements"].append({"round": 0, "peer": "directory", "workload": "micro", "rows": rows,
                                      "verified": True})
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)
    return 0
