//! `steersman features`: whether models saw the feature values that they should have seen.

use crate::output::{Output, json, note, table, warn};
use crate::progress::steps;
use crate::query::Place;
use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use steersman_domain::{ModelName, Period};
use steersman_query::features::{FeatureReport, Named, Options, Report, Spread, check};
use steersman_query::sql::{Format, Query};
use steersman_records::frame::{Frame, Selection};
use steersman_server::Clock;

/// Columns of records that are no features.
const NO_FEATURES: [&str; 6] = ["version", "latency_ms", "status", "label", "label_time", "received_at"];
/// The most records of a platform that are compared at once.
const MOST_RECORDS: usize = 1_000_000;

/// Features: what models saw, and what they should have seen.
#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(Box<CheckArgs>),
}

/// Compares the features of records with offline tables as of each record's time. Exit code 1 when a feature differs.
///
/// A table has the key of an entity, the time from which a row's values hold, perhaps when the row was written, and
/// values; columns of the same name are compared. CSV, JSON lines, Parquet and Arrow are read.
///
/// Examples:
///   steersman features check --records log.parquet --table customers.parquet --entity customer
///   steersman features check --model churn --table calls.csv --table plans.csv --entity customer --ttl 30d
///   steersman features check --model churn --dir ./state --table calls.csv --entity customer=customer_id \
///       --time event_time --created written_at --accept 0.001 --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct CheckArgs {
    /// An offline table: a file, a folder or a pattern; can be given several times.
    #[arg(long = "table", required = true, value_name = "FILES")]
    tables: Vec<String>,
    /// A file with records, instead of a model's.
    #[arg(long, value_name = "FILES", required_unless_present = "model", conflicts_with_all = ["model", "dir"])]
    records: Option<String>,
    /// The model whose records are compared.
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    /// A column that says whom a row is about; `record_name=table_name` where the names differ; can be given several
    /// times. A table is matched by those that it has.
    #[arg(long = "entity", required = true, value_delimiter = ',', value_name = "NAME")]
    entities: Vec<String>,
    /// Only these features, with commas between them; `record_name=table_name` where the names differ.
    #[arg(long = "feature", value_delimiter = ',', value_name = "NAMES")]
    features: Vec<String>,
    /// The tables' column with the time from which values hold [default: the first that holds times].
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// The tables' column that says when a row was written: later rows were not known yet.
    #[arg(long, value_name = "NAME")]
    created: Option<String>,
    /// Rows that are older than this at a record's time do not count.
    #[arg(long, value_name = "PERIOD")]
    ttl: Option<Period>,
    /// Numbers that differ by no more than this share of the larger one are the same.
    #[arg(long, default_value_t = Options::default().tolerance, value_name = "SHARE")]
    tolerance: f64,
    /// The share of differing records that is accepted for each feature.
    #[arg(long, default_value_t = Options::default().accept, value_name = "SHARE")]
    accept: f64,
    /// Only records for which this SQL condition holds, such as `time >= '2026-11-01'`.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// The records' column with their ids, in a file.
    #[arg(long, default_value = "id", value_name = "NAME")]
    record_id: String,
    /// The records' column with their times, in a file.
    #[arg(long, default_value = "time", value_name = "NAME")]
    record_time: String,
    /// Records that are shown of each feature.
    #[arg(long, default_value_t = Options::default().examples, value_name = "N")]
    examples: usize,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// Returns whether no feature differs.
pub(crate) async fn run(args: &FeaturesArgs) -> Result<bool> {
    let What::Check(args) = &args.what;
    let share = |value: f64| (0.0..=1.0).contains(&value);
    ensure!(share(args.tolerance), "--tolerance: {} is no share between 0 and 1", args.tolerance);
    ensure!(share(args.accept), "--accept: {} is no share between 0 and 1", args.accept);
    let names = |names: &[String]| names.iter().map(|name| Named::parse(name)).collect();
    let options = Options {
        entities: names(&args.entities),
        features: names(&args.features),
        time: args.time.clone(),
        created: args.created.clone(),
        ttl: args.ttl,
        tolerance: args.tolerance,
        accept: args.accept,
        record_id: args.record_id.clone(),
        record_time: args.record_time.clone(),
        examples: args.examples,
    };
    let bar = steps("reading");
    let records = records(args).await?;
    let tables = args
        .tables
        .iter()
        .map(|path| Frame::read(path, &Selection::default()))
        .collect::<Result<Vec<_>, _>>()?;
    bar.say("comparing");
    let report = check(&records, &tables, &options, &|done, all| bar.at(done, all))?;
    bar.finish();
    match args.output {
        Output::Json => json(&report)?,
        Output::Table => print(&report),
    }
    Ok(!report.skewed)
}

async fn records(args: &CheckArgs) -> Result<Frame> {
    if let Some(path) = &args.records {
        let selection = Selection { condition: args.condition.clone(), ..Selection::default() };
        return Ok(Frame::read(path, &selection)?);
    }
    let Some(model) = &args.model else { anyhow::bail!("name records with `--records` or `--model`") };
    let condition =
        args.condition.as_ref().map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    let sql = format!("SELECT * FROM \"{model}\"{condition}");
    let query = Query { sql, limit: Some(MOST_RECORDS), as_of: None, now: Clock::System.now() };
    let (bytes, truncated) = args.place.ask(query, Format::Arrow).await?;
    ensure!(
        !truncated,
        "there are more than {MOST_RECORDS} records; choose some with `--where \"time >= '2026-11-01'\"`"
    );
    let mut frame = Frame::from_stream(model.as_str(), &bytes)?;
    frame.columns.retain(|column| !NO_FEATURES.contains(&column.name.as_str()));
    Ok(frame)
}

fn print(report: &Report) {
    let span = match (&report.from, &report.to) {
        (Some(from), Some(to)) => format!(", {from} to {to}"),
        _ => String::new(),
    };
    note(&format!("records    {}  {} rows{span}", report.records, report.rows));
    for table in &report.tables {
        let age = table
            .staleness_seconds
            .map_or(String::new(), |age| format!("; age {} (95 %: {})", period(age.median), period(age.p95)));
        note(&format!(
            "table      {}  {} rows by {} and {}: {} of {} records have a row{age}",
            table.source,
            table.rows,
            table.entities.join(", "),
            table.time,
            table.matched,
            report.rows
        ));
        for (count, what) in [
            (table.unknown_entity, "are about an entity that it does not have"),
            (table.no_row, "have no row that counts at their time"),
            (table.without_key, "have no time or no entity and are not compared"),
        ] {
            if count > 0 {
                note(&format!("           {count} {what}"));
            }
        }
    }
    note("");
    let headings = [
        "FEATURE",
        "KIND",
        "DIFFERS",
        "SHARE",
        "RECORDS",
        "NONE SEEN",
        "NONE THERE",
        "EARLIER",
        "LATER",
        "BY",
        "FIRST SEEN",
    ];
    table(&headings, &report.features.iter().map(row).collect::<Vec<_>>());
    for feature in report.features.iter().filter(|feature| feature.skewed) {
        note(&format!("\n{} ({})", feature.name, feature.table));
        for example in &feature.examples {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let since =
                example.feature_time.as_ref().map_or("no row".to_owned(), |time| format!("row of {time}"));
            note(&format!(
                "  {} at {}: saw {}, should have seen {} ({since})",
                example.id,
                example.time,
                value(&example.record),
                value(&example.expected)
            ));
        }
    }
    for text in &report.notes {
        warn(text);
    }
    note(&format!("\n{}  {}", if report.skewed { "SKEWED" } else { "as it should be" }, report.summary));
}

fn row(feature: &FeatureReport) -> Vec<String> {
    let count = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
    vec![
        feature.name.clone(),
        feature.kind.to_owned(),
        if feature.skewed { "differs" } else { "-" }.to_owned(),
        feature.share.map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share.value)),
        count(feature.mismatches),
        count(feature.missing_in_record),
        count(feature.missing_in_table),
        count(feature.earlier_value),
        count(feature.later_value),
        feature.difference.map_or("-".to_owned(), by),
        feature.first_seen.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn by(spread: Spread) -> String {
    format!("{:.4} ({:.4} to {:.4})", spread.median, spread.min, spread.max)
}

/// Seconds in words.
fn period(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}
