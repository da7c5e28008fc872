//! A mean loss from many estimates and few labels: prediction-powered inference and its sibling that knows how probable
//! it was that each label is there.
//!
//! A loss is what a label shows (a squared error, a wrong decision); an estimate is what was expected of it without the
//! label. All intervals are at 95 %. They take the arrival probabilities as given.

use crate::error::{StatsError, finite, paired};
use crate::interval::{Interval, mean_interval, student_quantile};

/// Rows whose label is less probable to be there than this are judged by their estimates alone: one such label would
/// weigh more than twenty rows.
pub const LEAST_ARRIVAL: f64 = 0.05;

/// A prediction-powered mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoweredMean {
    /// The mean loss over all rows, with its interval.
    pub mean: Interval,
    /// Its standard error.
    pub error: f64,
    /// How far the estimates are relied on: 0 is labels alone, 1 is estimates corrected by labels.
    pub lambda: f64,
}

/// PPI++ mean (Angelopoulos, Duchi, Zrnic, *PPI++: Efficient prediction-powered inference*, 2023, arXiv 2311.01453,
/// section 6): `lambda mean(F over the N rows without label) + mean(Y - lambda F over the n labelled)`, with
/// `lambda = clip(cov(Y, F) / ((1 + n/N) var F), 0, 1)` and `SE^2 = lambda^2 var(F) / N + var(Y - lambda F) / n`.
///
/// Labels must be missing at random; otherwise see [`augmented_mean`]. `lambda` is that of `ppi_py` (covariance over
/// `n`, variance of all estimates over `n + N - 1`). The standard error divides by `N - 1` and `n - 1`, and the interval
/// is Student's with `n - 1` degrees of freedom, because labels may be few. Without rows without label, this is
/// [`mean_interval`].
///
/// ```
/// use steersman_stats::labels::powered::powered_mean;
/// let found = powered_mean(&[0.0, 1.0, 1.0, 0.0], &[0.2, 0.8, 0.6, 0.4], &[0.3, 0.9, 0.6, 0.6]).unwrap();
/// assert!((found.lambda - 0.875).abs() < 1e-9); // 0.1 / ((1 + 4/4) 0.4/7)
/// assert!((found.mean.value - 0.5875).abs() < 1e-9); // 0.875 * 0.6 + 0.5 - 0.875 * 0.5
/// ```
pub fn powered_mean(
    losses: &[f64],
    estimates: &[f64],
    unlabelled: &[f64],
) -> Result<PoweredMean, StatsError> {
    paired(losses.len(), estimates.len(), 2)?;
    finite(losses)?;
    finite(estimates)?;
    finite(unlabelled)?;
    if unlabelled.is_empty() {
        return plain(losses);
    }
    let (n, rest) = (losses.len() as f64, unlabelled.len() as f64);
    let all: Vec<f64> = estimates.iter().chain(unlabelled).copied().collect();
    let (loss_mean, estimate_mean) = (mean(losses), mean(estimates));
    let products = losses.iter().zip(estimates).map(|(y, f)| (y - loss_mean) * (f - estimate_mean));
    let covariance = products.sum::<f64>() / n;
    let lambda = ratio(covariance, (1.0 + n / rest) * variance(&all));
    let residuals: Vec<f64> = losses.iter().zip(estimates).map(|(y, f)| y - lambda * f).collect();
    let value = lambda * mean(unlabelled) + mean(&residuals);
    let spread = if unlabelled.len() > 1 { variance(unlabelled) } else { variance(&all) };
    let error = (lambda * lambda * spread / rest + variance(&residuals) / n).sqrt();
    Ok(PoweredMean { mean: around(value, error, n)?, error, lambda })
}

/// A mean from estimates for all rows and labels for those whose label has arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugmentedMean {
    /// The mean loss over all rows, with its interval.
    pub mean: Interval,
    /// Its standard error.
    pub error: f64,
    /// How far the estimates are relied on; 1 where it was not chosen.
    pub lambda: f64,
    /// Labels that were used.
    pub labelled: u64,
    /// Rows with an arrival probability below [`LEAST_ARRIVAL`]: judged by their estimates alone, whose error the
    /// interval does not know.
    pub model_only: u64,
}

/// Augmented inverse-probability-weighted mean (Robins, Rotnitzky, Zhao, JASA 89, 1994): the mean over all rows of
/// `m + (O / pi) (l - m)`, `m` the estimate, `l` the loss, `O` whether the label is there, `pi` the probability of that;
/// its variance is the sample variance of these terms over `N`.
///
/// `arrivals` are probabilities that the label is there by now: by the age of the row and its stratum, or, when the
/// delay depends on the outcome, given the outcome as well for rows with a label
/// ([`Correction::arrived_by`](super::correction::Correction::arrived_by)); then the mean is right though labels are
/// not missing at random. If every label is there with probability 1, this is [`mean_interval`] of the losses.
///
/// ```
/// use steersman_stats::labels::powered::augmented_mean;
/// let losses = [Some(1.0), None, Some(0.0), None];
/// let found = augmented_mean(&[0.5; 4], &losses, &[0.5; 4]).unwrap();
/// assert_eq!(found.mean.value, 0.5); // (1.5 + 0.5 - 0.5 + 0.5) / 4
/// assert!((found.error - (0.666_666_666_666_666_6f64 / 4.0).sqrt()).abs() < 1e-12);
/// ```
pub fn augmented_mean(
    estimates: &[f64],
    losses: &[Option<f64>],
    arrivals: &[f64],
) -> Result<AugmentedMean, StatsError> {
    let (labelled, model_only) = checked(estimates, losses, arrivals)?;
    let term = |((&estimate, loss), &arrival): ((&f64, &Option<f64>), &f64)| match loss {
        Some(loss) if arrival >= LEAST_ARRIVAL => estimate + (loss - estimate) / arrival,
        _ => estimate,
    };
    let terms: Vec<f64> = estimates.iter().zip(losses).zip(arrivals).map(term).collect();
    let error = (variance(&terms) / terms.len() as f64).sqrt();
    Ok(AugmentedMean { mean: mean_interval(&terms)?, error, lambda: 1.0, labelled, model_only })
}

/// [`augmented_mean`] with weights that sum to the number of rows and with estimates scaled by the `lambda` in `[0, 1]`
/// that makes the variance least, as in PPI++: estimates that are no good do no harm.
///
/// `lambda mean(F) + sum w (Y - lambda F) / sum w`, `w = O / pi` (Hajek's ratio), over the rows whose label may be
/// there. With `A = w (Y - Y_w) / mean w` and `B = F - mean F - w (F - F_w) / mean w`, `Y_w` and `F_w` weighted means,
/// the variance is that of `A + lambda B` over `N`, and `lambda = clip(-cov(A, B) / var B, 0, 1)`.
///
/// ```
/// use steersman_stats::labels::powered::tuned_mean;
/// let losses = [Some(1.0), Some(0.0), Some(1.0), None];
/// let found = tuned_mean(&[0.5; 4], &losses, &[0.25, 0.5, 0.25, 0.5]).unwrap();
/// assert!((found.mean.value - 0.8).abs() < 1e-12); // (4 + 4) / (4 + 2 + 4): constant estimates tell nothing
/// assert_eq!(found.lambda, 0.0);
/// ```
pub fn tuned_mean(
    estimates: &[f64],
    losses: &[Option<f64>],
    arrivals: &[f64],
) -> Result<AugmentedMean, StatsError> {
    let (labelled, model_only) = checked(estimates, losses, arrivals)?;
    if labelled < 2 {
        return Err(StatsError::TooFew { needed: 2, got: labelled as usize });
    }
    let reached: Vec<usize> = (0..arrivals.len()).filter(|&row| arrivals[row] >= LEAST_ARRIVAL).collect();
    let count = reached.len() as f64;
    let rows = || reached.iter().map(|&row| (estimates[row], losses[row], arrivals[row]));
    let weighted = || rows().filter_map(|(estimate, loss, arrival)| Some((estimate, loss?, 1.0 / arrival)));
    let (weights, estimate_sum, loss_sum) = weighted()
        .fold((0.0, 0.0, 0.0), |(sum, f, y), (estimate, loss, weight)| {
            (sum + weight, f + weight * estimate, y + weight * loss)
        });
    let (weighted_estimate, weighted_loss) = (estimate_sum / weights, loss_sum / weights);
    let estimate_mean = rows().map(|(estimate, ..)| estimate).sum::<f64>() / count;
    let influence = |(estimate, loss, arrival): (f64, Option<f64>, f64)| {
        let weight = if loss.is_some() { count / (weights * arrival) } else { 0.0 };
        let own = weight * (loss.unwrap_or(weighted_loss) - weighted_loss);
        (own, estimate - estimate_mean - weight * (estimate - weighted_estimate))
    };
    let spread: f64 = rows().map(|(estimate, ..)| (estimate - estimate_mean).powi(2)).sum();
    let (covariance, square) =
        rows().map(influence).fold((0.0, 0.0), |(ab, bb), (a, b)| (ab + a * b, bb + b * b));
    // With every label there, what is left of the estimates is rounding.
    let lambda = if square > 1e-12 * spread { ratio(-covariance, square) } else { 0.0 };
    let reached_mean = lambda * estimate_mean + weighted_loss - lambda * weighted_estimate;
    // Rows that are judged by their estimates alone count with these.
    let mut terms: Vec<f64> = rows().map(influence).map(|(a, b)| reached_mean + a + lambda * b).collect();
    let alone = (0..arrivals.len()).filter(|&row| arrivals[row] < LEAST_ARRIVAL);
    terms.extend(alone.map(|row| estimates[row]));
    let error = (variance(&terms) / terms.len() as f64).sqrt();
    Ok(AugmentedMean {
        mean: around(mean(&terms), error, labelled as f64)?,
        error,
        lambda,
        labelled,
        model_only,
    })
}

/// Checks the columns; counts the labels that can be used and the rows that are judged by their estimates alone.
fn checked(estimates: &[f64], losses: &[Option<f64>], arrivals: &[f64]) -> Result<(u64, u64), StatsError> {
    paired(estimates.len(), losses.len(), 2)?;
    paired(estimates.len(), arrivals.len(), 2)?;
    finite(estimates)?;
    if let Some(row) = losses.iter().position(|loss| loss.is_some_and(|loss| !loss.is_finite())) {
        return Err(StatsError::NotFinite { row });
    }
    if !arrivals.iter().all(|arrival| (0.0..=1.0).contains(arrival)) {
        return Err(StatsError::Domain("the probability that a label is there is between 0 and 1"));
    }
    let reached = |arrival: &f64| *arrival >= LEAST_ARRIVAL;
    let labelled = losses.iter().zip(arrivals).filter(|(loss, arrival)| loss.is_some() && reached(arrival));
    let model_only = arrivals.iter().filter(|arrival| !reached(arrival)).count();
    Ok((labelled.count() as u64, model_only as u64))
}

fn plain(losses: &[f64]) -> Result<PoweredMean, StatsError> {
    let error = (variance(losses) / losses.len() as f64).sqrt();
    Ok(PoweredMean { mean: mean_interval(losses)?, error, lambda: 0.0 })
}

/// Student's interval for a mean that rests on `labelled` labels.
fn around(value: f64, error: f64, labelled: f64) -> Result<Interval, StatsError> {
    let half = student_quantile(labelled - 1.0)? * error;
    Ok(Interval { value, low: value - half, high: value + half })
}

/// The ratio cut to `[0, 1]`; 0 where there is nothing to divide by.
fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator > 0.0 { (numerator / denominator).clamp(0.0, 1.0) } else { 0.0 }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample variance of at least two values.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}
