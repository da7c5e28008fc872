//! Numbers against SciPy, scikit-learn and statsmodels, properties, and simulations of false alarms.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calibration;
mod flights;
mod properties;
mod references;
mod simulations;
