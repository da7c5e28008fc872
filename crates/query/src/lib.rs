//! SQL over the record log, and point-in-time checks of features. The only room that names DataFusion.
//!
//! - [`sql`]: [`sql::Engine`] answers read-only queries over the records of all models, on threads of its own.
//! - [`asof`]: for each row of one table the row of another that was known at its time.
//! - [`features`]: whether models saw the feature values that they should have seen.

pub mod asof;
pub mod features;
pub mod sql;
