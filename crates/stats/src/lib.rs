//! The statistics that decide: summaries, distances, performance, intervals and sequential tests.
//!
//! Everything is pure and deterministic, and knows nothing of models: columns of numbers in, numbers out. Results carry
//! their uncertainty; what cannot be computed is a [`StatsError`] that says why.
//!
//! - [`profile`]: what one column looks like; profiles merge.
//! - [`distance`]: how far two distributions are apart.
//! - [`labels`]: labels that arrive late, and performance with few of them.
//! - [`metric`]: how good predictions were, with intervals.
//! - [`interval`]: intervals of means, shares and differences.
//! - [`sequential`]: evidence that may be looked at after every observation.
//! - [`calibration`]: what is ordinary, and which changes are findings.
//! - [`concept`]: whether the truth still follows the predictions as it did.
//! - [`detector`]: alarms with a false-alarm budget.
//! - [`stream`]: detectors that watch a series record by record.
//! - [`harm`]: which columns' change explains a change of performance.
//! - [`segment`]: segments in which a model is weak, found and confirmed.
//! - [`quality`]: what is wrong with data before anything is computed from them.
//! - [`estimate`]: how good predictions are, before the labels are there.
//! - [`multivariate`]: changes of how columns hang together.
//! - [`learn`]: small learners for estimators that need one.
//! - [`series`]: one operational series, watched point by point.
//! - [`random`]: random numbers from a seed, for simulations.

pub mod calibration;
pub mod concept;
pub mod detector;
pub mod distance;
mod error;
pub mod estimate;
pub mod harm;
pub mod interval;
pub mod labels;
pub mod learn;
pub mod metric;
pub mod multivariate;
pub mod profile;
pub mod quality;
pub mod random;
mod ranking;
pub mod segment;
pub mod sequential;
pub mod series;
pub mod stream;

pub use error::StatsError;
