"""Two data sets of ROWS x 20 mixed columns, compared by Steersman and by other tools, each as a process of its own.

    python benches/peers/compare.py --steersman target/release/steersman --rows 1000000 \
        --python evidently=venv-a/bin/python --python nannyml=venv-b/bin/python --python whylogs=venv-c/bin/python

Prints a JSON object a tool: CPU seconds (user and system, children included), wall seconds, peak resident megabytes, and
CPU seconds as a multiple of Steersman's. The tools' packages do not fit into one environment, hence a Python for each;
this script itself needs numpy, pandas and pyarrow. Reading the Parquet files is part of every measurement.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

PEERS = {
    "evidently": """
import sys, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
a, b = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
Report([DataDriftPreset()]).run(current_data=b, reference_data=a).dict()
""",
    "nannyml": """
import os, sys
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import pandas as pd, nannyml
a, b = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
for side in (a, b):
    for name in side.columns[side.dtypes == object]:
        side[name] = side[name].astype("category")
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(a.columns), treat_as_categorical=["flag"], chunk_number=1,
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
    categorical_methods=["chi2", "jensen_shannon", "hellinger", "l_infinity"])
calculator.fit(a).calculate(b).to_df()
""",
    "whylogs": """
import sys, pandas as pd, whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores
a, b = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
views = [whylogs.log(side).view() for side in (a, b)]
calculate_drift_scores(target_view=views[1], reference_view=views[0], with_thresholds=True)
""",
}


def make(path, seed, rows, shift):
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    columns = {f"normal_{i}": random.normal(shift * (i == 0), 1, rows) for i in range(10)}
    columns |= {f"skewed_{i}": np.exp(random.normal(0, 1, rows)) for i in range(3)}
    columns["whole"] = random.poisson(4, rows).astype("int64")
    for i, count in enumerate([3, 12, 50, 400]):
        codes = np.minimum((random.pareto(1.1, rows) * 2).astype(int), count - 1)
        columns[f"category_{i}"] = np.array([f"c{j}" for j in range(count)], dtype=object)[codes]
    columns["flag"] = random.random(rows) < 0.3
    columns["gaps"] = np.where(random.random(rows) < 0.05, np.nan, random.normal(0, 1, rows))
    pd.DataFrame(columns).to_parquet(path)


def measure(command):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_s": round(cpu, 2), "wall_s": round(time.monotonic() - began, 2)}


def peak(command):
    """Peak memory of a run of its own: the kernel keeps the largest of all children, so each tool gets a fresh parent."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True);" \
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    return int(subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steersman", default="target/release/steersman")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--python", action="append", default=[], metavar="TOOL=PATH")
    arguments = parser.parse_args()
    pythons = dict(pair.split("=", 1) for pair in arguments.python)
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("reference.parquet", "current.parquet")]
        make(files[0], 1, arguments.rows, 0.0)
        make(files[1], 2, arguments.rows, 0.2)
        commands = {"steersman": [arguments.steersman, "compare", *files, "--json", os.path.join(folder, "o.json")]}
        commands |= {tool: [path, "-c", PEERS[tool], *files] for tool, path in pythons.items()}
        base = None
        for tool, command in commands.items():
            found = measure(command)
            if "cpu_s" in found:
                base = base or found["cpu_s"]
                found |= {"peak_mb": peak(command), "times_steersman": round(found["cpu_s"] / base, 1)}
            print(json.dumps({"tool": tool, "rows": arguments.rows, **found}), flush=True)


if __name__ == "__main__":
    main()
