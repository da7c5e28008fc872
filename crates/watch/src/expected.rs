//! Performance before the labels: what a window's metric is expected to be, learnt from the champion's own labelled windows.
//!
//! Binary models: scores are calibrated to probabilities, out of fold for the windows that they were learnt from (CBPE).
//! Regression: the loss of a row is predicted from its features and the output (DLE). The interval is as wide as the
//! errors on those past windows were. Neither sees a change of what the labels are for the same features; only labels do.

use crate::measure::{metric_of, own};
use crate::reference::{Cells, watched};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::spec::Metric;
use steersman_domain::{ModelSpec, Schema, Window};
use steersman_records::Table;
use steersman_stats::StatsError;
use steersman_stats::estimate::{self, Calibration, Decided, DirectLoss, Estimate, Past, PointLoss, Ranked};
use steersman_stats::interval::Interval;
use steersman_stats::labels::powered::powered_mean;
use steersman_stats::learn::{Encoding, Matrix};
use steersman_stats::metric::Rate;

/// Fewer labelled rows teach nothing.
const LEAST_ROWS: usize = 200;
/// More are thinned out evenly.
const MOST_ROWS: usize = 10_000;
/// Windows with fewer labels are no past windows.
const LEAST_LABELS: usize = 20;
/// So that the same rows give the same estimate.
const SEED: u64 = 7;

/// What is expected of rows without labels.
#[derive(Clone)]
pub(crate) struct Expected {
    kind: Arc<Kind>,
    learnt: Arc<Vec<Learnt>>,
    past: Vec<Past>,
    rows: usize,
}

/// A labelled row that was learnt from.
struct Learnt {
    /// Its place in the history.
    row: usize,
    window: Option<Window>,
    output: f64,
    label: f64,
    /// What is expected of it by what was learnt without it.
    held: f64,
}

enum Kind {
    Binary(Calibration),
    Regression(Box<DirectLoss>, Features),
}

/// How features become numbers.
struct Features(BTreeMap<String, Encoding>);

impl Features {
    fn learn(schema: &Schema, table: &Table, rows: &[usize]) -> Result<Self, StatsError> {
        let mut encodings = BTreeMap::new();
        for column in &schema.features {
            if let Cells::Texts(values) = Cells::of(column, table) {
                let own: Vec<Option<&str>> = rows.iter().map(|&row| values[row].as_deref()).collect();
                encodings.insert(column.name.clone(), Encoding::frequency(&own)?);
            }
        }
        Ok(Self(encodings))
    }

    fn matrix(&self, schema: &Schema, table: &Table, rows: &[usize]) -> Result<Matrix, StatsError> {
        let features = watched(schema).filter(|column| column.name != schema.prediction.name);
        let numbers = |column| match Cells::of(column, table) {
            Cells::Numbers(values) => rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect(),
            Cells::Texts(values) => match self.0.get(&column.name) {
                Some(encoding) => encoding.column(rows.iter().map(|&row| values[row].as_deref())),
                None => vec![f64::NAN; rows.len()],
            },
        };
        Matrix::new(features.map(numbers).collect())
    }
}

impl Expected {
    /// Learns from the labelled windows of one version. The reason is in words where it cannot.
    pub(crate) fn learn(spec: &ModelSpec, schema: &Schema, table: &Table) -> Result<Self, String> {
        let (outputs, labels) = (table.numbers(&spec.model.prediction), table.numbers("label"));
        let mut rows: Vec<usize> =
            own(spec, table).into_iter().filter(|&row| labels[row].is_some()).collect();
        if rows.len() < LEAST_ROWS {
            return Err(format!(
                "{} predictions of this version have a label, {LEAST_ROWS} are needed to estimate from",
                rows.len()
            ));
        }
        let step = rows.len().div_ceil(MOST_ROWS);
        rows = rows.into_iter().step_by(step).collect();
        let of = |values: &[Option<f64>]| -> Vec<f64> {
            rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect()
        };
        let (outputs, labels) = (of(&outputs), of(&labels));
        let words = |error: StatsError| error.to_string();
        let (kind, held) = match spec.metric() {
            Metric::Mae | Metric::Rmse => {
                let features = Features::learn(schema, table, &rows).map_err(words)?;
                let matrix = features.matrix(schema, table, &rows).map_err(words)?;
                let (loss, held) =
                    DirectLoss::fit(point_loss(spec), &matrix, &outputs, &labels, SEED).map_err(words)?;
                (Kind::Regression(Box::new(loss), features), held)
            }
            _ => {
                let truths: Vec<bool> = labels.iter().map(|&label| label > 0.5).collect();
                let (calibration, held) = Calibration::fit(&outputs, &truths, SEED).map_err(words)?;
                (Kind::Binary(calibration), held)
            }
        };
        let times = table.times("time");
        let window = |row: usize| times[row].map(|time| Window::holding(time, spec.watch.window));
        let learnt = rows.iter().zip(outputs.iter().zip(&labels)).zip(&held);
        let learnt: Vec<Learnt> = learnt
            .map(|((&row, (&output, &label)), &held)| Learnt {
                row,
                window: window(row),
                output,
                label,
                held,
            })
            .collect();
        let expected = Self { kind: Arc::new(kind), learnt: Arc::new(learnt), past: Vec::new(), rows: 0 };
        Ok(expected.within(spec, |_| true))
    }

    /// The same of some of the rows, whose places in the history `holds` knows: what scores mean is learnt from all, how far
    /// estimates are off is asked of these alone.
    pub(crate) fn within(&self, spec: &ModelSpec, holds: impl Fn(usize) -> bool) -> Self {
        let mut windows: BTreeMap<Window, Vec<&Learnt>> = BTreeMap::new();
        let own: Vec<&Learnt> = self.learnt.iter().filter(|learnt| holds(learnt.row)).collect();
        for learnt in &own {
            if let Some(window) = learnt.window {
                windows.entry(window).or_default().push(learnt);
            }
        }
        let past = |rows: &Vec<&Learnt>| {
            let (outputs, held): (Vec<f64>, Vec<f64>) =
                rows.iter().map(|learnt| (learnt.output, learnt.held)).unzip();
            let estimate = self.estimate(spec, &outputs, &held).ok()?;
            let pairs: Vec<(f64, f64)> = rows.iter().map(|learnt| (learnt.output, learnt.label)).collect();
            Some(Past { estimate, realised: metric_of(spec, &pairs).ok()?.value })
        };
        let enough = windows.values().filter(|rows| rows.len() >= LEAST_LABELS);
        Self { past: enough.filter_map(past).collect(), rows: own.len(), ..self.clone() }
    }

    /// The estimate from outputs and what is expected of them: probabilities, or losses.
    fn estimate(&self, spec: &ModelSpec, outputs: &[f64], held: &[f64]) -> Result<Estimate, StatsError> {
        match (&*self.kind, spec.metric()) {
            (Kind::Regression(loss, _), Metric::Rmse) => Ok(loss.estimate(held)?.root()),
            (Kind::Regression(loss, _), _) => loss.estimate(held),
            (Kind::Binary(_), Metric::RocAuc) => Ranked::new(outputs, held)?.roc_auc(),
            (Kind::Binary(_), Metric::LogLoss) => estimate::log_loss(outputs, held),
            (Kind::Binary(_), Metric::Accuracy) => {
                let decisions: Vec<bool> =
                    outputs.iter().map(|&output| output >= spec.model.threshold).collect();
                Decided::new(&decisions, held)?.rate(Rate::Accuracy)
            }
            (Kind::Binary(_), _) => estimate::brier(outputs, held),
        }
    }

    /// What is expected of these rows: probabilities, or losses.
    fn of_rows(
        &self,
        schema: &Schema,
        table: &Table,
        rows: &[usize],
        outputs: &[f64],
    ) -> Result<Vec<f64>, StatsError> {
        match &*self.kind {
            Kind::Binary(calibration) => calibration.apply(outputs),
            Kind::Regression(loss, features) => loss.predict(&features.matrix(schema, table, rows)?, outputs),
        }
    }

    /// The metric of a window before its labels, with an interval as honest as past windows allow.
    pub(crate) fn window(
        &self,
        spec: &ModelSpec,
        schema: &Schema,
        table: &Table,
    ) -> Result<Interval, StatsError> {
        let (rows, outputs) = outputs(spec, table);
        let held = self.of_rows(schema, table, &rows, &outputs)?;
        self.estimate(spec, &outputs, &held)?.interval_after(&self.past)
    }

    /// The mean loss of a window of which only some rows have a label: estimates of all, corrected by the labels that are
    /// there (prediction-powered). Labels must not be there or missing because of what they say. Only for metrics that
    /// are means of losses.
    pub(crate) fn corrected(
        &self,
        spec: &ModelSpec,
        schema: &Schema,
        table: &Table,
    ) -> Result<Interval, StatsError> {
        if !matches!(spec.metric(), Metric::Brier | Metric::Mae) {
            return Err(StatsError::Domain("the metric is no mean of losses"));
        }
        let (rows, outputs) = outputs(spec, table);
        let labels = table.numbers("label");
        let expected = self.of_rows(schema, table, &rows, &outputs)?;
        let (mut losses, mut estimates, mut unlabelled) = (Vec::new(), Vec::new(), Vec::new());
        for ((&row, &output), &expected) in rows.iter().zip(&outputs).zip(&expected) {
            let estimate = match *self.kind {
                Kind::Binary(_) => expected * (1.0 - output).powi(2) + (1.0 - expected) * output.powi(2),
                Kind::Regression(..) => expected,
            };
            match labels[row] {
                Some(label) => {
                    losses.push(crate::measure::loss(spec.model.task, output, label));
                    estimates.push(estimate);
                }
                None => unlabelled.push(estimate),
            }
        }
        Ok(powered_mean(&losses, &estimates, &unlabelled)?.mean)
    }

    /// Labelled rows that it was learnt from, and past windows that its interval rests on.
    pub(crate) fn basis(&self) -> (usize, usize) {
        (self.rows, self.past.len())
    }
}

fn point_loss(spec: &ModelSpec) -> PointLoss {
    if spec.metric() == Metric::Rmse { PointLoss::Squared } else { PointLoss::Absolute }
}

/// The champion's rows and outputs.
fn outputs(spec: &ModelSpec, table: &Table) -> (Vec<usize>, Vec<f64>) {
    let outputs = table.numbers(&spec.model.prediction);
    own(spec, table).into_iter().filter_map(|row| Some((row, outputs[row]?))).unzip()
}
