# SPDX-License-Identifier: Apache-2.0
"""Runs the snippets of docs/python.md, each for itself, in a folder with out.h5, answers.parquet and lines.jsonl.

Every snippet leaves the answers in `texts`, which have to be those of the JSON lines. One whose package is missing is skipped, and so
are comparisons of the Parquet file by programs that are not there. Usage: python_page.py PAGE
"""

import json
import math
import re
import sys

lines = [json.loads(line) for line in open("lines.jsonl", encoding="utf-8")]
expected = [line["text"] for line in lines]
failures = run = 0


def fail(what):
    global failures
    failures += 1
    print("FAILED:", what)


def run_snippets(page):
    global run
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", open(page, encoding="utf-8").read(), re.S | re.M), 1):
        names = {}
        try:
            exec(compile(code, f"{page}, snippet {number}", "exec"), names)
        except ImportError as error:
            print(f"snippet {number} skipped: {error}")
            continue
        except Exception as error:  # which snippet it is matters more than where it fell
            fail(f"snippet {number}: {type(error).__name__}: {error}")
            continue
        run += 1
        if list(names["texts"]) != expected:
            fail(f"snippet {number}: other texts than the export's")
    if run < 3:
        fail(f"only {run} snippets could run")


def same(value, wanted):
    """A value of a Parquet column beside that of a JSON line."""
    if isinstance(wanted, (list, dict)) and isinstance(value, str):
        return json.loads(value) == wanted
    if isinstance(wanted, list):
        return value is not None and len(value) == len(wanted) and all(map(same, value, wanted))
    if isinstance(wanted, float) or isinstance(value, float):
        return value is not None and wanted is not None and math.isclose(value, wanted, rel_tol=1e-6)
    if isinstance(value, str) and not isinstance(wanted, str) and wanted is not None:
        return value == json.dumps(wanted)
    return value == wanted or (isinstance(wanted, str) and value == json.dumps(wanted))


def compare(reader, rows):
    global run
    run += 1
    if len(rows) != len(lines):
        fail(f"{reader}: {len(rows)} rows instead of {len(lines)}")
        return
    for index, (row, line) in enumerate(zip(rows, lines)):
        for name in row.keys() | line.keys():
            if not same(row.get(name), line.get(name)):
                fail(f"{reader}: row {index}: {name}: {row.get(name)!r} instead of {line.get(name)!r}")
                return


def with_pyarrow():
    import pyarrow.parquet

    return pyarrow.parquet.read_table("answers.parquet").to_pylist()


def with_polars():
    import polars

    return polars.read_parquet("answers.parquet").to_dicts()


def with_duckdb():
    import duckdb

    found = duckdb.sql("SELECT * FROM 'answers.parquet'")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]


run_snippets(sys.argv[1])
for reader in (with_pyarrow, with_polars, with_duckdb):
    try:
        rows = reader()
    except ImportError as error:
        print(f"{reader.__name__} skipped: {error}")
        continue
    compare(reader.__name__, rows)
print(f"{run} run, {failures} failures")
sys.exit(failures > 0)
