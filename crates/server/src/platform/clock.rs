//! The only place that reads a clock.

use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use steersman_domain::time::{from_micros, micros};

/// Where the platform takes the time from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is moved: replays and tests.
    Stepped(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn stepped(start: Timestamp) -> Self {
        Self::Stepped(Arc::new(AtomicI64::new(micros(start))))
    }

    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that everything else is told the time by"
    )]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Stepped(micros) => from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a stepped clock forward; never back. The machine's clock cannot be moved.
    pub fn advance_to(&self, to: Timestamp) {
        if let Self::Stepped(now) = self {
            now.fetch_max(micros(to), Ordering::SeqCst);
        }
    }
}
