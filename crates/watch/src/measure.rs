//! The findings of one window: measurements with their ranges, and the evidence that each carries. Pure.

use crate::expected::Expected;
use crate::quality::{self, Seen};
use crate::reference::{Cells, ReferenceColumn, ReferenceProfile, counts, profile_like, watched};
use crate::together::Values;
use std::collections::BTreeMap;
use steersman_domain::measurement::Reading;
use steersman_domain::schema::Column;
use steersman_domain::spec::Metric;
use steersman_domain::{Measurement, ModelSpec, MonitorKind, Schema, Task, Window};
use steersman_records::Table;
use steersman_stats::calibration::{Aspect, AspectEvidence, ColumnJudgement, ColumnWindow, Judgement};
use steersman_stats::detector::calibrate;
use steersman_stats::distance::{cramers_v, hellinger, jensen_shannon, l_infinity, psi};
use steersman_stats::harm::{CellLoss, marginal_shift};
use steersman_stats::interval::Interval;
use steersman_stats::metric;
use steersman_stats::profile::ColumnProfile;

/// Fewer rows than this say nothing about a distribution.
pub(crate) const LEAST_ROWS: u64 = 20;
/// Fewer labels than this say nothing about performance.
pub const LEAST_LABELS: usize = 20;

/// The loss of one prediction: squared error of a probability, absolute error of a number.
pub fn loss(task: Task, output: f64, label: f64) -> f64 {
    match task {
        Task::Binary => (output - label).powi(2),
        Task::Regression => (output - label).abs(),
    }
}

/// A measurement with the evidence for a change that it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The measurement; whether it is alarming is decided with the evidence so far.
    pub measurement: Measurement,
    /// The evidence.
    pub evidence: Evidence,
    /// Whether what was found is large enough to matter.
    pub matters: bool,
}

/// What a window says about a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Nothing is tested.
    None,
    /// The logarithm of an e-value.
    LogE(f64),
    /// What each aspect of a column says, to be weighed together with all other columns.
    Aspects(Vec<AspectEvidence>),
    /// Losses in `[0, 1]`, to be weighed against a limit.
    Losses(Vec<f64>),
}

/// Profiles of a window's columns, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Profiles by column.
    pub profiles: BTreeMap<String, ColumnProfile>,
    /// What the forecasts follow, by column.
    pub(crate) windows: BTreeMap<String, ColumnWindow>,
    /// The value that the window holds, by column, where it has enough values to say.
    pub(crate) steady: BTreeMap<String, Option<u64>>,
    /// What the forecasts of all features together follow.
    pub(crate) together: Values,
    /// Findings.
    pub findings: Vec<Finding>,
}

/// A finding that says nothing yet.
pub(crate) fn finding(
    monitor: MonitorKind,
    column: &str,
    metric: &str,
    window: Window,
    rows: u64,
    reading: Reading,
) -> Finding {
    let measurement = Measurement {
        monitor,
        column: column.to_owned(),
        segment: None,
        metric: metric.to_owned(),
        window,
        revision: 0,
        reading,
        ordinary: None,
        rows,
        maturity: None,
        details: BTreeMap::new(),
        alarming: false,
        explanation: String::new(),
    };
    Finding { measurement, evidence: Evidence::None, matters: false }
}

/// Everything about a window that needs no labels.
pub fn measure(reference: &ReferenceProfile, schema: &Schema, window: Window, table: &Table) -> Measured {
    let rows = table.len() as u64;
    let (mut profiles, mut windows, mut steady) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut findings = Vec::new();
    for column in watched(schema) {
        let Some(learnt) = reference.columns.get(&column.name) else { continue };
        let cells = Cells::of(column, table);
        let Ok(profile) = profile_like(&learnt.profile, &cells) else { continue };
        let own = learnt.window(&cells, 0..table.len(), reference.season(window));
        let judged = learnt.ordinary.as_ref().and_then(|ordinary| ordinary.judge(&own).ok());
        findings.push(drift(&column.name, learnt, &profile, judged.as_ref(), window));
        let codes = quality::codes(&cells);
        let seen =
            Seen { name: &column.name, learnt, profile: &profile, cells: &cells, codes: &codes, window };
        findings.extend(seen.findings(&reference.quality, judged.as_ref()));
        profiles.insert(column.name.clone(), profile);
        steady.extend(quality::steady(&codes).map(|held| (column.name.clone(), held)));
        if rows >= LEAST_ROWS {
            windows.insert(column.name.clone(), own);
        }
    }
    let together = match &reference.together {
        Some(learnt) => {
            let moved: Vec<String> = findings
                .iter()
                .filter(|found| found.matters && !found.measurement.column.is_empty())
                .map(|found| found.measurement.column.clone())
                .collect();
            let (values, found) = learnt.judge(table, window, reference.season(window), &moved);
            findings.push(found);
            values
        }
        None => Values::new(),
    };
    Measured { profiles, windows, steady, together, findings }
}

fn drift(
    name: &str,
    learnt: &ReferenceColumn,
    profile: &ColumnProfile,
    judged: Option<&ColumnJudgement>,
    window: Window,
) -> Finding {
    let (before, now) = (counts(&learnt.profile, &learnt.profile), counts(&learnt.profile, profile));
    let rows: u64 = now.iter().sum();
    let distance = jensen_shannon(&before, &now);
    let reading = match &distance {
        _ if rows < LEAST_ROWS => Reading::NotComputable { reason: format!("only {rows} values") },
        Ok(distance) => Reading::of(*distance),
        Err(error) => Reading::NotComputable { reason: error.to_string() },
    };
    let mut found = finding(MonitorKind::Drift, name, "jensen_shannon", window, rows, reading);
    let Some(distance) = found.measurement.reading.value() else { return found };
    let further = [
        ("psi", psi(&before, &now)),
        ("hellinger", hellinger(&before, &now)),
        ("l_infinity", l_infinity(&before, &now)),
        ("cramers_v", cramers_v(&before, &now)),
    ];
    let measurement = &mut found.measurement;
    measurement.ordinary = judged.and_then(|judged| judged.ordinary);
    measurement
        .details
        .extend(further.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.ok()?))));
    let usual = measurement
        .ordinary
        .map_or(String::new(), |(low, high)| format!(", ordinarily {low:.2} to {high:.2}"));
    measurement.explanation =
        format!("`{name}` is {distance:.2} from the reference{usual}; {}", moved(&learnt.profile, profile));
    let Some(judged) = judged else { return found };
    let aspects = || judged.aspects.iter().filter(|(aspect, ..)| *aspect != Aspect::Missing);
    let clearest = aspects().min_by(|(_, a, _), (_, b, _)| a.p_value.total_cmp(&b.p_value));
    measurement.details.extend(clearest.map(|(_, judged, _)| ("p_value".to_owned(), judged.p_value)));
    for (aspect, judged, _) in aspects() {
        let word = match aspect {
            Aspect::Location => "mean_z",
            Aspect::Spread => "spread_z",
            _ => "distance_z",
        };
        measurement.details.insert(word.to_owned(), judged.z);
    }
    let counting = aspects().filter(|(.., matters)| *matters);
    let clearest = counting.min_by(|(_, a, _), (_, b, _)| a.p_value.total_cmp(&b.p_value));
    if let Some((aspect, judged, _)) = clearest {
        measurement.explanation.push_str(&expected(*aspect, judged));
    }
    found.matters = clearest.is_some();
    found.evidence = Evidence::Aspects(aspects().map(weighed).collect());
    found
}

fn weighed((_, judged, matters): &(Aspect, Judgement, bool)) -> AspectEvidence {
    AspectEvidence::of_window(judged.p_value, *matters)
}

/// What was forecast of the aspect that changed most clearly, in words.
fn expected(aspect: Aspect, judged: &Judgement) -> String {
    match aspect {
        Aspect::Location => format!(
            "; a mean of {:.3} was expected, ordinarily {:.3} to {:.3}",
            judged.forecast, judged.low, judged.high
        ),
        Aspect::Spread => format!(
            "; its spread is {:.1} standard deviations {} what was expected",
            judged.z.abs(),
            if judged.z > 0.0 { "above" } else { "below" }
        ),
        Aspect::Distance | Aspect::Missing => String::new(),
    }
}

/// How a column moved, in words.
fn moved(before: &ColumnProfile, now: &ColumnProfile) -> String {
    match (before, now) {
        (ColumnProfile::Numeric(before), ColumnProfile::Numeric(now)) => {
            format!("its mean went from {:.3} to {:.3}", before.mean, now.mean)
        }
        (ColumnProfile::Categorical(before), ColumnProfile::Categorical(now)) => {
            let share = |profile: &steersman_stats::profile::CategoricalProfile, name: &str| {
                profile.categories().get(name).copied().unwrap_or(0) as f64 / profile.count.max(1) as f64
            };
            let names = before.categories().keys().chain(now.categories().keys());
            let change = |name: &&String| (share(now, name) - share(before, name)).abs();
            match names.max_by(|a, b| change(a).total_cmp(&change(b))) {
                Some(name) => {
                    let (from, to) = (100.0 * share(before, name), 100.0 * share(now, name));
                    format!("`{name}` went from {from:.1} % to {to:.1} % of the values")
                }
                None => "it has no values".to_owned(),
            }
        }
        _ => "it changed its kind".to_owned(),
    }
}

/// What performance is weighed against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossLimit {
    /// The mean loss that is still acceptable.
    pub limit: f64,
    /// The loss that counts as 1.
    pub scale: f64,
}

/// How much more loss is accepted than `value`: the drop that the spec allows, or a tenth where it names none in this unit.
pub(crate) fn tolerance(spec: &ModelSpec, value: f64) -> f64 {
    let in_units_of_loss = matches!(spec.metric(), Metric::Brier | Metric::Mae);
    spec.watch.performance.drop.filter(|_| in_units_of_loss).unwrap_or(0.1 * value)
}

/// Says of a column that drifted what its shift alone is expected to do to the loss: by the losses that the champion had in
/// its cells, in labelled windows before. Columns that move together are each charged with the whole.
pub(crate) fn charge(
    found: &mut Finding,
    spec: &ModelSpec,
    column: &Column,
    learnt: &ReferenceColumn,
    current: &ColumnWindow,
    history: &Table,
) {
    let (outputs, labels) = (history.numbers(&spec.model.prediction), history.numbers("label"));
    let values = Cells::of(column, history);
    let mut losses = vec![CellLoss::default(); current.cells.len()];
    for row in own(spec, history) {
        let (Some(output), Some(label)) = (outputs[row], labels[row]) else { continue };
        if let Some(cell) = learnt.cell(&values, row).and_then(|cell| losses.get_mut(cell)) {
            cell.update(loss(spec.model.task, output, label));
        }
    }
    let before = counts(&learnt.profile, &learnt.profile);
    let Ok(shift) = marginal_shift(&losses, &before, &current.cells) else { return };
    let measurement = &mut found.measurement;
    measurement.details.insert("expected_loss_change".to_owned(), shift.change.value);
    measurement.details.insert("share_without_known_loss".to_owned(), shift.uncovered);
    let (low, high) = (shift.change.low, shift.change.high);
    measurement.explanation.push_str(&match (low > 0.0, high < 0.0) {
        (true, _) => {
            format!("; expected to raise the mean loss by {:.4} ({low:.4} to {high:.4})", shift.change.value)
        }
        (_, true) => format!("; expected to lower the mean loss by {:.4}", -shift.change.value),
        _ => "; no change of the mean loss is expected from it".to_owned(),
    });
    if shift.uncovered > 0.1 {
        let percent = 100.0 * shift.uncovered;
        measurement.explanation.push_str(&format!(", but of {percent:.0} % of the rows no loss is known"));
    }
}

/// The rows that the champion answered.
pub(crate) fn own(spec: &ModelSpec, table: &Table) -> Vec<usize> {
    let (arms, outputs) = (table.texts("_arm"), table.numbers(&spec.model.prediction));
    let of_champion = |row: usize| arms[row].as_deref().is_none_or(|arm| arm == "champion");
    (0..table.len()).filter(|&row| outputs[row].is_some() && of_champion(row)).collect()
}

/// What the metric of a window is expected to be before its labels are there. It is alarming if even the better end of its
/// interval is not acceptable; how certain that is, is counted from past windows alone, so one window is never enough.
pub(crate) fn estimated(
    spec: &ModelSpec,
    schema: &Schema,
    window: Window,
    table: &Table,
    expected: &Result<Expected, String>,
    limit: Option<LossLimit>,
) -> Finding {
    let metric = spec.metric().as_str();
    let rows = own(spec, table).len() as u64;
    let estimate = match expected {
        Ok(expected) => expected.window(spec, schema, table).map_err(|error| error.to_string()),
        Err(reason) => Err(reason.clone()),
    };
    let reading = match &estimate {
        Ok(interval) => Reading::between(interval.value, Some(interval.low), Some(interval.high)),
        Err(reason) => Reading::NotComputable { reason: reason.clone() },
    };
    let mut found = finding(MonitorKind::Estimate, "", metric, window, rows, reading);
    let (Ok(interval), Ok(expected)) = (estimate, expected) else { return found };
    let (labelled, past) = expected.basis();
    found.measurement.details.insert("learnt_from_rows".to_owned(), labelled as f64);
    found.measurement.details.insert("past_windows".to_owned(), past as f64);
    let mut words = format!(
        "estimated before the labels: {metric} {:.4} [{:.4}, {:.4}] on {rows} predictions",
        interval.value, interval.low, interval.high
    );
    let in_units_of_loss = matches!(spec.metric(), Metric::Brier | Metric::Mae);
    if let Some(LossLimit { limit, .. }) = limit.filter(|_| in_units_of_loss && past > 0) {
        found.measurement.details.insert("loss_limit".to_owned(), limit);
        words.push_str(&format!("; acceptable is {limit:.4}"));
        found.matters = interval.low > limit;
        let least = 1.0 / (past as f64 + 1.0);
        let log_e = calibrate(if found.matters { least.max(0.025) } else { 0.5 });
        found.evidence = log_e.map_or(Evidence::None, Evidence::LogE);
    }
    found.measurement.explanation = words;
    found
}

/// Puts the estimates of the rows without label beside the labels, where some labels are missing.
pub(crate) fn correct(
    found: &mut Finding,
    spec: &ModelSpec,
    schema: &Schema,
    table: &Table,
    expected: &Expected,
) {
    let Ok(mean) = expected.corrected(spec, schema, table) else { return };
    let measurement = &mut found.measurement;
    let Some(labelled) = measurement.reading.value() else { return };
    measurement.details.insert("on_labels_so_far".to_owned(), labelled);
    measurement.reading = Reading::between(mean.value, Some(mean.low.max(0.0)), Some(mean.high));
    let share = 100.0 * measurement.maturity.unwrap_or(0.0);
    measurement.explanation.push_str(&format!(
        "; {share:.0} % of the labels are there, with estimates for the others it is {:.4} [{:.4}, {:.4}]",
        mean.value, mean.low, mean.high
    ));
}

/// The performance of a window's predictions on the labels known so far. Shares of the candidate do not count.
pub fn performance(spec: &ModelSpec, window: Window, table: &Table, limit: Option<LossLimit>) -> Finding {
    let outputs = table.numbers(&spec.model.prediction);
    let labels = table.numbers("label");
    let own = own(spec, table);
    let pairs: Vec<(f64, f64)> = own.iter().filter_map(|&row| Some((outputs[row]?, labels[row]?))).collect();
    let metric_name = spec.metric().as_str();
    let reading = if pairs.len() < LEAST_LABELS {
        let reason = format!("only {} of {} predictions have a label", pairs.len(), own.len());
        Reading::NotComputable { reason }
    } else {
        match metric_of(spec, &pairs) {
            Ok(interval) => Reading::between(interval.value, Some(interval.low), Some(interval.high)),
            Err(error) => Reading::NotComputable { reason: error.to_string() },
        }
    };
    let mut found = finding(MonitorKind::Performance, "", metric_name, window, pairs.len() as u64, reading);
    found.measurement.maturity =
        Some(if own.is_empty() { 0.0 } else { pairs.len() as f64 / own.len() as f64 });
    let Some(value) = found.measurement.reading.value() else { return found };
    let losses: Vec<f64> =
        pairs.iter().map(|&(output, label)| loss(spec.model.task, output, label)).collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    found.measurement.details.insert("loss".to_owned(), mean);
    let floor = spec.watch.performance.floor;
    let below_floor = floor.is_some_and(|floor| match spec.metric().higher_is_better() {
        true => value < floor,
        false => value > floor,
    });
    let mut words = format!("{metric_name} {value:.4} on {} labels", pairs.len());
    found.matters = below_floor;
    if let Some(LossLimit { limit, scale }) = limit {
        found.measurement.details.insert("loss_limit".to_owned(), limit);
        found.evidence = Evidence::Losses(losses.iter().map(|loss| (loss / scale).clamp(0.0, 1.0)).collect());
        found.matters |= mean > limit;
        words.push_str(&format!("; mean loss {mean:.4}, acceptable is {limit:.4}"));
    }
    if let Some(floor) = floor {
        words.push_str(&format!("; the floor is {floor}"));
    }
    found.measurement.explanation = words;
    found
}

/// The metric of outputs and labels.
pub(crate) fn metric_of(
    spec: &ModelSpec,
    pairs: &[(f64, f64)],
) -> Result<Interval, steersman_stats::StatsError> {
    let (outputs, labels): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let truths: Vec<bool> = labels.iter().map(|&label| label > 0.5).collect();
    match spec.metric() {
        Metric::RocAuc => metric::roc_auc(&outputs, &truths),
        Metric::Brier => metric::brier(&outputs, &truths),
        Metric::LogLoss => metric::log_loss(&outputs, &truths),
        Metric::Accuracy => metric::accuracy(&outputs, &truths, spec.model.threshold),
        Metric::Mae => metric::mae(&outputs, &labels),
        Metric::Rmse => metric::rmse(&outputs, &labels),
    }
}
