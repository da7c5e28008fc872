//! The line to the control plane: orders as soon as there are new ones, captures until they are durable there.

use super::wire::{CAPTURES, Orders, Report, encode};
use crate::capture::Capture;
use crate::gateway::Gateway;
use crate::lane::{Lane, poll_body};
use crate::outgoing::Outgoing;
use crate::tls::ClientTls;
use crate::upstream::Origin;
use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use steersman_domain::{ErrorKind, Problem};
use tokio::sync::mpsc::Receiver;

/// How long an answer may take: the control plane waits for news for a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after something went wrong, and the longest one.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many calls go in one batch, and about so many bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// More of an answer is not read.
const LARGEST_ANSWER: usize = 16 << 20;

/// The line of one gateway to its control plane.
pub struct Link {
    name: String,
    servers: Vec<Origin>,
    tls: ClientTls,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    /// Milliseconds that the control plane has not answered; 0 while it does.
    away: AtomicU64,
}

/// What became of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCounts {
    /// Calls that are durable at the control plane.
    pub acknowledged: u64,
    /// Calls that the control plane refused for good.
    pub lost: u64,
    /// Times that it did not answer.
    pub failures: u64,
}

/// One server of the control plane and the connection to it.
struct Line<'a> {
    link: &'a Link,
    at: usize,
    lane: Option<Lane>,
}

impl Link {
    /// A line to a control plane that is at any of these addresses.
    pub fn new(name: &str, servers: &[String], authorities: Option<&Path>) -> Result<Self, Problem> {
        let wrong = |url: &String| {
            Problem::invalid(format!("`{url}` is not the address of a platform"))
                .field("--server")
                .hint("write it as `http://127.0.0.1:7700`")
        };
        let servers = servers.iter().map(|url| Origin::parse(url).ok_or_else(|| wrong(url)));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            servers,
            tls: ClientTls::read(authorities)?,
            counts: Arc::default(),
        })
    }

    /// What became of what was sent.
    pub fn counts(&self) -> LinkCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { acknowledged, lost, failures, .. } = &*self.counts;
        LinkCounts { acknowledged: load(acknowledged), lost: load(lost), failures: load(failures) }
    }

    /// Appends its numbers in the Prometheus text format.
    pub fn write_metrics(&self, text: &mut String) {
        let LinkCounts { acknowledged, lost, failures } = self.counts();
        let away = self.counts.away.load(Ordering::Relaxed);
        let numbers = [
            ("gateway_captures_acknowledged_total", acknowledged),
            ("gateway_captures_lost_total", lost),
            ("gateway_control_failures_total", failures),
            ("gateway_control_away_ms", away),
        ];
        for (name, value) in numbers {
            let _ = writeln!(text, "steersman_{name} {value}");
        }
    }

    /// Does as it is told, for ever.
    pub async fn follow(&self, gateway: &Gateway) {
        let mut line = Line { link: self, at: 0, lane: None };
        let (mut revision, mut pause) = (None, PAUSE);
        loop {
            match line.report(&report(gateway, revision)).await {
                Ok(orders) => {
                    self.counts.away.store(0, Ordering::Relaxed);
                    revision = Some(orders.revision);
                    obey(gateway, orders);
                    pause = PAUSE;
                }
                Err(problem) => {
                    tracing::warn!(%problem, "no orders from the control plane; the last ones hold");
                    self.counts.failures.fetch_add(1, Ordering::Relaxed);
                    let away = u64::try_from(gateway.judge_silence().as_millis()).unwrap_or(u64::MAX);
                    self.counts.away.store(away, Ordering::Relaxed);
                    // Another one may lead by now, and counts from another number.
                    revision = None;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Hands captures on until the gateway has let go of the queue and all of it is sent.
    pub async fn push(&self, mut captures: Receiver<Capture>) {
        let mut line = Line { link: self, at: 0, lane: None };
        let mut batch = Vec::with_capacity(BATCH);
        while captures.recv_many(&mut batch, BATCH).await > 0 {
            let mut rest = batch.as_slice();
            while !rest.is_empty() {
                let (part, later) = rest.split_at(portion(rest));
                self.deliver(&mut line, part).await;
                rest = later;
            }
            batch.clear();
        }
    }

    /// Sends captures until they are durable or refused for good.
    async fn deliver(&self, line: &mut Line<'_>, captures: &[Capture]) {
        let (mut pause, count) = (PAUSE, captures.len() as u64);
        loop {
            match line.send("captures", CAPTURES, encode(captures)).await {
                Ok((StatusCode::OK, _)) => {
                    self.counts.acknowledged.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Ok((status, body)) if status.is_client_error() && !again(status) => {
                    let answer = String::from_utf8_lossy(&body).into_owned();
                    tracing::error!(%status, answer, count, "captured calls are lost");
                    self.counts.lost.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                refused => {
                    if let Err(problem) = refused {
                        tracing::warn!(%problem, count, "captured calls wait");
                    }
                    self.counts.failures.fetch_add(1, Ordering::Relaxed);
                    line.turn();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// How many captures go together: at least one, and about as many bytes as a batch may have.
fn portion(captures: &[Capture]) -> usize {
    let mut bytes = 0;
    let fits = captures.iter().take_while(|capture| {
        bytes += capture.request.bytes.len() + capture.response.bytes.len() + 512;
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

/// Whether a refusal is for the moment only.
fn again(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::NOT_FOUND)
}

fn report(gateway: &Gateway, revision: Option<u64>) -> Report {
    let models = gateway.models();
    let counters = models.iter().map(|model| (model.clone(), gateway.counters(model))).collect();
    let salt = |model| gateway.route(model)?.candidate.map(|candidate| candidate.salt);
    let rollouts = models.iter().filter_map(|model| Some((model.clone(), salt(model)?))).collect();
    Report { revision, counters, rollouts }
}

fn obey(gateway: &Gateway, orders: Orders) {
    gateway.heard(Duration::from_millis(orders.silence_ms));
    for model in gateway.models() {
        if !orders.models.contains(&model) {
            gateway.remove(&model);
        }
    }
    for (model, route) in orders.routes {
        if gateway.route(&model).as_ref() != Some(&route) {
            gateway.install(&model, route);
        }
    }
}

impl Line<'_> {
    /// Tries the next server.
    fn turn(&mut self) {
        self.at = (self.at + 1) % self.link.servers.len().max(1);
        self.lane = None;
    }

    async fn report(&mut self, report: &Report) -> Result<Orders, Problem> {
        let body = serde_json::to_vec(report).map_err(|error| Problem::internal(error.to_string()))?;
        let (status, body) = self.send("orders", "application/json", body.into()).await?;
        if status != StatusCode::OK {
            self.turn();
            let said = String::from_utf8_lossy(&body).into_owned();
            return Err(Problem::new(ErrorKind::Upstream, format!("{status}: {said}")));
        }
        serde_json::from_slice(&body).map_err(|error| Problem::new(ErrorKind::Upstream, error.to_string()))
    }

    async fn send(
        &mut self,
        what: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Problem> {
        let sent = tokio::time::timeout(PATIENCE, self.exchange(what, kind, body)).await;
        let outcome = sent.unwrap_or(Err("no answer in time".to_owned()));
        outcome.map_err(|why| {
            let key = self.link.servers.get(self.at).map(|origin| origin.key.to_string());
            self.turn();
            Problem::new(ErrorKind::Upstream, format!("{}: {why}", key.unwrap_or_default()))
        })
    }

    async fn exchange(
        &mut self,
        what: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let origin = self.link.servers.get(self.at).ok_or("no address is known")?;
        let rested = self.lane.take().and_then(|mut lane| lane.usable().then_some(lane));
        let mut lane = match rested {
            Some(lane) => lane,
            None => {
                let opened = Lane::open(origin, &self.link.tls, Duration::from_secs(5)).await;
                opened.map_err(|fault| fault.words().to_owned())?
            }
        };
        let path = format!("{}/api/v1/gateways/{}/{what}", origin.prefix, self.link.name);
        let mut request = Request::new(Outgoing::Whole(Some(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| "the name of the gateway does not fit into a path")?;
        request.headers_mut().insert(HOST, origin.authority.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let response = lane.ask(request).await.map_err(|error| error.into_error().to_string())?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut whole = BytesMut::new();
        while !body.is_end_stream() {
            match poll_fn(|context| poll_body(&mut body, Some(&mut lane), context)).await {
                None => break,
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
            if whole.len() > LARGEST_ANSWER {
                return Err("the answer is too large".to_owned());
            }
        }
        self.lane = Some(lane);
        Ok((status, whole.freeze()))
    }
}
