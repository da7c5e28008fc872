//! Small learners for estimators that need one: gradient-boosted trees, logistic regression, encodings of categories
//! and predictions out of fold.
//!
//! They are helpers of the estimators, not a toolkit: single-threaded, without sampling, and the same to the last bit
//! for the same data. Start at [`Matrix`] and [`Boosting`].

mod boosted;
mod encode;
mod folds;
mod logistic;
mod matrix;
mod tree;

pub use boosted::{Boosted, Boosting, Loss};
pub use encode::Encoding;
pub use folds::{Folds, out_of_fold};
pub use logistic::Logistic;
pub use matrix::Matrix;
