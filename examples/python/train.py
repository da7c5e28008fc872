"""Trains a churn model on the snapshot that Steersman hands over."""
import argparse
import json
import pathlib
import pickle

import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

args = argparse.ArgumentParser()
args.add_argument("--data")
args.add_argument("--out", type=pathlib.Path)
args = args.parse_args()

rows = pd.read_csv(args.data).drop(columns=["id", "time"])
labels = rows.pop("churned")
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
(args.out / "model.pkl").write_bytes(pickle.dumps((list(rows.columns), model)))
(args.out / "metrics.json").write_text(json.dumps({"train_accuracy": model.score(rows, labels)}))
