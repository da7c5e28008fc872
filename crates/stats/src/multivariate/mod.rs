//! Joint drift: changes of how columns hang together, which no test of single columns can see.
//!
//! - [`Reconstruction`]: how far rows lie from the reference's principal plane, as NannyML defines it.
//! - [`CoMoments`]: means and covariances that merge.
//!
//! Each result carries a p-value that is valid when reference and window are samples of the same rows;
//! [`detector::calibrate`](crate::detector::calibrate) makes it evidence that adds up over time.

mod column;
mod comoments;
mod eigen;
mod frequencies;
mod rank;
mod reconstruction;

pub use column::Column;
pub use comoments::CoMoments;
pub use frequencies::Frequencies;
pub use reconstruction::{KEPT_VARIANCE, Reconstruction, ReconstructionDrift, compare_errors};
