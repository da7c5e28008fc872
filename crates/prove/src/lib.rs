//! What can be shown afterwards: the story in words, delivery figures, charts, the health report. Pure.
//!
//! - [`story`]: the important facts as events that a person reads.
//! - [`delivery`]: how often, how fast and how safely versions got to production.
//! - [`chart`]: plots as SVG.
//! - [`report`]: one self-contained HTML file of all of it.
//! - [`comparison`]: the same for two data sets that were compared.
//! - [`estimation`]: the same for performance that was estimated.
//! - [`tuning`]: the same for policies that were replayed.
//! - [`simulation`]: the same for rollouts that were simulated.

pub mod chart;
pub mod comparison;
pub mod delivery;
mod distribution;
pub mod estimation;
mod plot;
mod quality;
pub mod report;
mod rollouts;
mod segments;
pub mod simulation;
pub mod story;
pub mod tuning;

/// The style of report and pages.
pub const STYLE: &str = include_str!("../templates/style.css");
