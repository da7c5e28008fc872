//! ADWIN: a window that shrinks when its old and its new part differ.

use super::{StreamDetector, StreamState, any_value};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// More than the rounding error of a difference of two products, as a share of their sizes.
const ROUNDING: f64 = 1e-14;
/// What is below this share of a bound is below it in spite of rounding.
const CERTAINLY: f64 = 0.99;

/// Parameters of [`Adwin`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdwinConfig {
    /// The probability of a false alarm at one check, between 0 and 1. Default 0.002.
    pub delta: f64,
    /// Values from one check to the next. Default 32.
    pub clock: u64,
    /// Buckets of one size before two are merged; at least 2. Default 5.
    pub max_buckets: usize,
    /// Values that either part of the window must hold. Default 5.
    pub min_window_length: u64,
    /// No check until the window holds more values than this. Default 10.
    pub grace_period: u64,
}

impl Default for AdwinConfig {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, max_buckets: 5, min_window_length: 5, grace_period: 10 }
    }
}

/// Adaptive windowing: an alarm when the window can be cut in two whose means differ by more than
/// `sqrt(2 m v d) + 2/3 m d`, with `v` the variance of the window of `W` values, `d = ln(2 ln(W) / delta)` and
/// `m = 1/(n0 - l + 1) + 1/(n1 - l + 1)` for parts of `n0` and `n1` values and `l` the least length (Bifet and Gavaldà,
/// *Learning from time-changing data with adaptive windowing*, SDM 2007, ADWIN2; `m` as in MOA and River).
///
/// The window is kept as sums over buckets of 1, 2, 4, ... values, so `n` values take `O(max_buckets log n)` memory and
/// `O(1)` time each, plus `O(max_buckets log n)` at every `clock`-th. Memory is asked for only when the window doubles:
/// a million values take about 100 buckets of 16 bytes.
///
/// ```
/// use steersman_stats::stream::{Adwin, StreamDetector, StreamState};
/// let mut detector = Adwin::default();
/// let values = (0..2_000).map(|row| f64::from(row % 2) + if row < 1_000 { 0.0 } else { 5.0 });
/// let states: Vec<StreamState> = values.map(|value| detector.update(value).unwrap()).collect();
/// assert_eq!(states.iter().position(|state| *state == StreamState::Drift), Some(1_023));
/// assert_eq!(detector.width(), 976); // starts anew at 1,024
/// assert_eq!(detector.mean(), Some(5.5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    config: AdwinConfig,
    /// Row `i` holds buckets of `2^i` values each, oldest first.
    rows: Vec<VecDeque<Bucket>>,
    width: f64,
    total: f64,
    squares: f64,
    updates: u64,
    state: StreamState,
}

/// A sum of values, and of their squared deviations from their mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    squares: f64,
}

impl Adwin {
    /// A detector that has seen nothing.
    pub fn new(config: AdwinConfig) -> Result<Self, StatsError> {
        if !(config.delta > 0.0 && config.delta < 1.0) {
            return Err(StatsError::Domain("delta is a probability between 0 and 1"));
        }
        if config.clock == 0 || config.min_window_length == 0 {
            return Err(StatsError::Domain("clock and min_window_length are at least 1"));
        }
        if config.max_buckets < 2 {
            return Err(StatsError::Domain("max_buckets is at least 2"));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: AdwinConfig) -> Self {
        let state = StreamState::Steady;
        Self { config, rows: Vec::new(), width: 0.0, total: 0.0, squares: 0.0, updates: 0, state }
    }

    /// How many values the window holds.
    pub fn width(&self) -> u64 {
        self.width as u64
    }

    /// The mean of the window, none while it is empty.
    pub fn mean(&self) -> Option<f64> {
        (self.width > 0.0).then(|| self.total / self.width)
    }

    fn insert(&mut self, value: f64) {
        let before = self.width;
        self.width += 1.0;
        if before > 0.0 {
            let apart = value - self.total / before;
            self.squares += before * apart * apart / self.width;
        }
        self.total += value;
        let mut bucket = Bucket { total: value, squares: 0.0 };
        let mut size = 1.0;
        for row in &mut self.rows {
            row.push_back(bucket);
            if row.len() <= self.config.max_buckets {
                return;
            }
            let (Some(first), Some(second)) = (row.pop_front(), row.pop_front()) else { return };
            let apart = first.total / size - second.total / size;
            bucket = Bucket {
                total: first.total + second.total,
                squares: first.squares + second.squares + size * 0.5 * apart * apart,
            };
            size *= 2.0;
        }
        self.rows.push(VecDeque::from([bucket]));
    }

    /// The number of values in a bucket of the last row.
    fn oldest_size(&self) -> f64 {
        (1..self.rows.len()).fold(1.0, |size, _| size * 2.0)
    }

    fn drop_oldest(&mut self) {
        let size = self.oldest_size();
        let oldest = self.rows.last_mut().and_then(VecDeque::pop_front);
        if self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
        let Some(oldest) = oldest else { return };
        self.width -= size;
        self.total -= oldest.total;
        let apart = oldest.total / size - self.total / self.width;
        self.squares -= oldest.squares + size * self.width * apart * apart / (size + self.width);
    }

    /// Whether the window can be cut in two that differ.
    fn has_cut(&self) -> bool {
        let least = self.config.min_window_length as f64;
        let variance = self.squares / self.width;
        let log = (2.0 * self.width.ln() / self.config.delta).ln();
        let (mut old, mut old_total) = (0.0, 0.0);
        let (mut new, mut new_total) = (self.width, self.total);
        // `apart^2 <= 2 inverse variance log` rules a cut out. Multiplied by `(old new)^2 p q`, with `1/p + 1/q = inverse`,
        // this needs no division, and only a few cuts come to the exact test.
        let noise = CERTAINLY * 2.0 * variance * log * (self.width - 2.0 * least + 2.0);
        let mut size = self.oldest_size();
        for row in self.rows.iter().rev() {
            for bucket in row {
                old += size;
                new -= size;
                old_total += bucket.total;
                new_total -= bucket.total;
                if old >= least && new >= least {
                    let (p, q) = (old - least + 1.0, new - least + 1.0);
                    let (left, right) = (old_total * new, new_total * old);
                    let most = (left - right).abs() + ROUNDING * (left.abs() + right.abs());
                    if most * most * (p * q) < noise * (old * new) * (old * new) {
                        continue;
                    }
                    let apart = old_total / old - new_total / new;
                    let inverse = 1.0 / p + 1.0 / q;
                    // A variance that rounding made negative gives NaN, which is no cut.
                    let bound = (2.0 * inverse * variance * log).sqrt() + 2.0 / 3.0 * log * inverse;
                    if apart.abs() > bound {
                        return true;
                    }
                }
            }
            size *= 0.5;
        }
        false
    }
}

impl Default for Adwin {
    fn default() -> Self {
        Self::empty(AdwinConfig::default())
    }
}

impl StreamDetector for Adwin {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        any_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        self.insert(value);
        self.updates += 1;
        if self.updates.is_multiple_of(self.config.clock) && self.width > self.config.grace_period as f64 {
            while self.has_cut() {
                self.drop_oldest();
                self.state = StreamState::Drift;
            }
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
