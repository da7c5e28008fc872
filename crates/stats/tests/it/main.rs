//! Numbers against SciPy, scikit-learn and statsmodels, properties, and simulations of false alarms.

mod properties;
mod references;
mod simulations;
