//! The ids of rows that no file holds yet: of the tail, part by part, also of what is being written. They are in memory, and
//! go when their part has become a segment and a file of ids.

use super::files::IdFiles;
use crate::Kind;
use crate::codec::Columns;
use arrow::array::{Array as _, RecordBatch};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use steersman_domain::Problem;

/// Takes a key, which is a hash already, as its own hash.
#[derive(Debug, Default)]
pub(in crate::log) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

type Folding = BuildHasherDefault<Folded>;

/// A label and when it was taken in; times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::log) struct Known {
    pub(in crate::log) label: f64,
    pub(in crate::log) time: i64,
    pub(in crate::log) received_at: i64,
    /// Its position in the log of the replica that took it in.
    pub(in crate::log) seq: u64,
    /// Which replica that is.
    pub(in crate::log) origin: u64,
}

impl Known {
    /// The last of these: those of one replica come one after the other, whatever its clock says.
    pub(in crate::log) fn last(known: &[Self]) -> Option<Self> {
        let alone = known.windows(2).all(|pair| pair.iter().all(|one| one.origin == known[0].origin));
        known
            .iter()
            .max_by_key(|one| match alone {
                true => (0, 0, one.seq),
                false => (one.received_at, one.origin, one.seq),
            })
            .copied()
    }
}

/// What labels found and what found labels, at the moment at which each came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::log) struct Counts {
    /// Ids that had no label before.
    labelled: i64,
    /// How many of those had no record.
    waiting: i64,
    /// Records that a label waited for.
    met: i64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.labelled += other.labelled;
        self.waiting += other.waiting;
        self.met += other.met;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        self.labelled -= other.labelled;
        self.waiting -= other.waiting;
        self.met -= other.met;
    }
}

impl Counts {
    /// These where so many labels are gone: mostly the first of their ids.
    pub(super) fn without_labels(self, gone: u64) -> Self {
        Self { labelled: (self.labelled - i64::try_from(gone).unwrap_or(0)).max(0), ..self }
    }

    /// Ids with a label and no record. Where records went before their labels did, those are not among them.
    pub(in crate::log) fn without_record(self) -> u64 {
        u64::try_from(self.waiting - self.met).unwrap_or(0)
    }

    /// Records with a label.
    pub(in crate::log) fn joined(self) -> u64 {
        u64::try_from(self.labelled).unwrap_or(0).saturating_sub(self.without_record())
    }
}

/// Those of one part of the tail.
#[derive(Debug, Default)]
pub(in crate::log) struct Recent {
    pub(super) records: HashSet<u128, Folding>,
    pub(super) labels: HashMap<u128, Vec<Known>, Folding>,
    pub(in crate::log) counts: Counts,
}

/// What is known of keys before they are looked at under the lock: what files hold of them.
#[derive(Debug)]
pub(in crate::log) struct Asked {
    /// Whether there is a record.
    pub(in crate::log) there: Vec<bool>,
    /// The labels; for records only the last one of each.
    pub(in crate::log) labels: Vec<Option<Known>>,
}

/// Those of all parts: closed ones, oldest first, and the open one.
#[derive(Debug, Default)]
pub(in crate::log) struct Recents {
    pub(in crate::log) sealed: Vec<Arc<Recent>>,
    pub(in crate::log) open: Recent,
}

impl Recents {
    fn parts(&self) -> impl Iterator<Item = &Recent> {
        self.sealed.iter().map(|part| &**part).chain([&self.open])
    }

    pub(in crate::log) fn has_record(&self, key: u128) -> bool {
        self.parts().any(|part| part.records.contains(&key))
    }

    /// What is known of an id.
    pub(in crate::log) fn labels(&self, key: u128) -> impl Iterator<Item = Known> {
        self.parts().filter_map(move |part| part.labels.get(&key)).flatten().copied()
    }

    /// The keys of all records.
    pub(in crate::log) fn record_keys(&self) -> impl Iterator<Item = u128> {
        self.parts().flat_map(|part| part.records.iter().copied())
    }

    /// The last label of an id, where files hold `older`.
    pub(in crate::log) fn last_label(&self, key: u128, older: Option<Known>) -> Option<Known> {
        let mut known = self.labels(key).peekable();
        if known.peek().is_none() {
            return older;
        }
        Known::last(&older.into_iter().chain(known).collect::<Vec<_>>())
    }

    /// Adds a record that no file holds; none if it is there, else what it changes in the counts.
    pub(in crate::log) fn insert_record(&mut self, key: u128, older: Option<Known>) -> Option<Counts> {
        if self.has_record(key) {
            return None;
        }
        let met = older.is_some() || self.labels(key).next().is_some();
        let counts = Counts { met: i64::from(met), ..Counts::default() };
        self.open.records.insert(key);
        self.open.counts += counts;
        Some(counts)
    }

    /// Adds a label; returns what it changes in the counts. `there` and `older` are what files hold of its id.
    pub(in crate::log) fn insert_label(
        &mut self,
        key: u128,
        known: Known,
        there: bool,
        older: Option<Known>,
    ) -> Counts {
        let mut counts = Counts::default();
        if older.is_none() && self.labels(key).next().is_none() {
            let waits = !there && !self.has_record(key);
            counts = Counts { labelled: 1, waiting: i64::from(waits), met: 0 };
        }
        self.open.labels.entry(key).or_default().push(known);
        self.open.counts += counts;
        counts
    }

    /// Takes back what was added last under this key.
    pub(in crate::log) fn take_back(&mut self, kind: Kind, key: u128) {
        match kind {
            Kind::Records => drop(self.open.records.remove(&key)),
            Kind::Labels => {
                let Some(known) = self.open.labels.get_mut(&key) else { return };
                known.pop();
                if known.is_empty() {
                    self.open.labels.remove(&key);
                }
            }
        }
    }

    /// Closes the open part, all but what comes at position `to` or later: these are the keys of that.
    pub(in crate::log) fn seal<'a>(
        &mut self,
        to: u64,
        pending: impl Iterator<Item = (Kind, &'a [u128], Counts)>,
    ) {
        let mut closed = std::mem::take(&mut self.open);
        for (kind, keys, counts) in pending {
            closed.counts -= counts;
            self.open.counts += counts;
            for key in keys {
                match kind {
                    Kind::Records if closed.records.remove(key) => drop(self.open.records.insert(*key)),
                    Kind::Records => {}
                    Kind::Labels => {
                        let Some(known) = closed.labels.get_mut(key) else { continue };
                        let later = known.extract_if(.., |known| known.seq >= to).collect::<Vec<_>>();
                        if known.is_empty() {
                            closed.labels.remove(key);
                        }
                        if !later.is_empty() {
                            self.open.labels.entry(*key).or_default().extend(later);
                        }
                    }
                }
            }
        }
        self.sealed.push(Arc::new(closed));
    }

    /// Adds the rows of a stamped batch that is on disk; returns the keys of records that were there.
    pub(in crate::log) fn add(
        &mut self,
        files: &IdFiles,
        kind: Kind,
        keys: &[u128],
        batch: &RecordBatch,
        origin: u64,
    ) -> Result<Vec<u128>, Problem> {
        let Asked { there, labels: older } = files.ask(kind, keys, true)?;
        let asked = keys.iter().zip(there).zip(older);
        if kind == Kind::Records {
            let mut again = Vec::new();
            for ((key, there), older) in asked {
                if self.insert_record(*key, older).is_none() {
                    // Each part has all of its own.
                    self.open.records.insert(*key);
                    again.push(*key);
                } else if there {
                    again.push(*key);
                }
            }
            return Ok(again);
        }
        let columns = Columns(batch);
        let (labels, times) = (columns.numbers("label")?, columns.times("time")?);
        let (received, seqs) = (columns.times("received_at")?, columns.seqs()?);
        for (row, ((key, there), older)) in asked.enumerate().filter(|(row, _)| !labels.is_null(*row)) {
            let known = Known {
                label: labels.value(row),
                time: times.value(row),
                received_at: received.value(row),
                seq: seqs.value(row).cast_unsigned(),
                origin,
            };
            self.insert_label(*key, known, there, older);
        }
        Ok(Vec::new())
    }

    /// What labels found, all parts together.
    pub(in crate::log) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.parts().for_each(|part| counts += part.counts);
        counts
    }

    /// Records, labels, and about how many bytes their ids take.
    pub(in crate::log) fn size(&self) -> (u64, u64, u64) {
        let label = size_of::<(u128, Vec<Known>)>() + size_of::<Known>() + 1;
        let (mut records, mut labels, mut bytes) = (0, 0, 0);
        for part in self.parts() {
            records += part.records.len();
            labels += part.labels.len();
            bytes += part.records.capacity() * (size_of::<u128>() + 1) + part.labels.capacity() * label;
        }
        (records as u64, labels as u64, bytes as u64)
    }
}
