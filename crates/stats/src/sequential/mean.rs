//! Bets on means: of one bounded quantity, and of the difference between two arms.

use serde::{Deserialize, Serialize};

/// A bet risks at most this share of the evidence on one observation.
const LARGEST_BET: f64 = 0.5;

/// What is won by betting that gains are positive on average, and what the bets are made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wealth {
    count: u64,
    mean: f64,
    squares: f64,
    log: f64,
}

impl Wealth {
    const NOTHING: Self = Self { count: 0, mean: 0.0, squares: 0.0, log: 0.0 };

    /// Observations of one moment, each with how often it came, on which the same bet was laid. `gain` says what an
    /// observation brings, which is at least `-worst`; `range` is the width of observations.
    fn observe(
        &mut self,
        values: impl Iterator<Item = (f64, u64)>,
        worst: f64,
        range: f64,
        gain: impl Fn(f64) -> f64,
    ) {
        let drift = if self.count == 0 { 0.0 } else { gain(self.mean) };
        // One pseudo-observation of the largest variance keeps the first bets small.
        let variance = (range * range / 4.0 + self.squares) / (self.count as f64 + 1.0);
        let bet = (drift / (variance + drift * drift)).clamp(0.0, LARGEST_BET / worst);
        for (value, times) in values.filter(|(_, times)| *times > 0) {
            self.log += times as f64 * (bet * gain(value)).ln_1p();
            self.count += times;
            let (delta, share) = (value - self.mean, times as f64 / self.count as f64);
            self.mean += delta * share;
            self.squares += times as f64 * delta * (value - self.mean);
        }
    }
}

/// Evidence about the mean of bounded observations, by betting (Waudby-Smith and Ramdas, *Estimating means of bounded
/// random variables by betting*, JRSS B 2024, section 4; bets as in their aGRAPA, from past observations only).
///
/// ```
/// use steersman_stats::sequential::MeanProcess;
/// let mut process = MeanProcess::above(0.0, -1.0, 1.0);
/// for _ in 0..100 {
///     process.observe(0.5);
/// }
/// assert!(process.log_e() > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanProcess {
    threshold: f64,
    low: f64,
    high: f64,
    above: bool,
    wealth: Wealth,
}

impl MeanProcess {
    /// Evidence against "the mean is at most `threshold`" for observations in `[low, high]`.
    pub fn above(threshold: f64, low: f64, high: f64) -> Self {
        Self { threshold, low, high, above: true, wealth: Wealth::NOTHING }
    }

    /// Evidence against "the mean is at least `threshold`" for observations in `[low, high]`.
    pub fn below(threshold: f64, low: f64, high: f64) -> Self {
        Self { above: false, ..Self::above(threshold, low, high) }
    }

    /// Takes one observation in; it is cut to the bounds.
    pub fn observe(&mut self, value: f64) {
        self.observe_together(&[(value, 1)]);
    }

    /// Takes in what came between two looks: values, each with how often it came. One bet is laid on all of them.
    pub fn observe_together(&mut self, values: &[(f64, u64)]) {
        if values.iter().any(|(value, _)| value.is_nan()) {
            return;
        }
        let (threshold, above) = (self.threshold, self.above);
        let (low, high) = (self.low, self.high);
        let gain = |value: f64| if above { value - threshold } else { threshold - value };
        let worst = if above { threshold - low } else { high - threshold };
        let values = values.iter().map(|&(value, times)| (value.clamp(low, high), times));
        self.wealth.observe(values, worst, high - low, gain);
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        self.wealth.log
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.wealth.count
    }

    /// Their mean; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.wealth.mean
    }
}

/// Evidence about how far the candidate's mean of a bounded quantity is above the champion's, where each request went to
/// the candidate with a known probability: bets on `z = (A/w - (1-A)/(1-w)) (y - m)`, whose mean is that difference for
/// any `m` that the past decides; `m` is the mean so far. Valid at any number of observations and under any change of
/// weights and of the common level.
///
/// ```
/// use steersman_stats::sequential::DifferenceProcess;
/// let mut process = DifferenceProcess::above(0.05, 0.0, 1.0);
/// for turn in 0..400u32 {
///     let candidate = turn % 2 == 0;
///     process.observe(candidate, 0.5, if candidate { 0.7 } else { 0.4 });
/// }
/// assert!(process.log_e() > 20f64.ln() && (process.difference() - 0.3).abs() < 0.02);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifferenceProcess {
    threshold: f64,
    low: f64,
    high: f64,
    above: bool,
    level: f64,
    wealth: Wealth,
}

impl DifferenceProcess {
    /// Evidence against "the difference is at most `threshold`" for observations in `[low, high]`.
    pub fn above(threshold: f64, low: f64, high: f64) -> Self {
        let width = high - low;
        Self { threshold: threshold / width, low, high, above: true, level: 0.5, wealth: Wealth::NOTHING }
    }

    /// Evidence against "the difference is at least `threshold`" for observations in `[low, high]`.
    pub fn below(threshold: f64, low: f64, high: f64) -> Self {
        Self { above: false, ..Self::above(threshold, low, high) }
    }

    /// Takes one observation in, of a request that went to the candidate with probability `weight`; it is cut to the
    /// bounds.
    pub fn observe(&mut self, candidate: bool, weight: f64, value: f64) {
        if value.is_nan() || !(weight > 0.0 && weight < 1.0) {
            return;
        }
        let value = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let (level, threshold, above) = (self.level, self.threshold, self.above);
        let scale = if candidate { 1.0 / weight } else { -1.0 / (1.0 - weight) };
        let lowest = -(level / weight).max((1.0 - level) / (1.0 - weight));
        let highest = ((1.0 - level) / weight).max(level / (1.0 - weight));
        let worst = if above { threshold - lowest } else { highest - threshold };
        let gain = |z: f64| if above { z - threshold } else { threshold - z };
        let z = scale * (value - level);
        self.wealth.observe(std::iter::once((z, 1)), worst, highest - lowest, gain);
        self.level += (value - level) / (self.wealth.count as f64 + 1.0);
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        self.wealth.log
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.wealth.count
    }

    /// The estimated difference; 0 before the first observation.
    pub fn difference(&self) -> f64 {
        self.wealth.mean * (self.high - self.low)
    }
}
