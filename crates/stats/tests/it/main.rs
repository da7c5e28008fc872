//! Numbers against SciPy, scikit-learn and statsmodels, properties, and simulations of false alarms.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod properties;
mod references;
mod series;
mod simulations;
