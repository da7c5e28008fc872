//! `steersman import`: takes past predictions and their truths in, in batches, with progress, and goes on where it
//! stopped.

use crate::client::Server;
use crate::output::{Output, json, note, warn};
use crate::progress::steps;
use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use steersman_domain::{Digest, ModelName, ModelSpec, Schema};
use steersman_records::history::{HistoryColumns, files, ipc_stream, read_history};

/// What an Arrow stream is called on the wire.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Takes a history of predictions and their truths in.
///
/// Reads CSV, JSON lines, Parquet and Arrow: files, folders and patterns, also packed with gzip or zstd. Columns are found
/// under the names that the model's spec gives them in its reference. Stopped at any moment, the same command goes on
/// where it stopped; rows that are there already change nothing. Exit code 1 when rows were refused.
///
/// Everything counts as known from now on: what a monitor or a snapshot knew earlier does not change.
///
/// Examples:
///   steersman import flight-delay history/2025-*.parquet
///   steersman import churn calls.csv.gz --id call_id --label churned --label-time known_at
///   steersman import churn scores.parquet --no-labels
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ImportArgs {
    /// The model.
    model: ModelName,
    /// Files, folders or patterns.
    #[arg(required = true, value_name = "DATA")]
    data: Vec<String>,
    /// The column with the time of the prediction [default: as in the spec].
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// The column with the record id [default: as in the spec; without one, rows are numbered under their file's digest].
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// The column with the model's output [default: as in the spec].
    #[arg(long, value_name = "NAME")]
    prediction: Option<String>,
    /// The column with the truth [default: as in the spec].
    #[arg(long, value_name = "NAME", conflicts_with = "no_labels")]
    label: Option<String>,
    /// The column with the time at which the truth became known [default: as in the spec; without one, the prediction's
    /// time and the expected delay].
    #[arg(long, value_name = "NAME", conflicts_with = "no_labels")]
    label_time: Option<String>,
    /// The data holds no truths.
    #[arg(long)]
    no_labels: bool,
    /// The column with the version that predicted.
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Rows that are sent together.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    batch_rows: u32,
    #[command(flatten)]
    server: Server,
}

/// What became of the rows.
#[derive(Debug, Default, Serialize)]
struct Imported {
    files: usize,
    records: Counts,
    labels: Counts,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    /// New.
    accepted: u64,
    /// There already.
    duplicates: u64,
    /// Refused.
    rejected: u64,
    /// Acknowledged to an earlier run of the same command.
    earlier: u64,
}

/// How far one file has come.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Done {
    records: usize,
    labels: usize,
}

/// How far an import has come, on disk. By file and its contents: another file of the same name begins anew.
struct Marker {
    path: Option<PathBuf>,
    done: BTreeMap<String, Done>,
}

impl Marker {
    /// Of imports into this model of this platform.
    fn open(server: &str, model: &ModelName) -> Self {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
        let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        let digest = Digest::of(format!("{server} {model}").as_bytes()).to_string();
        let name: String = digest.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = folder.map(|folder| folder.join("steersman/imports").join(format!("{name}.json")));
        let read = path.as_ref().and_then(|path| std::fs::read(path).ok());
        let done = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, done }
    }

    /// A marker that cannot be written costs time after a stop, and no rows: they are there already.
    fn set(&mut self, key: &str, done: Option<Done>) {
        match done {
            Some(done) => drop(self.done.insert(key.to_owned(), done)),
            None => drop(self.done.remove(key)),
        }
        let Some(path) = &self.path else { return };
        let partial = path.with_added_extension("partial");
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            std::fs::write(&partial, serde_json::to_vec(&self.done)?)?;
            std::fs::rename(&partial, path)
        });
        if let Err(error) = written {
            warn(&format!("how far the import is cannot be kept in `{}`: {error}", path.display()));
            self.path = None;
        }
    }
}

/// Returns whether all rows are in.
pub(crate) async fn run(args: &ImportArgs) -> Result<bool> {
    let model = args.server.get(&format!("/models/{}", args.model)).await?;
    let spec: ModelSpec = serde_json::from_value(model["state"]["spec"].clone())
        .context("the platform's spec cannot be read")?;
    let schema: Schema = serde_json::from_value(model["state"]["reference"]["schema"].clone())
        .with_context(|| format!("the schema of `{}` is not known yet; apply its spec again", args.model))?;
    let own = HistoryColumns::of(&spec);
    let names = HistoryColumns {
        time: args.time.clone().unwrap_or(own.time),
        id: args.id.clone().or(own.id),
        prediction: args.prediction.clone().unwrap_or(own.prediction),
        label: args.label.clone().or(own.label).filter(|_| !args.no_labels),
        label_time: args.label_time.clone().or(own.label_time).filter(|_| !args.no_labels),
        version: args.version.clone(),
    };
    let mut all = Vec::new();
    for data in &args.data {
        all.extend(files(data)?);
    }
    let mut marker = Marker::open(&args.server.server, &args.model);
    let mut imported = Imported::default();
    let bar = steps("reading");
    for file in &all {
        bar.say("reading");
        let history = read_history(file, &spec, &schema, &names)?;
        for told in &history.notes {
            warn(&format!("{}: {told}", file.display()));
        }
        let key = format!("{} {}", file.display(), history.digest);
        let mut done = marker.done.get(&key).copied().unwrap_or_default();
        imported.records.earlier += done.records as u64;
        imported.labels.earlier += done.labels as u64;
        let whole = history.records.num_rows() + history.labels.num_rows();
        bar.say("importing");
        for labels in [false, true] {
            let (rows, path) =
                if labels { (&history.labels, "labels") } else { (&history.records, "records") };
            loop {
                let from = if labels { done.labels } else { done.records };
                let count = (args.batch_rows as usize).min(rows.num_rows().saturating_sub(from));
                if count == 0 {
                    break;
                }
                let body = ipc_stream(&rows.slice(from, count))?;
                let path = format!("/models/{}/{path}", args.model);
                let reply = args.server.send(&path, ARROW, body).await?;
                let counts = if labels { &mut imported.labels } else { &mut imported.records };
                counts.add(&reply);
                *(if labels { &mut done.labels } else { &mut done.records }) += count;
                marker.set(&key, Some(done));
                bar.at(done.records + done.labels, whole);
            }
        }
        imported.files += 1;
    }
    bar.finish();
    // All is in: the next import of the same files looks at each row again.
    for key in marker.done.keys().cloned().collect::<Vec<_>>() {
        if all.iter().any(|file| key.starts_with(&format!("{} ", file.display()))) {
            marker.set(&key, None);
        }
    }
    match args.server.output {
        Output::Json => json(&imported)?,
        Output::Table => {
            for (what, counts) in [("records", &imported.records), ("labels", &imported.labels)] {
                note(&counts.line(what));
            }
        }
    }
    Ok(imported.records.rejected + imported.labels.rejected == 0)
}

impl Counts {
    fn add(&mut self, reply: &Value) {
        let count = |name: &str| reply[name].as_u64().unwrap_or(0);
        self.accepted += count("accepted");
        self.duplicates += count("duplicates");
        self.rejected += count("rejected");
        for refused in reply["rejections"].as_array().into_iter().flatten().take(3) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let problem = &refused["problem"];
            warn(&format!(
                "refused `{}`: {}: {}",
                text(&refused["id"]),
                text(&problem["field"]),
                text(&problem["message"])
            ));
        }
    }

    fn line(&self, what: &str) -> String {
        let mut line = format!("{what}: {} new", self.accepted);
        for (count, words) in [
            (self.duplicates, "there already"),
            (self.earlier, "sent before the import was stopped"),
            (self.rejected, "refused"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {count} {words}"));
            }
        }
        line
    }
}
