//! The gateway in front of real servers, good ones and bad ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod budgets;
mod live;
mod misbehaviour;
mod protocols;
mod split;
mod tls;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steersman_domain::{ModelName, Version};
use steersman_gateway::{CandidateRoute, Capture, Config, Fault, Gateway, Repeatable, Route, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Heads and bodies that a server saw.
type Seen = Arc<Mutex<Vec<(hyper::http::request::Parts, String)>>>;

/// A model server that answers with its name and remembers what it saw.
async fn upstream(name: &'static str) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let shared = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = shared.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let seen = seen.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    seen.lock().unwrap().push((parts, String::from_utf8_lossy(&body).into_owned()));
                    let answer = json!({"model_name": "m", "model_version": name, "outputs": []}).to_string();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, seen)
}

/// A server that does to each connection what it is told to, after the first bytes of a request have come.
async fn scripted<F>(script: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 16 << 10]).await;
            tokio::spawn(script(stream));
        }
    });
    url
}

/// A server that writes these bytes and closes.
async fn writes(bytes: &'static [u8]) -> String {
    scripted(move |mut stream| async move {
        let _ = stream.write_all(bytes).await;
    })
    .await
}

fn model() -> ModelName {
    "m".parse().unwrap()
}

fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 2, ..Config::default() }
}

async fn gateway(config: Config, queue: usize) -> (Gateway, mpsc::Receiver<Capture>) {
    let (sender, captures) = mpsc::channel(queue);
    (Gateway::start(config, sender).await.unwrap(), captures)
}

fn route(champion: &str, candidate: Option<(&str, f64, bool, Option<u64>)>) -> Route {
    let candidate = candidate.map(|(url, weight, mirror, budget)| CandidateRoute {
        target: Target::new(Version(2), url),
        weight,
        mirror,
        budget,
        salt: "rol-1".to_owned(),
        audience: None,
        segment_budgets: Vec::new(),
    });
    Route {
        champion: Target::new(Version(1), champion),
        candidate,
        sticky: Some("x-user".to_owned()),
        repeatable: Repeatable::default(),
    }
}

async fn ask(gateway: &Gateway, id: &str) -> reqwest::Response {
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let body = json!({"id": id, "inputs": []}).to_string();
    reqwest::Client::new()
        .post(url)
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn answered_by(gateway: &Gateway, id: &str) -> String {
    ask(gateway, id).await.json::<Value>().await.unwrap()["model_version"].as_str().unwrap().to_owned()
}

/// Sends bytes as they are, and reads what comes back until the end.
async fn raw(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// How often something went wrong at the champion's server.
fn faults(gateway: &Gateway, fault: Fault) -> u64 {
    gateway.health(&model())[0].faults.get(&fault).copied().unwrap_or(0)
}

/// Waits until something is so.
async fn until(what: &str, check: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} did not come");
}
