//! Under load: weights that change, a sink that is dead, the end.

use crate::{ask, config, gateway, model, route, scripted, until, upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use steersman_gateway::{Config, Gateway};
use tokio::io::AsyncWriteExt as _;

/// Asks without a pause until it is told to stop; returns how many answers there were. All must be good.
fn load(gateway: &Gateway, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<u64>> {
    (0..8)
        .map(|_| {
            let (gateway, stop) = (gateway.clone(), stop.clone());
            tokio::spawn(async move {
                let url = format!("http://{}/v2/models/m/infer", gateway.address());
                let (client, mut answers) = (reqwest::Client::new(), 0);
                while !stop.load(Ordering::SeqCst) {
                    let reply = client.post(&url).body("{\"inputs\": []}").send().await.unwrap();
                    assert_eq!(reply.status(), 200);
                    answers += 1;
                }
                answers
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_change_under_load_without_one_error_and_zero_holds_at_once() {
    let ((one, _), (two, seen)) = (upstream("v1").await, upstream("v2").await);
    let (gateway, mut captures) = gateway(config(), 10_000).await;
    gateway.install(&model(), route(&one, None));
    let read = Arc::new(AtomicU64::new(0));
    let counted = read.clone();
    tokio::spawn(async move {
        while captures.recv().await.is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&gateway, &stop);
    for turn in 0..40 {
        let weight = f64::from(turn % 5) / 4.0;
        gateway.install(&model(), route(&one, Some((&two, weight, turn % 2 == 0, None))));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.install(&model(), route(&one, Some((&two, 0.0, false, None))));
    // What was chosen before may still be on its way; from the next request on nobody is given to the candidate.
    let given = gateway.counters(&model()).candidate_requests;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(gateway.counters(&model()).candidate_requests <= given + 2);
    stop.store(true, Ordering::SeqCst);
    let mut answers = 0;
    for task in load {
        answers += task.await.unwrap();
    }
    let counters = gateway.counters(&model());
    assert_eq!((counters.failed_requests, counters.aborted_requests), (0, 0));
    assert_eq!(counters.champion_requests + counters.candidate_requests, answers);
    assert!(!seen.lock().unwrap().is_empty());
    let all = answers + counters.shadow_requests - counters.shed_captures;
    until("all captures", || read.load(Ordering::SeqCst) == all).await;
    assert_eq!(gateway.waiting_bytes(), 0);
}

#[tokio::test]
async fn a_dead_sink_takes_a_bounded_number_of_bytes() {
    let (one, _) = upstream("v1").await;
    let most = 1 << 20;
    let (gateway, captures) = gateway(Config { capture_memory: most, ..config() }, 10_000).await;
    gateway.install(&model(), route(&one, None));
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let (client, body) = (reqwest::Client::new(), "x".repeat(60_000));
    for _ in 0..100 {
        assert_eq!(client.post(&url).body(body.clone()).send().await.unwrap().status(), 200);
    }
    let counters = gateway.counters(&model());
    assert!(gateway.waiting_bytes() <= most && gateway.waiting_bytes() > most / 2);
    assert_eq!(gateway.captured() + counters.shed_captures, 100);
    assert!(counters.shed_captures > 80);
    drop(captures);
    assert_eq!(gateway.waiting_bytes(), 0);
}

#[tokio::test]
async fn what_is_under_way_ends_before_it_stops_and_balancers_are_told() {
    let slow = scripted(|mut stream| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    })
    .await;
    let (gateway, mut captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&slow, None));
    let ready = format!("http://{}/v2/health/ready", gateway.address());
    assert_eq!(reqwest::get(&ready).await.unwrap().status(), 200);
    gateway.drain();
    assert_eq!(reqwest::get(&ready).await.unwrap().status(), 503);
    let asked = {
        let gateway = gateway.clone();
        tokio::spawn(async move { ask(&gateway, "a").await.text().await.unwrap() })
    };
    until("the request", || gateway.health(&model())[0].in_flight == 1).await;
    gateway.shutdown(Duration::from_secs(10)).await;
    assert_eq!(asked.await.unwrap(), "done");
    assert!(reqwest::get(&ready).await.is_err());
    assert_eq!(captures.recv().await.unwrap().status, 200);
    assert!(captures.recv().await.is_none());
}
