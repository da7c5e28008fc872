//! How many requests a candidate may answer: a count that no request passes, whatever else goes on.
//!
//! INVARIANT: a candidate never answers more requests than its budget, also not over a restart of this process and not
//! with several gateways. Over a restart: requests are reserved in a file before they are given out (`memory`), and
//! what was reserved counts as used. With several gateways: the control plane grants each a part of what is left
//! ([`next_grant`]) and the parts never add up to more than the whole.

use crate::route::SegmentBudget;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use steersman_domain::fact::TripCause;

/// So many values of segments are told apart; a request of any further one is the champion's.
const MOST_SEGMENTS: usize = 10_000;

const NOT_TRIPPED: u8 = 0;
const DEAD_MAN: u8 = 1;
const BUDGET: u8 = 2;

/// A column and its value in one request.
pub(crate) type Segment = (String, String);

/// The candidate's counts: kept as long as it is the same version in the same rollout.
#[derive(Debug)]
pub(crate) struct Exposure {
    used: AtomicU64,
    /// So many are written down as used.
    reserved: AtomicU64,
    pub(crate) shadow: AtomicU64,
    tripped: AtomicU8,
    segments: Mutex<Segments>,
}

#[derive(Debug, Default, Clone)]
struct Segments {
    used: BTreeMap<Segment, u64>,
    /// So many may have been used of each segment beside: those of a process that was killed.
    unknown: u64,
}

/// What is written down of an exposure.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reserved {
    pub(crate) requests: u64,
    /// Of these, so many were not given out when this was written.
    pub(crate) ahead: u64,
    pub(crate) segments: Vec<(Segment, u64)>,
    pub(crate) tripped: Option<TripCause>,
}

impl Exposure {
    /// Nothing was given out. Where `remembered`, only what is reserved may be.
    pub(crate) fn new(remembered: bool) -> Self {
        Self {
            used: AtomicU64::new(0),
            reserved: AtomicU64::new(if remembered { 0 } else { u64::MAX }),
            shadow: AtomicU64::new(0),
            tripped: AtomicU8::new(NOT_TRIPPED),
            segments: Mutex::default(),
        }
    }

    /// What a process before this one may have given out.
    pub(crate) fn restored(before: &Reserved) -> Self {
        let exposure = Self::new(true);
        exposure.used.store(before.requests, Ordering::SeqCst);
        exposure.reserved.store(before.requests, Ordering::SeqCst);
        *exposure.segments() =
            Segments { used: before.segments.iter().cloned().collect(), unknown: before.ahead };
        if let Some(cause) = before.tripped {
            exposure.trip(cause);
        }
        exposure
    }

    fn segments(&self) -> std::sync::MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more request, unless a budget has no room for it.
    pub(crate) fn expose(&self, budget: Option<u64>, limits: &[SegmentBudget], of: &[Segment]) -> bool {
        if limits.is_empty() {
            return self.take(budget);
        }
        let mut segments = self.segments();
        let room = of.iter().all(|segment| {
            let limit =
                limits.iter().find(|limit| limit.column == segment.0).map_or(0, |limit| limit.requests);
            let known = segments.used.get(segment).copied();
            let fits = known.is_some() || segments.used.len() < MOST_SEGMENTS;
            fits && known.unwrap_or(0) + segments.unknown < limit
        });
        // A request that does not say which segment it is of could be of one that is used up.
        let told = limits.iter().all(|limit| of.iter().any(|segment| segment.0 == limit.column));
        if !(room && told && self.take(budget)) {
            return false;
        }
        for segment in of {
            *segments.used.entry(segment.clone()).or_default() += 1;
        }
        true
    }

    fn take(&self, budget: Option<u64>) -> bool {
        let Some(budget) = budget else {
            self.used.fetch_add(1, Ordering::SeqCst);
            return true;
        };
        let limit = budget.min(self.reserved.load(Ordering::SeqCst));
        let within = |count: u64| (count < limit).then(|| count + 1);
        match self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, within) {
            Ok(_) => true,
            Err(used) => {
                if used >= budget {
                    self.trip(TripCause::Budget);
                }
                false
            }
        }
    }

    /// Takes the candidate's traffic away.
    pub(crate) fn trip(&self, cause: TripCause) {
        let code = match cause {
            TripCause::DeadMan => DEAD_MAN,
            TripCause::Budget => BUDGET,
        };
        let _ = self.tripped.compare_exchange(NOT_TRIPPED, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(crate) fn tripped(&self) -> Option<TripCause> {
        match self.tripped.load(Ordering::SeqCst) {
            DEAD_MAN => Some(TripCause::DeadMan),
            BUDGET => Some(TripCause::Budget),
            _ => None,
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// A larger budget lets a candidate on that had used up a smaller one.
    pub(crate) fn regrant(&self, budget: Option<u64>) {
        if budget.is_none_or(|budget| self.used() < budget) {
            let _ = self.tripped.compare_exchange(BUDGET, NOT_TRIPPED, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// What should be written down, if it is more than what is: a sixteenth of the budget ahead of what is used.
    pub(crate) fn wants(&self, budget: Option<u64>) -> Option<u64> {
        let (budget, used, reserved) = (budget?, self.used(), self.reserved.load(Ordering::SeqCst));
        let block = (budget / 16).max(1);
        let enough = reserved >= budget || reserved.saturating_sub(used) > block;
        (!enough).then(|| (used + 2 * block).min(budget).max(reserved))
    }

    /// What to write down when `requests` are to be reserved.
    pub(crate) fn reservation(&self, requests: Option<u64>) -> Reserved {
        let segments = self.segments();
        let held = self.reserved.load(Ordering::SeqCst);
        let requests = requests.unwrap_or(if held == u64::MAX { 0 } else { held });
        Reserved {
            requests,
            ahead: requests.saturating_sub(self.used()) + segments.unknown,
            segments: segments.used.clone().into_iter().collect(),
            tripped: self.tripped(),
        }
    }

    /// So many are written down now.
    pub(crate) fn reserve(&self, requests: u64) {
        self.reserved.fetch_max(requests, Ordering::SeqCst);
    }
}

/// How many requests more a gateway may be granted of a rollout's budget. `granted` is what all gateways hold, `own` what
/// it holds, `used` what it has used of that; `gateways` is how many there are. One that is alone gets all at once, else
/// each gets half of an equal part of what is left, again and again, so that one that comes later finds something.
///
/// ```
/// use steersman_gateway::next_grant;
/// assert_eq!(next_grant(1_000, 0, 0, 0, 1), 1_000);
/// assert_eq!(next_grant(1_000, 0, 0, 0, 2), 250);
/// assert_eq!(next_grant(1_000, 250, 250, 10, 2), 0);
/// assert_eq!(next_grant(1_000, 1_000, 250, 250, 2), 0);
/// ```
pub fn next_grant(budget: u64, granted: u64, own: u64, used: u64, gateways: u64) -> u64 {
    let left = budget.saturating_sub(granted);
    if gateways <= 1 {
        return left;
    }
    let share = (left / (2 * gateways)).max(1).min(left);
    // It still holds enough that is unused.
    if own.saturating_sub(used) > share / 2 { 0 } else { share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_never_gives_out_what_may_have_been_given_out() {
        let (budget, limits) = (Some(64), [SegmentBudget { column: "region".to_owned(), requests: 6 }]);
        let of = |region: &str| [("region".to_owned(), region.to_owned())];
        let first = Exposure::new(true);
        assert!(!first.expose(budget, &limits, &of("eu")), "nothing is reserved yet");
        let wanted = first.wants(budget).unwrap();
        let written = first.reservation(Some(wanted));
        first.reserve(wanted);
        let given = (0..100).filter(|_| first.expose(budget, &limits, &of("eu"))).count();
        assert_eq!((given, first.tripped()), (6, None));
        assert!(!first.expose(budget, &limits, &[]), "of an unknown segment");
        // Killed here: nothing since then was written.
        let second = Exposure::restored(&written);
        let wanted = second.wants(budget).unwrap();
        second.reserve(wanted);
        assert_eq!(second.used(), 8);
        assert!(!second.expose(budget, &limits, &of("eu")) && !second.expose(budget, &limits, &of("us")));
    }

    #[test]
    fn the_parts_of_many_gateways_never_add_up_to_more_than_the_whole() {
        let (budget, mut held) = (1_000, [(0u64, 0u64); 3]);
        for turn in 0..4_000usize {
            let place = turn % 3;
            let granted: u64 = held.iter().map(|(own, _)| own).sum();
            let (own, used) = held[place];
            held[place].0 += next_grant(budget, granted, own, used, 3);
            held[place].1 = (used + 7).min(held[place].0);
        }
        let (granted, used) = held.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!((granted, used), (budget, budget));
    }
}
