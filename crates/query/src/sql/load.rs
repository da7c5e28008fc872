//! How many queries run, and how many were refused for which limit.

use super::problem::OUT_OF_MEMORY;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::{ErrorKind, Problem};

/// What queries did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Running now.
    pub running: u64,
    /// As many may run at once.
    pub at_once: u64,
    /// That were answered.
    pub answered: u64,
    /// Refused because as many as may run were running.
    pub busy: u64,
    /// Ended because they ran for too long.
    pub too_slow: u64,
    /// Ended because they needed too much memory.
    pub out_of_memory: u64,
    /// Refused because they asked for too many rows, or ended because their answer grew too large.
    pub too_large: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    busy: AtomicU64,
    too_slow: AtomicU64,
    out_of_memory: AtomicU64,
    too_large: AtomicU64,
}

/// What is said of a query that runs for too long begins so.
pub(super) const TOO_SLOW: &str = "the query ran longer than";

/// The field of a query that asks for too many rows.
pub(super) const LIMIT: &str = "limit";

impl Counters {
    pub(super) fn note_busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how a query ended.
    pub(super) fn note<T>(&self, result: &Result<T, Problem>) {
        let counter = match result {
            Ok(_) => &self.answered,
            Err(problem) if problem.message == OUT_OF_MEMORY => &self.out_of_memory,
            Err(problem) if problem.message.starts_with(TOO_SLOW) => &self.too_slow,
            Err(problem)
                if problem.kind == ErrorKind::TooLarge || problem.field.as_deref() == Some(LIMIT) =>
            {
                &self.too_large
            }
            Err(_) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn load(&self, free: usize, at_once: usize) -> Load {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Load {
            running: at_once.saturating_sub(free) as u64,
            at_once: at_once as u64,
            answered: count(&self.answered),
            busy: count(&self.busy),
            too_slow: count(&self.too_slow),
            out_of_memory: count(&self.out_of_memory),
            too_large: count(&self.too_large),
        }
    }
}
