//! Joint drift: changes of how columns hang together, which no test of single columns can see.
//!
//! - [`Reconstruction`]: how far rows lie from the reference's principal plane, as NannyML defines it.
//! - [`DomainReference`]: whether a classifier can tell a window's rows from the reference's, the most sensitive of all;
//!   [`domain_drift`] does so for embeddings and [`TextFeatures`].
//! - [`CorrelationReference`]: which pairs of columns of numbers no longer move together.
//! - [`Company`]: how pairs of columns go together, judged by how much the reference's own windows differ in it.
//! - [`mmd`]: whether two sets of rows have one distribution, exact by permutation.
//! - [`CoMoments`]: means and covariances that merge.
//!
//! How often each finds one column shuffled among the rows of a window, at a level of 0.001, on flights from New York
//! with twelve columns and a reference of 5,000 rows (`power_table` in the tests; the level was held in all cells):
//!
//! | shuffled, rows of the window | classifier 200 / 400 / 800 | reconstruction | correlation (numbers only) |
//! | --- | --- | --- | --- |
//! | carrier, origin | 1 / 1 / 1 | .43 / .69 / .99 | - |
//! | dest | 1 / 1 / 1 | 0 / .15 / .40 | - |
//! | hour | .90 / 1 / 1 | .03 / .05 / .33 | 0 / .10 / .63 |
//! | temp | .23 / .88 / 1 | 0 / 0 / .05 | .03 / .10 / .28 |
//! | wind_speed | .23 / .75 / 1 | .05 / .23 / .40 | .03 / .38 / .93 |
//! | precip | .25 / .75 / 1 | 0 / .03 / .08 | .98 / 1 / 1 |
//! | day_of_week, which hardly depends on the others | 0 / 0 / .03 | 0 / 0 / 0 | 0 / 0 / .03 |
//!
//! Each result carries a p-value that is valid when the rows of reference and window are samples of one pool;
//! [`detector::calibrate`](crate::detector::calibrate) makes it evidence that adds up over time. Rows of one hour share
//! their weather, so windows of real time differ even when nothing is wrong: where there is history, compare a window's
//! area, error or discrepancy with those of earlier windows as well.

mod column;
mod comoments;
mod company;
mod correlation;
mod domain;
mod eigen;
mod frequencies;
mod kernel;
mod pairs;
mod rank;
mod reconstruction;
mod scores;
mod text;

pub use column::Column;
pub use comoments::CoMoments;
pub use company::{Company, CompanyChange, PairChange, PairValues};
pub use correlation::{CorrelationChange, CorrelationDrift, CorrelationReference};
pub use domain::{DomainDrift, DomainReference, domain_drift};
pub use frequencies::Frequencies;
pub use kernel::{KernelDrift, mmd};
pub use reconstruction::{KEPT_VARIANCE, Reconstruction, ReconstructionDrift, compare_errors};
pub use text::TextFeatures;
