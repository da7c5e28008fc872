//! The rate of failed calls: found from the first window on, against a rate that is learnt.

use super::series::End;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use steersman_domain::{Period, Window};
use steersman_stats::detector::Detector;
use steersman_stats::interval::wilson;
use steersman_stats::sequential::mean_of_logs;

/// Rates up to this are ordinary in any case.
const ORDINARY_RATE: f64 = 0.01;
/// The rate that is ordinary is at most this.
const LARGEST_RATE: f64 = 0.5;
/// Multiples of the ordinary rate that are looked for.
const HIGHER: [f64; 3] = [2.0, 5.0, 20.0];
/// The ordinary rate is learnt from so many last windows.
const PAST_WINDOWS: usize = 30;
/// A change is over after so many windows in a row with an ordinary rate.
const QUIET_WINDOWS: u32 = 3;

/// What is known of the rate of failed calls.
///
/// One Shiryaev-Roberts detector for each higher rate takes the likelihood ratio of each step's calls, and the mean of
/// the three is a detector again: as long as calls fail independently with at most the ordinary rate, false alarms are
/// as far apart as the budget says. That rate is 1 %, or what the last windows without an alarm show: the upper end of
/// their common rate, or the lower end of the second highest of theirs, where windows differ more than chance lets them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rate {
    detectors: [Detector; 3],
    /// Failed calls and calls of the last windows in which the rate was ordinary.
    past: VecDeque<(u64, u64)>,
    /// The same since the change began.
    during: VecDeque<(u64, u64)>,
    changed: bool,
    /// Seconds since the change began.
    lasted: i64,
    quiet: u32,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self {
            detectors: [Detector::new(); 3],
            past: VecDeque::new(),
            during: VecDeque::new(),
            changed: false,
            lasted: 0,
            quiet: 0,
        }
    }

    /// The highest rate that is ordinary.
    pub(super) fn limit(&self) -> f64 {
        ordinary_rate(self.past.iter().copied())
    }

    /// Takes the calls of a step in; whether the alarm has gone off, now or before.
    pub(super) fn observe(&mut self, failed: u64, calls: u64, points_per_false_alarm: f64) -> bool {
        let limit = self.limit();
        for (detector, log_odds) in self.detectors.iter_mut().zip(odds(failed, calls, limit)) {
            detector.observe(log_odds);
        }
        self.changed |= self.log_m() >= points_per_false_alarm.ln();
        self.changed
    }

    /// The logarithm of the evidence.
    pub(super) fn log_m(&self) -> f64 {
        mean_of_logs(&self.detectors.map(|detector| detector.log_m()))
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// A window is over; says whether a change is.
    pub(super) fn close(&mut self, window: Window, failed: u64, calls: u64, settle: Period) -> Option<End> {
        let remembered = if self.changed { &mut self.during } else { &mut self.past };
        if calls > 0 {
            remembered.push_back((failed, calls));
            if remembered.len() > PAST_WINDOWS {
                remembered.pop_front();
            }
        }
        if !self.changed {
            return None;
        }
        self.lasted += window.end.as_second() - window.start.as_second();
        self.quiet = if failed as f64 > self.limit() * calls as f64 { 0 } else { self.quiet + 1 };
        let end = match (self.quiet >= QUIET_WINDOWS, self.lasted >= settle.seconds()) {
            (true, _) => End::Over,
            (false, true) => End::NewNormal,
            (false, false) => return None,
        };
        if end == End::NewNormal {
            self.past = std::mem::take(&mut self.during);
        }
        *self = Self { past: std::mem::take(&mut self.past), ..Self::new() };
        Some(end)
    }
}

/// The highest rate that is ordinary after windows of so many failed calls and calls.
pub(crate) fn ordinary_rate(past: impl Iterator<Item = (u64, u64)> + Clone) -> f64 {
    let sum = past.clone().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let common = wilson(sum.0, sum.1).map_or(0.0, |rate| rate.high);
    let mut lows: Vec<f64> =
        past.filter_map(|(failed, calls)| Some(wilson(failed, calls).ok()?.low)).collect();
    lows.sort_by(|a, b| b.total_cmp(a));
    let second = lows.get(1).copied().unwrap_or(0.0);
    // A hundred calls without a failure are compatible with 3 %; that is no reason to call 3 % ordinary.
    let common = if sum.0 as f64 > ORDINARY_RATE * sum.1 as f64 { common } else { 0.0 };
    ORDINARY_RATE.max(common).max(second).min(LARGEST_RATE)
}

/// The logarithms of the likelihood ratios of each of the higher rates against an ordinary one.
pub(crate) fn odds(failed: u64, calls: u64, ordinary: f64) -> [f64; 3] {
    let (failed, rest) = (failed as f64, calls.saturating_sub(failed) as f64);
    HIGHER.map(|factor| {
        let rate = (factor * ordinary).min(0.99);
        failed * (rate / ordinary).ln() + rest * ((1.0 - rate) / (1.0 - ordinary)).ln()
    })
}
