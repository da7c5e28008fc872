//! What is not in segments yet: rows that are being written, rows in the write-ahead log, and those that wait to become a
//! segment.

use super::ids::{Counts, IdFiles, Recents};
use super::taken::Doubles;
use crate::Kind;
use crate::archive::Segment;
use crate::wal::Frame;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use steersman_domain::Problem;

/// Batches of fewer rows are put together with their neighbours.
const SMALL: usize = 8_192;

/// Rows that are written together: all who wait for one sync of the disk.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<GroupState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum GroupState {
    /// Somebody writes.
    #[default]
    Waiting,
    /// One of those who wait is to write.
    Leaderless,
    Done(Result<(), Problem>),
}

impl Group {
    /// Waits; none if the caller is to write.
    pub(super) fn wait(&self) -> Option<Result<(), Problem>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*state {
                GroupState::Waiting => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                GroupState::Leaderless => {
                    *state = GroupState::Waiting;
                    return None;
                }
                GroupState::Done(result) => return Some(result.clone()),
            }
        }
    }

    /// Asks one of those who wait to write.
    pub(super) fn call_leader(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = GroupState::Leaderless;
        self.changed.notify_one();
    }

    /// Tells all how it went.
    pub(super) fn finish(&self, result: Result<(), Problem>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = GroupState::Done(result);
        self.changed.notify_all();
    }
}

/// Rows that have a place and are not on disk.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) frame: Frame,
    /// Stamped.
    pub(super) batch: RecordBatch,
    pub(super) keys: Vec<u128>,
    /// What they changed in the counts of labels.
    pub(super) counts: Counts,
}

/// Rows on disk that are no segment yet, in order of arrival within each kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Unflushed {
    /// First position.
    pub(super) from: u64,
    /// First position after.
    pub(super) to: u64,
    pub(super) records: Vec<RecordBatch>,
    pub(super) labels: Vec<RecordBatch>,
    /// Bytes in the write-ahead log.
    pub(super) bytes: u64,
    /// When the first was taken in, in microseconds.
    pub(super) received_from: Option<i64>,
    /// The files that hold it.
    pub(super) logs: Vec<PathBuf>,
}

impl Unflushed {
    pub(super) fn rows(&self) -> u64 {
        self.to - self.from
    }

    /// Takes rows in that are on disk now.
    pub(super) fn push(&mut self, kind: Kind, batch: RecordBatch, received_at: i64) {
        self.to += batch.num_rows() as u64;
        self.received_from.get_or_insert(received_at);
        let batches = match kind {
            Kind::Records => &mut self.records,
            Kind::Labels => &mut self.labels,
        };
        batches.push(batch);
        // Neighbours of like size are joined, so each row is copied a few times at most.
        while let [.., earlier, last] = batches.as_slice()
            && earlier.num_rows() < SMALL
            && earlier.num_rows() <= 2 * last.num_rows()
        {
            let Ok(joined) = concat_batches(last.schema_ref(), [earlier, last]) else { return };
            batches.truncate(batches.len() - 2);
            batches.push(joined);
        }
    }
}

/// A model's log in memory.
#[derive(Debug)]
pub(super) struct Tail {
    /// Those of all replicas, in the order in which they are read.
    pub(super) segments: Arc<Vec<Segment>>,
    /// Rows that are there twice, because two replicas took them in; they are passed over.
    pub(super) doubles: Arc<Doubles>,
    /// Positions of this replica's log below this are in segments.
    pub(super) flushed: u64,
    /// Rises with every change of what is in segments.
    pub(super) generation: u64,
    /// What becomes segments, oldest first.
    pub(super) sealed: Vec<Arc<Unflushed>>,
    /// What is on disk after that.
    pub(super) open: Unflushed,
    /// What is not on disk yet.
    pub(super) pending: Vec<Pending>,
    /// The next position to give.
    pub(super) next: u64,
    /// Ids of what no segment holds, also of what is pending.
    pub(super) recents: Recents,
    /// Ids of segments.
    pub(super) files: Arc<IdFiles>,
    /// Those who wait for what is pending.
    pub(super) group: Arc<Group>,
    pub(super) members: usize,
    /// Somebody writes or is asked to.
    pub(super) led: bool,
    /// What is on disk is not known any more.
    pub(super) failed: bool,
}

impl Tail {
    /// Positions below this are on disk.
    pub(super) fn durable(&self) -> u64 {
        self.open.to
    }

    /// Whether there are labels whose record has not come.
    pub(super) fn labels_wait(&self) -> bool {
        let (.., mut counts) = self.files.totals();
        counts += self.recents.counts();
        counts.without_record() > 0
    }

    /// Bytes that no segment holds yet.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        let pending: u64 = self.pending.iter().map(|pending| pending.frame.len() as u64).sum();
        sealed + self.open.bytes + pending
    }

    /// Forgets these and everything that was to follow them; none of it is on disk.
    pub(super) fn take_back(&mut self, written: &[Pending]) {
        let queued = std::mem::take(&mut self.pending);
        for pending in written.iter().chain(&queued).rev() {
            for key in pending.keys.iter().rev() {
                self.recents.take_back(pending.frame.kind, *key);
            }
            self.recents.open.counts -= pending.counts;
        }
        self.next = self.durable();
    }
}
