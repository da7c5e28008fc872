//! What is wrong with data before anything is computed from them: shares that rose, values never seen,
//! columns that stopped moving, schemas that changed.
//!
//! All are functions of counts in reference and current rows, so they come from profiles and merge. Each test
//! says three things apart: how large the change is (`effect`), how sure it is (`p_value`), and whether it is
//! large enough for anybody to care (`matters`). An alarm needs the last two; how small a p-value must be is
//! the caller's budget.

mod range;
mod schema;
mod share;
mod stale;

pub use range::{Fences, beyond_fences, out_of_range};
pub use schema::{SchemaChange, schema_changes};
pub use share::{Check, Floor, constant, duplicated, exceeds, missing, unparsed, unseen};
pub use stale::{Held, Repeats, Stale, held, stale};
