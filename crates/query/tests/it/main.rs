//! SQL over the record log, as-of joins, checks of features.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod asof;
mod features;
mod sql;
