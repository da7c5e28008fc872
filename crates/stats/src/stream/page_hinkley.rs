//! Page-Hinkley: cumulative deviations from the running mean.

use super::{RunningMean, StreamDetector, StreamState, any_value};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// In which direction [`PageHinkley`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageHinkleyMode {
    /// A higher mean alarms.
    Up,
    /// A lower mean alarms.
    Down,
    /// Either alarms.
    #[default]
    Both,
}

/// Parameters of [`PageHinkley`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageHinkleyConfig {
    /// No alarm before so many values. Default 30.
    pub min_instances: u64,
    /// The change per value that is tolerated, in the unit of the values. Default 0.005.
    pub delta: f64,
    /// The cumulative change that alarms, in the unit of the values. Default 50.
    pub threshold: f64,
    /// The factor with which past changes fade at each value, at most 1. Default 0.9999.
    pub alpha: f64,
    /// In which direction to look. Default both.
    pub mode: PageHinkleyMode,
}

impl Default for PageHinkleyConfig {
    fn default() -> Self {
        Self {
            min_instances: 30,
            delta: 0.005,
            threshold: 50.0,
            alpha: 1.0 - 0.0001,
            mode: PageHinkleyMode::Both,
        }
    }
}

/// The Page-Hinkley test: with `d_t` the deviation of a value from the mean so far, `U_t = alpha U_{t-1} + d_t - delta`
/// and an alarm when `U_t - min U > threshold`; downwards alike with `+ delta` and the maximum (E. S. Page, *Continuous
/// inspection schemes*, Biometrika 41, 1954; fading as in River). Thresholds have the unit of the values: standardise
/// them first. Constant memory.
///
/// ```
/// use steersman_stats::stream::{PageHinkley, StreamDetector, StreamState};
/// let mut detector = PageHinkley::default();
/// let values = (0..2_000).map(|row| f64::from(row % 2) + if row < 1_000 { 0.0 } else { 5.0 });
/// let states = values.map(|value| detector.update(value).unwrap());
/// assert_eq!(states.take_while(|state| *state != StreamState::Drift).count(), 1_009);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    config: PageHinkleyConfig,
    values: RunningMean,
    up: f64,
    down: f64,
    lowest_up: Option<f64>,
    highest_down: f64,
    state: StreamState,
}

impl PageHinkley {
    /// A detector that has seen nothing.
    pub fn new(config: PageHinkleyConfig) -> Result<Self, StatsError> {
        any_value(config.delta)?;
        if !(config.threshold > 0.0 && config.threshold.is_finite()) {
            return Err(StatsError::Domain("the threshold is above 0"));
        }
        if !(config.alpha > 0.0 && config.alpha <= 1.0) {
            return Err(StatsError::Domain("alpha is above 0 and at most 1"));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: PageHinkleyConfig) -> Self {
        Self {
            config,
            values: RunningMean::default(),
            up: 0.0,
            down: 0.0,
            lowest_up: None,
            highest_down: -1.0,
            state: StreamState::Steady,
        }
    }
}

impl Default for PageHinkley {
    fn default() -> Self {
        Self::empty(PageHinkleyConfig::default())
    }
}

impl StreamDetector for PageHinkley {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        any_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        let PageHinkleyConfig { min_instances, delta, threshold, alpha, mode } = self.config;
        self.values.update(value);
        let deviation = value - self.values.mean;
        self.up = alpha * self.up + deviation - delta;
        self.down = alpha * self.down + deviation + delta;
        let lowest = self.lowest_up.map_or(self.up, |lowest| lowest.min(self.up));
        self.lowest_up = Some(lowest);
        self.highest_down = self.highest_down.max(self.down);
        if self.values.count >= min_instances as f64 {
            let rose = mode != PageHinkleyMode::Down && self.up - lowest > threshold;
            let fell = mode != PageHinkleyMode::Up && self.highest_down - self.down > threshold;
            if rose || fell {
                self.state = StreamState::Drift;
            }
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
