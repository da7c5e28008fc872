//! One point seen in several ways, and how surprising it is in the most telling ones.

use super::recent::Recent;
use crate::detector::calibrate;
use serde::{Deserialize, Serialize};

/// What a local level is the median of.
const LOCAL_POINTS: usize = 6;
/// How many points a shift or a roughness is seen in.
const SPAN_POINTS: usize = 12;
/// What spreads are the medians of.
const SPREAD_POINTS: usize = 2_000;
/// What each view's numbers are compared with.
const HISTORY_POINTS: usize = 1_000;
/// Nothing is surprising with a shorter history.
const LEAST_HISTORY: usize = 30;
/// The share of a view's numbers that its tail is fitted to, and the least weight of that tail.
const TAIL_SHARE: f64 = 0.01;
const LEAST_GAMMA: f64 = 0.4;
/// What is no more surprising than one of so many points before is no news.
const NEWS_POINTS: usize = 30;
/// Deviations of more spreads than this count as so many where several points are put together.
const LARGEST_DEVIATION: f64 = 20.0;
/// Beyond this a number of spreads says nothing more.
const LARGEST_RATIO: f64 = 1e12;
/// The weight of each view: the distance from the local level, the distance from the expected level, the mean and
/// the median of the last distances from it, the roughness of the last steps.
const WEIGHTS: [f64; 5] = [1.0, 1.0, 1.0, 1.0, 2.0];

/// What the views remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Views {
    local: Recent,
    local_spread: Recent,
    level_spread: Recent,
    deviations: Recent,
    steps: Recent,
    previous: Option<f64>,
    histories: [Recent; 5],
    told: Recent,
}

impl Views {
    pub(super) fn new() -> Self {
        Self {
            local: Recent::new(LOCAL_POINTS),
            local_spread: Recent::new(SPREAD_POINTS),
            level_spread: Recent::new(SPREAD_POINTS),
            deviations: Recent::new(SPAN_POINTS),
            steps: Recent::new(SPAN_POINTS),
            previous: None,
            histories: std::array::from_fn(|_| Recent::new(HISTORY_POINTS)),
            told: Recent::new(NEWS_POINTS),
        }
    }

    /// Forgets distances from the expected level, because levels are now expected in another way.
    pub(super) fn forget_level(&mut self) {
        self.level_spread = Recent::new(SPREAD_POINTS);
        self.deviations = Recent::new(SPAN_POINTS);
        for history in self.histories.iter_mut().skip(1).take(3) {
            *history = Recent::new(HISTORY_POINTS);
        }
    }

    /// How much of a surprise a value is, in `[0, 1]`: `e / (1 + e)` for the weighted mean `e` of the views' evidence,
    /// the probability of an anomaly if one was as likely as not; 0 where the last points were as surprising.
    ///
    /// `expected` is the level that was expected, `trifle` a difference that is none.
    pub(super) fn surprise(&mut self, value: f64, expected: f64, trifle: f64) -> f64 {
        let seen = self.look(value, expected, trifle);
        let mut evidence = 0.0;
        for ((history, number), weight) in self.histories.iter_mut().zip(seen).zip(WEIGHTS) {
            let log_p = match history.len() < LEAST_HISTORY {
                true => 0.0,
                false => history.tail_log_p(number, TAIL_SHARE, LEAST_GAMMA),
            };
            // The smallest p-values are cut where numbers end.
            evidence += weight * calibrate(log_p.clamp(-600.0, 0.0).exp()).map_or(1.0, f64::exp);
            history.push(number);
        }
        let evidence = evidence / WEIGHTS.iter().sum::<f64>();
        let news = evidence > self.told.max().unwrap_or(1.0).max(1.0);
        self.told.push(evidence);
        if news { evidence / (1.0 + evidence) } else { 0.0 }
    }

    /// The numbers that the views compare with their history, and takes the value in.
    fn look(&mut self, value: f64, expected: f64, trifle: f64) -> [f64; 5] {
        let jump = (value - self.local.median().unwrap_or(value)).abs();
        let distance = value - expected;
        let local_unit = self.local_spread.median().unwrap_or(1.0) + trifle;
        let level_unit = self.level_spread.median().unwrap_or(1.0) + trifle;
        self.local.push(value);
        self.local_spread.push(jump);
        self.level_spread.push(distance.abs());
        let cut = |deviation: f64| deviation.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION);
        self.deviations.push(cut(distance / level_unit));
        if let Some(previous) = self.previous.replace(value) {
            self.steps.push(((value - previous).abs() / local_unit).min(LARGEST_DEVIATION));
        }
        let mean = |recent: &Recent| recent.mean().unwrap_or(0.0).abs();
        let roughness = if self.steps.is_full() { mean(&self.steps) + trifle / local_unit } else { 1.0 };
        [
            (jump / local_unit).min(LARGEST_RATIO),
            (distance.abs() / level_unit).min(LARGEST_RATIO),
            mean(&self.deviations),
            self.deviations.median().unwrap_or(0.0).abs(),
            roughness,
        ]
    }
}
