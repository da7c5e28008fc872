//! An estimated metric and its intervals.

use crate::error::StatsError;
use crate::interval::{Interval, normal_quantile};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// As many past windows give a 95 % interval by their ranks alone.
const ENOUGH_WINDOWS: usize = 19;

/// What a metric of a window is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Sampling error: the standard deviation of the realised metric around the estimate when the probabilities are
    /// right, because labels are chance.
    pub deviation: f64,
    /// The least and the largest value that the metric can have.
    pub(super) range: (f64, f64),
}

/// A labelled window: what was estimated, and what came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The estimate before the labels.
    pub estimate: Estimate,
    /// The realised metric.
    pub realised: f64,
}

impl Estimate {
    /// Where the realised metric lies with 95 % probability if the probabilities are right. That is the best case: it
    /// knows nothing of the estimator's own error.
    pub fn interval(&self) -> Result<Interval, StatsError> {
        self.within(normal_quantile(0.975)? * self.deviation)
    }

    /// Where the realised metric lies with 95 % probability, given how the same estimator did on labelled windows.
    ///
    /// The estimator's own error has a variance of `t^2 = max(0, mean(e^2 - s^2))` over past errors `e` and sampling
    /// errors `s`. Past errors are measured in units of `sqrt(s^2 + t^2)`, and so is the half width: `q` units. From 19
    /// windows on, `q` is the `ceil(0.95 (m + 1))`-th smallest of the past errors, which covers whatever their law if
    /// the windows are exchangeable (split conformal prediction with normalised residuals: Papadopoulos et al., ECML
    /// 2002; Lei et al., JASA 113, 2018). With fewer, `q` is Student's quantile with `m` degrees of freedom times their
    /// root mean square (at least 1). The result is never narrower than [`Estimate::interval`]; without past windows it
    /// is the same.
    ///
    /// Past windows of before a change vouch for nothing after it: neither interval covers concept drift.
    ///
    /// ```
    /// use steersman_stats::estimate::{Past, Ranked};
    /// let estimate = Ranked::new(&[0.9, 0.8, 0.3, 0.1], &[0.9, 0.7, 0.4, 0.1]).unwrap().roc_auc().unwrap();
    /// let past = [Past { estimate, realised: estimate.value - 3.0 * estimate.deviation }];
    /// let (best, honest) = (estimate.interval().unwrap(), estimate.interval_after(&past).unwrap());
    /// assert!(honest.low <= best.low && honest.value == best.value);
    /// ```
    pub fn interval_after(&self, past: &[Past]) -> Result<Interval, StatsError> {
        let least = self.interval()?;
        if past.is_empty() {
            return Ok(least);
        }
        let known = |past: &Past| {
            [past.realised, past.estimate.value, past.estimate.deviation]
                .iter()
                .all(|number| number.is_finite())
        };
        if let Some(row) = past.iter().position(|past| !known(past)) {
            return Err(StatsError::NotFinite { row });
        }
        let windows = past.len() as f64;
        let error = |past: &Past| past.realised - past.estimate.value;
        let excess = |past: &Past| error(past).powi(2) - past.estimate.deviation.powi(2);
        let own = (past.iter().map(excess).sum::<f64>() / windows).max(0.0);
        let unit = |estimate: &Estimate| (estimate.deviation.powi(2) + own).sqrt();
        let mut units: Vec<f64> = past
            .iter()
            .filter(|past| unit(&past.estimate) > 0.0)
            .map(|past| error(past).abs() / unit(&past.estimate))
            .collect();
        units.sort_unstable_by(f64::total_cmp);
        let quantile = if past.len() >= ENOUGH_WINDOWS {
            let rank = (0.95 * (windows + 1.0)).ceil() as usize;
            units.get(rank.min(units.len()).saturating_sub(1)).copied().unwrap_or(0.0)
        } else {
            let law =
                StudentsT::new(0.0, 1.0, windows).map_err(|_| StatsError::Domain("degrees of freedom"))?;
            let mean_square = units.iter().map(|unit| unit * unit).sum::<f64>() / windows;
            law.inverse_cdf(0.975) * mean_square.sqrt().max(1.0)
        };
        self.within((quantile * unit(self)).max(normal_quantile(0.975)? * self.deviation))
    }

    /// The root of a mean square, of an error for example; the sampling error by the delta method.
    ///
    /// ```
    /// let square = steersman_stats::estimate::brier(&[0.8], &[0.8]).unwrap();
    /// assert!((square.root().value - 0.4).abs() < 1e-12);
    /// ```
    pub fn root(self) -> Self {
        let value = self.value.max(0.0).sqrt();
        // Where the square is 0 the slope is infinite; the root of the deviation has the right size.
        let deviation =
            if value > 0.0 { self.deviation / (2.0 * value) } else { self.deviation.max(0.0).sqrt() };
        Self { value, deviation, range: (0.0, self.range.1.sqrt()) }
    }

    fn within(&self, half: f64) -> Result<Interval, StatsError> {
        let interval = Interval { value: self.value, low: self.value - half, high: self.value + half };
        Ok(interval.clamped(self.range.0, self.range.1))
    }
}
