//! The engine on a virtual clock, in a world that keeps its records and facts and loses everything else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod judging;
mod restarts;
mod simulated;
mod story;
mod table;
mod world;
