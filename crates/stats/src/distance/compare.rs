//! All distances of one column at once, as Steersman or as another tool computes them.

use super::binning::{Cells, Convention, categorical_cells, evidently_hellinger_cells, numeric_cells};
use super::sorted::{self, Sorted};
use super::{Test, means, nannyml, shares, table};
use crate::error::StatsError;
use std::collections::BTreeMap;

/// The seed of Monte Carlo p-values: the same table always has the same p-value.
const SEED: u64 = 0x5355_4152;
/// The least standard deviation by which Evidently divides.
const EVIDENTLY_LEAST: f64 = 0.001;

/// Distances by name, with what is known of their chance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distances {
    /// Distances, effect sizes and test statistics.
    pub distances: BTreeMap<&'static str, f64>,
    /// The probability of a distance at least as large when nothing differs.
    pub p_values: BTreeMap<&'static str, f64>,
    /// Why others that the convention has are not among them.
    pub refused: BTreeMap<&'static str, StatsError>,
}

impl Distances {
    fn distance(&mut self, name: &'static str, value: Result<f64, StatsError>) {
        match value {
            Ok(value) if value.is_finite() => {
                self.distances.insert(name, value);
            }
            Ok(_) => {
                self.refused
                    .insert(name, StatsError::Domain("it is infinite, as a cell is empty on one side"));
            }
            Err(error) => {
                self.refused.insert(name, error);
            }
        }
    }

    fn test(&mut self, name: &'static str, test: Result<Test, StatsError>) {
        if let Ok(test) = &test {
            self.p_values.insert(name, test.p_value);
        }
        self.distance(name, test.map(|test| test.statistic));
    }

    /// Tests of samples that all conventions define alike.
    fn sample_tests(&mut self, reference: &Sorted, current: &Sorted) {
        self.test("kolmogorov_smirnov", Ok(sorted::kolmogorov_smirnov(reference, current)));
        self.distance("energy", Ok(sorted::energy(reference, current)));
        self.test("cramer_von_mises", sorted::cramer_von_mises(reference, current));
        self.test("anderson_darling", sorted::anderson_darling(reference, current));
        self.test("mann_whitney", sorted::mann_whitney(reference, current));
        self.test("epps_singleton", sorted::epps_singleton(reference, current));
    }

    /// Everything that Steersman says of counts.
    fn of_cells(&mut self, Cells { reference, current }: &Cells) {
        self.test("jensen_shannon", shares::jensen_shannon_test(reference, current));
        self.test("psi", shares::psi_test(reference, current));
        self.distance("kl_divergence", shares::kl_divergence(reference, current));
        self.distance("hellinger", shares::hellinger(reference, current));
        self.distance("l_infinity", shares::l_infinity(reference, current));
        self.distance("total_variation", shares::total_variation(reference, current));
        let chi_square = table::chi_square_pooled(reference, current, SEED);
        self.test(
            "chi_square",
            chi_square.map(|test| Test { statistic: test.statistic, p_value: test.p_value }),
        );
        self.test("g_test", table::g_test(reference, current));
        self.distance("cramers_v", table::cramers_v(reference, current));
    }

    /// Fisher's p-value, where there are two cells.
    fn fisher(&mut self, cells: &Cells) {
        let filled = cells.reference.iter().zip(&cells.current).filter(|(a, b)| **a > 0 || **b > 0);
        if let [first, second] = filled.collect::<Vec<_>>()[..] {
            let p_value = table::fisher(
                (*first.0, first.0.saturating_add(*second.0)),
                (*first.1, first.1.saturating_add(*second.1)),
            );
            match p_value {
                Ok(p_value) => self.p_values.insert("fisher", p_value).map(drop),
                Err(error) => self.refused.insert("fisher", error).map(drop),
            };
        }
    }
}

/// All distances of two samples of finite numbers (leave missing values out first) that a convention has.
///
/// | | Steersman | Evidently | NannyML | SciPy |
/// |---|---|---|---|---|
/// | cells | [`numeric_cells`] | [`numeric_cells`] | [`numeric_cells`] | none |
/// | `jensen_shannon` | base 2, p-value | base e | base 2 | - |
/// | `psi` | ½ added to a cell, p-value | floor | - | - |
/// | `kl_divergence` | ½ added to a cell | floor | - | - |
/// | `hellinger` | yes | bins of the distinct values | yes | - |
/// | `l_infinity`, `total_variation`, `cramers_v` | yes | - | - | - |
/// | `chi_square`, `g_test` | pooled, plain | - | - | - |
/// | `kolmogorov_smirnov` | exact | exact | binned from 10,000 rows, no p-value | exact |
/// | `wasserstein` | exact | - | binned from 10,000 rows | exact |
/// | `wasserstein_normed` | robust | by standard deviation | - | - |
/// | `tail_below`, `tail_above` | yes | - | - | - |
/// | `energy`, `cramer_von_mises`, `anderson_darling`, `mann_whitney`, `epps_singleton` | yes | yes | - | yes |
/// | `t_test` | Welch | Student | - | Welch |
///
/// Where the other tool is wrong, the right number stands under its name: Evidently tests one side in `mann_whitney`, so
/// that a shift downwards gives a p-value near 1; here both sides are tested. Its and NannyML's bins are kept although one
/// outlier stretches them: that is what their users are used to, and what [`Convention::Steersman`] is for.
///
/// ```
/// use steersman_stats::distance::{Convention, compare_numeric};
/// let reference: Vec<f64> = (0..200).map(f64::from).collect();
/// let current: Vec<f64> = (0..200).map(|value| f64::from(value) + 50.0).collect();
/// let found = compare_numeric(&reference, &current, Convention::Steersman).unwrap();
/// assert_eq!(found.distances["kolmogorov_smirnov"], 0.25);
/// assert!(found.p_values["kolmogorov_smirnov"] < 1e-5);
/// ```
///
/// [`numeric_cells`]: super::binning::numeric_cells
pub fn compare_numeric(
    reference: &[f64],
    current: &[f64],
    convention: Convention,
) -> Result<Distances, StatsError> {
    compare_sorted(&Sorted::new(reference.to_vec())?, &Sorted::new(current.to_vec())?, convention)
}

/// As [`compare_numeric`], of sorted samples.
pub fn compare_sorted(
    reference: &Sorted,
    current: &Sorted,
    convention: Convention,
) -> Result<Distances, StatsError> {
    let mut found = Distances::default();
    match convention {
        Convention::Steersman => {
            found.of_cells(&numeric_cells(reference, current, convention)?);
            found.distance("wasserstein", Ok(sorted::wasserstein(reference, current)));
            match sorted::wasserstein_robust(reference, current) {
                Ok(robust) => {
                    found.distance("wasserstein_normed", Ok(robust.distance));
                    found.distance("tail_below", Ok(robust.below));
                    found.distance("tail_above", Ok(robust.above));
                }
                Err(error) => found.distance("wasserstein_normed", Err(error)),
            }
            found.sample_tests(reference, current);
            found.test("t_test", means::welch(reference.values(), current.values()));
        }
        Convention::Evidently => {
            let cells = numeric_cells(reference, current, convention)?;
            let Cells { reference: own, current: other } = &cells;
            found.distance("jensen_shannon", shares::jensen_shannon_nats(own, other));
            found.distance("psi", shares::psi_floored(own, other));
            found.distance("kl_divergence", shares::kl_divergence_floored(own, other));
            let cells = evidently_hellinger_cells(reference, current)?;
            found.distance("hellinger", shares::hellinger(&cells.reference, &cells.current));
            let deviation = means::Moments::of(reference.values()).population_deviation();
            let distance = sorted::wasserstein(reference, current) / deviation.max(EVIDENTLY_LEAST);
            found.distance("wasserstein_normed", Ok(distance));
            found.sample_tests(reference, current);
            found.test("t_test", means::student(reference.values(), current.values()));
        }
        Convention::Nannyml => {
            let Cells { reference: own, current: other } = &numeric_cells(reference, current, convention)?;
            found.distance("jensen_shannon", shares::jensen_shannon(own, other));
            found.distance("hellinger", shares::hellinger(own, other));
            found.distance("kolmogorov_smirnov", Ok(nannyml::kolmogorov_smirnov(reference, current)));
            found.distance("wasserstein", Ok(nannyml::wasserstein(reference, current)));
        }
        Convention::Scipy => {
            found.distance("wasserstein", Ok(sorted::wasserstein(reference, current)));
            found.sample_tests(reference, current);
            found.test("t_test", means::welch(reference.values(), current.values()));
        }
    }
    Ok(found)
}

/// All distances of two columns of categories, given by their counts, that a convention has.
///
/// | | Steersman | Evidently | NannyML | SciPy |
/// |---|---|---|---|---|
/// | `jensen_shannon` | base 2, p-value | base e | base 2 | base e |
/// | `psi` | ½ added to a cell, p-value | floor | - | - |
/// | `kl_divergence` | ½ added to a cell | floor | - | plain, may be infinite |
/// | `hellinger` | yes | yes | yes | - |
/// | `l_infinity` | yes | - | all categories | - |
/// | `total_variation` | yes | yes | - | - |
/// | `chi_square` | pooled | plain | all categories, Yates | Yates |
/// | `g_test` | plain | plain | - | Yates |
/// | `cramers_v` | corrected for bias | - | - | uncorrected |
/// | `fisher` (p-value, of two categories) | yes | yes | - | yes |
///
/// *Yates*: with his correction where there are two categories. Where the other tool is wrong, the right number stands
/// under its name: Evidently takes the reference as exact in `chi_square`, which alarms in 36 % to 93 % of cases in which
/// nothing differs; its `g_test` fails when the sizes differ, its `fisher` too. Here both rows are samples.
///
/// ```
/// use steersman_stats::distance::{Convention, compare_categorical};
/// let counts = |pairs: [(&str, u64); 2]| pairs.map(|(name, count)| (name.to_owned(), count)).into();
/// let (reference, current) = (counts([("AA", 60), ("UA", 40)]), counts([("AA", 50), ("DL", 50)]));
/// let found = compare_categorical(&reference, &current, Convention::Steersman).unwrap();
/// assert_eq!(found.distances["l_infinity"], 0.5);
/// ```
pub fn compare_categorical(
    reference: &BTreeMap<String, u64>,
    current: &BTreeMap<String, u64>,
    convention: Convention,
) -> Result<Distances, StatsError> {
    let cells = categorical_cells(reference, current, convention);
    let Cells { reference: own, current: other } = &cells;
    shares::totals(own, other)?;
    let mut found = Distances::default();
    match convention {
        Convention::Steersman => {
            found.of_cells(&cells);
            found.fisher(&cells);
        }
        Convention::Evidently => {
            found.distance("jensen_shannon", shares::jensen_shannon_nats(own, other));
            found.distance("psi", shares::psi_floored(own, other));
            found.distance("kl_divergence", shares::kl_divergence_floored(own, other));
            found.distance("hellinger", shares::hellinger(own, other));
            found.distance("total_variation", shares::total_variation(own, other));
            found.test("chi_square", table::chi_square(own, other));
            found.test("g_test", table::g_test(own, other));
            found.fisher(&cells);
        }
        Convention::Nannyml => {
            let all = categorical_cells(reference, current, Convention::Scipy);
            found.distance("jensen_shannon", shares::jensen_shannon(own, other));
            found.distance("hellinger", shares::hellinger(own, other));
            found.distance("l_infinity", shares::l_infinity(&all.reference, &all.current));
            found.test("chi_square", table::chi_square_corrected(&all.reference, &all.current));
        }
        Convention::Scipy => {
            found.distance("jensen_shannon", shares::jensen_shannon_nats(own, other));
            found.distance("kl_divergence", shares::kl_divergence_plain(own, other));
            found.test("chi_square", table::chi_square_corrected(own, other));
            found.test("g_test", table::g_test_corrected(own, other));
            found.distance("cramers_v", table::cramers_v_uncorrected(own, other));
            found.fisher(&cells);
        }
    }
    Ok(found)
}
