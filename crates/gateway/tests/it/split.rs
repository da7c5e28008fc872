//! Who answers: weights, callers, copies, what is handed on.

use crate::{answered_by, ask, config, gateway, model, route, upstream};
use std::time::Duration;
use steersman_domain::ErrorKind;
use steersman_domain::fact::TripCause;
use steersman_domain::record::Arm;
use steersman_gateway::{Audience, Config, Gateway, Repeatable};
use tokio::sync::mpsc;

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
async fn copies_reach_the_candidate_without_credentials_and_never_the_caller() {
    let ((one, first), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, mut captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, Some((&two, 0.0, true, None))));
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let request =
        reqwest::Client::new().post(url).header("authorization", "Bearer x").header("cookie", "s=1");
    let reply = request.header("x-user", "ada").body(r#"{"id": "a"}"#).send().await.unwrap();
    assert!(reply.text().await.unwrap().contains("v1"));
    let mut arms = [captures.recv().await.unwrap(), captures.recv().await.unwrap()];
    arms.sort_by_key(|capture| capture.arm);
    assert_eq!((arms[0].arm, arms[1].arm), (Arm::Champion, Arm::Shadow));
    assert_eq!((arms[0].request_id.as_str(), arms[1].request_id.as_str()), ("a", "a"));
    let (seen, first) = (seen.lock().unwrap(), first.lock().unwrap());
    let (copy, original) = (&seen[0].0.headers, &first[0].0.headers);
    assert!(copy["x-shadow"] == "1" && copy["x-user"] == "ada");
    assert!(!copy.contains_key("authorization") && !copy.contains_key("cookie"));
    assert!(original.contains_key("authorization") && !original.contains_key("x-shadow"));
    assert!(original["via"] == "1.1 steersman" && !original.contains_key("x-hop"));
}

#[tokio::test]
async fn what_may_change_something_is_not_copied_unless_declared_safe() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, mut captures) = gateway(config(), 1_000).await;
    let mut both = route(&one, Some((&two, 0.0, true, None)));
    gateway.install(&model(), both.clone());
    let url = format!("http://{}/models/m/orders", gateway.address());
    let client = reqwest::Client::new();
    assert_eq!(client.post(&url).body("1").send().await.unwrap().status(), 200);
    assert_eq!(gateway.counters(&model()).skipped_mirrors, 1);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    both.repeatable = Repeatable::All;
    gateway.install(&model(), both);
    assert_eq!(client.post(&url).body("2").send().await.unwrap().status(), 200);
    for _ in 0..3 {
        captures.recv().await.unwrap();
    }
    let seen = seen.lock().unwrap();
    let copied: Vec<_> =
        seen.iter().map(|(head, body)| (head.method.as_str(), head.uri.path(), body.as_str())).collect();
    assert_eq!(copied, [("GET", "/orders", ""), ("POST", "/orders", "2")]);
}

#[tokio::test]
async fn only_the_audience_is_given_to_the_candidate() {
    let ((one, _), (two, _)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, mut captures) = gateway(config(), 1_000).await;
    let mut both = route(&one, Some((&two, 1.0, false, None)));
    both.candidate.as_mut().unwrap().audience =
        Some(Audience { by: "cookie:beta".to_owned(), values: vec!["yes".to_owned()] });
    gateway.install(&model(), both);
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let client = reqwest::Client::new();
    for (cookie, version, weight) in [("beta=yes", "v2", 1.0), ("beta=no", "v1", 0.0)] {
        let reply = client.post(&url).header("cookie", cookie).body("{}").send().await.unwrap();
        assert_eq!(reply.headers()["x-steersman-version"], version);
        assert_eq!(captures.recv().await.unwrap().weight, weight);
    }
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
