//! Telemetry in: records and labels from callers, captured calls from the gateway, calls that others saw.
//!
//! What does not fit the schema is refused row by row, with the place and the reason, and kept in the quarantine; the
//! rest of the batch is durable when the call returns.

use super::{Platform, Ticket, blocking, lock};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use steersman_domain::spec::Personal;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, ModelName, ModelSpec, Problem, Record, Schema};
use steersman_gateway::protocol::{Exchange, Said};
use steersman_gateway::{Capture, Payload};
use steersman_records::calls::{Call, Content, records_of};
use steersman_records::intake::{Format, Packing, Wanted, read, unpack};
use steersman_records::{Kind, Refusal, Refusals};
use steersman_watch::quality::{Fault, NotTaken};
use tokio::sync::mpsc;

/// How many calls are written together.
pub(super) const CALL_BATCH: usize = 512;
/// A captured body may be so large when it is unpacked.
const LARGEST_UNPACKED: u64 = 16 << 20;

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ingested {
    /// Rows that are now durable.
    pub accepted: u64,
    /// Rows that were there already; nothing changed.
    pub duplicates: u64,
    /// Accepted labels whose record has not arrived; they are kept, and joined when it does. A mistyped id stays here.
    pub waiting: u64,
    /// Rows that were refused; they are in the quarantine.
    pub rejected: u64,
    /// The first refused rows, with the reason.
    pub rejections: Vec<Refusal>,
    /// Columns that the schema does not have, with how many values came. Their rows were taken in without them.
    pub unknown_columns: BTreeMap<String, u64>,
}

/// A body as it came.
#[derive(Debug)]
pub struct Body {
    /// What it holds.
    pub format: Format,
    /// How it is packed.
    pub packing: Packing,
    /// Its bytes.
    pub bytes: bytes::Bytes,
    /// The room it takes.
    pub ticket: Ticket,
}

impl Platform {
    /// Room for a body of so many bytes, as far as they are known before.
    pub fn admit(&self, model: &ModelName, announced: u64) -> Result<Ticket, Problem> {
        self.schema(model)?;
        self.inner.admission.enter(model, announced)
    }

    /// Room for a body of so many bytes whose model is not known yet.
    pub fn admit_any(&self, announced: u64) -> Result<Ticket, Problem> {
        self.inner.admission.enter_any(announced)
    }

    /// Takes records or labels in; they are durable when this returns.
    pub async fn ingest(&self, model: &ModelName, kind: Kind, body: Body) -> Result<Ingested, Problem> {
        let schema = self.schema(model)?;
        let state = self.state();
        let spec = &state.model(model)?.spec;
        let (task, dropped) = (spec.model.task, dropped(spec));
        let (log, name, now) = (self.inner.log.clone(), model.clone(), self.now());
        let largest = self.inner.admission.limits().largest_body;
        let own = schema.clone();
        let taken = blocking(move || {
            let schema = own;
            let Body { format, packing, bytes, mut ticket } = body;
            let bytes = unpack(packing, bytes, largest, &mut |more| ticket.take(more))?;
            let mut intake = read(&Wanted { kind, schema: &schema, task, now }, format, &bytes)?;
            intake.refusals.unknown_columns.retain(|name, _| !dropped.contains(name));
            let appended = log.append(&name, &intake.rows, now)?;
            log.note_refused(&name, &intake.refusals, now)?;
            Ok((appended, intake.refusals))
        });
        let (appended, refusals) = taken.await?;
        if kind == Kind::Records {
            self.inner.watcher.note_refused(model, &faults(&refusals, &schema), &appended.resent, now);
        }
        Ok(Ingested {
            accepted: appended.accepted,
            duplicates: appended.duplicates,
            waiting: appended.waiting,
            rejected: refusals.count,
            rejections: refusals.first,
            unknown_columns: refusals.unknown_columns,
        })
    }

    /// Waits until all calls that the gateway has answered are recorded: for replays, which then move the clock.
    pub async fn drain_captures(&self) {
        let gateway = &self.inner.gateway;
        while gateway.mirroring() > 0 || gateway.captured() > self.inner.ingested.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Calls that could not be read as records, or not be written.
    pub fn capture_failures(&self) -> u64 {
        self.inner.capture_failures.load(Ordering::SeqCst)
    }

    /// Bytes of telemetry under way, and their limits.
    pub fn admission(&self) -> &super::Admission {
        &self.inner.admission
    }

    /// The schema of a model's records.
    pub fn schema(&self, model: &ModelName) -> Result<Schema, Problem> {
        let state = self.state();
        let reference = state.model(model)?.reference.as_ref();
        reference.map(|reference| reference.schema.clone()).ok_or_else(|| {
            Problem::conflict(format!("the schema of `{model}` is not known yet"))
                .hint("apply its spec again")
        })
    }

    /// Starts writing what the gateway captures. Ends when the gateway is gone.
    pub(super) fn start_capture(&self, mut queue: mpsc::Receiver<Capture>) {
        let platform = self.clone();
        let task = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(CALL_BATCH);
            while queue.recv_many(&mut batch, CALL_BATCH).await > 0 {
                let count = batch.len() as u64;
                let now = platform.now();
                let calls = batch.drain(..).map(|capture| captured(capture, now)).collect();
                // What is lost is counted.
                let _ = platform.write_calls(calls, now).await;
                platform.inner.ingested.fetch_add(count, Ordering::SeqCst);
            }
        });
        lock(&self.inner.tasks).push(task);
    }

    /// Makes records of calls. One that cannot be read is counted, and kept in the quarantine with the reason. Says for each
    /// whether it is on disk.
    pub(super) async fn write_calls(
        &self,
        calls: Vec<(ModelName, Result<Call, Problem>)>,
        now: Timestamp,
    ) -> Vec<Result<(), Problem>> {
        let mut by_model: BTreeMap<ModelName, (Vec<Record>, Refusals)> = BTreeMap::new();
        let mut written: Vec<(ModelName, Result<(), Problem>)> = Vec::with_capacity(calls.len());
        for (index, (model, call)) in calls.into_iter().enumerate() {
            let (id, at) = call.as_ref().ok().map(|call| (call.id.clone(), call.time)).unzip();
            let read = call.and_then(|call| records_of(&call, &self.schema(&model)?));
            let (records, refusals) =
                by_model.entry(model.clone()).or_insert_with(|| (Vec::new(), Refusals::new(Kind::Records)));
            written.push((model.clone(), read.as_ref().map(|_| ()).map_err(Problem::clone)));
            match read {
                Ok(rows) => {
                    records.extend(rows.records);
                    let dropped =
                        self.state().model(&model).map(|model| dropped(&model.spec)).unwrap_or_default();
                    for (name, values) in rows.unknown.into_iter().filter(|(name, _)| !dropped.contains(name))
                    {
                        refusals.note_unknown(&name, values);
                    }
                }
                Err(problem) => {
                    self.inner.capture_failures.fetch_add(1, Ordering::SeqCst);
                    tracing::warn!(%model, id, %problem, "call not recorded");
                    refusals.add(Refusal { index: index as u64, line: None, id, at, problem });
                }
            }
        }
        for (model, (records, refusals)) in by_model {
            let (log, name, count) = (self.inner.log.clone(), model.clone(), records.len() as u64);
            let found = self.schema(&model).map(|schema| faults(&refusals, &schema)).unwrap_or_default();
            let appended = blocking(move || {
                log.note_refused(&name, &refusals, now)?;
                log.append_records(&name, records, now)
            });
            match appended.await {
                Ok(appended) => self.inner.watcher.note_refused(&model, &found, &appended.resent, now),
                Err(problem) => {
                    self.inner.capture_failures.fetch_add(count, Ordering::SeqCst);
                    tracing::error!(%model, %problem, count, "calls not recorded");
                    let of_model =
                        written.iter_mut().filter(|(name, written)| *name == model && written.is_ok());
                    of_model.for_each(|(_, written)| *written = Err(problem.clone()));
                }
            }
        }
        written.into_iter().map(|(_, written)| written).collect()
    }
}

/// The columns that are left out because they are about persons: nobody need be told that the schema lacks them.
fn dropped(spec: &ModelSpec) -> BTreeSet<String> {
    let personal = spec.data.personal.iter();
    personal.filter(|(_, treatment)| **treatment == Personal::Drop).map(|(name, _)| name.clone()).collect()
}

/// What the watcher is told of a batch: which rows were refused for what, and which values had no column.
fn faults(refusals: &Refusals, schema: &Schema) -> Vec<NotTaken> {
    let refused = refusals.faults.iter();
    let refused =
        refused.map(|(at, field)| NotTaken { at: *at, fault: Fault::of(field.as_deref(), schema), rows: 1 });
    let unknown = refusals.unknown_columns.iter();
    let unknown =
        unknown.map(|(name, &rows)| NotTaken { at: None, fault: Fault::Unknown(name.clone()), rows });
    refused.chain(unknown).collect()
}

/// A call as the gateway saw it.
pub(super) fn captured(mut capture: Capture, now: Timestamp) -> (ModelName, Result<Call, Problem>) {
    let model = capture.model.clone();
    let read = unpacked(&mut capture.request)
        .and_then(|()| unpacked(&mut capture.response))
        .and_then(|()| steersman_gateway::protocol::read(&capture));
    let call = read.map(|said| Call {
        id: capture.request_id,
        time: from_micros(micros(now) - i64::try_from(capture.began.elapsed().as_micros()).unwrap_or(0)),
        content: content(said),
        version: Some(capture.version.to_string()),
        arm: Some(capture.arm),
        weight: Some(capture.weight),
        unit: Some(capture.unit),
        latency_ms: Some(capture.latency.as_secs_f64() * 1_000.0),
        status: capture.status,
    });
    (model, call)
}

fn content(said: Said) -> Content {
    match said {
        Said::Tensors(asked, answered) => Content::Tensors(asked, answered),
        Said::Instances(asked, answered) => Content::Instances(asked, answered),
        Said::Exchange(exchange) => Content::Named(conversation(&exchange)),
        Said::Opaque => Content::Opaque,
    }
}

/// What is known of a conversation, by the names that a schema may have.
fn conversation(exchange: &Exchange) -> Map<String, Json> {
    let text = |value: &Option<String>| value.clone().map_or(Json::Null, Json::String);
    let number = |value: Option<u64>| value.map_or(Json::Null, Json::from);
    let row = [
        ("prompt", text(&exchange.prompt)),
        ("completion", text(&exchange.completion)),
        ("finish_reason", text(&exchange.finish_reason)),
        ("prompt_tokens", number(exchange.prompt_tokens)),
        ("completion_tokens", number(exchange.completion_tokens)),
        ("streamed", exchange.streamed.into()),
    ];
    row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Whether a call was lost because it could not be written, not because it cannot be read.
pub(super) fn may_come_again(problem: &Problem) -> bool {
    use ErrorKind::{Corrupt, Internal, NoSpace, Unavailable, Upstream};
    matches!(problem.kind, Unavailable | NoSpace | Upstream | Corrupt | Internal)
}

/// Undoes what `Content-Encoding` says of a body that is all there.
fn unpacked(payload: &mut Payload) -> Result<(), Problem> {
    let Some(packing) = payload.packing.take().filter(|_| payload.whole()) else { return Ok(()) };
    let mut room = |_: u64| Ok(());
    payload.bytes = unpack(Packing::of(&packing)?, payload.bytes.clone(), LARGEST_UNPACKED, &mut room)?;
    Ok(())
}
