//! `steersman demo`: a year of real flights through the whole loop, on a compressed clock.
//!
//! Nothing here is acted: the platform is the one of `steersman up`, with a clock that the replay moves. The training and
//! serving programs are started as commands, requests go through the gateway over HTTP, labels arrive when they became
//! known. Only the drill is staged: a version trained on turned labels, which a person puts past the first safeguards.

mod flights;
mod replay;
mod summary;

use crate::progress::Teller;
use anyhow::{Context as _, Result};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use steersman_domain::{ModelName, ModelSpec};
use steersman_server::{Clock, Options, Platform};

/// The whole loop on a year of real flights.
///
/// Will a flight arrive more than 15 minutes late? A version trained on January and February serves from March 2013 on.
/// It is watched, goes wrong, is trained anew, and the new version is judged on live traffic. Halfway, a bad version is
/// put in on purpose.
///
/// Examples:
///   steersman demo                       watch the year pass in about two minutes
///   steersman demo --fast --exit         as fast as it goes, then end
///   steersman demo --dir ./demo          keep ledger, records and report in a folder
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DemoArgs {
    /// Where data, ledger and report live [default: a new temporary folder].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Do not wait between steps.
    #[arg(long)]
    fast: bool,
    /// End when the year is over; without it the page stays until Ctrl-C.
    #[arg(long)]
    exit: bool,
    /// The same seed tells the same story.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Where page and API listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Where the gateway listens; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:7701", value_name = "ADDR:PORT")]
    gateway: SocketAddr,
}

/// How long the year takes when nobody is in a hurry.
const PACE: Duration = Duration::from_secs(100);

pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let started = Instant::now();
    let dir = match &args.dir {
        Some(dir) => {
            anyhow::ensure!(
                !dir.join("steersman.db").exists(),
                "`{}` holds a platform already: name a new folder, or look at it with `steersman up --dir`",
                dir.display()
            );
            dir.clone()
        }
        None => tempfile::Builder::new()
            .prefix("steersman-demo-")
            .tempdir()
            .context("no temporary folder")?
            .keep(),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    let dir = std::path::absolute(&dir)?;
    let flights = flights::load()?;
    let name: ModelName = flights::MODEL.parse()?;
    let work = dir.join("flights");
    flights::write_reference(&work, &flights)?;
    let text = flights::spec(args.seed)?;
    std::fs::write(work.join("flight-delay.toml"), &text)?;
    let spec = ModelSpec::parse(&text)?;
    let listener = crate::up::listen(args.listen).await?;
    let options = Options {
        gateway: args.gateway,
        clock: Clock::stepped(flights::start()),
        // The replay beats every step; a training may take longer than one.
        dead_man: Duration::from_secs(60),
        ..Options::alone(dir.clone())
    };
    let platform = Platform::open(options).await?;
    let page = crate::up::serve_pages(&platform, listener)?;
    let mut teller = Teller::new(&name);
    teller.line(&format!("page     http://{page}/"));
    teller.line(&format!("gateway  http://{}/v2/models/{name}/infer", platform.gateway().address()));
    teller.line(&format!("folder   {}", dir.display()));
    teller.line("");
    let outcome = tokio::select! {
        outcome = replay::run(&platform, &name, spec, &work, &flights, (!args.fast).then_some(PACE), args.seed, &mut teller) => outcome,
        _ = tokio::signal::ctrl_c() => {
            teller.finish();
            platform.shutdown().await;
            anyhow::bail!("stopped before the end of the year; what was done so far is in `{}`", dir.display());
        }
    };
    teller.finish();
    let outcome = outcome?;
    let report = platform.issue_report("health").await?;
    summary::print(&platform, &name, &flights, &outcome, started.elapsed(), &report, page).await?;
    if !args.exit {
        tokio::signal::ctrl_c().await?;
    }
    platform.shutdown().await;
    Ok(())
}
