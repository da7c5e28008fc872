//! `steersman compare`: two data sets, once, without config or server.

use crate::output::{self, Deliver, note, read_both, table};
use crate::progress::steps;
use anyhow::Result;
use clap::{Args, ValueEnum};
use steersman_domain::comparison::{ColumnComparison, Comparison, Side};
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, Selection};
use steersman_stats::distance::Convention;
use steersman_watch::compare::{Options, compare};

/// What changed between two data sets, certainly and by enough to matter?
///
/// Reads CSV, JSON lines, Parquet and Arrow: a file, a folder or a pattern, also packed with gzip or zstd. Exit code 1
/// when something drifted.
///
/// Examples:
///   steersman compare last-year.parquet today.parquet
///   steersman compare reference.csv.gz 'logs/2026-11-*.jsonl' --time ts --html report.html
///   steersman compare train.csv live.csv --target late --prediction score    would it hurt?
///   steersman compare a.parquet b.parquet --where "origin = 'JFK' and distance > 500" --segment carrier
///   steersman compare a.csv b.csv --like evidently --json - | jq .columns[].distances
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompareArgs {
    /// What is ordinary.
    #[arg(value_name = "REF")]
    reference: String,
    /// What is compared with it.
    #[arg(value_name = "CUR")]
    current: String,
    /// Only rows for which this SQL condition holds, on both sides.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Only these columns, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    columns: Vec<String>,
    /// The column with the truth: says whether the change would hurt.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The column with the model's output: a number, or the probability of the positive class.
    #[arg(long, value_name = "NAME")]
    prediction: Option<String>,
    /// The column with the time [default: the first that holds times]; rows that are close in time count as alike.
    #[arg(long, value_name = "NAME", conflicts_with = "no_time")]
    time: Option<String>,
    /// Take all rows as independent, whatever their time.
    #[arg(long)]
    no_time: bool,
    /// Compare again within each value of this column (repeatable).
    #[arg(long = "segment", value_name = "NAME")]
    segments: Vec<String>,
    /// Whose binning and logarithms the distances follow; what is called drifted does not depend on it.
    #[arg(long, value_enum, default_value_t = Like::Steersman)]
    like: Like,
    /// How often anything may be called drifted when nothing changed, for all columns together.
    #[arg(long, default_value_t = Options::default().level, value_name = "P")]
    level: f64,
    #[command(flatten)]
    deliver: Deliver,
    /// List all columns, also those that are as usual when there are many.
    #[arg(long)]
    all: bool,
}

/// Whose conventions distances follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Like {
    /// Quantile bins of the reference, base 2.
    Steersman,
    /// Sturges' bins over both sides, base e.
    Evidently,
    /// Doane's bins of the reference, base 2.
    Nannyml,
    /// SciPy's functions: no bins.
    Scipy,
}

/// Columns as usual that are listed one by one.
const LISTED: usize = 30;

/// Returns whether nothing drifted.
pub(crate) fn run(args: &CompareArgs) -> Result<bool> {
    let options = Options {
        convention: match args.like {
            Like::Steersman => Convention::Steersman,
            Like::Evidently => Convention::Evidently,
            Like::Nannyml => Convention::Nannyml,
            Like::Scipy => Convention::Scipy,
        },
        level: args.level,
        time: args.time.clone(),
        find_time: !args.no_time,
        target: args.target.clone(),
        prediction: args.prediction.clone(),
        segments: args.segments.clone(),
        ..Options::default()
    };
    // The current side may lack the truth, which comes later.
    let (own, other) = (selection(args, true), selection(args, false));
    let bar = steps("reading");
    let (reference, current) = read_both((&args.reference, &own), (&args.current, &other))?;
    bar.say("comparing");
    let found = compare(&reference, &current, &options, &|done, all| bar.at(done, all))?;
    bar.finish();
    let page = || steersman_prove::comparison::html(&found, env!("CARGO_PKG_VERSION"));
    if args.deliver.write(&found, page)? {
        print(&found, &reference, args);
    }
    Ok(!found.drifted)
}

/// The columns to read: those to compare and those that flags name.
fn selection(args: &CompareArgs, reference: bool) -> Selection {
    let mut columns = args.columns.clone();
    if !columns.is_empty() {
        let needed = [&args.time, &args.prediction].into_iter().flatten().chain(&args.segments);
        let needed = needed.chain(args.target.as_ref().filter(|_| reference));
        columns.extend(needed.filter(|name| !args.columns.contains(name)).cloned());
    }
    Selection { columns, optional: args.target.iter().cloned().collect(), condition: args.condition.clone() }
}

fn print(found: &Comparison, reference: &Frame, args: &CompareArgs) {
    for (name, side) in [("reference", &found.reference), ("current", &found.current)] {
        note(&format!("{name:<10} {}", described(side)));
    }
    let of_kind = |kind: DataKind| {
        let names: Vec<&str> = reference
            .columns
            .iter()
            .filter(|column| column.kind == kind)
            .map(|column| column.name.as_str())
            .collect();
        (!names.is_empty()).then(|| format!("{} {}", names.len(), kind.as_str()))
    };
    let kinds =
        [DataKind::Numeric, DataKind::Categorical, DataKind::Boolean, DataKind::Datetime, DataKind::Text];
    let kinds: Vec<String> = kinds.into_iter().filter_map(of_kind).collect();
    let time = found.time.as_ref().map_or(String::new(), |time| format!("; time is `{time}`"));
    note(&format!("{:<10} {}{time}\n", "columns", kinds.join(", ")));
    let mut order: Vec<&ColumnComparison> = found.columns.iter().collect();
    order.sort_by(|a, b| b.drifted.cmp(&a.drifted).then(a.p_value.total_cmp(&b.p_value)));
    let usual = order.iter().filter(|column| !column.drifted).count();
    let fold = !args.all && usual > LISTED;
    let with_harm = found.harm.is_some();
    let rows: Vec<Vec<String>> = order
        .iter()
        .filter(|column| column.drifted || !fold)
        .map(|column| {
            let mut row = vec![
                column.name.clone(),
                kind(column),
                if column.drifted { "drifted" } else { "-" }.to_owned(),
                column.distances.get("jensen_shannon").map_or("-".to_owned(), |d| format!("{d:.3}")),
                column.ordinary.map_or("-".to_owned(), |(low, high)| format!("{low:.3}-{high:.3}")),
                effect(column),
            ];
            if with_harm {
                row.push(harm_share(column, found));
            }
            row.push(match (column.drifted, column.moved.is_empty()) {
                (_, true) => column.why.clone(),
                (true, false) if column.current_kind.is_some() => column.why.clone(),
                _ => column.moved.clone(),
            });
            row
        })
        .collect();
    let mut headings = vec!["COLUMN", "KIND", "DRIFTED", "DISTANCE", "ORDINARY", "EFFECT"];
    if with_harm {
        headings.push("HARM");
    }
    headings.push("WHAT MOVED");
    table(&headings, &rows);
    if fold {
        note(&format!("{usual} columns are as usual (--all lists them)"));
    }
    note("");
    for segment in found.segments.iter().filter(|segment| segment.drifted) {
        note(&format!(
            "within     {} = {}: {} drifted",
            segment.column,
            segment.value,
            segment.columns.join(", ")
        ));
    }
    if let Some(joint) = &found.joint {
        note(&format!("together   {}", joint.why));
    }
    if let Some(concept) = &found.concept {
        note(&format!("truth      {}", concept.why));
    }
    if let Some(harm) = &found.harm {
        note(&format!("harm       {}", harm.why));
    }
    for (what, names) in [("removed", &found.removed), ("added", &found.added)] {
        if !names.is_empty() {
            note(&format!("{what:<10} {}", names.join(", ")));
        }
    }
    for text in &found.notes {
        output::warn(text);
    }
    note(&format!("{:<10} {}", if found.drifted { "DRIFTED" } else { "as usual" }, found.summary));
    if let Some(path) = &args.deliver.html {
        note(&format!("report     {}", path.display()));
    }
}

fn described(side: &Side) -> String {
    let span = match (side.from, side.to) {
        (Some(from), Some(to)) => {
            format!(", {} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
        }
        _ => String::new(),
    };
    let files = if side.files > 1 { format!(" ({} files)", side.files) } else { String::new() };
    format!("{}{files}  {} rows{span}", side.source, side.rows)
}

/// The expected change of the loss by a column, in percent of the reference's.
fn harm_share(column: &ColumnComparison, found: &Comparison) -> String {
    match (column.harm, &found.harm) {
        (Some(change), Some(harm)) if harm.reference > 0.0 => {
            format!("{:+.1} %", 100.0 * change / harm.reference)
        }
        _ => "-".to_owned(),
    }
}

fn kind(column: &ColumnComparison) -> String {
    match column.current_kind {
        Some(now) => format!("{} > {}", column.kind.as_str(), now.as_str()),
        None => column.kind.as_str().to_owned(),
    }
}

fn effect(column: &ColumnComparison) -> String {
    match (column.effect, column.kind) {
        (None, _) => "-".to_owned(),
        (Some(effect), DataKind::Numeric | DataKind::Text) => format!("{effect:.2} sd"),
        (Some(effect), _) => format!("{:.1} points", 100.0 * effect),
    }
}
