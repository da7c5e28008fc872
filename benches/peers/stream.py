"""Updates per second of CPU time of River's drift detectors, on the streams of crates/stats/benches/stream.rs, as JSON.

Run with any Python that has River: python stream.py
"""
import json
import math
import time

import river
from river import drift

UPDATES = 100_000
VALUES = [math.fmod(row * 0.6180339887498949, 1.0) for row in range(UPDATES)]
ERRORS = [float(value < 0.2) for value in VALUES]
DETECTORS = {
    "adwin": (drift.ADWIN, VALUES),
    "ddm": (drift.binary.DDM, ERRORS),
    "eddm": (drift.binary.EDDM, ERRORS),
    "hddm_a": (drift.binary.HDDMA, ERRORS),
    "hddm_w": (drift.binary.HDDMW, ERRORS),
    "page_hinkley": (drift.PageHinkley, VALUES),
    "kswin": (lambda: drift.KSWIN(seed=0), VALUES[:1_000]),
}


def rate(make, values):
    """The best of three runs, in time of this process alone."""
    seconds = []
    for _ in range(3):
        detector = make()
        start = time.process_time()
        for value in values:
            detector.update(value)
            detector.drift_detected
        seconds.append(time.process_time() - start)
    return len(values) / min(seconds)


rates = {name: round(rate(make, values)) for name, (make, values) in DETECTORS.items()}
print(json.dumps({"river": river.__version__, "updates_per_second": rates}, indent=2))
