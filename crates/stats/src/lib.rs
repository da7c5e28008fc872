//! The statistics that decide: summaries, distances, performance, intervals and sequential tests.
//!
//! Everything is pure and deterministic, and knows nothing of models: columns of numbers in, numbers out. Results carry
//! their uncertainty; what cannot be computed is a [`StatsError`] that says why.
//!
//! - [`profile`]: what one column looks like; profiles merge.
//! - [`distance`]: how far two distributions are apart.
//! - [`metric`]: how good predictions were, with intervals.
//! - [`interval`]: intervals of means, shares and differences.
//! - [`sequential`]: evidence that may be looked at after every observation.
//! - [`detector`]: alarms with a false-alarm budget.
//! - [`series`]: one operational series, watched point by point.

pub mod detector;
pub mod distance;
mod error;
pub mod interval;
pub mod metric;
pub mod profile;
pub mod sequential;
pub mod series;

pub use error::StatsError;
