//! EDDM: the distance between errors against its best.

use super::{RunningMean, StreamDetector, StreamState, error_flag};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Parameters of [`Eddm`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EddmConfig {
    /// No answer until more errors than this were seen. Default 30.
    pub warm_start: u64,
    /// A warning below this share of the best. Default 0.95.
    pub alpha: f64,
    /// An alarm below this share of the best; at most `alpha`. Default 0.9.
    pub beta: f64,
}

impl Default for EddmConfig {
    fn default() -> Self {
        Self { warm_start: 30, alpha: 0.95, beta: 0.9 }
    }
}

/// Early drift detection method: with `p` the mean and `s` the standard deviation of the distances between errors, a
/// warning when `(p + 2 s) / max(p + 2 s) < alpha` and an alarm when it is below `beta` (Baena-García et al., *Early
/// drift detection method*, IWKDDS 2006). Values are 0 (right) or 1 (an error). A warning stays until the next error.
/// Constant memory. Alarms often without a change; no detector to start with.
///
/// ```
/// use steersman_stats::stream::{Eddm, StreamDetector, StreamState};
/// let mut detector = Eddm::default();
/// // An error at every tenth record, and from record 400 on at every second.
/// let errors = (1..=600).map(|row| row % if row < 400 { 10 } else { 2 } == 0);
/// let states = errors.map(|error| detector.update(f64::from(u8::from(error))).unwrap());
/// assert_eq!(states.take_while(|state| *state != StreamState::Drift).count(), 501);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Eddm {
    config: EddmConfig,
    distance: RunningMean,
    squares: f64,
    rows: f64,
    last_error: f64,
    best: Option<f64>,
    state: StreamState,
}

impl Eddm {
    /// A detector that has seen nothing.
    pub fn new(config: EddmConfig) -> Result<Self, StatsError> {
        if !(config.beta > 0.0 && config.beta <= config.alpha && config.alpha <= 1.0) {
            return Err(StatsError::Domain("alpha and beta are between 0 and 1, beta at most alpha"));
        }
        Ok(Self::empty(config))
    }

    fn empty(config: EddmConfig) -> Self {
        Self {
            config,
            distance: RunningMean::default(),
            squares: 0.0,
            rows: 0.0,
            last_error: 0.0,
            best: None,
            state: StreamState::Steady,
        }
    }
}

impl Default for Eddm {
    fn default() -> Self {
        Self::empty(EddmConfig::default())
    }
}

impl StreamDetector for Eddm {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        error_flag(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        self.rows += 1.0;
        if value == 0.0 {
            return Ok(self.state);
        }
        let distance = self.rows - self.last_error;
        let before = self.distance.mean;
        self.distance.update(distance);
        let RunningMean { count: errors, mean } = self.distance;
        self.squares += (distance - before) * (distance - mean);
        self.last_error = self.rows;
        let warm_start = self.config.warm_start as f64;
        if self.rows <= warm_start {
            return Ok(self.state);
        }
        let variance = if errors > 1.0 { self.squares / (errors - 1.0) } else { 0.0 };
        let now = mean + 2.0 * variance.sqrt();
        match self.best {
            Some(best) if now <= best => {
                if errors > warm_start {
                    let share = now / best;
                    self.state = if share < self.config.beta {
                        StreamState::Drift
                    } else if share < self.config.alpha {
                        StreamState::Warning
                    } else {
                        StreamState::Steady
                    };
                }
            }
            _ => self.best = Some(now),
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}
