//! `steersman estimate`: how good predictions are before their labels are there, once, without config or server.

use crate::output::{self, Deliver, note, read_both, table};
use crate::progress::steps;
use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use steersman_domain::estimation::{Basis, Estimation, EstimationTask, LabelledSide, MetricEstimate};
use steersman_domain::{Period, Problem};
use steersman_records::frame::Selection;
use steersman_stats::metric::Cells;
use steersman_watch::estimate::{Options, estimate};

/// How good are the predictions, before their labels are there?
///
/// REF holds predictions with their truths, CUR predictions whose truths are missing, or have come in part. Reads CSV,
/// JSON lines, Parquet and Arrow: a file, a folder or a pattern, also packed with gzip or zstd. Exit code 1 when a metric
/// is worse than in the reference, or beyond its floor, with its whole interval.
///
/// Examples:
///   steersman estimate last-year.parquet today.parquet --prediction score --target late
///   steersman estimate ref.csv cur.csv --prediction score --target late --window 7d --html report.html
///   steersman estimate ref.csv cur.csv --prediction score --target late --floor roc_auc=0.7 --metrics roc_auc,f1
///   steersman estimate ref.csv cur.csv --prediction score --target late --value tp=100,fp=-40,fn=-200,tn=0
///   steersman estimate ref.csv cur.csv --prediction minutes --target delay --features hour,carrier    a number
///   steersman estimate ref.csv cur.csv --probability a=p_a --probability b=p_b --target kind          classes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EstimateArgs {
    /// Predictions with their truths.
    #[arg(value_name = "REF")]
    reference: String,
    /// The predictions to judge.
    #[arg(value_name = "CUR")]
    current: String,
    /// The column with the model's output: the probability of the positive class, or a number.
    #[arg(long, value_name = "NAME", required_unless_present = "probabilities")]
    prediction: Option<String>,
    /// For several classes: the column with the probability of a class (once for each class).
    #[arg(long = "probability", value_name = "CLASS=COLUMN", value_parser = pair, conflicts_with = "prediction")]
    probabilities: Vec<(String, String)>,
    /// The column with the truth; the current data may lack it, or have it in part.
    #[arg(long, value_name = "NAME")]
    target: String,
    /// The column with what was decided [default: the threshold, or the likeliest class, decides].
    #[arg(long, value_name = "NAME")]
    decision: Option<String>,
    /// Probabilities from here on are decided positive.
    #[arg(long, default_value_t = 0.5, value_name = "P")]
    threshold: f64,
    /// What is predicted [default: inferred from the target, and said].
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    /// The columns that tell easy rows from hard ones, with commas between them [default: all others].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    features: Vec<String>,
    /// Only these metrics, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    metrics: Vec<String>,
    /// Length of the stretches of time that are judged one by one, such as `7d`.
    #[arg(long, value_name = "PERIOD", conflicts_with = "chunk_rows")]
    window: Option<Period>,
    /// Rows of the stretches that are judged one by one [default: a dozen stretches where there is a time].
    #[arg(long, value_name = "N")]
    chunk_rows: Option<usize>,
    /// The column with the time [default: the first that holds times].
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// The column with the time at which a label became known: says how mature the labels are, and weights them.
    #[arg(long, value_name = "NAME")]
    label_time: Option<String>,
    /// Leave out predictions made, and labels that became known, after this time: what could be said then.
    #[arg(long, value_name = "TIME", requires = "label_time", value_parser = time)]
    as_of: Option<Timestamp>,
    /// Only rows for which this SQL condition holds, on both sides.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// What a row of each cell of the confusion matrix is worth; what is not named is worth 0.
    #[arg(long, value_name = "tp=A,fp=B,fn=C,tn=D", value_parser = worth)]
    value: Option<Cells>,
    /// Alarm when this metric is beyond this value: below it, or for a loss above it (repeatable).
    #[arg(long = "floor", value_name = "METRIC=VALUE", value_parser = floor)]
    floors: Vec<(String, f64)>,
    #[command(flatten)]
    deliver: Deliver,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TaskName {
    /// The probability that something is so.
    Binary,
    /// The probabilities of several classes.
    Multiclass,
    /// A number.
    Regression,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write a name, `=` and what belongs to it".to_owned()),
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| format!("`{text}` is no number"))
}

fn floor(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    Ok((name, number(&value)?))
}

fn worth(text: &str) -> Result<Cells, String> {
    let mut cells = Cells::default();
    for part in text.split(',') {
        let (cell, value) = floor(part)?;
        *match cell.trim() {
            "tp" => &mut cells.true_positive,
            "fp" => &mut cells.false_positive,
            "fn" => &mut cells.false_negative,
            "tn" => &mut cells.true_negative,
            other => return Err(format!("`{other}` is no cell: there are tp, fp, fn and tn")),
        } = value;
    }
    Ok(cells)
}

fn time(text: &str) -> Result<Timestamp, Problem> {
    steersman_domain::time::parse_time(text)
}

/// Returns whether no metric is worse.
pub(crate) fn run(args: &EstimateArgs) -> Result<bool> {
    let task = args.task.map(|task| match task {
        TaskName::Binary => EstimationTask::Binary,
        TaskName::Multiclass => EstimationTask::Multiclass,
        TaskName::Regression => EstimationTask::Regression,
    });
    let options = Options {
        prediction: args.prediction.clone(),
        probabilities: args.probabilities.clone(),
        target: args.target.clone(),
        decision: args.decision.clone(),
        threshold: args.threshold,
        task,
        features: args.features.clone(),
        metrics: args.metrics.clone(),
        window: args.window,
        chunk_rows: args.chunk_rows,
        time: args.time.clone(),
        label_time: args.label_time.clone(),
        as_of: args.as_of,
        value: args.value,
        floors: args.floors.clone(),
    };
    let selection = Selection { condition: args.condition.clone(), ..Selection::default() };
    let bar = steps("reading");
    let (reference, current) = read_both((&args.reference, &selection), (&args.current, &selection))?;
    bar.say("estimating");
    let found = estimate(&reference, &current, &options, &|done, all| bar.at(done, all))?;
    bar.finish();
    let page = || steersman_prove::estimation::html(&found, env!("CARGO_PKG_VERSION"));
    if args.deliver.write(&found, page)? {
        print(&found, args);
    }
    Ok(!found.worse)
}

fn print(found: &Estimation, args: &EstimateArgs) {
    for (name, side) in [("reference", &found.reference), ("current", &found.current)] {
        note(&format!("{name:<10} {}", described(side)));
    }
    let inferred = if found.task_inferred { " (inferred)" } else { "" };
    let time = found.time.as_ref().map_or(String::new(), |time| format!("; time is `{time}`"));
    note(&format!("{:<10} {}{inferred}{time}", "task", found.task.as_str()));
    if let Some(calibration) = &found.calibration {
        let words = if calibration.needed { "were calibrated" } else { "are taken as they are" };
        note(&format!(
            "{:<10} scores {words}: calibration error {:.4} before, {:.4} after, on rows held out",
            "scores", calibration.gap_before, calibration.gap_after
        ));
    }
    if let Some(maturity) = &found.maturity {
        note(&format!("{:<10} {}", "labels", maturity.why));
    }
    note("");
    let any = |has: fn(&MetricEstimate) -> bool| found.metrics.iter().any(has);
    let columns = [
        ("ESTIMATED", any(|metric| metric.estimated.is_some())),
        ("ADAPTED", any(|metric| metric.adapted.is_some())),
        ("CORRECTED", any(|metric| metric.corrected.is_some())),
        ("LABELS SAY", any(|metric| metric.realised.is_some())),
    ];
    let mut headings = vec!["METRIC"];
    headings.extend(columns.iter().filter(|(_, shown)| *shown).map(|(name, _)| *name));
    headings.extend(["REFERENCE", "CHANGE", ""]);
    let rows: Vec<Vec<String>> = found
        .metrics
        .iter()
        .map(|metric| {
            let cells = [
                metric.estimated.map(|band| (band.value, band.low, band.high, Basis::Estimated)),
                metric.adapted.map(|band| (band.value, band.low, band.high, Basis::Adapted)),
                metric.corrected.map(|band| (band.value, band.low, band.high, Basis::Corrected)),
                metric.realised.map(|band| (band.value, band.low, band.high, Basis::Realised)),
            ];
            let mut row = vec![metric.name.clone()];
            row.extend(columns.iter().zip(cells).filter(|((_, shown), _)| *shown).map(
                |(_, cell)| match cell {
                    Some((value, low, high, basis)) => {
                        let mark = if metric.basis == Some(basis) { "*" } else { "" };
                        format!("{}{mark} ({}-{})", brief(value), brief(low), brief(high))
                    }
                    None => "-".to_owned(),
                },
            ));
            row.push(metric.reference.map_or("-".to_owned(), |band| brief(band.value)));
            row.push(metric.change.map_or("-".to_owned(), |change| {
                format!("{}{}", if change >= 0.0 { "+" } else { "" }, brief(change))
            }));
            row.push(if metric.alarm { "worse" } else { "" }.to_owned());
            row
        })
        .collect();
    table(&headings, &rows);
    note("* the number that is believed, with its 95 % interval\n");
    let stretches: Vec<_> = found.chunks.iter().filter(|chunk| chunk.alarm).collect();
    for chunk in stretches.iter().take(10) {
        let names: Vec<&str> =
            chunk.metrics.iter().filter(|metric| metric.alarm).map(|metric| metric.name.as_str()).collect();
        let when = match (chunk.from, chunk.to) {
            (Some(from), Some(to)) => {
                format!("{} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
            }
            _ => format!("stretch {}", chunk.index + 1),
        };
        note(&format!("{:<10} {when}, {} rows: {}", "worse", chunk.rows, names.join(", ")));
    }
    if stretches.len() > 10 {
        note(&format!("{:<10} and {} further stretches", "worse", stretches.len() - 10));
    }
    for text in &found.notes {
        output::warn(text);
    }
    note(&format!("{:<10} {}", "blind", found.blind));
    note(&format!("{:<10} {}", if found.worse { "WORSE" } else { "on course" }, found.summary));
    if let Some(path) = &args.deliver.html {
        note(&format!("{:<10} {}", "report", path.display()));
    }
}

/// A number in few digits.
fn brief(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

fn described(side: &LabelledSide) -> String {
    let span = match (side.from, side.to) {
        (Some(from), Some(to)) => {
            format!(", {} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
        }
        _ => String::new(),
    };
    format!("{}  {} rows, {} with a label{span}", side.source, side.rows, side.labelled)
}
