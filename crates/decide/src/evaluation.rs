//! Candidate against champion on labelled records that neither was trained on, and the gate that follows.

use crate::judge::estimate::loss_table;
use crate::judge::{loss, wrong};
use std::collections::BTreeMap;
use steersman_domain::fact::{Estimate, Evaluation, ExpectedLosses};
use steersman_domain::measurement::segment_name;
use steersman_domain::oip::Row;
use steersman_domain::spec::{Metric, ModelSpec, SEGMENT_VALUES};
use steersman_domain::{Problem, Task, Value, Version};
use steersman_stats::interval::{Interval, mean_interval};
use steersman_stats::metric;

/// Fewest records on which two versions are compared.
pub const LEAST_ROWS: usize = 50;

/// One labelled record with what each version says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The truth.
    pub label: f64,
    /// The candidate's output.
    pub candidate: f64,
    /// The champion's output; none while there is no champion.
    pub champion: Option<f64>,
}

/// Compares the versions on the same records.
pub fn compare(spec: &ModelSpec, scored: &[Scored]) -> Result<Evaluation, Problem> {
    if scored.len() < LEAST_ROWS {
        let message =
            format!("only {} labelled records to compare on, {LEAST_ROWS} are needed", scored.len());
        return Err(Problem::invalid(message).hint("raise `retrain.holdout`, or wait for more labels"));
    }
    let labels: Vec<f64> = scored.iter().map(|row| row.label).collect();
    let candidate: Vec<f64> = scored.iter().map(|row| row.candidate).collect();
    let champion: Option<Vec<f64>> = scored.iter().map(|row| row.champion).collect();
    let loss_of = |prediction: f64, label: f64| loss(spec.model.task, prediction, label);
    let losses: Vec<f64> =
        candidate.iter().zip(&labels).map(|(&output, &label)| loss_of(output, label)).collect();
    let differences = champion.as_ref().map(|champion| {
        let champion_losses = champion.iter().zip(&labels).map(|(&output, &label)| loss_of(output, label));
        losses.iter().zip(champion_losses).map(|(own, other)| own - other).collect::<Vec<f64>>()
    });
    Ok(Evaluation {
        rows: scored.len() as u64,
        metric: spec.metric().as_str().to_owned(),
        candidate: measure(spec, &candidate, &labels)?,
        champion: champion.map(|champion| measure(spec, &champion, &labels)).transpose()?,
        loss: estimate(mean_interval(&losses))?,
        difference: differences.map(|differences| estimate(mean_interval(&differences))).transpose()?,
        segments: BTreeMap::new(),
        expected: None,
    })
}

/// The candidate's mean loss in each value of the declared segments: what is asked of it there from then on. Of each column
/// the most frequent values that have enough records.
pub fn within_segments(spec: &ModelSpec, scored: &[Scored], rows: &[&Row]) -> BTreeMap<String, Estimate> {
    let mut found = BTreeMap::new();
    for column in &spec.data.segments {
        let mut losses: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (scored, row) in scored.iter().zip(rows) {
            let Some(value) = row.get(column).and_then(Value::category) else { continue };
            losses.entry(value).or_default().push(loss(spec.model.task, scored.candidate, scored.label));
        }
        let mut losses: Vec<(String, Vec<f64>)> = losses.into_iter().collect();
        losses.retain(|(_, own)| own.len() >= LEAST_ROWS);
        losses.sort_by_key(|(_, own)| std::cmp::Reverse(own.len()));
        for (value, own) in losses.into_iter().take(SEGMENT_VALUES) {
            if let Ok(mean) = estimate(mean_interval(&own)) {
                found.insert(segment_name(column, &value), mean);
            }
        }
    }
    found
}

/// What losses are to be expected of both versions' outputs where labels are missing; none without a champion.
pub fn expected_losses(spec: &ModelSpec, scored: &[Scored], against: Version) -> Option<ExpectedLosses> {
    let loss_of = |output: f64, label: f64| loss(spec.model.task, output, label);
    let both: Vec<(f64, f64, f64)> =
        scored.iter().filter_map(|row| Some((row.champion?, row.candidate, row.label))).collect();
    let pairs = |of: fn(f64, f64, f64, f64) -> (f64, f64)| {
        let losses = both.iter().map(|&(champion, candidate, label)| {
            let (own, other) = (loss_of(candidate, label), loss_of(champion, label));
            of(candidate, champion, own, other)
        });
        loss_table(&losses.collect::<Vec<_>>())
    };
    let usual = both.iter().map(|row| loss_of(row.0, row.2)).sum::<f64>() / both.len().max(1) as f64;
    let is_wrong = |output: f64, label: f64| wrong(spec, Some(5.0 * usual), output, label);
    let share = |count: usize| count as f64 / both.len().max(1) as f64;
    Some(ExpectedLosses {
        against,
        wrong: share(both.iter().filter(|row| is_wrong(row.0, row.2)).count()),
        differ: share(both.iter().filter(|row| is_wrong(row.0, row.2) != is_wrong(row.1, row.2)).count()),
        candidate: pairs(|candidate, _, own, _| (candidate, own))?,
        champion: pairs(|_, champion, _, other| (champion, other))?,
        between: pairs(|candidate, champion, own, other| (candidate - champion, own - other))?,
    })
}

/// The spec's metric of `outputs` against `labels`.
fn measure(spec: &ModelSpec, outputs: &[f64], labels: &[f64]) -> Result<Estimate, Problem> {
    let truths: Vec<bool> = labels.iter().map(|&label| label > 0.5).collect();
    estimate(match spec.metric() {
        Metric::RocAuc => metric::roc_auc(outputs, &truths),
        Metric::Brier => metric::brier(outputs, &truths),
        Metric::LogLoss => metric::log_loss(outputs, &truths),
        Metric::Accuracy => metric::accuracy(outputs, &truths, spec.model.threshold),
        Metric::Mae => metric::mae(outputs, labels),
        Metric::Rmse => metric::rmse(outputs, labels),
    })
}

fn estimate(interval: Result<Interval, steersman_stats::StatsError>) -> Result<Estimate, Problem> {
    let interval = interval.map_err(|error| Problem::invalid(error.to_string()))?;
    Ok(Estimate { value: interval.value, low: interval.low, high: interval.high })
}

/// Whether the evaluation lets a version on, and why.
///
/// A first version passes unless its metric is clearly on the wrong side of the floor. Later ones must be better than
/// the champion on average, and with 97.5 % confidence not worse by more than `rollout.loss_margin` allows.
pub fn gate(spec: &ModelSpec, evaluation: &Evaluation) -> (bool, String) {
    let metric = &evaluation.metric;
    let own = evaluation.candidate;
    let (Some(difference), Some(champion)) = (evaluation.difference, evaluation.champion) else {
        let floor = spec.watch.performance.floor;
        let better = spec.metric().higher_is_better();
        let fails = floor.is_some_and(|floor| if better { own.high < floor } else { own.low > floor });
        let words = match (floor, fails) {
            (Some(floor), true) => format!("clearly misses the floor of {floor}"),
            (Some(floor), false) => format!("does not clearly miss the floor of {floor}"),
            (None, _) => "no floor is set and there is no champion to compare with".to_owned(),
        };
        let range = format!(
            "{metric} {:.4} [{:.4}, {:.4}] on {} records",
            own.value, own.low, own.high, evaluation.rows
        );
        return (!fails, format!("{range}: {words}"));
    };
    let champion_loss = evaluation.loss.value - difference.value;
    let tolerance = (spec.rollout.loss_margin - 1.0) * champion_loss;
    let passed = difference.value < 0.0 && difference.high < tolerance;
    let verdict = match (passed, difference.value < 0.0) {
        (true, _) if difference.high < 0.0 => "clearly better than the champion",
        (true, _) => "better on average and clearly not worse than the margin allows",
        (false, true) => "better on average, but it could be worse than the margin allows",
        (false, false) => "not better than the champion",
    };
    let reason = format!(
        "{metric} {:.4} against the champion's {:.4} on the same {} records; loss changes by {:+.4} [{:+.4}, {:+.4}]: {verdict}",
        own.value, champion.value, evaluation.rows, difference.value, difference.low, difference.high
    );
    (passed, reason)
}

/// The absolute error that counts as a loss of 1 in a regression rollout.
pub fn loss_scale(spec: &ModelSpec, baseline: Option<&Evaluation>) -> Option<f64> {
    match spec.model.task {
        Task::Binary => None,
        Task::Regression => baseline.map(|evaluation| (5.0 * evaluation.loss.value).max(f64::MIN_POSITIVE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec::parse(
            "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='r'\ntime='t'\n",
        )
        .unwrap()
    }

    fn scored(candidate: f64, champion: f64) -> Vec<Scored> {
        let row = |index: usize| {
            let label = f64::from(u8::from(index.is_multiple_of(2)));
            let towards = |sureness: f64| if label > 0.5 { sureness } else { 1.0 - sureness };
            // A little variation, so that the interval has a width.
            let wobble = (index % 7) as f64 * 0.01;
            Scored {
                label,
                candidate: towards(candidate - wobble),
                champion: Some(towards(champion - wobble)),
            }
        };
        (0..200).map(row).collect()
    }

    #[test]
    fn a_better_candidate_passes_and_a_worse_one_does_not() {
        let better = compare(&spec(), &scored(0.9, 0.7)).unwrap();
        assert!(gate(&spec(), &better).0, "{}", gate(&spec(), &better).1);
        let worse = compare(&spec(), &scored(0.7, 0.9)).unwrap();
        let (passed, reason) = gate(&spec(), &worse);
        assert!(!passed && reason.ends_with("not better than the champion"), "{reason}");
    }

    #[test]
    fn too_few_records_are_no_comparison() {
        let problem = compare(&spec(), &scored(0.9, 0.7)[..49]).unwrap_err();
        assert!(problem.to_string().starts_with("only 49 labelled records"));
    }
}
