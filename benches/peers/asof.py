"""Steersman's point-in-time join beside DuckDB's `ASOF JOIN`: the same Parquet files, a process each.

    cargo build --release
    python benches/peers/asof.py --steersman target/release/steersman --python venv/bin/python [--rows 1000000]

ROWS records are checked against three tables of ROWS rows each. Prints one JSON object a line: CPU seconds (user and system,
reading the files included), wall seconds, peak resident megabytes, and how many records each found a row for: the numbers
must agree. DuckDB's package is called `duckdb`; without it only Steersman is measured. This script itself needs numpy and
pyarrow.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DUCKDB = """
import sys, duckdb
folder, tables = sys.argv[1], ["t1", "t2", "t3"]
found = []
for table in tables:
    value = "f" + table[1:]
    rows = duckdb.sql(f'''
        SELECT count(*) FILTER (WHERE t.ts IS NOT NULL), count(*) FILTER (WHERE t.{value} IS DISTINCT FROM r.{value})
        FROM '{folder}/records.parquet' r ASOF LEFT JOIN '{folder}/{table}.parquet' t
        ON r.entity = t.entity AND r.time >= t.ts''').fetchall()
    found.append(list(rows[0]))
print(found)
"""


def write(folder: pathlib.Path, rows: int) -> None:
    """Records, and tables whose rows are sorted by time, as exports are."""
    random = np.random.default_rng(7)
    month = 30 * 86_400_000_000

    def column(times):
        return pa.array(np.sort(times), pa.timestamp("us", tz="UTC"))

    records = {
        "id": pa.array([f"r{row}" for row in range(rows)]),
        "time": column(random.integers(0, month, rows)),
        "entity": pa.array(random.integers(0, rows // 20, rows).astype(float)),
    }
    for table in (1, 2, 3):
        records[f"f{table}"] = pa.array(random.integers(0, 3, rows).astype(float))
        # Distinct times: which of two rows of one time counts is not the same in both programs.
        times = random.choice(month, rows, replace=False)
        pq.write_table(
            pa.table({
                "entity": pa.array(random.integers(0, rows // 20, rows).astype(float)),
                "ts": column(times),
                f"f{table}": pa.array(random.integers(0, 3, rows).astype(float)),
            }),
            folder / f"t{table}.parquet",
        )
    pq.write_table(pa.table(records), folder / "records.parquet")


def measure(command: list[str]) -> tuple[dict, str]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(done.stderr)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    spent = {"cpu_s": round(cpu, 2), "wall_s": round(time.perf_counter() - began, 2), "peak_mb": after.ru_maxrss // 1024}
    return spent, done.stdout


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steersman", default="target/release/steersman")
    options.add_argument("--python", default=sys.executable, help="a Python that has duckdb")
    options.add_argument("--rows", type=int, default=1_000_000)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write(folder, args.rows)
        command = [args.steersman, "features", "check", "--records", f"{folder}/records.parquet", "--entity", "entity",
                   "--time", "ts", "--output", "json"]
        for table in (1, 2, 3):
            command += ["--table", f"{folder}/t{table}.parquet"]
        spent, out = measure(command)
        report = json.loads(out)
        wrong = {feature["name"]: feature["mismatches"] for feature in report["features"]}
        found = [[table["matched"], wrong[f"f{place}"]] for place, table in enumerate(report["tables"], 1)]
        print(json.dumps({"tool": "steersman", "rows": args.rows, **spent, "found": found}))
        if subprocess.run([args.python, "-c", "import duckdb"], capture_output=True).returncode != 0:
            print("duckdb is not installed", file=sys.stderr)
            return
        # Children's peaks are a maximum over all so far: DuckDB's is right where it is the larger one.
        theirs, out = measure([args.python, "-c", DUCKDB, name])
        print(json.dumps({"tool": "duckdb", "rows": args.rows, **theirs, "found": json.loads(out)}))
        print(json.dumps({"agree": json.loads(out) == found, "times_duckdb": round(spent["cpu_s"] / theirs["cpu_s"], 2)}))


if __name__ == "__main__":
    main()
