//! What did not get into a window: counts by window, and what they say.
//!
//! A record that does not fit the schema is refused, and one whose id is there already changes nothing. Whoever sent it is
//! told, but perhaps nobody reads that, and a monitor that does not see what was refused shows green. So refusals are counted
//! in the window in which the record says that it belongs; when a window closes, the share of each fault among all that was
//! sent is tested against the share that is accepted (`P(B >= hits)`, `B` binomial). Counts are kept in the store, so that a
//! restart changes nothing but what came in since the last turn.

use super::weigh;
use crate::measure::{Finding, LEAST_ROWS, finding};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::measurement::Reading;
use steersman_domain::spec::{Portion, QualitySection};
use steersman_domain::{MonitorKind, Period, Schema, Window};
use steersman_stats::calibration::AspectEvidence;
use steersman_stats::interval::wilson;
use steersman_stats::quality::exceeds;

/// Counts of so many windows are kept, the latest.
const WINDOWS: usize = 64;
/// So many unknown columns are told apart.
const NAMED: usize = 20;
/// So many are named in a finding.
const SHOWN: usize = 3;
/// What was wrong with a record that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This column had a value of a wrong type.
    Type(String),
    /// The model does not have this column.
    Unknown(String),
    /// It was no record: no id, no time, a key that no record has.
    Form,
}

impl Fault {
    /// What a problem with this field of a record was about.
    pub fn of(field: Option<&str>, schema: &Schema) -> Self {
        let field = field.unwrap_or_default();
        match field.strip_prefix("features.") {
            Some(name) if schema.feature(name).is_some() => Self::Type(name.to_owned()),
            Some(name) => Self::Unknown(name.to_owned()),
            None if field == schema.prediction.name => Self::Type(field.to_owned()),
            None => Self::Form,
        }
    }
}

/// Rows or values that were not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// The time they were of, if they said so.
    pub at: Option<Timestamp>,
    /// What was wrong with them.
    pub fault: Fault,
    /// How many.
    pub rows: u64,
}

/// What did not get into one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// Records whose id was there already.
    resent: u64,
    /// Records refused for a value of this column.
    types: BTreeMap<String, u64>,
    /// Values of this column, which the model does not have; their records were taken in without them.
    unknown: BTreeMap<String, u64>,
    /// Records refused for their form.
    unreadable: u64,
}

/// What did not get into the windows of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Intake {
    windows: Vec<(Window, Tally)>,
    /// The latest time of a refused record, and when it came.
    pub(crate) last: Option<(Timestamp, Timestamp)>,
}

impl Intake {
    /// Takes note of what was refused and of the times of what was sent again. What says no time is of the time of the
    /// `latest` record: it must not close windows that are still being filled.
    pub(crate) fn note(
        &mut self,
        window: Period,
        refused: &[NotTaken],
        resent: &[Timestamp],
        latest: Option<Timestamp>,
        now: Timestamp,
    ) {
        for refusal in refused {
            let at = refusal.at.map_or(latest.unwrap_or(now), |at| at.min(now));
            self.tally(Window::holding(at, window)).add(&refusal.fault, refusal.rows);
            self.last = Some((self.last.map_or(at, |(last, _)| last.max(at)), now));
        }
        resent.iter().for_each(|at| self.tally(Window::holding(*at, window)).resent += 1);
        let surplus = self.windows.len().saturating_sub(WINDOWS);
        self.windows.drain(..surplus);
    }

    fn tally(&mut self, window: Window) -> &mut Tally {
        let place = match self.windows.binary_search_by(|(own, _)| own.cmp(&window)) {
            Ok(place) => place,
            Err(place) => {
                self.windows.insert(place, (window, Tally::default()));
                place
            }
        };
        &mut self.windows[place].1
    }

    /// What did not get into this window.
    pub(crate) fn of(&self, window: Window) -> Tally {
        let found = self.windows.iter().find(|(own, _)| *own == window);
        found.map(|(_, tally)| tally.clone()).unwrap_or_default()
    }

    /// Windows that are worth closing for what was refused, though nothing got in.
    pub(crate) fn worth_closing(&self) -> impl Iterator<Item = Window> {
        self.windows.iter().filter(|(_, tally)| tally.refused() >= LEAST_ROWS).map(|(window, _)| *window)
    }
}

impl Tally {
    fn add(&mut self, fault: &Fault, rows: u64) {
        match fault {
            Fault::Type(column) => *self.types.entry(column.clone()).or_default() += rows,
            Fault::Unknown(column) => {
                // A sender that makes names up must not fill the memory.
                let room = self.unknown.len() < NAMED || self.unknown.contains_key(column);
                let name = if room { column.as_str() } else { "others" };
                *self.unknown.entry(name.to_owned()).or_default() += rows;
            }
            Fault::Form => self.unreadable += rows,
        }
    }

    fn refused(&self) -> u64 {
        self.unreadable + self.types.values().sum::<u64>()
    }

    /// What the counts say, beside so many records that got in.
    pub(crate) fn findings(&self, rules: &QualitySection, accepted: u64, window: Window) -> Vec<Finding> {
        let (sent, refused) = (accepted + self.refused(), rules.refused);
        let share = |monitor, column: &str, metric: &str, hits, count, limit: Portion, words: String| {
            tested(
                finding(monitor, column, metric, window, count, Reading::of(0.0)),
                hits,
                count,
                limit,
                words,
            )
        };
        let mut found = Vec::new();
        for (column, &hits) in
            self.types.iter().filter(|(column, _)| rules.watches(column, MonitorKind::Types))
        {
            let words =
                format!("of {sent} records were refused because `{column}` had a value of a wrong type");
            found.extend(share(MonitorKind::Types, column, "refused_share", hits, sent, refused, words));
        }
        let words = format!(
            "of {sent} records were refused because they could not be read: no id, no time, or no record"
        );
        found.extend(share(MonitorKind::Types, "", "refused_share", self.unreadable, sent, refused, words));
        let names: Vec<&str> = self.unknown.keys().map(String::as_str).take(SHOWN).collect();
        let more = if self.unknown.len() > SHOWN { " and others" } else { "" };
        let words = format!(
            "of {sent} records have columns that the model does not have, and were taken in without them: `{}`{more}",
            names.join("`, `")
        );
        // A record may have several of them.
        let unknown = self.unknown.values().max().copied().unwrap_or(0).min(sent);
        found.extend(share(MonitorKind::Schema, "", "unknown_share", unknown, sent, refused, words));
        let all = accepted + self.resent;
        let words = format!(
            "of {all} records came under an id that was there already and were left out: sent again, or ids that are not unique"
        );
        found.extend(share(
            MonitorKind::Duplicates,
            "",
            "duplicate_share",
            self.resent,
            all,
            rules.duplicates,
            words,
        ));
        found
    }
}

/// A finding about `hits` of `count` rows; none without hits.
fn tested(mut found: Finding, hits: u64, count: u64, limit: Portion, words: String) -> Option<Finding> {
    let share = wilson(hits, count).ok().filter(|_| hits > 0)?;
    found.measurement.reading = Reading::between(share.value, Some(share.low), Some(share.high));
    found.measurement.ordinary = Some((0.0, limit.share()));
    let percent = 100.0 * share.value;
    let accepted = limit.to_string().replace('%', " %");
    found.measurement.explanation = format!("{percent:.1} % {words}; up to {accepted} are accepted");
    let p_value = exceeds(hits, count, limit.share()).ok()?;
    if count >= LEAST_ROWS {
        weigh(&mut found, AspectEvidence::of_window(p_value, share.value > limit.share()));
    }
    Some(found)
}
