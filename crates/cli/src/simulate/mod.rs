//! `steersman simulate`: what would happen, before anything does.
//!
//! - `rollout`: the command. `traffic`: figures of the traffic, from a file or as given. `print`: the table.

mod print;
mod rollout;
mod traffic;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What would happen, on your own traffic, before anything does.
///
/// Example:
///   steersman simulate rollout model.toml --html rollouts.html
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    what: Simulate,
}

#[derive(Debug, Subcommand)]
enum Simulate {
    Rollout(Box<rollout::RolloutArgs>),
}

pub(crate) fn run(args: &SimulateArgs) -> Result<()> {
    match &args.what {
        Simulate::Rollout(args) => rollout::run(args),
    }
}
