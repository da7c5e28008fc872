//! How far two distributions are apart: distances of shares, of samples, and tests of tables.
//!
//! Functions of *counts* take the counts of the same cells in reference and current data. Logarithms and bases are named
//! with each function, because other tools differ in them.

use crate::error::{StatsError, finite};
use statrs::distribution::{ChiSquared, ContinuousCDF as _, Normal};
use statrs::function::factorial::ln_binomial;

/// Shares below this count as this in the population stability index, as a cell that is empty on one side would make it
/// infinite.
const LEAST_SHARE: f64 = 1e-4;

/// Checks two rows of counts and turns them into shares.
fn shares(reference: &[u64], current: &[u64]) -> Result<(Vec<f64>, Vec<f64>), StatsError> {
    if reference.len() != current.len() {
        return Err(StatsError::Length { left: reference.len(), right: current.len() });
    }
    let of = |counts: &[u64]| {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        Ok(counts.iter().map(|&count| count as f64 / total as f64).collect::<Vec<f64>>())
    };
    Ok((of(reference)?, of(current)?))
}

/// Jensen-Shannon distance: the square root of the divergence with logarithms to base 2, in `[0, 1]` (Endres and
/// Schindelin, IEEE Transactions on Information Theory 49, 2003). The same as `scipy.spatial.distance.jensenshannon`
/// with `base=2`.
///
/// ```
/// let distance = steersman_stats::distance::jensen_shannon(&[1, 1], &[3, 1]).unwrap();
/// assert!((distance - 0.220_895_8).abs() < 1e-6);
/// ```
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let towards = |a: f64, b: f64| if a > 0.0 { a * (2.0 * a / (a + b)).log2() } else { 0.0 };
    let divergence: f64 = p.iter().zip(&q).map(|(&p, &q)| 0.5 * (towards(p, q) + towards(q, p))).sum();
    Ok(divergence.clamp(0.0, 1.0).sqrt())
}

/// Population stability index `sum (q - p) ln(q / p)`, natural logarithm, shares below 1e-4 raised to it.
///
/// ```
/// let psi = steersman_stats::distance::psi(&[50, 50], &[75, 25]).unwrap();
/// assert!((psi - 0.25 * 3f64.ln()).abs() < 1e-12);
/// ```
pub fn psi(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let raised = |share: f64| share.max(LEAST_SHARE);
    Ok(p.iter().zip(&q).map(|(&p, &q)| (raised(q) - raised(p)) * (raised(q) / raised(p)).ln()).sum())
}

/// Hellinger distance `sqrt(1/2 sum (sqrt p - sqrt q)^2)`, in `[0, 1]`.
///
/// ```
/// assert_eq!(steersman_stats::distance::hellinger(&[1, 0], &[0, 1]).unwrap(), 1.0);
/// ```
pub fn hellinger(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
    Ok((0.5 * sum).sqrt().min(1.0))
}

/// The largest difference of the shares of one cell, in `[0, 1]`.
///
/// ```
/// assert_eq!(steersman_stats::distance::l_infinity(&[1, 1], &[3, 1]).unwrap(), 0.25);
/// ```
pub fn l_infinity(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let (p, q) = shares(reference, current)?;
    Ok(p.iter().zip(&q).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max))
}

/// A test statistic and the probability of one at least as large when nothing differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The statistic.
    pub statistic: f64,
    /// The p-value.
    pub p_value: f64,
}

/// Sorted copies of two samples.
fn sorted(reference: &[f64], current: &[f64]) -> Result<(Vec<f64>, Vec<f64>), StatsError> {
    let of = |values: &[f64]| {
        if values.is_empty() {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        finite(values)?;
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        Ok(values)
    };
    Ok((of(reference)?, of(current)?))
}

/// Two-sample Kolmogorov-Smirnov statistic with the asymptotic p-value of Stephens' corrected statistic (*Numerical
/// Recipes* 3rd ed., section 14.3.3). Exact on the samples given.
///
/// ```
/// let test = steersman_stats::distance::kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]).unwrap();
/// assert!((test.statistic - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn kolmogorov_smirnov(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (a, b) = sorted(reference, current)?;
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut statistic) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let at = a[i].min(b[j]);
        i += a[i..].iter().take_while(|&&value| value <= at).count();
        j += b[j..].iter().take_while(|&&value| value <= at).count();
        statistic = statistic.max((i as f64 / n - j as f64 / m).abs());
    }
    let root = (n * m / (n + m)).sqrt();
    Ok(Test { statistic, p_value: kolmogorov_tail((root + 0.12 + 0.11 / root) * statistic) })
}

/// `P(K > x)` of Kolmogorov's distribution.
fn kolmogorov_tail(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    };
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// Wasserstein-1 distance of two samples, in the unit of the values: the area between the distribution functions. The
/// same as `scipy.stats.wasserstein_distance`.
///
/// ```
/// let distance = steersman_stats::distance::wasserstein(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]).unwrap();
/// assert!((distance - 5.0).abs() < 1e-12);
/// ```
pub fn wasserstein(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let (a, b) = sorted(reference, current)?;
    let mut together: Vec<f64> = a.iter().chain(&b).copied().collect();
    together.sort_by(f64::total_cmp);
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    for pair in together.windows(2) {
        i += a[i..].iter().take_while(|&&value| value <= pair[0]).count();
        j += b[j..].iter().take_while(|&&value| value <= pair[0]).count();
        area += (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs() * (pair[1] - pair[0]);
    }
    Ok(area)
}

/// [`wasserstein`] divided by the reference's standard deviation, so that columns can be compared; fails on a constant
/// reference.
///
/// ```
/// let distance = steersman_stats::distance::wasserstein_normed(&[0.0, 2.0], &[1.0, 3.0]).unwrap();
/// assert_eq!(distance, 1.0);
/// ```
pub fn wasserstein_normed(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let distance = wasserstein(reference, current)?;
    let mean = reference.iter().sum::<f64>() / reference.len() as f64;
    let variance = reference.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / reference.len() as f64;
    if variance > 0.0 {
        Ok(distance / variance.sqrt())
    } else {
        Err(StatsError::Domain("the reference is constant, so its spread is no unit"))
    }
}

/// Pearson's chi-square test of homogeneity of two rows of counts, without continuity correction; cells that are empty
/// on both sides are left out. The same as `scipy.stats.chi2_contingency(correction=False)`. Both rows are samples: the
/// reference's own uncertainty counts.
///
/// ```
/// let test = steersman_stats::distance::chi_square(&[10, 20], &[20, 10]).unwrap();
/// assert!((test.statistic - 6.666_667).abs() < 1e-6 && (test.p_value - 0.009_823_3).abs() < 1e-6);
/// ```
pub fn chi_square(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    shares(reference, current)?;
    let (n, m) = (reference.iter().sum::<u64>() as f64, current.iter().sum::<u64>() as f64);
    let cells = reference.iter().zip(current).filter(|(a, b)| **a + **b > 0);
    let (mut statistic, mut filled) = (0.0, 0u32);
    for (&a, &b) in cells {
        let together = (a + b) as f64;
        let (expected_a, expected_b) = (together * n / (n + m), together * m / (n + m));
        statistic +=
            (a as f64 - expected_a).powi(2) / expected_a + (b as f64 - expected_b).powi(2) / expected_b;
        filled += 1;
    }
    if filled < 2 {
        return Ok(Test { statistic: 0.0, p_value: 1.0 });
    }
    let law = ChiSquared::new(f64::from(filled - 1)).map_err(|_| StatsError::Domain("degrees of freedom"))?;
    Ok(Test { statistic, p_value: law.sf(statistic) })
}

/// Cramér's V of the two-row table with Bergsma's bias correction (Journal of the Korean Statistical Society 42, 2013),
/// in `[0, 1]`: an effect size that does not grow with the number of rows.
///
/// ```
/// let v = steersman_stats::distance::cramers_v(&[100, 200], &[200, 100]).unwrap();
/// assert!((v - 0.331_1).abs() < 1e-4);
/// ```
pub fn cramers_v(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let test = chi_square(reference, current)?;
    let total = (reference.iter().sum::<u64>() + current.iter().sum::<u64>()) as f64;
    let columns = reference.iter().zip(current).filter(|(a, b)| **a + **b > 0).count() as f64;
    if columns < 2.0 || total < 2.0 {
        return Ok(0.0);
    }
    let phi = (test.statistic / total - (columns - 1.0) / (total - 1.0)).max(0.0);
    let columns = columns - (columns - 1.0).powi(2) / (total - 1.0);
    let rows = 2.0 - 1.0 / (total - 1.0);
    Ok((phi / (columns.min(rows) - 1.0)).sqrt().min(1.0))
}

/// Two-sided test that two shares (`hits` of `count`) are the same: Fisher's exact test where a cell of the table holds
/// fewer than five, the pooled z-test otherwise. The statistic is the z-value in both cases. Fisher's p-value adds up all
/// tables that are no more likely, as `scipy.stats.fisher_exact` does.
///
/// ```
/// let test = steersman_stats::distance::two_proportions((10, 100), (20, 100)).unwrap();
/// assert!((test.p_value - 0.047_67).abs() < 1e-4);
/// let small = steersman_stats::distance::two_proportions((6, 6_175), (2, 96)).unwrap();
/// assert!((small.p_value - 0.006_115_68).abs() < 1e-7); // the z-test would say 6e-8
/// ```
pub fn two_proportions(reference: (u64, u64), current: (u64, u64)) -> Result<Test, StatsError> {
    for (hits, count) in [reference, current] {
        if count == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        if hits > count {
            return Err(StatsError::Domain("more hits than trials"));
        }
    }
    let (n, m) = (reference.1 as f64, current.1 as f64);
    let pooled = (reference.0 + current.0) as f64 / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if error == 0.0 {
        return Ok(Test { statistic: 0.0, p_value: 1.0 });
    }
    let statistic = (current.0 as f64 / m - reference.0 as f64 / n) / error;
    let cells = [reference.0, reference.1 - reference.0, current.0, current.1 - current.0];
    let p_value = match cells.iter().any(|&cell| cell < 5) {
        true => fisher(reference, current),
        false => (2.0 * Normal::standard().sf(statistic.abs())).min(1.0),
    };
    Ok(Test { statistic, p_value })
}

/// Fisher's exact two-sided p-value.
fn fisher(reference: (u64, u64), current: (u64, u64)) -> f64 {
    let hits = reference.0 + current.0;
    let all = ln_binomial(reference.1 + current.1, hits);
    let likelihood =
        |own: u64| (ln_binomial(current.1, own) + ln_binomial(reference.1, hits - own) - all).exp();
    let observed = likelihood(current.0) * (1.0 + 1e-7);
    let possible = hits.saturating_sub(reference.1)..=hits.min(current.1);
    possible.map(likelihood).filter(|likelihood| *likelihood <= observed).sum::<f64>().min(1.0)
}
