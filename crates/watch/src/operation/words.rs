//! What is found, in plain words.

use super::series::{End, Kind, Strange};
use super::steps::{Load, Steps};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use steersman_domain::{MonitorKind, Window};

/// `1,204`; small numbers with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        let digits = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.digits$}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

/// A time of day, with the seconds where steps are short.
fn clock(at: Timestamp, seconds: i64) -> String {
    let format = if seconds < 60 { "%H:%M:%S" } else { "%H:%M" };
    at.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// A date and a time of day.
pub(crate) fn moment(at: Timestamp, seconds: i64) -> String {
    format!("{} {}", at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d"), clock(at, seconds))
}

/// The window as a whole.
pub(super) fn whole(monitor: MonitorKind, load: &Load, ordinary: &Option<(f64, f64)>) -> String {
    let whole = &load.whole;
    match monitor {
        MonitorKind::Errors => {
            format!("{} of {} calls failed", number(whole.failed as f64), number(whole.calls as f64))
        }
        MonitorKind::Latency => match (whole.p50_ms, whole.p99_ms) {
            (Some(half), Some(most)) => format!(
                "half of the calls took less than {} ms, 99 of 100 less than {} ms{}",
                number(half),
                number(most),
                usually(ordinary, number)
            ),
            _ => String::new(),
        },
        MonitorKind::Cost => match whole.cost {
            Some(cost) => format!("a record costs {} in the mean{}", number(cost), usually(ordinary, number)),
            None => String::new(),
        },
        _ => {
            let records = number(whole.records as f64);
            format!("{records} records{}", usually(ordinary, |value| number(value.round())))
        }
    }
}

fn usually(ordinary: &Option<(f64, f64)>, number: impl Fn(f64) -> String) -> String {
    let Some((low, high)) = ordinary else { return String::new() };
    let (low, high) = (number(*low), number(*high));
    if low == high {
        format!(" where {low} is ordinary")
    } else {
        format!(" where {low} to {high} are ordinary")
    }
}

/// The step that is farthest from what is usual.
pub(super) fn strange(kind: Kind, strange: Strange, window: Window, steps: Steps) -> String {
    let span = i64::try_from(strange.step).unwrap_or(0);
    let from = steps.start(steps.number(window.start) + span);
    let to = steps.start(steps.number(window.start) + span + 1);
    let within_a_day = window.end.as_second() - window.start.as_second() <= 86_400;
    let when = match within_a_day {
        true => format!("between {} and {}", clock(from, steps.seconds()), clock(to, steps.seconds())),
        false => format!("between {} and {}", moment(from, steps.seconds()), moment(to, steps.seconds())),
    };
    let (value, ordinary) = match kind {
        Kind::Traffic => (
            format!("{} records", number(strange.value)),
            usually(&strange.ordinary, |value| number(value.round())),
        ),
        Kind::Failures => {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            (format!("{} of the calls failed", percent(strange.value)), usually(&strange.ordinary, percent))
        }
        Kind::Median => {
            (format!("a median of {} ms", number(strange.value)), usually(&strange.ordinary, number))
        }
        Kind::Tail => {
            (format!("a 99th percentile of {} ms", number(strange.value)), usually(&strange.ordinary, number))
        }
        Kind::Cost => {
            (format!("a mean cost of {}", number(strange.value)), usually(&strange.ordinary, number))
        }
    };
    format!("; {value} {when}{ordinary}{}", times(kind, strange.value, strange.usual))
}

/// How many times as much it is.
fn times(kind: Kind, value: f64, usual: f64) -> String {
    let ratio = value / usual;
    let (much, less) = if kind == Kind::Traffic { ("many", "fewer") } else { ("much", "less") };
    match ratio {
        // Beside next to nothing, times say nothing.
        ratio if ratio.is_nan() || ratio >= 1_000.0 => String::new(),
        ratio if ratio <= 0.0 => ": none at all".to_owned(),
        ratio if (1.8..2.2).contains(&ratio) => format!(": about twice as {much}"),
        ratio if (0.45..0.55).contains(&ratio) => format!(": about half as {much}"),
        ratio if ratio >= 2.2 => format!(": about {} times as {much}", number((10.0 * ratio).round() / 10.0)),
        ratio if ratio > 1.0 => format!(": {:.0} % more", 100.0 * (ratio - 1.0)),
        ratio => format!(": {:.0} % {less}", 100.0 * (1.0 - ratio)),
    }
}

/// A stretch without data.
pub(super) fn no_data(from: Timestamp, to: Timestamp, steps: Steps) -> String {
    let (from, to) = (moment(from, steps.seconds()), moment(to, steps.seconds()));
    format!("; no data from {from} to {to}: that is unknown, not zero")
}

/// How much is still to be learnt.
pub(super) fn learning(values: usize, steps: Steps) -> String {
    let unit = match steps.seconds() {
        3_600 => "hours".to_owned(),
        86_400 => "days".to_owned(),
        60 => "minutes".to_owned(),
        seconds => format!("steps of {}", steersman_domain::Period::from_seconds(seconds)),
    };
    format!("; still learning what is ordinary, for {values} more {unit} with calls")
}

/// Why a signal is cleared.
pub(super) fn ended(end: Option<End>) -> String {
    match end {
        Some(End::NewNormal) => {
            "the change has lasted so long that it is the new normal: what is ordinary is learnt from it now"
                .to_owned()
        }
        Some(End::Over) | None => "it is as it ordinarily is again".to_owned(),
    }
}
