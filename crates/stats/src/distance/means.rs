//! Tests of means: of the values themselves, and of their characteristic function.

use super::sorted::walk;
use super::{Sorted, Test, shares::chi_square_tail};
use crate::error::{StatsError, finite};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Where the characteristic functions are compared, in units of half the interquartile range: here and at twice this.
const FREQUENCY: f64 = 0.4;
/// Cosine and sine at each frequency.
const WAVES: usize = 4;
/// A pivot this small next to the largest variance is rounding.
const LEAST_PIVOT: f64 = 1e-12;

/// Count, mean and sum of squared deviations.
pub(super) struct Moments {
    count: f64,
    pub(super) mean: f64,
    squares: f64,
}

impl Moments {
    /// In two passes and from the first value on, so that a large mean does no harm and equal values have no spread.
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let first = values.first().copied().unwrap_or_default();
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / count;
        Self { count, mean, squares: values.iter().map(|value| (value - mean).powi(2)).sum() }
    }

    /// The root of the mean squared deviation.
    pub(super) fn population_deviation(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

/// Moments of two samples of at least two values.
fn moments(reference: &[f64], current: &[f64]) -> Result<(Moments, Moments), StatsError> {
    for values in [reference, current] {
        if values.len() < 2 {
            return Err(StatsError::TooFew { needed: 2, got: values.len() });
        }
        finite(values)?;
    }
    Ok((Moments::of(reference), Moments::of(current)))
}

/// The two-sided t-test of a difference of means with this squared standard error and these degrees of freedom.
fn t_test(difference: f64, squared_error: f64, degrees: f64) -> Result<Test, StatsError> {
    if squared_error <= 0.0 {
        return Err(StatsError::Domain("both samples are constant"));
    }
    let law = StudentsT::new(0.0, 1.0, degrees)
        .map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
    let statistic = difference / squared_error.sqrt();
    Ok(Test { statistic, p_value: (2.0 * law.sf(statistic.abs())).clamp(0.0, 1.0) })
}

/// Welch's two-sided t-test of equal means, whatever the variances (B. L. Welch, Biometrika 34, 1947). The statistic is
/// that of `reference - current`, in standard errors. The same as `scipy.stats.ttest_ind(equal_var=False)`.
///
/// ```
/// let test = steersman_stats::distance::welch(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 6.0]).unwrap();
/// assert!((test.statistic + 1.133_893_4).abs() < 1e-6 && (test.p_value - 0.333_823_7).abs() < 1e-6);
/// ```
pub fn welch(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (a, b) = moments(reference, current)?;
    let (own, other) = (a.variance() / a.count, b.variance() / b.count);
    let error = own + other;
    let degrees = error.powi(2) / (own.powi(2) / (a.count - 1.0) + other.powi(2) / (b.count - 1.0));
    t_test(a.mean - b.mean, error, degrees)
}

/// Student's two-sided t-test of equal means with one variance for both samples. The same as
/// `scipy.stats.ttest_ind` by default, and Evidently's. Its level does not hold when the variances and the sizes differ:
/// prefer [`welch`].
///
/// ```
/// let test = steersman_stats::distance::student(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 6.0]).unwrap();
/// assert!((test.statistic + 1.217_996_9).abs() < 1e-6 && (test.p_value - 0.277_560_5).abs() < 1e-6);
/// ```
pub fn student(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (a, b) = moments(reference, current)?;
    let degrees = a.count + b.count - 2.0;
    let variance = (a.squares + b.squares) / degrees;
    t_test(a.mean - b.mean, variance * (1.0 / a.count + 1.0 / b.count), degrees)
}

/// Means and biased covariances of the waves of one sample.
struct Waves {
    means: [f64; WAVES],
    covariances: [[f64; WAVES]; WAVES],
}

impl Waves {
    /// Sums of products lose nothing here, as no wave is above 1.
    fn of(values: &[f64], unit: f64) -> Self {
        let (mut sums, mut products) = ([0.0; WAVES], [[0.0; WAVES]; WAVES]);
        for value in values {
            let (sine, cosine) = (FREQUENCY / unit * value).sin_cos();
            let waves = [cosine, cosine * cosine - sine * sine, sine, 2.0 * sine * cosine];
            for (row, wave) in waves.iter().enumerate() {
                sums[row] += wave;
                for (column, other) in waves.iter().enumerate().skip(row) {
                    products[row][column] += wave * other;
                }
            }
        }
        let count = values.len() as f64;
        let means = sums.map(|sum| sum / count);
        let covariances = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let (lower, upper) = (row.min(column), row.max(column));
                products[lower][upper] / count - means[row] * means[column]
            })
        });
        Self { means, covariances }
    }
}

/// As [`epps_singleton`](super::epps_singleton), of sorted samples.
pub(super) fn epps_singleton(reference: &Sorted, current: &Sorted) -> Result<Test, StatsError> {
    let (n, m) = (reference.count(), current.count());
    if n < 5.0 || m < 5.0 {
        return Err(StatsError::TooFew { needed: 5, got: n.min(m) as usize });
    }
    let [lower, upper] = pooled_quartiles(reference, current);
    if upper <= lower {
        return Err(StatsError::Domain("half of the values are the same, so their spread is no unit"));
    }
    let unit = (upper - lower) / 2.0;
    let (a, b) = (Waves::of(reference.values(), unit), Waves::of(current.values(), unit));
    let all = n + m;
    let covariances: [[f64; WAVES]; WAVES] = std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            all / n * a.covariances[row][column] + all / m * b.covariances[row][column]
        })
    });
    let difference: [f64; WAVES] = std::array::from_fn(|row| a.means[row] - b.means[row]);
    let mut statistic = all * squared_length(covariances, difference)?;
    if n.max(m) < 25.0 {
        statistic /= 1.0 + all.powf(-0.45) + 10.1 * (n.powf(-1.7) + m.powf(-1.7));
    }
    Ok(Test { statistic, p_value: chi_square_tail(statistic, WAVES)? })
}

/// The lower and upper quartile of both samples together, interpolated as in [`Sorted::quantile`].
fn pooled_quartiles(reference: &Sorted, current: &Sorted) -> [f64; 2] {
    let last = reference.values().len() + current.values().len() - 1;
    let positions = [0.25, 0.75].map(|share| share * last as f64);
    // The values at each position rounded down, and at the one after it.
    let mut around =
        positions.map(|position| [position as usize, (position as usize + 1).min(last)].map(|at| (at, None)));
    walk(reference, current, |step| {
        for (at, value) in around.iter_mut().flatten() {
            if value.is_none() && step.up_to.0 + step.up_to.1 > *at {
                *value = Some(step.value);
            }
        }
    });
    let interpolated = |[low, high]: [(usize, Option<f64>); 2], position: f64| {
        let (low, high) = (low.1.unwrap_or_default(), high.1.unwrap_or_default());
        low + (high - low) * position.fract()
    };
    [interpolated(around[0], positions[0]), interpolated(around[1], positions[1])]
}

/// `v' C^-1 v` for covariances `C`, by Cholesky's decomposition.
fn squared_length(
    mut covariances: [[f64; WAVES]; WAVES],
    mut vector: [f64; WAVES],
) -> Result<f64, StatsError> {
    let largest = (0..WAVES).map(|row| covariances[row][row]).fold(0.0, f64::max);
    let mut length = 0.0;
    for row in 0..WAVES {
        let pivot = covariances[row][row];
        if pivot <= LEAST_PIVOT * largest {
            return Err(StatsError::Domain("too few distinct values to compare characteristic functions"));
        }
        length += vector[row].powi(2) / pivot;
        let line = covariances[row];
        for below in row + 1..WAVES {
            let factor = line[below] / pivot;
            vector[below] -= factor * vector[row];
            covariances[below]
                .iter_mut()
                .zip(line)
                .skip(below)
                .for_each(|(cell, value)| *cell -= factor * value);
        }
    }
    Ok(length)
}
