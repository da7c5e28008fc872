//! `steersman gateway` beside a platform: told its routes, handing captures on, alone when the platform is gone.

use crate::platform::{Up, champion, project};
use crate::{run, steersman};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

/// A running gateway.
struct Edge {
    child: Child,
    url: String,
    admin: String,
}

impl Edge {
    fn start(dir: &Path, server: &str) -> Self {
        let mut command = steersman(&["gateway", "--name", "edge-1", "--listen", "127.0.0.1:0"]);
        command.args(["--admin", "127.0.0.1:0", "--server", server, "--dir"]).arg(dir.join("edge"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut find = |label: &str| {
            let line = lines.next().expect("the gateway came up").unwrap();
            line.strip_prefix(label).unwrap().trim().to_owned()
        };
        let url = format!("http://{}", find("gateway"));
        let admin = find("admin").trim_end_matches("/metrics").to_owned();
        Self { child, url, admin }
    }

    fn end(mut self, signal: &str) {
        assert!(
            std::process::Command::new("kill")
                .args([signal, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap();
    }
}

impl Drop for Edge {
    /// A test that fails leaves none behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(method: Method, url: &str, body: &Value) -> Option<(u16, Value)> {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let reply = reqwest::Client::new().request(method, url).json(body).send().await.ok()?;
        Some((reply.status().as_u16(), reply.json().await.unwrap_or_default()))
    })
}

fn metrics(edge: &Edge) -> String {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        reqwest::get(format!("{}/metrics", edge.admin)).await.unwrap().text().await.unwrap()
    })
}

fn infer(id: &str) -> Value {
    json!({"id": id, "inputs": [
        {"name": "calls", "shape": [1], "datatype": "FP64", "data": [9]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    ]})
}

#[test]
fn it_serves_as_it_is_told_and_goes_on_alone_also_after_its_own_restart() {
    let (dir, spec) = project(None);
    let up = Up::start(dir.path(), Some(&spec));
    up.wait("a champion", champion);
    let edge = Edge::start(dir.path(), &up.page);
    let url = |edge: &Edge| format!("{}/v2/models/churn/infer", edge.url);
    let answer = up.wait("an answer", |_| {
        call(Method::POST, &url(&edge), &infer("edge-a")).filter(|(status, _)| *status == 200)
    });
    assert_eq!(answer.1["model_version"], "v1");
    up.wait("the record", |up| (up.get("/models/churn")["records"]["records"] == json!(1)).then_some(()));
    let known = up.get("/gateways");
    assert_eq!((&known[0]["gateway"], &known[1]), (&json!("edge-1"), &Value::Null));
    // The record is there before the gateway has read that it is.
    let acknowledged = "steersman_gateway_captures_acknowledged_total 1\n";
    up.wait("the acknowledgement", |_| metrics(&edge).contains(acknowledged).then_some(()));
    // The platform is gone; its model server stays in this test, as one of another machine would.
    std::process::Command::new("kill").args(["-9", &up.child.id().to_string()]).status().unwrap();
    let alone = |edge: &Edge, id: &str| call(Method::POST, &url(edge), &infer(id)).map(|(status, _)| status);
    assert_eq!(alone(&edge, "edge-b"), Some(200));
    edge.end("-9");
    let edge = Edge::start(dir.path(), &up.page);
    assert_eq!(alone(&edge, "edge-c"), Some(200));
    assert!(metrics(&edge).contains("steersman_champion_requests_total{model=\"churn\"} 1\n"));
    edge.end("-TERM");
    drop(up);
    // Comes up again, so that the model server is found and ended.
    drop(Up::start(dir.path(), None));
}

#[test]
fn wrong_use_is_explained() {
    let refusal = |args: &[&str]| {
        let (code, _, err) = run(args);
        assert_eq!(code, 2, "{err}");
        err
    };
    assert!(refusal(&["gateway", "--server", "platform"]).contains("is not the address of a platform"));
    assert!(refusal(&["gateway", "--tls-cert", "x.pem"]).contains("--tls-key"));
    let missing = ["gateway", "--tls-cert", "x.pem", "--tls-key", "y.pem"];
    assert!(refusal(&missing).contains("cannot use the certificate in `x.pem`"));
    assert!(refusal(&["gateway", "--admin", "0.0.0.0:1"]).contains("nobody signs in there"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (dir, address) = (tempfile::tempdir().unwrap(), taken.local_addr().unwrap().to_string());
    let dir = dir.path().join("edge").display().to_string();
    let in_use = ["gateway", "--admin", "127.0.0.1:0", "--dir", &dir, "--listen", &address];
    assert!(refusal(&in_use).contains("choose another address with `--listen"));
}
