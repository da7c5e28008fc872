//! Budgets that no request passes, whatever else goes on.

use crate::{answered_by, ask, config, gateway, model, route, until, upstream};
use serde_json::json;
use std::time::Duration;
use steersman_domain::fact::TripCause;
use steersman_gateway::{Config, SegmentBudget};

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
async fn a_segments_budget_holds_beside_the_whole_one() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, _captures) = gateway(config(), 1_000).await;
    let mut both = route(&one, Some((&two, 1.0, false, Some(100))));
    both.candidate.as_mut().unwrap().segment_budgets =
        vec![SegmentBudget { column: "region".to_owned(), requests: 2 }];
    gateway.install(&model(), both);
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let client = reqwest::Client::new();
    let of = |regions: &[&str]| {
        let shape = [regions.len()];
        json!({"inputs": [{"name": "region", "shape": shape, "datatype": "BYTES", "data": regions}]})
            .to_string()
    };
    let mut versions = Vec::new();
    for body in [of(&["eu"]), of(&["eu", "us"]), of(&["us", "eu"]), of(&["us"]), of(&["us"]), "{}".to_owned()]
    {
        let reply = client.post(&url).body(body).send().await.unwrap();
        versions.push(reply.headers()["x-steersman-version"].to_str().unwrap().to_owned());
    }
    assert_eq!(versions, ["v2", "v2", "v1", "v2", "v1", "v1"]);
    assert_eq!(seen.lock().unwrap().len(), 3);
    let counters = gateway.counters(&model());
    assert_eq!((counters.budget_refusals, counters.tripped), (3, None));
}

#[tokio::test]
async fn after_a_restart_it_serves_the_last_routes_within_what_is_left_of_the_budget() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let config = |name: &str| Config { memory: Some(file(name)), ..config() };
    let written = || std::fs::read_to_string(file("first")).unwrap_or_default();
    let (first, _captures) = gateway(config("first"), 1_000).await;
    first.install(&model(), route(&one, Some((&two, 1.0, false, Some(64)))));
    until("the reservation", || written().contains("\"requests\":8")).await;
    // It may be used a moment after it was written.
    while answered_by(&first, "a").await != "v2" {}
    // What a process finds that comes after one that was killed.
    std::fs::copy(file("first"), file("second")).unwrap();
    let (second, _captures) = gateway(config("second"), 1_000).await;
    assert_eq!(second.route(&model()).unwrap().champion.url, one);
    for number in 0..5_000 {
        assert_eq!(ask(&second, &number.to_string()).await.status(), 200);
        if second.counters(&model()).tripped == Some(TripCause::Budget) {
            break;
        }
    }
    assert_eq!(second.counters(&model()).tripped, Some(TripCause::Budget));
    assert_eq!(seen.lock().unwrap().len(), 57, "8 were reserved when it was killed, 56 are left");
    // One that ends in peace gives back what it did not use.
    first.shutdown(Duration::from_secs(5)).await;
    assert!(written().contains("\"requests\":1,"), "{}", written());
}
