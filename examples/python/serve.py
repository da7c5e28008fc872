"""Serves the model over the Open Inference Protocol V2."""
import argparse
import json
import pathlib
import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd

args = argparse.ArgumentParser()
args.add_argument("--model", type=pathlib.Path)
args.add_argument("--port", type=int)
args = args.parse_args()
columns, model = pickle.loads((args.model / "model.pkl").read_bytes())


class Handler(BaseHTTPRequestHandler):
    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer({"ready": True})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = pd.DataFrame({tensor["name"]: tensor["data"] for tensor in request["inputs"]})[columns]
        scores = model.predict_proba(rows)[:, 1].tolist()
        output = {"name": "score", "shape": [len(scores)], "datatype": "FP64", "data": scores}
        self.answer({"model_name": "churn", "id": request.get("id"), "outputs": [output]})


ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
