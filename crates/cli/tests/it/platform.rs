//! `steersman up` through its API: telemetry, bad input, failing programs, kills.

use crate::{run, steersman};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running platform.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) page: String,
    pub(crate) gateway: String,
}

impl Up {
    pub(crate) fn start(dir: &Path, spec: Option<&Path>) -> Self {
        let mut command = steersman(&["up", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--dir"]);
        command.arg(dir.join("state")).current_dir(dir);
        if let Some(spec) = spec {
            command.arg("--apply").arg(spec);
        }
        Self::from(command)
    }

    /// Starts `steersman up` as `command` says, and waits until it is up.
    pub(crate) fn from(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut find = |label: &str| loop {
            let line = lines.next().expect("the platform came up").unwrap();
            if let Some(address) = line.strip_prefix(label) {
                return address.trim().trim_end_matches('/').to_owned();
            }
        };
        let page = find("page");
        let gateway = find("gateway");
        Self { child, page, gateway: gateway.split("/v2/").next().unwrap().to_owned() }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn call(&self, method: reqwest::Method, url: &str, kind: &str, body: String) -> (u16, Value) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let request = reqwest::Client::new().request(method, url).header("content-type", kind).body(body);
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap_or_default())
        })
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call(
            reqwest::Method::GET,
            &format!("{}/api/v1{path}", self.page),
            "application/json",
            String::new(),
        )
        .1
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(
            reqwest::Method::POST,
            &format!("{}/api/v1{path}", self.page),
            "application/json",
            body.to_string(),
        )
    }

    pub(crate) fn lines(&self, path: &str, body: &str) -> (u16, Value) {
        self.call(
            reqwest::Method::POST,
            &format!("{}/api/v1{path}", self.page),
            "application/x-ndjson",
            body.to_owned(),
        )
    }

    /// Waits until something is so.
    pub(crate) fn wait<T>(&self, what: &str, check: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = check(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {}", self.get("/models/churn"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Up {
    /// Ends it as Ctrl-C does, so that its model servers end too.
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with data and a spec whose training command is `train`.
pub(crate) fn project(train: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut data = "id,time,calls,plan,churned\n".to_owned();
    for row in 0..600 {
        let calls = (row * 7) % 11;
        let churned = u8::from((calls + row % 3) > 7);
        data.push_str(&format!(
            "c{row},2026-01-{:02}T{:02}:00:00Z,{calls},{},{churned}\n",
            1 + row / 24,
            row % 24,
            ["a", "b"][row % 2]
        ));
    }
    fs::write(dir.path().join("churn.csv"), data).unwrap();
    let program = env!("CARGO_BIN_EXE_steersman");
    let learn = format!(
        "['{program}', 'learn-train', '--data', '{{snapshot}}', '--out', '{{artifact}}', '--label', 'churned']"
    );
    let train =
        train.map_or(learn, |script| format!("['sh', '-c', '{script}', '{{snapshot}}', '{{artifact}}']"));
    let spec = dir.path().join("churn.toml");
    fs::write(
        &spec,
        format!(
            "[model]\nname='churn'\ntask='binary'\nprediction='score'\nlabel={{column='churned', expected_delay='1h'}}\n\
             [data]\nreference='churn.csv'\ntime='time'\nid='id'\n\
             [retrain]\ncommand={train}\nformat='csv'\ntimeout='2s'\n\
             [serve]\ncommand=['{program}', 'learn-serve', '--model', '{{artifact}}', '--port', '{{port}}', '--name', '{{model}}', '--version', '{{version}}']\n"
        ),
    )
    .unwrap();
    (dir, spec)
}

pub(crate) fn champion(up: &Up) -> Option<String> {
    up.get("/models/churn")["summary"]["champion"].as_str().map(str::to_owned)
}

pub(crate) fn record(id: &str) -> String {
    json!({"id": id, "time": "2026-02-01T00:00:00Z", "features": {"calls": 3, "plan": "a"}, "score": 0.4})
        .to_string()
}

#[test]
fn telemetry_is_durable_idempotent_and_refused_row_by_row() {
    let (dir, spec) = project(None);
    let up = Up::start(dir.path(), Some(&spec));
    let batch = [
        record("r1"),
        record("r2"),
        record("r3").replace("score", "scoer"),
        record("r4").replace("0.4", "\"NaN\""),
    ]
    .join("\n");
    let (status, reply) = up.lines("/models/churn/records", &batch);
    assert_eq!((status, reply["accepted"].as_u64(), reply["rejected"].as_u64()), (207, Some(2), Some(2)));
    assert_eq!(reply["rejections"][0]["problem"]["field"], "scoer");
    assert_eq!(reply["rejections"][1]["id"], "r4");
    let (status, reply) = up.lines("/models/churn/records", &[record("r1"), record("r2")].join("\n"));
    assert_eq!((status, reply["duplicates"].as_u64()), (200, Some(2)));
    let (status, reply) = up.lines("/models/churn/records", "{\"id\": NaN}");
    assert_eq!((status, &reply["rejections"][0]["line"]), (400, &json!(1)));
    // The truth may come before its record.
    let labels = json!([{"id": "r1", "label": 1, "time": "2026-02-01T01:00:00Z"}, {"id": "later", "label": 0, "time": "2026-02-01T01:00:00Z"}]);
    let (status, reply) = up.post("/models/churn/labels", &labels);
    assert_eq!((status, &reply["accepted"], &reply["waiting"]), (200, &json!(2), &json!(1)));
    let odd = json!([{"id": "r2", "label": 7, "time": "2026-02-01T01:00:00Z"}]);
    let (status, reply) = up.post("/models/churn/labels", &odd);
    assert_eq!((status, &reply["rejections"][0]["problem"]["message"]), (400, &json!("7 is not 0 or 1")));
    let (status, reply) = up.post("/models/nobody/records", &json!([]));
    assert_eq!((status, reply["hint"].as_str()), (404, Some("declared are: churn")));
    up.kill();
    let up = Up::start(dir.path(), None);
    let stats = up.get("/models/churn")["records"].clone();
    assert_eq!(
        (&stats["records"], &stats["labels"], &stats["labels_without_record"]),
        (&json!(2), &json!(1), &json!(1))
    );
}

#[test]
fn what_is_refused_raises_a_signal_although_nothing_got_in() {
    let (dir, spec) = project(None);
    let up = Up::start(dir.path(), Some(&spec));
    let rows: Vec<String> = (0..40).map(|row| record(&format!("r{row}")).replace(":3,", ":\"3\",")).collect();
    let (status, reply) = up.lines("/models/churn/records", &rows.join("\n"));
    assert_eq!((status, &reply["rejected"]), (400, &json!(40)));
    // A later record closes the window.
    let later = record("later").replace("2026-02-01", "2026-02-03");
    assert_eq!(up.lines("/models/churn/records", &later).0, 200);
    let signal = up.wait("a signal", |up| {
        let signals = up.get("/models/churn")["state"]["signals"].clone();
        signals.as_array()?.iter().find(|signal| signal["measurement"]["monitor"] == "types").cloned()
    });
    assert_eq!(signal["measurement"]["column"], "calls");
    let words = "100.0 % of 40 records were refused because `calls` had a value of a wrong type";
    assert!(signal["explanation"].as_str().unwrap().starts_with(words), "{signal}");
    // What the spec says about a column must fit the column.
    let text = fs::read_to_string(&spec).unwrap() + "[watch.quality.columns.plan]\nrange = [0, 1]\n";
    let apply = json!({"by": "ada", "spec": text, "folder": dir.path()});
    let (status, reply) = up.post("/models", &apply);
    assert_eq!((status, reply["field"].as_str()), (400, Some("watch.quality.columns.plan.range")));
}

#[test]
fn killed_during_training_it_goes_on_and_serves_and_records_calls() {
    let (dir, spec) = project(None);
    let up = Up::start(dir.path(), Some(&spec));
    up.wait("a run", |up| up.get("/models/churn")["state"]["runs"][0]["run"].as_str().map(|_| ()));
    up.kill();
    let up = Up::start(dir.path(), None);
    assert_eq!(up.wait("a champion", champion), "v1");
    let infer = json!({"id": "call-1", "inputs": [
        {"name": "calls", "shape": [1], "datatype": "FP64", "data": [9]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    ]});
    let url = format!("{}/v2/models/churn/infer", up.gateway);
    let answer = up.wait("an answer", |up| {
        let (status, answer) = up.call(reqwest::Method::POST, &url, "application/json", infer.to_string());
        (status == 200).then_some(answer)
    });
    assert!(answer["outputs"][0]["data"][0].as_f64().unwrap() > 0.5, "{answer}");
    up.wait("the record", |up| (up.get("/models/churn")["records"]["records"] == json!(1)).then_some(()));
    // A server that dies is a fact, and comes back.
    let servers = dir.path().join("state/servers/churn-v1.json");
    let trace: Value = serde_json::from_str(&fs::read_to_string(&servers).unwrap()).unwrap();
    let killed =
        std::process::Command::new("kill").args(["-9", &trace["group"].to_string()]).status().unwrap();
    assert!(killed.success());
    up.wait("the failure", |up| {
        up.get("/models/churn")["state"]["server_failures"][0]["reason"].as_str().map(str::to_owned)
    });
    up.wait("an answer after that", |up| {
        let (status, _) = up.call(reqwest::Method::POST, &url, "application/json", infer.to_string());
        (status == 200).then_some(())
    });
    let (code, out, _) = run(&["status", "--server", &up.page]);
    assert!(code == 0 && out.contains("churn") && out.contains("on course"), "{out}");
    let (code, out, _) = run(&["incidents", "--server", &up.page, "--output", "json"]);
    assert_eq!((code, out.trim()), (0, "[]"));
    let (code, _, err) = run(&["approve", "rol-0123456789ab", "--server", &up.page]);
    assert!(code == 2 && err.contains("no rollout `rol-0123456789ab` is under way"), "{err}");
    drop(up);
    assert_eq!(run(&["verify", "log", "--dir", dir.path().join("state").to_str().unwrap()]).0, 0);
}

fn failure_of(train: &str) -> String {
    let (dir, spec) = project(Some(train));
    let up = Up::start(dir.path(), Some(&spec));
    up.wait("a failed run", |up| {
        let status = up.get("/models/churn")["state"]["runs"][0]["status"].clone();
        status["reason"]
            .as_str()
            .map(|reason| format!("{reason} ({})", status["hint"].as_str().unwrap_or_default()))
    })
}

#[test]
fn trainings_that_fail_hang_or_leave_nothing_are_facts() {
    let failed = failure_of("echo no memory >&2; exit 9");
    assert!(failed.starts_with("`sh` ended with exit code 9: no memory"), "{failed}");
    let hung = failure_of("sleep 600");
    assert!(hung.starts_with("`sh` did not end within 2 s and was stopped"), "{hung}");
    let empty = failure_of("true");
    assert!(empty.contains("holds no file") && empty.contains("{artifact}"), "{empty}");
}

#[test]
fn a_second_platform_on_the_folder_or_port_is_refused() {
    let (dir, _) = project(None);
    let up = Up::start(dir.path(), None);
    let state = dir.path().join("state");
    let (code, _, err) =
        run(&["up", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--dir", state.to_str().unwrap()]);
    assert!(code == 2 && err.contains("another Steersman uses the folder"), "{err}");
    let other = dir.path().join("other");
    let page = up.page.trim_start_matches("http://");
    let (code, _, err) =
        run(&["up", "--listen", page, "--gateway", "127.0.0.1:0", "--dir", other.to_str().unwrap()]);
    assert!(code == 2 && err.contains("choose another address with `--listen"), "{err}");
    let gateway = up.gateway.trim_start_matches("http://");
    let (code, _, err) =
        run(&["up", "--listen", "127.0.0.1:0", "--gateway", gateway, "--dir", other.to_str().unwrap()]);
    assert!(code == 2 && err.contains("`--gateway ADDR:PORT`"), "{err}");
    // A page of another site cannot use the API through a browser on this machine.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = runtime.block_on(async {
        let client = reqwest::Client::new();
        let url = format!("{}/api/v1/reports/health", up.page);
        client.post(url).header("origin", "http://evil.example").send().await.unwrap().status().as_u16()
    });
    assert_eq!(status, 403);
}
