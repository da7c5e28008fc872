//! Evidence that may be looked at after every observation: e-processes and confidence sequences.
//!
//! An e-process starts at 1 and, if the null hypothesis is true, exceeds `1/alpha` at any time with probability at most
//! `alpha` (Ville's inequality). So it can be watched continuously, under changing traffic, and stopped at will. All
//! evidence is kept as a natural logarithm.
//!
//! - [`ArmEvents`] and [`ArmTest`]: which arm do bad events come from, how are requests split. Functions of counts.
//! - [`RateProcess`]: is a rate below or above a limit. A function of counts.
//! - [`MeanProcess`], [`DifferenceProcess`]: bets on a bounded mean, and on the difference of two arms' means.
//! - [`MeanSequence`], [`asymptotic_radius`]: intervals that hold at all times together.

mod arm;
mod mean;
mod rate;
mod sequence;

pub use arm::{ArmCount, ArmEvents, ArmTest};
pub use mean::{DifferenceProcess, MeanProcess};
pub use rate::RateProcess;
pub use sequence::{MeanSequence, asymptotic_radius};

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
