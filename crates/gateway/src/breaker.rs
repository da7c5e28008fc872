//! Leaves a model server alone for a moment when it keeps failing, and tries it with one request at a time.
//!
//! Five faults of the connection in a row open a breaker: refused, silent, broken off. Where the champion can answer
//! instead, so does a window of ten seconds in which at least half of at least twenty calls failed, bad gateways and
//! 503s included; a champion that fails half of its calls is better than none, so that alone never closes it off. An
//! open breaker lets one request through after a second, then after two, four, up to thirty.

use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const IN_A_ROW: u32 = 5;
const WINDOW: Duration = Duration::from_secs(10);
const LEAST_CALLS: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// One request is under way to see whether the server is back.
    Probing,
    /// No request passes.
    Open,
}

/// How a call went, as far as it says something about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// It answered that it or what is behind it is not well.
    Unwell,
    /// There was no whole answer.
    Broken,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Probing,
    Open { until: Instant },
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    wait: Duration,
    in_a_row: u32,
    window: Option<Instant>,
    calls: u32,
    failed: u32,
    opened: u64,
}

/// The breaker of one model server.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<Inner>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            phase: Phase::Closed,
            wait: FIRST_WAIT,
            in_a_row: 0,
            window: None,
            calls: 0,
            failed: 0,
            opened: 0,
        }))
    }
}

/// Leave for one request. Whoever lets go of it without an outcome has learnt nothing.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Option<Arc<Breaker>>,
    probe: bool,
    /// Whether another server can answer in its place.
    replaceable: bool,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for one more request, if the breaker gives it.
    pub(crate) fn admit(self: &Arc<Self>, now: Instant, replaceable: bool) -> Option<Pass> {
        let mut inner = self.lock();
        let probe = match inner.phase {
            Phase::Closed => false,
            Phase::Probing => return None,
            Phase::Open { until } if now < until => return None,
            Phase::Open { .. } => {
                inner.phase = Phase::Probing;
                true
            }
        };
        Some(Pass { breaker: Some(self.clone()), probe, replaceable })
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Probing => BreakerState::Probing,
            Phase::Open { .. } => BreakerState::Open,
        }
    }

    /// How often it opened.
    pub(crate) fn opened(&self) -> u64 {
        self.lock().opened
    }
}

impl Inner {
    fn note(&mut self, outcome: Outcome, now: Instant, replaceable: bool) {
        if self.window.is_none_or(|began| now.duration_since(began) > WINDOW) {
            (self.window, self.calls, self.failed) = (Some(now), 0, 0);
        }
        self.calls += 1;
        self.failed += u32::from(outcome != Outcome::Good);
        self.in_a_row = if outcome == Outcome::Broken { self.in_a_row + 1 } else { 0 };
        let often = replaceable && self.calls >= LEAST_CALLS && self.failed * 2 >= self.calls;
        if self.in_a_row >= IN_A_ROW || often {
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        self.opened += u64::from(matches!(self.phase, Phase::Closed));
        self.phase = Phase::Open { until: now + self.wait };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        (self.window, self.in_a_row) = (None, 0);
    }
}

impl Pass {
    /// Says how the call went.
    pub(crate) fn conclude(&mut self, outcome: Outcome, now: Instant) {
        let Some(breaker) = self.breaker.take() else { return };
        let mut inner = breaker.lock();
        match (self.probe, outcome) {
            (true, Outcome::Good) => {
                (inner.phase, inner.wait) = (Phase::Closed, FIRST_WAIT);
                (inner.window, inner.in_a_row) = (None, 0);
            }
            (true, _) => inner.open(now),
            // What was under way when it opened says nothing new.
            (false, outcome) if matches!(inner.phase, Phase::Closed) => {
                inner.note(outcome, now, self.replaceable);
            }
            (false, _) => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(breaker) = self.breaker.take().filter(|_| self.probe) else { return };
        // The next request is the probe.
        breaker.lock().phase = Phase::Open { until: Instant::now() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_probes_once_at_a_time_and_waits_longer_each_time() {
        let (breaker, start) = (Arc::new(Breaker::default()), Instant::now());
        let call = |outcome, at: Duration| {
            let pass = breaker.admit(start + at, false);
            pass.map(|mut pass| pass.conclude(outcome, start + at)).is_some()
        };
        let second = Duration::from_secs;
        // A champion that is unwell is asked all the same.
        assert!((0..50).all(|_| call(Outcome::Unwell, second(0))));
        assert!((0..5).all(|_| call(Outcome::Broken, second(0))));
        assert!(!call(Outcome::Good, second(0)));
        let mut probe = breaker.admit(start + second(1), false).unwrap();
        assert!(breaker.admit(start + second(1), false).is_none());
        probe.conclude(Outcome::Broken, start + second(1));
        assert!(!call(Outcome::Good, second(2)));
        // A probe whose caller went away makes way for the next.
        drop(breaker.admit(start + second(3), false).unwrap());
        assert!(call(Outcome::Good, second(4)) && call(Outcome::Good, second(4)));
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Closed, 1));
    }

    #[test]
    fn a_candidate_that_fails_half_of_its_calls_is_left_alone() {
        let (breaker, now) = (Arc::new(Breaker::default()), Instant::now());
        let mut calls = 0;
        while let Some(mut pass) = breaker.admit(now, true) {
            calls += 1;
            pass.conclude(if calls % 2 == 0 { Outcome::Unwell } else { Outcome::Good }, now);
        }
        assert_eq!(calls, 20);
    }
}
