//! What the change means for predictions: the loss it lets one expect, and which columns bring it.
//!
//! A model of the loss learns from the reference which rows are hard. It says what the current rows would cost, and
//! Shapley values share the change out over columns. It cannot see that the truth behind equal rows changed.

use super::Options;
use super::joint::spaced;
use super::pair::{As, Cells, Pair, identifier};
use steersman_domain::Problem;
use steersman_domain::comparison::{ColumnComparison, Harm};
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::StatsError;
use steersman_stats::harm::{ShapleyOptions, shapley};
use steersman_stats::interval::mean_interval;
use steersman_stats::learn::{Boosted, Boosting, Encoding, Loss, Matrix, out_of_fold};

/// Rows from which losses are learnt.
const ROWS: usize = 40_000;
/// Fewer losses than this teach nothing.
const LEAST_ROWS: usize = 200;
/// Columns that get a share of their own; the others share one.
const NAMED: usize = 9;
/// Rows and evaluations of the attribution.
const ATTRIBUTION: ShapleyOptions = ShapleyOptions { rows: 1_000, evaluations: 1_024, seed: 7 };
/// The mean of a category's losses is mixed with the overall mean as if that had been seen so often.
const PRIOR_ROWS: f64 = 20.0;
const FOLDS: usize = 5;
const SEED: u64 = 7;

/// The loss of one prediction.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Squared error of a probability.
    Brier,
    /// Squared error that a probability expects of itself.
    ExpectedBrier,
    AbsoluteError,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Brier | Self::ExpectedBrier => "brier",
            Self::AbsoluteError => "absolute_error",
        }
    }

    fn of(self, output: f64, truth: f64) -> f64 {
        match self {
            Self::Brier => (output - truth).powi(2),
            Self::ExpectedBrier => output * (1.0 - output),
            Self::AbsoluteError => (output - truth).abs(),
        }
    }
}

/// Losses of rows of the reference.
struct Losses {
    measure: Measure,
    predictions: String,
    rows: Vec<usize>,
    losses: Vec<f64>,
    caution: &'static str,
}

/// Expects the loss of the current rows, and writes each column's share of its change.
pub(super) fn expect(
    reference: &Frame,
    current: &Frame,
    columns: &mut [ColumnComparison],
    options: &Options,
) -> Result<Option<Harm>, Problem> {
    if options.target.is_none() && options.prediction.is_none() {
        return Ok(None);
    }
    let own = [&options.target, &options.prediction];
    let used: Vec<(&FrameColumn, &FrameColumn)> = columns
        .iter()
        .filter(|column| !own.iter().any(|name| name.as_deref() == Some(column.name.as_str())))
        .filter_map(|column| Some((reference.column(&column.name)?, current.column(&column.name)?)))
        .filter(|(own, other)| {
            matches!(Pair::way(own, other), As::Numbers | As::Categories)
                && own.kind != DataKind::Datetime
                && !identifier(own, other, Pair::way(own, other))
        })
        .collect();
    if used.is_empty() {
        return Ok(None);
    }
    let Some(losses) = losses(reference, &used, options)? else { return Ok(None) };
    let current_rows = spaced(current.rows, ROWS);
    let found = attribute(&losses, &used, &current_rows, columns).map_err(|error| {
        Problem::invalid(format!("the expected loss cannot be computed: {error}")).field("--target")
    })?;
    let realised = realised(current, losses.measure, options);
    let (reference_loss, expected, low, high) = found;
    let words = match (low > 0.0, high < 0.0) {
        (true, _) => "the columns' shift makes predictions worse",
        (_, true) => "the columns' shift makes predictions better",
        _ => "the columns' shift hardly changes how good predictions are",
    };
    let why = format!(
        "{words}: {} {reference_loss:.4} in the reference, {expected:.4} expected{}; {}",
        losses.measure.name(),
        realised.map_or(String::new(), |loss| format!(", {loss:.4} realised")),
        losses.caution
    );
    Ok(Some(Harm {
        loss: losses.measure.name().to_owned(),
        predictions: losses.predictions,
        reference: reference_loss,
        expected,
        change: (low, high),
        realised,
        why,
    }))
}

/// The losses of the reference's predictions, of the named column or of a small model made for this purpose.
fn losses(
    reference: &Frame,
    used: &[(&FrameColumn, &FrameColumn)],
    options: &Options,
) -> Result<Option<Losses>, Problem> {
    let numbers = |name: &Option<String>, flag: &str| match name {
        None => Ok(None),
        Some(name) => {
            let column = reference.require(name)?;
            match column.kind {
                DataKind::Numeric | DataKind::Boolean => Ok(Some(column.numbers())),
                kind => Err(Problem::invalid(format!("column `{name}` is {}, not numeric", kind.as_str()))
                    .field(flag)
                    .hint(
                        "a target is a number, or 0/1 or true/false; a prediction a number or a probability",
                    )),
            }
        }
    };
    let truths = numbers(&options.target, "--target")?;
    let outputs = numbers(&options.prediction, "--prediction")?;
    let within =
        |values: &[Option<f64>], fits: fn(f64) -> bool| values.iter().flatten().all(|value| fits(*value));
    let binary = truths.as_ref().is_some_and(|truths| within(truths, |truth| truth == 0.0 || truth == 1.0));
    let chances =
        outputs.as_ref().is_some_and(|outputs| within(outputs, |output| (0.0..=1.0).contains(&output)));
    let named = options.prediction.clone().unwrap_or_default();
    let blind = "it cannot see whether the truth behind equal rows changed";
    let (measure, outputs, truths, predictions, caution) = match (outputs, truths) {
        (Some(outputs), Some(truths)) => {
            let measure = if binary && chances { Measure::Brier } else { Measure::AbsoluteError };
            (measure, outputs, truths, format!("column `{named}`"), blind)
        }
        (Some(outputs), None) if chances => {
            let truths = vec![Some(0.0); outputs.len()];
            let caution = "without a target the probabilities are taken to be calibrated";
            (Measure::ExpectedBrier, outputs, truths, format!("column `{named}`"), caution)
        }
        (Some(_), None) => {
            return Err(Problem::invalid(
                "predictions that are no probabilities say nothing about their loss",
            )
            .field("--prediction")
            .hint("name the truth too, with --target"));
        }
        (None, Some(truths)) => {
            let rows: Vec<usize> =
                (0..reference.rows).filter(|&row| truths[row].is_some_and(f64::is_finite)).collect();
            let rows: Vec<usize> = spaced(rows.len(), ROWS).into_iter().map(|place| rows[place]).collect();
            if rows.len() < LEAST_ROWS {
                return Ok(None);
            }
            let targets: Vec<f64> = rows.iter().filter_map(|&row| truths[row]).collect();
            let (loss, measure) = match binary {
                true => (Loss::Log, Measure::Brier),
                false => (Loss::Squared, Measure::AbsoluteError),
            };
            let outputs = stand_in(used, &rows, &targets, loss)
                .map_err(|error| Problem::invalid(error.to_string()).field("--target"))?;
            let losses =
                outputs.iter().zip(&targets).map(|(output, truth)| measure.of(*output, *truth)).collect();
            return Ok(Some(Losses {
                measure,
                predictions: "a small model that was trained on the reference for this comparison".to_owned(),
                rows,
                losses,
                caution: blind,
            }));
        }
        (None, None) => return Ok(None),
    };
    let known = |row: &usize| match (outputs[*row], truths[*row]) {
        (Some(output), Some(truth)) if output.is_finite() && truth.is_finite() => {
            Some((*row, measure.of(output, truth)))
        }
        _ => None,
    };
    let known: Vec<(usize, f64)> = (0..reference.rows).filter_map(|row| known(&row)).collect();
    if known.len() < LEAST_ROWS {
        return Ok(None);
    }
    let chosen: Vec<(usize, f64)> = spaced(known.len(), ROWS).into_iter().map(|place| known[place]).collect();
    let (rows, losses) = chosen.into_iter().unzip();
    Ok(Some(Losses { measure, predictions, rows, losses, caution }))
}

/// Predictions of the reference's rows by models that had not seen them.
fn stand_in(
    used: &[(&FrameColumn, &FrameColumn)],
    rows: &[usize],
    targets: &[f64],
    loss: Loss,
) -> Result<Vec<f64>, StatsError> {
    let columns = used.iter().map(|(own, other)| {
        let way = Pair::way(own, other);
        match way.cells(own) {
            Cells::Numbers(values) => Ok(rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect()),
            Cells::Categories(values) => {
                let texts: Vec<Option<&str>> = rows.iter().map(|&row| values[row].as_deref()).collect();
                Ok(Encoding::frequency(&texts)?.column(texts.iter().copied()))
            }
        }
    });
    let matrix = Matrix::new(columns.collect::<Result<_, StatsError>>()?)?;
    out_of_fold(&small(loss), &matrix, targets, None, FOLDS, SEED)
}

fn small(loss: Loss) -> Boosting {
    Boosting { trees: 60, leaves: 15, ..Boosting::new(loss) }
}

/// Reference loss, expected loss and the interval of the change; each named column's share goes into `columns`.
fn attribute(
    losses: &Losses,
    used: &[(&FrameColumn, &FrameColumn)],
    current_rows: &[usize],
    columns: &mut [ColumnComparison],
) -> Result<(f64, f64, f64, f64), StatsError> {
    let (mut own_columns, mut other_columns) = (Vec::new(), Vec::new());
    for (own, other) in used {
        let way = Pair::way(own, other);
        match (way.cells(own), way.cells(other)) {
            (Cells::Numbers(own), Cells::Numbers(other)) => {
                own_columns
                    .push(losses.rows.iter().map(|&row| own[row].unwrap_or(f64::NAN)).collect::<Vec<f64>>());
                other_columns.push(
                    current_rows.iter().map(|&row| other[row].unwrap_or(f64::NAN)).collect::<Vec<f64>>(),
                );
            }
            (Cells::Categories(own), Cells::Categories(other)) => {
                let texts: Vec<Option<&str>> = losses.rows.iter().map(|&row| own[row].as_deref()).collect();
                let encoding = Encoding::target(&texts, &losses.losses, PRIOR_ROWS)?;
                own_columns.push(encoding.column(texts.iter().copied()));
                other_columns.push(encoding.column(current_rows.iter().map(|&row| other[row].as_deref())));
            }
            _ => return Err(StatsError::Incompatible("a column of numbers and one of categories")),
        }
    }
    let matrix = Matrix::new(own_columns.clone())?;
    let settings = Boosting { trees: 40, leaves: 8, ..Boosting::new(Loss::Squared) };
    let model = Boosted::fit(&settings, &matrix, &losses.losses, None)?;
    // Predictions of unseen reference rows, so that both sides are equally new to the model.
    let before = mean_interval(&out_of_fold(&settings, &matrix, &losses.losses, None, FOLDS, SEED)?)?;
    let now = mean_interval(&model.predict(&Matrix::new(other_columns.clone())?)?)?;
    let half = ((before.high - before.value).powi(2) + (now.high - now.value).powi(2)).sqrt();
    let change = now.value - before.value;
    let reference_loss = losses.losses.iter().sum::<f64>() / losses.losses.len() as f64;
    let groups = groups(used, columns);
    let predict = |columns: &[&[f64]]| {
        let owned = columns.iter().map(|column| column.to_vec()).collect();
        // A failed prediction is no finite loss, which the attribution refuses.
        Matrix::new(owned)
            .and_then(|matrix| model.predict(&matrix))
            .unwrap_or_else(|_| vec![f64::NAN; columns.first().map_or(0, |column| column.len())])
    };
    let found = shapley(&borrowed(&own_columns), &borrowed(&other_columns), &groups, &predict, &ATTRIBUTION)?;
    for group in found.groups.iter().filter(|group| group.columns.len() == 1) {
        let name = &used[group.columns[0]].0.name;
        if let Some(column) = columns.iter_mut().find(|column| column.name == *name) {
            column.harm = Some(group.change.value);
        }
    }
    Ok((reference_loss, reference_loss + change, change - half, change + half))
}

fn borrowed(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// The columns that moved most, each by itself, and all others together.
fn groups(used: &[(&FrameColumn, &FrameColumn)], columns: &[ColumnComparison]) -> Vec<Vec<usize>> {
    let moved = |place: &usize| {
        let found = columns.iter().find(|column| column.name == used[*place].0.name);
        found.map_or((false, 0.0), |column| {
            (column.drifted, column.distances.get("jensen_shannon").copied().unwrap_or(0.0))
        })
    };
    let mut places: Vec<usize> = (0..used.len()).collect();
    places.sort_by(|a, b| {
        let (a, b) = (moved(a), moved(b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    let (named, rest) = places.split_at(places.len().min(NAMED));
    let mut groups: Vec<Vec<usize>> = named.iter().map(|place| vec![*place]).collect();
    if !rest.is_empty() {
        groups.push(rest.to_vec());
    }
    groups
}

/// The loss of the current rows, where their truth is known.
fn realised(current: &Frame, measure: Measure, options: &Options) -> Option<f64> {
    let truths = current.column(options.target.as_deref()?)?.numbers();
    let outputs = current.column(options.prediction.as_deref()?)?.numbers();
    let losses: Vec<f64> = outputs
        .into_iter()
        .zip(truths)
        .filter_map(|(output, truth)| Some(measure.of(output?, truth?)))
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    Some(mean).filter(|mean| mean.is_finite())
}
