//! `steersman query`: SQL over the records.

use crate::client::{send, text};
use crate::output::{note, table, warn};
use crate::up::{options, read_config};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use steersman_query::sql::{Answer, Engine, Format, Limits, Query};
use steersman_server::{Clock, Offline};

/// What there is to ask, where nothing is asked.
const COLUMNS: &str = "SELECT table_name AS \"table\", column_name AS \"column\", data_type AS \"type\" \
     FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '%$shadow' \
     ORDER BY table_name, ordinal_position";

/// SQL over the records of all models. Without a query, the tables and their columns.
///
/// Each model is a table of its name, put in double quotes where it has a hyphen; shadow answers are in "NAME$shadow".
/// Columns: id, time, version, latency_ms, status, the features, the output, label, label_time, received_at. Queries only
/// read. Beside what DataFusion knows there are quantile(x, share), profile(x), and distances between the rows for which a
/// condition is false and those for which it is true: psi, jensen_shannon, kolmogorov_smirnov, wasserstein, hellinger, ...
///
/// Examples:
///   steersman query
///   steersman query 'SELECT version, count(*) AS n, avg(label) AS late FROM "flight-delay" GROUP BY version'
///   steersman query "SELECT psi(distance, time >= '2013-06-01') AS moved FROM \"flight-delay\"" --output json
///   steersman query 'SELECT * FROM "flight-delay"' --as-of 2013-06-01T00:00:00Z --output csv > known-in-june.csv
///   steersman query --dir ./demo 'SELECT count(*) FROM "flight-delay"'      without a running platform
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct QueryArgs {
    /// One statement; `-` reads it from the standard input.
    sql: Option<String>,
    /// How the rows are printed.
    #[arg(long, value_enum, default_value_t)]
    output: Rows,
    /// The most rows that are wanted [default: 10000].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// What was known at this time: records and labels that were taken in later are left out.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Where the records are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Address of the platform.
    #[arg(long, default_value = "http://127.0.0.1:7700", env = "STEERSMAN_SERVER", value_name = "URL")]
    server: String,
    /// Folder of a platform that is not running: it is asked instead, set up as `steersman up --dir` would.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The same by the configuration of the platform.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Rows {
    /// For people.
    #[default]
    Table,
    /// An array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// With a line of headings.
    Csv,
}

pub(crate) async fn run(args: &QueryArgs) -> Result<()> {
    let sql = match args.sql.as_deref() {
        None => COLUMNS.to_owned(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the query")?;
            text
        }
        Some(sql) => sql.to_owned(),
    };
    let format = match args.output {
        Rows::Table => Format::Json,
        Rows::Json | Rows::Ndjson => Format::Ndjson,
        Rows::Csv => Format::Csv,
    };
    let as_of = args.as_of.as_deref().map(steersman_domain::time::parse_time).transpose();
    let as_of = as_of.map_err(|problem| problem.field("--as-of"))?;
    let query = Query { sql, limit: args.limit, as_of, now: Clock::System.now() };
    let (bytes, truncated) = args.place.ask(query, format).await?;
    match args.output {
        Rows::Table => print(&serde_json::from_slice(&bytes)?),
        Rows::Json => {
            let lines = String::from_utf8(bytes)?;
            let rows: Vec<&str> = lines.lines().collect();
            note(&if rows.is_empty() { "[]".to_owned() } else { format!("[\n  {}\n]", rows.join(",\n  ")) });
        }
        // A reader that went away is no error.
        Rows::Ndjson | Rows::Csv => drop(std::io::stdout().write_all(&bytes)),
    }
    if truncated {
        warn("there are more rows; `--limit N` asks for more");
    }
    Ok(())
}

impl Place {
    /// The answer in a format, and whether there are more rows than were asked for.
    pub(crate) async fn ask(&self, query: Query, format: Format) -> Result<(Vec<u8>, bool)> {
        if self.dir.is_some() || self.config.is_some() {
            let config = read_config(self.config.as_deref(), self.dir.as_deref())?;
            let options = options(&config, config.server.listen)?;
            let records = Offline::open(&options).await?;
            // Here nobody else waits.
            let limits = Limits {
                most_rows: usize::MAX - 1,
                answer_bytes: 8 << 30,
                time: Duration::from_secs(86_400),
                ..options.queries
            };
            let engine = Engine::new(records.log().clone(), limits)?;
            let slot = engine.slot().context("no slot for a query")?;
            let finish = move |answer: Answer| Ok((answer.write(format)?, answer.truncated));
            return Ok(engine.run(slot, query, finish).await?);
        }
        let body = json!({"sql": query.sql, "limit": query.limit, "as_of": query.as_of});
        let request = |client: &reqwest::Client, url: String| {
            client.post(url).header("accept", format.media_type()).json(&body)
        };
        let response = send(&self.server, request, "/query").await?;
        let truncated = response.headers().get("steersman-truncated").is_some_and(|value| value == "true");
        Ok((response.bytes().await.context("the answer broke off")?.to_vec(), truncated))
    }
}

fn print(answer: &Value) {
    let columns = answer["columns"].as_array().into_iter().flatten();
    let names: Vec<&str> = columns.filter_map(|column| column["name"].as_str()).collect();
    let row = |row: &Value| names.iter().map(|name| text(&row[*name])).collect();
    let rows: Vec<Vec<String>> = answer["rows"].as_array().into_iter().flatten().map(row).collect();
    table(&names, &rows);
}
