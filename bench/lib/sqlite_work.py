# SPDX-License-Identifier: Apache-2.0
"""SQLite in a directory: sqlite_work.py run|verify DIR TRANSACTIONS, a program. Prints rows as bench-workloads does."""
import json
import os
import sqlite3
import sys
import time

# As in bench/workloads/measure.c.
QUANTILES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1)
_TEXT = "a row of the table, as long as a line of text usually is, number "


def latency_row(row, samples):
    samples = sorted(samples)
    ranks = [samples[int(q * (len(samples) - 1) + 0.5)] for q in QUANTILES]
    return {"row": row, "unit": "ns", "value": ranks[5], "ops": len(samples), "total_ns": sum(samples),
            "quantiles": ranks}


def run(path, count):
    samples = []
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
    for number in range(count):
        begin = time.monotonic_ns()
        base.execute("BEGIN")
        base.execute("INSERT INTO t VALUES (?, ?)", (number, _TEXT + str(number)))
        base.execute("COMMIT")
        samples.append(time.monotonic_ns() - begin)
    base.close()
    print(json.dumps(latency_row("sqlite transaction", samples)))


def verify(path, count):
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged"
    rows = base.execute("SELECT id, text FROM t ORDER BY id").fetchall()
    base.close()
    assert rows == [(number, _TEXT + str(number)) for number in range(count)], "rows are missing or wrong"


if __name__ == "__main__":
    {"run": run, "verify": verify}[sys.argv[1]](os.path.join(sys.argv[2], "base.sqlite"), int(sys.argv[3]))
