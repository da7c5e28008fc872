"""Steersman beside Evidently, NannyML, whylogs and River, on the same data and machine, in one go.

    cargo build --release
    python benches/peers/peers.py --python evidently=venv-a/bin/python --python nannyml=venv-b/bin/python \\
        --python whylogs=venv-c/bin/python --python river=venv-d/bin/python [--only compare] [--rows 1000000]

Four parts, each of which prints one JSON object a line:

compare   two Parquet files of ROWS x 20 mixed columns against each other, a process each: CPU seconds (user and system,
          children included), wall seconds, peak resident megabytes. Reading the files is part of it.
estimate  performance without labels (CBPE: ROC AUC, accuracy, F1, precision, recall, specificity) of ROWS predictions
          after as many labelled ones, a process each.
profile   nanoseconds for each value of a column, by kind: 100,000 values (Steersman, by `cargo bench`), ROWS (whylogs).
stream    updates per second of River's detectors, on the streams of crates/stats/benches/stream.rs.

`times_steersman` is how many times as much CPU the other tool takes. The tools' packages do not fit into one environment,
hence a Python for each; a tool without one is left out. This script itself needs numpy, pandas and pyarrow.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

COMPARE = {
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

ESTIMATE = {
    "nannyml": """
import os, sys
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import pandas as pd, nannyml
a, b = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
for side in (a, b):
    side["decided"] = (side["score"] >= 0.5).astype(int)
estimator = nannyml.CBPE(
    y_pred_proba="score", y_pred="decided", y_true="late", problem_type="classification_binary", chunk_number=12,
    metrics=["roc_auc", "accuracy", "f1", "precision", "recall", "specificity"])
estimator.fit(a).estimate(b).to_df()
""",
}

PROFILE = {
    "whylogs": """
import json, sys, time
import numpy as np, pandas as pd, whylogs
rows = int(sys.argv[1])
place = np.arange(rows)
columns = {
    "numeric": ((place * 7919) % 10007).astype(float),
    "categorical": np.array([f"category {i}" for i in range(97)], dtype=object)[(place * 7919) % 97],
    "text": np.array([f"sentence number {i} of many" for i in range(rows)], dtype=object),
    "datetime": pd.to_datetime(place * 7919 % 100003, unit="s"),
    "boolean": place % 3 == 0,
}
spent = {}
for name, values in columns.items():
    frame = pd.DataFrame({"column": values})
    began = time.process_time()
    whylogs.log(frame)
    spent[name] = (time.process_time() - began) / rows * 1e9
print(json.dumps(spent))
""",
}

STREAM = {
    "river": """
import json, math, time
from river import drift
UPDATES = 100_000
values = [math.fmod(row * 0.6180339887498949, 1.0) for row in range(UPDATES)]
errors = [float(value < 0.2) for value in values]
detectors = {
    "adwin": (drift.ADWIN, values), "ddm": (drift.binary.DDM, errors), "eddm": (drift.binary.EDDM, errors),
    "hddm_a": (drift.binary.HDDMA, errors), "hddm_w": (drift.binary.HDDMW, errors),
    "page_hinkley": (drift.PageHinkley, values), "kswin": (lambda: drift.KSWIN(seed=0), values[:1_000])}
def rate(make, values):
    seconds = []
    for _ in range(3):
        detector = make()
        start = time.process_time()
        for value in values:
            detector.update(value)
            detector.drift_detected
        seconds.append(time.process_time() - start)
    return len(values) / min(seconds)
print(json.dumps({name: rate(make, values) for name, (make, values) in detectors.items()}))
""",
}


def table(path, seed, rows, shift):
    """20 mixed columns."""
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


def predictions(path, seed, rows, shift, labelled):
    """Scores that are probabilities, with their truths or without."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-random.normal(shift, 1.5, rows)))
    columns = {"score": score}
    if labelled:
        columns["late"] = (random.random(rows) < score).astype("int64")
    pd.DataFrame(columns).to_parquet(path)


def measure(command):
    """CPU and wall seconds of one run, and the peak memory of another."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "peak_mb": peak(command)}


def peak(command):
    """The kernel keeps the largest of all children, so each run gets a fresh parent."""
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True);" \
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    return int(subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True).stdout)


def show(part, tool, **found):
    print(json.dumps({"part": part, "tool": tool, **found}), flush=True)


def processes(part, own, peers, pythons, files, rows):
    commands = {"steersman": own}
    commands |= {tool: [pythons[tool], "-c", code, *files] for tool, code in peers.items() if tool in pythons}
    base = None
    for tool, command in commands.items():
        found = measure(command)
        if "cpu_s" in found:
            base = base or found["cpu_s"]
            found["times_steersman"] = round(found["cpu_s"] / base, 1)
        show(part, tool, rows=rows, **found)


def compare(arguments, pythons, folder):
    files = [os.path.join(folder, name) for name in ("reference.parquet", "current.parquet")]
    table(files[0], 1, arguments.rows, 0.0)
    table(files[1], 2, arguments.rows, 0.2)
    own = [arguments.steersman, "compare", *files, "--json", os.path.join(folder, "compare.json")]
    processes("compare", own, COMPARE, pythons, files, arguments.rows)


def estimate(arguments, pythons, folder):
    files = [os.path.join(folder, name) for name in ("labelled.parquet", "unlabelled.parquet")]
    predictions(files[0], 3, arguments.rows, 0.0, labelled=True)
    predictions(files[1], 4, arguments.rows, 0.2, labelled=False)
    metrics = "roc_auc,accuracy,f1,precision,recall,specificity"
    own = [arguments.steersman, "estimate", *files, "--prediction", "score", "--target", "late", "--metrics", metrics,
           "--json", os.path.join(folder, "estimate.json")]
    processes("estimate", own, ESTIMATE, pythons, files, arguments.rows)


def criterion(bench):
    """Runs a benchmark and returns seconds for each of its elements, by name."""
    command = ["cargo", "bench", "-q", "-p", "steersman-stats", "--bench", bench]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "criterion" / bench
    found = {}
    for path in target.glob("*/new/benchmark.json"):
        elements = (json.loads(path.read_text())["throughput"] or {}).get("Elements")
        mean = json.loads((path.parent / "estimates.json").read_text())["mean"]["point_estimate"]
        if elements:
            found[path.parent.parent.name] = mean / 1e9 / elements
    return found


def profile(arguments, pythons, _folder):
    own = {name.removesuffix("_update"): seconds * 1e9 for name, seconds in criterion("profile").items()}
    show("profile", "steersman", ns_per_value={name: round(spent, 1) for name, spent in own.items()})
    for tool, code in PROFILE.items():
        if tool in pythons:
            done = subprocess.run([pythons[tool], "-c", code, str(arguments.rows)], capture_output=True, text=True)
            spent = json.loads(done.stdout.splitlines()[-1])
            times = {name: round(spent[name] / own[name], 1) for name in spent if name in own}
            show("profile", tool, ns_per_value={name: round(ns, 1) for name, ns in spent.items()}, times_steersman=times)


def stream(arguments, pythons, _folder):
    own = {name: 1 / seconds for name, seconds in criterion("stream").items()}
    show("stream", "steersman", updates_per_second={name: round(rate) for name, rate in own.items()})
    for tool, code in STREAM.items():
        if tool in pythons:
            done = subprocess.run([pythons[tool], "-c", code], capture_output=True, text=True, check=True)
            rates = json.loads(done.stdout)
            times = {name: round(own[name] / rate, 1) for name, rate in rates.items() if name in own}
            show("stream", tool, updates_per_second={n: round(r) for n, r in rates.items()}, times_steersman=times)


PARTS = {"compare": compare, "estimate": estimate, "profile": profile, "stream": stream}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steersman", default=str(ROOT / "target/release/steersman"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--python", action="append", default=[], metavar="TOOL=PATH")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone (repeatable)")
    arguments = parser.parse_args()
    pythons = dict(pair.split("=", 1) for pair in arguments.python)
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.only or PARTS:
            PARTS[part](arguments, pythons, folder)


if __name__ == "__main__":
    main()
