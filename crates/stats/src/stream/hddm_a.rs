//! HDDM-A: the mean so far against the best mean of a beginning.

use super::{RunningMean, StreamDetector, StreamState, confidences, unit_value};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Parameters of [`HddmA`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmAConfig {
    /// The level of the test for an alarm, between 0 and 1. Default 0.001.
    pub drift_confidence: f64,
    /// The level of the test for a warning. Default 0.005.
    pub warning_confidence: f64,
    /// Whether a lower mean alarms too. Default false.
    pub two_sided_test: bool,
}

impl Default for HddmAConfig {
    fn default() -> Self {
        Self { drift_confidence: 0.001, warning_confidence: 0.005, two_sided_test: false }
    }
}

/// Drift detection by Hoeffding's bound on averages: with `z` the mean of all `n` values and `x` that of the first `k`,
/// `k` chosen so that `x` plus its bound is smallest, an alarm when `z - x >= sqrt(m/2 ln(2/a))`,
/// `m = (n - k) / (k n)`, at level `a` (Frías-Blanco et al., *Online and non-parametric drift detection methods based
/// on Hoeffding's bounds*, IEEE TKDE 27, 2015, A-test). Values are between 0 and 1. Constant memory.
///
/// ```
/// use steersman_stats::stream::{HddmA, StreamDetector, StreamState};
/// let mut detector = HddmA::default();
/// // No error among 100, then only errors: k = 100, x = 0, and z = 4/104 = 0.0385 is the first to exceed its bound,
/// // sqrt(0.000385 / 2 * ln 2000) = 0.0382.
/// let states = (0..200).map(|row| detector.update(f64::from(u8::from(row >= 100))).unwrap());
/// assert_eq!(states.take_while(|state| *state != StreamState::Drift).count(), 103);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HddmA {
    config: HddmAConfig,
    all: RunningMean,
    lowest: RunningMean,
    highest: RunningMean,
    state: StreamState,
}

impl HddmA {
    /// A detector that has seen nothing.
    pub fn new(config: HddmAConfig) -> Result<Self, StatsError> {
        confidences(config.drift_confidence, config.warning_confidence)?;
        Ok(Self::empty(config))
    }

    fn empty(config: HddmAConfig) -> Self {
        let none = RunningMean::default();
        Self { config, all: none, lowest: none, highest: none, state: StreamState::Steady }
    }

    /// Moves the beginnings with the lowest and the highest mean.
    fn choose_beginnings(&mut self) {
        if self.lowest.count == 0.0 {
            (self.lowest, self.highest) = (self.all, self.all);
        }
        let log = (1.0 / self.config.drift_confidence).ln();
        let bound = |mean: RunningMean| (1.0 / (2.0 * mean.count) * log).sqrt();
        let own = bound(self.all);
        if self.lowest.mean + bound(self.lowest) >= self.all.mean + own {
            self.lowest = self.all;
        }
        if self.highest.mean - bound(self.highest) <= self.all.mean - own {
            self.highest = self.all;
        }
    }

    /// Whether all values differ from their beginning by `apart` at this level.
    fn differs(&self, beginning: RunningMean, apart: f64, confidence: f64) -> bool {
        let RunningMean { count, .. } = self.all;
        let m = (count - beginning.count) / beginning.count * (1.0 / count);
        beginning.count != count && apart >= (m / 2.0 * (2.0 / confidence).ln()).sqrt()
    }

    fn judged(&self, beginning: RunningMean, apart: f64) -> StreamState {
        if self.differs(beginning, apart, self.config.drift_confidence) {
            StreamState::Drift
        } else if self.differs(beginning, apart, self.config.warning_confidence) {
            StreamState::Warning
        } else {
            StreamState::Steady
        }
    }
}

impl Default for HddmA {
    fn default() -> Self {
        Self::empty(HddmAConfig::default())
    }
}

impl StreamDetector for HddmA {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        unit_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        self.all.update(value);
        self.choose_beginnings();
        self.state = self.judged(self.lowest, self.all.mean - self.lowest.mean);
        if self.config.two_sided_test {
            let lower = self.judged(self.highest, self.highest.mean - self.all.mean);
            self.state = self.state.max(lower);
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
