//! Evidence that may be looked at after every observation: e-processes.
//!
//! An e-process starts at 1 and, if the null hypothesis is true, exceeds `1/alpha` at any time with probability at most
//! `alpha` (Ville's inequality). So it can be watched continuously, under changing traffic, and stopped at will. All
//! evidence is kept as a natural logarithm; sums depend on the order of observations alone and can be stored.

use serde::{Deserialize, Serialize};

/// Rate ratios, times the null's, at which harm is looked for.
const HARM_RATIOS: [f64; 7] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// Rate ratios, times the margin, at which safety is looked for; the first stands for "no different" and is divided by
/// the margin.
const SAFETY_RATIOS: [f64; 2] = [0.75, 0.5];
/// Rate ratios at which a broken split is looked for.
const SPLIT_RATIOS: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 0.9, 1.0 / 0.9, 1.0 / 0.75, 2.0, 4.0, 10.0];
/// Shares of the limit at which a lower rate is looked for.
const LOWER_RATES: [f64; 3] = [0.5, 0.25, 0.1];
/// Multiples of the limit at which a higher rate is looked for; rates stay below 1.
const HIGHER_RATES: [f64; 3] = [2.0, 5.0, 20.0];
/// A bet risks at most this share of the evidence on one observation.
const LARGEST_BET: f64 = 0.5;

/// The logarithm of the mean of values that are given by their logarithms.
///
/// ```
/// let mean = steersman_stats::sequential::mean_of_logs(&[1f64.ln(), 3f64.ln()]);
/// assert!((mean - 2f64.ln()).abs() < 1e-12);
/// ```
pub fn mean_of_logs(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
    largest + (sum / logs.len() as f64).ln()
}

/// The probability that an event came from the candidate, which got the request with probability `weight` and has
/// `ratio` times the champion's rate of events.
fn candidate_share(ratio: f64, weight: f64) -> f64 {
    weight * ratio / (weight * ratio + 1.0 - weight)
}

/// Evidence from which arm bad events come from, about the ratio of the two arms' rates (Lindon, Sanden, Shirikian,
/// *Rapid Regression Detection in Software Deployments through Sequential Testing*, KDD 2022; grid mixture).
///
/// The base rate cancels, so it may change at will. Each event counts with the probability with which its request was
/// given to the candidate; a probability of 0 or 1 carries no information.
///
/// ```
/// use steersman_stats::sequential::ArmProcess;
/// let mut harm = ArmProcess::harm(1.0);
/// for _ in 0..9 {
///     harm.observe(true, 0.1); // nine events in a row from an arm with a tenth of the traffic
/// }
/// assert!(harm.log_e() > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmProcess {
    null: f64,
    ratios: Vec<f64>,
    logs: Vec<f64>,
}

impl ArmProcess {
    /// Evidence against "the candidate's rate is at most `null` times the champion's".
    pub fn harm(null: f64) -> Self {
        Self::new(null, HARM_RATIOS.iter().map(|ratio| null * ratio).collect())
    }

    /// Evidence against "the candidate's rate is at least `margin` times the champion's".
    pub fn safety(margin: f64) -> Self {
        let lower = SAFETY_RATIOS.iter().map(|ratio| margin * ratio);
        Self::new(margin, std::iter::once(1.0).chain(lower).collect())
    }

    fn new(null: f64, ratios: Vec<f64>) -> Self {
        let logs = vec![0.0; ratios.len()];
        Self { null, ratios, logs }
    }

    /// A bad event, of the candidate or of the champion, on a request that went to the candidate with probability
    /// `weight`.
    pub fn observe(&mut self, candidate: bool, weight: f64) {
        if !(weight > 0.0 && weight < 1.0) {
            return;
        }
        let under_null = candidate_share(self.null, weight);
        for (ratio, log) in self.ratios.iter().zip(&mut self.logs) {
            let share = candidate_share(*ratio, weight);
            *log +=
                if candidate { (share / under_null).ln() } else { ((1.0 - share) / (1.0 - under_null)).ln() };
        }
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        mean_of_logs(&self.logs)
    }
}

/// Evidence about the mean of bounded observations, by betting (Waudby-Smith and Ramdas, *Estimating means of bounded
/// random variables by betting*, JRSS B 2024, section 4; bets as in their aGRAPA, from past observations only).
///
/// ```
/// use steersman_stats::sequential::MeanProcess;
/// let mut process = MeanProcess::above(0.0, -1.0, 1.0);
/// for _ in 0..100 {
///     process.observe(0.5);
/// }
/// assert!(process.log_e() > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanProcess {
    threshold: f64,
    low: f64,
    high: f64,
    above: bool,
    count: u64,
    mean: f64,
    squares: f64,
    log: f64,
}

impl MeanProcess {
    /// Evidence against "the mean is at most `threshold`" for observations in `[low, high]`.
    pub fn above(threshold: f64, low: f64, high: f64) -> Self {
        Self { threshold, low, high, above: true, count: 0, mean: 0.0, squares: 0.0, log: 0.0 }
    }

    /// Evidence against "the mean is at least `threshold`" for observations in `[low, high]`.
    pub fn below(threshold: f64, low: f64, high: f64) -> Self {
        Self { above: false, ..Self::above(threshold, low, high) }
    }

    /// Takes one observation in; it is cut to the bounds.
    pub fn observe(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = value.clamp(self.low, self.high);
        let gain = |x: f64| if self.above { x - self.threshold } else { self.threshold - x };
        // The worst an observation can do to the bet.
        let worst = if self.above { self.threshold - self.low } else { self.high - self.threshold };
        let drift = if self.count == 0 { 0.0 } else { gain(self.mean) };
        let range = self.high - self.low;
        // One pseudo-observation of the largest variance keeps the first bets small.
        let variance = (range * range / 4.0 + self.squares) / (self.count as f64 + 1.0);
        let bet = (drift / (variance + drift * drift)).clamp(0.0, LARGEST_BET / worst);
        self.log += (bet * gain(value)).ln_1p();
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        self.log
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.mean
    }
}

/// Evidence that a rate of failures is below (or above) a limit: the mixture of likelihood ratios against lower (or
/// higher) rates.
///
/// ```
/// use steersman_stats::sequential::RateProcess;
/// let mut process = RateProcess::below(0.01);
/// for _ in 0..1_000 {
///     process.observe(false);
/// }
/// assert!(process.log_e() > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateProcess {
    limit: f64,
    rates: [f64; 3],
    failures: u64,
    count: u64,
}

impl RateProcess {
    /// Evidence against "failures have a rate of at least `limit`".
    pub fn below(limit: f64) -> Self {
        Self { limit, rates: LOWER_RATES.map(|share| share * limit), failures: 0, count: 0 }
    }

    /// Evidence against "failures have a rate of at most `limit`".
    pub fn above(limit: f64) -> Self {
        Self { limit, rates: HIGHER_RATES.map(|factor| (factor * limit).min(0.99)), failures: 0, count: 0 }
    }

    /// Takes one trial in.
    pub fn observe(&mut self, failed: bool) {
        self.count += 1;
        self.failures += u64::from(failed);
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        let (failures, successes) = (self.failures as f64, (self.count - self.failures) as f64);
        let logs = self.rates.map(|rate| {
            failures * (rate / self.limit).ln() + successes * ((1.0 - rate) / (1.0 - self.limit)).ln()
        });
        mean_of_logs(&logs)
    }
}

/// Evidence that requests are not split as they were told: that the arms' shares differ from the weights (Fabijan et
/// al., *Diagnosing Sample Ratio Mismatch*, KDD 2019, as a sequential grid mixture over ratios).
///
/// ```
/// use steersman_stats::sequential::SampleRatio;
/// let mut split = SampleRatio::new();
/// (0..200).for_each(|request| split.observe(request % 2 == 0, 0.1));
/// assert!(split.log_e() > 1_000f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio(ArmProcess);

impl SampleRatio {
    /// No evidence yet.
    pub fn new() -> Self {
        Self(ArmProcess::new(1.0, SPLIT_RATIOS.to_vec()))
    }

    /// One request that was given to the candidate with probability `weight`.
    pub fn observe(&mut self, candidate: bool, weight: f64) {
        self.0.observe(candidate, weight);
    }

    /// The evidence.
    pub fn log_e(&self) -> f64 {
        self.0.log_e()
    }
}

impl Default for SampleRatio {
    fn default() -> Self {
        Self::new()
    }
}
