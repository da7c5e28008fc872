//! What arrived of one model, and what is due because of it.

use super::done::Done;
use super::round::Round;
use crate::operation::{Operation, Setting};
use crate::quality::Intake;
use crate::reference::ReferenceProfile;
use crate::segments::divide;
use crate::silence::{Said, Usual};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::{ModelName, ModelSpec, Period, Window};
use steersman_ledger::state::ModelState;
use steersman_store::Batch;

/// The performance of this many last windows is measured again when labels arrive late.
const REVISED_WINDOWS: usize = 14;

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) reference: ReferenceProfile,
    pub(super) window: Period,
    /// Served records in each window, as they arrived.
    pub(super) seen: BTreeMap<Window, u64>,
    pub(super) last_event: Option<Timestamp>,
    pub(super) last_arrival: Option<Timestamp>,
    pub(super) labels_since: bool,
    /// What did not get in, and how many times it changed: now, in the batch that is being written, and on disk.
    pub(super) intake: Intake,
    pub(super) changes: [u64; 3],
    /// The numbers of the steps in which anything was received.
    pub(super) alive: BTreeSet<i64>,
    pub(super) done: Done,
    pub(super) staged: Option<Done>,
}

impl Watched {
    /// A model of which nothing arrived since the start.
    pub(super) fn new(reference: ReferenceProfile, window: Period, done: Done, intake: Intake) -> Self {
        Self {
            reference,
            window,
            seen: BTreeMap::new(),
            last_event: intake.last.map(|(at, _)| at),
            last_arrival: intake.last.map(|(_, came)| came),
            labels_since: false,
            intake,
            changes: [0; 3],
            alive: BTreeSet::new(),
            done,
            staged: None,
        }
    }

    /// What is due, if anything is.
    pub(super) fn round(&mut self, name: &ModelName, model: &ModelState, now: Timestamp) -> Option<Round> {
        for window in self.intake.worth_closing() {
            self.seen.entry(window).or_default();
        }
        let watermark = self.watermark(model.spec.watch.lateness, now)?;
        let close: Vec<(Window, u64)> = self
            .seen
            .iter()
            .filter(|(window, rows)| {
                window.end <= watermark
                    && self.done.closed.get(window).is_none_or(|(measured, _)| measured < *rows)
            })
            .map(|(window, rows)| (*window, *rows))
            .collect();
        let delay = model.spec.model.label.expected_delay;
        let mature = |window: &Window| delay.after(window.end) <= now && window.end <= watermark;
        let mut label: Vec<Window> = self
            .seen
            .keys()
            .filter(|window| mature(window) && !self.done.labelled.contains_key(window))
            .filter(|window| self.done.waiting.get(window).is_none_or(|again| *again <= now))
            .copied()
            .collect();
        let revise = self.labels_since
            && self.done.revised_at.is_none_or(|revised| model.spec.watch.window.after(revised) <= now);
        if revise {
            let known = self.done.labelled.keys().rev().take(REVISED_WINDOWS);
            label.extend(known.filter(|window| self.seen.contains_key(window)).copied());
            self.labels_since = false;
        }
        label.sort();
        let mut silence = self.done.silence.clone();
        let so_far = self.seen.get(&Window::holding(now, self.window)).copied().unwrap_or(0);
        let said = silence.say(name, now, &self.setting(&model.spec), self.usual(), so_far);
        let silent = self.silent(model.spec.watch.lateness, now);
        if close.is_empty() && label.is_empty() && silent.is_none() && said.is_none() {
            return None;
        }
        let mut done = Done { silence, ..self.done.clone() };
        let mut batch = Batch::default();
        if let (Some(window), Some(last)) = (silent, self.last_event) {
            done.silent = Some(window);
            batch.measurements.push((name.clone(), done.silence.measurement(window, last)));
        }
        if revise {
            done.revised_at = Some(now);
        }
        let mut round = Round {
            name: name.clone(),
            reference: self.reference.clone(),
            model: model.clone(),
            now,
            tallies: close.iter().map(|(window, _)| (*window, self.intake.of(*window))).collect(),
            close,
            label,
            alive: self.alive.clone(),
            done,
            batch,
        };
        match said {
            Some(Said::Stopped(measurement, fact)) => round.tell(vec![*measurement], vec![fact]),
            Some(Said::Back(fact)) => round.tell(Vec::new(), vec![fact]),
            None => {}
        }
        Some(round)
    }

    /// How operation is watched: within the budget, less what goes to segments.
    pub(super) fn setting(&self, spec: &ModelSpec) -> Setting {
        let setting = Setting::of(spec);
        Setting { alpha: divide(setting.alpha, &self.reference.segments).0, ..setting }
    }

    /// What traffic is like.
    fn usual(&self) -> Usual<'_> {
        usual(&self.reference, self.window, self.done.operation.as_ref())
    }

    /// Records before this time are there, as far as one may wait for them. A model that nobody calls any more closes its
    /// windows after the same wait.
    fn watermark(&self, lateness: Period, now: Timestamp) -> Option<Timestamp> {
        let (last_event, last_arrival) = (self.last_event?, self.last_arrival?);
        let idle = lateness.after(last_arrival) <= now;
        Some(if idle { self.window.after(last_event).min(now) } else { lateness.before(last_event.min(now)) })
    }

    /// The first window after the last record, if it is over and nothing has come, neither in time nor late, and that was not
    /// said before; while a signal says that nothing comes, each of the next ones too. It is only said, not closed: records
    /// that come later still count.
    fn silent(&self, lateness: Period, now: Timestamp) -> Option<Window> {
        let (last_event, last_arrival) = (self.last_event?, self.last_arrival?);
        let first = Window::holding(last_event, self.window).next();
        let said = self.done.silent.filter(|said| *said >= first && self.done.silence.is_certain());
        let next = said.map_or(first, |said| said.next());
        let idle = lateness.after(last_arrival) <= now && lateness.after(next.end) <= now;
        Some(next).filter(|next| idle && self.done.silent != Some(*next))
    }
}

/// What traffic is like, by what is known of a model.
pub(super) fn usual<'a>(
    reference: &'a ReferenceProfile,
    window: Period,
    operation: Option<&'a Operation>,
) -> Usual<'a> {
    Usual { operation, reference: reference.arrivals.stretches(), window }
}
