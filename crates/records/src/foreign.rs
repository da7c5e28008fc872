//! Readers of others, on bytes of others: Arrow and Parquet check what they read, but some damage makes them panic instead
//! of failing. That is an error of whoever made the bytes, and no word of it belongs into the log.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use steersman_domain::Problem;

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}
static QUIET: Once = Once::new();

/// Reads; a panic on the way is `broken`.
pub(crate) fn guarded<T>(
    broken: impl FnOnce() -> Problem,
    read: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !READING.get() {
                before(panic);
            }
        }));
    });
    let outer = READING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(outer);
    result.unwrap_or_else(|_| Err(broken()))
}

/// What is wrong where a reader panics.
pub(crate) const CONTRADICTION: &str = "its lengths contradict each other";
