//! What a round says of windows whose labels have come.

use super::round::Round;
use crate::expected::Expected;
use crate::maturity::Maturity;
use crate::measure::{Finding, LossLimit, correct, performance, tolerance};
use crate::reference::ReferenceProfile;
use crate::segments;
use std::sync::Arc;
use steersman_domain::{ModelSpec, Problem, Schema, Task, Window};
use steersman_ledger::state::ModelState;
use steersman_records::{Arms, RecordLog, Scan, Table};

/// Estimates are learnt from at least so many past windows, then from further ones until there are enough rows.
const PAST_WINDOWS: std::ops::RangeInclusive<usize> = 7..=28;
const PAST_ROWS: u64 = 5_000;
/// With this share of the labels a window counts as labelled.
const LABELLED: f64 = 0.95;

/// A window whose labels are not final is looked at again after a window's length, and taken as it is after so many times
/// the expected delay.
const LONGEST_WAIT: i64 = 10;

impl Round {
    pub(super) fn measure_performance(&mut self, log: &RecordLog) -> Result<(), Problem> {
        let limit = loss_limit(&self.model, &self.reference);
        for window in std::mem::take(&mut self.label) {
            let table = self.table(log, window)?;
            let mut finding = performance(&self.model.spec, window, &table, limit);
            let before = self.done.labelled.get(&window).copied();
            if before.is_some_and(|(labels, _)| labels == finding.measurement.rows) {
                continue;
            }
            if before.is_none() && !self.labels_are_final(log, window, &mut finding)? {
                self.done.waiting.insert(window, self.model.spec.watch.window.after(self.now));
                continue;
            }
            self.done.waiting.remove(&window);
            let revision = before.map_or(0, |(_, revision)| revision + 1);
            finding.measurement.revision = revision;
            let partly = finding.measurement.maturity.is_some_and(|share| share < LABELLED);
            if let Some(schema) = self.model.reference.as_ref().map(|reference| reference.schema.clone())
                && partly
                && self.reigned(window)
                && let history = self.labelled(log, window)?
                && let Ok(expected) = expected(&self.model.spec, &schema, history.as_ref())
            {
                correct(&mut finding, &self.model.spec, &schema, &table, &expected);
            }
            let weighs = revision == 0 && self.reigned(window);
            if weighs {
                self.find_weak(log, window, &mut finding)?;
                self.weigh(&mut finding, limit.map(|limit| limit.limit / limit.scale));
            }
            let mut memories = std::mem::take(&mut self.done.segments);
            let segments = Arc::clone(&self.reference.segments);
            let turn = self.turn(&segments, window, revision);
            let (found, facts) = segments::weigh_performance(turn, &mut memories, &table, weighs)?;
            self.done.segments = memories;
            self.tell(found, facts);
            self.done.labelled.insert(window, (finding.measurement.rows, revision));
            self.batch.measurements.push((self.name.clone(), finding.measurement));
        }
        Ok(())
    }

    /// Looks where the champion is worst in its last labelled windows, up to this one, and says so in its performance.
    fn find_weak(&mut self, log: &RecordLog, window: Window, finding: &mut Finding) -> Result<(), Problem> {
        let Some(schema) = self.model.reference.as_ref().map(|reference| &reference.schema) else {
            return Ok(());
        };
        let Some(labelled) = self.labelled(log, window.next())? else { return Ok(()) };
        let weak = segments::weakest(&self.model.spec, schema, window, &labelled);
        if let Some(words) = weak.words {
            finding.measurement.explanation.push_str(&format!("; {words}"));
        }
        self.tell(weak.measurements, Vec::new());
        Ok(())
    }

    /// Whether a window's labels may be taken for all; says in the finding how many were expected by now.
    fn labels_are_final(
        &self,
        log: &RecordLog,
        window: Window,
        finding: &mut Finding,
    ) -> Result<bool, Problem> {
        let known = self.done.closed.keys().rev().filter(|past| **past <= window);
        let first = known.take(*PAST_WINDOWS.start()).last().map_or(window.start, |past| past.start);
        let scan = Scan { from: Some(first), to: Some(window.end), as_of: None, arms: Arms::Served };
        let table = log.table(&self.name, &scan)?;
        let now = self.now.as_second();
        let Some(maturity) = Maturity::of(&self.model.spec, &table, window, now) else { return Ok(true) };
        let measurement = &mut finding.measurement;
        measurement.details.insert("labels_expected".to_owned(), maturity.expected);
        if maturity.depends {
            measurement.details.insert("delay_depends_on_outcome".to_owned(), 1.0);
            if maturity.expected < 0.995 {
                let percent = 100.0 * maturity.expected;
                let words =
                    format!("; labels of one outcome arrive sooner, {percent:.0} % ought to be there");
                measurement.explanation.push_str(&words);
            }
        }
        let waited = now - window.end.as_second();
        let longest = LONGEST_WAIT * self.model.spec.model.label.expected_delay.seconds();
        Ok(maturity.is_final() || waited >= longest)
    }

    /// Records of the windows that this champion served before `window` and that have had the time for their labels.
    pub(super) fn labelled(&self, log: &RecordLog, window: Window) -> Result<Option<Table>, Problem> {
        let since = self.model.champions.last().map(|reign| reign.since);
        let delay = self.model.spec.model.label.expected_delay;
        let known = |past: &Window| {
            past.end <= window.start
                && delay.after(past.end) <= self.now
                && since.is_none_or(|since| since <= past.start)
        };
        let (mut first, mut last, mut windows, mut rows) = (None, None, 0, 0);
        for (past, (count, _)) in self.done.closed.iter().rev().filter(|(past, _)| known(past)) {
            if windows >= *PAST_WINDOWS.end() || (windows >= *PAST_WINDOWS.start() && rows >= PAST_ROWS) {
                break;
            }
            (first, last) = (Some(past.start), last.or(Some(past.end)));
            (windows, rows) = (windows + 1, rows + count);
        }
        if first.is_none() {
            return Ok(None);
        }
        let scan = Scan { from: first, to: last, as_of: None, arms: Arms::Served };
        log.table(&self.name, &scan).map(Some)
    }
}

/// What is expected before the labels, learnt from labelled windows of the past.
pub(super) fn expected(
    spec: &ModelSpec,
    schema: &Schema,
    history: Option<&Table>,
) -> Result<Expected, String> {
    match history {
        Some(history) => Expected::learn(spec, schema, history),
        None => Err("no window of this version has had the time for its labels".to_owned()),
    }
}

/// The mean loss that is still acceptable: what the champion showed at its evaluation (without one, what the reference
/// shows), with its uncertainty, and the drop that the spec allows; a tenth more where the spec names none in this unit.
pub(super) fn loss_limit(model: &ModelState, reference: &ReferenceProfile) -> Option<LossLimit> {
    let champion = model.champion().and_then(|version| model.versions.get(&version));
    let evaluated = champion.and_then(|version| version.evaluation.as_ref());
    let (value, high) = match (evaluated, reference.loss) {
        (Some(evaluation), _) => (evaluation.loss.value, evaluation.loss.high),
        (None, Some(loss)) => (loss.value, loss.high),
        (None, None) => return None,
    };
    let spec = &model.spec;
    let scale = match spec.model.task {
        Task::Binary => 1.0,
        Task::Regression => 5.0 * value,
    };
    (scale > 0.0).then(|| LossLimit { limit: (high + tolerance(spec, value)).min(0.99 * scale), scale })
}
