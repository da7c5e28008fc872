//! CUSUM: cumulative sums of standardised deviations from a target.

use super::{StreamDetector, StreamState, any_value};
use crate::error::{StatsError, finite};
use serde::{Deserialize, Serialize};

/// In a smaller unit values could not be summed for ever.
const LEAST_DEVIATION: f64 = 1e-100;

/// Parameters of [`Cusum`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CusumConfig {
    /// The mean while nothing is wrong. Default 0.
    pub target: f64,
    /// The standard deviation of a value while nothing is wrong. Default 1.
    pub deviation: f64,
    /// Half of the shift to find, in standard deviations. Default 0.5.
    pub k: f64,
    /// The sum that alarms, in standard deviations. Default 5.
    pub h: f64,
}

impl Default for CusumConfig {
    fn default() -> Self {
        Self { target: 0.0, deviation: 1.0, k: 0.5, h: 5.0 }
    }
}

impl CusumConfig {
    /// Target and standard deviation from values of a time when nothing was wrong.
    ///
    /// ```
    /// let config = steersman_stats::stream::CusumConfig::from_reference(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!((config.target, config.deviation), (2.0, 1.0));
    /// ```
    pub fn from_reference(values: &[f64]) -> Result<Self, StatsError> {
        if values.len() < 2 {
            return Err(StatsError::TooFew { needed: 2, got: values.len() });
        }
        finite(values)?;
        let count = values.len() as f64;
        let target = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - target).powi(2)).sum();
        Ok(Self { target, deviation: (squares / (count - 1.0)).sqrt(), ..Self::default() })
    }
}

/// The two-sided tabular CUSUM: with `z` the standardised value, `C+ = max(0, C+ + z - k)` and
/// `C- = max(0, C- - z - k)`, an alarm when either exceeds `h` (D. C. Montgomery, *Introduction to Statistical Quality
/// Control*, 7th ed., section 9.1.2). On independent normal values with `k = 0.5` the mean run to a false alarm is 168
/// values at `h = 4` and 465 at `h = 5`, to an alarm after a shift of one standard deviation 8.4 and 10.4 (table 9.3).
/// Constant memory.
///
/// ```
/// use steersman_stats::stream::{Cusum, StreamDetector, StreamState};
/// let mut detector = Cusum::default();
/// // Each value of 2 adds 1.5: 1.5, 3, 4.5, 6.
/// let states = [2.0; 4].map(|value| detector.update(value).unwrap());
/// assert_eq!(states, [StreamState::Steady, StreamState::Steady, StreamState::Steady, StreamState::Drift]);
/// assert_eq!((detector.upper(), detector.lower()), (6.0, 0.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    config: CusumConfig,
    upper: f64,
    lower: f64,
    state: StreamState,
}

impl Cusum {
    /// A detector that has seen nothing.
    pub fn new(config: CusumConfig) -> Result<Self, StatsError> {
        any_value(config.target)?;
        if !(config.deviation >= LEAST_DEVIATION && config.deviation.is_finite()) {
            return Err(StatsError::Domain("the standard deviation is at least 1e-100"));
        }
        if !(config.k >= 0.0 && config.k.is_finite() && config.h > 0.0 && config.h.is_finite()) {
            return Err(StatsError::Domain("k is at least 0 and h above 0"));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: CusumConfig) -> Self {
        Self { config, upper: 0.0, lower: 0.0, state: StreamState::Steady }
    }

    /// `C+`, in standard deviations.
    pub fn upper(&self) -> f64 {
        self.upper
    }

    /// `C-`, in standard deviations.
    pub fn lower(&self) -> f64 {
        self.lower
    }
}

impl Default for Cusum {
    fn default() -> Self {
        Self::empty(CusumConfig::default())
    }
}

impl StreamDetector for Cusum {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        any_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        let CusumConfig { target, deviation, k, h } = self.config;
        let standardised = (value - target) / deviation;
        self.upper = (self.upper + standardised - k).max(0.0);
        self.lower = (self.lower - standardised - k).max(0.0);
        if self.upper > h || self.lower > h {
            self.state = StreamState::Drift;
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
