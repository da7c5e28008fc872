//! Alarms have a budget, not a threshold: from distances to decisions.
//!
//! - [`NullBand`]: distances of windows in which nothing changed, from the reference's own windows or from resamples;
//!   [`psi_limit`] and its like: the same for independent rows of any number, without windows.
//! - [`WindowValue`]: what a window says about a column, [`Dispersion`] of windows among themselves.
//! - [`Ordinary`]: the forecast of the next window and the p-value of what came; follows the season.
//! - [`ColumnOrdinary`]: all of this for one column, from the counts and moments of its windows.
//! - [`JointDetector`]: all columns of a model, over time, with one budget. Start here for windows.
//! - [`decide_columns`]: two batches, once. Start here for a comparison.
//! - [`Floors`]: how large a change matters.
//! - [`holm`], [`benjamini_hochberg`], [`e_bh`], [`OnlineFdr`]: many tests at once, or one after another.

mod band;
mod column;
mod compare;
mod effect;
mod inflation;
mod joint;
mod limit;
mod multiplicity;
mod online;
mod ordinary;
mod share;
mod tail;
mod window;

pub use band::{NullBand, TailProbability};
pub use column::{ColumnJudgement, ColumnOrdinary, ColumnWindow};
pub use compare::{
    ColumnDecision, ColumnEvidence, ColumnTest, CompareOptions, Inflation, TestEvidence, Why, decide_columns,
};
pub use effect::Floors;
pub use joint::{AspectEvidence, JointDetector, JointVerdict, column_log_e};
pub use limit::{
    Sizes, dkw_margin, jensen_shannon_beyond_sampling, jensen_shannon_limit, jensen_shannon_p_value,
    psi_beyond_sampling, psi_limit, psi_p_value,
};
pub use multiplicity::{benjamini_hochberg, benjamini_yekutieli, e_bh, holm};
pub use online::{OnlineFdr, OnlineRule};
pub use ordinary::{Judgement, Level, Ordinary};
pub use share::{largest_cell_p_value, shares_p_value};
pub use window::{Aspect, Dispersion, WindowValue};
