//! Numbers against SciPy, scikit-learn and statsmodels, properties, and simulations of false alarms.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod distance;
mod harm;
mod estimate;
mod joint_drift;
mod multivariate;
mod labels;
mod properties;
mod quality;
mod random;
mod references;
mod segments;
mod series;
mod simulations;
mod stream;
