//! The log of one model: placing rows, writing them together, closing segments.
//!
//! Rows get their place under the lock of the tail; one of those who wait writes for all (`lead`), so that many callers
//! share one sync of the disk and a lone one waits for nobody. When enough has gathered, the write-ahead log goes on in a
//! new file, and what the old ones hold becomes a segment beside (`flush_sealed`): readers see rows in the tail or in a
//! segment, never in both.

use super::ids::{
    Asked, Counts, IdFile, IdFiles, Keys, Known, Memory, Names, Part, Recents, Stretch, merge, origin,
    read_doubles,
};
use super::recover::{replay, wal_path};
use super::tail::{Group, Pending, Tail, Unflushed};
use super::taken::{Indexed, Taken, adopt, index_segments, reading_order};
use super::{Appended, Limits, LogStats, Recovery};
use crate::archive::{Archive, Change, Content, sync_dir, write_segment};
use crate::codec::{Columns, conform, label_fields, own_fields, record_fields, stamped};
use crate::personal::Personal;
use crate::quarantine::Quarantine;
use crate::wal::{Frame, Wal};
use crate::{Kind, Rows};
use arrow::array::{Array as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema as ArrowSchema;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use steersman_domain::record::Arm;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{ErrorKind, ModelName, Problem, Schema};

/// So often what files of ids say is asked again because there are others by now.
const PATIENCE: usize = 2;

/// The columns of a model, in every form that is needed.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) schema: Schema,
    pub(super) records: Arc<ArrowSchema>,
    pub(super) labels: Arc<ArrowSchema>,
    own_records: Arc<ArrowSchema>,
    own_labels: Arc<ArrowSchema>,
}

impl Shape {
    fn new(schema: &Schema) -> Self {
        let (records, labels) = (record_fields(schema), label_fields());
        let (own_records, own_labels) = (own_fields(&records), own_fields(&labels));
        Self { schema: schema.clone(), records, labels, own_records, own_labels }
    }

    pub(super) fn stamped(&self, kind: Kind) -> &Arc<ArrowSchema> {
        match kind {
            Kind::Records => &self.records,
            Kind::Labels => &self.labels,
        }
    }

    pub(super) fn own(&self, kind: Kind) -> &Arc<ArrowSchema> {
        match kind {
            Kind::Records => &self.own_records,
            Kind::Labels => &self.own_labels,
        }
    }
}

/// Where a model's log lies.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) model: ModelName,
    /// The folder of its write-ahead log.
    pub(super) dir: PathBuf,
    /// Whose log it is.
    pub(super) replica: String,
    pub(super) archive: Archive,
    pub(super) limits: Limits,
    pub(super) keys: Keys,
    /// What ids may take of it.
    pub(super) memory: Memory,
    /// Of its files of ids.
    pub(super) names: Names,
}

#[derive(Debug)]
pub(super) struct ModelLog {
    pub(super) home: Home,
    shape: RwLock<Arc<Shape>>,
    /// What becomes of values about persons.
    personal: RwLock<Option<Arc<Personal>>>,
    /// Held by the one who writes. Locked before the tail where both are needed.
    wal: Mutex<Wal>,
    tail: Mutex<Tail>,
    /// Held by the one who makes segments; what kept the last one from it.
    flushing: Mutex<Option<Problem>>,
    /// Held by the one who takes over what the catalogue says.
    pub(super) taken: Mutex<Taken>,
    closed: AtomicBool,
    pub(super) quarantine: Quarantine,
}

/// Rows that got their place.
struct Placed {
    appended: Appended,
    group: Arc<Group>,
    leads: bool,
}

impl ModelLog {
    pub(super) fn open(home: Home, schema: &Schema) -> Result<(Self, Recovery), Problem> {
        let Home { model, dir, replica, archive, .. } = &home;
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let (shape, mut recents) = (Shape::new(schema), Recents::default());
        let mut listing = archive.catalogue.list(model)?;
        if !listing.flushed.contains_key(replica) && adopt(&home)? {
            listing = archive.catalogue.list(model)?;
        }
        let mut segments = listing.segments;
        reading_order(&mut segments);
        let known = IdFiles::open(&home.names, &home.keys, &home.memory)?;
        let (known, mut suspects) = match read_doubles(home.names.dir())? {
            Some(doubles) => (known, doubles),
            None => (known.give_up(), HashSet::new()),
        };
        let (known, missing) = known.reconciled(&segments);
        let Indexed { files, drafts, again } = index_segments(&home, known, &missing)?;
        suspects.extend(again);
        let flushed = listing.flushed.get(replica).copied().unwrap_or(0);
        let mut recovery = Recovery { segments: segments.len(), ..Recovery::default() };
        let mut open = Unflushed { from: flushed, to: flushed, ..Unflushed::default() };
        let wal = replay(&home, &shape, &files, &mut recents, &mut open, &mut recovery, &mut suspects)?;
        let mut taken = Taken::default();
        let quarantine = Quarantine::open(dir)?;
        let part = std::slice::from_ref(&open);
        let doubles = taken.resolve(&home, &files, &suspects, &segments, part)?;
        drafts.iter().try_for_each(|file| file.publish())?;
        let (files, dead) = files.pruned();
        dead.iter().for_each(|file| file.remove());
        let tail = Tail {
            segments: Arc::new(segments),
            doubles: Arc::new(doubles),
            flushed,
            generation: 0,
            sealed: Vec::new(),
            next: open.to,
            open,
            pending: Vec::new(),
            recents,
            files: Arc::new(files),
            group: Arc::default(),
            members: 0,
            led: false,
            failed: false,
        };
        let log = Self {
            home,
            shape: RwLock::new(Arc::new(shape)),
            personal: RwLock::default(),
            wal: Mutex::new(wal),
            tail: Mutex::new(tail),
            flushing: Mutex::new(None),
            taken: Mutex::new(taken),
            closed: AtomicBool::new(false),
            quarantine,
        };
        Ok((log, recovery))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shape(&self) -> Arc<Shape> {
        self.shape.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_personal(&self, personal: Option<Arc<Personal>>) {
        *self.personal.write().unwrap_or_else(PoisonError::into_inner) = personal;
    }

    pub(super) fn change_schema(&self, schema: &Schema) -> Result<(), Problem> {
        let known = &self.shape().schema;
        if known == schema {
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
        // Rows have the columns of their time: what is there is closed first, and nothing may be on its way.
        loop {
            let mut wal = self.writing();
            self.seal(&mut wal)?;
            let tail = self.lock();
            if tail.pending.is_empty() {
                *self.shape.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Shape::new(schema));
                break;
            }
            drop((tail, wal));
            std::thread::yield_now();
        }
        self.flush_sealed()
    }

    /// Takes rows in; they are on disk when this returns.
    pub(super) fn append(&self, rows: &Rows, received_at: Timestamp) -> Result<Appended, Problem> {
        if rows.is_empty() {
            return Ok(Appended::default());
        }
        let (kind, keys) = (rows.kind, self.home.keys.of(rows.kind, &rows.batch)?);
        let personal = self.personal.read().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = match personal.filter(|_| kind == Kind::Records) {
            Some(personal) => &Rows { kind, batch: personal.batch(&rows.batch)? },
            None => rows,
        };
        let mut tries = 0;
        let placed = loop {
            // The costly part is done before anybody is kept waiting.
            let shape = self.shape();
            let batch = conform(&rows.batch, shape.own(kind))?;
            let frame = Frame::new(kind, &batch)?;
            let (files, wait) = {
                let tail = self.lock();
                self.check(&tail)?;
                (tail.files.clone(), tail.labels_wait())
            };
            let asked = files.ask(kind, &keys, wait)?;
            let mut tail = self.lock();
            if !Arc::ptr_eq(&shape, &self.shape()) {
                continue;
            }
            let asked = match Arc::ptr_eq(&files, &tail.files) {
                true => asked,
                false if tries < PATIENCE => {
                    tries += 1;
                    continue;
                }
                // Segments come so fast that there would be no end.
                false => tail.files.ask(kind, &keys, wait)?,
            };
            break self.place(&mut tail, &shape, frame, batch, (keys, asked), received_at)?;
        };
        let waited = if placed.leads { None } else { placed.group.wait() };
        waited.unwrap_or_else(|| self.lead(&placed.group))?;
        Ok(placed.appended)
    }

    /// Gives new rows their positions and queues them.
    fn place(
        &self,
        tail: &mut Tail,
        shape: &Shape,
        frame: Frame,
        batch: RecordBatch,
        (keys, asked): (Vec<u128>, Asked),
        received_at: Timestamp,
    ) -> Result<Placed, Problem> {
        self.check(tail)?;
        let (kind, received_at) = (frame.kind, micros(received_at));
        let mut appended = Appended { first: tail.next, ..Appended::default() };
        let mut counts = Counts::default();
        let fresh = match kind {
            Kind::Records => {
                let asked = keys.iter().zip(asked.there).zip(asked.labels);
                let place = |((key, there), older): ((&u128, bool), Option<Known>)| {
                    let changed = if there { None } else { tail.recents.insert_record(*key, older) };
                    changed.inspect(|changed| counts += *changed).is_some()
                };
                asked.map(place).collect()
            }
            Kind::Labels => {
                let own = origin(&self.home.replica);
                place_labels(tail, &batch, &keys, &asked, (received_at, own), &mut appended, &mut counts)?
            }
        };
        let new = fresh.iter().filter(|fresh| **fresh).count();
        (appended.accepted, appended.duplicates) = (new as u64, (keys.len() - new) as u64);
        if kind == Kind::Records && appended.duplicates > 0 {
            appended.resent = resent(&batch, &fresh);
        }
        if new > 0 {
            let new_keys: Vec<u128> =
                keys.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(key, _)| *key).collect();
            match pending(shape, frame, batch, &fresh, tail.next, received_at) {
                Ok((frame, batch)) => tail.pending.push(Pending { frame, batch, keys: new_keys, counts }),
                Err(problem) => {
                    new_keys.iter().rev().for_each(|key| tail.recents.take_back(kind, *key));
                    tail.recents.open.counts -= counts;
                    return Err(problem);
                }
            }
            tail.next += new as u64;
        }
        // Also what was there already must be on disk before anybody is told so: everybody joins the group.
        tail.members += 1;
        let leads = !tail.led;
        tail.led = true;
        Ok(Placed { appended, group: tail.group.clone(), leads })
    }

    fn check(&self, tail: &Tail) -> Result<(), Problem> {
        if tail.failed {
            let message = format!(
                "writing to `{}` failed; nothing is taken in until a restart",
                self.home.dir.display()
            );
            return Err(Problem::new(ErrorKind::Unavailable, message)
                .hint("look at the disk, then restart Steersman"));
        }
        if tail.unflushed_bytes() > self.home.limits.unflushed_bytes {
            // The flusher may be busy: its last word is enough.
            let cause = self.flushing.try_lock().ok().and_then(|problem| problem.clone());
            let kind = cause.as_ref().map_or(ErrorKind::Unavailable, |problem| match problem.kind {
                ErrorKind::NoSpace => ErrorKind::NoSpace,
                _ => ErrorKind::Unavailable,
            });
            let why = cause.map_or_else(String::new, |problem| format!(": {}", problem.message));
            let message = format!("the disk does not keep up with what arrives{why}");
            return Err(Problem::new(kind, message).hint("send it again later"));
        }
        Ok(())
    }

    /// Writes what is pending, for all of the group.
    fn lead(&self, group: &Group) -> Result<(), Problem> {
        let mut wal = self.writing();
        let pending = {
            let mut tail = self.lock();
            tail.members = 0;
            tail.group = Arc::default();
            std::mem::take(&mut tail.pending)
        };
        let written = match pending.is_empty() {
            true => Ok(()),
            false => wal.append(pending.iter().map(|pending| &pending.frame)).and_then(|()| wal.sync()),
        };
        let mut tail = self.lock();
        let result = match written {
            Ok(()) => {
                for Pending { frame, batch, .. } in pending {
                    tail.open.bytes += frame.len() as u64;
                    tail.open.push(frame.kind, batch, frame.received_at);
                }
                Ok(())
            }
            Err(failure) => {
                tail.failed |= !failure.whole;
                tail.take_back(&pending);
                // Those who queued up meanwhile had their places after these.
                std::mem::take(&mut tail.group).finish(Err(failure.problem.clone()));
                tail.members = 0;
                Err(failure.problem)
            }
        };
        let due = self.due(&tail);
        drop(tail);
        group.finish(result.clone());
        if due {
            // If there is no new file to be had, the old one goes on and the next one who writes tries again.
            let sealed = self.seal(&mut wal);
            if let Err(problem) = sealed {
                *self.flushing.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            }
        }
        drop(wal);
        let mut tail = self.lock();
        match tail.members {
            0 => tail.led = false,
            _ => tail.group.call_leader(),
        }
        result
    }

    fn due(&self, tail: &Tail) -> bool {
        tail.open.rows() >= self.home.limits.segment_rows || tail.open.bytes >= self.home.limits.segment_bytes
    }

    /// Whether something was closed since this was asked last.
    pub(super) fn take_closed(&self) -> bool {
        self.closed.swap(false, Ordering::SeqCst)
    }

    /// Something is closed and waits to become a segment.
    pub(super) fn note_closed(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Closes what is on disk, if its first row is older than `before`.
    pub(super) fn seal_older(&self, before: i64) -> Result<(), Problem> {
        let old = self.lock().open.received_from.is_some_and(|from| from < before);
        if old { self.seal(&mut self.writing()) } else { Ok(()) }
    }

    /// Lets the write-ahead log go on in a new file; what the old ones hold is to become a segment.
    fn seal(&self, wal: &mut Wal) -> Result<(), Problem> {
        let (from, to) = {
            let tail = self.lock();
            (tail.open.from, tail.open.to)
        };
        if from == to {
            return Ok(());
        }
        let path = wal_path(&self.home.dir, to);
        let fresh = Wal::create(&path).and_then(|fresh| sync_dir(&self.home.dir).map(|()| fresh));
        let fresh = fresh.inspect_err(|_| {
            // The old file must stay the last one.
            if std::fs::remove_file(&path).is_err() && path.exists() {
                self.lock().failed = true;
            }
        })?;
        let old = std::mem::replace(wal, fresh);
        let mut tail = self.lock();
        let mut sealed =
            std::mem::replace(&mut tail.open, Unflushed { from: to, to, ..Unflushed::default() });
        sealed.logs.push(old.path().to_owned());
        tail.sealed.push(Arc::new(sealed));
        let Tail { recents, pending, .. } = &mut *tail;
        recents.seal(to, pending.iter().map(|one| (one.frame.kind, one.keys.as_slice(), one.counts)));
        self.note_closed();
        Ok(())
    }

    /// Closes what is on disk and makes segments of it.
    pub(super) fn flush(&self) -> Result<(), Problem> {
        self.seal(&mut self.writing())?;
        self.flush_sealed()
    }

    /// Makes segments of what is closed. Nobody who appends or reads is kept waiting.
    pub(super) fn flush_sealed(&self) -> Result<(), Problem> {
        let mut flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.write_segments();
        *flushing = result.clone().err();
        result
    }

    fn write_segments(&self) -> Result<(), Problem> {
        loop {
            let (sealed, recent) = {
                let tail = self.lock();
                let first = tail.sealed.first().cloned().zip(tail.recents.sealed.first().cloned());
                let Some(first) = first else { return Ok(()) };
                first
            };
            // A schema may have changed since, but only after everything before it was closed.
            let fields =
                sealed.records.first().map_or_else(|| self.shape().records.clone(), RecordBatch::schema);
            let Home { model, replica, archive, .. } = &self.home;
            let content = Content {
                model: model.as_str(),
                replica,
                positions: (sealed.from, sealed.to),
                records: (&fields, &sealed.records),
                labels: (&label_fields(), &sealed.labels),
                lasting: false,
            };
            let segment = write_segment(&archive.storage, &content)?;
            let part = Part { stretch: Stretch::of(&segment, recent.counts), recent: &recent };
            let ids = IdFile::write(self.home.names.next(), &self.home.keys, &[part], &self.home.memory)?;
            let flushed = Some((replica.clone(), sealed.to));
            let change = Change { add: vec![segment.clone()], remove: Vec::new(), flushed };
            archive.catalogue.change(model, &change)?;
            {
                let mut tail = self.lock();
                let segments = Arc::make_mut(&mut tail.segments);
                segments.push(segment);
                reading_order(segments);
                tail.flushed = sealed.to;
                tail.generation += 1;
                tail.sealed.remove(0);
                tail.recents.sealed.remove(0);
                tail.files = Arc::new(tail.files.with(ids.clone()));
            }
            // Without its name the segment is looked through again at the next start.
            let _ = ids.publish();
            // One that cannot be removed is found and removed at the next start.
            for path in &sealed.logs {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Whether there are files of ids to be put together.
    pub(super) fn ids_are_due(&self) -> bool {
        let files = self.lock().files.clone();
        files.plan().is_some()
    }

    /// Puts files of ids together for as long as there are enough.
    pub(super) fn merge_ids(&self, stop: &AtomicBool) -> Result<(), Problem> {
        let Home { names, keys, memory, .. } = &self.home;
        loop {
            let files = self.lock().files.clone();
            let Some(plan) = files.plan() else { return Ok(()) };
            let merged = merge(&plan, names.next(), keys, memory, stop)?;
            let replaced = {
                let mut tail = self.lock();
                let replaced = tail.files.replaced(&plan, merged.clone());
                replaced.map(|(files, old)| {
                    tail.files = Arc::new(files);
                    old
                })
            };
            match (replaced, merged) {
                (Some(old), Some(merged)) => {
                    // The old ones stay until the new one is there.
                    merged.publish()?;
                    old.iter().for_each(|file| file.remove());
                }
                (Some(old), None) => old.iter().for_each(|file| file.remove()),
                (None, Some(merged)) => merged.discard(),
                (None, None) => {}
            }
        }
    }

    /// Waits until all that has its place by now is on disk, or is taken back.
    pub(super) fn settle(&self) {
        let wanted = self.lock().next;
        loop {
            // Whoever writes holds this.
            drop(self.writing());
            let tail = self.lock();
            if tail.durable() >= wanted || tail.next < wanted || tail.failed {
                return;
            }
            drop(tail);
            std::thread::yield_now();
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        let (refused, unknown_columns) = self.quarantine.counts();
        // While segments are being made nobody knows yet.
        let problem = self.flushing.try_lock().ok().and_then(|problem| problem.clone());
        let tail = self.lock();
        let (recent_records, recent_labels, tail_id_bytes) = tail.recents.size();
        let (records, labels, mut counts) = tail.files.totals();
        counts += tail.recents.counts();
        let (id_bytes, id_file_bytes) = tail.files.size();
        let doubles: usize = tail.doubles.values().map(BTreeSet::len).sum();
        LogStats {
            records: (records + recent_records).saturating_sub(doubles as u64),
            labels: counts.joined(),
            labels_without_record: counts.without_record(),
            segments: tail.segments.len() as u64,
            segment_bytes: tail.segments.iter().map(|segment| segment.bytes).sum(),
            ids: records + recent_records + labels + recent_labels,
            tail_id_bytes,
            id_bytes,
            id_file_bytes,
            wal_bytes: tail.unflushed_bytes(),
            wal_bytes_limit: self.home.limits.unflushed_bytes,
            unflushed_rows: tail.next - tail.flushed,
            unflushed_because: problem.map(|problem| problem.to_string()),
            refused,
            unknown_columns,
        }
    }
}

/// Which labels say something new; those go into the index.
fn place_labels(
    tail: &mut Tail,
    batch: &RecordBatch,
    keys: &[u128],
    asked: &Asked,
    (received_at, origin): (i64, u64),
    appended: &mut Appended,
    counts: &mut Counts,
) -> Result<Vec<bool>, Problem> {
    let columns = Columns(batch);
    let (labels, times) = (columns.numbers("label")?, columns.times("time")?);
    let mut within = HashSet::with_capacity(keys.len());
    let mut seq = tail.next;
    let mut fresh = Vec::with_capacity(keys.len());
    let asked = asked.there.iter().zip(&asked.labels);
    for (row, (key, (there, older))) in keys.iter().zip(asked).enumerate() {
        let (label, time) = (labels.value(row), times.value(row));
        // Twice in one batch: the first counts.
        let same = |known: Known| known.label == label && known.time == time;
        let new = within.insert(*key) && !tail.recents.last_label(*key, *older).is_some_and(same);
        fresh.push(new);
        if new {
            appended.waiting += u64::from(!there && !tail.recents.has_record(*key));
            let known = Known { label, time, received_at, seq, origin };
            *counts += tail.recents.insert_label(*key, known, *there, *older);
            seq += 1;
        }
    }
    Ok(fresh)
}

/// The rows that are new, with their places.
fn pending(
    shape: &Shape,
    frame: Frame,
    batch: RecordBatch,
    fresh: &[bool],
    first: u64,
    received_at: i64,
) -> Result<(Frame, RecordBatch), Problem> {
    let kind = frame.kind;
    let (mut frame, batch) = match fresh.iter().all(|fresh| *fresh) {
        true => (frame, batch),
        false => {
            let batch = filter_record_batch(&batch, &BooleanArray::from(fresh.to_vec()))
                .map_err(|error| Problem::internal(error.to_string()))?;
            (Frame::new(kind, &batch)?, batch)
        }
    };
    frame.first = first;
    frame.received_at = received_at;
    let batch = stamped(&batch, shape.stamped(kind), first, received_at)?;
    Ok((frame, batch))
}

/// The times of the records that were there already and that somebody was answered with.
fn resent(batch: &RecordBatch, fresh: &[bool]) -> Vec<Timestamp> {
    let columns = Columns(batch);
    let (Ok(times), Ok(arms)) = (columns.times("time"), columns.arms()) else { return Vec::new() };
    let served = |row: &usize| arms.is_null(*row) || arms.value(*row) != Arm::Shadow.as_str();
    let again = fresh.iter().enumerate().filter(|(_, fresh)| !**fresh).map(|(row, _)| row);
    again.filter(served).map(|row| from_micros(times.value(row))).collect()
}
