//! Which columns' change explains a change of performance: drift ranked by what it costs.
//!
//! Two answers, from cheap to careful:
//!
//! - [`marginal_shift`]: the loss in each cell of one column in the reference, times the change of the cells'
//!   shares. It needs counts and sums only, so it comes from profiles and merges. Columns that move together
//!   are each charged with the whole, so these changes do not add up over columns, and a shift that hurts
//!   only jointly is not seen.
//! - [`shapley`]: the change of the mean loss of a model of the loss, shared out fairly over groups of
//!   columns. The shares add up to the whole change; it needs rows and many evaluations of the model.
//!   [`column_groups`] finds columns that are better moved together.
//!
//! Both speak of changes of the *inputs*. What the same inputs now lead to (a change of concept) is the part
//! that [`mix_and_rate`] calls `rate`, and needs labels of the current rows.

mod groups;
mod loss;
mod shapley;
mod shift;

pub use groups::{CORRELATED, column_groups};
pub use loss::CellLoss;
pub use shapley::{Attribution, GroupHarm, Method, ShapleyOptions, shapley};
pub use shift::{MixAndRate, Shift, marginal_shift, mix_and_rate};
