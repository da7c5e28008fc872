//! What the labelled reference teaches: what scores mean as probabilities, or which rows are hard.

use super::Options;
use super::arrival::Arrivals;
use super::input::{self, Rows, take};
use super::metric::{Metric, Part};
use crate::compare::spaced;
use steersman_domain::Problem;
use steersman_domain::estimation::{Band, Calibration as Told, CalibrationBin, EstimationTask};
use steersman_records::frame::FrameColumn;
use steersman_stats::StatsError;
use steersman_stats::estimate::{Calibration, ClassCalibration, DirectLoss, Labelled, PointLoss, adapt};
use steersman_stats::interval::wilson;
use steersman_stats::learn::{Boosted, Boosting, Loss, Matrix};

const SEED: u64 = 7;
/// Rows of each side from which their ratio of densities is learnt.
const ADAPT_ROWS: usize = 20_000;
/// Fewer rows of a side show no mix.
const LEAST_ADAPT_ROWS: usize = 100;
/// Rows of the reference from which losses are learnt.
const LOSS_ROWS: usize = 40_000;
/// Rows from which a calibration, and a model of losses, can be learnt.
const LEAST_ROWS: [usize; 2] = [40, 100];
/// Blocks of time that are held out in turn.
const BLOCKS: usize = 5;
/// Bins of the curve.
const BINS: usize = 10;

/// What was learnt, with the rows of both sides and what is expected of them.
pub(super) struct Learnt {
    pub(super) reference: Part,
    pub(super) current: Part,
    pub(super) losses: Vec<(PointLoss, DirectLoss)>,
    pub(super) calibration: Option<Told>,
    /// Rows of the reference that speak for the current mix.
    pub(super) effective_rows: Option<f64>,
}

type Pairs<'a> = [(&'a FrameColumn, &'a FrameColumn)];

/// Learns from the labelled rows of the reference.
#[expect(clippy::too_many_arguments, reason = "both sides, what is known of them, and what is asked")]
pub(super) fn learn(
    own: Rows,
    other: Rows,
    task: EstimationTask,
    features: &Pairs<'_>,
    metrics: &[Metric],
    arrivals: Arrivals,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Learnt, Problem> {
    let needed = LEAST_ROWS[usize::from(task == EstimationTask::Regression)];
    if own.len() < needed {
        return Err(Problem::invalid(format!(
            "the reference has {} labelled rows where at least {needed} are needed",
            own.len()
        ))
        .field("--target")
        .hint("the reference holds predictions and their truths, some hundreds of them or more"));
    }
    match task {
        EstimationTask::Binary => binary(own, other, features, arrivals, options, notes),
        EstimationTask::Multiclass => multiclass(own, other, arrivals, options),
        EstimationTask::Regression => regression(own, other, features, metrics, arrivals, notes),
    }
}

/// The reference: all labels are there.
fn known(rows: Rows, expected: Vec<Vec<f64>>) -> Part {
    Part { arrivals: vec![1.0; rows.len()], rows, expected, adapted: None, arrival_bounds: Vec::new() }
}

/// The current data.
fn judged(rows: Rows, expected: Vec<Vec<f64>>, adapted: Option<Vec<f64>>, labels: Arrivals) -> Part {
    Part { rows, expected, adapted, arrivals: labels.probabilities, arrival_bounds: labels.bounds }
}

/// What is expected of each row by what the other blocks of time teach, so that past windows also show how the estimator
/// errs as time goes on; rows in between would tell it.
fn by_blocks(
    rows: usize,
    predict: impl Fn(&[usize], &[usize]) -> Result<Vec<f64>, StatsError>,
) -> Result<Vec<f64>, StatsError> {
    let mut found = Vec::with_capacity(rows);
    for block in 0..BLOCKS {
        let (start, end) = (block * rows / BLOCKS, (block + 1) * rows / BLOCKS);
        let rest: Vec<usize> = (0..start).chain(end..rows).collect();
        found.extend(predict(&rest, &(start..end).collect::<Vec<usize>>())?);
    }
    Ok(found)
}

fn failed(what: &str, error: &StatsError) -> Problem {
    Problem::invalid(format!("{what}: {error}"))
}

fn binary(
    own: Rows,
    other: Rows,
    features: &Pairs<'_>,
    arrivals: Arrivals,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Learnt, Problem> {
    let ([scores], [other_scores]) = (own.scores.as_slice(), other.scores.as_slice()) else {
        return Err(Problem::internal("a binary output is one column"));
    };
    let truths: Vec<bool> = own.labels.iter().flatten().map(|label| *label == 1.0).collect();
    if let Some(only) = truths.first().filter(|first| truths.iter().all(|truth| truth == *first)) {
        return Err(Problem::invalid(format!(
            "all {} labels of the reference are {}: one class teaches nothing of the other",
            truths.len(),
            u8::from(*only)
        ))
        .field("--target")
        .hint("take a reference with both classes"));
    }
    let (calibration, held) = Calibration::fit(scores, &truths, SEED)
        .map_err(|error| failed("the scores cannot be calibrated", &error).field("--prediction"))?;
    let held = match own.times.is_empty() {
        true => held,
        // A block may leave the others with one class; then rows in between must do.
        false => by_blocks(own.len(), |rest, block| {
            let known: Vec<bool> = take(&truths, rest);
            Calibration::fit(&take(scores, rest), &known, SEED)?.0.apply(&take(scores, block))
        })
        .unwrap_or(held),
    };
    let expected =
        calibration.apply(other_scores).map_err(|error| failed("the scores cannot be used", &error))?;
    let told = Told {
        needed: calibration.function.is_some(),
        gap_before: calibration.gap_before.unwrap_or(calibration.gap_after),
        gap_after: calibration.gap_after,
        curve: curve(scores, &held, &truths),
    };
    let mut effective_rows = None;
    let adapted = match adapted(&own, &other, &truths, features) {
        Ok((probabilities, rows)) => {
            effective_rows = Some(rows);
            Some(probabilities)
        }
        Err(why) if options.features.is_empty() => {
            notes.push(format!("no estimate is adapted to the current mix of rows: {why}"));
            None
        }
        Err(why) => return Err(Problem::invalid(why).field("--features")),
    };
    Ok(Learnt {
        reference: known(own, vec![held]),
        current: judged(other, vec![expected], adapted, arrivals),
        losses: Vec::new(),
        calibration: Some(told),
        effective_rows,
    })
}

/// Probabilities by a calibration for the current mix of rows, and the rows of the reference that speak for it.
fn adapted(
    own: &Rows,
    other: &Rows,
    truths: &[bool],
    features: &Pairs<'_>,
) -> Result<(Vec<f64>, f64), String> {
    if features.is_empty() {
        return Err("no column of both sides can be a feature".to_owned());
    }
    let least = own.len().min(other.len());
    if least < LEAST_ADAPT_ROWS {
        return Err(format!("{least} rows of a side are too few, {LEAST_ADAPT_ROWS} are needed"));
    }
    let (own_rows, other_rows) = (spaced(own.len(), ADAPT_ROWS), spaced(other.len(), ADAPT_ROWS));
    let scores =
        |rows: &Rows, chosen: &[usize]| rows.scores.first().map_or(Vec::new(), |all| take(all, chosen));
    let learn = || {
        let (own_matrix, other_matrix) =
            input::matrices(features, &take(&own.places, &own_rows), &take(&other.places, &other_rows))?;
        let labelled = Labelled {
            features: &own_matrix,
            scores: &scores(own, &own_rows),
            truths: &take(truths, &own_rows),
        };
        adapt(&labelled, &other_matrix, &scores(other, &other_rows), SEED)
    };
    let found = learn().map_err(|error| error.to_string())?;
    let all = other.scores.first().map_or(&[][..], Vec::as_slice);
    // The sample stands for all rows.
    let scale = own.len() as f64 / own_rows.len() as f64;
    Ok((found.function.apply(all), found.effective_rows * scale))
}

/// Scores against shares of positives, in bins of equally many rows.
fn curve(scores: &[f64], held: &[f64], truths: &[bool]) -> Vec<CalibrationBin> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let width = order.len().div_ceil(BINS).max(1);
    let bin = |rows: &[usize]| {
        let mean = |values: &[f64]| rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64;
        let positives = rows.iter().filter(|&&row| truths[row]).count();
        let share = wilson(positives as u64, rows.len() as u64).ok()?;
        Some(CalibrationBin {
            score: mean(scores),
            calibrated: mean(held),
            positive: Band { value: share.value, low: share.low, high: share.high },
            rows: rows.len(),
        })
    };
    order.chunks(width).filter_map(bin).collect()
}

fn multiclass(own: Rows, other: Rows, arrivals: Arrivals, options: &Options) -> Result<Learnt, Problem> {
    let classes = input::classes(options);
    let truths: Vec<usize> = own.labels.iter().flatten().map(|label| *label as usize).collect();
    if classes.len() < 2 {
        return Err(Problem::invalid("there are at least two classes")
            .field("--probability")
            .hint("name the probability of each class with --probability CLASS=COLUMN"));
    }
    for (class, name) in classes.iter().enumerate() {
        let count = truths.iter().filter(|truth| **truth == class).count();
        if count == 0 || count == truths.len() {
            let what = if count == 0 { "none is" } else { "all are" };
            return Err(Problem::invalid(format!("of the labels of the reference {what} `{name}`"))
                .field("--probability")
                .hint("take a reference in which every class occurs"));
        }
    }
    let (calibration, held) = ClassCalibration::fit(&own.scores, &truths, SEED)
        .map_err(|error| failed("the scores cannot be calibrated", &error).field("--probability"))?;
    let expected =
        calibration.apply(&other.scores).map_err(|error| failed("the scores cannot be used", &error))?;
    let parts = calibration.classes();
    let mean = |of: &dyn Fn(&Calibration) -> f64| parts.iter().map(of).sum::<f64>() / parts.len() as f64;
    let first: Vec<bool> = truths.iter().map(|truth| *truth == 0).collect();
    let told = Told {
        needed: parts.iter().any(|part| part.function.is_some()),
        gap_before: mean(&|part| part.gap_before.unwrap_or(part.gap_after)),
        gap_after: mean(&|part| part.gap_after),
        curve: match (own.scores.first(), held.first()) {
            (Some(scores), Some(held)) => curve(scores, held, &first),
            _ => Vec::new(),
        },
    };
    Ok(Learnt {
        reference: known(own, held),
        current: judged(other, expected, None, arrivals),
        losses: Vec::new(),
        calibration: Some(told),
        effective_rows: None,
    })
}

fn regression(
    own: Rows,
    other: Rows,
    features: &Pairs<'_>,
    metrics: &[Metric],
    arrivals: Arrivals,
    notes: &mut Vec<String>,
) -> Result<Learnt, Problem> {
    if features.is_empty() {
        return Err(Problem::invalid(
            "no column of both sides can be a feature, so hard rows cannot be told from easy ones",
        )
        .field("--features")
        .hint("both files need the features that the model was given"));
    }
    let own = match own.len() > LOSS_ROWS {
        true => {
            notes.push(format!(
                "reference: {LOSS_ROWS} of {} rows, evenly spaced, are learnt from",
                own.len()
            ));
            own.pick(&spaced(own.len(), LOSS_ROWS))
        }
        false => own,
    };
    let (own_matrix, other_matrix) = input::matrices(features, &own.places, &other.places)
        .map_err(|error| failed("the features cannot be used", &error).field("--features"))?;
    let truths: Vec<f64> = own.labels.iter().flatten().copied().collect();
    let outputs = |rows: &Rows| rows.scores.first().cloned().unwrap_or_default();
    let (own_outputs, other_outputs) = (outputs(&own), outputs(&other));
    let mut wanted: Vec<PointLoss> = Vec::new();
    for loss in metrics.iter().filter_map(|metric| metric.loss()) {
        if !wanted.contains(&loss) {
            wanted.push(loss);
        }
    }
    let fit = |loss: PointLoss| {
        let (model, held) = DirectLoss::fit(loss, &own_matrix, &own_outputs, &truths, SEED)?;
        let held = match own.times.is_empty() {
            true => held,
            false => {
                let known = own_matrix.with_column(&own_outputs)?;
                let losses = own_outputs
                    .iter()
                    .zip(&truths)
                    .map(|(output, truth)| loss.of(*output, *truth))
                    .collect::<Result<Vec<f64>, StatsError>>()?;
                by_blocks(own.len(), |rest, block| {
                    let of = |rows: &[usize]| {
                        Matrix::new(known.columns().iter().map(|column| take(column, rows)).collect())
                    };
                    Boosted::fit(&Boosting::new(Loss::Squared), &of(rest)?, &take(&losses, rest), None)?
                        .predict(&of(block)?)
                })?
            }
        };
        let expected = model.predict(&other_matrix, &other_outputs)?;
        Ok::<_, StatsError>((model, held, expected))
    };
    // Losses are learnt side by side, in the order asked for.
    let fitted: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = wanted.iter().map(|loss| scope.spawn(move || fit(*loss))).collect();
        running.into_iter().map(|thread| thread.join().ok()).collect()
    });
    let mut losses = Vec::new();
    let (mut held, mut expected) = (Vec::new(), Vec::new());
    for (loss, found) in wanted.into_iter().zip(fitted) {
        match found {
            Some(Ok((model, own, other))) => {
                losses.push((loss, model));
                held.push(own);
                expected.push(other);
            }
            Some(Err(error)) => {
                let names: Vec<&str> = metrics
                    .iter()
                    .filter(|metric| metric.loss() == Some(loss))
                    .map(|metric| metric.name())
                    .collect();
                notes.push(format!("{} cannot be learnt: {error}", names.join(" and ")));
            }
            None => return Err(Problem::internal("learning a loss ended early")),
        }
    }
    if losses.is_empty() {
        return Err(Problem::invalid("no loss can be learnt from the reference")
            .field("--target")
            .hint(notes.last().cloned().unwrap_or_default()));
    }
    Ok(Learnt {
        reference: known(own, held),
        current: judged(other, expected, None, arrivals),
        losses,
        calibration: None,
        effective_rows: None,
    })
}
