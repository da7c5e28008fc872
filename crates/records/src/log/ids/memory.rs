//! How much memory the ids of segments may take, all models together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit, and what is taken of it; clones share it.
#[derive(Debug, Clone)]
pub(in crate::log) struct Memory(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    limit: u64,
    taken: AtomicU64,
}

/// Memory that is taken; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    memory: Memory,
    pub(super) bytes: u64,
}

impl Memory {
    /// So many bytes.
    pub(in crate::log) fn new(limit: u64) -> Self {
        Self(Arc::new(Taken { limit, taken: AtomicU64::new(0) }))
    }

    /// The limit.
    pub(in crate::log) fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Room for a filter, if there is any.
    pub(super) fn for_filter(&self, bytes: u64) -> Option<Grant> {
        self.take(bytes, self.0.limit)
    }

    /// Room for keys, if there is any. They only make things faster, so half of all stays for filters.
    pub(super) fn for_keys(&self, bytes: u64) -> Option<Grant> {
        self.take(bytes, self.0.limit / 2)
    }

    fn take(&self, bytes: u64, limit: u64) -> Option<Grant> {
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= limit);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Grant { memory: self.clone(), bytes })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory.0.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
