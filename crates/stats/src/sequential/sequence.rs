//! Confidence sequences: intervals that hold at all times together.

use serde::{Deserialize, Serialize};

/// The largest weight of one observation.
const LARGEST_WEIGHT: f64 = 0.5;

/// A confidence sequence for the mean of bounded observations: the predictable plug-in empirical Bernstein sequence
/// (Waudby-Smith and Ramdas, JRSS B 2024, theorem 2). At all times together the mean is inside with probability
/// `1 - alpha`.
///
/// ```
/// use steersman_stats::sequential::MeanSequence;
/// let mut sequence = MeanSequence::new(0.05, 0.0, 1.0);
/// for turn in 0..1_000u32 {
///     sequence.observe(f64::from(turn % 4 == 0));
/// }
/// let (low, high) = sequence.interval();
/// assert!(low < 0.25 && 0.25 < high && high - low < 0.2);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanSequence {
    alpha: f64,
    low: f64,
    high: f64,
    count: u64,
    sum: f64,
    squares: f64,
    weights: f64,
    weighted: f64,
    penalty: f64,
}

impl MeanSequence {
    /// For observations in `[low, high]`, at level `alpha`.
    pub fn new(alpha: f64, low: f64, high: f64) -> Self {
        let (sum, squares, weights, weighted, penalty) = (0.0, 0.0, 0.0, 0.0, 0.0);
        Self { alpha, low, high, count: 0, sum, squares, weights, weighted, penalty }
    }

    /// Takes one observation in; it is cut to the bounds.
    pub fn observe(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let (before, t) = (self.count as f64, self.count as f64 + 1.0);
        let mean = (0.5 + self.sum) / (before + 1.0);
        let variance = (0.25 + self.squares) / (before + 1.0);
        let weight = (2.0 * (2.0 / self.alpha).ln() / (variance * t * t.ln_1p())).sqrt().min(LARGEST_WEIGHT);
        let psi = (-(-weight).ln_1p() - weight) / 4.0;
        self.weights += weight;
        self.weighted += weight * value;
        self.penalty += 4.0 * (value - mean).powi(2) * psi;
        self.count += 1;
        self.sum += value;
        self.squares += (value - (0.5 + self.sum) / (t + 1.0)).powi(2);
    }

    /// The interval now; the bounds before the first observation.
    pub fn interval(&self) -> (f64, f64) {
        if self.count == 0 {
            return (self.low, self.high);
        }
        let centre = self.weighted / self.weights;
        let radius = ((2.0 / self.alpha).ln() + self.penalty) / self.weights;
        let back = |value: f64| self.low + value.clamp(0.0, 1.0) * (self.high - self.low);
        (back(centre - radius), back(centre + radius))
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Half the width of the asymptotic confidence sequence of a mean after `count` observations with this `variance`
/// (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, *Time-uniform central limit theory and asymptotic confidence sequences*,
/// Annals of Statistics 2024), narrowest at about `best` observations. For large counts only.
///
/// ```
/// let radius = steersman_stats::sequential::asymptotic_radius(1_000.0, 0.25, 0.05, 1_000.0);
/// assert!((0.045..0.055).contains(&radius), "{radius}"); // 0.031 for one look at a fixed time
/// ```
pub fn asymptotic_radius(count: f64, variance: f64, alpha: f64, best: f64) -> f64 {
    if !(count > 0.0 && variance > 0.0) {
        return f64::INFINITY;
    }
    let rho = (-2.0 * alpha.ln() + (-2.0 * alpha.ln()).ln() + 1.0) / (best * variance);
    let scale = count * variance * rho + 1.0;
    (scale / (count * count * rho) * (scale / (alpha * alpha)).ln()).sqrt()
}
