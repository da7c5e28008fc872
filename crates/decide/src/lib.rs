//! What should change: state, observations and a clock in, intents out.
//!
//! Nothing here does I/O, reads a clock or spawns, so the same engine serves production, simulation and the tests, and
//! a year of decisions replays in seconds.
//!
//! - [`engine::decide`] is the whole of it: start reading there.
//! - [`rollout`] moves traffic: the stages of a rollout, and what follows a promotion.
//! - [`judge::Judge`] weighs what candidate and champion did during a rollout.
//! - [`simulate`] lets both run on traffic that is drawn.
//! - [`evaluation::compare`] compares two versions on records that neither was trained on.

pub mod engine;
pub mod evaluation;
pub mod judge;
pub mod rollout;
pub mod simulate;

pub use engine::{Intent, ModelObservation, Observations, WindowStatus, decide};
pub use evaluation::compare;
pub use judge::Judge;
