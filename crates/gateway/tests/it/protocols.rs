//! Each protocol through the gateway, and what is read in its captures.

use crate::{config, gateway, model, raw, route, scripted, upstream};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use steersman_domain::record::Arm;
use steersman_gateway::protocol::{Protocol, Said, read};
use steersman_gateway::{Fault, Repeatable, Route, Target};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn v2_with_binary_tensors_v1_and_any_path_reach_the_server_and_are_read() {
    let (one, seen) = upstream("v1").await;
    let (gateway, mut captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&one, None));
    let base = format!("http://{}", gateway.address());
    let client = reqwest::Client::new();
    let head = json!({"id": "b1", "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]})
    .to_string();
    let mut body = head.clone().into_bytes();
    body.extend([0, 0, 128, 63, 0, 0, 0, 64]);
    let request = client
        .post(format!("{base}/v2/models/m/infer"))
        .header("inference-header-content-length", head.len());
    assert_eq!(request.body(body.clone()).send().await.unwrap().status(), 200);
    let capture = captures.recv().await.unwrap();
    assert_eq!((capture.protocol, capture.request_id.as_str()), (Protocol::V2, "b1"));
    let Said::Tensors(asked, Some(answered)) = read(&capture).unwrap() else { panic!("no tensors") };
    assert_eq!(
        (json!(asked.inputs[0].data), answered.model_version.as_deref()),
        (json!([1.0, 2.0]), Some("v1"))
    );
    let v1 = client.post(format!("{base}/v1/models/m:predict")).body(r#"{"instances": [[1, 2]]}"#);
    assert_eq!(v1.send().await.unwrap().status(), 200);
    let capture = captures.recv().await.unwrap();
    assert_eq!(capture.protocol, Protocol::V1);
    assert!(read(&capture).unwrap_err().to_string().contains("predictions"), "the server does not speak V1");
    let any = client.put(format!("{base}/models/m/score/now?x=1")).body("a").send().await.unwrap();
    assert!(any.headers().contains_key("x-request-id"));
    assert_eq!(read(&captures.recv().await.unwrap()).unwrap(), Said::Opaque);
    let named =
        client.post(format!("{base}/whatever")).header("x-steersman-model", "m").send().await.unwrap();
    assert_eq!(named.status(), 200);
    let about = client.get(format!("{base}/v2/models/m/ready")).send().await.unwrap();
    assert_eq!(about.headers()["x-steersman-version"], "v1");
    let paths: Vec<String> = seen.lock().unwrap().iter().map(|(head, _)| head.uri.to_string()).collect();
    assert_eq!(
        paths,
        ["/v2/models/m/infer", "/v1/models/m:predict", "/score/now?x=1", "/whatever", "/v2/models/m/ready"]
    );
    let wrong: Value =
        client.post(format!("{base}/v2/models/n/infer")).send().await.unwrap().json().await.unwrap();
    assert_eq!(wrong["error"], "there is no model `n` here; served are: m");
}

#[tokio::test]
async fn large_bodies_stream_and_are_known_by_digest() {
    let (one, seen) = upstream("v1").await;
    let (gateway, mut captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&one, Some((&one, 0.0, true, None))));
    let body = "x".repeat(5 << 20);
    let url = format!("http://{}/v2/models/m/infer", gateway.address());
    let reply = reqwest::Client::new().post(url).body(body.clone()).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let capture = captures.recv().await.unwrap();
    assert_eq!((capture.request.length, capture.request.bytes.len()), (5 << 20, 0));
    assert_eq!(capture.request.digest, Some(steersman_domain::Digest::of(body.as_bytes())));
    assert!(read(&capture).unwrap_err().to_string().contains("5242880 bytes, more than are captured"));
    assert_eq!(seen.lock().unwrap()[0].1.len(), 5 << 20);
    assert_eq!(gateway.counters(&model()).skipped_mirrors, 1);
}

#[tokio::test]
async fn events_reach_the_caller_one_by_one_and_usage_is_captured() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let model_server = scripted(move |mut stream| {
        let mut wait = wait.clone();
        async move {
            let chunk = |event: &Value| {
                let text = format!("data: {event}\n\n");
                format!("{:x}\r\n{text}\r\n", text.len())
            };
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let first = chunk(&json!({"choices": [{"delta": {"content": "Hel"}}]}));
            stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            let second = chunk(&json!({"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]}));
            let usage = chunk(&json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}));
            stream.write_all(format!("{second}{usage}0\r\n\r\n").as_bytes()).await.unwrap();
        }
    })
    .await;
    let (gateway, mut captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&model_server, None));
    let url = format!("http://{}/v1/chat/completions", gateway.address());
    let asked = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Say hello"}]});
    let mut reply = reqwest::Client::new().post(&url).body(asked.to_string()).send().await.unwrap();
    // The first event is here while the server still holds the second back.
    let first = reply.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"data: ") && !first.ends_with(b"[DONE]"));
    go.send_replace(true);
    let mut rest = Vec::new();
    while let Some(chunk) = reply.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(rest).unwrap().contains("usage"));
    let capture = captures.recv().await.unwrap();
    let Said::Exchange(said) = read(&capture).unwrap() else { panic!("no exchange") };
    assert_eq!((said.prompt.as_deref(), said.completion.as_deref()), (Some("Say hello"), Some("Hello")));
    assert_eq!((said.prompt_tokens, said.completion_tokens, said.streamed), (Some(5), Some(2), true));
    assert!(capture.first_byte.unwrap() <= capture.latency);
    let nameless = reqwest::Client::new().post(&url).body("{}").send().await.unwrap();
    let error: Value = nameless.json().await.unwrap();
    assert_eq!(error["error"]["type"], "invalid_request_error");
}

/// A gRPC server that answers `ModelInfer` with what it was sent, and its name as version.
async fn grpc_server(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service =
                hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.headers()["te"], "trailers");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    // The answer has the request's name, an output `y` of one BYTES element.
                    let output = b"\x2a\x12\x0a\x01y\x12\x05BYTES\x1a\x01\x01\x2a\x03\x42\x01z";
                    let mut message = b"\x0a\x01m\x12\x02v7".to_vec();
                    message.extend_from_slice(output);
                    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
                    frame.extend(message);
                    assert!(!body.is_empty());
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", status.parse().unwrap());
                    let frames =
                        [Ok::<_, Infallible>(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
                    let body = StreamBody::new(futures::stream::iter(frames));
                    let response =
                        Response::builder().header("content-type", "application/grpc").body(body).unwrap();
                    Ok::<_, Infallible>(response)
                });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

#[tokio::test]
async fn grpc_passes_through_with_split_mirror_and_tensors() {
    let (one, two) = (grpc_server("0").await, grpc_server("14").await);
    let (gateway, mut captures) = gateway(config(), 100).await;
    let mut both = route("http://127.0.0.1:1", Some(("http://127.0.0.1:1", 0.0, true, None)));
    both.champion.grpc = Some(one.clone());
    both.candidate.as_mut().unwrap().target.grpc = Some(two);
    gateway.install(&model(), both.clone());
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut call = async |method: &str, message: &[u8]| {
        let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        frame.extend_from_slice(message);
        let uri = format!("http://a/inference.GRPCInferenceService/{method}");
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let reply = sender.send_request(request.body(Full::new(Bytes::from(frame))).unwrap()).await.unwrap();
        let (head, body) = reply.into_parts();
        let collected = body.collect().await.unwrap();
        let status = head.headers.get("grpc-status").cloned();
        let status = status.or_else(|| collected.trailers()?.get("grpc-status").cloned()).unwrap();
        (status.to_str().unwrap().to_owned(), collected.to_bytes())
    };
    assert_eq!(call("ServerReady", b"").await, ("0".to_owned(), Bytes::from_static(b"\0\0\0\0\x02\x08\x01")));
    // model_name m, id r1, an input x of one FP64 element, raw.
    let infer = b"\x0a\x01m\x1a\x02r1\x2a\x0c\x0a\x01x\x12\x04FP64\x1a\x01\x01\x3a\x08\0\0\0\0\0\0\x04\x40";
    let (status, message) = call("ModelInfer", infer).await;
    assert!(status == "0" && message.windows(2).any(|bytes| bytes == b"v7"));
    let mut arms = [captures.recv().await.unwrap(), captures.recv().await.unwrap()];
    arms.sort_by_key(|capture| capture.arm);
    assert_eq!(
        (arms[0].arm, arms[0].status, arms[1].arm, arms[1].status),
        (Arm::Champion, 200, Arm::Shadow, 503)
    );
    let Said::Tensors(asked, Some(answered)) = read(&arms[0]).unwrap() else { panic!("no tensors") };
    assert_eq!((asked.id.as_deref(), json!(asked.rows().unwrap())), (Some("r1"), json!([{"x": 2.5}])));
    assert_eq!(
        (answered.model_version.as_deref(), json!(answered.rows().unwrap())),
        (Some("v7"), json!([{"y": "z"}]))
    );
    // The candidate's share; it says that it is not available.
    both.candidate.as_mut().unwrap().weight = 1.0;
    gateway.install(&model(), both.clone());
    assert_eq!(call("ModelInfer", infer).await.0, "14");
    assert_eq!(captures.recv().await.unwrap().status, 503);
    // A question about the model is the champion's.
    assert_eq!(call("ModelReady", b"\x0a\x01m").await.0, "0");
    assert_eq!(call("ModelInfer", b"\x0a\x01n").await.0, "5");
    // A server that is not there.
    gateway.install(
        &model(),
        Route {
            candidate: None,
            champion: Target::new(both.champion.version, "http://127.0.0.1:1"),
            sticky: None,
            repeatable: Repeatable::default(),
        },
    );
    assert_eq!(call("ModelInfer", infer).await.0, "14");
    assert_eq!(captures.recv().await.unwrap().fault, Some(Fault::Unreachable));
}

#[tokio::test]
async fn http1_keeps_its_connection_and_pipelined_requests_are_answered_in_order() {
    let (one, seen) = upstream("v1").await;
    let (gateway, _captures) = gateway(config(), 100).await;
    gateway.install(&model(), route(&one, None));
    let one = |id: &str, more: &str| {
        let body = format!("{{\"id\": \"{id}\"}}");
        format!(
            "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let both = one("a", "") + &one("b", "Connection: close\r\n");
    let answer = tokio::time::timeout(Duration::from_secs(10), raw(&gateway, both.as_bytes())).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    let bodies: Vec<String> = seen.lock().unwrap().iter().map(|(_, body)| body.clone()).collect();
    assert_eq!(bodies, ["{\"id\": \"a\"}", "{\"id\": \"b\"}"]);
}
