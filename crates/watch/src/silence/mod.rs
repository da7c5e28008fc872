//! Nothing comes any more: how long there has been no record of a model, and when that is no chance. Pure; time is an
//! argument.
//!
//! A window is closed by what comes after it, so a model that nobody calls any more is never measured. This looks at the
//! clock instead. The time since the last record came is measured in *records that ordinarily come in such a time*, by
//! the levels of traffic (`operation`), so that a night weighs little, and without the days of the week that ordinarily
//! have none (`Days`); and it is compared with the longest such stretch of each day so far (`Longest`). A sender that uploads once a day has made long stretches ordinary, so no other allowance
//! for lateness is needed; a model that is called irregularly has none that are short. The signal has a share of the
//! budget of `volume`.
//!
//! Only what the platform saw counts: the time in which it was not up does not, nor does the time between two looks that
//! are far apart (a machine that slept; a replay, whose clock jumps). Records of long ago, from a file, are no sign of
//! traffic. After a long absence it is not known whether anybody still calls, until a record comes.
//!
//! It is only said that nothing comes, no window is closed by it: records that come later count in full.

mod days;
mod longest;
mod signal;

use crate::operation::{Operation, Setting, moment};
use days::Days;
use jiff::Timestamp;
use longest::Longest;
use serde::{Deserialize, Serialize};
use signal::Open;
pub use signal::Said;
use std::collections::BTreeMap;
use steersman_domain::Period;
use steersman_domain::time::{from_micros, micros};
use steersman_stats::series::Season;

const DAY: Period = Period::from_days(1);
/// Shorter stretches are nothing that a person would look at, unless windows are shorter still. A signal is cleared when
/// traffic has been back for as long.
const LEAST: Period = Period::from_seconds(300);
/// Nobody looked in between if looks are farther apart.
const LOOKS: Period = Period::from_seconds(600);
/// Where more records come than this many times what levels account for, the others may come at any time: where hours mostly
/// have none at all, the level of each is zero.
const UNEXPLAINED: f64 = 1.25;
/// The state is kept whenever another sixteenth of the limit has passed, from the fourth one on.
const PARTS: (f64, u8) = (16.0, 4);

/// What traffic is like.
#[derive(Debug, Clone, Copy)]
pub struct Usual<'a> {
    /// Levels of traffic; none before the first window.
    pub operation: Option<&'a Operation>,
    /// The longest stretches of the reference, from one row to the next.
    pub reference: &'a [(Timestamp, Timestamp)],
    /// The length of a window.
    pub window: Period,
}

impl Usual<'_> {
    /// Whether levels are known.
    fn knows(self, at: Timestamp) -> bool {
        self.operation.is_some_and(|operation| operation.usual(at, at).is_some())
    }

    /// A time, as precisely as windows are long.
    fn moment(self, at: Timestamp) -> String {
        moment(at, LEAST.min(self.window).seconds())
    }
}

/// A stretch of time without a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Stretch {
    /// The records that ordinarily come in it.
    records: f64,
    micros: i64,
}

/// What is remembered of a model's silence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// When the last record came, by the platform's clock.
    last: Option<Timestamp>,
    /// The stretch since then, as far as it was counted, and up to when.
    counted: Stretch,
    until: Timestamp,
    /// Whether it is known that somebody calls.
    armed: bool,
    longest: Longest,
    days: Days,
    /// Records a day for which levels do not account.
    evenly: f64,
    open: Option<Open>,
    /// When this process looked last.
    #[serde(skip)]
    looked: Option<Timestamp>,
    #[serde(skip)]
    kept: u8,
}

/// Records that are noted together, with times in microseconds.
struct News {
    records: u64,
    /// Those among them that are from the time in which nothing came.
    late: u64,
    first: i64,
    last: i64,
    /// The longest stretch between two of them.
    longest: (i64, i64),
}

impl Silence {
    /// Takes note of records that came, each with its own time and the time at which it was taken in, in microseconds.
    ///
    /// Levels are looked up for two stretches whatever the number of records: the one that the first record ends, and the
    /// longest one after it.
    pub fn note(&mut self, records: &[(i64, i64)], usual: Usual<'_>) {
        // What is older than a window and a day when it comes is history, from a file.
        let age = usual.window.micros().saturating_add(DAY.micros());
        // The record log is read again after a start.
        let known = self.last.filter(|_| self.looked.is_none()).map_or(i64::MIN, micros);
        let open =
            self.open.as_ref().map(|open| (micros(open.since), open.back.map(|(back, _)| micros(back))));
        let mut news: Option<News> = None;
        for &(time, at) in records.iter().filter(|(time, at)| *at > known && time.saturating_add(age) >= *at)
        {
            self.count(day(at), usual);
            let news =
                news.get_or_insert(News { records: 0, late: 0, first: at, last: at, longest: (at, at) });
            news.records += 1;
            if let Some((since, back)) = open {
                let between = since..back.unwrap_or(news.first) - LEAST.micros();
                news.late += u64::from(between.contains(&time));
            }
            if news.longest.1 - news.longest.0 < at - news.last {
                news.longest = (news.last, at);
            }
            news.last = news.last.max(at);
        }
        if let Some(news) = news {
            self.hear(&news, usual);
        }
    }

    /// Takes note of so many records that came now, but were not taken in.
    pub fn refused(&mut self, records: u64, now: Timestamp, usual: Usual<'_>) {
        let now = micros(now);
        self.hear(&News { records, late: 0, first: now, last: now, longest: (now, now) }, usual);
    }

    fn hear(&mut self, news: &News, usual: Usual<'_>) {
        let (first, last) = (from_micros(news.first), from_micros(news.last));
        if let Some(open) = &mut self.open {
            let (_, since) = open.back.get_or_insert((first, 0));
            *since += news.records;
            open.late += news.late;
        }
        if let Some(before) = self.last.filter(|_| self.armed && usual.knows(first)) {
            // Why it was longer than ever is not known; it must not hide the next one.
            let most = self.open.as_ref().map_or(f64::INFINITY, |open| open.limit);
            let (from, to) = (from_micros(news.longest.0), from_micros(news.longest.1));
            if before < first && self.attended(before, first) {
                self.longest.add(day(news.first), self.stretch(first, usual).records.min(most));
            }
            if before <= from && from < to && self.attended(from, to) {
                self.longest.add(day(news.longest.1), self.between(from, to, usual).records.min(most));
            }
        }
        if self.last.is_none_or(|known| known < last) {
            (self.last, self.until, self.counted) = (Some(last), last, Stretch::default());
            (self.armed, self.kept) = (true, 0);
        }
    }

    /// Whether somebody looked all the time.
    fn attended(&self, from: Timestamp, to: Timestamp) -> bool {
        to <= LOOKS.after(self.looked.map_or(from, |looked| looked.max(from)))
    }

    /// Counts a record. With the first one of a day it is known how many the days before had.
    fn count(&mut self, today: i64, usual: Usual<'_>) {
        if !self.days.add(today) {
            return;
        }
        if let Some((first, records)) = self.days.last_week(today) {
            let begin = |day: i64| day.saturating_mul(DAY.micros());
            let (levels, days) = self.levels(begin(first), begin(today), usual);
            self.evenly = (records as f64 - UNEXPLAINED * levels).max(0.0) / days.max(1.0);
        }
    }

    /// The clock has come this far. After an absence of more than `absence` nobody knows whether the model is still called.
    pub fn look(&mut self, now: Timestamp, absence: Period, usual: Usual<'_>) {
        let seen = match self.looked.replace(now) {
            None => self.until,
            Some(before) if LOOKS.after(before) < now => {
                self.advance(before, usual);
                before
            }
            Some(_) => now,
        };
        if seen < now {
            self.armed &= now <= absence.after(seen);
            self.until = self.until.max(now);
        } else if LOOKS.after(self.until) < now {
            self.advance(now, usual);
        }
        self.look_at_return(now, usual);
        self.longest.follow(usual.operation.map_or(Season::None, Operation::season), self.days.idle());
        if self.longest.wants_reference() && usual.knows(now) {
            self.learn(usual);
        }
    }

    /// What the times of the reference say of each of its days.
    fn learn(&mut self, usual: Usual<'_>) {
        let mut days: BTreeMap<i64, f64> = BTreeMap::new();
        for (from, to) in usual.reference {
            let longest = days.entry(day(micros(*to))).or_default();
            *longest = longest.max(self.between(*from, *to, usual).records);
        }
        self.longest.learn(days.into_values().collect());
    }

    /// Whether the state is worth keeping: so that a restart loses little of a long stretch, and is not kept every second.
    pub fn worth_keeping(&mut self, now: Timestamp, setting: &Setting, usual: Usual<'_>) -> bool {
        let limit = self.longest.limit(setting.stops_a_day()).filter(|_| self.armed && self.open.is_none());
        let Some(limit) = limit else { return false };
        let part = (PARTS.0 * self.stretch(now, usual).records / limit).min(PARTS.0) as u8;
        let worth = part >= PARTS.1 && part > self.kept;
        if worth {
            self.advance(now, usual);
            self.kept = part;
        }
        worth
    }

    /// Whether a signal is open.
    pub fn is_certain(&self) -> bool {
        self.open.is_some()
    }

    fn advance(&mut self, to: Timestamp, usual: Usual<'_>) {
        if self.until < to {
            (self.counted, self.until) = (self.stretch(to, usual), to);
        }
    }

    /// The stretch from the last record to a time.
    fn stretch(&self, to: Timestamp, usual: Usual<'_>) -> Stretch {
        let (more, sign) = match self.until <= to {
            true => (self.between(self.until, to, usual), 1.0),
            false => (self.between(to, self.until, usual), -1.0),
        };
        Stretch {
            records: (self.counted.records + sign * more.records).max(0.0),
            micros: self.counted.micros + micros(to) - micros(self.until),
        }
    }

    fn between(&self, from: Timestamp, to: Timestamp, usual: Usual<'_>) -> Stretch {
        let (from, to) = (micros(from), micros(to));
        let (levels, days) = self.levels(from, to, usual);
        Stretch { records: levels + self.evenly * days, micros: to - from }
    }

    /// The records for which levels account, and the length in days, both without idle days.
    fn levels(&self, from: i64, to: i64, usual: Usual<'_>) -> (f64, f64) {
        self.days.busy(from, to).into_iter().fold((0.0, 0.0), |(records, days), (from, to)| {
            let levels = usual.operation.and_then(|known| known.usual(from_micros(from), from_micros(to)));
            (records + levels.unwrap_or(0.0), days + (to - from) as f64 / DAY.micros() as f64)
        })
    }
}

/// The number of a day.
fn day(at: i64) -> i64 {
    at.div_euclid(DAY.micros())
}
