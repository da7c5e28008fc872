//! `steersman verify`: checks offline, without a platform.

use crate::output::{Output, json, note};
use crate::up::read_config;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use steersman_domain::ErrorKind;
use steersman_domain::config::ServerConfig;

/// Checks what cannot be believed on somebody's word. Exit code 1 when something is not as it should be.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every leaf, every tile and the signed root of a ledger, and that its facts make sense together.
    ///
    /// Examples:
    ///   steersman verify log --dir ./demo
    ///   steersman verify log --config steersman.toml   a ledger in Postgres
    ///   steersman verify log --dir ./demo --key "$(cat kept-elsewhere.vkey)"
    #[command(verbatim_doc_comment)]
    Log(LogArgs),
}

#[derive(Debug, Args)]
struct LogArgs {
    /// The platform's folder.
    #[arg(long, value_name = "FOLDER", default_value = "steersman-data")]
    dir: PathBuf,
    /// The platform's configuration, which says where folder and database are.
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// The ledger's verifier key, kept where nobody who owns the folder can change it [default: the one in the folder].
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Returns whether all is as it should be.
pub(crate) async fn run(args: &VerifyArgs) -> Result<bool> {
    let What::Log(args) = &args.what;
    let config = match &args.config {
        Some(file) => read_config(Some(file), None)?,
        None => ServerConfig { dir: args.dir.clone(), ..ServerConfig::default() },
    };
    match steersman_store::verify(&config.dir, &config.store, args.key.as_deref()).await {
        Ok(verified) => {
            let root = hex::encode(verified.root);
            match args.output {
                Output::Json => {
                    json(&serde_json::json!({"verified": true, "size": verified.size, "root": root}))?
                }
                Output::Table => {
                    note(&format!("{} facts are as they were signed; root {root}", verified.size))
                }
            }
            Ok(true)
        }
        Err(problem) if problem.kind == ErrorKind::Corrupt => {
            match args.output {
                Output::Json => json(&serde_json::json!({"verified": false, "reason": problem.to_string()}))?,
                Output::Table => note(&format!("NOT AS SIGNED: {problem}")),
            }
            Ok(false)
        }
        Err(problem) => Err(problem).context("the ledger cannot be checked"),
    }
}
