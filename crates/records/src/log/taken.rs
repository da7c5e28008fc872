//! What the catalogue says is taken over here: segments of other replicas, and what became of one's own.
//!
//! A record that two replicas took in is there twice until compaction. The one that was taken in first counts, as it does
//! within one replica: with the last, what was known at an earlier time would change once the first is gone.

use super::index::{Doubles, Index, Keys};
use super::model::{Home, ModelLog};
use super::tail::Unflushed;
use crate::Kind;
use crate::archive::{Change, Content, Segment, read_parquet, write_segment};
use crate::codec::Columns;
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use steersman_domain::Problem;

/// The columns of records that the index needs.
const KEYS: [&str; 4] = ["_seq", "received_at", "id", "_arm"];

/// Where a record is: when it was taken in, by whom, at which position.
type Place = (i64, String, u64);

/// What is known of records that are there twice.
#[derive(Debug, Default)]
pub(super) struct Taken {
    places: HashMap<u128, Vec<Place>>,
}

impl Taken {
    /// Finds out where records are that may be there twice, and returns the positions of those that do not count. Only
    /// where there are new `suspects` is anything read.
    pub(super) fn resolve(
        &mut self,
        home: &Home,
        keys: &Keys,
        suspects: &HashSet<u128>,
        segments: &[Segment],
        tail: &[Unflushed],
    ) -> Result<Doubles, Problem> {
        self.places.retain(|key, places| places.len() > 1 && !suspects.contains(key));
        if !suspects.is_empty() {
            for segment in segments {
                if let Some(batch) = segment.read(&home.archive.storage, Kind::Records, Some(&KEYS))? {
                    self.look(keys, suspects, &segment.replica, &batch)?;
                }
            }
            for batch in tail.iter().flat_map(|part| &part.records) {
                self.look(keys, suspects, &home.replica, batch)?;
            }
        }
        let mut doubles = Doubles::new();
        for places in self.places.values_mut() {
            places.sort();
            for (_, replica, seq) in places.iter().skip(1) {
                doubles.entry(replica.clone()).or_default().insert(*seq);
            }
        }
        Ok(doubles)
    }

    /// Forgets rows that are gone, because a segment was written anew without them; returns how many of each replica.
    fn forget_gone(
        &mut self,
        home: &Home,
        known: &[Segment],
        segments: &[Segment],
    ) -> Result<BTreeMap<String, u64>, Problem> {
        let mut gone = BTreeMap::new();
        for old in known.iter().filter(|old| !segments.contains(old)) {
            let within =
                |replica: &str, seq: u64| replica == old.replica && (old.from..old.to).contains(&seq);
            let places = self.places.values().flatten();
            if !places.into_iter().any(|(_, replica, seq)| within(replica, *seq)) {
                continue;
            }
            let mut there = HashSet::new();
            let overlaps =
                |new: &&Segment| new.replica == old.replica && new.from < old.to && old.from < new.to;
            for new in segments.iter().filter(overlaps) {
                if let Some(batch) = new.read(&home.archive.storage, Kind::Records, Some(&KEYS[..1]))? {
                    there.extend(Columns(&batch).seqs()?.values().iter().map(|seq| seq.cast_unsigned()));
                }
            }
            for places in self.places.values_mut() {
                let before = places.len();
                places.retain(|(_, replica, seq)| !within(replica, *seq) || there.contains(seq));
                let fewer = (before - places.len()) as u64;
                if fewer > 0 {
                    *gone.entry(old.replica.clone()).or_default() += fewer;
                }
            }
        }
        Ok(gone)
    }

    fn look(
        &mut self,
        keys: &Keys,
        suspects: &HashSet<u128>,
        replica: &str,
        batch: &RecordBatch,
    ) -> Result<(), Problem> {
        let columns = Columns(batch);
        let (seqs, received) = (columns.seqs()?, columns.times("received_at")?);
        for (row, key) in keys.of(Kind::Records, batch)?.into_iter().enumerate() {
            if suspects.contains(&key) {
                let place = (received.value(row), replica.to_owned(), seqs.value(row).cast_unsigned());
                self.places.entry(key).or_default().push(place);
            }
        }
        Ok(())
    }
}

/// The order in which segments are read: by when they were begun, those of one replica by position.
pub(super) fn reading_order(segments: &mut [Segment]) {
    segments.sort_by(|a, b| (&a.replica, a.from).cmp(&(&b.replica, b.from)));
    let mut latest: BTreeMap<String, i64> = BTreeMap::new();
    segments.sort_by_cached_key(|segment| {
        let latest = latest.entry(segment.replica.clone()).or_insert(i64::MIN);
        *latest = segment.received.0.max(*latest);
        (*latest, segment.replica.clone(), segment.from)
    });
}

/// The rows of a segment that the index needs, of each kind, with their keys.
fn keyed(
    home: &Home,
    keys: &Keys,
    segment: &Segment,
) -> Result<Vec<(Kind, Vec<u128>, RecordBatch)>, Problem> {
    let mut found = Vec::new();
    for (kind, columns) in [(Kind::Records, Some(KEYS.as_slice())), (Kind::Labels, None)] {
        if let Some(batch) = segment.read(&home.archive.storage, kind, columns)? {
            found.push((kind, keys.of(kind, &batch)?, batch));
        }
    }
    Ok(found)
}

/// Puts segments into the index; returns the keys of records that are there twice.
pub(super) fn index_segments(
    home: &Home,
    keys: &Keys,
    segments: &[Segment],
    index: &mut Index,
) -> Result<HashSet<u128>, Problem> {
    let mut suspects = HashSet::new();
    for segment in segments {
        for (kind, keys, batch) in keyed(home, keys, segment)? {
            suspects.extend(index.add(kind, &keys, &batch, segment.replica == home.replica)?);
        }
    }
    Ok(suspects)
}

/// Enters the segments of a folder that had no catalogue yet. Returns whether there are any.
pub(super) fn adopt(home: &Home) -> Result<bool, Problem> {
    let range = |name: &str| -> Option<(u64, u64)> {
        let (from, to) = name.strip_prefix("records-")?.strip_suffix(".parquet")?.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    let entries = std::fs::read_dir(&home.dir).map_err(|error| Problem::io("list", &home.dir, &error))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut ranges: Vec<(u64, u64)> = names.filter_map(|name| range(&name)).collect();
    ranges.sort_unstable();
    let Some(&(_, until)) = ranges.last() else { return Ok(false) };
    let mut change = Change { flushed: Some((home.replica.clone(), until)), ..Change::default() };
    for (from, to) in ranges {
        let path = |kind: &str| home.dir.join(format!("{kind}-{from:012}-{to:012}.parquet"));
        let (records, labels) = (read_parquet(&path("records"), None)?, read_parquet(&path("labels"), None)?);
        let content = Content {
            model: home.model.as_str(),
            replica: &home.replica,
            positions: (from, to),
            records: (records.schema_ref(), std::slice::from_ref(&records)),
            labels: (labels.schema_ref(), std::slice::from_ref(&labels)),
            lasting: true,
        };
        change.add.push(write_segment(&home.archive.storage, &content)?);
    }
    home.archive.catalogue.change(&home.model, &change)?;
    Ok(true)
}

/// How many rows there are of each replica, below these positions.
fn rows(segments: &[Segment], until: &BTreeMap<&str, u64>) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for segment in segments {
        if until.get(segment.replica.as_str()).is_some_and(|until| segment.to <= *until) {
            *rows.entry(segment.replica.clone()).or_default() += segment.records + segment.labels;
        }
    }
    rows
}

impl ModelLog {
    /// Takes over what the catalogue says now.
    pub(super) fn refresh(&self) -> Result<(), Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suspects = HashSet::new();
        loop {
            let (generation, known, flushed) = {
                let tail = self.lock();
                (tail.generation, tail.segments.clone(), tail.flushed)
            };
            let listing = self.home.archive.catalogue.list(&self.home.model)?;
            let own = self.home.replica.as_str();
            // What this replica is just entering is still in its tail.
            let visible = |segment: &Segment| segment.replica != own || segment.to <= flushed;
            let mut segments: Vec<Segment> = listing.segments.into_iter().filter(visible).collect();
            reading_order(&mut segments);
            if segments == *known {
                return Ok(());
            }
            let mut seen: BTreeMap<&str, u64> = BTreeMap::from([(own, flushed)]);
            for segment in known.iter() {
                let until = seen.entry(segment.replica.as_str()).or_default();
                *until = segment.to.max(*until);
            }
            // Where ids are gone the index is made anew; else only what is new comes to it.
            let mut left = rows(&known, &seen);
            for (replica, gone) in taken.forget_gone(&self.home, &known, &segments)? {
                let left = left.entry(replica).or_default();
                *left = left.saturating_sub(gone);
            }
            left.retain(|_, rows| *rows > 0);
            let anew = left != rows(&segments, &seen);
            let mut index = Index::default();
            let mut fresh = Vec::new();
            if anew {
                suspects.extend(index_segments(&self.home, &self.keys, &segments, &mut index)?);
            } else {
                for segment in &segments {
                    let from = seen.get(segment.replica.as_str()).copied().unwrap_or(0);
                    if segment.to > from {
                        fresh.extend(new_rows(keyed(&self.home, &self.keys, segment)?, from)?);
                    }
                }
                let tail = self.lock();
                let records = fresh.iter().filter(|(kind, ..)| *kind == Kind::Records);
                suspects
                    .extend(records.flat_map(|(_, keys, _)| keys).filter(|key| tail.index.has_record(**key)));
            }
            if anew {
                let moment = self.moment();
                for part in &moment.tail {
                    for batch in &part.records {
                        let keys = self.keys.of(Kind::Records, batch)?;
                        suspects.extend(keys.into_iter().filter(|key| index.has_record(*key)));
                    }
                }
                taken.places.clear();
            }
            let parts: Vec<Unflushed> = self.moment().tail.iter().map(|part| (**part).clone()).collect();
            let doubles = taken.resolve(&self.home, &self.keys, &suspects, &segments, &parts)?;
            let mut tail = self.lock();
            if tail.generation != generation {
                continue;
            }
            if anew {
                let tail = &mut *tail;
                for part in tail.sealed.iter().map(|part| &**part).chain([&tail.open]) {
                    for (kind, batches) in [(Kind::Records, &part.records), (Kind::Labels, &part.labels)] {
                        for batch in batches {
                            index.add(kind, &self.keys.of(kind, batch)?, batch, true)?;
                        }
                    }
                }
                for pending in &tail.pending {
                    index.add(pending.frame.kind, &pending.keys, &pending.batch, true)?;
                }
                tail.index = index;
            } else {
                // One that was taken in here meanwhile is there twice, too.
                let records = fresh.iter().filter(|(kind, ..)| *kind == Kind::Records);
                let late: Vec<u128> = records
                    .flat_map(|(_, keys, _)| keys)
                    .filter(|key| tail.index.has_record(**key) && !suspects.contains(key))
                    .copied()
                    .collect();
                if !late.is_empty() {
                    suspects.extend(late);
                    continue;
                }
                for (kind, keys, batch) in fresh {
                    tail.index.add(kind, &keys, &batch, false)?;
                }
            }
            tail.segments = Arc::new(segments);
            tail.doubles = Arc::new(doubles);
            tail.generation += 1;
            drop(tail);
            let named: HashSet<String> =
                self.moment().segments.iter().flat_map(|segment| segment.files()).collect();
            let folder = format!("{}/", self.home.model);
            return self.home.archive.storage.forget_copies(&folder, &|name| named.contains(name));
        }
    }
}

/// The rows at position `from` or later.
fn new_rows(
    parts: Vec<(Kind, Vec<u128>, RecordBatch)>,
    from: u64,
) -> Result<Vec<(Kind, Vec<u128>, RecordBatch)>, Problem> {
    let mut new = Vec::new();
    for (kind, keys, batch) in parts {
        // They are in order of position.
        let seqs = Columns(&batch).seqs()?;
        let first = seqs.values().partition_point(|seq| seq.cast_unsigned() < from);
        let count = batch.num_rows() - first;
        if count > 0 {
            new.push((kind, keys[first..].to_vec(), batch.slice(first, count)));
        }
    }
    Ok(new)
}
