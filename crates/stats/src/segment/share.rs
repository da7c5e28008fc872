//! One false-alarm budget for a model and its segments.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// What each monitor of a hierarchy may spend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// The monitor of all rows.
    pub whole: f64,
    /// The monitor of one value of each declared column, in the order given; 0 where a column has no values.
    pub segments: Vec<f64>,
}

/// Splits `alpha`, a level or a rate of false alarms, down a hierarchy: half for all rows, the other half
/// equally between the declared columns that have values, and each column's part equally between its values.
/// `values` holds the number of values (segments) of each declared column; without any, all rows have the
/// whole budget.
///
/// The parts sum to `alpha`, so by the union bound the budget holds for all monitors together, under any
/// dependence. A column of 300 airports costs the column of 10 carriers nothing but half of their part, and
/// the monitor of all rows nothing at all. (Bonferroni with weights, as in hierarchical testing, N.
/// Meinshausen, Biometrika 95, 2008.)
///
/// ```
/// use steersman_stats::segment::share;
/// let shares = share(0.04, &[5, 100]).unwrap();
/// assert_eq!((shares.whole, shares.segments), (0.02, vec![0.002, 0.0001]));
/// ```
pub fn share(alpha: f64, values: &[usize]) -> Result<Shares, StatsError> {
    if !(alpha > 0.0 && alpha <= 1.0) {
        return Err(StatsError::Domain("a budget of false alarms is above 0 and at most 1"));
    }
    let columns = values.iter().filter(|&&values| values > 0).count();
    if columns == 0 {
        return Ok(Shares { whole: alpha, segments: vec![0.0; values.len()] });
    }
    let column = 0.5 * alpha / columns as f64;
    let segment = |&values: &usize| if values > 0 { column / values as f64 } else { 0.0 };
    Ok(Shares { whole: 0.5 * alpha, segments: values.iter().map(segment).collect() })
}
