//! Whether a change is large enough to matter: with enough rows every p-value is small.
//!
//! Floors are in the user's units and say nothing about certainty; a finding needs both.

use super::band::NullBand;
use super::ordinary::Judgement;
use super::window::{Aspect, WindowValue};
use serde::{Deserialize, Serialize};

/// The least change that matters, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Floors {
    /// Jensen-Shannon distance (base 2) beyond what is ordinary.
    pub jensen_shannon: f64,
    /// Difference of means, or Wasserstein distance, in standard deviations of the reference.
    pub deviations: f64,
    /// Ratio of standard deviations, in either direction; above 1.
    pub spread_ratio: f64,
    /// Difference of the share of a category.
    pub share: f64,
    /// Rise of the share of missing values ...
    pub missing: f64,
    /// ... and its ratio to what it was.
    pub missing_ratio: f64,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            jensen_shannon: 0.05,
            deviations: 0.1,
            spread_ratio: 1.1,
            share: 0.02,
            missing: 0.01,
            missing_ratio: 1.5,
        }
    }
}

impl Floors {
    /// Whether the Jensen-Shannon distance of a window matters: it is above the ordinary range, and what it is beyond
    /// ordinary variation reaches the floor. Squared distances add up, so that is `sqrt(d^2 - mean of d_k^2)`.
    ///
    /// ```
    /// use steersman_stats::calibration::{Floors, NullBand};
    /// let small_windows = NullBand::from_windows(&[0.10, 0.11, 0.12, 0.13]).unwrap();
    /// let floors = Floors::default();
    /// assert!(!floors.distance_matters(0.12, &small_windows)); // 0.12 is what sampling alone makes
    /// assert!(!floors.distance_matters(0.125, &small_windows)); // inside the ordinary range
    /// assert!(floors.distance_matters(0.14, &small_windows)); // 0.079 beyond it
    /// ```
    pub fn distance_matters(&self, distance: f64, ordinary: &NullBand) -> bool {
        let usual = ordinary.root_mean_square();
        let beyond = (distance * distance - usual * usual).max(0.0).sqrt();
        distance > ordinary.range().1 && beyond >= self.jensen_shannon
    }

    /// Whether a window's mean, spread or missing share matters: it is outside its ordinary range and far enough from the
    /// forecast. `unit` is the reference's standard deviation, needed for a mean only. Distances have
    /// [`Floors::distance_matters`]; here they matter when they are outside the ordinary range.
    pub fn window_matters(
        &self,
        aspect: Aspect,
        window: &WindowValue,
        judged: &Judgement,
        unit: f64,
    ) -> bool {
        let change = window.value - judged.forecast;
        let large = match aspect {
            Aspect::Distance => true,
            Aspect::Location => change.abs() >= self.deviations * unit,
            Aspect::Spread => change.abs() >= self.spread_ratio.ln(),
            Aspect::Missing => {
                let share = |value: f64| value.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2);
                self.missing_matters(share(judged.forecast), share(window.value))
            }
        };
        large && judged.outside(window.value, aspect)
    }

    /// Whether a share of missing values matters: it rose, or it fell as much.
    pub fn missing_matters(&self, before: f64, now: f64) -> bool {
        let (less, more) = (before.min(now), before.max(now));
        more - less >= self.missing && more >= self.missing_ratio * less
    }

    /// Whether the shares of categories matter: one changed by the floor, or all of them together are far apart.
    ///
    /// ```
    /// use steersman_stats::calibration::Floors;
    /// assert!(Floors::default().shares_matter(&[700, 300], &[67, 33], 0.0));
    /// assert!(!Floors::default().shares_matter(&[700, 300], &[69, 31], 0.0));
    /// ```
    pub fn shares_matter(&self, reference: &[u64], current: &[u64], jensen_shannon: f64) -> bool {
        let (n, m) = (reference.iter().sum::<u64>() as f64, current.iter().sum::<u64>() as f64);
        let mut changes = reference.iter().zip(current).map(|(&a, &b)| (a as f64 / n - b as f64 / m).abs());
        jensen_shannon >= self.jensen_shannon || changes.any(|change| change >= self.share)
    }
}
