//! Numbers against SciPy, scikit-learn and statsmodels, properties, and simulations of false alarms.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calibration;
mod distance;
mod estimate;
mod flights;
mod harm;
mod joint_drift;
mod labels;
mod multivariate;
mod properties;
mod quality;
mod random;
mod references;
mod segments;
mod series;
mod simulations;
mod sketches;
mod stream;
