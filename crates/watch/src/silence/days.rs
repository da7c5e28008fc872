//! Which days had records, and which days of the week ordinarily have none.

use super::DAY;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

const WEEK: i64 = 7;
/// A day of the week is idle after so many weeks without a record on it.
const WEEKS: i64 = 3;
/// A pattern of days is believed in spite of so many other days without a record in these weeks: a holiday.
const EXCEPTIONS: i64 = 1;

/// The last days that had records.
///
/// A window without a record is unknown, not zero, so levels of traffic never learn that nobody works at weekends: they
/// expect an ordinary day. Such days weigh nothing here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Days {
    /// The last days that had any records, the last of which is under way.
    records: VecDeque<(i64, u64)>,
    /// Days of the week, counted from that of the epoch.
    idle: BTreeSet<i64>,
}

impl Days {
    /// Counts a record; whether it is the first one of its day, by which the days before are known.
    pub(super) fn add(&mut self, today: i64) -> bool {
        match self.records.back_mut() {
            Some((day, records)) if *day >= today => {
                *records += 1;
                false
            }
            _ => {
                self.records.retain(|(day, _)| today - WEEK * (WEEKS + 1) <= *day);
                self.records.push_back((today, 1));
                self.look_back(today);
                true
            }
        }
    }

    /// The first day with records within a week before today, and how many came since then and before today.
    pub(super) fn last_week(&self, today: i64) -> Option<(i64, u64)> {
        let last = || self.records.iter().filter(|(day, _)| (today - WEEK..today).contains(day));
        last().next().map(|(first, _)| (*first, last().map(|(_, records)| records).sum()))
    }

    /// Days of the week that ordinarily have no record.
    pub(super) fn idle(&self) -> &BTreeSet<i64> {
        &self.idle
    }

    /// The parts of a time that are not on idle days, in microseconds.
    pub(super) fn busy(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        if self.idle.is_empty() {
            return vec![(from, to)];
        }
        let length = DAY.micros();
        let busy = |day: &i64| !self.idle.contains(&day.rem_euclid(WEEK));
        let part = |day: i64| (from.max(day * length), to.min((day + 1) * length));
        (from.div_euclid(length)..=to.div_euclid(length)).filter(busy).map(part).collect()
    }

    /// Which days of the week were without a record in all the last weeks, if that is nearly all there is to say of days
    /// without one: days that are missing now and then have no pattern, and then the one from before stays.
    fn look_back(&mut self, today: i64) {
        let first = today - WEEK * WEEKS;
        if self.records.front().is_none_or(|(day, _)| *day > first) {
            return;
        }
        let days: Vec<i64> =
            self.records.iter().map(|(day, _)| *day).filter(|day| (first..today).contains(day)).collect();
        let busy: BTreeSet<i64> = days.iter().map(|day| day.rem_euclid(WEEK)).collect();
        let missing = busy.len() as i64 * WEEKS - days.len() as i64;
        if !busy.is_empty() && missing <= EXCEPTIONS {
            self.idle = (0..WEEK).filter(|day| !busy.contains(day)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_idle_after_three_of_them_and_days_missing_now_and_then_are_not() {
        let mut days = Days::default();
        for day in (0..22).filter(|day| day % WEEK < 5) {
            assert!(days.add(day) && !days.add(day));
            assert_eq!(days.idle().is_empty(), day < 21, "{day}");
        }
        assert_eq!(days.idle(), &BTreeSet::from([5, 6]));
        assert_eq!(days.last_week(21), Some((14, 10)));
        // From Friday noon to Monday noon.
        let length = DAY.micros();
        let noon = length / 2;
        let parts = days.busy(4 * length + noon, 7 * length + noon);
        assert_eq!(parts, [(4 * length + noon, 5 * length), (7 * length, 7 * length + noon)]);
        // A holiday and a Saturday change nothing, Saturdays do.
        for day in (22..29).filter(|day| ![24, 27].contains(day)) {
            days.add(day);
        }
        assert_eq!(days.idle(), &BTreeSet::from([5, 6]));
        (29..60).filter(|day| day % WEEK < 6).for_each(|day| _ = days.add(day));
        assert_eq!(days.idle(), &BTreeSet::from([6]));
        let mut days = Days::default();
        (0..200).filter(|day| day % 3 > 0 && day % 5 > 0).for_each(|day| _ = days.add(day));
        assert!(days.idle().is_empty());
    }
}
