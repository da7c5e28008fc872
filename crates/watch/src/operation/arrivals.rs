//! When the rows of a reference came.

use super::steps::Steps;
use jiff::Timestamp;
use std::collections::BTreeMap;
use steersman_domain::Window;

/// The last steps of a reference are enough.
const LAST_STEPS: i64 = 5_000;
/// Rows in fewer of a window's steps, whatever window, are dates without a time of day.
const LEAST_SHARE_OF_STEPS: f64 = 0.25;

/// Rows in each step of the reference; only steps that have some.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrivals(BTreeMap<i64, u64>);

impl Arrivals {
    /// Counts the rows that have a time.
    pub fn of(times: &[Option<Timestamp>], steps: Steps) -> Self {
        let mut counts = BTreeMap::new();
        for time in times.iter().flatten() {
            *counts.entry(steps.number(*time)).or_default() += 1;
        }
        if let Some((&last, _)) = counts.last_key_value() {
            counts = counts.split_off(&(last - LAST_STEPS));
        }
        Self(counts)
    }

    /// The windows with rows that lie before a time, with the rows in each of their steps up to the last that has any.
    /// None of a reference that does not say at what time of day its rows came.
    pub(super) fn windows(&self, steps: Steps, before: Timestamp) -> Vec<(Window, Vec<u64>)> {
        let count = steps.count() as i64;
        let before = steps.number(before);
        let mut windows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        let mut places = vec![false; steps.count()];
        for (number, rows) in self.0.range(..before) {
            let window = windows.entry(number.div_euclid(count)).or_default();
            let place = number.rem_euclid(count) as usize;
            window.resize(place + 1, 0);
            if let (Some(step), Some(place)) = (window.get_mut(place), places.get_mut(place)) {
                *step = *rows;
                *place = true;
            }
        }
        let filled = places.iter().filter(|filled| **filled).count() as f64;
        if filled < LEAST_SHARE_OF_STEPS * count as f64 {
            return Vec::new();
        }
        let last = windows.keys().next_back().copied();
        let of = |(number, mut counts): (i64, Vec<u64>)| {
            if Some(number) != last {
                counts.resize(steps.count(), 0);
            }
            let (start, end) = (steps.start(number * count), steps.start((number + 1) * count));
            (Window { start, end }, counts)
        };
        windows.into_iter().map(of).collect()
    }
}
