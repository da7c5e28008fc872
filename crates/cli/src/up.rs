//! `steersman up`: the platform for one's own models.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steersman_domain::ModelSpec;
use steersman_domain::config::{IngestSection, Location, QuerySection, ServerConfig};
use steersman_query::sql::Limits;
use steersman_server::{Clock, IngestLimits, Options, Platform, api};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The file that is read when none is named.
const CONFIG: &str = "steersman.toml";

/// Runs the platform: watches, decides, acts, and serves API, pages and gateway.
///
/// Examples:
///   steersman up                                   with ./steersman.toml if it is there
///   steersman up --dir ./state --apply model.toml  declare a model on the way up
///   steersman up --listen 127.0.0.1:8080
///   steersman up --config /etc/steersman.toml      one of several replicas on one Postgres
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UpArgs {
    /// The server's configuration [default: steersman.toml in `--dir` or here, if it is there].
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

/// The configuration in `file`, else in `dir` or the working folder, else the default; `dir` goes before what it says.
pub(crate) fn read_config(file: Option<&Path>, dir: Option<&Path>) -> Result<ServerConfig> {
    let places = [dir.map(|dir| dir.join(CONFIG)), Some(CONFIG.into())];
    let found = places.into_iter().flatten().find(|path| path.exists());
    let mut config = match file.map(Path::to_owned).or(found) {
        None => ServerConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            ServerConfig::parse(&text, folder).map_err(|problem| in_file(problem, &path))?
        }
    };
    if let Some(dir) = dir {
        config.dir = dir.to_owned();
    }
    Ok(config)
}

/// The configuration, with what the command line says on top.
fn config(args: &UpArgs) -> Result<ServerConfig> {
    let mut config = read_config(args.config.as_deref(), args.dir.as_deref())?;
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    config.server.gateway_listen = args.gateway.unwrap_or(config.server.gateway_listen);
    config.apply.extend(args.apply.iter().cloned());
    Ok(config)
}

/// What the platform is started with.
pub(crate) fn options(config: &ServerConfig, page: SocketAddr) -> Result<Options> {
    let alone = Options::alone(std::path::absolute(&config.dir)?);
    let folder = |path: &Path| std::path::absolute(path);
    let mut records = config.records.clone();
    if let Some(Location::Folder(path)) = &mut records.location {
        *path = folder(path)?;
    }
    Ok(Options {
        store: config.store.clone(),
        records,
        artifacts: config.artifacts.location.as_deref().map(folder).transpose()?.unwrap_or(alone.artifacts),
        name: config.server.name.clone().unwrap_or_else(machine),
        address: config.server.address.clone().unwrap_or_else(|| format!("http://{page}")),
        gateway: config.server.gateway_listen,
        clock: Clock::System,
        dead_man: config.server.dead_man.duration(),
        ingest: limits(&config.ingest)?,
        queries: queries(&config.query),
        dir: alone.dir,
    })
}

fn limits(section: &IngestSection) -> Result<IngestLimits> {
    let &IngestSection { largest_body, in_flight, in_flight_per_model } = section;
    if !(1..=1_024).contains(&largest_body) {
        bail!("ingest.largest_body: {largest_body} MiB; it can be 1 to 1024");
    }
    let bytes = |mib: u32| u64::from(mib) << 20;
    Ok(IngestLimits {
        largest_body: bytes(largest_body),
        in_flight: bytes(in_flight),
        in_flight_per_model: bytes(in_flight_per_model),
    })
}

fn queries(section: &QuerySection) -> Limits {
    let bytes = |mib: u32| (mib as usize) << 20;
    Limits {
        rows: section.rows as usize,
        most_rows: section.most_rows as usize,
        answer_bytes: bytes(section.answer),
        memory: bytes(section.memory),
        time: section.time.duration(),
        threads: section.threads as usize,
        at_once: section.at_once as usize,
    }
}

/// The machine's name.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "steersman".to_owned() } else { name.trim().to_owned() }
}

pub(crate) async fn run(args: &UpArgs) -> Result<()> {
    let config = config(args)?;
    let specs = config.apply.iter().map(|path| read_spec(path)).collect::<Result<Vec<_>>>()?;
    let listener = listen(config.server.listen).await?;
    let options = options(&config, listener.local_addr()?)?;
    let platform = Platform::open(options).await?;
    let result = serve(&platform, &config, listener, specs).await;
    platform.shutdown().await;
    result
}

async fn serve(
    platform: &Platform,
    config: &ServerConfig,
    listener: TcpListener,
    mut specs: Vec<(ModelSpec, PathBuf)>,
) -> Result<()> {
    let page = serve_pages(platform, listener)?;
    apply(platform, &mut specs).await?;
    crate::output::note(&format!("page     http://{page}/"));
    crate::output::note(&format!("gateway  http://{}/v2/models/MODEL/infer", platform.gateway().address()));
    crate::output::note(&format!("folder   {}", platform.dir().display()));
    let replica = platform.replica();
    if replica.shared {
        let part = if replica.leads { "leads" } else { "stands by" };
        crate::output::note(&format!("replica  {} {part}", replica.replica));
    }
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut turns = tokio::time::interval(config.server.every.duration());
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
                } else if !specs.is_empty() && let Err(error) = apply(platform, &mut specs).await {
                    tracing::error!("{error:#}");
                    specs.clear();
                }
            }
        }
    }
    crate::output::note("stopping: requests and writes under way are finished");
    Ok(())
}

/// Applies the specs, once this replica leads.
async fn apply(platform: &Platform, specs: &mut Vec<(ModelSpec, PathBuf)>) -> Result<()> {
    if !platform.leads() {
        return Ok(());
    }
    for (spec, folder) in std::mem::take(specs) {
        let applied = platform.apply("up", spec, &folder).await?;
        let what = if applied.changed { "applied" } else { "unchanged" };
        crate::output::note(&format!(
            "{what}  {} ({} reference rows)",
            applied.model, applied.reference_rows
        ));
    }
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

/// Listens for pages and API.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    ensure!(
        address.ip().is_loopback(),
        "{address} can be reached by others, and nobody signs in yet: listen on 127.0.0.1, and put a proxy with sign-in in front"
    );
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with `--listen ADDR:PORT`")
    })
}

/// Serves API and pages of a platform in the background; returns where.
pub(crate) fn serve_pages(platform: &Platform, listener: TcpListener) -> Result<SocketAddr> {
    let address = listener.local_addr()?;
    let routes = api::router(platform.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
