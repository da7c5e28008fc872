//! `steersman tune`: monitor and retrain policies replayed on labelled history.

use crate::output::{self, Deliver, note, table};
use crate::progress::steps;
use anyhow::Result;
use clap::{ArgAction, Args, ValueEnum};
use std::time::Instant;
use steersman_domain::tuning::{PolicyResult, Tuning};
use steersman_domain::{Period, Problem, Task};
use steersman_records::frame::{Frame, Selection};
use steersman_watch::tune::{Cut, Maturity, Options, tune};

/// When to alarm and when to retrain: what each policy would have cost and been worth on your labelled history.
///
/// The history trains a first model, then chunks follow in order of time. Labels count when they were known. Schedules
/// and alarms, with and without the gate that a candidate must win, walk through the same table of models; the best
/// schedules in hindsight say what was possible. Models are those of a built-in learner (boosted trees).
///
/// Examples:
///   steersman tune flights.parquet --target late --time ts --label-time label_ts
///   steersman tune loans.csv --target defaulted --time applied_at --delay 30d --chunk 14d --html tuning.html
///   steersman tune demand.parquet --target rentals --time ts --delay 1h --task regression --features hour,temp
///   steersman tune flights.parquet --target late --time ts --label-time label_ts --choose 'every 4 chunks, gate, rolling'
///   steersman tune a.parquet --target label --time ts --delay 1d --json - | jq '.policies[] | select(.pareto)'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TuneArgs {
    /// Labelled history: a CSV, JSON lines, Parquet or Arrow file, a folder or a pattern.
    #[arg(value_name = "HISTORY")]
    history_file: String,
    /// The column with the truth: 0 and 1, or a number.
    #[arg(long, value_name = "NAME")]
    target: String,
    /// The column with the time of the prediction.
    #[arg(long, value_name = "NAME")]
    time: String,
    /// The column with the time at which the truth became known.
    #[arg(long, value_name = "NAME", required_unless_present = "delay", conflicts_with = "delay")]
    label_time: Option<String>,
    /// How long after the prediction the truth is known, where no column says, such as `3h`.
    #[arg(long, value_name = "PERIOD")]
    delay: Option<Period>,
    /// The columns to learn from, with commas between them [default: all that hold numbers or categories].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    features: Vec<String>,
    /// Columns not to learn from, such as another model's output.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", conflicts_with = "features")]
    ignore: Vec<String>,
    /// What is predicted [default: binary where labels are 0 and 1].
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    /// Only rows for which this SQL condition holds.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Length of a chunk, after which a version may change [default: gives some two dozen or more].
    #[arg(long, value_name = "PERIOD", conflicts_with = "chunk_rows")]
    chunk: Option<Period>,
    /// Rows of a chunk, instead of its length.
    #[arg(long, value_name = "N")]
    chunk_rows: Option<usize>,
    /// What the first model learns from [default: the first fifth of the time].
    #[arg(long, value_name = "PERIOD")]
    history: Option<Period>,
    /// Which labels count: when they come, when their cohort is mature, or mature ones where the delay depends on the
    /// outcome.
    #[arg(long, value_enum, default_value_t = LabelsName::Auto)]
    labels: LabelsName,
    /// Most rows that a model learns from, and of a chunk that are scored.
    #[arg(long, default_value_t = Options::new("", "").rows, value_name = "N")]
    rows: usize,
    /// A loss is acceptable up to this many times what a version showed before it served.
    #[arg(long, default_value_t = Options::new("", "").tolerance, value_name = "RATIO")]
    tolerance: f64,
    #[command(flatten)]
    deliver: Deliver,
    /// Give the lines of the spec for this policy instead of the recommended one.
    #[arg(long, value_name = "POLICY")]
    choose: Option<String>,
    /// List all policies, not only the better window of each.
    #[arg(long, action = ArgAction::SetTrue)]
    all: bool,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TaskName {
    /// The probability that something is so.
    Binary,
    /// A number.
    Regression,
}

/// Which labels count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LabelsName {
    /// Each when it comes, unless the delay depends on the outcome.
    Auto,
    /// Each when it comes.
    SoFar,
    /// When its cohort is mature.
    Mature,
}

pub(crate) fn run(args: &TuneArgs) -> Result<()> {
    let started = Instant::now();
    let options = Options {
        label_time: args.label_time.clone(),
        delay: args.delay,
        features: args.features.clone(),
        ignore: args.ignore.clone(),
        task: args.task.map(|task| match task {
            TaskName::Binary => Task::Binary,
            TaskName::Regression => Task::Regression,
        }),
        cut: match (args.chunk, args.chunk_rows) {
            (Some(length), _) => Cut::Length(length),
            (None, Some(rows)) => Cut::Rows(rows),
            (None, None) => Cut::Auto,
        },
        history: args.history,
        maturity: match args.labels {
            LabelsName::Auto => Maturity::Auto,
            LabelsName::SoFar => Maturity::SoFar,
            LabelsName::Mature => Maturity::Mature,
        },
        rows: args.rows,
        tolerance: args.tolerance,
        ..Options::new(&args.target, &args.time)
    };
    let bar = steps("reading");
    let frame = Frame::read(
        &args.history_file,
        &Selection { condition: args.condition.clone(), ..Selection::default() },
    )?;
    bar.say("training");
    let found = tune(&frame, &options, &|done, all| bar.at(done, all))?;
    bar.finish();
    let spec = match &args.choose {
        Some(name) => chosen(&found, name)?,
        None => &found.spec,
    };
    let page = || steersman_prove::tuning::html(&found, env!("CARGO_PKG_VERSION"));
    if args.deliver.write(&found, page)? {
        print(&found, args, spec, started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The lines of the spec for a policy of this name.
fn chosen<'a>(found: &'a Tuning, name: &str) -> Result<&'a str, Problem> {
    let possible =
        || found.policies.iter().filter_map(|policy| Some((&policy.name, policy.spec.as_deref()?)));
    possible().find(|(own, _)| *own == name).map(|(_, spec)| spec).ok_or_else(|| {
        let names: Vec<String> = possible().map(|(own, _)| format!("`{own}`")).collect();
        Problem::invalid(format!("no spec can ask for `{name}`"))
            .field("--choose")
            .hint(format!("one can for {}", names.join(", ")))
    })
}

fn print(found: &Tuning, args: &TuneArgs, spec: &str, seconds: f64) {
    let replay = &found.replay;
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    note(&format!(
        "history    {}  {} rows up to {}, then {} chunks of {} rows to {}",
        found.source,
        replay.history_rows,
        day(replay.start),
        replay.chunks,
        replay.chunk_rows,
        day(replay.to)
    ));
    note(&format!("labels     {}", found.labels.why));
    note(&format!("learner    {}", found.learner));
    note(&format!(
        "           {} models of at most {} rows, {seconds:.1} s in all\n",
        replay.models, replay.training_rows
    ));
    let shown: Vec<&PolicyResult> =
        found.policies.iter().filter(|policy| args.all || listed(policy, found)).collect();
    let rows: Vec<Vec<String>> = shown.iter().map(|policy| row(policy, found)).collect();
    let headings = [
        "",
        "POLICY",
        "LOSS",
        "CHANGE",
        "95 %",
        "GAIN",
        "TRAINED",
        "PROMOTED",
        "BETTER/WORSE",
        "ALARMS",
        "FALSE",
        "MISSED",
        "DELAY",
    ];
    table(&headings, &rows);
    note("*  recommended    o  on the front: no policy has a lower loss with as few trainings\n");
    let percent = |loss: f64| 100.0 * (loss / found.never_loss - 1.0);
    for schedule in &found.best {
        let times = if schedule.trainings == 1 { "retraining" } else { "retrainings" };
        note(&format!(
            "hindsight  {:+.1} % with {} {times} at the best moments",
            percent(schedule.loss),
            schedule.trainings
        ));
    }
    note(&format!(
        "last label {:+.1} % for \"the same as the last known label\"",
        percent(found.persistence_loss)
    ));
    note(&format!("\n{}", found.summary));
    note(&format!("rule: {}\n", found.rule));
    note(spec.trim_end());
    for text in &found.notes {
        output::warn(text);
    }
    if let Some(path) = &args.deliver.html {
        note(&format!("\nreport     {}", path.display()));
    }
}

/// Whether it is the better window of its trigger and gate, or stands out.
fn listed(policy: &PolicyResult, found: &Tuning) -> bool {
    let alike = |other: &&PolicyResult| {
        other.trigger == policy.trigger && (other.gate, other.refit) == (policy.gate, policy.refit)
    };
    policy.pareto
        || policy.name == found.recommended
        || found.policies.iter().find(alike).is_some_and(|first| first.name == policy.name)
}

fn row(policy: &PolicyResult, found: &Tuning) -> Vec<String> {
    let mark = match (policy.name == found.recommended, policy.pareto) {
        (true, _) => "*",
        (false, true) => "o",
        (false, false) => "",
    };
    let percent = |loss: f64| format!("{:+.1} %", 100.0 * (loss / found.never_loss - 1.0));
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0}", 100.0 * share));
    let worth = match policy.better {
        Some(_) => format!("{}/{} %", share(policy.better), share(policy.worse)),
        None => "-".to_owned(),
    };
    vec![
        mark.to_owned(),
        policy.name.clone(),
        number(policy.loss),
        percent(policy.loss),
        format!("{}-{}", number(policy.interval.0), number(policy.interval.1)),
        policy.gain.map_or("-".to_owned(), |gain| format!("{gain:.2}")),
        policy.trainings.to_string(),
        policy.promotions.to_string(),
        worth,
        policy.alarms.to_string(),
        policy.false_alarms.to_string(),
        format!("{}/{}", policy.missed, policy.degradations),
        policy.detection_delay.map_or("-".to_owned(), |delay| format!("{delay:.0}")),
    ]
}

/// A loss in few digits.
fn number(loss: f64) -> String {
    if loss.abs() >= 10.0 { format!("{loss:.1}") } else { format!("{loss:.4}") }
}
