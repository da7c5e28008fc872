//! The command `steersman`: reads arguments, does one thing, returns an exit code.
//!
//! Exit codes: 0 fine, 1 a finding (off course, an open incident, a failed verification), 2 wrong use or an error.

mod client;
mod compare;
mod demo;
mod estimate;
mod features;
mod forget;
mod gateway;
mod import;
mod init;
mod learner;
mod output;
mod progress;
mod query;
mod rollout;
mod simulate;
mod snapshot;
mod tune;
mod up;
mod verify;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Keeps production models on course: watches every prediction, decides, acts, and can prove it.
#[derive(Parser)]
#[command(version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Up(up::UpArgs),
    Gateway(gateway::GatewayArgs),
    Compare(compare::CompareArgs),
    Estimate(estimate::EstimateArgs),
    Tune(tune::TuneArgs),
    Simulate(simulate::SimulateArgs),
    Init(init::InitArgs),
    Apply(client::ApplyArgs),
    Import(import::ImportArgs),
    Snapshot(snapshot::SnapshotArgs),
    Status(client::StatusArgs),
    Query(query::QueryArgs),
    Features(features::FeaturesArgs),
    Incidents(client::ListArgs),
    /// Rollouts of a model or of all.
    Rollouts(client::ListArgs),
    Rollout(rollout::RolloutArgs),
    Register(client::RegisterArgs),
    Approve(client::AnswerArgs),
    Reject(client::AnswerArgs),
    Forget(forget::ForgetArgs),
    Report(client::ReportArgs),
    Verify(verify::VerifyArgs),
    #[command(hide = true)]
    LearnTrain(learner::train::TrainArgs),
    #[command(hide = true)]
    LearnServe(learner::serve::ServeArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("STEERSMAN_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::anyhow!("no threads: {error}")),
    };
    match runtime.block_on(Box::pin(run(arguments.command))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(2)
}

/// Returns whether there is nothing to complain about.
async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Demo(args) => Box::pin(demo::run(args)).await?,
        Command::Up(args) => Box::pin(up::run(&args)).await?,
        Command::Gateway(args) => Box::pin(gateway::run(args)).await?,
        Command::Compare(args) => return compare::run(&args),
        Command::Estimate(args) => return estimate::run(&args),
        Command::Tune(args) => tune::run(&args)?,
        Command::Simulate(args) => simulate::run(&args)?,
        Command::Init(args) => init::run(&args)?,
        Command::Apply(args) => client::apply(&args).await?,
        Command::Import(args) => return import::run(&args).await,
        Command::Snapshot(args) => snapshot::run(&args).await?,
        Command::Status(args) => return client::status(&args).await,
        Command::Query(args) => query::run(&args).await?,
        Command::Features(args) => return features::run(&args).await,
        Command::Incidents(args) => return client::incidents(&args).await,
        Command::Rollouts(args) => client::rollouts(&args).await?,
        Command::Rollout(args) => rollout::run(&args).await?,
        Command::Register(args) => client::register(&args).await?,
        Command::Approve(args) => client::answer(&args, true).await?,
        Command::Reject(args) => client::answer(&args, false).await?,
        Command::Forget(args) => forget::run(&args).await?,
        Command::Report(args) => client::report(&args).await?,
        Command::Verify(args) => return verify::run(&args).await,
        Command::LearnTrain(args) => learner::train::run(&args)?,
        Command::LearnServe(args) => learner::serve::run(args).await?,
    }
    Ok(true)
}
