//! Reading the log: everything at one moment, what is new since a position, and joined tables.

use super::ids::{IdFiles, Known, origin};
use super::model::ModelLog;
use super::tail::Unflushed;
use super::taken::Doubles;
use crate::archive::{Held, Segment, Storage, read_records};
use crate::codec::{Columns, conform, labels_from_batch, records_from_batch, times};
use crate::table::{Scan, Table};
use crate::{Arrival, Kind};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, Problem, Schema};

/// A model's log at one moment: each row is in a segment or in the tail, never in both.
///
/// Records have the columns `_seq`, `received_at`, `id`, `time`, `version`, `_arm` (`shadow` for answers that no user
/// got), `_weight`, `_unit`, `latency_ms`, `status`, the features and the output; labels `_seq`, `received_at`, `id`,
/// `label`, `time`. A segment has the columns of its time.
#[derive(Debug, Clone)]
pub struct View {
    /// The columns of today.
    pub schema: Schema,
    /// Rows on disk as Parquet.
    pub segments: Vec<SegmentFiles>,
    /// Records that no segment holds yet, in order of arrival.
    pub records: Vec<RecordBatch>,
    /// Labels that no segment holds yet, in order of arrival.
    pub labels: Vec<RecordBatch>,
}

/// A segment's files. They do not change.
#[derive(Debug, Clone)]
pub struct SegmentFiles {
    /// What the catalogue knows of it.
    pub about: Segment,
    /// Positions of records that are there twice: those with these positions do not count.
    pub left_out: BTreeSet<u64>,
    storage: Arc<Storage>,
}

impl SegmentFiles {
    /// The Parquet file of records or of labels; from a bucket it is fetched, and stays until this is dropped.
    pub fn open(&self, kind: Kind) -> Result<Held, Problem> {
        self.storage.open(&self.about.file(kind))
    }
}

/// How far somebody has read: for each replica the first position that is still to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<String, u64>);

impl Cursor {
    fn of(&self, replica: &str) -> u64 {
        self.0.get(replica).copied().unwrap_or(0)
    }

    fn with(&self, replica: &str, until: u64) -> Self {
        let mut cursor = self.clone();
        cursor.0.insert(replica.to_owned(), until);
        cursor
    }
}

/// What arrived from a position on, in columns: part of a segment, or all that no segment holds yet.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Where to go on.
    pub until: Cursor,
    /// Records; of a segment only the columns that were asked for.
    pub records: Vec<RecordBatch>,
    /// Labels.
    pub labels: Vec<RecordBatch>,
}

/// Which columns of records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// `_seq`, `received_at`, `time` and `_arm`: enough to count.
    Times,
    /// All.
    All,
}

/// So often it is tried to read while segments are being replaced.
const TRIES: usize = 3;

const TIMES: [&str; 4] = ["_seq", "received_at", "time", "_arm"];

impl Fresh {
    /// As rows, in order of arrival; all columns must have been read.
    pub fn arrivals(&self, schema: &Schema) -> Result<Vec<Arrival>, Problem> {
        let mut arrivals = Vec::new();
        for batch in &self.records {
            arrivals.extend(records_from_batch(schema, batch)?);
        }
        for batch in &self.labels {
            arrivals.extend(labels_from_batch(batch)?);
        }
        arrivals.sort_by_key(|arrival| arrival.seq);
        Ok(arrivals)
    }

    /// The times of records that users got, and when each was taken in, both in microseconds.
    pub fn served_times(&self) -> Result<Vec<(i64, i64)>, Problem> {
        let mut served = Vec::new();
        for batch in &self.records {
            let columns = Columns(batch);
            let (times, received) = (columns.times("time")?, columns.times("received_at")?);
            let arms = columns.arms()?;
            let shown = |row: &usize| {
                use arrow::array::Array as _;
                arms.is_null(*row) || arms.value(*row) != steersman_domain::Arm::Shadow.as_str()
            };
            let rows = (0..batch.num_rows()).filter(shown);
            served.extend(rows.map(|row| (times.value(row), received.value(row))));
        }
        Ok(served)
    }

    /// When it was taken in, in microseconds; what came together once.
    pub fn received_times(&self) -> Result<Vec<i64>, Problem> {
        let mut received = Vec::new();
        for batch in self.records.iter().chain(&self.labels) {
            received.extend(Columns(batch).times("received_at")?.iter().flatten());
            received.dedup();
        }
        Ok(received)
    }

    /// The latest of the times of all records, shadow answers included, and of all labels, in microseconds.
    pub fn latest(&self) -> Result<(Option<i64>, Option<i64>), Problem> {
        let latest = |batches: &[RecordBatch]| -> Result<Option<i64>, Problem> {
            let mut latest = None;
            for batch in batches {
                latest = latest.max(Columns(batch).times("time")?.iter().flatten().max());
            }
            Ok(latest)
        };
        Ok((latest(&self.records)?, latest(&self.labels)?))
    }

    /// Keeps what arrived at position `from` or later, at `since` or later.
    fn from(mut self, from: u64, since: i64) -> Result<Self, Problem> {
        for batches in [&mut self.records, &mut self.labels] {
            for batch in batches.iter_mut() {
                let columns = Columns(batch);
                let (seqs, received) = (columns.seqs()?, columns.times("received_at")?);
                let wanted =
                    |row: usize| seqs.value(row).cast_unsigned() >= from && received.value(row) >= since;
                let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(wanted(row))).collect();
                if mask.true_count() < batch.num_rows() {
                    let kept = filter_record_batch(batch, &mask);
                    *batch = kept.map_err(|error| Problem::internal(error.to_string()))?;
                }
            }
            batches.retain(|batch| batch.num_rows() > 0);
        }
        Ok(self)
    }
}

/// Segments, and the tail beside them, at one moment.
pub(super) struct Moment {
    pub(super) segments: Arc<Vec<Segment>>,
    pub(super) doubles: Arc<Doubles>,
    pub(super) tail: Vec<Arc<Unflushed>>,
    /// Ids of the segments.
    pub(super) files: Arc<IdFiles>,
}

impl Moment {
    /// The first position of this replica that is not there yet.
    fn until(&self) -> u64 {
        self.tail.last().map_or(0, |part| part.to)
    }

    /// A batch of records without those that are there twice.
    fn once(&self, replica: &str, batch: RecordBatch) -> Result<RecordBatch, Problem> {
        let Some(doubles) = self.doubles.get(replica) else { return Ok(batch) };
        without(batch, doubles)
    }

    /// What no segment holds.
    fn unflushed(&self, replica: &str, until: Cursor) -> Result<Fresh, Problem> {
        let records = self.tail.iter().flat_map(|part| part.records.iter().cloned());
        let records = records.map(|batch| self.once(replica, batch)).collect::<Result<_, _>>()?;
        let labels = self.tail.iter().flat_map(|part| part.labels.iter().cloned()).collect();
        Ok(Fresh { until, records, labels })
    }
}

/// A batch without the rows at these positions.
pub(super) fn without(batch: RecordBatch, positions: &BTreeSet<u64>) -> Result<RecordBatch, Problem> {
    let seqs = Columns(&batch).seqs()?;
    let wanted = |seq: &i64| Some(!positions.contains(&seq.cast_unsigned()));
    let mask: BooleanArray = seqs.values().iter().map(wanted).collect();
    filter_record_batch(&batch, &mask).map_err(|error| Problem::internal(error.to_string()))
}

impl ModelLog {
    pub(super) fn moment(&self) -> Moment {
        let tail = self.lock();
        let mut unflushed = tail.sealed.clone();
        unflushed.push(Arc::new(tail.open.clone()));
        let (segments, doubles, files) = (tail.segments.clone(), tail.doubles.clone(), tail.files.clone());
        Moment { segments, doubles, tail: unflushed, files }
    }

    /// Reads; where a segment was replaced meanwhile and its file is gone, reads again.
    fn reading<T>(&self, read: impl Fn(&Moment) -> Result<T, Problem>) -> Result<T, Problem> {
        for _ in 1..TRIES {
            match read(&self.moment()) {
                Err(problem) if problem.kind == ErrorKind::NotFound => self.refresh()?,
                result => return result,
            }
        }
        read(&self.moment())
    }

    pub(super) fn view(&self) -> Result<View, Problem> {
        let (shape, moment) = (self.shape(), self.moment());
        let files = |segment: &Segment| {
            let doubles = moment.doubles.get(&segment.replica);
            SegmentFiles {
                about: segment.clone(),
                left_out: doubles
                    .map(|doubles| doubles.range(segment.from..segment.to).copied().collect())
                    .unwrap_or_default(),
                storage: self.home.archive.storage.clone(),
            }
        };
        let segments = moment.segments.iter().map(files).collect();
        let Fresh { records, labels, .. } = moment.unflushed(&self.home.replica, Cursor::default())?;
        Ok(View { schema: shape.schema.clone(), segments, records, labels })
    }

    fn read_segment(&self, moment: &Moment, segment: &Segment, detail: Detail) -> Result<Fresh, Problem> {
        let (storage, columns) =
            (&self.home.archive.storage, (detail == Detail::Times).then_some(TIMES.as_slice()));
        let records = segment.read(storage, Kind::Records, columns)?;
        let records = records.map(|batch| moment.once(&segment.replica, batch)).transpose()?;
        Ok(Fresh {
            until: Cursor::default(),
            records: records.into_iter().collect(),
            labels: segment.read(storage, Kind::Labels, None)?.into_iter().collect(),
        })
    }

    /// What arrived since, a segment at a time; none if nothing did.
    pub(super) fn fresh(&self, from: &Cursor, detail: Detail) -> Result<Option<Fresh>, Problem> {
        let own = self.home.replica.as_str();
        self.reading(|moment| {
            if let Some(segment) =
                moment.segments.iter().find(|segment| segment.to > from.of(&segment.replica))
            {
                let read = self.read_segment(moment, segment, detail)?;
                let read = Fresh { until: from.with(&segment.replica, segment.to), ..read };
                return read.from(from.of(&segment.replica), i64::MIN).map(Some);
            }
            let until = moment.until();
            if until <= from.of(own) {
                return Ok(None);
            }
            moment.unflushed(own, from.with(own, until))?.from(from.of(own), i64::MIN).map(Some)
        })
    }

    /// Everything that was taken in at `since` or later, and was read by the one whose cursor is given.
    pub(super) fn arrivals(&self, since: i64, read: Option<&Cursor>) -> Result<Vec<Arrival>, Problem> {
        let (shape, own) = (self.shape(), self.home.replica.as_str());
        self.reading(|moment| {
            let mut by_replica: BTreeMap<&str, Vec<Arrival>> = BTreeMap::new();
            let mut add = |replica, fresh: Fresh| -> Result<(), Problem> {
                let until = read.map_or(u64::MAX, |cursor| cursor.of(replica));
                let arrivals = fresh.from(0, since)?.arrivals(&shape.schema)?;
                let known = by_replica.entry(replica).or_default();
                known.extend(arrivals.into_iter().filter(|arrival| arrival.seq < until));
                Ok(())
            };
            for segment in moment.segments.iter().filter(|segment| segment.received.1 >= since) {
                add(segment.replica.as_str(), self.read_segment(moment, segment, Detail::All)?)?;
            }
            add(own, moment.unflushed(own, Cursor::default())?)?;
            Ok(merged(by_replica))
        })
    }

    pub(super) fn table(&self, scan: &Scan) -> Result<Table, Problem> {
        let shape = self.shape();
        let fields = &shape.records;
        let range = (scan.from.map_or(i64::MIN, micros), scan.to.map_or(i64::MAX, micros));
        let (table, until) = self.reading(|moment| {
            let mut batches = Vec::new();
            for segment in moment.segments.iter().filter(|segment| scan.touches(segment.span)) {
                let file = self.home.archive.storage.open(&segment.file(Kind::Records))?;
                let batch = moment.once(&segment.replica, read_records(&file.path, range)?)?;
                batches.push(scan.select(&conform(&batch, fields)?)?);
            }
            for batch in moment.unflushed(&self.home.replica, Cursor::default())?.records {
                batches.push(scan.select(&conform(&batch, fields)?)?);
            }
            Ok((Table::sorted(fields, &batches)?, moment.until()))
        })?;
        let (labels, moments) = self.labels(table.batch(), scan.as_of.map_or(i64::MAX, micros), until)?;
        table.with(vec![("label", labels), ("label_time", moments)])
    }

    /// The labels of the rows of a batch that were taken in by a time, as far as their position in this replica's log is
    /// below `until`: their values and times.
    pub(super) fn labels(
        &self,
        batch: &RecordBatch,
        as_of: i64,
        until: u64,
    ) -> Result<(ArrayRef, ArrayRef), Problem> {
        let keys = self.home.keys.of(Kind::Labels, batch)?;
        let own = origin(&self.home.replica);
        let there = |known: &Known| known.received_at <= as_of && (known.origin != own || known.seq < until);
        let mut found: Vec<(usize, Known)> = Vec::with_capacity(keys.len());
        let files = {
            let tail = self.lock();
            for (place, key) in keys.iter().enumerate() {
                found.extend(tail.recents.labels(*key).filter(there).map(|known| (place, known)));
            }
            tail.files.clone()
        };
        files.labels(&keys, &mut |place, known| {
            if there(&known) {
                found.push((place, known));
            }
        })?;
        found.sort_by_key(|(place, _)| *place);
        let mut last = vec![None; keys.len()];
        for of_one in found.chunk_by(|a, b| a.0 == b.0) {
            let known: Vec<Known> = of_one.iter().map(|(_, known)| *known).collect();
            if let Some(last) = of_one.first().and_then(|(place, _)| last.get_mut(*place)) {
                *last = Known::last(&known);
            }
        }
        let labels: Float64Array = last.iter().map(|known| known.map(|known| known.label)).collect();
        let moments = last.iter().map(|known| known.map(|known| from_micros(known.time)));
        Ok((Arc::new(labels), times(moments)))
    }
}

/// Arrivals of all replicas in one order: by when they were taken in, and those of one replica as it took them in.
fn merged(by_replica: BTreeMap<&str, Vec<Arrival>>) -> Vec<Arrival> {
    let mut all = Vec::new();
    for mut arrivals in by_replica.into_values() {
        arrivals.sort_by_key(|arrival| arrival.seq);
        // Its clock may have gone back.
        let mut latest = Timestamp::MIN;
        all.extend(arrivals.into_iter().map(|arrival| {
            latest = latest.max(arrival.received_at);
            (latest, arrival)
        }));
    }
    all.sort_by_key(|(taken_in, _)| *taken_in);
    all.into_iter().map(|(_, arrival)| arrival).collect()
}
