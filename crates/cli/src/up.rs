//! `steersman up`: the platform for one's own models.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steersman_domain::{ModelSpec, Period};
use steersman_server::{Clock, IngestLimits, Options, Platform, api};
use tokio::signal::unix::{SignalKind, signal};

/// The file that is read when none is named.
const CONFIG: &str = "steersman.toml";

/// Runs the platform: watches, decides, acts, and serves API, pages and gateway.
///
/// Examples:
///   steersman up                                   with ./steersman.toml if it is there
///   steersman up --dir ./state --apply model.toml  declare a model on the way up
///   steersman up --listen 127.0.0.1:8080
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UpArgs {
    /// The server's configuration [default: ./steersman.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data and ledger live [default: ./steersman-data].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Where pages and API listen [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where the gateway listens [default: 127.0.0.1:7701].
    #[arg(long, value_name = "ADDR:PORT")]
    gateway: Option<SocketAddr>,
    /// Apply this spec on the way up; can be given several times.
    #[arg(long, value_name = "SPEC")]
    apply: Vec<PathBuf>,
}

/// `steersman.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Where data and ledger live.
    dir: PathBuf,
    /// Where pages and API listen.
    listen: SocketAddr,
    /// Where the gateway listens.
    gateway: SocketAddr,
    /// How often the loop turns.
    every: Period,
    /// After how long without a judge the gateway takes a candidate's traffic away.
    dead_man: Period,
    /// Specs to apply on the way up.
    apply: Vec<PathBuf>,
    /// How much telemetry may be on its way at once.
    ingest: IngestConfig,
}

/// `[ingest]` in `steersman.toml`; sizes in MiB.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IngestConfig {
    /// The largest body, packed and unpacked.
    largest_body: u32,
    /// Bodies under way in the process; beyond that senders are told to come again.
    in_flight: u32,
    /// Bodies under way for one model.
    in_flight_per_model: u32,
}

const MIB: u64 = 1 << 20;

impl Default for IngestConfig {
    fn default() -> Self {
        let mib = |bytes: u64| u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
        let IngestLimits { largest_body, in_flight, in_flight_per_model } = IngestLimits::default();
        Self {
            largest_body: mib(largest_body),
            in_flight: mib(in_flight),
            in_flight_per_model: mib(in_flight_per_model),
        }
    }
}

impl IngestConfig {
    fn limits(self) -> Result<IngestLimits> {
        ensure!(
            (1..=1_024).contains(&self.largest_body),
            "`ingest.largest_body` is {} MiB; it can be 1 to 1024",
            self.largest_body
        );
        let bytes = |mib: u32| u64::from(mib) * MIB;
        Ok(IngestLimits {
            largest_body: bytes(self.largest_body),
            in_flight: bytes(self.in_flight),
            in_flight_per_model: bytes(self.in_flight_per_model),
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: "steersman-data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            gateway: SocketAddr::from(([127, 0, 0, 1], 7701)),
            every: Period::from_seconds(1),
            dead_man: Period::from_seconds(30),
            apply: Vec::new(),
            ingest: IngestConfig::default(),
        }
    }
}

/// The configuration, with what the command line says on top. Paths in the file start from its folder.
fn config(args: &UpArgs) -> Result<Config> {
    let path = args.config.clone().or_else(|| Path::new(CONFIG).exists().then(|| CONFIG.into()));
    let mut config = match &path {
        None => Config::default(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let mut config: Config = toml::from_str(&text)
                .with_context(|| format!("`{}` is not a server configuration", path.display()))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            config.dir = folder.join(&config.dir);
            config.apply = config.apply.iter().map(|spec| folder.join(spec)).collect();
            config
        }
    };
    config.dir = args.dir.clone().unwrap_or(config.dir);
    config.listen = args.listen.unwrap_or(config.listen);
    config.gateway = args.gateway.unwrap_or(config.gateway);
    config.apply.extend(args.apply.iter().cloned());
    Ok(config)
}

pub(crate) async fn run(args: &UpArgs) -> Result<()> {
    let config = config(args)?;
    let specs = config.apply.iter().map(|path| read_spec(path)).collect::<Result<Vec<_>>>()?;
    let options = Options {
        dir: std::path::absolute(&config.dir)?,
        gateway: config.gateway,
        clock: Clock::System,
        dead_man: config.dead_man.duration(),
        ingest: config.ingest.limits()?,
    };
    let platform = Platform::open(options).await?;
    let result = serve(&platform, &config, specs).await;
    platform.shutdown().await;
    result
}

async fn serve(platform: &Platform, config: &Config, specs: Vec<(ModelSpec, PathBuf)>) -> Result<()> {
    let page = serve_pages(platform, config.listen).await?;
    for (spec, folder) in specs {
        let applied = platform.apply("up", spec, &folder).await?;
        let what = if applied.changed { "applied" } else { "unchanged" };
        crate::output::note(&format!(
            "{what}  {} ({} reference rows)",
            applied.model, applied.reference_rows
        ));
    }
    crate::output::note(&format!("page     http://{page}/"));
    crate::output::note(&format!("gateway  http://{}/v2/models/MODEL/infer", platform.gateway().address()));
    crate::output::note(&format!("folder   {}", platform.dir().display()));
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut turns = tokio::time::interval(config.every.duration());
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = ended.recv() => break,
            _ = turns.tick() => {
                if let Err(problem) = platform.tick().await {
                    // What could not be done is tried again; meanwhile the dead-man switch runs.
                    tracing::error!(%problem, "a turn of the loop failed");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
    crate::output::note("stopping: requests and writes under way are finished");
    Ok(())
}

/// A spec, and the folder that it starts from.
pub(crate) fn read_spec(path: &Path) -> Result<(ModelSpec, PathBuf)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the spec `{}`", path.display()))?;
    let spec = ModelSpec::parse(&text).map_err(|problem| in_file(problem, path))?;
    let path = std::path::absolute(path)?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((spec, folder))
}

/// The problem, with the file that it is in.
fn in_file(problem: steersman_domain::Problem, path: &Path) -> steersman_domain::Problem {
    let place = problem.field.clone().map(|field| format!(", {field}")).unwrap_or_default();
    problem.field(format!("{}{place}", path.display()))
}

/// Serves API and pages of a platform in the background; returns where.
pub(crate) async fn serve_pages(platform: &Platform, listen: SocketAddr) -> Result<SocketAddr> {
    ensure!(
        listen.ip().is_loopback(),
        "{listen} can be reached by others, and nobody signs in yet: listen on 127.0.0.1, and put a proxy with sign-in in front"
    );
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; choose another address with `--listen ADDR:PORT`")
    })?;
    let address = listener.local_addr()?;
    let routes = api::router(platform.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
