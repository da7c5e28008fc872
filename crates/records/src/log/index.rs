//! Which ids are there: what makes a record that is sent again change nothing, and what joins labels with records.
//!
//! Nothing of it is written to disk, so ids are hashed with keys of this process: nobody outside can make two ids that
//! share a hash.

use crate::Kind;
use crate::codec::Columns;
use arrow::array::{Array as _, RecordBatch};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use steersman_domain::Problem;
use steersman_domain::record::Arm;

/// Makes the short form of an id: two ids share one with a probability of 2^-128 times their number of pairs.
#[derive(Debug, Default)]
pub(super) struct Keys {
    first: RandomState,
    second: RandomState,
}

impl Keys {
    /// The key of an id. A shadow answer has the id of the record that it copies, and a key of its own.
    pub(super) fn key(&self, id: &str, shadow: bool) -> u128 {
        let id = (shadow, id);
        (u128::from(self.first.hash_one(id)) << 64) | u128::from(self.second.hash_one(id))
    }

    /// The keys of the rows of a batch.
    pub(super) fn of(&self, kind: Kind, batch: &RecordBatch) -> Result<Vec<u128>, Problem> {
        let columns = Columns(batch);
        let ids = columns.texts("id")?;
        if kind == Kind::Labels {
            return Ok((0..ids.len()).map(|row| self.key(ids.value(row), false)).collect());
        }
        let arms = columns.arms()?;
        let all_served = arms.null_count() == arms.len();
        let shadow =
            |row: usize| !all_served && !arms.is_null(row) && arms.value(row) == Arm::Shadow.as_str();
        Ok((0..ids.len()).map(|row| self.key(ids.value(row), shadow(row))).collect())
    }
}

/// Takes a key, which is a hash already, as its own hash.
#[derive(Debug, Default)]
pub(super) struct Folded(u64);

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
        self.0 = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    }
}

type Folding = BuildHasherDefault<Folded>;

/// A label and when it was taken in; times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    pub(super) label: f64,
    pub(super) time: i64,
    pub(super) received_at: i64,
    /// Its position.
    pub(super) seq: u64,
}

/// The ids of a model's log, also of what is being written.
#[derive(Debug, Default)]
pub(super) struct Index {
    records: HashSet<u128, Folding>,
    labels: HashMap<u128, Vec<Known>, Folding>,
    /// Records that have a label.
    joined: u64,
}

impl Index {
    /// Adds a record; false if it is there.
    pub(super) fn insert_record(&mut self, key: u128) -> bool {
        let fresh = self.records.insert(key);
        self.joined += u64::from(fresh && self.labels.contains_key(&key));
        fresh
    }

    /// Takes back what was added last under this key.
    pub(super) fn take_back(&mut self, kind: Kind, key: u128) {
        match kind {
            Kind::Records => {
                self.joined -= u64::from(self.records.remove(&key) && self.labels.contains_key(&key));
            }
            Kind::Labels => {
                let Some(known) = self.labels.get_mut(&key) else { return };
                known.pop();
                if known.is_empty() {
                    self.labels.remove(&key);
                    self.joined -= u64::from(self.records.contains(&key));
                }
            }
        }
    }

    /// Whether a label says what is known already.
    pub(super) fn knows(&self, key: u128, label: f64, time: i64) -> bool {
        let last = self.labels.get(&key).and_then(|known| known.last());
        last.is_some_and(|known| known.label == label && known.time == time)
    }

    /// Adds a label.
    pub(super) fn insert_label(&mut self, key: u128, known: Known) {
        let labels = self.labels.entry(key).or_default();
        labels.push(known);
        if labels.len() == 1 {
            self.joined += u64::from(self.records.contains(&key));
        }
    }

    /// What is known of a record, from first to last.
    pub(super) fn labels(&self, key: u128) -> &[Known] {
        self.labels.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a record is there.
    pub(super) fn has_record(&self, key: u128) -> bool {
        self.records.contains(&key)
    }

    /// Records, records with a label, labels without a record.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.records.len() as u64, self.joined, self.labels.len() as u64 - self.joined)
    }

    /// Adds the rows of a stamped batch that is on disk.
    pub(super) fn add(&mut self, kind: Kind, keys: &[u128], batch: &RecordBatch) -> Result<(), Problem> {
        match kind {
            Kind::Records => {
                for key in keys {
                    self.insert_record(*key);
                }
            }
            Kind::Labels => {
                let columns = Columns(batch);
                let (labels, times) = (columns.numbers("label")?, columns.times("time")?);
                let (received, seqs) = (columns.times("received_at")?, columns.seqs()?);
                for (row, key) in keys.iter().enumerate().filter(|(row, _)| !labels.is_null(*row)) {
                    let known = Known {
                        label: labels.value(row),
                        time: times.value(row),
                        received_at: received.value(row),
                        seq: seqs.value(row).cast_unsigned(),
                    };
                    self.insert_label(*key, known);
                }
            }
        }
        Ok(())
    }
}
