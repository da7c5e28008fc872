//! The log of each model: append, follow, scan.
//!
//! INVARIANT: everything acknowledged is either in a segment or in the write-ahead log; the tail in memory is exactly
//! what the write-ahead log holds beyond the segments. Readers see only what is on disk.
//!
//! `model` takes rows in, `tail` holds what is not in segments yet, `ids` knows which ids are there, `flusher` makes
//! segments beside, `recover` finds what is there at the start, `read` reads. `taken` follows what the catalogue says, also of
//! segments of other replicas; `keep` compacts, drops and erases.

mod flusher;
mod ids;
mod keep;
mod model;
mod parts;
mod read;
mod recover;
mod tail;
mod taken;

pub use keep::{Compacted, Dropped, Erase};
pub use parts::{Batches, Part, Parts, Which};
pub use read::{Cursor, Detail, Fresh, SegmentFiles, View};

use crate::archive::{Archive, replica};

use crate::personal::Personal;
use crate::quarantine::Quarantined;
use crate::table::{Scan, Table};
use crate::{Arrival, Refusals, Rows};
use flusher::Flusher;
use ids::{Keys, Memory, Names};
use jiff::Timestamp;
use model::{Home, ModelLog};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use steersman_domain::time::micros;
use steersman_domain::{Label, ModelName, Problem, Record, Schema};

/// How much gathers before it becomes a segment, and how much may wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many rows become a segment.
    pub segment_rows: u64,
    /// So many bytes of the write-ahead log become a segment, even if they are fewer rows.
    pub segment_bytes: u64,
    /// With more bytes that no segment holds yet, nothing more is taken in: the disk does not keep up.
    pub unflushed_bytes: u64,
    /// So many bytes of memory the ids of segments may take, all models together. Beyond that they are looked for on the
    /// disk.
    pub id_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_rows: 65_536,
            segment_bytes: 32 << 20,
            unflushed_bytes: 256 << 20,
            id_bytes: 256 << 20,
        }
    }
}

/// The record logs of all models; clones share them.
#[derive(Debug, Clone)]
pub struct RecordLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    replica: String,
    archive: Archive,
    limits: Limits,
    keys: Keys,
    memory: Memory,
    models: RwLock<BTreeMap<ModelName, Arc<ModelLog>>>,
    flusher: Flusher,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// Position of the first row that is new.
    pub first: u64,
    /// How many are new.
    pub accepted: u64,
    /// How many were there already.
    pub duplicates: u64,
    /// The times of the records among them that users were answered with: shadow copies are left out.
    pub resent: Vec<Timestamp>,
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LogStats {
    /// Records taken in, shadow answers included.
    pub records: u64,
    /// Records that have a label. Where records went before their labels did, they are still among them.
    pub labels: u64,
    /// Labels whose record has not arrived.
    pub labels_without_record: u64,
    /// Segments, those of other replicas included.
    pub segments: u64,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// Ids that are known, of records and labels: so that what is sent again changes nothing, and labels find their records.
    pub ids: u64,
    /// About how many bytes of memory those of the tail take, which goes with it.
    pub tail_id_bytes: u64,
    /// How many bytes of memory those of segments take.
    pub id_bytes: u64,
    /// How many bytes of files they take.
    pub id_file_bytes: u64,
    /// Bytes of the write-ahead log that no segment holds yet.
    pub wal_bytes: u64,
    /// With more of them nothing is taken in.
    pub wal_bytes_limit: u64,
    /// Rows that no segment holds yet.
    pub unflushed_rows: u64,
    /// What keeps them from becoming one, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unflushed_because: Option<String>,
    /// Rows that were refused since the platform started.
    pub refused: u64,
    /// Columns that came and are not in the schema, with how many values since the platform started.
    pub unknown_columns: BTreeMap<String, u64>,
}

impl RecordLog {
    /// Opens the folder of all logs.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
        Self::open_with(dir, Limits::default())
    }

    /// Opens the folder of all logs, with these limits for each.
    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self, Problem> {
        Self::open_on(dir, Archive::folder(dir), limits)
    }

    /// Opens logs whose write-ahead logs lie in a folder of this process, and whose segments are in an archive.
    pub fn open_on(dir: &Path, archive: Archive, limits: Limits) -> Result<Self, Problem> {
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let (models, flusher) = (RwLock::default(), Flusher::start()?);
        let (dir, replica, keys) = (dir.to_owned(), replica(dir)?, Keys::open(dir)?);
        let memory = Memory::new(limits.id_bytes);
        let inner = Inner { dir, replica, archive, limits, keys, memory, models, flusher };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the log of a model, or changes the columns of one that is open: columns may come and go, but a column keeps
    /// its kind.
    pub fn declare(&self, name: &ModelName, schema: &Schema) -> Result<Recovery, Problem> {
        self.declare_personal(name, schema, None)
    }

    /// The same for a model with personal columns: their values are hashed before they are written.
    pub fn declare_personal(
        &self,
        name: &ModelName,
        schema: &Schema,
        personal: Option<Arc<Personal>>,
    ) -> Result<Recovery, Problem> {
        let mut models = self.inner.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = models.get(name) {
            open.set_personal(personal);
            open.change_schema(schema)?;
            return Ok(Recovery::default());
        }
        let dir = self.inner.dir.join(name.as_str());
        let home = Home {
            model: name.clone(),
            keys: self.inner.keys.clone(),
            memory: self.inner.memory.clone(),
            names: Names::new(dir.join("ids")),
            dir,
            replica: self.inner.replica.clone(),
            archive: self.inner.archive.clone(),
            limits: self.inner.limits,
        };
        let (log, recovery) = ModelLog::open(home, schema)?;
        log.set_personal(personal);
        models.insert(name.clone(), Arc::new(log));
        Ok(recovery)
    }

    fn model(&self, name: &ModelName) -> Result<Arc<ModelLog>, Problem> {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(name).cloned().ok_or_else(|| Problem::not_found(format!("there is no log of `{name}`")))
    }

    /// The columns of a model's records.
    pub fn schema(&self, name: &ModelName) -> Result<Schema, Problem> {
        Ok(self.model(name)?.shape().schema.clone())
    }

    /// Takes rows in that were read by [`crate::intake`]; they are on disk when this returns. What is there already
    /// changes nothing.
    pub fn append(&self, name: &ModelName, rows: &Rows, received_at: Timestamp) -> Result<Appended, Problem> {
        let model = self.model(name)?;
        let appended = model.append(rows, received_at);
        self.inner.flusher.wake(&model);
        appended
    }

    /// Takes records in; they are on disk when this returns. A record whose id is there already changes nothing.
    pub fn append_records(
        &self,
        name: &ModelName,
        records: Vec<Record>,
        received_at: Timestamp,
    ) -> Result<Appended, Problem> {
        self.append(name, &Rows::records(&self.schema(name)?, &records)?, received_at)
    }

    /// Takes labels in; they are on disk when this returns. The same label again changes nothing; another value or time
    /// for the same id is a correction, and what was known before stays known as of then.
    pub fn append_labels(
        &self,
        name: &ModelName,
        labels: Vec<Label>,
        received_at: Timestamp,
    ) -> Result<Appended, Problem> {
        self.append(name, &Rows::labels(&labels)?, received_at)
    }

    /// Keeps the rows that were refused where people see them, and counts unknown columns.
    pub fn note_refused(
        &self,
        name: &ModelName,
        refusals: &Refusals,
        received_at: Timestamp,
    ) -> Result<(), Problem> {
        self.model(name)?.quarantine.add(refusals, received_at);
        Ok(())
    }

    /// The rows that were refused last, latest first.
    pub fn quarantine(&self, name: &ModelName) -> Result<Vec<Quarantined>, Problem> {
        Ok(self.model(name)?.quarantine.latest())
    }

    /// Everything at one moment: the files of segments, and what none holds yet.
    pub fn view(&self, name: &ModelName) -> Result<View, Problem> {
        self.model(name)?.view()
    }

    /// The models whose logs are open.
    pub fn models(&self) -> Vec<ModelName> {
        let models = self.inner.models.read().unwrap_or_else(PoisonError::into_inner);
        models.keys().cloned().collect()
    }

    /// Records at one moment, to be read part by part: those that `scan` asks for by arm and moment.
    pub fn parts(&self, name: &ModelName, scan: &Scan) -> Result<Parts, Problem> {
        Parts::of(self.model(name)?, scan)
    }

    /// What arrived since, in columns, a segment at a time; none if nothing did. Go on at its `until`.
    pub fn fresh(&self, name: &ModelName, from: &Cursor, detail: Detail) -> Result<Option<Fresh>, Problem> {
        self.model(name)?.fresh(from, detail)
    }

    /// Everything, in order of arrival.
    pub fn arrivals(&self, name: &ModelName) -> Result<Vec<Arrival>, Problem> {
        self.model(name)?.arrivals(i64::MIN, None)
    }

    /// Everything that was taken in at this time or later and was read by the one whose cursor this is, in order.
    pub fn arrivals_since(
        &self,
        name: &ModelName,
        since: Timestamp,
        read: &Cursor,
    ) -> Result<Vec<Arrival>, Problem> {
        self.model(name)?.arrivals(micros(since), Some(read))
    }

    /// Records joined with their labels, in order of time and id. Columns: `id`, `time`, `version`, `latency_ms`,
    /// `status`, `received_at`, features, the output, `label`, `label_time`.
    pub fn table(&self, name: &ModelName, scan: &Scan) -> Result<Table, Problem> {
        self.model(name)?.table(scan)
    }

    /// Turns the tails of all logs into segments.
    pub fn flush(&self) -> Result<(), Problem> {
        self.logs().iter().try_for_each(|model| model.flush())
    }

    /// Has segments made of tails that began before this time, beside.
    pub fn flush_older(&self, before: Timestamp) -> Result<(), Problem> {
        for model in self.logs() {
            model.seal_older(micros(before))?;
            self.inner.flusher.wake(&model);
        }
        Ok(())
    }

    /// How many bytes of memory the ids of all models' segments may take.
    pub fn id_bytes_limit(&self) -> u64 {
        self.inner.memory.limit()
    }

    /// Takes over what other replicas did to the segments.
    pub fn refresh(&self) -> Result<(), Problem> {
        for model in self.logs() {
            model.refresh()?;
            self.inner.flusher.tidy(&model);
        }
        Ok(())
    }

    /// Makes small segments of a model into larger ones, in which no record is twice; a bounded piece of work, after
    /// which more may be left to do. Nobody who appends or reads is kept waiting. Only one replica may do this.
    pub fn compact(&self, name: &ModelName) -> Result<Compacted, Problem> {
        self.model(name)?.compact()
    }

    /// What [`RecordLog::expire`] would drop.
    pub fn expired(&self, name: &ModelName, before: Timestamp) -> Result<Dropped, Problem> {
        Ok(self.model(name)?.expired(micros(before)).0)
    }

    /// Drops segments of which all is older than `before`, by the times of records and by when they were taken in.
    pub fn expire(&self, name: &ModelName, before: Timestamp) -> Result<Dropped, Problem> {
        self.model(name)?.expire(micros(before))
    }

    /// Refuses what [`RecordLog::erase`] could not find, because there is no such column.
    pub fn can_erase(&self, name: &ModelName, what: &Erase) -> Result<(), Problem> {
        self.model(name)?.can_erase(what)
    }

    /// Erases what belongs to one person or record: segments that hold it are written anew without it, and the old files
    /// are removed.
    pub fn erase(&self, name: &ModelName, what: &Erase) -> Result<Dropped, Problem> {
        self.model(name)?.erase(what)
    }

    /// Removes files that no catalogue names and that were written before `before`.
    pub fn remove_garbage(&self, before: Timestamp) -> Result<u64, Problem> {
        self.logs().iter().map(|model| model.remove_garbage(before)).sum()
    }

    fn logs(&self) -> Vec<Arc<ModelLog>> {
        self.inner.models.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How large a model's log is.
    pub fn stats(&self, name: &ModelName) -> Result<LogStats, Problem> {
        Ok(self.model(name)?.stats())
    }
}
