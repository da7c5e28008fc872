//! A gateway as a process of its own: it is told its routes by a control plane, and hands captures to it.
//!
//! - `wire`: what goes over the line.
//! - `link`: keeps the line up. The control plane may be away for as long as it likes: the last routes hold, the judge
//!   counts as silent, captures wait in their bounded queue.

mod link;
mod wire;

pub use link::{Link, LinkCounts};
pub use wire::{CAPTURES, Orders, Report, decode, encode};
