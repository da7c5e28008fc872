//! Alarms with a false-alarm budget: e-detectors.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Past losses fade with this factor at each new one: the bets follow the last few hundred labels.
const MEMORY: f64 = 0.997;

/// The logarithm of the e-value that belongs to a p-value: the mixture of `kappa p^(kappa-1)` over all `kappa` in
/// `(0, 1)`, `e = (1 - p + p ln p) / (p ln^2 p)` (Vovk and Wang, *E-values: Calibration, combination and
/// applications*, Annals of Statistics 49, 2021, eq. 2).
///
/// ```
/// let log_e = steersman_stats::detector::calibrate(0.001).unwrap();
/// assert!((log_e - 20.7912f64.ln()).abs() < 1e-4);
/// ```
pub fn calibrate(p: f64) -> Result<f64, StatsError> {
    if !(p > 0.0 && p <= 1.0) {
        return Err(StatsError::Domain("a p-value is above 0 and at most 1"));
    }
    let log = p.ln();
    // Near 1 numerator and denominator vanish together: e = 1/2 + (1 - p) / 6 + O((1 - p)^2).
    let e = if p > 0.999 { 0.5 + (1.0 - p) / 6.0 } else { (1.0 - p + p * log) / (p * log * log) };
    Ok(e.ln())
}

/// The Shiryaev-Roberts e-detector: `M_t = (M_{t-1} + 1) e_t`, an alarm when `M_t >= 1/alpha`. If nothing changes, the
/// expected number of steps to an alarm is at least `1/alpha` (Shin, Ramdas, Rinaldo, *E-detectors*, 2023,
/// arXiv 2203.03532, section 3).
///
/// ```
/// use steersman_stats::detector::Detector;
/// let mut detector = Detector::default();
/// detector.observe(3f64.ln());
/// detector.observe(3f64.ln());
/// assert!((detector.log_m() - 12f64.ln()).abs() < 1e-12); // ((0 + 1) * 3 + 1) * 3
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// `ln(M)`; `None` stands for `M = 0`.
    log_m: Option<f64>,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self { log_m: None }
    }

    /// Takes the evidence of one step in, as the logarithm of an e-value.
    pub fn observe(&mut self, log_e: f64) {
        let before = self.log_m.map_or(0.0, |log| if log > 30.0 { log } else { log.exp().ln_1p() });
        // Evidence is kept where it can also go down again within a few steps.
        self.log_m = Some((before + log_e).clamp(-30.0, 700.0));
    }

    /// The evidence for a change; `-inf` before the first step.
    pub fn log_m(&self) -> f64 {
        self.log_m.unwrap_or(f64::NEG_INFINITY)
    }

    /// Whether the alarm goes off at a budget of one false alarm in `1/alpha` steps.
    pub fn alarms(&self, alpha: f64) -> bool {
        self.log_m() >= -alpha.ln()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.log_m = None;
    }
}

/// The limit for a [`HarmDetector`]: an upper bound of the mean loss in the reference, at level `delta`, plus what is
/// tolerated. The bound is the empirical Bernstein bound `mean + sqrt(2 var ln(2/delta) / n) + 7 ln(2/delta) / (3 (n - 1))`
/// (Maurer and Pontil, COLT 2009, theorem 4) for losses in `[0, 1]`, valid at any `n`. If the mean loss exceeds the
/// reference's by no more than `tolerance`, it exceeds the limit with probability at most `delta`.
///
/// ```
/// let losses: Vec<f64> = (0..10_000).map(|row| f64::from(u8::from(row % 10 == 0))).collect();
/// let limit = steersman_stats::detector::harm_limit(&losses, 0.01, 0.05).unwrap();
/// assert!((limit - 0.119_009_5).abs() < 1e-6); // 0.1 + 0.008_148_7 + 0.000_860_8 + 0.01
/// ```
pub fn harm_limit(losses: &[f64], tolerance: f64, delta: f64) -> Result<f64, StatsError> {
    if losses.len() < 2 {
        return Err(StatsError::TooFew { needed: 2, got: losses.len() });
    }
    if !losses.iter().all(|loss| (0.0..=1.0).contains(loss)) {
        return Err(StatsError::Domain("a loss is between 0 and 1"));
    }
    if !(tolerance >= 0.0 && delta > 0.0 && delta < 1.0) {
        return Err(StatsError::Domain("a tolerance is not negative, a level is between 0 and 1"));
    }
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let log = (2.0 / delta).ln();
    let limit = mean + (2.0 * variance * log / count).sqrt() + 7.0 * log / (3.0 * (count - 1.0)) + tolerance;
    if limit < 1.0 {
        Ok(limit)
    } else {
        Err(StatsError::Domain("the reference is too small to bound its loss below 1"))
    }
}

/// An e-detector for harm: steps are windows, evidence is a bet on each loss against the limit (Podkopaev and Ramdas,
/// *Tracking the risk of a deployed model*, ICLR 2022, arXiv 2110.06177; aGRAPA bets from past losses only, Waudby-Smith
/// and Ramdas, JRSS B 2024, section B.3).
///
/// A loss `l` multiplies the evidence by `1 + b (l - limit)`, `b = clip((mean - limit) / (variance + (mean - limit)^2), 0,
/// 0.5 / limit)`, mean and variance of the losses before it and of one pseudo-observation (mean 1/2, variance 1/4). Past
/// losses fade, so that a late rise is met with a bet that fits; any bet that depends on the past alone is valid.
///
/// Losses are in `[0, 1]`. The expected number of windows to a false alarm is at least `1/alpha` as long as the mean
/// loss, given the past, is at most `limit`. Labels that arrive sooner when they are bad break that: where the delay
/// depends on the outcome (see [`dependence`](crate::labels::dependence)), give it windows that are final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HarmDetector {
    limit: f64,
    detector: Detector,
    weight: f64,
    mean: f64,
    squares: f64,
}

impl HarmDetector {
    /// A detector of mean losses above `limit` in `(0, 1)`.
    pub fn new(limit: f64) -> Result<Self, StatsError> {
        if !(limit > 0.0 && limit < 1.0) {
            return Err(StatsError::Domain("the limit of a loss is between 0 and 1"));
        }
        Ok(Self { limit, detector: Detector::new(), weight: 1.0, mean: 0.5, squares: 0.25 })
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Takes one window of losses in and returns the logarithm of its e-value.
    pub fn observe(&mut self, losses: &[f64]) -> f64 {
        let log_e: f64 =
            losses.iter().filter(|loss| !loss.is_nan()).map(|loss| self.bet(loss.clamp(0.0, 1.0))).sum();
        self.detector.observe(log_e);
        log_e
    }

    fn bet(&mut self, loss: f64) -> f64 {
        let drift = self.mean - self.limit;
        let variance = self.squares / self.weight;
        let bet = if drift > 0.0 { (drift / (variance + drift * drift)).min(0.5 / self.limit) } else { 0.0 };
        let log = (bet * (loss - self.limit)).ln_1p();
        self.weight = self.weight * MEMORY + 1.0;
        let delta = loss - self.mean;
        self.mean += delta / self.weight;
        self.squares = self.squares * MEMORY + delta * (loss - self.mean);
        log
    }

    /// The evidence for a change; `-inf` before the first window.
    pub fn log_m(&self) -> f64 {
        self.detector.log_m()
    }

    /// Whether the alarm goes off at a budget of one false alarm in `1/alpha` windows.
    pub fn alarms(&self, alpha: f64) -> bool {
        self.detector.alarms(alpha)
    }

    /// Forgets the evidence, not what losses look like.
    pub fn reset(&mut self) {
        self.detector.reset();
    }
}
