//! Detectors that watch a series record by record: errors of a classifier, residuals, scores.
//!
//! Each one takes a value at a time, answers [`StreamState`], and starts afresh with the value that follows an alarm.
//! Names, parameters, defaults and answers are those of River 0.26.1 (`river.drift`), so the same stream gives alarms
//! at the same positions; where River raises a warning and an alarm together, this is an alarm. [`Kswin`] draws
//! samples and agrees in behaviour only; [`Cusum`] and [`Conformal`] have no counterpart there.
//!
//! | detector | values | what it looks for | false alarms per million values |
//! | --- | --- | --- | --- |
//! | [`Adwin`] | any | a change of the mean | 0.2 |
//! | [`Ddm`] | 0 or 1 | more errors | 1 |
//! | [`Eddm`] | 0 or 1 | errors closer together | 22 |
//! | [`HddmA`] | 0 to 1 | a higher mean, slowly | 2 |
//! | [`HddmW`] | 0 to 1 | a higher mean, abruptly | 77 |
//! | [`PageHinkley`] | any, standardised | a change of the mean | 630 |
//! | [`Cusum`] | any, standardised | a shift of a known size | 2,100 |
//! | [`Kswin`] | any | a change of the distribution | 1,300 |
//! | [`Conformal`] | any | higher values than in a reference | at most the budget |
//!
//! False alarms were counted at default parameters on ten streams of a million values without a change: errors at a
//! rate of 0.2, or standard normal values for [`PageHinkley`], [`Cusum`] and [`Kswin`]. Young streams have more: in
//! the first 10,000 values 45 per million for [`Ddm`] and 2,200 for [`Eddm`].
//!
//! None of them but [`Conformal`] has a false-alarm budget: use them to see *when* something changed, or where another
//! tool's alarms are to be reproduced. All keep bounded memory: a few numbers each, [`Adwin`] `O(log n)`, [`Kswin`] its
//! window, [`Conformal`] its reference.

mod adwin;
mod conformal;
mod cusum;
mod ddm;
mod eddm;
mod hddm_a;
mod hddm_w;
mod kind;
mod kswin;
mod page_hinkley;

pub use adwin::{Adwin, AdwinConfig};
pub use conformal::Conformal;
pub use cusum::{Cusum, CusumConfig};
pub use ddm::{Ddm, DdmConfig};
pub use eddm::{Eddm, EddmConfig};
pub use hddm_a::{HddmA, HddmAConfig};
pub use hddm_w::{HddmW, HddmWConfig};
pub use kind::{AnyStreamDetector, StreamDetectorKind};
pub use kswin::{Kswin, KswinConfig};
pub use page_hinkley::{PageHinkley, PageHinkleyConfig, PageHinkleyMode};

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Larger values could not be squared and summed for ever.
const LARGEST_VALUE: f64 = 1e100;

/// What a detector says after a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    /// Nothing changed, or too little is known.
    #[default]
    Steady,
    /// A change may be under way.
    Warning,
    /// The stream has changed; the next value starts a new one.
    Drift,
}

/// A detector of changes in a stream of values.
///
/// ```
/// use steersman_stats::stream::{Ddm, StreamDetector, StreamState};
/// let mut detector = Ddm::default();
/// // One error in five, and from record 500 on one in two.
/// let errors = (0..1_000).map(|record| record % if record < 500 { 5 } else { 2 } == 0);
/// let states = errors.map(|error| detector.update(f64::from(u8::from(error))).unwrap());
/// assert_eq!(states.take_while(|state| *state != StreamState::Drift).count(), 566);
/// ```
pub trait StreamDetector {
    /// Takes the next value in. Fails on a value outside of what the detector watches, and leaves it out.
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError>;

    /// Forgets all values, as after an alarm.
    fn reset(&mut self);
}

/// Fails on a value that is no number or too large.
fn any_value(value: f64) -> Result<(), StatsError> {
    if value.abs() <= LARGEST_VALUE {
        Ok(())
    } else {
        Err(StatsError::Domain("a value of a stream is a finite number of at most 1e100 in size"))
    }
}

/// Fails on a value outside of `[0, 1]`.
fn unit_value(value: f64) -> Result<(), StatsError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(StatsError::Domain("this detector watches values between 0 and 1"))
    }
}

/// Fails on a value other than 0 (right) and 1 (an error).
fn error_flag(value: f64) -> Result<(), StatsError> {
    if value == 0.0 || value == 1.0 {
        Ok(())
    } else {
        Err(StatsError::Domain("this detector watches errors: 0 for right, 1 for wrong"))
    }
}

/// Fails unless warnings come at a lower confidence than alarms and both are probabilities.
fn confidences(drift: f64, warning: f64) -> Result<(), StatsError> {
    if drift > 0.0 && drift <= warning && warning < 1.0 {
        Ok(())
    } else {
        Err(StatsError::Domain("confidences are between 0 and 1, that of a drift at most that of a warning"))
    }
}

/// Count and mean of the values so far, updated one by one (D. H. D. West, Communications of the ACM 22, 1979).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct RunningMean {
    count: f64,
    mean: f64,
}

impl RunningMean {
    fn update(&mut self, value: f64) {
        self.count += 1.0;
        self.mean += 1.0 / self.count * (value - self.mean);
    }
}
