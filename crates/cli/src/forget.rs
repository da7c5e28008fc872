//! `steersman forget`: erases what belongs to one person or one record.

use crate::client::{Server, whoami};
use crate::output::{Output, json, note};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json as object;
use steersman_domain::ModelName;

/// Erases records and their labels: segments that hold them are written anew without them, and the old files are removed.
///
/// What is left: snapshots and artifacts of trainings that used them (they cannot be made again), the reference file, and
/// what other replicas took in during the last seconds. The ledger keeps that records were erased, and how many.
///
/// Examples:
///   steersman forget churn --id call-17
///   steersman forget churn --subject customer=4711
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ForgetArgs {
    /// The model.
    model: ModelName,
    /// The record of this id.
    #[arg(long, required_unless_present = "subject", conflicts_with = "subject")]
    id: Option<String>,
    /// All records with this value in a column.
    #[arg(long, value_name = "COLUMN=VALUE")]
    subject: Option<String>,
    /// Who asks, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(args: &ForgetArgs) -> Result<()> {
    let body = match (&args.id, &args.subject) {
        (Some(id), _) => object!({"by": args.by, "id": id}),
        (None, Some(subject)) => match subject.split_once('=') {
            Some((column, value)) if !column.is_empty() => {
                object!({"by": args.by, "column": column, "value": value})
            }
            _ => bail!("--subject: `{subject}` has no `=`; write COLUMN=VALUE"),
        },
        (None, None) => bail!("name a record with `--id`, or a person with `--subject COLUMN=VALUE`"),
    };
    let answer = args.server.post(&format!("/models/{}/forget", args.model), &body).await?;
    match args.server.output {
        Output::Json => json(&answer),
        Output::Table => {
            let count = |name: &str| answer["erased"][name].as_u64().unwrap_or(0);
            note(&format!(
                "erased {} records and {} labels of {}; {} segments were written anew",
                count("records"),
                count("labels"),
                args.model,
                count("segments")
            ));
            Ok(())
        }
    }
}
