//! The way of one request: who answers, what is passed on, what is recorded.

use crate::body::{BodyFailure, collect, problem, strip};
use crate::route::{Slot, Target};
use crate::split::{hash64, on_candidate};
use crate::{Capture, Shared};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use steersman_domain::ModelName;
use steersman_domain::fact::TripCause;
use steersman_domain::record::Arm;

type Answer = Response<Full<Bytes>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SHADOW: HeaderName = HeaderName::from_static("x-shadow");
const VERSION: HeaderName = HeaderName::from_static("x-steersman-version");

/// Answers one request.
pub(crate) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        ["v2"] => json(r#"{"name":"steersman","version":"2","extensions":[]}"#.to_owned()),
        ["v2", "health", "live" | "ready"] => json("{}".to_owned()),
        ["v2", "models", _, "versions", ..] => problem(
            StatusCode::NOT_FOUND,
            "the gateway chooses the version: leave `/versions/...` out of the path",
        ),
        ["v2", "models", model] | ["v2", "models", model, "ready"] if parts.method == Method::GET => {
            match find(&shared, model) {
                Ok((_, slot)) => pass_on(&shared, &slot, &parts, body).await,
                Err(answer) => answer,
            }
        }
        ["v2", "models", model, "infer"] if parts.method == Method::POST => match find(&shared, model) {
            Ok((model, slot)) => infer(&shared, model, &slot, parts, body).await,
            Err(answer) => answer,
        },
        ["v2", "models", _, "infer"] => problem(StatusCode::METHOD_NOT_ALLOWED, "send a POST"),
        _ => problem(StatusCode::NOT_FOUND, "requests go to /v2/models/{model}/infer"),
    }
}

fn json(body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[expect(clippy::result_large_err, reason = "the error is the answer itself")]
fn find(shared: &Shared, model: &str) -> Result<(ModelName, Arc<Slot>), Answer> {
    let routes = shared.routes.load();
    let found =
        model.parse::<ModelName>().ok().and_then(|name| Some((name.clone(), routes.get(&name)?.clone())));
    found.ok_or_else(|| {
        let known: Vec<&str> = routes.keys().map(ModelName::as_str).collect();
        let detail = match known.is_empty() {
            true => "no model is being served yet".to_owned(),
            false => format!("there is no model `{model}` here; served are: {}", known.join(", ")),
        };
        problem(StatusCode::NOT_FOUND, &detail)
    })
}

/// A question about the model, not a prediction: the champion answers, nothing is recorded.
async fn pass_on(shared: &Shared, slot: &Slot, parts: &Parts, body: Incoming) -> Answer {
    let body = match taken_in(shared, body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    match call(shared, &slot.route.champion, parts, &body, false).await {
        Ok(reply) => reply.into_answer(&slot.route.champion),
        Err(failure) => failure.into_answer(&slot.route.champion),
    }
}

async fn taken_in(shared: &Shared, body: Incoming) -> Result<Bytes, Answer> {
    let limit = shared.config.max_request;
    match collect(body, limit).await {
        Ok(body) => Ok(body),
        Err(BodyFailure::TooLarge) => {
            let detail = format!("the body is larger than {limit} bytes");
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &detail))
        }
        Err(BodyFailure::Broken(error)) => Err(problem(StatusCode::BAD_REQUEST, &error)),
    }
}

/// The only part of a request that the gateway reads.
#[derive(Deserialize)]
struct WithId<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// What is known of a request before it is passed on.
struct Call {
    model: ModelName,
    id: String,
    unit: u64,
    body: Bytes,
}

async fn infer(
    shared: &Arc<Shared>,
    model: ModelName,
    slot: &Arc<Slot>,
    parts: Parts,
    body: Incoming,
) -> Answer {
    let body = match taken_in(shared, body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let in_body = serde_json::from_slice::<WithId<'_>>(&body).ok().and_then(|body| body.id);
    let in_header = parts.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = in_body.map(Cow::into_owned).or_else(|| in_header.map(str::to_owned));
    let id = given.clone().unwrap_or_else(|| shared.fresh_id());
    let sticky = slot.route.sticky.as_ref().and_then(|name| parts.headers.get(name.as_str()));
    let key = sticky.and_then(|value| value.to_str().ok()).map_or_else(|| id.clone(), str::to_owned);
    let call = Call { model, unit: hash64("", &key), id, body };
    let mut answer = split(shared, slot, &parts, &call, &key).await;
    if given.is_none()
        && let Ok(value) = HeaderValue::from_str(&call.id)
    {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

async fn split(shared: &Arc<Shared>, slot: &Arc<Slot>, parts: &Parts, call: &Call, key: &str) -> Answer {
    let champion = &slot.route.champion;
    let mut weight = 0.0;
    if let Some(candidate) = &slot.route.candidate {
        if shared.judge_silent() {
            slot.trip(TripCause::DeadMan);
        }
        let tripped = slot.tripped().is_some();
        weight = if tripped { 0.0 } else { candidate.weight };
        if on_candidate(&candidate.salt, key, weight) {
            if slot.expose(candidate.budget) {
                let target = &candidate.target;
                match ask(shared, slot, target, Arm::Candidate, weight, parts, call).await {
                    Ok(reply) => return reply.into_answer(target),
                    // Nothing was sent: asking the champion is safe. Chance did not choose it, so its weight is 0.
                    Err(failure) if failure.unreached => {
                        slot.fallbacks.fetch_add(1, Ordering::Relaxed);
                        weight = 0.0;
                    }
                    Err(failure) => {
                        slot.failed.fetch_add(1, Ordering::Relaxed);
                        return failure.into_answer(target);
                    }
                }
            } else {
                weight = 0.0;
            }
        }
    }
    slot.champion_requests.fetch_add(1, Ordering::Relaxed);
    match ask(shared, slot, champion, Arm::Champion, weight, parts, call).await {
        Ok(reply) => {
            mirror(shared, slot, parts, call);
            reply.into_answer(champion)
        }
        Err(failure) => {
            slot.failed.fetch_add(1, Ordering::Relaxed);
            failure.into_answer(champion)
        }
    }
}

/// Has the candidate answer a copy, beside the request; too many at a time are shed.
fn mirror(shared: &Arc<Shared>, slot: &Arc<Slot>, parts: &Parts, call: &Call) {
    let Some(candidate) = slot.route.candidate.as_ref().filter(|candidate| candidate.mirror) else { return };
    if slot.tripped().is_some() {
        return;
    }
    let Ok(seat) = shared.mirrors.clone().try_acquire_owned() else {
        slot.shed_mirrors.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let (shared, slot, target) = (shared.clone(), slot.clone(), candidate.target.clone());
    let mut parts = parts.clone();
    parts.headers.insert(SHADOW, HeaderValue::from_static("1"));
    let call =
        Call { model: call.model.clone(), id: call.id.clone(), unit: call.unit, body: call.body.clone() };
    tokio::spawn(async move {
        slot.exposure.shadow.fetch_add(1, Ordering::Relaxed);
        let _ = ask(&shared, &slot, &target, Arm::Shadow, 0.0, &parts, &call).await;
        drop(seat);
    });
}

/// An upstream's answer.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn into_answer(self, target: &Target) -> Answer {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Ok(version) = HeaderValue::from_str(&target.version.to_string()) {
            response.headers_mut().insert(VERSION, version);
        }
        response
    }
}

/// Why there is no answer.
struct Failure {
    status: StatusCode,
    detail: String,
    /// The upstream never saw the request.
    unreached: bool,
}

impl Failure {
    fn into_answer(self, target: &Target) -> Answer {
        problem(self.status, &format!("the server of {}: {}", target.version, self.detail))
    }
}

/// Asks an upstream and records what came of it.
async fn ask(
    shared: &Shared,
    slot: &Slot,
    target: &Target,
    arm: Arm,
    weight: f64,
    parts: &Parts,
    call: &Call,
) -> Result<Reply, Failure> {
    let started = Instant::now();
    let outcome = self::call(shared, target, parts, &call.body, true).await;
    let latency = started.elapsed();
    let (status, response) = match &outcome {
        Ok(reply) => (reply.status.as_u16(), reply.body.clone()),
        Err(_) => (0, Bytes::new()),
    };
    record(shared, slot, target, arm, weight, call, latency, status, response);
    outcome
}

#[expect(clippy::too_many_arguments, reason = "the fields of a capture, once")]
fn record(
    shared: &Shared,
    slot: &Slot,
    target: &Target,
    arm: Arm,
    weight: f64,
    call: &Call,
    latency: Duration,
    status: u16,
    response: Bytes,
) {
    let limit = shared.config.capture_limit;
    let truncated = call.body.len() > limit || response.len() > limit;
    let kept = |body: &Bytes| if truncated { Bytes::new() } else { body.clone() };
    let capture = Capture {
        model: call.model.clone(),
        arm,
        version: target.version,
        weight,
        unit: call.unit,
        request_id: call.id.clone(),
        latency,
        status,
        request: kept(&call.body),
        response: kept(&response),
        truncated,
    };
    shared.capture(slot, capture);
}

async fn call(
    shared: &Shared,
    target: &Target,
    parts: &Parts,
    body: &Bytes,
    post: bool,
) -> Result<Reply, Failure> {
    let failed = |status: StatusCode, detail: String, unreached: bool| Failure { status, detail, unreached };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("{}{path}", target.url)
        .parse()
        .map_err(|error| failed(StatusCode::BAD_GATEWAY, format!("its address is wrong: {error}"), true))?;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = if post { Method::POST } else { parts.method.clone() };
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    strip(request.headers_mut());
    request.headers_mut().remove(header::HOST);
    let work = async {
        let response = shared.client.request(request).await.map_err(|error| {
            let unreached = error.is_connect();
            let words = if unreached { "cannot be reached" } else { "ended the connection" };
            failed(StatusCode::BAD_GATEWAY, words.to_owned(), unreached)
        })?;
        let (mut head, incoming) = response.into_parts();
        let body = collect(incoming, shared.config.max_response).await.map_err(|failure| match failure {
            BodyFailure::TooLarge => {
                failed(StatusCode::BAD_GATEWAY, "its answer is too large".to_owned(), false)
            }
            BodyFailure::Broken(error) => {
                failed(StatusCode::BAD_GATEWAY, format!("its answer broke off: {error}"), false)
            }
        })?;
        strip(&mut head.headers);
        Ok(Reply { status: head.status, headers: head.headers, body })
    };
    match tokio::time::timeout(shared.config.timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failed(
            StatusCode::GATEWAY_TIMEOUT,
            format!("no answer in {:?}", shared.config.timeout),
            false,
        )),
    }
}
