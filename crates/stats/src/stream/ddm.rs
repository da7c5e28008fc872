//! DDM: the error rate against its best.

use super::{RunningMean, StreamDetector, StreamState, error_flag};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Parameters of [`Ddm`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdmConfig {
    /// No answer until more values than this were seen. Default 30.
    pub warm_start: u64,
    /// Standard deviations above the best rate for a warning. Default 2.
    pub warning_threshold: f64,
    /// Standard deviations above the best rate for an alarm. Default 3.
    pub drift_threshold: f64,
}

impl Default for DdmConfig {
    fn default() -> Self {
        Self { warm_start: 30, warning_threshold: 2.0, drift_threshold: 3.0 }
    }
}

/// Drift detection method: with `p` the error rate so far and `s = sqrt(p (1 - p) / n)`, a warning when
/// `p + s > p_min + 2 s_min` and an alarm when `p + s > p_min + 3 s_min`, where `p_min` and `s_min` belong to the
/// smallest `p + s` (Gama, Medas, Castillo, Rodrigues, *Learning with drift detection*, SBIA 2004, section 3). Values
/// are 0 (right) or 1 (an error). Constant memory.
///
/// ```
/// use steersman_stats::stream::{Ddm, StreamDetector, StreamState};
/// let mut detector = Ddm::default();
/// let mut after = |right: usize, wrong: usize| {
///     let values = std::iter::repeat_n(1.0, wrong).chain(std::iter::repeat_n(0.0, right));
///     values.map(|value| detector.update(value).unwrap()).last().unwrap()
/// };
/// assert_eq!(after(80, 20), StreamState::Steady); // p = 0.2, s = 0.04: the best so far
/// assert_eq!(after(0, 6), StreamState::Warning); // p + s = 0.245 + 0.042, above 0.2 + 2 * 0.04
/// assert_eq!(after(0, 5), StreamState::Drift); // p + s = 0.279 + 0.043, above 0.2 + 3 * 0.04
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ddm {
    config: DdmConfig,
    rate: RunningMean,
    /// Rate and standard deviation at the smallest sum of both.
    best: Option<(f64, f64)>,
    state: StreamState,
}

impl Ddm {
    /// A detector that has seen nothing.
    pub fn new(config: DdmConfig) -> Result<Self, StatsError> {
        let (warning, drift) = (config.warning_threshold, config.drift_threshold);
        if !(warning > 0.0 && warning <= drift && drift.is_finite()) {
            return Err(StatsError::Domain(
                "thresholds are above 0, that of a warning at most that of a drift",
            ));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: DdmConfig) -> Self {
        Self { config, rate: RunningMean::default(), best: None, state: StreamState::Steady }
    }
}

impl Default for Ddm {
    fn default() -> Self {
        Self::empty(DdmConfig::default())
    }
}

impl StreamDetector for Ddm {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        error_flag(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        self.rate.update(value);
        let RunningMean { count, mean: rate } = self.rate;
        if count <= self.config.warm_start as f64 {
            return Ok(self.state);
        }
        let deviation = (rate * (1.0 - rate) / count).max(0.0).sqrt();
        let now = rate + deviation;
        let (best, spread) = match self.best {
            Some((best, spread)) if now > best + spread => (best, spread),
            _ => *self.best.insert((rate, deviation)),
        };
        self.state = if now > best + self.config.drift_threshold * spread {
            StreamState::Drift
        } else if now > best + self.config.warning_threshold * spread {
            StreamState::Warning
        } else {
            StreamState::Steady
        };
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
