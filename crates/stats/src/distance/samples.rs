//! Distances of samples that are not sorted yet: each sorts copies of both and hands them to [`sorted`](super::sorted).

use super::Test;
use super::sorted::{self, RobustWasserstein, Sorted};
use crate::error::StatsError;

pub use super::means::{student, welch};

fn sort(reference: &[f64], current: &[f64]) -> Result<(Sorted, Sorted), StatsError> {
    Ok((Sorted::new(reference.to_vec())?, Sorted::new(current.to_vec())?))
}

/// Two-sample Kolmogorov-Smirnov test: the largest difference of the distribution functions, and the probability of one
/// at least as large between samples of one continuous law. Ties make the p-value conservative.
///
/// The p-value is exact if both samples have at most 10,000 values, as in `scipy.stats.ks_2samp` by default. Beyond that
/// it is that of one sample of `round(nm / (n + m))` values against its law, as in SciPy's `method="asymp"`, which agrees
/// to 1e-9. In one case only SciPy would still go the long way: up to 10,000 values, but more than a million pairs and a
/// p-value below 1e-15, which is asymptotic here. It is 0 where it is below the smallest number, and for larger samples
/// that do not overlap.
///
/// ```
/// let test = steersman_stats::distance::kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]).unwrap();
/// assert!((test.statistic - 2.0 / 3.0).abs() < 1e-12 && (test.p_value - 0.6).abs() < 1e-12);
/// ```
pub fn kolmogorov_smirnov(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (reference, current) = sort(reference, current)?;
    Ok(sorted::kolmogorov_smirnov(&reference, &current))
}

/// Wasserstein-1 distance of two samples, in the unit of the values: the area between the distribution functions. The
/// same as `scipy.stats.wasserstein_distance`.
///
/// ```
/// let distance = steersman_stats::distance::wasserstein(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]).unwrap();
/// assert!((distance - 5.0).abs() < 1e-12);
/// ```
pub fn wasserstein(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let (reference, current) = sort(reference, current)?;
    Ok(sorted::wasserstein(&reference, &current))
}

/// [`wasserstein`] divided by the reference's standard deviation (of the population), so that columns can be compared;
/// fails on a constant reference. A single wild value makes it any number: prefer [`wasserstein_robust`].
///
/// ```
/// let distance = steersman_stats::distance::wasserstein_normed(&[0.0, 2.0], &[1.0, 3.0]).unwrap();
/// assert_eq!(distance, 1.0);
/// ```
pub fn wasserstein_normed(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::wasserstein_normed(&reference, &current)
}

/// [`wasserstein`] of the values clipped to the 0.001 and 0.999 quantiles of the reference, divided by the reference's
/// interquartile range over 1.349, which is the standard deviation of a normal law. What lies beyond those quantiles is
/// told apart as shares; about 0.001 each is ordinary.
///
/// Where half of the reference is one value the interquartile range is no unit; then it is the standard deviation of the
/// clipped reference. Fails if that is zero too.
///
/// ```
/// let reference: Vec<f64> = (0..1_000).map(f64::from).collect();
/// let mut current = reference.clone();
/// current[0] = 1e9; // one bad value
/// let robust = steersman_stats::distance::wasserstein_robust(&reference, &current).unwrap();
/// assert!((robust.distance - 0.002_695).abs() < 1e-5 && robust.above == 0.002);
/// ```
pub fn wasserstein_robust(reference: &[f64], current: &[f64]) -> Result<RobustWasserstein, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::wasserstein_robust(&reference, &current)
}

/// Energy distance `sqrt(2 int (F - G)^2)`, in the root of the unit of the values (G. J. Székely and M. L. Rizzo, Journal
/// of Statistical Planning and Inference 143, 2013). The same as `scipy.stats.energy_distance`.
///
/// ```
/// let distance = steersman_stats::distance::energy(&[0.0], &[2.0]).unwrap();
/// assert_eq!(distance, 2.0);
/// ```
pub fn energy(reference: &[f64], current: &[f64]) -> Result<f64, StatsError> {
    let (reference, current) = sort(reference, current)?;
    Ok(sorted::energy(&reference, &current))
}

/// Two-sample Cramér-von Mises test with midranks (T. W. Anderson, Annals of Mathematical Statistics 33, 1962): as
/// Kolmogorov-Smirnov, but the squared difference all along. Needs two values each.
///
/// The p-value is exact if both samples have at most 20 values, else that of the limit law at the statistic brought to
/// its mean and variance, both as in `scipy.stats.cramervonmises_2samp`. Far in the tail (normalised statistic above 4)
/// SciPy's series is right to 1e-7 only, ours to the last digits.
///
/// ```
/// let test = steersman_stats::distance::cramer_von_mises(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]).unwrap();
/// assert!((test.statistic - 0.305_555_6).abs() < 1e-6 && (test.p_value - 0.2).abs() < 1e-12);
/// ```
pub fn cramer_von_mises(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::cramer_von_mises(&reference, &current)
}

/// Two-sample Anderson-Darling test with midranks, which weighs the tails more (F. W. Scholz and M. A. Stephens, JASA 82,
/// 1987). The statistic is normalised: mean 0, variance 1. Needs four values in all and two distinct ones.
///
/// The p-value is interpolated in their table and cannot leave `[0.001, 0.25]`, as in `scipy.stats.anderson_ksamp`.
///
/// ```
/// let test = steersman_stats::distance::anderson_darling(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]).unwrap();
/// assert!((test.statistic - 1.002_026_9).abs() < 1e-6 && (test.p_value - 0.126_215_0).abs() < 1e-6);
/// ```
pub fn anderson_darling(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::anderson_darling(&reference, &current)
}

/// Mann-Whitney U test, two-sided, by the normal approximation with corrections for ties and continuity (H. B. Mann and
/// D. R. Whitney, Annals of Mathematical Statistics 18, 1947). The statistic is the number of pairs in which the reference
/// is larger; ties count half. The same as `scipy.stats.mannwhitneyu(method="asymptotic")`.
///
/// ```
/// let test = steersman_stats::distance::mann_whitney(&[1.0, 2.0, 3.0], &[2.5, 3.5, 4.5]).unwrap();
/// assert!(test.statistic == 1.0 && (test.p_value - 0.190_43).abs() < 1e-5);
/// ```
pub fn mann_whitney(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::mann_whitney(&reference, &current)
}

/// Epps-Singleton test: the empirical characteristic functions at 0.4 and 0.8 over half the interquartile range of both
/// samples together, with the correction for fewer than 25 values (T. W. Epps and K. J. Singleton, Journal of Statistical
/// Computation and Simulation 26, 1986). Holds for discrete values too. Needs five values each; the p-value is that of
/// chi-square with 4 degrees of freedom. The same as `scipy.stats.epps_singleton_2samp`, which answers with fewer degrees
/// of freedom and a warning where a handful of distinct values make the covariances singular: here that is an error.
///
/// ```
/// let (a, b) = ([1.0, 2.5, 3.0, 4.2, 5.0, 7.0], [2.0, 3.3, 4.0, 6.5, 8.0, 9.0]);
/// let test = steersman_stats::distance::epps_singleton(&a, &b).unwrap();
/// assert!((test.statistic - 1.495_280_5).abs() < 1e-6 && (test.p_value - 0.827_477_1).abs() < 1e-6);
/// ```
pub fn epps_singleton(reference: &[f64], current: &[f64]) -> Result<Test, StatsError> {
    let (reference, current) = sort(reference, current)?;
    sorted::epps_singleton(&reference, &current)
}
