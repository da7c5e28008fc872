//! Reading the log: everything at one moment, what is new since a position, and joined tables.

use super::model::ModelLog;
use super::tail::Unflushed;
use crate::codec::{Columns, conform, labels_from_batch, records_from_batch, times};
use crate::segment::{Segment, read_parquet, read_records};
use crate::table::{Scan, Table};
use crate::{Arrival, Kind};
use arrow::array::{BooleanArray, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use std::path::PathBuf;
use std::sync::Arc;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Problem, Schema};

/// A model's log at one moment: each row is in a segment or in the tail, never in both.
///
/// Records have the columns `_seq`, `received_at`, `id`, `time`, `version`, `_arm` (`shadow` for answers that no user
/// got), `_weight`, `_unit`, `latency_ms`, `status`, the features and the output; labels `_seq`, `received_at`, `id`,
/// `label`, `time`. A segment has the columns of its time.
#[derive(Debug, Clone)]
pub struct View {
    /// The columns of today.
    pub schema: Schema,
    /// Rows on disk as Parquet, in order of arrival.
    pub segments: Vec<SegmentFiles>,
    /// Records that no segment holds yet, in order of arrival.
    pub records: Vec<RecordBatch>,
    /// Labels that no segment holds yet, in order of arrival.
    pub labels: Vec<RecordBatch>,
    /// The first position after all of it.
    pub until: u64,
}

/// A segment's files. They do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFiles {
    /// Parquet file of records.
    pub records: PathBuf,
    /// Parquet file of labels.
    pub labels: PathBuf,
    /// First position, and the first after.
    pub positions: (u64, u64),
    /// Record times in microseconds, first and last; none without records.
    pub span: Option<(i64, i64)>,
    /// Number of records.
    pub record_rows: u64,
    /// Number of labels.
    pub label_rows: u64,
}

/// What arrived from a position on, in columns: part of a segment, or all that no segment holds yet.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Where to go on.
    pub until: u64,
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
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Vec<Arc<Unflushed>>,
}

impl ModelLog {
    pub(super) fn moment(&self) -> Moment {
        let tail = self.lock();
        let mut unflushed = tail.sealed.clone();
        unflushed.push(Arc::new(tail.open.clone()));
        Moment { segments: tail.segments.clone(), tail: unflushed }
    }

    pub(super) fn view(&self) -> View {
        let (shape, Moment { segments, tail }) = (self.shape(), self.moment());
        let files = |segment: &Segment| SegmentFiles {
            records: segment.records_path(&self.dir),
            labels: segment.labels_path(&self.dir),
            positions: (segment.from, segment.to),
            span: segment.span,
            record_rows: segment.records,
            label_rows: segment.labels,
        };
        View {
            schema: shape.schema.clone(),
            segments: segments.iter().map(files).collect(),
            records: tail.iter().flat_map(|part| part.records.iter().cloned()).collect(),
            labels: tail.iter().flat_map(|part| part.labels.iter().cloned()).collect(),
            until: tail.last().map_or(0, |part| part.to),
        }
    }

    fn read_segment(&self, segment: &Segment, detail: Detail) -> Result<Fresh, Problem> {
        let columns = (detail == Detail::Times).then_some(TIMES.as_slice());
        Ok(Fresh {
            until: segment.to,
            records: vec![read_parquet(&segment.records_path(&self.dir), columns)?],
            labels: vec![read_parquet(&segment.labels_path(&self.dir), None)?],
        })
    }

    /// What arrived from position `from` on, a segment at a time; none if nothing did.
    pub(super) fn fresh(&self, from: u64, detail: Detail) -> Result<Option<Fresh>, Problem> {
        let Moment { segments, tail } = self.moment();
        if let Some(segment) = segments.iter().find(|segment| segment.to > from) {
            return self.read_segment(segment, detail)?.from(from, i64::MIN).map(Some);
        }
        let until = tail.last().map_or(0, |part| part.to);
        if until <= from {
            return Ok(None);
        }
        let records = tail.iter().flat_map(|part| part.records.iter().cloned()).collect();
        let labels = tail.iter().flat_map(|part| part.labels.iter().cloned()).collect();
        Fresh { until, records, labels }.from(from, i64::MIN).map(Some)
    }

    pub(super) fn arrivals(&self, from: u64, since: i64) -> Result<Vec<Arrival>, Problem> {
        let (shape, Moment { segments, tail }) = (self.shape(), self.moment());
        let mut arrivals = Vec::new();
        let touched = |segment: &&Segment| segment.to > from && segment.received_until >= since;
        for segment in segments.iter().filter(touched) {
            let read = self.read_segment(segment, Detail::All)?.from(from, since)?;
            arrivals.extend(read.arrivals(&shape.schema)?);
        }
        for part in tail {
            let (records, labels) = (part.records.clone(), part.labels.clone());
            let read = Fresh { until: part.to, records, labels }.from(from, since)?;
            arrivals.extend(read.arrivals(&shape.schema)?);
        }
        Ok(arrivals)
    }

    pub(super) fn table(&self, scan: &Scan) -> Result<Table, Problem> {
        let (shape, Moment { segments, tail }) = (self.shape(), self.moment());
        let fields = &shape.records;
        let until = tail.last().map_or(0, |part| part.to);
        let mut batches = Vec::new();
        let range = (scan.from.map_or(i64::MIN, micros), scan.to.map_or(i64::MAX, micros));
        for segment in segments.iter().filter(|segment| scan.touches(segment.span)) {
            let batch = read_records(&segment.records_path(&self.dir), range)?;
            batches.push(scan.select(&conform(&batch, fields)?)?);
        }
        for batch in tail.iter().flat_map(|part| &part.records) {
            batches.push(scan.select(&conform(batch, fields)?)?);
        }
        let table = Table::sorted(fields, &batches)?;
        let keys = self.keys.of(Kind::Labels, table.batch())?;
        let as_of = scan.as_of.map_or(i64::MAX, micros);
        let (mut labels, mut moments) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        {
            let tail = self.lock();
            for key in keys {
                let known = tail.index.labels(key).iter();
                let known = known.rev().find(|known| known.received_at <= as_of && known.seq < until);
                labels.push(known.map(|known| known.label));
                moments.push(known.map(|known| from_micros(known.time)));
            }
        }
        let labels = Arc::new(Float64Array::from(labels));
        table.with(vec![("label", labels), ("label_time", times(moments.into_iter()))])
    }
}
