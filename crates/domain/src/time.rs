//! Periods such as `7d`, event-time windows, and the microseconds that tables store.

use crate::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A length of time a person writes as `30s`, `15m`, `3h`, `7d` or `2w`; whole seconds, at least one.
///
/// ```
/// use steersman_domain::Period;
/// assert_eq!("90m".parse::<Period>().unwrap().seconds(), 5400);
/// assert_eq!("90m".parse::<Period>().unwrap().to_string(), "90m");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(i64);

const UNITS: [(&str, i64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl Period {
    /// A period of this many seconds; at least one second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(if seconds < 1 { 1 } else { seconds })
    }

    /// A period of this many days.
    pub const fn from_days(days: i64) -> Self {
        Self::from_seconds(days * 86_400)
    }

    /// Length in seconds.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// Length in microseconds, as tables store times.
    pub const fn micros(self) -> i64 {
        self.0 * 1_000_000
    }

    /// As a standard duration.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.unsigned_abs())
    }

    /// `at` plus this period, saturating at the end of time.
    pub fn after(self, at: Timestamp) -> Timestamp {
        from_micros(micros(at).saturating_add(self.micros()))
    }

    /// `at` minus this period, saturating at the beginning of time.
    pub fn before(self, at: Timestamp) -> Timestamp {
        from_micros(micros(at).saturating_sub(self.micros()))
    }
}

impl FromStr for Period {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, seconds)| *seconds);
        let seconds =
            digits.parse::<i64>().ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
        match seconds {
            Some(seconds) if (1..=366 * 100 * 86_400).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(Problem::invalid(format!("`{text}` is not a period"))
                .hint("write a whole number and a unit: `30s`, `15m`, `3h`, `7d` or `2w`")),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().filter(|(name, _)| *name != "w").find(|(_, seconds)| self.0 % seconds == 0);
        let (name, seconds) = unit.copied().unwrap_or(("s", 1));
        // 90 minutes stays `90m`; 3600 seconds becomes `1h`.
        write!(f, "{}{name}", self.0 / seconds)
    }
}

/// A half-open interval `[start, end)` of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl Window {
    /// The window of length `period`, aligned to the Unix epoch, that holds `at`.
    pub fn holding(at: Timestamp, period: Period) -> Self {
        let start = micros(at).div_euclid(period.micros()) * period.micros();
        Self { start: from_micros(start), end: from_micros(start + period.micros()) }
    }

    /// Whether `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// The next window of the same length.
    pub fn next(&self) -> Self {
        let length = micros(self.end) - micros(self.start);
        Self { start: self.end, end: from_micros(micros(self.end) + length) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}

/// Microseconds since the Unix epoch.
pub fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant `micros` after the Unix epoch; values outside jiff's range are clamped to it.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Reads an RFC 3339 time; a time without an offset is taken as UTC, as data files often have it.
///
/// ```
/// use steersman_domain::time::parse_time;
/// assert_eq!(parse_time("2013-01-01T06:00:00").unwrap(), parse_time("2013-01-01T07:00:00+01:00").unwrap());
/// assert_eq!(parse_time("2013-01-01 06:00").unwrap(), parse_time("2013-01-01T06:00:00Z").unwrap());
/// ```
pub fn parse_time(text: &str) -> Result<Timestamp, Problem> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    text.parse::<jiff::civil::DateTime>()
        .ok()
        .and_then(|civil| jiff::tz::Offset::UTC.to_timestamp(civil).ok())
        .ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Problem::invalid(format!("`{shown}` is not a time")).hint("write it as 2026-01-31T12:00:00Z")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_period_reads_back_what_it_prints(seconds in 1i64..4_000_000) {
            let period = Period::from_seconds(seconds);
            prop_assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }

        #[test]
        fn the_window_of_an_instant_holds_it(at in -1_000_000_000_000_000i64..4_000_000_000_000_000, minutes in 1i64..10_000) {
            let at = from_micros(at);
            let window = Window::holding(at, Period::from_seconds(minutes * 60));
            prop_assert!(window.contains(at));
            prop_assert!(!window.next().contains(at));
        }
    }

    #[test]
    fn nonsense_periods_are_refused() {
        for bad in ["", "d", "7", "-1d", "1.5h", "7 days", "0s", "99999999w"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
