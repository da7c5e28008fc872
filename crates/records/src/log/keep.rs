//! Keeping what is there in order: small segments become larger ones, old ones go, and what is to be forgotten is erased.
//!
//! Each is one change of the catalogue: readers see what was before or what is after. If another process was faster, the
//! change is refused, and is tried again on what there is then. Replaced files stay for those who are reading them, until
//! they are removed as garbage; only what is erased goes at once.

use super::model::{Home, ModelLog};
use super::read::without;
use crate::Kind;
use crate::archive::{Change, Content, Segment, write_segment};
use crate::codec::{Columns, label_fields, value};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;
use steersman_domain::{ErrorKind, Problem};

/// A segment grows to so many rows and bytes at most: what compaction holds in memory is bounded.
const MOST_ROWS: u64 = 262_144;
const MOST_BYTES: u64 = 64 << 20;
/// And was taken in within so many microseconds, a day: retention drops whole segments.
const LONGEST: i64 = 86_400_000_000;
/// So few segments are not worth it.
const FEWEST: usize = 4;
/// So often it is tried again when another process is faster.
const TRIES: usize = 5;

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compacted {
    /// So many segments became one; 0 if there was nothing to do.
    pub segments: u64,
    /// Records that were there twice and are not any more.
    pub doubles: u64,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Dropped {
    /// Segments that were dropped or written anew.
    pub segments: u64,
    /// Records that are gone.
    pub records: u64,
    /// Labels that are gone.
    pub labels: u64,
}

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// The record of this id, with its labels.
    Id(String),
    /// All records with this value in a column, with their labels.
    Column {
        /// Name of the column.
        name: String,
        /// The value, as it is written in CSV.
        value: String,
    },
}

/// Both kinds of rows of a segment.
struct Both {
    records: Option<RecordBatch>,
    labels: Option<RecordBatch>,
}

impl ModelLog {
    fn read_both(&self, segment: &Segment) -> Result<Both, Problem> {
        let storage = &self.home.archive.storage;
        Ok(Both {
            records: segment.read(storage, Kind::Records, None)?,
            labels: segment.read(storage, Kind::Labels, None)?,
        })
    }

    /// Writes a segment of these positions; none if there are no rows.
    fn write_both(
        &self,
        replica: &str,
        positions: (u64, u64),
        parts: &[Both],
    ) -> Result<Option<Segment>, Problem> {
        let records: Vec<RecordBatch> = parts.iter().filter_map(|part| part.records.clone()).collect();
        let labels: Vec<RecordBatch> = parts.iter().filter_map(|part| part.labels.clone()).collect();
        if records.iter().chain(&labels).all(|batch| batch.num_rows() == 0) {
            return Ok(None);
        }
        let fields = records.first().map_or_else(|| self.shape().records.clone(), RecordBatch::schema);
        let Home { model, archive, .. } = &self.home;
        let content = Content {
            model: model.as_str(),
            replica,
            positions,
            records: (&fields, &records),
            labels: (&label_fields(), &labels),
            lasting: true,
        };
        write_segment(&archive.storage, &content).map(Some)
    }

    /// Makes one run of small segments into one.
    pub(super) fn compact(&self) -> Result<Compacted, Problem> {
        let moment = self.moment();
        let doubles_in = |segment: &Segment| {
            let doubles = moment.doubles.get(&segment.replica);
            doubles.map_or(0, |doubles| doubles.range(segment.from..segment.to).count() as u64)
        };
        let mut run = run(&moment.segments);
        if run.is_empty() {
            run.extend(moment.segments.iter().find(|segment| doubles_in(segment) > 0).cloned());
        }
        let nothing = BTreeSet::new();
        let mut parts: Vec<Both> = Vec::new();
        for segment in &run {
            let mut part = self.read_both(segment)?;
            let doubles = moment.doubles.get(&segment.replica).unwrap_or(&nothing);
            part.records = part.records.map(|batch| without(batch, doubles)).transpose()?;
            // Where the columns changed, a new segment begins.
            let fields = |part: &Both| part.records.as_ref().map(|batch| batch.schema().fields().clone());
            let known = parts.iter().find_map(fields);
            if known.is_some() && fields(&part).is_some_and(|fields| Some(fields) != known) {
                break;
            }
            parts.push(part);
        }
        run.truncate(parts.len());
        let doubles: u64 = run.iter().map(doubles_in).sum();
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Compacted::default()) };
        if run.len() < 2 && doubles == 0 {
            return Ok(Compacted::default());
        }
        let written = self.write_both(&first.replica, (first.from, last.to), &parts)?;
        let remove = run.iter().map(|segment| segment.object.clone()).collect();
        let change = Change { add: written.into_iter().collect(), remove, flushed: None };
        match self.home.archive.catalogue.change(&self.home.model, &change) {
            Err(problem) if problem.kind == ErrorKind::Conflict => {
                self.refresh()?;
                return Ok(Compacted::default());
            }
            result => result?,
        }
        self.refresh()?;
        Ok(Compacted { segments: run.len() as u64, doubles })
    }

    /// The segments of which all is older than this.
    pub(super) fn expired(&self, before: i64) -> (Dropped, Vec<String>) {
        let mut dropped = Dropped::default();
        let mut objects = Vec::new();
        for segment in self.moment().segments.iter() {
            if segment.received.1 < before && segment.span.is_none_or(|(_, last)| last < before) {
                dropped.segments += 1;
                dropped.records += segment.records;
                dropped.labels += segment.labels;
                objects.push(segment.object.clone());
            }
        }
        (dropped, objects)
    }

    pub(super) fn expire(&self, before: i64) -> Result<Dropped, Problem> {
        self.changing(|| {
            let (dropped, remove) = self.expired(before);
            Ok((dropped, Change { remove, ..Change::default() }))
        })
    }

    /// Changes the catalogue; where another process was faster, once more.
    fn changing<T>(&self, plan: impl Fn() -> Result<(T, Change), Problem>) -> Result<T, Problem> {
        for _ in 0..TRIES {
            let (result, change) = plan()?;
            if change.remove.is_empty() {
                return Ok(result);
            }
            let changed = self.home.archive.catalogue.change(&self.home.model, &change);
            self.refresh()?;
            match changed {
                Err(problem) if problem.kind == ErrorKind::Conflict => {}
                changed => return changed.map(|()| result),
            }
        }
        Err(Problem::new(ErrorKind::Unavailable, "the segments change too fast").hint("try again"))
    }

    pub(super) fn erase(&self, what: &Erase) -> Result<Dropped, Problem> {
        self.can_erase(what)?;
        // What is in no segment yet becomes one; the write-ahead log goes with that.
        self.flush()?;
        self.refresh()?;
        let (dropped, removed) = self.changing(|| self.plan_erasure(what))?;
        // Nor does a key of it stay.
        self.merge_ids(&AtomicBool::new(false))?;
        // What was refused may name it too.
        self.quarantine.clear()?;
        self.home.archive.storage.remove(&removed)?;
        Ok(dropped)
    }

    /// Refuses what names no column.
    pub(super) fn can_erase(&self, what: &Erase) -> Result<(), Problem> {
        if let Erase::Column { name, .. } = what
            && !self.has_column(name)?
        {
            return Err(Problem::not_found(format!("no record has a column `{name}`"))
                .hint("the columns are those of the reference; a record is named with `--id`"));
        }
        Ok(())
    }

    fn has_column(&self, name: &str) -> Result<bool, Problem> {
        let moment = self.moment();
        let in_tail = |batch: &RecordBatch| batch.column_by_name(name).is_some();
        if self.shape().records.column_with_name(name).is_some()
            || moment.tail.iter().flat_map(|part| &part.records).any(in_tail)
        {
            return Ok(true);
        }
        for segment in moment.segments.iter() {
            let records = segment.read(&self.home.archive.storage, Kind::Records, Some(&["_seq", name]))?;
            if records.as_ref().is_some_and(in_tail) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The ids of all records that are meant.
    fn ids_of(&self, what: &Erase) -> Result<HashSet<String>, Problem> {
        let (name, wanted) = match what {
            Erase::Id(id) => return Ok(HashSet::from([id.clone()])),
            Erase::Column { name, value } => (name, value),
        };
        let mut ids = HashSet::new();
        for segment in self.moment().segments.iter() {
            let columns = ["_seq", "id", name];
            let records = segment.read(&self.home.archive.storage, Kind::Records, Some(&columns))?;
            let Some(batch) = &records else { continue };
            let Some(column) = batch.column_by_name(name) else { continue };
            let of = Columns(batch).texts("id")?;
            let meant = |row: &usize| value(column, *row).category().as_ref() == Some(wanted);
            ids.extend((0..batch.num_rows()).filter(meant).map(|row| of.value(row).to_owned()));
        }
        Ok(ids)
    }

    /// The segments without what is meant, the counts of that, and the files that are to be removed.
    fn plan_erasure(&self, what: &Erase) -> Result<((Dropped, Vec<String>), Change), Problem> {
        let ids = self.ids_of(what)?;
        let (mut dropped, mut removed, mut change) = (Dropped::default(), Vec::new(), Change::default());
        for segment in self.moment().segments.iter() {
            let Both { records, labels } = self.read_both(segment)?;
            let (records, records_gone) = not_of(records, &ids)?;
            let (labels, labels_gone) = not_of(labels, &ids)?;
            if records_gone + labels_gone == 0 {
                continue;
            }
            dropped.segments += 1;
            dropped.records += records_gone;
            dropped.labels += labels_gone;
            let parts = [Both { records, labels }];
            change.add.extend(self.write_both(&segment.replica, (segment.from, segment.to), &parts)?);
            change.remove.push(segment.object.clone());
            removed.extend(segment.files());
        }
        Ok(((dropped, removed), change))
    }

    pub(super) fn remove_garbage(&self, before: Timestamp) -> Result<u64, Problem> {
        let Home { model, archive, .. } = &self.home;
        let mut found = archive.storage.older(model.as_str(), SystemTime::from(before))?;
        // Asked for afterwards: what is old by now and named later was named before.
        let listing = archive.catalogue.list(model)?;
        let named: HashSet<String> = listing.segments.iter().flat_map(Segment::files).collect();
        found.retain(|name| !named.contains(name));
        archive.storage.remove(&found)?;
        Ok(found.len() as u64)
    }
}

/// The rows whose id is none of these, and how many others there are.
fn not_of(batch: Option<RecordBatch>, ids: &HashSet<String>) -> Result<(Option<RecordBatch>, u64), Problem> {
    let Some(batch) = batch else { return Ok((None, 0)) };
    let of = Columns(&batch).texts("id")?;
    let mask: BooleanArray = of.iter().map(|id| Some(id.is_none_or(|id| !ids.contains(id)))).collect();
    let kept = filter_record_batch(&batch, &mask).map_err(|error| Problem::internal(error.to_string()))?;
    let gone = (batch.num_rows() - kept.num_rows()) as u64;
    Ok((Some(kept), gone))
}

/// Neighbours that are worth putting together: at least a few, none of them larger than the others together.
fn run(segments: &[Segment]) -> Vec<Segment> {
    let mut sorted: Vec<&Segment> = segments.iter().collect();
    sorted.sort_by_key(|segment| (&segment.replica, segment.from));
    for start in 0..sorted.len() {
        let (mut rows, mut bytes, mut largest, mut best) = (0, 0, 0, 0);
        for (count, segment) in sorted[start..].iter().enumerate() {
            let size = segment.records + segment.labels;
            (rows, bytes, largest) = (rows + size, bytes + segment.bytes, size.max(largest));
            let fits = segment.replica == sorted[start].replica
                && rows <= MOST_ROWS
                && bytes <= MOST_BYTES
                && segment.received.1 - sorted[start].received.0 <= LONGEST;
            if !fits {
                break;
            }
            if count + 1 >= FEWEST && largest * 2 <= rows {
                best = count + 1;
            }
        }
        if best > 0 {
            return sorted[start..start + best].iter().map(|segment| (*segment).clone()).collect();
        }
    }
    Vec::new()
}
