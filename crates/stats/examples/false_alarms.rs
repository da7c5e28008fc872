//! False alarms and power on the bundled flights, as Markdown tables: `docs/false-alarms.md` holds what this prints.
//!
//! `cargo run --release -p steersman-stats --example false_alarms`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a report on the terminal; what cannot go on stops"
)]

#[path = "false_alarms/compare.rs"]
mod compare;
#[path = "../tests/it/flights.rs"]
mod flights;
#[path = "false_alarms/labels.rs"]
mod labels;
#[path = "false_alarms/windows.rs"]
mod windows;

use flights::Flights;
use statrs::distribution::{Beta, ContinuousCDF as _};

fn main() {
    let flights = Flights::read();
    windows::stationary(&flights);
    windows::season(&flights);
    windows::gross(&flights);
    windows::graded(&flights);
    labels::flipped(&flights);
    compare::false_alarms(&flights);
    compare::power(&flights);
}

/// The exact one-sided 95 % upper limit of a rate (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).
fn upper_limit(alarms: usize, checks: usize) -> f64 {
    if alarms >= checks {
        return 1.0;
    }
    Beta::new((alarms + 1) as f64, (checks - alarms) as f64).unwrap().inverse_cdf(0.95)
}
