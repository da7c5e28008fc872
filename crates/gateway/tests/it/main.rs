//! The gateway in front of real HTTP servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steersman_domain::fact::TripCause;
use steersman_domain::record::Arm;
use steersman_domain::{ErrorKind, ModelName, Version};
use steersman_gateway::{CandidateRoute, Capture, Config, Gateway, Route, Target};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

type Seen = Arc<Mutex<Vec<(String, bool)>>>;

/// A model server that answers with its name and remembers what it saw: body, and whether it was a copy.
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
                    let shadow = request.headers().contains_key("x-shadow");
                    assert!(!request.headers().contains_key("x-hop"));
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    seen.lock().unwrap().push((String::from_utf8_lossy(&body).into_owned(), shadow));
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

fn model() -> ModelName {
    "m".parse().unwrap()
}

fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

async fn gateway(config: Config, queue: usize) -> (Gateway, mpsc::Receiver<Capture>) {
    let (sender, captures) = mpsc::channel(queue);
    (Gateway::start(config, sender).await.unwrap(), captures)
}

fn route(champion: &str, candidate: Option<(&str, f64, bool, Option<u64>)>) -> Route {
    let candidate = candidate.map(|(url, weight, mirror, budget)| CandidateRoute {
        target: Target { version: Version(2), url: url.to_owned() },
        weight,
        mirror,
        budget,
        salt: "rol-1".to_owned(),
    });
    Route {
        champion: Target { version: Version(1), url: champion.to_owned() },
        candidate,
        sticky: Some("x-user".to_owned()),
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

#[tokio::test]
async fn a_weight_change_holds_from_the_next_request_on_and_a_caller_stays() {
    let ((one, _), (two, _)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, _captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, None));
    assert_eq!(answered_by(&gateway, "a").await, "v1");
    gateway.install(&model(), route(&one, Some((&two, 1.0, false, None))));
    assert_eq!(answered_by(&gateway, "a").await, "v2");
    gateway.install(&model(), route(&one, Some((&two, 0.0, false, None))));
    assert_eq!(answered_by(&gateway, "a").await, "v1");
    gateway.install(&model(), route(&one, Some((&two, 0.5, false, None))));
    let client = reqwest::Client::new();
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let mut versions = std::collections::HashSet::new();
    for _ in 0..10 {
        let response = client.post(&url).header("x-user", "ada").body("{}").send().await.unwrap();
        assert!(response.headers().contains_key("x-request-id"));
        versions.insert(response.headers()["x-steersman-version"].to_str().unwrap().to_owned());
    }
    assert_eq!(versions.len(), 1);
}

#[tokio::test]
async fn the_budget_is_exact_under_concurrency() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, _captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, Some((&two, 1.0, false, Some(7)))));
    let requests: Vec<_> = (0..100)
        .map(|number| {
            let gateway = gateway.clone();
            tokio::spawn(async move { ask(&gateway, &number.to_string()).await.status().as_u16() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(seen.lock().unwrap().len(), 7);
    let counters = gateway.counters(&model());
    assert_eq!((counters.candidate_requests, counters.champion_requests), (7, 93));
    assert_eq!(counters.tripped, Some(TripCause::Budget));
}

#[tokio::test]
async fn copies_reach_the_candidate_and_never_the_caller() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, mut captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, Some((&two, 0.0, true, None))));
    assert_eq!(answered_by(&gateway, "a").await, "v1");
    let mut arms = [captures.recv().await.unwrap(), captures.recv().await.unwrap()];
    arms.sort_by_key(|capture| capture.arm);
    assert_eq!((arms[0].arm, arms[1].arm), (Arm::Champion, Arm::Shadow));
    assert_eq!((arms[0].request_id.as_str(), arms[1].request_id.as_str()), ("a", "a"));
    assert!(seen.lock().unwrap()[0].1);
}

#[tokio::test]
async fn a_silent_judge_takes_the_candidates_traffic_away_until_the_next_rollout() {
    let ((one, _), (two, _)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, _captures) =
        gateway(Config { dead_man: Duration::from_millis(50), ..config() }, 1_000).await;
    gateway.install(&model(), route(&one, Some((&two, 1.0, true, None))));
    gateway.heartbeat();
    assert_eq!(answered_by(&gateway, "a").await, "v2");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(answered_by(&gateway, "b").await, "v1");
    gateway.heartbeat();
    assert_eq!(answered_by(&gateway, "c").await, "v1");
    assert_eq!(gateway.counters(&model()).tripped, Some(TripCause::DeadMan));
    let mut next = route(&one, Some((&two, 1.0, false, None)));
    next.candidate.as_mut().unwrap().salt = "rol-2".to_owned();
    gateway.install(&model(), next);
    assert_eq!(answered_by(&gateway, "d").await, "v2");
}

#[tokio::test]
async fn an_unreachable_candidate_is_answered_for_by_the_champion() {
    let (one, _) = upstream("v1").await;
    let (gateway, mut captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, Some(("http://127.0.0.1:1", 1.0, false, None))));
    assert_eq!(answered_by(&gateway, "a").await, "v1");
    let (first, second) = (captures.recv().await.unwrap(), captures.recv().await.unwrap());
    assert_eq!((first.arm, first.status, first.weight), (Arm::Candidate, 0, 1.0));
    assert_eq!((second.arm, second.status, second.weight), (Arm::Champion, 200, 0.0));
    gateway.install(&model(), route("http://127.0.0.1:1", None));
    let refused = ask(&gateway, "b").await;
    assert_eq!(refused.status(), 502);
    assert!(refused.text().await.unwrap().contains("the server of v1: cannot be reached"));
}

#[tokio::test]
async fn a_full_queue_sheds_captures_and_counts_them() {
    let (one, _) = upstream("v1").await;
    let (gateway, captures) = gateway(config(), 1).await;
    gateway.install(&model(), route(&one, None));
    for number in 0..4 {
        assert_eq!(ask(&gateway, &number.to_string()).await.status(), 200);
    }
    assert_eq!(gateway.counters(&model()).shed_captures, 3);
    drop(captures);
}

#[tokio::test]
async fn bad_requests_and_a_port_in_use_are_explained() {
    let (one, _) = upstream("v1").await;
    let (gateway, mut captures) = gateway(Config { max_request: 100, ..config() }, 10).await;
    let client = reqwest::Client::new();
    let unknown = ask(&gateway, "a").await;
    assert_eq!(
        (unknown.status().as_u16(), unknown.headers()["content-type"].to_str().unwrap()),
        (404, "application/problem+json")
    );
    assert!(unknown.text().await.unwrap().contains("no model is being served yet"));
    gateway.install(&model(), route(&one, None));
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    assert_eq!(client.post(&url).body("x".repeat(101)).send().await.unwrap().status(), 413);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
    let in_use = Config { listen: gateway.address(), ..config() };
    let problem = Gateway::start(in_use, mpsc::channel(1).0).await.unwrap_err();
    assert_eq!(problem.kind, ErrorKind::Conflict);
    gateway.shutdown(Duration::from_secs(5)).await;
    assert!(captures.recv().await.is_none());
}
