//! Is a rate of failures below, or above, a limit?

use super::mean_of_logs;
use serde::{Deserialize, Serialize};

/// Shares of the limit at which a lower rate is looked for.
const LOWER_RATES: [f64; 3] = [0.5, 0.25, 0.1];
/// Multiples of the limit at which a higher rate is looked for, but no further than this share of the way up to 1.
const HIGHER_RATES: [(f64, f64); 5] = [(1.25, 0.05), (1.6, 0.1), (2.5, 0.25), (6.0, 0.5), (20.0, 0.9)];

/// Evidence that a rate of failures is below (or above) a limit: the mixture of likelihood ratios against lower (or
/// higher) rates. A function of two counts.
///
/// ```
/// use steersman_stats::sequential::RateProcess;
/// let mut process = RateProcess::below(0.01);
/// process.add(1_000, 0);
/// assert!(process.log_e() > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateProcess {
    /// What a failure and a success add to the logarithm, by rate.
    terms: Vec<[f64; 2]>,
    failures: u64,
    count: u64,
}

impl RateProcess {
    /// Evidence against "failures have a rate of at least `limit`".
    pub fn below(limit: f64) -> Self {
        Self::new(limit, LOWER_RATES.iter().map(|share| share * limit))
    }

    /// Evidence against "failures have a rate of at most `limit`".
    pub fn above(limit: f64) -> Self {
        let rate = |(factor, way): &(f64, f64)| (factor * limit).min(limit + way * (1.0 - limit));
        Self::new(limit, HIGHER_RATES.iter().map(rate))
    }

    fn new(limit: f64, rates: impl Iterator<Item = f64>) -> Self {
        let terms = rates.map(|rate| [(rate / limit).ln(), ((1.0 - rate) / (1.0 - limit)).ln()]);
        Self { terms: terms.collect(), failures: 0, count: 0 }
    }

    /// So many trials, of which so many failed.
    pub fn add(&mut self, count: u64, failures: u64) {
        self.count += count;
        self.failures += failures;
    }

    /// Takes one trial in.
    pub fn observe(&mut self, failed: bool) {
        self.add(1, u64::from(failed));
    }

    /// Trials and failures.
    pub fn counts(&self) -> (u64, u64) {
        (self.count, self.failures)
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        let (failures, successes) = (self.failures as f64, (self.count - self.failures) as f64);
        let mut logs = [0.0; HIGHER_RATES.len()];
        for (log, [failure, success]) in logs.iter_mut().zip(&self.terms) {
            *log = failures * failure + successes * success;
        }
        mean_of_logs(logs.get(..self.terms.len()).unwrap_or(&logs))
    }
}
