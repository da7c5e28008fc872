//! How far two distributions are apart: distances of shares, of samples, and tests of tables.
//!
//! Three kinds of input, three places to look:
//! - *counts* of the same cells in reference and current data: [`jensen_shannon`], [`psi`], [`hellinger`], ... Logarithms
//!   and bases are named with each function, because other tools differ in them;
//! - the same counts as a *table* to be tested: [`chi_square`], [`chi_square_pooled`], [`g_test`], [`fisher`], ...;
//! - *samples* of numbers: [`kolmogorov_smirnov`], [`wasserstein`], ... take slices; the same functions in [`sorted`] take
//!   samples that are sorted already, so that one sort serves every distance of a column.
//!
//! [`compare_numeric`] and [`compare_categorical`] compute them all at once, with the cells that Steersman or another
//! tool uses ([`Convention`]).

pub mod binning;
mod compare;
mod cramer;
mod kolmogorov;
mod means;
mod nannyml;
mod samples;
mod shares;
pub mod sorted;
mod table;

pub use binning::Convention;
pub use compare::{Distances, compare_categorical, compare_numeric, compare_sorted};
pub use samples::{
    anderson_darling, cramer_von_mises, energy, epps_singleton, kolmogorov_smirnov, mann_whitney, student,
    wasserstein, wasserstein_normed, wasserstein_robust, welch,
};
pub use shares::{
    hellinger, jensen_shannon, jensen_shannon_nats, jensen_shannon_test, kl_divergence,
    kl_divergence_floored, l_infinity, psi, psi_floored, psi_test, total_variation,
};
pub use sorted::{RobustWasserstein, Sorted};
pub use table::{
    ChiSquare, Method, chi_square, chi_square_corrected, chi_square_pooled, cramers_v, cramers_v_uncorrected,
    fisher, g_test, g_test_corrected, two_proportions,
};

/// A test statistic and the probability of one at least as large when nothing differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The statistic.
    pub statistic: f64,
    /// The p-value.
    pub p_value: f64,
}
