//! Callers and servers that do what they should not: counted and named, and nobody else is the worse for it.

use crate::{
    answered_by, ask, config, faults, gateway, model, raw, route, scripted, until, upstream, writes,
};
use serde_json::Value;
use std::time::Duration;
use steersman_domain::ModelName;
use steersman_gateway::{BreakerState, ClientFault, Config, Fault, Gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Short patience, so that tests need not wait.
fn impatient() -> Config {
    let short = Duration::from_millis(200);
    Config { first_byte: short, idle: short, head: short, body: short, connect: short, ..config() }
}

fn caller_faults(gateway: &Gateway, fault: ClientFault) -> u64 {
    gateway.client_faults().into_iter().find(|(known, _)| *known == fault).unwrap().1
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v2/models/m/infer HTTP/1.1\r\n{headers}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let (one, seen) = upstream("v1").await;
    let (gateway, _captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&one, None));
    let refused = [
        post("Content-Length: 2\r\n", "{}"),
        post("Host: a\r\nHost: b\r\nContent-Length: 2\r\n", "{}"),
        post("Host: a, b\r\nContent-Length: 2\r\n", "{}"),
        post("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Host: a\r\nTransfer-Encoding: identity\r\n", "{}"),
        post("Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n", "{} "),
        post("Host: a\r\nContent-Length: +2\r\n", "{}"),
        post("Host: a\r\nContent-Length : 2\r\n", "{}"),
        post("Host: a\r\nX-Folded: one\r\n two\r\nContent-Length: 2\r\n", "{}"),
        post("Host: a\r\nX-Zero: \0\r\nContent-Length: 2\r\n", "{}"),
        b"POST /v2/models/m/infer HTTP/1.1 \r\nHost: a\r\n\r\n".to_vec(),
        b"GET /models/m/../secret HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /models/m/%2E%2e%2fsecret HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_vec(),
    ];
    let count = refused.len() as u64;
    for request in refused {
        let answer = raw(&gateway, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{:?} was answered {answer:?}",
            String::from_utf8_lossy(&request)
        );
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
    let named =
        || caller_faults(&gateway, ClientFault::Ambiguous) + caller_faults(&gateway, ClientFault::Malformed);
    until("the counts", || named() == count).await;
    // A length beside chunks is not passed on, and what follows is not taken for a request.
    let smuggled = "2\r\n{}\r\n0\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = post("Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", smuggled);
    let answer = raw(&gateway, &both).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), seen[0].1.as_str()), (1, "{}"));
    assert_eq!(seen[0].0.headers["content-length"], "2");
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_ends_and_is_named() {
    let (one, seen) = upstream("v1").await;
    let config = Config { max_request: 1_000, max_head: 4_096, ..impatient() };
    let (gateway, _captures) = gateway(config, 100).await;
    gateway.install(&model(), route(&one, None));
    let huge = post(&format!("Host: a\r\nX-Huge: {}\r\n", "x".repeat(70_000)), "");
    assert!(raw(&gateway, &huge).await.starts_with("HTTP/1.1 431 "));
    let long = post("Host: a\r\nContent-Length: 1001\r\n", "");
    assert!(raw(&gateway, &long).await.starts_with("HTTP/1.1 413 "));
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1_001));
    let chunked = post("Host: a\r\nTransfer-Encoding: chunked\r\n", &chunk);
    assert!(raw(&gateway, &chunked).await.starts_with("HTTP/1.1 413 "));
    raw(&gateway, b"POST /v2/mod").await;
    let slow = post("Host: a\r\nContent-Length: 10\r\n", "{");
    assert!(raw(&gateway, &slow).await.starts_with("HTTP/1.1 408 "));
    until("the names", || {
        caller_faults(&gateway, ClientFault::HeadTooLarge) == 1
            && caller_faults(&gateway, ClientFault::BodyTooLarge) == 2
            && caller_faults(&gateway, ClientFault::TooSlow) >= 2
    })
    .await;
    assert_eq!(seen.lock().unwrap().len(), 0);
    assert_eq!(answered_by(&gateway, "a").await, "v1");
}

#[tokio::test]
async fn servers_that_misbehave_are_named_and_other_models_do_not_notice() {
    let (good, _) = upstream("good").await;
    let hang = scripted(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let silent = scripted(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let cases = [
        (hang, Fault::FirstByteTimeout, 504),
        (writes(b"").await, Fault::ClosedEarly, 502),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Le").await, Fault::ClosedEarly, 502),
        (writes(b"220 mail.example.org ESMTP\r\n").await, Fault::Malformed, 502),
        (
            writes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd").await,
            Fault::Malformed,
            502,
        ),
        (
            writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await,
            Fault::Malformed,
            502,
        ),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await, Fault::CutShort, 200),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await, Fault::CutShort, 200),
        (
            writes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").await,
            Fault::CutShort,
            200,
        ),
        (silent, Fault::IdleTimeout, 200),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n").await, Fault::TooLarge, 502),
        ("http://127.0.0.1:1".to_owned(), Fault::Unreachable, 502),
        ("htp://x".to_owned(), Fault::BadAddress, 502),
    ];
    let (gateway, mut captures) = gateway(impatient(), 1_000).await;
    let other: ModelName = "other".parse().unwrap();
    gateway.install(&other, route(&good, None));
    let beside = {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let url = format!("http://{}/v2/models/other/infer", gateway.address());
            let (client, mut answered) = (reqwest::Client::new(), 0);
            while answered < 300 {
                assert_eq!(client.post(&url).body("{}").send().await.unwrap().status(), 200);
                answered += 1;
            }
        })
    };
    for (url, fault, status) in cases {
        gateway.install(&model(), route(&url, None));
        let url = format!("http://{}/v2/models/m/infer", gateway.address());
        // A part is never taken for the whole: where nothing is told the connection ends.
        match reqwest::Client::new().post(url).body("{}").send().await {
            Ok(reply) if reply.status() == 200 => assert!(reply.text().await.is_err(), "{fault:?}"),
            Ok(reply) => {
                // One that broke off before any of it was passed on is a problem.
                let status = if fault == Fault::CutShort { 502 } else { status };
                assert_eq!(reply.status(), status, "{fault:?}");
                assert!(reply.text().await.unwrap().contains("the server of v1: "), "{fault:?}");
            }
            Err(_) => assert_eq!(status, 200, "{fault:?}"),
        }
        until("the fault", || faults(&gateway, fault) == 1).await;
        let capture = loop {
            let capture = captures.recv().await.unwrap();
            if capture.model == model() {
                break capture;
            }
        };
        assert_eq!((capture.status, capture.fault), (0, Some(fault)));
    }
    beside.await.unwrap();
    assert_eq!(gateway.counters(&other).failed_requests, 0);
}

#[tokio::test]
async fn more_than_the_answer_that_was_told_does_not_become_the_next_answer() {
    let lying = scripted(|mut stream| async move {
        let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue{surplus}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.read(&mut [0; 4_096]).await;
    })
    .await;
    let (gateway, _captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&lying, None));
    for number in 0..5 {
        assert_eq!(ask(&gateway, &number.to_string()).await.text().await.unwrap(), "true");
    }
}

#[tokio::test]
async fn a_gigabyte_passes_through_and_a_limit_cuts_it() {
    let endless = scripted(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..1_024 {
            if stream.write_all(&chunk).await.is_err() {
                return;
            }
        }
    })
    .await;
    let (gateway, mut captures) = gateway(Config { max_response: 100 << 20, ..config() }, 100).await;
    gateway.install(&model(), route(&endless, None));
    let before = resident();
    let mut reply = ask(&gateway, "a").await;
    let mut read = 0;
    let cut = loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut && read <= 100 << 20, "{read} bytes were read");
    let capture = captures.recv().await.unwrap();
    assert_eq!((capture.fault, capture.response.bytes.len()), (Some(Fault::TooLarge), 0));
    assert!(capture.response.length > 100 << 20 && capture.response.digest.is_some());
    assert!(resident() < before + (48 << 20), "the answer was kept");
    // Nor is it when nobody reads it: the server waits.
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"GET /models/m/large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(resident() < before + (48 << 20), "the answer was kept for a caller who does not read");
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test]
async fn a_caller_who_goes_away_is_counted_once_and_is_nobodys_error() {
    let hang = scripted(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let _ = stream.read(&mut [0; 4_096]).await;
    })
    .await;
    let (gateway, mut captures) = gateway(config(), 100).await;
    let (one, _) = upstream("v1").await;
    gateway.install(&model(), route(&one, Some((&hang, 1.0, false, None))));
    for number in 0..10 {
        let mut reply = ask(&gateway, &number.to_string()).await;
        assert_eq!(reply.chunk().await.unwrap().unwrap(), "half");
        drop(reply);
        let capture = captures.recv().await.unwrap();
        assert_eq!((capture.status, capture.fault), (499, None));
    }
    let counters = gateway.counters(&model());
    assert_eq!((counters.aborted_requests, counters.failed_requests, counters.fallbacks), (10, 0, 0));
    assert_eq!(caller_faults(&gateway, ClientFault::Aborted), 10);
    assert_eq!(gateway.health(&model())[1].breaker, BreakerState::Closed);
}

#[tokio::test]
async fn a_candidate_that_keeps_failing_is_left_alone_and_the_champion_answers() {
    let (one, _) = upstream("v1").await;
    let broken = writes(b"oops").await;
    let (gateway, _captures) = gateway(config(), 1_000).await;
    gateway.install(&model(), route(&one, Some((&broken, 1.0, false, None))));
    let mut statuses = Vec::new();
    for number in 0..8 {
        statuses.push(ask(&gateway, &number.to_string()).await.status().as_u16());
    }
    assert_eq!(statuses, [502, 502, 502, 502, 502, 200, 200, 200]);
    let health = gateway.health(&model());
    assert_eq!((health[0].breaker, health[1].breaker), (BreakerState::Closed, BreakerState::Open));
    assert_eq!((health[1].faults[&Fault::Malformed], health[1].faults[&Fault::BreakerOpen]), (5, 3));
    assert_eq!(gateway.counters(&model()).fallbacks, 3);
    let mut text = String::new();
    gateway.write_metrics(&mut text);
    assert!(text.contains("steersman_breaker_state{model=\"m\",version=\"v2\"} 2\n"), "{text}");
    assert!(
        text.contains("steersman_upstream_faults_total{model=\"m\",version=\"v2\",fault=\"malformed\"} 5\n")
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_only_where_that_is_safe_and_on_the_same_arm() {
    // Answers the first request of a connection, and ends it at the second without a word.
    let fickle = scripted(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        let _ = stream.read(&mut [0; 4_096]).await;
    })
    .await;
    let (one, seen) = upstream("v1").await;
    let (gateway, _captures) = gateway(Config { threads: 1, ..config() }, 1_000).await;
    gateway.install(&model(), route(&one, Some((&fickle, 1.0, false, None))));
    for number in 0..4 {
        assert_eq!(ask(&gateway, &number.to_string()).await.status(), 200);
    }
    assert_eq!((gateway.counters(&model()).retries, seen.lock().unwrap().len()), (3, 0));
    let url = format!("http://{}/models/m/orders", gateway.address());
    let client = reqwest::Client::new();
    let statuses = [client.post(&url).body("1").send().await, client.post(&url).body("1").send().await];
    let statuses = statuses.map(|reply| reply.unwrap().status().as_u16());
    assert!(statuses.contains(&502), "{statuses:?}");
    assert_eq!((gateway.counters(&model()).retries, seen.lock().unwrap().len()), (3, 0));
}

#[tokio::test]
async fn requests_to_one_server_at_a_time_are_limited_and_others_pass() {
    let hang = scripted(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let (good, _) = upstream("good").await;
    let config = Config { max_in_flight: 5, first_byte: Duration::from_secs(2), ..config() };
    let (gateway, _captures) = gateway(config, 1_000).await;
    gateway.install(&model(), route(&hang, None));
    let other: ModelName = "other".parse().unwrap();
    gateway.install(&other, route(&good, None));
    let asked: Vec<_> = (0..20)
        .map(|number| {
            let gateway = gateway.clone();
            tokio::spawn(async move { ask(&gateway, &number.to_string()).await.status().as_u16() })
        })
        .collect();
    until("a full server", || faults(&gateway, Fault::Busy) == 15).await;
    let url = format!("http://{}/v2/models/other/infer", gateway.address());
    let reply: Value =
        reqwest::Client::new().post(url).body("{}").send().await.unwrap().json().await.unwrap();
    assert_eq!(reply["model_version"], "good");
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[14], statuses[15]), (503, 504));
}

#[tokio::test]
async fn a_full_house_takes_the_next_caller_when_one_leaves() {
    let (one, _) = upstream("v1").await;
    let (gateway, _captures) = gateway(Config { max_connections: 2, threads: 1, ..config() }, 100).await;
    gateway.install(&model(), route(&one, None));
    assert_eq!(answered_by(&gateway, "a").await, "v1");
    until("an empty house", || gateway.connections() == 0).await;
    let first = TcpStream::connect(gateway.address()).await.unwrap();
    let _second = TcpStream::connect(gateway.address()).await.unwrap();
    until("a full house", || gateway.connections() == 2).await;
    let third = tokio::spawn({
        let gateway = gateway.clone();
        async move { answered_by(&gateway, "b").await }
    });
    tokio::task::yield_now().await;
    drop(first);
    assert_eq!(third.await.unwrap(), "v1");
}
