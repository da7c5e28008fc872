//! What the catalogue says is taken over here: segments of other replicas, and what became of one's own.
//!
//! A record that two replicas took in is there twice until compaction. The one that was taken in first counts, as it does
//! within one replica: with the last, what was known at an earlier time would change once the first is gone.

use super::ids::{IdFile, IdFiles, Missing, Part, Recents, Stretch, origin, write_doubles};
use super::model::{Home, ModelLog};
use super::tail::Unflushed;
use crate::Kind;
use crate::archive::{Change, Content, Segment, read_parquet, write_segment};
use crate::codec::Columns;
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use steersman_domain::Problem;

/// For each replica the positions of rows that another row of the same id stands before.
pub(super) type Doubles = BTreeMap<String, BTreeSet<u64>>;

/// So many rows are brought into one file of ids, when segments are looked through.
const TOGETHER: u64 = 1 << 19;

/// The columns of records that say where an id is.
const KEYS: [&str; 4] = ["_seq", "received_at", "id", "_arm"];

/// Where a record is: when it was taken in, by whom, at which position.
type Place = (i64, String, u64);

/// What is known of records that are there twice.
#[derive(Debug, Default)]
pub(super) struct Taken {
    places: HashMap<u128, Vec<Place>>,
}

impl Taken {
    /// Finds out where records are that may be there twice, writes that down, and returns the positions of those that do
    /// not count. Only where there are new `suspects` is anything read, and only segments that `files` say may hold one.
    pub(super) fn resolve(
        &mut self,
        home: &Home,
        files: &IdFiles,
        suspects: &HashSet<u128>,
        segments: &[Segment],
        tail: &[Unflushed],
    ) -> Result<Doubles, Problem> {
        let before: HashSet<u128> = self.places.keys().copied().collect();
        self.places.retain(|key, places| places.len() > 1 && !suspects.contains(key));
        if !suspects.is_empty() {
            let keys: Vec<u128> = suspects.iter().copied().collect();
            for segment in files.holding(&keys, segments)? {
                if let Some(batch) = segment.read(&home.archive.storage, Kind::Records, Some(&KEYS))? {
                    self.look(home, suspects, &segment.replica, &batch)?;
                }
            }
            for batch in tail.iter().flat_map(|part| &part.records) {
                self.look(home, suspects, &home.replica, batch)?;
            }
        }
        self.places.retain(|_, places| places.len() > 1);
        let now: HashSet<u128> = self.places.keys().copied().collect();
        if now != before || !suspects.is_empty() {
            write_doubles(home.names.dir(), &now)?;
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

    /// Forgets rows that are gone, because a segment was written anew without them.
    fn forget_gone(&mut self, home: &Home, known: &[Segment], segments: &[Segment]) -> Result<(), Problem> {
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
                places.retain(|(_, replica, seq)| !within(replica, *seq) || there.contains(seq));
            }
        }
        Ok(())
    }

    fn look(
        &mut self,
        home: &Home,
        suspects: &HashSet<u128>,
        replica: &str,
        batch: &RecordBatch,
    ) -> Result<(), Problem> {
        let columns = Columns(batch);
        let (seqs, received) = (columns.seqs()?, columns.times("received_at")?);
        for (row, key) in home.keys.of(Kind::Records, batch)?.into_iter().enumerate() {
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

/// Segments that were looked through.
pub(super) struct Indexed {
    /// All files of ids, with those that were made.
    pub(super) files: IdFiles,
    /// Those that were made, to be published.
    pub(super) drafts: Vec<Arc<IdFile>>,
    /// The keys of records that were there already.
    pub(super) again: HashSet<u128>,
}

/// Makes files of the ids of segments that none covers.
pub(super) fn index_segments(
    home: &Home,
    mut files: IdFiles,
    segments: &[Missing<'_>],
) -> Result<Indexed, Problem> {
    let (mut drafts, mut again) = (Vec::new(), HashSet::new());
    let (mut recents, mut stretches, mut rows) = (Recents::default(), Vec::new(), 0);
    for (place, Missing { segment, found }) in segments.iter().enumerate() {
        for (kind, columns) in [(Kind::Records, Some(KEYS.as_slice())), (Kind::Labels, None)] {
            if let Some(batch) = segment.read(&home.archive.storage, kind, columns)? {
                let keys = home.keys.of(kind, &batch)?;
                again.extend(recents.add(&files, kind, &keys, &batch, origin(&segment.replica))?);
            }
        }
        let counts = found.unwrap_or(recents.open.counts);
        recents.seal(segment.to, std::iter::empty());
        stretches.push(Stretch::of(segment, counts));
        rows += segment.records + segment.labels;
        if rows < TOGETHER && place + 1 < segments.len() {
            continue;
        }
        let parts = std::mem::take(&mut stretches).into_iter().zip(&recents.sealed);
        let parts: Vec<Part<'_>> = parts.map(|(stretch, recent)| Part { stretch, recent }).collect();
        let file = IdFile::write(home.names.next(), &home.keys, &parts, &home.memory)?;
        files = files.with(file.clone());
        drafts.push(file);
        drop(parts);
        (recents, rows) = (Recents::default(), 0);
    }
    Ok(Indexed { files, drafts, again })
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

impl ModelLog {
    /// Takes over what the catalogue says now.
    pub(super) fn refresh(&self) -> Result<(), Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suspects = HashSet::new();
        // Made in an earlier turn; they count once they are in the tail.
        let mut drafts: Vec<Arc<IdFile>> = Vec::new();
        loop {
            let (generation, known, flushed, before) = {
                let tail = self.lock();
                (tail.generation, tail.segments.clone(), tail.flushed, tail.files.clone())
            };
            let listing = self.home.archive.catalogue.list(&self.home.model)?;
            let own = self.home.replica.as_str();
            // What this replica is just entering is still in its tail.
            let visible = |segment: &Segment| segment.replica != own || segment.to <= flushed;
            let mut segments: Vec<Segment> = listing.segments.into_iter().filter(visible).collect();
            reading_order(&mut segments);
            if segments == *known {
                drafts.iter().for_each(|file| file.discard());
                return Ok(());
            }
            taken.forget_gone(&self.home, &known, &segments)?;
            let all = drafts.iter().fold((*before).clone(), |all, file| all.with(file.clone()));
            let (living, missing) = all.reconciled(&segments);
            let indexed = index_segments(&self.home, living, &missing)?;
            suspects.extend(indexed.again);
            drafts.extend(indexed.drafts);
            let files = indexed.files;
            // What a replica is just taking in may be in a segment of another.
            let fresh = drafts.iter().fold(IdFiles::default(), |fresh, file| fresh.with(file.clone()));
            let keys: Vec<u128> = self.lock().recents.record_keys().collect();
            suspects.extend(in_files(&fresh, &keys)?);
            if !suspects.is_empty() {
                self.settle();
            }
            let parts: Vec<Unflushed> = self.moment().tail.iter().map(|part| (**part).clone()).collect();
            let doubles = taken.resolve(&self.home, &files, &suspects, &segments, &parts)?;
            let mut tail = self.lock();
            if tail.generation != generation || !Arc::ptr_eq(&tail.files, &before) {
                continue;
            }
            // One that was taken in here meanwhile is there twice, too.
            let keys: Vec<u128> = tail.recents.record_keys().filter(|key| !suspects.contains(key)).collect();
            let late = in_files(&fresh, &keys)?;
            if !late.is_empty() {
                suspects.extend(late);
                continue;
            }
            let (files, dead) = files.pruned();
            tail.files = Arc::new(files);
            tail.segments = Arc::new(segments);
            tail.doubles = Arc::new(doubles);
            tail.generation += 1;
            drop(tail);
            // Without its name a segment is looked through again at the next start.
            drafts.iter().for_each(|file| drop(file.publish()));
            dead.iter().for_each(|file| file.remove());
            let named: HashSet<String> =
                self.moment().segments.iter().flat_map(|segment| segment.files()).collect();
            let folder = format!("{}/", self.home.model);
            return self.home.archive.storage.forget_copies(&folder, &|name| named.contains(name));
        }
    }
}

/// Those of these keys that records in the files have.
fn in_files(files: &IdFiles, keys: &[u128]) -> Result<HashSet<u128>, Problem> {
    let mut found = HashSet::new();
    files.records(keys, &mut |place, _, _| found.extend(keys.get(place)))?;
    Ok(found)
}
