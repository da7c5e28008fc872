//! Labels that arrive late, and performance with few of them.
//!
//! Start with [`DelayModel`]: what it counts is enough to say, at any moment, how many labels of a window ought to be
//! there, and to see that moment as it was then. The unit of time is the second.
//!
//! - [`curve`]: the share of labels that have arrived by an age, and the maturity of a window.
//! - [`dependence`]: whether labels of one outcome arrive sooner, which makes "labels so far" a wrong picture.
//! - [`correction`]: the share of an outcome and the weights of labelled rows, corrected for that.
//! - [`powered`]: a mean loss from many estimates and few labels.

pub mod correction;
pub mod curve;
mod delay;
pub mod dependence;
mod mixture;
pub mod powered;

pub use delay::DelayModel;
