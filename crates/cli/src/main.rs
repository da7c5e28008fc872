//! The command `steersman`.

mod demo;
mod learner;
mod progress;
mod up;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    LearnTrain(learner::train::TrainArgs),
    #[command(hide = true)]
    LearnServe(learner::serve::ServeArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    match Arguments::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::LearnTrain(args) => learner::train::run(&args),
        Command::LearnServe(args) => learner::serve::run(args).await,
    }
}
