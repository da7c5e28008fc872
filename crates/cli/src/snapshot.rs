//! `steersman snapshot`: labelled rows as known at a time, in a file.

use crate::client::Server;
use crate::output::{Output, json, note};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json as object;
use std::path::PathBuf;
use steersman_domain::ModelName;
use steersman_domain::spec::SnapshotFormat;
use tokio::io::AsyncWriteExt as _;

/// Writes labelled rows, as known at a time, to a file: what a training program would get.
///
/// The same times give the same rows and the same digest, whatever arrives later. The file holds the rows of the reference
/// and of the records: id, time, features, and the label under its name in the reference.
///
/// Examples:
///   steersman snapshot flight-delay --to 2026-06-01T00:00:00Z --file train.parquet
///   steersman snapshot churn --as-of 2026-05-01T00:00:00Z --file then.csv
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SnapshotArgs {
    /// The model.
    model: ModelName,
    /// The file to write; `.csv` gives CSV, everything else Parquet.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Records from this time on [default: all].
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Records before this time [default: the time of `--as-of`].
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only what was known by this time, records and labels alike [default: now].
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(args: &SnapshotArgs) -> Result<()> {
    let csv = args.file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let format = if csv { SnapshotFormat::Csv } else { SnapshotFormat::Parquet };
    let mut wanted = vec![("format", format.extension().to_owned())];
    for (name, time) in [("from", &args.from), ("to", &args.to), ("as_of", &args.as_of)] {
        wanted.extend(time.clone().map(|time| (name, time)));
    }
    let path = format!("/models/{}/snapshot", args.model);
    let mut response = args.server.open(&path, &wanted).await?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value
            .map(str::to_owned)
            .with_context(|| format!("the answer has no `{name}`; is this a Steersman platform?"))
    };
    let (digest, rows) = (header("x-steersman-digest")?, header("x-steersman-rows")?);
    // Written beside and renamed: a file that is there is whole.
    let partial = args.file.with_added_extension("partial");
    let written = async {
        let mut file = tokio::fs::File::create(&partial).await?;
        while let Some(part) = response.chunk().await? {
            file.write_all(&part).await?;
        }
        file.sync_all().await?;
        tokio::fs::rename(&partial, &args.file).await?;
        Ok::<_, anyhow::Error>(())
    };
    if let Err(error) = written.await {
        let _ = tokio::fs::remove_file(&partial).await;
        bail!("`{}` was not written: {error:#}", args.file.display());
    }
    match args.server.output {
        Output::Json => json(&object!({"file": args.file, "rows": rows.parse::<u64>()?, "digest": digest}))?,
        Output::Table => note(&format!("{rows} rows in `{}`, digest {digest}", args.file.display())),
    }
    Ok(())
}
