//! One policy's walk through the table: which model serves which chunk, and what its monitor says of it.

use super::inputs::Inputs;
use super::policy::{Policy, Start, WATCH};
use super::table::{Model, Table};
use std::collections::VecDeque;
use steersman_domain::Period;
use steersman_domain::spec::{FalseAlarms, RolloutSection, Trigger};
use steersman_stats::detector::{HarmDetector, harm_limit};
use steersman_stats::interval::mean_interval;
use steersman_stats::stream::{Adwin, Ddm, PageHinkley, StreamDetector, StreamState};

/// The chance that a limit of loss is too low.
const LIMIT_DELTA: f64 = 0.05;
/// Losses are counted up to this many times their mean where they have no bound.
const LOSS_RANGE: f64 = 5.0;
/// Fewest labels on which candidate and champion are compared, as in an evaluation.
const LEAST_COMPARED: usize = 50;
/// Chunks after a promotion over which both versions are compared.
const AFTER: usize = 4;
/// A relative change of loss below this is no change.
const SAME: f64 = 0.01;
/// A degradation lasts at least so many chunks.
const SUSTAINED: usize = 2;

/// What all walks share.
pub(super) struct Walks<'a> {
    pub(super) table: &'a Table,
    /// Rows by the time at which their label counts.
    pub(super) arrivals: Vec<usize>,
    /// Median length of a chunk.
    pub(super) chunk: Period,
    /// A loss is acceptable up to this many times the reference.
    pub(super) tolerance: f64,
    /// Chunks that a label takes, usually.
    pub(super) lag: usize,
    /// Columns of chunks, where there are enough windows to know what is ordinary.
    pub(super) inputs: Option<&'a Inputs>,
}

/// What a policy did.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Walk {
    /// Mean loss by chunk.
    pub(super) losses: Vec<f64>,
    /// Trainings, by the chunk from whose begin on their model could serve.
    pub(super) trainings: Vec<usize>,
    /// Promotions: first chunk, and the models before and after.
    pub(super) promotions: Vec<(usize, Model, Model)>,
    /// Chunks at whose end an alarm went off.
    pub(super) alarms: Vec<usize>,
    /// Whether the loss of a chunk was worse than acceptable for the version that served.
    pub(super) degraded: Vec<bool>,
}

/// What a walk's alarms were worth.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Alarms {
    pub(super) falsely: usize,
    pub(super) degradations: usize,
    pub(super) missed: usize,
    /// Chunks from the begin of a degradation to its alarm.
    pub(super) delays: Vec<usize>,
}

enum Monitor {
    Harm { detector: Option<HarmDetector>, scale: f64, alpha: f64 },
    Violations { trigger: Trigger, mean: f64, acceptable: f64, recent: VecDeque<bool> },
    Adwin { detector: Adwin, mean: f64 },
    Ddm(Ddm),
    PageHinkley { detector: PageHinkley, mean: f64, deviation: f64 },
    Drift(Option<super::inputs::Watch>),
}

impl Walks<'_> {
    /// Losses that a version showed on rows that it had not learnt from, before it served: of the version itself where a
    /// gate judged it, else of the one trained a holdout earlier.
    fn shown(&self, model: Model, serves_from: usize) -> Vec<f64> {
        let (until, window) = (self.table.holdout + serves_from, model.1);
        let judged = (until.saturating_sub(self.table.holdout), window);
        let judged = if judged.0 >= model.0 { model } else { judged };
        let rows = self.arrived(judged.0, until);
        rows.iter().filter_map(|&row| self.table.losses(judged)?.of(row)).collect()
    }

    /// Rows whose label came after one moment and until another.
    fn arrived(&self, after: usize, until: usize) -> &[usize] {
        let (moments, known) = (&self.table.moments, &self.table.known);
        let place = |moment: usize| {
            let at = moments.get(moment).copied().unwrap_or(i64::MAX);
            self.arrivals.partition_point(|&row| known[row] <= at)
        };
        let (from, to) = (place(after), place(until));
        self.arrivals.get(from..to).unwrap_or_default()
    }

    /// Whether the candidate may serve: better on average, and with 97.5 % confidence not worse than the margin of a
    /// rollout allows. The same rule as `decide::evaluation::gate`, on labels that neither version learnt from.
    fn passes(&self, candidate: Model, champion: Model, until: usize) -> bool {
        let rows = self.arrived(candidate.0, until);
        let pairs: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|&row| {
                Some((self.table.losses(candidate)?.of(row)?, self.table.losses(champion)?.of(row)?))
            })
            .collect();
        if pairs.len() < LEAST_COMPARED {
            return false;
        }
        let differences: Vec<f64> = pairs.iter().map(|(own, other)| own - other).collect();
        let champion = pairs.iter().map(|(_, other)| other).sum::<f64>() / pairs.len() as f64;
        let allowed = (RolloutSection::default().loss_margin - 1.0) * champion;
        mean_interval(&differences).is_ok_and(|found| found.value < 0.0 && found.high < allowed)
    }

    /// Mean loss that counts as ordinary for a version.
    pub(super) fn reference(&self, model: Model, serves_from: usize) -> f64 {
        let shown = self.shown(model, serves_from);
        shown.iter().sum::<f64>() / shown.len().max(1) as f64
    }

    fn alpha(&self, budget: FalseAlarms) -> f64 {
        budget.alpha(self.chunk)
    }

    fn monitor(&self, start: Start, model: Model, serves_from: usize) -> Monitor {
        let shown = self.shown(model, serves_from);
        let mean = shown.iter().sum::<f64>() / shown.len().max(1) as f64;
        let harm = |budget: FalseAlarms| {
            let scale =
                if self.table.probabilities { 1.0 } else { (LOSS_RANGE * mean).max(f64::MIN_POSITIVE) };
            let scaled: Vec<f64> = shown.iter().map(|loss| (loss / scale).min(1.0)).collect();
            let limit = harm_limit(&scaled, (self.tolerance - 1.0) * mean / scale, LIMIT_DELTA);
            let detector = limit.ok().and_then(|limit| HarmDetector::new(limit).ok());
            Monitor::Harm { detector, scale, alpha: self.alpha(budget) }
        };
        match start {
            Start::Never | Start::Every(_) => harm(WATCH),
            Start::Harm(budget) => harm(budget),
            Start::Violations(trigger) => Monitor::Violations {
                trigger,
                mean,
                acceptable: self.tolerance * mean,
                recent: VecDeque::new(),
            },
            Start::Adwin => Monitor::Adwin { detector: Adwin::default(), mean },
            Start::Ddm => Monitor::Ddm(Ddm::default()),
            Start::PageHinkley => {
                let squares = shown.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>();
                let deviation = (squares / shown.len().max(1) as f64).sqrt().max(f64::MIN_POSITIVE);
                Monitor::PageHinkley { detector: PageHinkley::default(), mean, deviation }
            }
            Start::Drift(budget) => {
                Monitor::Drift(self.inputs.and_then(|inputs| inputs.watch(serves_from, self.alpha(budget))))
            }
        }
    }

    /// Walks through all chunks.
    pub(super) fn walk(&self, policy: &Policy) -> Walk {
        let mut walk = Walk::default();
        let count = self.table.chunks.len();
        let mut serving = self.table.first(policy.window);
        let mut since = 0; // the chunk from which it serves
        let mut acceptable = self.tolerance * self.reference(serving, 0);
        let mut monitor = self.monitor(policy.start, serving, 0);
        let mut trained = 0;
        for chunk in 0..count {
            let loss = self.table.chunk_loss(serving, chunk);
            walk.losses.push(loss);
            walk.degraded.push(loss > acceptable);
            // Labels that came during this chunk for rows that this version served.
            let first_row = self.table.chunks.get(since).map_or(0, |rows| rows.start);
            let moment = self.table.holdout + chunk;
            let arrived = self.arrived(moment, moment + 1).iter().filter(|&&row| row >= first_row);
            let losses: Vec<f64> = arrived.map(|&row| self.table.loss(serving, row)).collect();
            let alarm = monitor.observe(&losses, chunk, self.inputs);
            if alarm {
                walk.alarms.push(chunk);
            }
            let next = chunk + 1;
            let wanted = match policy.start {
                Start::Never => false,
                Start::Every(chunks) => next - trained >= chunks,
                _ => alarm,
            };
            if !wanted || next == count {
                continue;
            }
            trained = next;
            walk.trainings.push(next);
            // With a gate the latest labels are kept from training, which is what was trained a holdout earlier.
            let now = next + self.table.holdout;
            let judged = (next, policy.window);
            if policy.gate && (judged.0 <= serving.0 || !self.passes(judged, serving, now)) {
                continue;
            }
            let candidate = if policy.gate && !policy.refit { judged } else { (now, policy.window) };
            walk.promotions.push((next, serving, candidate));
            (serving, since) = (candidate, next);
            acceptable = self.tolerance * self.reference(serving, next);
            monitor = self.monitor(policy.start, serving, next);
        }
        walk
    }

    /// Shares of promotions after which the next chunks were better, and worse, than with the version before.
    pub(super) fn worth(&self, walk: &Walk) -> Option<(f64, f64)> {
        let count = walk.promotions.len();
        let (mut better, mut worse) = (0, 0);
        for &(from, before, after) in &walk.promotions {
            let chunks = from..(from + AFTER).min(self.table.chunks.len());
            let sum = |model: Model| -> f64 {
                let rows = |chunk: usize| self.table.chunks.get(chunk).map_or(0, |rows| rows.len()) as f64;
                chunks.clone().map(|chunk| rows(chunk) * self.table.chunk_loss(model, chunk)).sum()
            };
            let (before, after) = (sum(before), sum(after));
            better += usize::from(after < (1.0 - SAME) * before);
            worse += usize::from(after > (1.0 + SAME) * before);
        }
        (count > 0).then(|| (better as f64 / count as f64, worse as f64 / count as f64))
    }

    /// What the alarms of a walk were worth.
    pub(super) fn alarms(&self, walk: &Walk) -> Alarms {
        let mut found = Alarms::default();
        let reach = self.lag + 1;
        for &alarm in &walk.alarms {
            let recent = alarm.saturating_sub(reach)..=alarm;
            let ordinary =
                recent.into_iter().all(|chunk| !walk.degraded.get(chunk).copied().unwrap_or(false));
            found.falsely += usize::from(ordinary);
        }
        let mut chunk = 0;
        for run in walk.degraded.chunk_by(|a, b| a == b) {
            let (from, until) = (chunk, chunk + run.len());
            chunk = until;
            if run.first() != Some(&true) || run.len() < SUSTAINED {
                continue;
            }
            found.degradations += 1;
            // Labels of its last chunk come a lag later.
            match walk.alarms.iter().find(|&&alarm| alarm >= from && alarm < until + self.lag) {
                Some(alarm) => found.delays.push(alarm - from),
                None => found.missed += 1,
            }
        }
        found
    }
}

impl Monitor {
    /// Takes one chunk in; after an alarm the evidence starts anew.
    fn observe(&mut self, losses: &[f64], chunk: usize, inputs: Option<&Inputs>) -> bool {
        let mean_now = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let drifts = |detector: &mut dyn StreamDetector, values: &mut dyn Iterator<Item = f64>| {
            values.fold(false, |seen, value| seen | (detector.update(value) == Ok(StreamState::Drift)))
        };
        match self {
            Self::Harm { detector, scale, alpha } => {
                let Some(detector) = detector else { return false };
                let scaled: Vec<f64> = losses.iter().map(|loss| (loss / *scale).min(1.0)).collect();
                detector.observe(&scaled);
                let alarm = detector.alarms(*alpha);
                if alarm {
                    detector.reset();
                }
                alarm
            }
            Self::Violations { trigger, mean, acceptable, recent } => {
                let worse = |found: steersman_stats::interval::Interval| {
                    found.low > *mean && found.value > *acceptable
                };
                let violated = mean_interval(losses).is_ok_and(worse);
                if !losses.is_empty() {
                    recent.push_back(violated);
                }
                if recent.len() > trigger.of as usize {
                    recent.pop_front();
                }
                let alarm =
                    violated && recent.iter().filter(|seen| **seen).count() >= trigger.violated as usize;
                if alarm {
                    recent.clear();
                }
                alarm
            }
            // It sees changes of either sign; fewer errors are no alarm.
            Self::Adwin { detector, mean } => {
                drifts(detector, &mut losses.iter().copied()) && mean_now > *mean
            }
            Self::Ddm(detector) => {
                let errors = losses.iter().map(|loss| f64::from(u8::from(*loss > 0.25)));
                drifts(detector, &mut errors.into_iter())
            }
            Self::PageHinkley { detector, mean, deviation } => {
                let scores = losses.iter().map(|loss| (loss - *mean) / *deviation);
                drifts(detector, &mut scores.into_iter()) && mean_now > *mean
            }
            Self::Drift(watch) => match (watch, inputs) {
                (Some(watch), Some(inputs)) => watch.observe(inputs, chunk),
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Losses, Window};
    use super::*;

    const ROWS: usize = 100;
    const CHUNKS: usize = 6;

    /// Two hundred rows of history and six chunks of a hundred. From chunk 2 on a model that never saw such rows has a
    /// loss of 0.9 instead of 0.1; labels are known at once.
    fn table() -> Table {
        let (rows, change) = ((CHUNKS + 2) * ROWS, 4 * ROWS);
        let moments: Vec<i64> = (1..=CHUNKS + 2).map(|place| (2 * place * ROWS) as i64).collect();
        let losses = |moment: usize| {
            let start = (moment + 1) * ROWS;
            let knows = start > change;
            let loss = |row: usize| if row >= change && !knows { 0.9 } else { 0.1 };
            Losses { start, values: (start..rows).map(loss).collect() }
        };
        let models: Vec<Losses> = (0..=CHUNKS).map(losses).collect();
        Table {
            moments,
            holdout: 1,
            chunks: (2..CHUNKS + 2).map(|place| place * ROWS..(place + 1) * ROWS).collect(),
            known: (0..rows).map(|row| 2 * row as i64 + 1).collect(),
            losses: [models.clone(), models],
            probabilities: true,
        }
    }

    fn walked(start: Start, gate: bool) -> (Walk, Alarms, Option<(f64, f64)>) {
        let table = table();
        let walks = Walks {
            arrivals: table.arrivals(),
            table: &table,
            chunk: Period::from_days(1),
            tolerance: 1.1,
            lag: 0,
            inputs: None,
        };
        let mut walk = walks.walk(&Policy { start, gate, refit: false, window: Window::Rolling });
        walk.losses.iter_mut().for_each(|loss| *loss = (*loss * 1e6).round() / 1e6);
        let (alarms, worth) = (walks.alarms(&walk), walks.worth(&walk));
        (walk, alarms, worth)
    }

    #[test]
    fn what_is_decided_at_the_end_of_a_chunk_serves_from_the_next() {
        let (never, alarms, worth) = walked(Start::Never, false);
        assert_eq!(never.losses, [0.1, 0.1, 0.9, 0.9, 0.9, 0.9]);
        assert!(never.trainings.is_empty() && worth.is_none());
        assert_eq!((alarms.degradations, alarms.missed, alarms.falsely), (1, 0, 0));
        assert_eq!(alarms.delays, [0]);

        // The model of chunk 2 was trained before the change, that of chunk 3 has seen one chunk of it.
        let (every, ..) = walked(Start::Every(1), false);
        assert_eq!(every.losses, [0.1, 0.1, 0.9, 0.1, 0.1, 0.1]);
        assert_eq!((every.trainings.as_slice(), every.promotions.len()), ([1, 2, 3, 4, 5].as_slice(), 5));

        // The alarm goes off at the end of chunk 2 and not again.
        let budget = FalseAlarms { count: 1, per: Period::from_days(7) };
        for start in [Start::Harm(budget), Start::Violations(Trigger { violated: 1, of: 1 })] {
            let (alarmed, alarms, worth) = walked(start, false);
            assert_eq!(alarmed.losses, [0.1, 0.1, 0.9, 0.1, 0.1, 0.1], "{start:?}");
            assert_eq!(
                (alarmed.alarms.as_slice(), alarmed.trainings.as_slice()),
                ([2].as_slice(), [3].as_slice())
            );
            assert_eq!((alarms.falsely, worth), (0, Some((1.0, 0.0))));
        }
    }

    #[test]
    fn with_a_gate_only_a_candidate_that_wins_serves_and_it_wins_a_holdout_later() {
        let (walk, _, worth) = walked(Start::Every(1), true);
        assert_eq!(walk.losses, [0.1, 0.1, 0.9, 0.9, 0.1, 0.1]);
        assert_eq!(walk.trainings.len(), 5);
        assert_eq!(walk.promotions, [(4, (1, Window::Rolling), (4, Window::Rolling))]);
        assert_eq!(worth, Some((1.0, 0.0)));
    }
}
