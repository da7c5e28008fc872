//! Performance before the labels are there: what metrics of a window are expected to be.
//!
//! - Classification, CBPE: [`Calibration`] learns from labelled reference rows what scores mean as probabilities, and
//!   out of fold how well; [`Decided`], [`Ranked`] and [`Multiclass`] turn a window's probabilities into expected
//!   metrics ([NannyML](https://github.com/NannyML/nannyml)'s formulas).
//! - The same after the mix of rows has changed, PAPE: [`adapt`] calibrates on reference rows weighted to look like the
//!   window.
//! - Regression, DLE: [`DirectLoss`] learns what the loss of a row will be.
//!
//! Each gives an [`Estimate`]: a value, and how far the realised metric strays from it by the chance of the labels
//! alone. [`Estimate::interval_after`] widens that by how wrong the estimator was on labelled windows before.
//!
//! None of this sees *concept drift*: a change of what the labels are for the same features and score. The estimate
//! stays as it was while the realised metric falls; only labels show that. CBPE without weights also assumes that
//! scores mean what they meant: PAPE gives that up for changes that the features show.

mod adapt;
mod binary;
mod calibration;
mod expected;
mod isotonic;
mod loss;
mod multiclass;

pub use adapt::{Adapted, Labelled, adapt, density_ratio};
pub use binary::{Decided, Ranked, brier, log_loss};
pub use calibration::Calibration;
pub use expected::{Estimate, Past};
pub use isotonic::Isotonic;
pub use loss::{DirectLoss, PointLoss};
pub use multiclass::{ClassCalibration, Multiclass};
