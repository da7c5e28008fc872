//! When the rows of a reference came.

use super::steps::Steps;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::time::micros;
use steersman_domain::{Period, Window};

/// The last steps of a reference are enough.
const LAST_STEPS: i64 = 5_000;
/// Rows in no more of a window's steps, whatever window, are dates without a time of day.
const LEAST_SHARE_OF_STEPS: f64 = 0.25;
/// Days of which the longest stretches without a row are remembered.
const LAST_DAYS: i64 = 60;

/// When the rows of the reference came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrivals {
    /// Rows in each step; only steps that have some.
    counts: BTreeMap<i64, u64>,
    /// The longest stretch without a row that ended in each hour of the last days.
    stretches: Vec<(Timestamp, Timestamp)>,
}

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
        let mut arrivals = Self { counts, stretches: Vec::new() };
        if arrivals.have_times_of_day(steps) {
            arrivals.stretches = stretches(times);
        }
        arrivals
    }

    /// The longest stretches without a row; none of a reference that does not say at what time of day its rows came.
    pub fn stretches(&self) -> &[(Timestamp, Timestamp)] {
        &self.stretches
    }

    fn have_times_of_day(&self, steps: Steps) -> bool {
        let places: BTreeSet<i64> =
            self.counts.keys().map(|number| number.rem_euclid(steps.count() as i64)).collect();
        places.len() as f64 > LEAST_SHARE_OF_STEPS * steps.count() as f64
    }

    /// The windows with rows that lie before a time, with the rows in each of their steps up to the last that has any.
    /// None of a reference that does not say at what time of day its rows came.
    pub(super) fn windows(&self, steps: Steps, before: Timestamp) -> Vec<(Window, Vec<u64>)> {
        let count = steps.count() as i64;
        let before = steps.number(before);
        if !self.have_times_of_day(steps) {
            return Vec::new();
        }
        let mut windows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (number, rows) in self.counts.range(..before) {
            let window = windows.entry(number.div_euclid(count)).or_default();
            let place = number.rem_euclid(count) as usize;
            window.resize(place + 1, 0);
            window.get_mut(place).into_iter().for_each(|step| *step = *rows);
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

/// The longest stretch that ended in each hour of the last days.
fn stretches(times: &[Option<Timestamp>]) -> Vec<(Timestamp, Timestamp)> {
    let Some(from) = times.iter().flatten().max().map(|last| Period::from_days(LAST_DAYS).before(*last))
    else {
        return Vec::new();
    };
    let mut times: Vec<Timestamp> = times.iter().flatten().copied().filter(|at| *at >= from).collect();
    times.sort_unstable();
    let mut longest: BTreeMap<i64, (Timestamp, Timestamp)> = BTreeMap::new();
    for pair in times.windows(2) {
        let [from, to] = *pair else { continue };
        let known = longest.entry(to.as_second().div_euclid(3_600)).or_insert((from, to));
        if micros(known.1) - micros(known.0) < micros(to) - micros(from) {
            *known = (from, to);
        }
    }
    longest.into_values().collect()
}
