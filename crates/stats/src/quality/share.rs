//! Shares of rows with something wrong.

use crate::distance::two_proportions;
use crate::error::StatsError;
use crate::interval::{Interval, newcombe, wilson};
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// How far a share must rise to matter: by `rise` and to `ratio` times what it was, both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Current minus reference share.
    pub rise: f64,
    /// Current share over reference share.
    pub ratio: f64,
}

impl Default for Floor {
    /// One point, and half as much again.
    fn default() -> Self {
        Self { rise: 0.01, ratio: 1.5 }
    }
}

impl Floor {
    pub(super) fn reached(self, usual: f64, share: f64) -> bool {
        share - usual >= self.rise && share >= self.ratio * usual
    }
}

/// A share of the current rows beside that of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Share of the current rows, with its 95 % interval.
    pub share: Interval,
    /// What is usual: the share of the reference rows, with its 95 % interval.
    pub usual: Interval,
    /// The one minus the other, with its 95 % interval; above 0 is worse.
    pub effect: Interval,
    /// How likely a difference this large is if nothing changed.
    pub p_value: f64,
    /// Whether the share rose far enough to matter; a share that fell never does.
    pub matters: bool,
}

/// Two shares, `hits` of `count`: intervals by Wilson and Newcombe, the p-value two-sided, exact for small
/// cells.
pub(super) fn compared(
    reference: (u64, u64),
    current: (u64, u64),
    floor: Floor,
) -> Result<Check, StatsError> {
    let p_value = two_proportions(reference, current)?.p_value;
    let (usual, share) = (wilson(reference.0, reference.1)?, wilson(current.0, current.1)?);
    let effect = newcombe(current, reference)?;
    Ok(Check { share, usual, effect, p_value, matters: floor.reached(usual.value, share.value) })
}

/// Share of missing values. Both sides are `(missing, rows)`.
///
/// ```
/// use steersman_stats::quality::{Floor, missing};
/// let check = missing((10, 1_000), (30, 1_000), Floor::default()).unwrap();
/// assert!(check.matters && (check.effect.value - 0.02).abs() < 1e-12);
/// assert!((check.p_value - 0.001_401_301_6).abs() < 1e-9); // statsmodels.stats.proportion.proportions_ztest
/// // Twice as much, but half a point: nobody cares, however sure it is.
/// assert!(!missing((500_000, 100_000_000), (1_000_000, 100_000_000), Floor::default()).unwrap().matters);
/// ```
pub fn missing(reference: (u64, u64), current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    compared(reference, current, floor)
}

/// Share of values that do not parse as the type that the column has in the reference, such as text among
/// numbers. Both sides are `(not parsed, values)`; missing values are no values.
///
/// ```
/// use steersman_stats::quality::{Floor, unparsed};
/// let check = unparsed((0, 5_000), (40, 800), Floor::default()).unwrap();
/// assert!(check.matters && check.p_value < 1e-30);
/// ```
pub fn unparsed(reference: (u64, u64), current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    compared(reference, current, floor)
}

/// Share of rows whose id another row has already had. Both sides are `(rows - distinct ids, rows)`. Counts
/// of distinct ids must be exact: a sketch is off by more than the usual share.
///
/// ```
/// use steersman_stats::quality::{Floor, duplicated};
/// assert!(duplicated((3, 10_000), (250, 1_000), Floor::default()).unwrap().matters);
/// ```
pub fn duplicated(reference: (u64, u64), current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    compared(reference, current, floor)
}

/// Share of values whose category the reference does not have. The reference is
/// `(categories seen exactly once, values)`: by Good and Turing (I. J. Good, Biometrika 40, 1953) their
/// quotient is the share of values with a category never seen so far that is to be expected if nothing
/// changes. So names of customers may bring new ones every day, and airports may not. The current side is
/// `(values of unseen categories, values)`.
///
/// ```
/// use steersman_stats::quality::{Floor, unseen};
/// // 400 of 2,000 customers came once: one in five will be new.
/// assert!(!unseen((400, 2_000), (110, 500), Floor::default()).unwrap().matters);
/// assert!(unseen((0, 2_000), (110, 500), Floor::default()).unwrap().matters);
/// ```
pub fn unseen(reference: (u64, u64), current: (u64, u64), floor: Floor) -> Result<Check, StatsError> {
    compared(reference, current, floor)
}

/// Share of the most frequent value, which is 1 in a constant column. Both sides are
/// `(rows with the side's most frequent value, values)`. It matters if the current column is constant, with
/// two values or more, and the reference is not.
///
/// ```
/// use steersman_stats::quality::constant;
/// let check = constant((600, 1_000), (80, 80)).unwrap();
/// assert!(check.matters && check.p_value < 1e-10);
/// // A flag that is nearly always up may be up for one window.
/// assert!(constant((995, 1_000), (80, 80)).unwrap().p_value > 0.9);
/// ```
pub fn constant(reference: (u64, u64), current: (u64, u64)) -> Result<Check, StatsError> {
    let check = compared(reference, current, Floor { rise: 0.0, ratio: 1.0 })?;
    let matters = current.1 > 1 && current.0 == current.1 && reference.0 < reference.1;
    Ok(Check { matters, ..check })
}

/// How likely `hits` or more of `count` rows are if each has at most the `accepted` chance: `P(B >= hits)` for `B` binomial,
/// by the incomplete beta function. For what a reference cannot show because it was let in, such as refused rows. Rows that
/// come in bursts are not independent: what is accepted should be what a burst may reach.
///
/// ```
/// use steersman_stats::quality::exceeds;
/// let p = exceeds(8, 200, 0.01).unwrap();
/// assert!((p / 0.001_012_557_150_52 - 1.0).abs() < 1e-9); // scipy.stats.binom.sf(7, 200, 0.01)
/// assert_eq!((exceeds(0, 200, 0.01).unwrap(), exceeds(1, 200, 0.0).unwrap()), (1.0, 1e-300));
/// ```
pub fn exceeds(hits: u64, count: u64, accepted: f64) -> Result<f64, StatsError> {
    if hits > count {
        return Err(StatsError::Domain("more hits than trials"));
    }
    if !(0.0..1.0).contains(&accepted) {
        return Err(StatsError::Domain("a share that is accepted is at least 0 and less than 1"));
    }
    if hits == 0 {
        return Ok(1.0);
    }
    Ok(beta_reg(hits as f64, (count - hits) as f64 + 1.0, accepted).clamp(1e-300, 1.0))
}
