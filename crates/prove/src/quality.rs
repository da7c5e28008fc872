//! What was unusual about the data lately, as rows of a table.

use std::collections::BTreeSet;
use steersman_domain::{Measurement, Window};

/// So many windows back.
const WINDOWS: usize = 7;
/// At most so many rows.
const ROWS: usize = 12;

/// One finding about the quality of the data.
pub(crate) struct QualityRow {
    pub(crate) window: String,
    pub(crate) about: String,
    pub(crate) share: String,
    pub(crate) ordinary: String,
    pub(crate) tone: &'static str,
    pub(crate) words: String,
}

/// What was beyond the ordinary in the last windows, the latest first.
pub(crate) fn rows(latest: &[&Measurement]) -> Vec<QualityRow> {
    let windows: BTreeSet<Window> = latest.iter().map(|measurement| measurement.window).collect();
    let windows: Vec<Window> = windows.into_iter().collect();
    let Some(&first) = windows.get(windows.len().saturating_sub(WINDOWS)) else { return Vec::new() };
    let unusual = |measurement: &&&Measurement| {
        let above = |value: f64| measurement.ordinary.is_none_or(|(_, high)| value > high);
        measurement.monitor.about_quality()
            && measurement.window >= first
            && measurement.reading.value().is_some_and(above)
    };
    let mut found: Vec<&Measurement> = latest.iter().filter(unusual).copied().collect();
    found.sort_by_key(|measurement| (std::cmp::Reverse(measurement.window), !measurement.alarming));
    found.into_iter().take(ROWS).map(row).collect()
}

fn row(measurement: &Measurement) -> QualityRow {
    // Kept on one line. What is no share is a number of windows in a row.
    let shown = |value: f64| match measurement.metric.as_str() {
        "windows_held" => format!("{value}\u{a0}windows"),
        _ => format!("{:.1}\u{a0}%", 100.0 * value),
    };
    QualityRow {
        window: measurement.window.start.strftime("%Y-%m-%d %H:%M").to_string(),
        about: match measurement.column.is_empty() {
            true => measurement.monitor.to_string(),
            false => format!("{} of {}", measurement.monitor, measurement.column),
        },
        share: measurement.reading.value().map_or(String::new(), shown),
        ordinary: measurement
            .ordinary
            .map_or(String::new(), |(_, high)| format!("up\u{a0}to\u{a0}{}", shown(high))),
        tone: if measurement.alarming { "bad" } else { "neutral" },
        words: measurement.explanation.clone(),
    }
}
