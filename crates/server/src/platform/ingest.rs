//! Telemetry in: records and labels from callers, captured calls from the gateway.
//!
//! What does not fit the schema is refused row by row, with the place and the reason; the rest of the batch is durable
//! when the call returns.

use super::{Platform, blocking, lock};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use steersman_domain::oip::{InferRequest, InferResponse};
use steersman_domain::record::Arm;
use steersman_domain::time::{from_micros, micros, parse_time};
use steersman_domain::{ErrorKind, Label, ModelName, Problem, Record, RecordId, Schema, Task};
use steersman_gateway::Capture;
use steersman_watch::quality::{Fault, Refusal};
use tokio::sync::mpsc;

/// How many captured calls are written together.
const CAPTURE_BATCH: usize = 512;
/// How many refused rows a reply lists; the count is always whole.
const LISTED_REJECTIONS: usize = 100;

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ingested {
    /// Rows that are now durable.
    pub accepted: u64,
    /// Rows that were there already; nothing changed.
    pub duplicates: u64,
    /// Accepted labels whose record has not arrived; they are kept, and joined when it does. A mistyped id stays here.
    pub waiting: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// The first refused rows, with the reason.
    pub rejections: Vec<Rejection>,
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejection {
    /// Its position in the batch, from 0.
    pub index: usize,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Platform {
    /// Takes records in; they are durable when this returns.
    pub async fn ingest_records(
        &self,
        model: &ModelName,
        rows: &[serde_json::Value],
    ) -> Result<Ingested, Problem> {
        let schema = self.schema(model)?;
        let now = self.now();
        let mut refused = Vec::new();
        let (records, mut result) = check(rows, |row| {
            schema.record(row).inspect_err(|problem| {
                let at = row.get("time").and_then(|time| parse_time(time.as_str()?).ok());
                refused.push(Refusal { at, fault: Fault::of(problem, &schema) });
            })
        });
        let (log, name) = (self.inner.log.clone(), model.clone());
        let appended = blocking(move || log.append_records(&name, records, now)).await?;
        self.inner.watcher.note_refused(model, &refused, &appended.resent, now);
        result.accepted = appended.accepted.len() as u64;
        result.duplicates = appended.duplicates;
        Ok(result)
    }

    /// Takes labels in; they are durable when this returns.
    pub async fn ingest_labels(
        &self,
        model: &ModelName,
        rows: &[serde_json::Value],
    ) -> Result<Ingested, Problem> {
        let schema = self.schema(model)?;
        let task = self.state().model(model)?.spec.model.task;
        let (labels, mut result): (Vec<Label>, Ingested) = check(rows, |row| {
            let label = schema.label(row)?;
            fits(task, &label)?;
            Ok(label)
        });
        let (log, name, now) = (self.inner.log.clone(), model.clone(), self.now());
        let appended = blocking(move || log.append_labels(&name, labels, now)).await?;
        result.waiting = appended.waiting;
        result.accepted = appended.accepted.len() as u64;
        result.duplicates = appended.duplicates;
        Ok(result)
    }

    /// Waits until all calls that the gateway has answered are recorded: for replays, which then move the clock.
    pub async fn drain_captures(&self) {
        let gateway = &self.inner.gateway;
        while gateway.mirroring() > 0 || gateway.captured() > self.inner.ingested.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Captured calls that could not be read as records.
    pub fn capture_failures(&self) -> u64 {
        self.inner.capture_failures.load(Ordering::SeqCst)
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
            let mut batch = Vec::with_capacity(CAPTURE_BATCH);
            while queue.recv_many(&mut batch, CAPTURE_BATCH).await > 0 {
                let count = batch.len() as u64;
                platform.write_captures(std::mem::take(&mut batch)).await;
                platform.inner.ingested.fetch_add(count, Ordering::SeqCst);
            }
        });
        lock(&self.inner.tasks).push(task);
    }

    async fn write_captures(&self, captures: Vec<Capture>) {
        let mut by_model: BTreeMap<ModelName, Vec<Record>> = BTreeMap::new();
        let now = self.now();
        for capture in captures {
            let schema = self.schema(&capture.model);
            let records =
                schema.as_ref().map_err(Problem::clone).and_then(|schema| records_of(&capture, schema, now));
            match records {
                Ok(records) => by_model.entry(capture.model.clone()).or_default().extend(records),
                Err(problem) => {
                    self.inner.capture_failures.fetch_add(1, Ordering::SeqCst);
                    tracing::warn!(model = %capture.model, id = capture.request_id, %problem, "call not recorded");
                    if let (Ok(schema), true) =
                        (&schema, problem.kind == ErrorKind::Invalid && capture.arm != Arm::Shadow)
                    {
                        let refused =
                            Refusal { at: Some(asked_at(&capture, now)), fault: Fault::of(&problem, schema) };
                        self.inner.watcher.note_refused(&capture.model, &[refused], &[], now);
                    }
                }
            }
        }
        for (model, records) in by_model {
            let (log, name, count) = (self.inner.log.clone(), model.clone(), records.len() as u64);
            match blocking(move || log.append_records(&name, records, now)).await {
                Ok(appended) => self.inner.watcher.note_refused(&model, &[], &appended.resent, now),
                Err(problem) => {
                    self.inner.capture_failures.fetch_add(count, Ordering::SeqCst);
                    tracing::error!(%model, %problem, count, "captured calls are lost");
                }
            }
        }
    }
}

/// Whether a truth is one that the task can have.
fn fits(task: Task, label: &Label) -> Result<(), Problem> {
    match (task, label.label.number()) {
        (Task::Binary, Some(number)) if number != 0.0 && number != 1.0 => {
            Err(Problem::invalid(format!("{number} is not 0 or 1"))
                .field("label")
                .hint("a binary model needs 0 and 1, or true and false"))
        }
        _ => Ok(()),
    }
}

fn check<T>(
    rows: &[serde_json::Value],
    mut read: impl FnMut(&serde_json::Value) -> Result<T, Problem>,
) -> (Vec<T>, Ingested) {
    let mut good = Vec::with_capacity(rows.len());
    let mut result = Ingested::default();
    for (index, row) in rows.iter().enumerate() {
        match read(row) {
            Ok(row) => good.push(row),
            Err(problem) => {
                result.rejected += 1;
                if result.rejections.len() < LISTED_REJECTIONS {
                    let id = row.get("id").and_then(|id| id.as_str()).map(str::to_owned);
                    result.rejections.push(Rejection { index, id, problem });
                }
            }
        }
    }
    (good, result)
}

/// When a call came in, if it does not say so itself.
fn asked_at(capture: &Capture, now: Timestamp) -> Timestamp {
    from_micros(micros(now) - i64::try_from(capture.latency.as_micros()).unwrap_or(0))
}

/// The records of one captured call: one for each row of its tensors.
fn records_of(capture: &Capture, schema: &Schema, now: Timestamp) -> Result<Vec<Record>, Problem> {
    if capture.truncated {
        return Err(Problem::new(ErrorKind::TooLarge, "the call is larger than what is captured"));
    }
    let request: InferRequest = serde_json::from_slice(&capture.request)
        .map_err(|error| Problem::invalid(format!("the request is not an inference request: {error}")))?;
    let time = match request.parameters.get("time").and_then(|time| time.as_str()) {
        Some(time) => parse_time(time).map_err(|problem| problem.field("parameters.time"))?,
        None => asked_at(capture, now),
    };
    let answered = capture.status == 200;
    let response: Option<InferResponse> = answered
        .then(|| serde_json::from_slice(&capture.response))
        .transpose()
        .map_err(|error| Problem::invalid(format!("the answer is not an inference answer: {error}")))?;
    let inputs = request.rows()?;
    let outputs = response.as_ref().map(InferResponse::rows).transpose()?;
    let version =
        response.and_then(|response| response.model_version).unwrap_or_else(|| capture.version.to_string());
    let many = inputs.len() > 1;
    let mut records = Vec::with_capacity(inputs.len());
    for (index, features) in inputs.iter().enumerate() {
        let id = if many { format!("{}/{index}", capture.request_id) } else { capture.request_id.clone() };
        // A candidate that could not be reached was answered for by the champion: its failed attempt is a record of
        // its own, beside the champion's answer of the same id.
        let unanswered = capture.arm == Arm::Candidate && capture.status == 0;
        let id: RecordId = if unanswered { format!("{id}#candidate") } else { id }.parse()?;
        let mut row = BTreeMap::new();
        if let Some(output) = outputs.as_ref().and_then(|rows| rows.get(index)) {
            let prediction = output.get(&schema.prediction.name).and_then(serde_json::Value::as_f64);
            if let Some(prediction) = prediction.filter(|prediction| prediction.is_finite()) {
                row.insert(schema.prediction.name.clone(), prediction.into());
            }
        }
        records.push(Record {
            id,
            time,
            version: Some(version.clone()),
            arm: Some(capture.arm),
            weight: Some(capture.weight),
            unit: Some(capture.unit),
            features: schema.feature_values(features)?,
            outputs: row,
            latency_ms: Some(capture.latency.as_secs_f64() * 1_000.0),
            status: Some(capture.status),
        });
    }
    Ok(records)
}
