//! The platform in one process, on a clock that is moved.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod retention;
