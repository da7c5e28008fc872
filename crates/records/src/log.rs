//! The log of each model: append, follow, scan.
//!
//! INVARIANT: everything acknowledged is either in a segment or in the write-ahead log; the tail in memory is exactly
//! what the write-ahead log holds. Readers see only what is on disk.

mod view;

pub use view::{Batches, Part, View};

use crate::codec::{
    Columns, labels_from_batch, labels_to_batch, record_fields, records_from_batch, records_to_batch, times,
};
use crate::segment::{Segment, list, read_parquet, sync_dir};
use crate::table::{Scan, Table};
use crate::wal::Wal;
use crate::{Arrival, Item};
use arrow::array::{Array, Float64Array, RecordBatch, new_null_array};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use steersman_domain::record::Arm;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, Label, ModelName, Problem, Record, Schema};

/// So many arrivals become a segment.
const SEGMENT_ARRIVALS: usize = 4_096;

/// The record logs of all models; clones share them.
#[derive(Debug, Clone)]
pub struct RecordLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    models: RwLock<BTreeMap<ModelName, Arc<ModelLog>>>,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Appended {
    /// What is new, with positions.
    pub accepted: Vec<Arrival>,
    /// How many were there already.
    pub duplicates: u64,
    /// How many new labels have no record yet; they are kept, and joined when it arrives.
    pub waiting: u64,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Segments.
    pub segments: usize,
    /// Arrivals read from the write-ahead log.
    pub replayed: u64,
    /// Bytes at its end that were never acknowledged and are dropped.
    pub torn_bytes: u64,
}

/// Sizes of a model's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LogStats {
    /// Records taken in, shadow answers included.
    pub records: u64,
    /// Records that have a label.
    pub labels: u64,
    /// Labels whose record has not arrived.
    pub labels_without_record: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
}

impl RecordLog {
    /// Opens the folder of all logs.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), models: RwLock::default() }) })
    }

    /// Opens the log of a model, or changes the columns of one that is open: columns may come and go, but a column keeps
    /// its kind.
    pub fn declare(&self, name: &ModelName, schema: &Schema) -> Result<Recovery, Problem> {
        let mut models = self.inner.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = models.get(name) {
            open.change_schema(schema)?;
            return Ok(Recovery::default());
        }
        let (log, recovery) = ModelLog::open(&self.inner.dir.join(name.as_str()), schema)?;
        models.insert(name.clone(), Arc::new(log));
        Ok(recovery)
    }

    fn model(&self, name: &ModelName) -> Result<Arc<ModelLog>, Problem> {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(name).cloned().ok_or_else(|| Problem::not_found(format!("there is no log of `{name}`")))
    }

    /// The columns of a model's records.
    pub fn schema(&self, name: &ModelName) -> Result<Schema, Problem> {
        Ok(self.model(name)?.schema())
    }

    /// Takes records in; they are on disk when this returns. A record whose id is there already changes nothing.
    pub fn append_records(
        &self,
        name: &ModelName,
        records: Vec<Record>,
        received_at: Timestamp,
    ) -> Result<Appended, Problem> {
        self.model(name)?.append(records.into_iter().map(Item::Record), received_at)
    }

    /// Takes labels in; they are on disk when this returns. The same label again changes nothing; another value or time
    /// for the same id is a correction, and what was known before stays known as of then.
    pub fn append_labels(
        &self,
        name: &ModelName,
        labels: Vec<Label>,
        received_at: Timestamp,
    ) -> Result<Appended, Problem> {
        self.model(name)?.append(labels.into_iter().map(Item::Label), received_at)
    }

    /// Everything from position `from` on, in order.
    pub fn arrivals(&self, name: &ModelName, from: u64) -> Result<Vec<Arrival>, Problem> {
        self.model(name)?.arrivals(from, i64::MIN)
    }

    /// Everything that was taken in at this time or later, in order.
    pub fn arrivals_since(&self, name: &ModelName, since: Timestamp) -> Result<Vec<Arrival>, Problem> {
        self.model(name)?.arrivals(0, micros(since))
    }

    /// Records joined with their labels, in order of time and id. Columns: `id`, `time`, `version`, `latency_ms`,
    /// `status`, `received_at`, features, the output, `label`, `label_time`.
    pub fn table(&self, name: &ModelName, scan: &Scan) -> Result<Table, Problem> {
        self.model(name)?.table(scan)
    }

    /// Turns the tails of all logs into segments.
    pub fn flush(&self) -> Result<(), Problem> {
        let models: Vec<_> =
            self.inner.models.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        models.iter().try_for_each(|model| model.flush(&mut model.lock()))
    }

    /// How large a model's log is.
    pub fn stats(&self, name: &ModelName) -> Result<LogStats, Problem> {
        Ok(self.model(name)?.stats())
    }
}

#[derive(Debug)]
struct ModelLog {
    dir: PathBuf,
    schema: RwLock<Schema>,
    tail: Mutex<Tail>,
    /// Held by the one who syncs; the others find their rows synced when they get it.
    syncing: Mutex<()>,
    /// Positions below this are on disk.
    durable: AtomicU64,
    /// A sync failed: what is on disk is not known any more.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Tail {
    wal: Wal,
    segments: Vec<Segment>,
    arrivals: Vec<Arrival>,
    next: u64,
    records: HashSet<u128>,
    labels: HashMap<u128, Vec<Known>>,
    /// Records that have a label.
    joined: u64,
}

/// A label and when it was taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    label: f64,
    time: i64,
    received_at: i64,
}

/// A short form of an id; two ids share one with a probability of 2^-128 times their number of pairs.
fn key(id: &str, shadow: bool) -> u128 {
    let digest: [u8; 32] = Sha256::new().chain_update([u8::from(shadow)]).chain_update(id).finalize().into();
    let (first, _) = digest.split_at(16);
    first.iter().fold(0, |key, byte| (key << 8) | u128::from(*byte))
}

impl Tail {
    /// Whether this is not there yet.
    fn fresh(&self, item: &Item) -> bool {
        match item {
            Item::Record(record) => {
                !self.records.contains(&key(record.id.as_str(), record.arm == Some(Arm::Shadow)))
            }
            Item::Label(label) => {
                let known = self.labels.get(&key(label.id.as_str(), false)).and_then(|known| known.last());
                !known.is_some_and(|known| {
                    label.label.number() == Some(known.label) && micros(label.time) == known.time
                })
            }
        }
    }

    /// Remembers an arrival in the indexes.
    fn index(&mut self, item: &Item, received_at: Timestamp) {
        match item {
            Item::Record(record) => {
                let own = key(record.id.as_str(), record.arm == Some(Arm::Shadow));
                if self.records.insert(own) && self.labels.contains_key(&own) {
                    self.joined += 1;
                }
            }
            Item::Label(label) => {
                if let Some(number) = label.label.number() {
                    let known =
                        Known { label: number, time: micros(label.time), received_at: micros(received_at) };
                    let own = key(label.id.as_str(), false);
                    let labels = self.labels.entry(own).or_default();
                    labels.push(known);
                    if labels.len() == 1 && self.records.contains(&own) {
                        self.joined += 1;
                    }
                }
            }
        }
    }
}

impl ModelLog {
    fn open(dir: &Path, schema: &Schema) -> Result<(Self, Recovery), Problem> {
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let mut segments = list(dir)?;
        let flushed = segments.last().map_or(0, |segment| segment.to);
        let (mut records, mut labels) = (HashSet::new(), HashMap::<u128, Vec<Known>>::new());
        for segment in &mut segments {
            index_segment(dir, segment, &mut records, &mut labels)?;
        }
        let mut recovery = Recovery { segments: segments.len(), ..Recovery::default() };
        let (wal, batches) = open_wal(dir, flushed, &mut recovery)?;
        let joined = labels.keys().filter(|own| records.contains(own)).count() as u64;
        let mut tail = Tail { wal, segments, arrivals: Vec::new(), next: flushed, records, labels, joined };
        for batch in batches {
            let arrivals = match batch.column_by_name("received_at").is_some() && batch.num_columns() == 5 {
                true => labels_from_batch(&batch)?,
                false => records_from_batch(schema, &batch)?,
            };
            for arrival in arrivals.into_iter().filter(|arrival| arrival.seq >= flushed) {
                if arrival.seq != tail.next {
                    let message = format!(
                        "position {} follows {} in the log of `{}`",
                        arrival.seq,
                        tail.next,
                        dir.display()
                    );
                    return Err(Problem::new(ErrorKind::Corrupt, message));
                }
                tail.index(&arrival.item, arrival.received_at);
                tail.arrivals.push(arrival);
                tail.next += 1;
                recovery.replayed += 1;
            }
        }
        let log = Self {
            dir: dir.to_owned(),
            schema: RwLock::new(schema.clone()),
            durable: AtomicU64::new(tail.next),
            tail: Mutex::new(tail),
            syncing: Mutex::new(()),
            failed: AtomicBool::new(false),
        };
        Ok((log, recovery))
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schema(&self) -> Schema {
        self.schema.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_schema(&self, schema: &Schema) -> Result<(), Problem> {
        let known = self.schema();
        if known == *schema {
            return Ok(());
        }
        for column in &schema.features {
            if known.feature(&column.name).is_some_and(|known| known.kind != column.kind) {
                return Err(Problem::conflict(
                    "the column is of another kind than in the records that are there",
                )
                .field(column.name.clone())
                .hint("give it another name, or name it under `data.categorical`"));
            }
        }
        // Rows in the write-ahead log have the columns of their time, segments too: the tail is closed first.
        let mut tail = self.lock();
        self.flush(&mut tail)?;
        *self.schema.write().unwrap_or_else(PoisonError::into_inner) = schema.clone();
        Ok(())
    }

    fn append(&self, items: impl Iterator<Item = Item>, received_at: Timestamp) -> Result<Appended, Problem> {
        let mut appended = Appended::default();
        let written = {
            let mut tail = self.lock();
            self.check()?;
            let mut within: HashSet<(u128, bool)> = HashSet::new();
            for item in items {
                let own = match &item {
                    Item::Record(record) => key(record.id.as_str(), record.arm == Some(Arm::Shadow)),
                    Item::Label(label) => key(label.id.as_str(), false),
                };
                // Twice in one batch: the first counts.
                if !tail.fresh(&item) || !within.insert((own, matches!(item, Item::Record(_)))) {
                    appended.duplicates += 1;
                    continue;
                }
                let orphan = matches!(item, Item::Label(_)) && !tail.records.contains(&own);
                appended.waiting += u64::from(orphan);
                let seq = tail.next + appended.accepted.len() as u64;
                appended.accepted.push(Arrival { seq, received_at, item });
            }
            if let Some(first) = appended.accepted.first() {
                let batch = match &first.item {
                    Item::Record(_) => records_to_batch(&self.schema(), &appended.accepted)?,
                    Item::Label(_) => labels_to_batch(&appended.accepted)?,
                };
                tail.wal.append(&batch)?;
                for arrival in &appended.accepted {
                    tail.index(&arrival.item, received_at);
                }
                tail.next += appended.accepted.len() as u64;
                tail.arrivals.extend(appended.accepted.iter().cloned());
                if tail.arrivals.len() >= SEGMENT_ARRIVALS {
                    self.flush(&mut tail)?;
                }
            }
            tail.next
        };
        // Also what was there already must be on disk before anybody is told so.
        self.sync(written)?;
        Ok(appended)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.failed.load(Ordering::SeqCst) {
            let message =
                format!("writing to `{}` failed; nothing is taken in until a restart", self.dir.display());
            return Err(Problem::new(ErrorKind::Unavailable, message)
                .hint("look at the disk, then restart Steersman"));
        }
        Ok(())
    }

    /// Waits until everything below `wanted` is on disk. One syncs for all who wait.
    fn sync(&self, wanted: u64) -> Result<(), Problem> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.durable.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        self.check()?;
        let (handle, written) = {
            let tail = self.lock();
            (tail.wal.handle()?, tail.next)
        };
        handle.sync_data().map_err(|error| {
            self.failed.store(true, Ordering::SeqCst);
            Problem::io("sync the write-ahead log in", &self.dir, &error)
        })?;
        self.durable.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    /// Turns the tail into a segment and begins a new write-ahead log.
    fn flush(&self, tail: &mut Tail) -> Result<(), Problem> {
        let (Some(first), Some(last)) = (tail.arrivals.first(), tail.arrivals.last()) else { return Ok(()) };
        let record_times = tail.arrivals.iter().filter_map(|arrival| match &arrival.item {
            Item::Record(record) => Some(micros(record.time)),
            Item::Label(_) => None,
        });
        let span = record_times.fold(None, widen);
        let received_until =
            tail.arrivals.iter().map(|arrival| micros(arrival.received_at)).max().unwrap_or(i64::MIN);
        let segment = Segment { from: first.seq, to: last.seq + 1, span, received_until };
        let records = records_to_batch(&self.schema(), &tail.arrivals)?;
        segment.write(&self.dir, &records, &labels_to_batch(&tail.arrivals)?)?;
        // The rows are in the segment now: going on in the old log would write them twice.
        let begun =
            Wal::create(&wal_path(&self.dir, segment.to)).and_then(|wal| sync_dir(&self.dir).map(|()| wal));
        let fresh = begun.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        let old = std::mem::replace(&mut tail.wal, fresh);
        self.durable.fetch_max(segment.to, Ordering::SeqCst);
        tail.segments.push(segment);
        tail.arrivals.clear();
        std::fs::remove_file(old.path()).map_err(|error| Problem::io("remove", old.path(), &error))
    }

    fn arrivals(&self, from: u64, since: i64) -> Result<Vec<Arrival>, Problem> {
        let wanted = |arrival: &Arrival| arrival.seq >= from && micros(arrival.received_at) >= since;
        let (segments, recent) = {
            let tail = self.lock();
            let durable = self.durable.load(Ordering::SeqCst);
            let touched = |segment: &&Segment| segment.to > from && segment.received_until >= since;
            let segments: Vec<Segment> = tail.segments.iter().filter(touched).cloned().collect();
            let recent: Vec<Arrival> = tail
                .arrivals
                .iter()
                .filter(|arrival| wanted(arrival) && arrival.seq < durable)
                .cloned()
                .collect();
            (segments, recent)
        };
        let schema = self.schema();
        let mut arrivals = Vec::new();
        for segment in &segments {
            let records = read_parquet(&segment.records_path(&self.dir), None)?;
            let mut part = records_from_batch(&schema, &records)?;
            part.extend(labels_from_batch(&read_parquet(&segment.labels_path(&self.dir), None)?)?);
            part.sort_by_key(|arrival| arrival.seq);
            arrivals.extend(part.into_iter().filter(|arrival| wanted(arrival)));
        }
        arrivals.extend(recent);
        Ok(arrivals)
    }

    fn table(&self, scan: &Scan) -> Result<Table, Problem> {
        let schema = self.schema();
        let fields = record_fields(&schema);
        let (segments, recent) = {
            let tail = self.lock();
            let durable = self.durable.load(Ordering::SeqCst);
            let segments: Vec<Segment> =
                tail.segments.iter().filter(|segment| scan.touches(segment.span)).cloned().collect();
            let wanted = |arrival: &&Arrival| match &arrival.item {
                Item::Record(record) => {
                    let at = micros(record.time);
                    arrival.seq < durable && scan.touches(Some((at, at)))
                }
                Item::Label(_) => false,
            };
            (segments, tail.arrivals.iter().filter(wanted).cloned().collect::<Vec<_>>())
        };
        let mut batches = Vec::with_capacity(segments.len() + 1);
        for segment in &segments {
            let batch = read_parquet(&segment.records_path(&self.dir), None)?;
            batches.push(scan.select(&conform(&batch, &fields)?)?);
        }
        batches.push(scan.select(&records_to_batch(&schema, &recent)?)?);
        let table = Table::sorted(&fields, &batches)?;
        let ids = table.texts("id");
        let known: Vec<Option<Known>> = {
            let tail = self.lock();
            let as_of = scan.as_of.map_or(i64::MAX, micros);
            let find = |id: &Option<String>| {
                let known = tail.labels.get(&key(id.as_deref()?, false))?;
                known.iter().rfind(|known| known.received_at <= as_of).copied()
            };
            ids.iter().map(find).collect()
        };
        let labels: Float64Array = known.iter().map(|known| known.map(|known| known.label)).collect();
        let label_times = times(known.iter().map(|known| known.map(|known| from_micros(known.time))));
        table.with(vec![("label", Arc::new(labels)), ("label_time", label_times)])
    }

    fn stats(&self) -> LogStats {
        let tail = self.lock();
        LogStats {
            records: tail.records.len() as u64,
            labels: tail.joined,
            labels_without_record: tail.labels.len() as u64 - tail.joined,
            segments: tail.segments.len() as u64,
            wal_bytes: tail.wal.length(),
        }
    }
}

fn widen(span: Option<(i64, i64)>, at: i64) -> Option<(i64, i64)> {
    Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
}

/// Brings a segment that was written under an earlier schema to the columns of today.
fn conform(batch: &RecordBatch, fields: &Arc<arrow::datatypes::Schema>) -> Result<RecordBatch, Problem> {
    let column = |field: &Arc<arrow::datatypes::Field>| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => column.clone(),
        _ => new_null_array(field.data_type(), batch.num_rows()),
    };
    RecordBatch::try_new(fields.clone(), fields.fields().iter().map(column).collect())
        .map_err(|error| Problem::internal(error.to_string()))
}

/// Reads ids, times and labels of a segment into the indexes.
fn index_segment(
    dir: &Path,
    segment: &mut Segment,
    records: &mut HashSet<u128>,
    labels: &mut HashMap<u128, Vec<Known>>,
) -> Result<(), Problem> {
    let batch = read_parquet(&segment.records_path(dir), Some(&["received_at", "id", "time", "_arm"]))?;
    let columns = Columns(&batch);
    let (ids, moments, arms) = (columns.texts("id")?, columns.times("time")?, columns.arms()?);
    let received = columns.times("received_at")?;
    for row in 0..batch.num_rows() {
        records.insert(key(ids.value(row), !arms.is_null(row) && arms.value(row) == Arm::Shadow.as_str()));
        segment.span = widen(segment.span, moments.value(row));
        segment.received_until = segment.received_until.max(received.value(row));
    }
    for arrival in labels_from_batch(&read_parquet(&segment.labels_path(dir), None)?)? {
        if let Item::Label(label) = &arrival.item
            && let Some(number) = label.label.number()
        {
            let known =
                Known { label: number, time: micros(label.time), received_at: micros(arrival.received_at) };
            labels.entry(key(label.id.as_str(), false)).or_default().push(known);
        }
    }
    Ok(())
}

fn wal_path(dir: &Path, from: u64) -> PathBuf {
    dir.join(format!("wal-{from:012}.log"))
}

/// The write-ahead log that begins after the last segment; older ones, whose rows are all in segments, are removed.
fn open_wal(dir: &Path, flushed: u64, recovery: &mut Recovery) -> Result<(Wal, Vec<RecordBatch>), Problem> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|error| Problem::io("list", dir, &error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    let wanted = wal_path(dir, flushed);
    if !paths.contains(&wanted) {
        // The segment was finished, the new log not yet begun: everything in the old one is in the segment.
        let wal = Wal::create(&wanted)?;
        sync_dir(dir)?;
        for path in paths {
            std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
        }
        return Ok((wal, Vec::new()));
    }
    for path in paths.iter().filter(|path| **path != wanted) {
        std::fs::remove_file(path).map_err(|error| Problem::io("remove", path, &error))?;
    }
    let (wal, replay) = Wal::recover(&wanted)?;
    recovery.torn_bytes = replay.torn_bytes;
    Ok((wal, replay.batches))
}
