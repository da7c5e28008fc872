//! The columns of a side, checked and brought into the order of time.

use super::Options;
use crate::compare::pair::{As, Cells, Pair};
use std::collections::BTreeSet;
use steersman_domain::Problem;
use steersman_domain::estimation::EstimationTask;
use steersman_domain::schema::DataKind;
use steersman_domain::time::{from_micros, micros};
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::StatsError;
use steersman_stats::learn::{Encoding, Matrix};

/// The rows of a side that have a prediction, in order of time where there is one.
#[derive(Clone, Default)]
pub(super) struct Rows {
    /// The row of the frame.
    pub(super) places: Vec<usize>,
    /// Microseconds since 1970; empty without a column of times.
    pub(super) times: Vec<i64>,
    /// Outputs: one column, or one for each class.
    pub(super) scores: Vec<Vec<f64>>,
    /// The class that was decided for, by its number; empty for regression.
    pub(super) decisions: Vec<usize>,
    /// 0 or 1, the number of a class, or a number.
    pub(super) labels: Vec<Option<f64>>,
    /// When labels became known, in microseconds; empty where that is not known.
    pub(super) label_times: Vec<Option<i64>>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn labelled(&self) -> usize {
        self.labels.iter().flatten().count()
    }

    /// Some of the rows.
    pub(super) fn pick(&self, rows: &[usize]) -> Self {
        Self {
            places: take(&self.places, rows),
            times: take(&self.times, rows),
            scores: self.scores.iter().map(|column| take(column, rows)).collect(),
            decisions: take(&self.decisions, rows),
            labels: take(&self.labels, rows),
            label_times: take(&self.label_times, rows),
        }
    }

    /// The rows with a label.
    pub(super) fn with_label(&self) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&row| self.labels[row].is_some()).collect();
        self.pick(&rows)
    }
}

/// Some values of a column; none of an empty one.
pub(super) fn take<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().filter_map(|&row| column.get(row).copied()).collect()
}

/// Which task the data speak of.
pub(super) fn infer(reference: &Frame, options: &Options) -> Result<EstimationTask, Problem> {
    if !options.probabilities.is_empty() {
        return Ok(EstimationTask::Multiclass);
    }
    let target = reference.require(&options.target)?;
    match target.kind {
        DataKind::Boolean => Ok(EstimationTask::Binary),
        DataKind::Numeric => {
            let flags = target.numbers().into_iter().flatten().all(|label| label == 0.0 || label == 1.0);
            Ok(if flags { EstimationTask::Binary } else { EstimationTask::Regression })
        }
        kind => Err(Problem::invalid(format!(
            "the task cannot be inferred: the target `{}` is {}",
            options.target,
            kind.as_str()
        ))
        .field("--target")
        .hint("a binary target is 0/1 or true/false, one of regression a number; for several classes name the probability of each with --probability CLASS=COLUMN")),
    }
}

/// The names of the classes, in the order of the flags.
pub(super) fn classes(options: &Options) -> Vec<&str> {
    options.probabilities.iter().map(|(class, _)| class.as_str()).collect()
}

/// Reads a side. Only the reference must have the target.
pub(super) fn rows(
    frame: &Frame,
    task: EstimationTask,
    time: Option<&str>,
    options: &Options,
    needs_target: bool,
    notes: &mut Vec<String>,
) -> Result<Rows, Problem> {
    let side = if needs_target { "reference" } else { "current" };
    let outputs = outputs(frame, task, options)?;
    let labels = match needs_target || frame.column(&options.target).is_some() {
        true => labels(frame, task, options)?,
        false => vec![None; frame.rows],
    };
    let label_times = match &options.label_time {
        Some(name) if needs_target || frame.column(name).is_some() => times(frame, name, "--label-time")?,
        _ => Vec::new(),
    };
    let times = time.map(|name| times(frame, name, "--time")).transpose()?;
    let has_time = |row: usize| times.as_ref().is_none_or(|times| times[row].is_some());
    let has_output = |row: usize| outputs.iter().all(|column| column[row].is_some());
    let mut places: Vec<usize> = (0..frame.rows).filter(|&row| has_output(row) && has_time(row)).collect();
    if places.len() < frame.rows {
        let dropped = frame.rows - places.len();
        notes.push(format!("{side}: {dropped} rows without a prediction or time are left out"));
    }
    if places.is_empty() {
        return Err(Problem::invalid(format!("the {side} data holds no row with a prediction"))
            .field(frame.source.clone())
            .hint("look at --where if there is one"));
    }
    if let Some(times) = &times {
        places.sort_by_key(|&row| times[row]);
    }
    let scores: Vec<Vec<f64>> =
        outputs.iter().map(|column| places.iter().filter_map(|&row| column[row]).collect()).collect();
    let decisions = decisions(frame, task, &places, &scores, options)?;
    let mut rows = Rows {
        times: times.map(|times| places.iter().filter_map(|&row| times[row]).collect()).unwrap_or_default(),
        scores,
        decisions,
        labels: take(&labels, &places),
        label_times: take(&label_times, &places),
        places,
    };
    if let Some(now) = options.as_of {
        let now = micros(now);
        for (label, at) in rows.labels.iter_mut().zip(&rows.label_times) {
            if at.is_some_and(|at| at > now) {
                *label = None;
            }
        }
        // What was not predicted yet is left out.
        let until = rows.times.partition_point(|at| *at <= now);
        if !rows.times.is_empty() && until < rows.len() {
            notes.push(format!("{side}: {} rows of after that time are left out", rows.len() - until));
            rows = rows.pick(&(0..until).collect::<Vec<usize>>());
        }
        if rows.len() == 0 {
            return Err(Problem::invalid(format!(
                "the {side} data holds no row of before {}",
                from_micros(now)
            ))
            .field("--as-of")
            .hint("take a later time"));
        }
    }
    Ok(rows)
}

/// The outputs, one column or one for each class, checked.
fn outputs(frame: &Frame, task: EstimationTask, options: &Options) -> Result<Vec<Vec<Option<f64>>>, Problem> {
    let named: Vec<(&str, &str)> = match task {
        EstimationTask::Multiclass => {
            options.probabilities.iter().map(|(_, name)| (name.as_str(), "--probability")).collect()
        }
        _ => {
            let name = options.prediction.as_deref().ok_or_else(|| {
                Problem::invalid("the column with the predictions is not named")
                    .field("--prediction")
                    .hint("name it with --prediction, or for several classes with --probability CLASS=COLUMN")
            })?;
            vec![(name, "--prediction")]
        }
    };
    let mut columns = Vec::with_capacity(named.len());
    for (name, flag) in named {
        let column = frame.require(name)?;
        if !matches!(column.kind, DataKind::Numeric | DataKind::Boolean) {
            return Err(Problem::invalid(format!(
                "column `{name}` of `{}` is {}, not numeric",
                frame.source,
                column.kind.as_str()
            ))
            .field(flag));
        }
        let numbers = column.numbers();
        let fits = |output: f64| match task {
            EstimationTask::Regression => output.is_finite(),
            _ => (0.0..=1.0).contains(&output),
        };
        if let Some((row, value)) = numbers
            .iter()
            .enumerate()
            .find_map(|(row, value)| Some((row, (*value)?)).filter(|(_, v)| !fits(*v)))
        {
            let wanted = match task {
                EstimationTask::Regression => "a finite number",
                _ => "a probability between 0 and 1",
            };
            return Err(Problem::invalid(format!(
                "column `{name}` of `{}` is {value} at {}, which is not {wanted}",
                frame.source,
                frame.place(row)
            ))
            .field(flag)
            .hint(match task {
                EstimationTask::Regression => "leave the value empty where there is no prediction",
                _ => "name the column with the probability of the positive class; --task regression is for numbers",
            }));
        }
        columns.push(numbers);
    }
    Ok(columns)
}

/// The labels: 0 or 1, class numbers or numbers.
fn labels(frame: &Frame, task: EstimationTask, options: &Options) -> Result<Vec<Option<f64>>, Problem> {
    let column = frame.require(&options.target)?;
    let wrong = |row: usize, value: String, wanted: &str, hint: &str| {
        Problem::invalid(format!(
            "target `{}` of `{}` is `{value}` at {}, which is not {wanted}",
            options.target,
            frame.source,
            frame.place(row)
        ))
        .field("--target")
        .hint(hint)
    };
    if task == EstimationTask::Multiclass {
        let classes = classes(options);
        return (0..column.len())
            .map(|row| match column.category(row) {
                None => Ok(None),
                Some(value) => match classes.iter().position(|class| *class == value) {
                    Some(class) => Ok(Some(class as f64)),
                    None => Err(wrong(
                        row,
                        value.clone(),
                        "a class with a column of probabilities",
                        &format!("add --probability {value}=COLUMN; there are {}", classes.join(", ")),
                    )),
                },
            })
            .collect();
    }
    let numbers = column.numbers();
    let known = column.missing() < column.len();
    if known && !matches!(column.kind, DataKind::Numeric | DataKind::Boolean) {
        let row = (0..column.len()).find(|&row| column.category(row).is_some()).unwrap_or(0);
        let value = column.category(row).unwrap_or_default();
        let (wanted, hint) = match task {
            EstimationTask::Binary => ("0 or 1", "write 1 for what the prediction is the probability of"),
            _ => ("a number", "for classes name the probability of each with --probability CLASS=COLUMN"),
        };
        return Err(wrong(row, value, wanted, hint));
    }
    let fits = |label: f64| match task {
        EstimationTask::Binary => label == 0.0 || label == 1.0,
        _ => label.is_finite(),
    };
    let (wanted, hint) = match task {
        EstimationTask::Binary => ("0 or 1", "--task regression is for targets that are numbers"),
        _ => ("a finite number", "leave the value empty where the truth is not known yet"),
    };
    match numbers
        .iter()
        .enumerate()
        .find_map(|(row, label)| Some((row, (*label)?)).filter(|(_, l)| !fits(*l)))
    {
        Some((row, label)) => Err(wrong(row, label.to_string(), wanted, hint)),
        None => Ok(numbers),
    }
}

fn times(frame: &Frame, name: &str, flag: &str) -> Result<Vec<Option<i64>>, Problem> {
    let column = frame.require(name)?;
    match column.kind {
        DataKind::Datetime => Ok(column.times()),
        _ if column.missing() == column.len() => Ok(vec![None; column.len()]),
        kind => Err(Problem::invalid(format!(
            "column `{name}` of `{}` holds no times but is {}",
            frame.source,
            kind.as_str()
        ))
        .field(flag)
        .hint("times look like 2026-01-31T12:00:00Z or 2026-01-31 12:00")),
    }
}

/// What was decided: the named column, or what the outputs say.
fn decisions(
    frame: &Frame,
    task: EstimationTask,
    places: &[usize],
    scores: &[Vec<f64>],
    options: &Options,
) -> Result<Vec<usize>, Problem> {
    let likeliest = |row: usize| {
        let best = scores
            .iter()
            .enumerate()
            .max_by(|(a, left), (b, right)| left[row].total_cmp(&right[row]).then(b.cmp(a)));
        best.map_or(0, |(class, _)| class)
    };
    let Some(name) = &options.decision else {
        return Ok(match (task, scores) {
            (EstimationTask::Binary, [scores]) => {
                scores.iter().map(|score| usize::from(*score >= options.threshold)).collect()
            }
            (EstimationTask::Multiclass, _) => (0..places.len()).map(likeliest).collect(),
            _ => Vec::new(),
        });
    };
    let column = frame.require(name)?;
    let names = classes(options);
    let numbers = column.numbers();
    let decided = |&row: &usize| match task {
        EstimationTask::Multiclass => {
            let value = column.category(row)?;
            names.iter().position(|class| *class == value)
        }
        _ => numbers[row]
            .filter(|decision| *decision == 0.0 || *decision == 1.0)
            .map(|one| usize::from(one > 0.0)),
    };
    places
        .iter()
        .map(|row| {
            decided(row).ok_or_else(|| {
                let value = column.category(*row).unwrap_or_default();
                let wanted = match task {
                    EstimationTask::Multiclass => format!("one of {}", names.join(", ")),
                    _ => "0 or 1".to_owned(),
                };
                Problem::invalid(format!(
                    "decision `{name}` of `{}` is `{value}` at {}, which is not {wanted}",
                    frame.source,
                    frame.place(*row)
                ))
                .field("--decision")
            })
        })
        .collect()
}

/// The columns that may be features: those of both sides that are no output, target, time or identifier.
pub(super) fn features<'a>(
    reference: &'a Frame,
    current: &'a Frame,
    time: Option<&str>,
    options: &Options,
) -> Result<Vec<(&'a FrameColumn, &'a FrameColumn)>, Problem> {
    if !options.features.is_empty() {
        return options
            .features
            .iter()
            .map(|name| Ok((reference.require(name)?, current.require(name)?)))
            .collect();
    }
    let own: BTreeSet<&str> = [&options.prediction, &options.decision, &options.label_time]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .chain([options.target.as_str()])
        .chain(time)
        .chain(options.probabilities.iter().map(|(_, column)| column.as_str()))
        .collect();
    let usable = |(column, other): &(&FrameColumn, &FrameColumn)| {
        !own.contains(column.name.as_str())
            && column.kind != DataKind::Datetime
            && matches!(Pair::way(column, other), As::Numbers | As::Categories)
            && column.missing() < column.len()
            && !Pair::new(column, other).identifier
    };
    let pairs = reference.columns.iter().filter_map(|own| Some((own, current.column(&own.name)?)));
    Ok(pairs.filter(usable).collect())
}

/// Features of rows of both sides as numbers; categories by how frequent they are in the reference.
pub(super) fn matrices(
    features: &[(&FrameColumn, &FrameColumn)],
    own_rows: &[usize],
    other_rows: &[usize],
) -> Result<(Matrix, Matrix), StatsError> {
    let (mut own_columns, mut other_columns) = (Vec::new(), Vec::new());
    for (own, other) in features {
        let way = Pair::way(own, other);
        match (way.cells(own), way.cells(other)) {
            (Cells::Numbers(own), Cells::Numbers(other)) => {
                let of = |values: &[Option<f64>], rows: &[usize]| -> Vec<f64> {
                    rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect()
                };
                own_columns.push(of(&own, own_rows));
                other_columns.push(of(&other, other_rows));
            }
            (Cells::Categories(own), Cells::Categories(other)) => {
                let texts: Vec<Option<&str>> = own_rows.iter().map(|&row| own[row].as_deref()).collect();
                let encoding = Encoding::frequency(&texts)?;
                own_columns.push(encoding.column(texts.iter().copied()));
                other_columns.push(encoding.column(other_rows.iter().map(|&row| other[row].as_deref())));
            }
            _ => return Err(StatsError::Incompatible("a column of numbers and one of categories")),
        }
    }
    Ok((Matrix::new(own_columns)?, Matrix::new(other_columns)?))
}
