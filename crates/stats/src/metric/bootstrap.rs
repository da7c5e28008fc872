//! How much a statistic varies from sample to sample, by resampling rows.

use crate::error::StatsError;
use crate::interval::{Interval, normal_quantile};
use crate::random::Random;

/// Samples that are drawn for a bootstrap: they give the standard error within about 5 %.
pub const RESAMPLES: usize = 200;

/// The interval `value +- 1.96 standard errors` of a statistic, whose standard error is its standard deviation over
/// samples that draw rows with replacement within each stratum (Efron and Tibshirani, *An Introduction to the
/// Bootstrap*, 1993, sections 6.2 and 8.3). The statistic gets how often each row was drawn; samples in which it has no
/// value are left out.
pub(super) fn interval(
    value: f64,
    strata: &[Vec<u32>],
    seed: u64,
    statistic: impl Fn(&[u32]) -> Option<f64>,
) -> Result<Interval, StatsError> {
    let rows = strata.iter().map(Vec::len).sum();
    let mut random = Random::new(seed);
    let mut counts = vec![0u32; rows];
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        counts.fill(0);
        for stratum in strata {
            for _ in 0..stratum.len() {
                counts[stratum[random.below(stratum.len())] as usize] += 1;
            }
        }
        values.extend(statistic(&counts));
    }
    if values.len() < RESAMPLES / 2 {
        return Err(StatsError::TooFew { needed: 10, got: rows });
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half = normal_quantile(0.975)? * variance.sqrt();
    Ok(Interval { value, low: value - half, high: value + half })
}

/// All rows as one stratum.
pub(super) fn whole(rows: usize) -> Vec<Vec<u32>> {
    vec![(0..rows as u32).collect()]
}
