//! A false-alarm budget for values that arrive one by one: conformal p-values and an e-detector.

use super::{StreamDetector, StreamState, any_value};
use crate::detector::{Detector, calibrate};
use crate::error::{StatsError, finite};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// An e-detector of values that are higher than those of a reference: losses, residuals, scores of strangeness.
///
/// Each value `s` gives the conformal p-value `p = (#{r > s} + U (#{r = s} + 1)) / (n + 1)` among `n` reference values
/// `r`, with `U` uniform from the seed (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2nd ed.,
/// 2022, section 2.2.6); it is turned into evidence by [`calibrate`] and added up by a Shiryaev-Roberts [`Detector`],
/// which alarms at a budget of one false alarm in `1/alpha` values. Evidence starts again after an alarm.
///
/// The guarantee supposes independent p-values, and those against one finite reference are not. So at least `1/alpha`
/// reference values are asked for: then, with standard normal values, the mean run to a false alarm was above `1/alpha`
/// for each of 100 references at `1/alpha` of 200 and of 1,000 (1.1 times the budget for the worst of them, 2 times with
/// `20/alpha` reference values; 6 to 10 times for the average one).
///
/// Memory: the reference. Time: `O(log n)` a value.
///
/// ```
/// use steersman_stats::stream::{Conformal, StreamDetector, StreamState};
/// let reference: Vec<f64> = (0..1_000).map(|row| f64::from(row) / 1_000.0).collect();
/// let mut detector = Conformal::new(&reference, 0.01, 7).unwrap();
/// // Above all of the reference, so p = U / 1001, and one or two such values are evidence enough.
/// let states = [2.0; 2].map(|value| detector.update(value).unwrap());
/// assert_eq!(states[1], StreamState::Drift);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    /// Rising.
    reference: Vec<f64>,
    alpha: f64,
    random: Random,
    evidence: Detector,
    state: StreamState,
}

impl Conformal {
    /// A detector of values above those of `reference`, with a budget of one false alarm in `1/alpha` values.
    pub fn new(reference: &[f64], alpha: f64, seed: u64) -> Result<Self, StatsError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(StatsError::Domain("alpha is between 0 and 1"));
        }
        let needed = (1.0 / alpha).ceil() as usize;
        if reference.len() < needed {
            return Err(StatsError::TooFew { needed, got: reference.len() });
        }
        finite(reference)?;
        let mut reference = reference.to_vec();
        reference.sort_by(f64::total_cmp);
        let random = Random::new(seed);
        Ok(Self { reference, alpha, random, evidence: Detector::new(), state: StreamState::Steady })
    }

    /// The logarithm of the evidence for a change; `-inf` before the first value.
    pub fn log_m(&self) -> f64 {
        self.evidence.log_m()
    }

    fn p_value(&mut self, value: f64) -> f64 {
        let count = self.reference.len() as f64;
        let at_most = self.reference.partition_point(|known| *known <= value) as f64;
        let below = self.reference.partition_point(|known| *known < value) as f64;
        // In (0, 1], so that p is never 0.
        let uniform = 1.0 - self.random.uniform();
        (count - at_most + uniform * (at_most - below + 1.0)) / (count + 1.0)
    }
}

impl StreamDetector for Conformal {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        any_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        let log_e = calibrate(self.p_value(value))?;
        self.evidence.observe(log_e);
        if self.evidence.alarms(self.alpha) {
            self.state = StreamState::Drift;
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        self.evidence.reset();
        self.state = StreamState::Steady;
    }
}
