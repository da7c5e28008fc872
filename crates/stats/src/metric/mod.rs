//! How good predictions were, each with its 95 % interval.
//!
//! Binary outputs are probabilities or scores with truths as flags; regression is numbers against numbers; multiclass
//! truths and decisions are class numbers from 0. Intervals are closed forms where there is one ([`roc_auc`], shares,
//! means), and otherwise come from [`RESAMPLES`] seeded bootstrap samples.

mod binary;
mod bootstrap;
mod cells;
mod multiclass;
mod regression;

pub use binary::{
    accuracy, average_precision, brier, expected_calibration_error, f1, log_loss, precision, recall, roc_auc,
    specificity,
};
pub use bootstrap::RESAMPLES;
pub use cells::{Cells, Confusion, Rate};
pub use multiclass::{macro_average_precision, macro_rate, macro_roc_auc};
pub use regression::{mae, mape, mse, msle, quantile_loss, r2, rmse, rmsle};

pub(crate) use binary::{LEAST_PROBABILITY, calibration_gap, delong, midranks, probabilities};
pub(crate) use cells::known_classes;
