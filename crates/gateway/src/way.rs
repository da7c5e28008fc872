//! The way of one request: what it asks for, who answers, what the caller is told.

use crate::answer::Answer;
use crate::attempt::{Failure, ask};
use crate::call::{Call, CallBody};
use crate::capture::Taken;
use crate::fault::ClientFault;
use crate::gateway::{Shared, Worker};
use crate::headers::{self, REQUEST_ID, check, ready_request, text};
use crate::mirror;
use crate::outgoing::{Intake, Outgoing, Progress, Reading, Upload, take_in};
use crate::protocol::{self, About, Asked, Protocol, Question, grpc};
use crate::route::{Repeatable, Target};
use crate::slot::{Slot, count};
use crate::split::{hash64, on_candidate};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use steersman_domain::ModelName;
use steersman_domain::fact::TripCause;
use steersman_domain::record::Arm;

type Reply = Response<Answer>;

/// Answers one request.
pub(crate) async fn handle(worker: Rc<Worker>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let closes = headers::ends_connection(&parts);
    let mut reply = answer(&worker, parts, body).await;
    if closes {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn answer(worker: &Rc<Worker>, parts: Parts, body: Incoming) -> Reply {
    if let Err(refusal) = check(&parts) {
        worker.shared.client_faults.count_client(refusal.fault);
        let mut reply = problem(Protocol::Http, refusal.status, refusal.detail);
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return reply;
    }
    let question = match protocol::asked(&parts) {
        Asked::Gateway(about) => return own(&worker.shared, about),
        Asked::Nothing(status, detail) => {
            let protocol = if speaks_grpc(&parts) { Protocol::Grpc } else { Protocol::Http };
            return problem(protocol, status, detail);
        }
        Asked::Model(question) => Asking::from(question),
    };
    match prepared(worker, &question, parts, body).await {
        Ok(Prepared { slot, call, choice, fresh }) => {
            let call = Rc::new(call);
            let mut reply = split(worker, &slot, &call, choice).await;
            if fresh && let Ok(id) = HeaderValue::from_str(&call.id) {
                reply.headers_mut().insert(REQUEST_ID, id);
            }
            reply
        }
        Err(reply) => *reply,
    }
}

/// A question to a model, kept apart from the head that asked it.
struct Asking {
    protocol: Protocol,
    predicts: bool,
    model: Option<String>,
    path: Option<String>,
}

impl From<Question<'_>> for Asking {
    fn from(question: Question<'_>) -> Self {
        let Question { protocol, predicts, model, path } = question;
        Self { protocol, predicts, model: model.map(str::to_owned), path: path.map(str::to_owned) }
    }
}

/// A request that is ready to be sent.
struct Prepared {
    slot: Arc<Slot>,
    call: Call,
    choice: Choice,
    /// Whether its id is the gateway's, so that the caller must be told.
    fresh: bool,
}

/// How a body is read: whole where it is small, or where only all of it says which model is asked.
fn reading(worker: &Worker, protocol: Protocol, predicts: bool) -> Reading {
    let config = &worker.shared.config;
    let keep = match protocol {
        Protocol::OpenAi => usize::try_from(config.max_request).unwrap_or(usize::MAX),
        _ => config.capture_limit,
    };
    // Of a call of one message the end is waited for, of a stream its first message.
    let first_message = protocol == Protocol::Grpc && !predicts;
    Reading { keep, most: config.max_request, patience: config.body, first_message }
}

/// Reads a body; a caller who goes away meanwhile is counted.
async fn read(worker: &Rc<Worker>, body: Incoming, reading: Reading) -> Result<Intake, ClientFault> {
    struct Waiting<'a>(&'a Shared, bool);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            if self.1 {
                self.0.client_faults.count_client(ClientFault::Aborted);
            }
        }
    }
    let mut waiting = Waiting(&worker.shared, true);
    let taken = take_in(body, reading).await;
    waiting.1 = false;
    taken.inspect_err(|fault| worker.shared.client_faults.count_client(*fault))
}

fn refused(protocol: Protocol, fault: ClientFault, most: u64) -> Reply {
    match fault {
        ClientFault::BodyTooLarge => {
            let detail = format!("the body is larger than {most} bytes");
            problem(protocol, StatusCode::PAYLOAD_TOO_LARGE, &detail)
        }
        ClientFault::TooSlow => {
            problem(protocol, StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
        }
        _ => problem(protocol, StatusCode::BAD_REQUEST, "the body did not come to its end"),
    }
}

fn find(shared: &Shared, protocol: Protocol, name: &str) -> Result<(ModelName, Arc<Slot>), Box<Reply>> {
    let routes = shared.routes.load();
    let parsed = name.parse::<ModelName>().ok();
    parsed.and_then(|name| routes.get(&name).cloned().map(|slot| (name, slot))).ok_or_else(|| {
        let known: Vec<&str> = routes.keys().map(ModelName::as_str).collect();
        let detail = match known.is_empty() {
            true => "no model is being served yet".to_owned(),
            false => format!("there is no model `{name}` here; served are: {}", known.join(", ")),
        };
        Box::new(problem(protocol, StatusCode::NOT_FOUND, &detail))
    })
}

/// A path below another, with the query.
fn below(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{slash}{path}{query}").parse().ok()
}

/// Finds the model, reads the body as far as need be, and chooses who answers.
async fn prepared(
    worker: &Rc<Worker>,
    question: &Asking,
    parts: Parts,
    body: Incoming,
) -> Result<Prepared, Box<Reply>> {
    let &Asking { protocol, predicts, .. } = question;
    let known = question.model.as_deref().map(|name| find(&worker.shared, protocol, name)).transpose()?;
    let reading = reading(worker, protocol, predicts);
    let intake = read(worker, body, reading).await;
    let intake = intake.map_err(|fault| Box::new(refused(protocol, fault, reading.most)))?;
    let told = match predicts || known.is_none() {
        true => protocol::told(protocol, intake.beginning(), &parts.headers),
        false => protocol::Told::default(),
    };
    let bad = |detail| Box::new(problem(protocol, StatusCode::BAD_REQUEST, detail));
    let (model, slot) = match (known, &told.model) {
        (Some(known), _) => known,
        (None, Some(name)) => find(&worker.shared, protocol, name)?,
        (None, None) => return Err(bad("the request names no model")),
    };
    let given = told.id.as_deref().or(text(&parts.headers, REQUEST_ID)).map(str::to_owned);
    let fresh = given.is_none() && predicts;
    let id = given.unwrap_or_else(|| worker.shared.fresh_id());
    let key = slot.sticky.as_ref().and_then(|by| by.value(&parts.headers)).unwrap_or(&id);
    let path = match &question.path {
        None => parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
        Some(path) => below(path, parts.uri.query()).ok_or_else(|| bad("the path is not one"))?,
    };
    let choice = match predicts {
        true => choose(worker, &slot, protocol, &parts, &intake, key),
        false => Choice::default(),
    };
    let unit = hash64("", key);
    let body = match intake {
        Intake::Whole(body) => CallBody::Whole(body),
        Intake::Flowing(beginning, rest) => {
            let progress = Rc::new(Progress {
                moved: Cell::new(Instant::now()),
                done: Cell::new(false),
                fault: Cell::new(None),
                taken: RefCell::new(Taken::new(worker.shared.config.capture_limit, false)),
            });
            let upload = Upload::new(beginning, rest, progress.clone(), reading);
            CallBody::Flowing { upload: RefCell::new(Some(Outgoing::Upload(Box::new(upload)))), progress }
        }
    };
    let repeatable = mirror::repeatable(slot.route.repeatable, protocol, &parts.method)
        && matches!(body, CallBody::Whole(_));
    let http2 = speaks_grpc(&parts);
    let mut headers = parts.headers;
    ready_request(&mut headers, parts.version);
    let method = parts.method;
    let reads = mirror::repeatable(Repeatable::Reads, protocol, &method);
    let recorded = predicts && !(protocol == Protocol::Http && reads);
    let call = Call {
        model,
        protocol,
        http2,
        predicts,
        recorded,
        repeatable,
        id,
        unit,
        method,
        path,
        headers,
        body,
    };
    Ok(Prepared { slot, call, choice, fresh })
}

fn speaks_grpc(parts: &Parts) -> bool {
    text(&parts.headers, header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/grpc"))
}

/// Who should answer, and with which probability that was the candidate.
#[derive(Debug, Clone, Copy, Default)]
struct Choice {
    candidate: bool,
    weight: f64,
}

/// Asks chance once, by a hash: the same caller is always on the same side.
fn choose(
    worker: &Worker,
    slot: &Slot,
    protocol: Protocol,
    parts: &Parts,
    intake: &Intake,
    key: &str,
) -> Choice {
    let Some(candidate) = &slot.route.candidate else { return Choice::default() };
    if worker.shared.judge_silent() {
        slot.trip(TripCause::DeadMan);
    }
    let member = slot.audience.as_ref().is_none_or(|audience| audience.include(&parts.headers));
    if !member || slot.exposure.tripped().is_some() {
        return Choice::default();
    }
    let weight = candidate.weight;
    if !on_candidate(&candidate.salt, key, weight) {
        return Choice { candidate: false, weight };
    }
    let limits = &candidate.segment_budgets;
    let segments = match limits.is_empty() {
        true => Vec::new(),
        false => protocol::segments(limits, protocol, intake.beginning(), &parts.headers),
    };
    if slot.exposure.expose(candidate.budget, limits, &segments) {
        return Choice { candidate: true, weight };
    }
    count(&slot.counts.budget_refusals);
    if let Some(memory) = &worker.shared.memory {
        // Perhaps only a reservation is missing.
        memory.poke();
    }
    Choice::default()
}

/// Has the chosen server answer. Where nothing was sent to the candidate the champion does; as chance did not choose it,
/// its weight is 0.
async fn split(worker: &Rc<Worker>, slot: &Arc<Slot>, call: &Rc<Call>, choice: Choice) -> Reply {
    let mut weight = choice.weight;
    if choice.candidate
        && let Some(candidate) = &slot.candidate
    {
        match ask(worker, slot, Arm::Candidate, weight, call).await {
            Ok(reply) => return reply,
            Err(Failure::Server(fault)) if fault.unreached() && call.untouched() => {
                count(&slot.counts.fallbacks);
                weight = 0.0;
            }
            Err(failure) => return failed(slot, call, &candidate.target, failure, worker),
        }
    }
    if call.predicts {
        count(&slot.counts.champion);
    }
    match ask(worker, slot, Arm::Champion, weight, call).await {
        Ok(reply) => {
            if call.predicts {
                mirror::copy(worker, slot, call);
            }
            reply
        }
        Err(failure) => failed(slot, call, &slot.champion.target, failure, worker),
    }
}

fn failed(slot: &Slot, call: &Call, target: &Target, failure: Failure, worker: &Worker) -> Reply {
    match failure {
        Failure::Client(fault) => refused(call.protocol, fault, worker.shared.config.max_request),
        Failure::Server(fault) => {
            count(&slot.counts.failed);
            let detail = format!("the server of {}: {}", target.version, fault.words());
            let mut reply = problem(call.protocol, fault.status(), &detail);
            if fault.own_decision() {
                reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            reply
        }
    }
}

/// What the gateway says about itself.
fn own(shared: &Shared, about: About) -> Reply {
    let ready = !shared.draining();
    match about {
        About::Metadata => {
            json(r#"{"name":"steersman","version":"2","extensions":["binary_tensor_data"]}"#.to_owned())
        }
        About::Live => json(r#"{"live":true}"#.to_owned()),
        About::Ready => {
            let mut reply = json(format!(r#"{{"ready":{ready}}}"#));
            if !ready {
                *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            reply
        }
        About::Models => {
            let models: Vec<_> = shared
                .routes
                .load()
                .keys()
                .map(|name| serde_json::json!({"id": name, "object": "model", "owned_by": "steersman"}))
                .collect();
            json(serde_json::json!({"object": "list", "data": models}).to_string())
        }
        About::Grpc(method) => {
            let mut reply = Response::new(Answer::Message(Some(grpc::answer(method, ready))));
            let kind = HeaderValue::from_static("application/grpc");
            reply.headers_mut().insert(header::CONTENT_TYPE, kind);
            reply
        }
    }
}

fn json(body: String) -> Reply {
    let mut reply = Response::new(Answer::from(Bytes::from(body)));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A problem, as the protocol has it; gRPC has its status in headers alone.
fn problem(protocol: Protocol, status: StatusCode, detail: &str) -> Reply {
    if protocol == Protocol::Grpc {
        let mut reply = Response::new(Answer::Whole(None));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(grpc::code(status)));
        if let Ok(detail) = HeaderValue::from_str(detail) {
            headers.insert("grpc-message", detail);
        }
        return reply;
    }
    let body = protocol::problem(protocol, status, detail).to_string();
    let mut reply = Response::new(Answer::from(Bytes::from(body)));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}
