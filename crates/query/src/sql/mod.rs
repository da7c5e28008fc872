//! Read-only SQL: each model is a table of its name, its shadow answers one of its name with `$shadow` behind.
//!
//! - `statement`: what may be asked.
//! - `table`: a model's records as DataFusion reads them.
//! - `functions`: profiles and distances as aggregate functions, and the platform's clock.
//! - `load`: how many queries run, and how many met a limit.
//! - `answer`: rows as JSON, CSV and Arrow.
//! - `problem`: what an error of DataFusion means for the one who asked.

mod answer;
mod engine;
mod functions;
mod load;
mod problem;
mod statement;
mod table;

pub use answer::{Answer, Format};
pub use engine::{Engine, Limits, Query, Slot};
pub use load::Load;
