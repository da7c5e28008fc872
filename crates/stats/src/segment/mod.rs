//! Segments in which a model is weak: found by search, confirmed on other rows.
//!
//! [`weak_segments`] looks through the cells of single columns and of pairs of columns for a worse mean loss,
//! on one half of the rows, and reports what holds on the other half. [`excess_loss`] is its test, for
//! segments that are known beforehand. [`share`] splits a false-alarm budget between a model and its
//! declared segments.

mod cells;
mod excess;
mod half;
mod search;
mod share;

pub use cells::{Column, ColumnData, Condition, Values};
pub use excess::{Excess, excess_loss};
pub use search::{Search, SearchOptions, WeakSegment, weak_segments};
pub use share::{Shares, share};
