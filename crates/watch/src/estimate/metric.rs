//! Metrics of a stretch of rows: what is expected without labels, what labels show, and the one corrected by the other.

use super::input::{Rows, take};
use steersman_domain::Problem;
use steersman_domain::estimation::{Better, EstimationTask};
use steersman_stats::StatsError;
use steersman_stats::estimate::{
    Decided, DirectLoss, Estimate, Multiclass, PointLoss, Ranked, brier, log_loss,
};
use steersman_stats::interval::{Interval, mean_interval, normal_quantile, wilson};
use steersman_stats::labels::powered::tuned_mean;
use steersman_stats::metric::{self, Cells, Rate};

/// Bootstraps are seeded.
const SEED: u64 = 7;
/// Rounds in which a corrected rate settles.
const ROUNDS: usize = 8;
/// Probabilities are kept this far from 0 and 1 before a logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-15;

/// What can be estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    RocAuc,
    AveragePrecision,
    Rate(Rate),
    Brier,
    LogLoss,
    /// Share of rows in a cell of the confusion matrix.
    Cell(usize),
    /// Business value of a row.
    Value,
    Loss(PointLoss),
    /// The root of a mean loss.
    Root(PointLoss),
}

const CELLS: [&str; 4] = ["true_positive", "false_positive", "false_negative", "true_negative"];

impl Metric {
    /// The metrics of a task, in the order in which they are shown.
    pub(super) fn all(task: EstimationTask) -> Vec<Self> {
        use Metric::{AveragePrecision, Brier, Cell, LogLoss, Loss, RocAuc, Root, Value};
        let rates =
            [Rate::F1, Rate::Precision, Rate::Recall, Rate::Specificity, Rate::Accuracy].map(Self::Rate);
        let ranking = [RocAuc, AveragePrecision].into_iter().chain(rates);
        match task {
            EstimationTask::Binary => {
                ranking.chain([Brier, LogLoss, Value]).chain((0..CELLS.len()).map(Cell)).collect()
            }
            EstimationTask::Multiclass => ranking.collect(),
            EstimationTask::Regression => vec![
                Loss(PointLoss::Absolute),
                Loss(PointLoss::AbsolutePercentage),
                Loss(PointLoss::Squared),
                Root(PointLoss::Squared),
                Loss(PointLoss::SquaredLogarithmic),
                Root(PointLoss::SquaredLogarithmic),
            ],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RocAuc => "roc_auc",
            Self::AveragePrecision => "average_precision",
            Self::Rate(Rate::Accuracy) => "accuracy",
            Self::Rate(Rate::Precision) => "precision",
            Self::Rate(Rate::Recall) => "recall",
            Self::Rate(Rate::Specificity) => "specificity",
            Self::Rate(Rate::F1) => "f1",
            Self::Brier => "brier",
            Self::LogLoss => "log_loss",
            Self::Cell(cell) => CELLS.get(cell).copied().unwrap_or("cell"),
            Self::Value => "business_value",
            Self::Loss(PointLoss::Absolute) => "mae",
            Self::Loss(PointLoss::AbsolutePercentage) | Self::Root(PointLoss::AbsolutePercentage) => "mape",
            Self::Loss(PointLoss::Squared) => "mse",
            Self::Loss(PointLoss::SquaredLogarithmic) => "msle",
            Self::Root(PointLoss::Squared | PointLoss::Absolute) => "rmse",
            Self::Root(PointLoss::SquaredLogarithmic) => "rmsle",
        }
    }

    pub(super) fn better(self) -> Better {
        match self {
            Self::RocAuc | Self::AveragePrecision | Self::Rate(_) | Self::Value => Better::Higher,
            Self::Brier | Self::LogLoss | Self::Loss(_) | Self::Root(_) => Better::Lower,
            Self::Cell(_) => Better::Neither,
        }
    }

    /// The metric of this name.
    pub(super) fn named(name: &str, task: EstimationTask, flag: &str) -> Result<Self, Problem> {
        let all = Self::all(task);
        all.iter().copied().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|metric| metric.name()).collect();
            Problem::invalid(format!(
                "`{name}` is no metric that can be estimated for a {} task",
                task.as_str()
            ))
            .field(flag)
            .hint(format!("there are {}", names.join(", ")))
        })
    }

    /// Whether its correction by labels takes them to be missing at random.
    pub(super) fn needs_fair_sample(self, task: EstimationTask) -> bool {
        task == EstimationTask::Multiclass || matches!(self, Self::RocAuc | Self::AveragePrecision)
    }

    /// The loss whose mean it is, for regression.
    pub(super) fn loss(self) -> Option<PointLoss> {
        match self {
            Self::Loss(loss) | Self::Root(loss) => Some(loss),
            _ => None,
        }
    }
}

/// What an estimate needs to know besides the rows.
pub(super) struct Judge {
    pub(super) task: EstimationTask,
    /// What a row of each cell is worth.
    pub(super) worth: Option<Cells>,
    /// For regression: a model of each loss.
    pub(super) losses: Vec<(PointLoss, DirectLoss)>,
}

/// A stretch of rows with what is expected of them.
pub(super) struct Part {
    pub(super) rows: Rows,
    /// Calibrated probabilities, one column or one for each class; for regression the expected loss of each row, a column
    /// for each of the judge's losses.
    pub(super) expected: Vec<Vec<f64>>,
    /// Probabilities by a calibration for the current mix of rows.
    pub(super) adapted: Option<Vec<f64>>,
    /// How probable it was that each label is there by now.
    pub(super) arrivals: Vec<f64>,
    /// The least and the most favourable other probabilities; none where they are not in doubt.
    pub(super) arrival_bounds: Vec<Vec<f64>>,
}

impl Part {
    pub(super) fn pick(&self, rows: &[usize]) -> Self {
        Self {
            rows: self.rows.pick(rows),
            expected: self.expected.iter().map(|column| take(column, rows)).collect(),
            adapted: self.adapted.as_ref().map(|column| take(column, rows)),
            arrivals: take(&self.arrivals, rows),
            arrival_bounds: self.arrival_bounds.iter().map(|column| take(column, rows)).collect(),
        }
    }

    pub(super) fn with_label(&self) -> Self {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|&row| self.rows.labels[row].is_some()).collect();
        self.pick(&rows)
    }

    fn scores(&self) -> &[f64] {
        self.rows.scores.first().map_or(&[], Vec::as_slice)
    }

    fn flags(&self) -> Vec<bool> {
        self.rows.decisions.iter().map(|decision| *decision == 1).collect()
    }

    /// What the metric is expected to be, without labels.
    pub(super) fn estimated(&self, metric: Metric, judge: &Judge) -> Result<Estimate, StatsError> {
        match judge.task {
            EstimationTask::Binary => {
                self.by_probabilities(metric, self.expected.first().map_or(&[], Vec::as_slice), judge)
            }
            EstimationTask::Multiclass => {
                let window = Multiclass::new(&self.expected)?;
                match metric {
                    Metric::RocAuc => window.roc_auc(&self.rows.scores),
                    Metric::AveragePrecision => window.average_precision(&self.rows.scores),
                    Metric::Rate(rate) => window.rate(rate, &self.rows.decisions),
                    _ => Err(StatsError::Domain("not a metric of several classes")),
                }
            }
            EstimationTask::Regression => {
                let place = judge.losses.iter().position(|(loss, _)| Some(*loss) == metric.loss());
                let (Some((_, model)), Some(column)) = (
                    place.and_then(|place| judge.losses.get(place)),
                    place.and_then(|place| self.expected.get(place)),
                ) else {
                    return Err(StatsError::Domain("its loss cannot be computed from the reference"));
                };
                let mean = model.estimate(column)?;
                Ok(if matches!(metric, Metric::Root(_)) { mean.root() } else { mean })
            }
        }
    }

    /// The same by the calibration for the current mix of rows.
    pub(super) fn adapted(&self, metric: Metric, judge: &Judge) -> Option<Result<Estimate, StatsError>> {
        Some(self.by_probabilities(metric, self.adapted.as_ref()?, judge))
    }

    fn by_probabilities(
        &self,
        metric: Metric,
        probabilities: &[f64],
        judge: &Judge,
    ) -> Result<Estimate, StatsError> {
        let decided = || Decided::new(&self.flags(), probabilities);
        match metric {
            Metric::RocAuc => Ranked::new(self.scores(), probabilities)?.roc_auc(),
            Metric::AveragePrecision => Ranked::new(self.scores(), probabilities)?.average_precision(),
            Metric::Rate(rate) => decided()?.rate(rate),
            Metric::Brier => brier(self.scores(), probabilities),
            Metric::LogLoss => log_loss(self.scores(), probabilities),
            Metric::Cell(_) | Metric::Value => {
                let mut value = decided()?.business_value(worth(metric, judge)?)?;
                let rows = self.rows.len() as f64;
                value.value /= rows;
                value.deviation /= rows;
                Ok(value)
            }
            Metric::Loss(_) | Metric::Root(_) => Err(StatsError::Domain("not a metric of probabilities")),
        }
    }

    /// What the labels show; all rows must have one.
    pub(super) fn realised(&self, metric: Metric, judge: &Judge) -> Result<Interval, StatsError> {
        let labels: Vec<f64> = self.rows.labels.iter().flatten().copied().collect();
        match judge.task {
            EstimationTask::Binary => {
                let truths: Vec<bool> = labels.iter().map(|label| *label == 1.0).collect();
                let decisions: Vec<f64> =
                    self.rows.decisions.iter().map(|decision| *decision as f64).collect();
                match metric {
                    Metric::RocAuc => metric::roc_auc(self.scores(), &truths),
                    Metric::AveragePrecision => metric::average_precision(self.scores(), &truths, SEED),
                    Metric::Rate(Rate::Accuracy) => metric::accuracy(&decisions, &truths, 0.5),
                    Metric::Rate(Rate::Precision) => metric::precision(&decisions, &truths, 0.5),
                    Metric::Rate(Rate::Recall) => metric::recall(&decisions, &truths, 0.5),
                    Metric::Rate(Rate::Specificity) => metric::specificity(&decisions, &truths, 0.5),
                    Metric::Rate(Rate::F1) => metric::f1(&decisions, &truths, 0.5),
                    Metric::Brier => metric::brier(self.scores(), &truths),
                    Metric::LogLoss => metric::log_loss(self.scores(), &truths),
                    Metric::Cell(_) | Metric::Value => {
                        let worth = worth(metric, judge)?;
                        let values: Vec<f64> = self
                            .flags()
                            .iter()
                            .zip(&truths)
                            .map(|(flag, truth)| of_cell(worth, *flag, *truth))
                            .collect();
                        match metric {
                            Metric::Value => mean_interval(&values),
                            _ => wilson(values.iter().sum::<f64>() as u64, values.len() as u64),
                        }
                    }
                    Metric::Loss(_) | Metric::Root(_) => {
                        Err(StatsError::Domain("not a metric of probabilities"))
                    }
                }
            }
            EstimationTask::Multiclass => {
                let truths: Vec<usize> = labels.iter().map(|label| *label as usize).collect();
                match metric {
                    Metric::RocAuc => metric::macro_roc_auc(&self.rows.scores, &truths),
                    Metric::AveragePrecision => {
                        metric::macro_average_precision(&self.rows.scores, &truths, SEED)
                    }
                    Metric::Rate(rate) => {
                        metric::macro_rate(rate, &self.rows.decisions, &truths, self.rows.scores.len())
                    }
                    _ => Err(StatsError::Domain("not a metric of several classes")),
                }
            }
            EstimationTask::Regression => {
                let outputs = self.scores();
                match metric {
                    Metric::Loss(PointLoss::Absolute) => metric::mae(outputs, &labels),
                    Metric::Loss(PointLoss::Squared) => metric::mse(outputs, &labels),
                    Metric::Root(PointLoss::Squared) => metric::rmse(outputs, &labels),
                    Metric::Loss(PointLoss::AbsolutePercentage) => metric::mape(outputs, &labels),
                    Metric::Loss(PointLoss::SquaredLogarithmic) => metric::msle(outputs, &labels),
                    Metric::Root(PointLoss::SquaredLogarithmic) => metric::rmsle(outputs, &labels),
                    _ => Err(StatsError::Domain("not a metric of numbers")),
                }
            }
        }
    }

    /// The value alone of what the labels show, without the cost of its interval.
    pub(super) fn realised_value(&self, metric: Metric, judge: &Judge) -> Result<f64, StatsError> {
        match (judge.task, metric) {
            // Labels are certain probabilities.
            (EstimationTask::Binary, Metric::AveragePrecision) => {
                let labels: Vec<f64> = self.rows.labels.iter().flatten().copied().collect();
                Ok(Ranked::new(self.scores(), &labels)?.average_precision()?.value)
            }
            _ => Ok(self.realised(metric, judge)?.value),
        }
    }

    /// The estimate corrected by the labels that are there (prediction-powered).
    ///
    /// Means of losses are [`tuned_mean`]s. Rates are ratios of two means, found as the root `R` of
    /// `mean(numerator - R denominator) = 0` with the same mean. Metrics of the ranking and of several classes are the
    /// estimate of all rows plus what realised and estimated differ by on the labelled rows, which takes labels to be
    /// missing at random.
    ///
    /// Where the probabilities that labels are there are in doubt, the interval reaches to what their bounds give.
    pub(super) fn corrected(&self, metric: Metric, judge: &Judge) -> Result<Interval, StatsError> {
        let mut found = self.corrected_with(&self.arrivals, metric, judge)?;
        for arrivals in &self.arrival_bounds {
            let other = self.corrected_with(arrivals, metric, judge)?;
            found.low = found.low.min(other.low);
            found.high = found.high.max(other.high);
        }
        Ok(found)
    }

    fn corrected_with(
        &self,
        arrivals: &[f64],
        metric: Metric,
        judge: &Judge,
    ) -> Result<Interval, StatsError> {
        if judge.task == EstimationTask::Regression {
            return self.corrected_loss(arrivals, metric, judge);
        }
        let probability = match (judge.task, self.expected.as_slice()) {
            (EstimationTask::Binary, [column]) => column,
            _ => return self.rectified(metric, judge),
        };
        let flags = self.flags();
        let scores = self.scores();
        let share = |cost: &dyn Fn(usize, bool) -> f64| {
            let estimates: Vec<f64> = (0..self.rows.len())
                .map(|row| probability[row] * cost(row, true) + (1.0 - probability[row]) * cost(row, false))
                .collect();
            let losses: Vec<Option<f64>> = self
                .rows
                .labels
                .iter()
                .enumerate()
                .map(|(row, label)| Some(cost(row, (*label)? == 1.0)))
                .collect();
            Ok::<Interval, StatsError>(tuned_mean(&estimates, &losses, arrivals)?.mean)
        };
        match metric {
            Metric::RocAuc | Metric::AveragePrecision => self.rectified(metric, judge),
            Metric::Brier => Ok(share(&|row, truth| {
                let output = scores[row];
                if truth { (1.0 - output).powi(2) } else { output.powi(2) }
            })?
            .clamped(0.0, 1.0)),
            Metric::LogLoss => Ok(share(&|row, truth| {
                let output = if truth { scores[row] } else { 1.0 - scores[row] };
                -output.clamp(LEAST_PROBABILITY, 1.0).ln()
            })?
            .clamped(0.0, f64::INFINITY)),
            Metric::Value => {
                let worth = worth(metric, judge)?;
                share(&|row, truth| of_cell(worth, flags[row], truth))
            }
            Metric::Cell(_) => {
                let worth = worth(metric, judge)?;
                Ok(share(&|row, truth| of_cell(worth, flags[row], truth))?.clamped(0.0, 1.0))
            }
            Metric::Rate(rate) => {
                let (above, below) = rate.parts();
                let (above, below) = (cells(above), cells(below));
                let scale = share(&|row, truth| of_cell(below, flags[row], truth))?.value;
                if scale <= 0.0 {
                    return Err(StatsError::Domain("it is a share of nothing"));
                }
                let (mut ratio, mut half) = (self.estimated(metric, judge)?.value, 0.0);
                for _ in 0..ROUNDS {
                    let step = share(&|row, truth| {
                        (of_cell(above, flags[row], truth) - ratio * of_cell(below, flags[row], truth))
                            / scale
                    })?;
                    ratio = (ratio + step.value).clamp(0.0, 1.0);
                    half = (step.high - step.low) / 2.0;
                }
                Ok(Interval { value: ratio, low: ratio - half, high: ratio + half }.clamped(0.0, 1.0))
            }
            Metric::Loss(_) | Metric::Root(_) => Err(StatsError::Domain("not a metric of probabilities")),
        }
    }

    fn corrected_loss(
        &self,
        arrivals: &[f64],
        metric: Metric,
        judge: &Judge,
    ) -> Result<Interval, StatsError> {
        let loss = metric.loss().ok_or(StatsError::Domain("not a metric of numbers"))?;
        let place = judge.losses.iter().position(|(own, _)| *own == loss);
        let estimates = place
            .and_then(|place| self.expected.get(place))
            .ok_or(StatsError::Domain("its loss cannot be computed from the reference"))?;
        let losses = self
            .rows
            .labels
            .iter()
            .zip(self.scores())
            .map(|(label, output)| label.map(|label| loss.of(*output, label)).transpose())
            .collect::<Result<Vec<Option<f64>>, StatsError>>()?;
        let mean = tuned_mean(estimates, &losses, arrivals)?.mean.clamped(0.0, f64::INFINITY);
        let value = mean.value.max(0.0);
        Ok(match metric {
            Metric::Root(_) => Interval {
                value: value.sqrt(),
                low: mean.low.max(0.0).sqrt(),
                high: mean.high.max(0.0).sqrt(),
            },
            _ => Interval { value, ..mean },
        })
    }

    fn rectified(&self, metric: Metric, judge: &Judge) -> Result<Interval, StatsError> {
        let known = self.with_label();
        let (all, expected) = (self.estimated(metric, judge)?, known.estimated(metric, judge)?);
        let value = all.value + known.realised_value(metric, judge)? - expected.value;
        let half = normal_quantile(0.975)? * (all.deviation.powi(2) + expected.deviation.powi(2)).sqrt();
        Ok(Interval { value: value.clamp(0.0, 1.0), low: value - half, high: value + half }.clamped(0.0, 1.0))
    }
}

/// What a row of each cell counts for.
fn worth(metric: Metric, judge: &Judge) -> Result<Cells, StatsError> {
    match metric {
        Metric::Cell(cell) => {
            let mut one = [0.0; 4];
            one.iter_mut().skip(cell).take(1).for_each(|part| *part = 1.0);
            Ok(cells(one))
        }
        _ => judge.worth.ok_or(StatsError::Domain("what a row of each cell is worth is not given")),
    }
}

fn cells([true_positive, false_positive, false_negative, true_negative]: [f64; 4]) -> Cells {
    Cells { true_positive, false_positive, false_negative, true_negative }
}

fn of_cell(cells: Cells, decided: bool, truth: bool) -> f64 {
    match (decided, truth) {
        (true, true) => cells.true_positive,
        (true, false) => cells.false_positive,
        (false, true) => cells.false_negative,
        (false, false) => cells.true_negative,
    }
}
