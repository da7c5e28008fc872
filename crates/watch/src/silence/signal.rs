//! The signal that nothing comes any more: when it is raised, when it is over, and in what words.

use super::{DAY, LEAST, Silence, Usual};
use crate::measure::finding;
use crate::operation::{Setting, moment, number};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use steersman_domain::measurement::Reading;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Fact, Measurement, ModelName, MonitorKind, SignalId, Window};

/// Fewer records that did not come are no matter.
const LEAST_RECORDS: f64 = 2.0;
/// Traffic is back when this share of what is usual comes.
const BACK: f64 = 0.25;

/// A signal that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) signal: SignalId,
    /// When the last record had come.
    pub(super) since: Timestamp,
    /// The longest stretch that was possible by chance.
    pub(super) limit: f64,
    /// When the first record came, and how many came since.
    pub(super) back: Option<(Timestamp, u64)>,
    /// Those among them that are from the time in which nothing came.
    pub(super) late: u64,
}

/// What is to be said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Nothing has come for longer than chance would have it.
    Stopped(Box<Measurement>, Fact),
    /// Traffic is back.
    Back(Fact),
}

impl Silence {
    /// Says that nothing comes any more, or that traffic is back, once. So many `records` of the window that is under way
    /// have come.
    pub fn say(
        &mut self,
        model: &ModelName,
        now: Timestamp,
        setting: &Setting,
        usual: Usual<'_>,
        records: u64,
    ) -> Option<Said> {
        match &self.open {
            Some(_) => self.end(model, now, usual),
            None => self.begin(model, now, setting, usual, records),
        }
    }

    /// What was said is on disk; meanwhile more may have come.
    pub(crate) fn said(&mut self, said: Self) {
        if self.open.is_some() != said.open.is_some() {
            self.open = said.open;
        }
    }

    fn begin(
        &mut self,
        model: &ModelName,
        now: Timestamp,
        setting: &Setting,
        usual: Usual<'_>,
        records: u64,
    ) -> Option<Said> {
        let since = self.last.filter(|_| self.armed)?;
        let a_day = setting.stops_a_day();
        let (limit, ordinary) = (self.longest.limit(a_day)?, self.longest.ordinary()?);
        let silent = self.stretch(now, usual);
        let long = silent.micros >= LEAST.min(usual.window).micros();
        if !long || silent.records <= limit || silent.records < LEAST_RECORDS {
            return None;
        }
        let window = Window::holding(now, usual.window);
        let reading = Reading::of(records as f64);
        let mut found = finding(MonitorKind::Volume, "", "records", window, records, reading);
        let seconds = (micros(now) - micros(since)) as f64 / 1e6;
        let pause = self.pause(since, now, ordinary, usual);
        let in_window = a_day.ln() + (usual.window.seconds() as f64 / DAY.seconds() as f64).ln();
        let chance = self.longest.times_a_day(silent.records).map_or(0.0, |times| a_day.ln() - times.ln());
        found.measurement.details.extend([
            ("seconds_without_records".to_owned(), seconds),
            ("expected".to_owned(), silent.records),
            ("ordinary_seconds_at_most".to_owned(), pause),
            ("evidence".to_owned(), chance - in_window),
            ("conclusive".to_owned(), -in_window),
        ]);
        found.measurement.alarming = true;
        found.measurement.explanation = format!(
            "no record since {}: {}, in which about {} ordinarily come; the longest pause so far would have been {} at \
             this time; nobody calls the model, or what tells of the calls is broken",
            usual.moment(since),
            lasting(seconds),
            number(silent.records.round()),
            lasting(pause)
        );
        let signal = SignalId::derive(&[model.as_str(), "silence", &since.to_string()]);
        self.open = Some(Open { signal: signal.clone(), since, limit, back: None, late: 0 });
        let fact = Fact::SignalRaised {
            model: model.clone(),
            signal,
            explanation: found.measurement.explanation.clone(),
            measurement: Box::new(found.measurement.clone()),
        };
        Some(Said::Stopped(Box::new(found.measurement), fact))
    }

    /// How many seconds from `since` on it takes until so many records ordinarily come.
    fn pause(&self, since: Timestamp, now: Timestamp, records: f64, usual: Usual<'_>) -> f64 {
        let (begin, mut low, mut high) = (micros(since), 0, micros(now) - micros(since));
        while high - low > 1_000_000 {
            let middle = low + (high - low) / 2;
            match self.between(since, from_micros(begin + middle), usual).records < records {
                true => low = middle,
                false => high = middle,
            }
        }
        high as f64 / 1e6
    }

    /// Records that came, but too few in a time in which none would be no chance, are no traffic: the next one counts anew.
    pub(super) fn look_at_return(&mut self, now: Timestamp, usual: Usual<'_>) {
        let Some((limit, (back, records))) =
            self.open.as_ref().and_then(|open| Some((open.limit, open.back?)))
        else {
            return;
        };
        let expected = self.between(back, now, usual).records;
        if expected > limit && (records as f64) < BACK * expected {
            self.open.iter_mut().for_each(|open| open.back = None);
        }
    }

    fn end(&mut self, model: &ModelName, now: Timestamp, usual: Usual<'_>) -> Option<Said> {
        let open = self.open.as_ref()?;
        let (back, records) = open.back?;
        let enough = records as f64 >= BACK * self.between(back, now, usual).records;
        if !enough || now < LEAST.min(usual.window).after(back) {
            return None;
        }
        let open = self.open.take()?;
        let late = match open.late {
            0 => "no record of the time between has come".to_owned(),
            1 => "1 record of the time between came late".to_owned(),
            late => format!("{} records of the time between came late", number(late as f64)),
        };
        let seconds = (micros(back) - micros(open.since)) as f64 / 1e6;
        Some(Said::Back(Fact::SignalCleared {
            model: model.clone(),
            signal: open.signal,
            window: Window::holding(now, usual.window),
            explanation: format!(
                "traffic is back since {}, after {} without a record; {late}",
                usual.moment(back),
                lasting(seconds)
            ),
        }))
    }

    /// The measurement of a window that is over and in which nothing came.
    pub(crate) fn measurement(&self, window: Window, last: Timestamp) -> Measurement {
        let Some(open) = &self.open else { return unknown(window, last) };
        let mut found = finding(MonitorKind::Volume, "", "records", window, 0, Reading::of(0.0));
        found.measurement.alarming = true;
        found.measurement.explanation = format!("no record since {}", moment(open.since, 60));
        found.measurement
    }
}

/// A length of time in the two largest units.
fn lasting(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as i64;
    match minutes {
        0 => format!("{seconds:.0} s"),
        1..60 => format!("{minutes} min"),
        60..1_440 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    }
}

/// The measurement of a window from which nothing has come so far, while that may be chance.
fn unknown(window: Window, since: Timestamp) -> Measurement {
    let reason = format!("no data since {}", moment(since, 60));
    let explanation = format!("{reason}: that there was no traffic is not known");
    let mut found = finding(MonitorKind::Volume, "", "records", window, 0, Reading::NotComputable { reason });
    found.measurement.explanation = explanation;
    found.measurement
}
