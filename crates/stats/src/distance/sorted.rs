//! Distances of samples that are in rising order already: sort once, then every distance is one walk.
//!
//! All counts of ranks are whole numbers until the last division, so that a million rows lose no digits.

use super::{Test, cramer, kolmogorov, means};
use crate::error::{StatsError, finite};
use statrs::distribution::{ContinuousCDF as _, Normal};

/// The quantiles of the reference outside which a value is a tail of its own in [`wasserstein_robust`].
const TAIL: f64 = 0.001;
/// The interquartile range of a normal law by its standard deviation.
const NORMAL_RANGE: f64 = 1.349;

/// Finite numbers in rising order; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts a sample; fails on an empty one and on values that are not finite.
    ///
    /// ```
    /// let sample = steersman_stats::distance::Sorted::new(vec![3.0, 1.0, 2.0]).unwrap();
    /// assert_eq!(sample.values(), [1.0, 2.0, 3.0]);
    /// ```
    pub fn new(mut values: Vec<f64>) -> Result<Self, StatsError> {
        if values.is_empty() {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        finite(&values)?;
        values.sort_unstable_by(f64::total_cmp);
        Ok(Self(values))
    }

    /// The values.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// How many there are.
    pub(super) fn count(&self) -> f64 {
        self.0.len() as f64
    }

    /// How many are below a value.
    pub(super) fn below(&self, value: f64) -> usize {
        self.0.partition_point(|own| *own < value)
    }

    /// How many are at most a value.
    pub(super) fn up_to(&self, value: f64) -> usize {
        self.0.partition_point(|own| *own <= value)
    }

    /// The smallest and the largest value.
    pub(super) fn range(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    /// The quantile at a share, interpolated linearly between order statistics (type 7 of Hyndman and Fan, The American
    /// Statistician 50, 1996; NumPy's default).
    ///
    /// ```
    /// let sample = steersman_stats::distance::Sorted::new(vec![1.0, 2.0, 4.0]).unwrap();
    /// assert_eq!(sample.quantile(0.75).unwrap(), 3.0);
    /// ```
    pub fn quantile(&self, share: f64) -> Result<f64, StatsError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(StatsError::Domain("a share is between 0 and 1"));
        }
        let last = self.0.len() - 1;
        let position = share * last as f64;
        let lower = (position as usize).min(last);
        let (low, high) = (self.0[lower], self.0[(lower + 1).min(last)]);
        Ok(low + (high - low) * (position - lower as f64))
    }

    /// How many distinct values there are.
    pub(super) fn distinct(&self) -> usize {
        self.0.chunk_by(|a, b| a == b).count()
    }
}

/// One distinct value of two samples.
pub(super) struct Step {
    pub(super) value: f64,
    /// How many values are equal to it, in the reference and in the current sample.
    pub(super) here: (usize, usize),
    /// How many values are at most it.
    pub(super) up_to: (usize, usize),
}

impl Step {
    /// How many values are equal to it, in both samples.
    fn ties(&self) -> usize {
        self.here.0 + self.here.1
    }

    /// Twice the rank that they share in both samples together.
    fn double_rank(&self) -> usize {
        2 * (self.up_to.0 + self.up_to.1) - self.ties() + 1
    }
}

/// Visits the distinct values of both samples in rising order.
pub(super) fn walk(reference: &Sorted, current: &Sorted, mut visit: impl FnMut(Step)) {
    let (a, b) = (reference.values(), current.values());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let value = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) => x,
            (None, Some(&y)) => y,
            (None, None) => return,
        };
        let before = (i, j);
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        visit(Step { value, here: (i - before.0, j - before.1), up_to: (i, j) });
    }
}

/// Visits the stretches between distinct values: where one begins, where it ends, and by how much the distribution
/// functions differ on it.
fn stretches(reference: &Sorted, current: &Sorted, mut visit: impl FnMut(f64, f64, f64)) {
    let (n, m) = (reference.count(), current.count());
    let mut last: Option<(f64, f64)> = None;
    walk(reference, current, |step| {
        if let Some((from, difference)) = last {
            visit(from, step.value, difference);
        }
        last = Some((step.value, step.up_to.0 as f64 / n - step.up_to.1 as f64 / m));
    });
}

/// As [`kolmogorov_smirnov`](super::kolmogorov_smirnov), of sorted samples.
pub fn kolmogorov_smirnov(reference: &Sorted, current: &Sorted) -> Test {
    let (n, m) = (reference.values().len(), current.values().len());
    let mut largest = 0u128;
    walk(reference, current, |step| {
        let (own, other) = (step.up_to.0 as u128 * m as u128, step.up_to.1 as u128 * n as u128);
        largest = largest.max(own.abs_diff(other));
    });
    Test {
        statistic: largest as f64 / (n as f64 * m as f64),
        p_value: kolmogorov::two_sample_tail(n, m, largest),
    }
}

/// As [`wasserstein`](super::wasserstein), of sorted samples.
pub fn wasserstein(reference: &Sorted, current: &Sorted) -> f64 {
    let mut area = 0.0;
    stretches(reference, current, |from, to, difference| area += difference.abs() * (to - from));
    area
}

/// As [`wasserstein_normed`](super::wasserstein_normed), of sorted samples.
pub fn wasserstein_normed(reference: &Sorted, current: &Sorted) -> Result<f64, StatsError> {
    let deviation = means::Moments::of(reference.values()).population_deviation();
    if deviation > 0.0 {
        Ok(wasserstein(reference, current) / deviation)
    } else {
        Err(StatsError::Domain("the reference is constant, so its spread is no unit"))
    }
}

/// A Wasserstein distance that single values cannot blow up, and what lies in the tails that it leaves out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RobustWasserstein {
    /// The distance in robust standard deviations of the reference.
    pub distance: f64,
    /// The share of the current values below the reference's 0.001 quantile.
    pub below: f64,
    /// The share of the current values above the reference's 0.999 quantile.
    pub above: f64,
}

/// As [`wasserstein_robust`](super::wasserstein_robust), of sorted samples.
pub fn wasserstein_robust(reference: &Sorted, current: &Sorted) -> Result<RobustWasserstein, StatsError> {
    let (low, high) = (reference.quantile(TAIL)?, reference.quantile(1.0 - TAIL)?);
    let mut spread = (reference.quantile(0.75)? - reference.quantile(0.25)?) / NORMAL_RANGE;
    if spread == 0.0 {
        let clipped: Vec<f64> = reference.values().iter().map(|value| value.clamp(low, high)).collect();
        spread = means::Moments::of(&clipped).population_deviation();
    }
    if spread == 0.0 {
        return Err(StatsError::Domain("the reference is constant, so its spread is no unit"));
    }
    let mut area = 0.0;
    stretches(reference, current, |from, to, difference| {
        area += difference.abs() * (to.min(high) - from.max(low)).max(0.0);
    });
    let share = |count: usize| count as f64 / current.count();
    Ok(RobustWasserstein {
        distance: area / spread,
        below: share(current.below(low)),
        above: share(current.values().len() - current.up_to(high)),
    })
}

/// As [`energy`](super::energy), of sorted samples.
pub fn energy(reference: &Sorted, current: &Sorted) -> f64 {
    let mut area = 0.0;
    stretches(reference, current, |from, to, difference| area += difference * difference * (to - from));
    (2.0 * area).sqrt()
}

/// As [`cramer_von_mises`](super::cramer_von_mises), of sorted samples.
pub fn cramer_von_mises(reference: &Sorted, current: &Sorted) -> Result<Test, StatsError> {
    let (n, m) = (reference.values().len(), current.values().len());
    if n < 2 || m < 2 {
        return Err(StatsError::TooFew { needed: 2, got: n.min(m) });
    }
    // Four times the sum of squares of (rank in both - rank in its own sample); equal values have consecutive own ranks.
    let squares = |step: &Step, here: usize, up_to: usize| {
        let mean = 2 * up_to + 1 - here;
        let away = step.double_rank().abs_diff(mean) as i128;
        here as i128 * (away * away) + cube_less_one(here) / 3
    };
    let (mut first, mut second) = (0i128, 0i128);
    walk(reference, current, |step| {
        first += squares(&step, step.here.0, step.up_to.0);
        second += squares(&step, step.here.1, step.up_to.1);
    });
    Ok(cramer::two_sample_test(n, m, n as i128 * first + m as i128 * second))
}

/// As [`anderson_darling`](super::anderson_darling), of sorted samples.
pub fn anderson_darling(reference: &Sorted, current: &Sorted) -> Result<Test, StatsError> {
    let (n, m) = (reference.count(), current.count());
    let all = n + m;
    if all < 4.0 {
        return Err(StatsError::TooFew { needed: 4, got: all as usize });
    }
    let mut sum = 0.0;
    let mut distinct = 0;
    walk(reference, current, |step| {
        let ties = step.ties() as f64;
        let until = (step.double_rank() - 1) as f64 / 2.0;
        let own = step.up_to.0 as f64 - step.here.0 as f64 / 2.0;
        let weight = until * (all - until) - all * ties / 4.0;
        sum += ties * (all * own - until * n).powi(2) / weight;
        distinct += 1;
    });
    if distinct < 2 {
        return Err(StatsError::Domain("all values are the same"));
    }
    Ok(cramer::anderson_darling_test(n, m, sum * (all - 1.0) / (all * all) * (1.0 / n + 1.0 / m)))
}

/// `ties^3 - ties`, mostly of a single value.
fn cube_less_one(ties: usize) -> i128 {
    if ties < 2 { 0 } else { (ties as i128).pow(3) - ties as i128 }
}

/// As [`mann_whitney`](super::mann_whitney), of sorted samples.
pub fn mann_whitney(reference: &Sorted, current: &Sorted) -> Result<Test, StatsError> {
    let (n, m) = (reference.values().len() as i128, current.values().len() as i128);
    let (mut double_ranks, mut ties) = (0i128, 0i128);
    walk(reference, current, |step| {
        double_ranks += step.here.0 as i128 * step.double_rank() as i128;
        ties += cube_less_one(step.ties());
    });
    let double_u = double_ranks - n * (n + 1);
    let all = n + m;
    let variance = (n * m) as f64 / 12.0 * ((all + 1) as f64 - ties as f64 / (all as f64 * (all - 1) as f64));
    if variance <= 0.0 {
        return Err(StatsError::Domain("all values are the same"));
    }
    // |U - nm/2| less the continuity correction of one half.
    let away = ((double_u - n * m).abs() as f64 / 2.0 - 0.5) / variance.sqrt();
    let p_value = (2.0 * Normal::standard().sf(away)).min(1.0);
    Ok(Test { statistic: double_u as f64 / 2.0, p_value })
}

/// As [`epps_singleton`](super::epps_singleton), of sorted samples.
pub fn epps_singleton(reference: &Sorted, current: &Sorted) -> Result<Test, StatsError> {
    means::epps_singleton(reference, current)
}
