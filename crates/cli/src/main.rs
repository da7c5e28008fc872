//! The command `steersman`.

mod learner;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(hide = true)]
    LearnTrain(learner::train::TrainArgs),
    #[command(hide = true)]
    LearnServe(learner::serve::ServeArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::LearnTrain(args) => learner::train::run(&args),
        Command::LearnServe(args) => learner::serve::run(args).await,
    }
}
