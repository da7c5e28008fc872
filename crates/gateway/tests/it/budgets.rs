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
    let dir = std::env::temp_dir().join(format!("steersman-gateway-{}", std::process::id()));
    let config = || Config { memory: Some(dir.join("gateway.json")), ..config() };
    let reserved =
        || std::fs::read_to_string(dir.join("gateway.json")).unwrap_or_default().contains("\"requests\":8");
    let (first, _captures) = gateway(config(), 1_000).await;
    first.install(&model(), route(&one, Some((&two, 1.0, false, Some(64)))));
    until("the reservation", reserved).await;
    assert_eq!(answered_by(&first, "a").await, "v2");
    // It is killed: nothing of what it counted since then is written.
    std::mem::forget(first);
    let (second, _captures) = gateway(config(), 1_000).await;
    assert_eq!(second.route(&model()).unwrap().champion.url, one);
    for number in 0..200 {
        assert_eq!(ask(&second, &number.to_string()).await.status(), 200);
        if seen.lock().unwrap().len() < 57 {
            // Reservations follow.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    until("the trip", || second.counters(&model()).tripped == Some(TripCause::Budget)).await;
    assert!(seen.lock().unwrap().len() <= 57, "8 were reserved when it was killed, 56 are left");
    second.shutdown(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(dir).unwrap();
}
