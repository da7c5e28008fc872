//! HDDM-W: a weighted mean of recent values against the best one before.

use super::{StreamDetector, StreamState, confidences, unit_value};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Parameters of [`HddmW`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmWConfig {
    /// The level of the test for an alarm, between 0 and 1. Default 0.001.
    pub drift_confidence: f64,
    /// The level of the test for a warning. Default 0.005.
    pub warning_confidence: f64,
    /// The weight of the newest value in a mean, between 0 and 1. Default 0.05.
    pub lambda_val: f64,
    /// Whether a lower mean alarms too. Default false.
    pub two_sided_test: bool,
}

impl Default for HddmWConfig {
    fn default() -> Self {
        Self { drift_confidence: 0.001, warning_confidence: 0.005, lambda_val: 0.05, two_sided_test: false }
    }
}

/// Drift detection by McDiarmid's bound on exponentially weighted means: the stream is cut where the weighted mean plus
/// its bound was lowest, and an alarm goes off when the mean since then exceeds the mean up to there by more than
/// `sqrt((c1 + c2) ln(1/a) / 2)` at level `a`, where `c` of a mean becomes `lambda^2 + (1 - lambda)^2 c` at each value
/// and starts at 1 (Frías-Blanco et al., *Online and non-parametric drift detection methods based on Hoeffding's
/// bounds*, IEEE TKDE 27, 2015, W-test; `c` as in MOA and River). Values are between 0 and 1. Constant memory.
///
/// ```
/// use steersman_stats::stream::{HddmW, StreamDetector, StreamState};
/// let mut detector = HddmW::default();
/// let states = (0..200).map(|row| detector.update(f64::from(u8::from(row >= 100))).unwrap());
/// assert_eq!(states.take_while(|state| *state != StreamState::Drift).count(), 113);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HddmW {
    config: HddmWConfig,
    all: WeightedMean,
    rise: Split,
    fall: Split,
    state: StreamState,
}

/// An exponentially weighted mean, none before the first value, and the `c` of its bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct WeightedMean {
    mean: Option<f64>,
    weights: f64,
}

impl WeightedMean {
    const EMPTY: Self = Self { mean: None, weights: 1.0 };

    fn update(&mut self, value: f64, lambda: f64) {
        let kept = 1.0 - lambda;
        self.mean = Some(self.mean.map_or(value, |mean| lambda * value + kept * mean));
        self.weights = lambda * lambda + kept * kept * self.weights;
    }

    /// The most by which the mean may differ from its expectation at this level.
    fn bound(&self, confidence: f64) -> f64 {
        bound(self.weights, confidence)
    }
}

fn bound(weights: f64, confidence: f64) -> f64 {
    (weights * (1.0 / confidence).ln() / 2.0).sqrt()
}

/// The stream cut in two where the first part's bound was best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Split {
    best: Option<f64>,
    before: WeightedMean,
    after: WeightedMean,
}

impl Split {
    const EMPTY: Self = Self { best: None, before: WeightedMean::EMPTY, after: WeightedMean::EMPTY };

    /// Cuts after this value if its bound beats the best.
    fn update(
        &mut self,
        value: f64,
        lambda: f64,
        all: WeightedMean,
        bound: f64,
        better: impl Fn(f64, f64) -> bool,
    ) {
        if self.best.is_none_or(|best| better(bound, best)) {
            *self = Self { best: Some(bound), before: all, after: WeightedMean::EMPTY };
        } else {
            self.after.update(value, lambda);
        }
    }

    /// Whether the second part's mean is farther than the bound from the first's, in the direction of `sign`.
    fn differs(&self, sign: f64, confidence: f64) -> bool {
        let (Some(before), Some(after)) = (self.before.mean, self.after.mean) else { return false };
        sign * (after - before) > bound(self.before.weights + self.after.weights, confidence)
    }
}

impl HddmW {
    /// A detector that has seen nothing.
    pub fn new(config: HddmWConfig) -> Result<Self, StatsError> {
        confidences(config.drift_confidence, config.warning_confidence)?;
        if !(config.lambda_val > 0.0 && config.lambda_val < 1.0) {
            return Err(StatsError::Domain("lambda_val is a weight between 0 and 1"));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: HddmWConfig) -> Self {
        let (all, rise, fall) = (WeightedMean::EMPTY, Split::EMPTY, Split::EMPTY);
        Self { config, all, rise, fall, state: StreamState::Steady }
    }

    fn judged(&self, split: &Split, sign: f64) -> StreamState {
        if split.differs(sign, self.config.drift_confidence) {
            StreamState::Drift
        } else if split.differs(sign, self.config.warning_confidence) {
            StreamState::Warning
        } else {
            StreamState::Steady
        }
    }
}

impl Default for HddmW {
    fn default() -> Self {
        Self::empty(HddmWConfig::default())
    }
}

impl StreamDetector for HddmW {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        unit_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        let lambda = self.config.lambda_val;
        self.all.update(value, lambda);
        let (mean, bound) = (self.all.mean.unwrap_or(value), self.all.bound(self.config.drift_confidence));
        self.rise.update(value, lambda, self.all, mean + bound, |now, best| now < best);
        self.state = self.judged(&self.rise, 1.0);
        if self.config.two_sided_test {
            self.fall.update(value, lambda, self.all, mean - bound, |now, best| now > best);
            self.state = self.state.max(self.judged(&self.fall, -1.0));
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
