//! `steersman gateway`: the data plane as a process of its own.

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ErrorKind;
use steersman_gateway::remote::Link;
use steersman_gateway::{Config, Gateway, ServerTls};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How many captured calls may wait to be sent.
const CAPTURE_QUEUE: usize = 10_000;
/// How long captured calls that wait are still sent at the end.
const LAST_CAPTURES: Duration = Duration::from_secs(10);

/// Runs a gateway as a process of its own: it is told its routes by a platform and hands captured calls to it.
///
/// Without the platform it serves as it was told last, also after its own restart. A judge that is silent for longer
/// than `--dead-man` takes a candidate's traffic away; the champion is untouched.
///
/// Examples:
///   steersman gateway                                         beside a platform on this machine
///   steersman gateway --name edge-1 --listen 0.0.0.0:8443 --tls-cert edge.pem --tls-key edge.key.pem
///   steersman gateway --server http://10.0.0.1:7700 --server http://10.0.0.2:7700
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct GatewayArgs {
    /// Address of the platform; of several replicas, all of them.
    #[arg(long, default_value = "http://127.0.0.1:7700", env = "STEERSMAN_SERVER", value_name = "URL")]
    server: Vec<String>,
    /// Its name at the platform; no two gateways may have the same.
    #[arg(long, value_name = "NAME", default_value = "gateway")]
    name: String,
    /// Where it listens for requests.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7711")]
    listen: SocketAddr,
    /// Where it answers /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7712")]
    admin: SocketAddr,
    /// Where it remembers the last routes and what it used of budgets.
    #[arg(long, value_name = "FOLDER", default_value = "steersman-gateway")]
    dir: PathBuf,
    /// The certificate, with its chain, that callers are shown (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Certificates that are trusted beside those of this machine, at model servers and the platform (PEM).
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Threads that serve requests [default: one a core, at most 8].
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
    /// After how many seconds without a judge a candidate gets no traffic.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    dead_man: u64,
    /// How many seconds a connection to a model server may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    connect_timeout: u64,
    /// How many seconds an answer may take to begin.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    first_byte_timeout: u64,
    /// How many seconds an answer may be silent in its middle.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle_timeout: u64,
    /// Bodies up to so many KiB are captured; of larger ones length and digest.
    #[arg(long, value_name = "KIB", default_value_t = 64)]
    capture: usize,
    /// Connections of callers at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 4_096)]
    connections: usize,
    /// Requests under way to one model server at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024)]
    in_flight: u64,
    /// At the end it says for so many seconds that it is not ready, and still serves: balancers have time to notice.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain: u64,
}

impl GatewayArgs {
    fn config(&self) -> Result<Config> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(ServerTls::read(certificate, key)?),
            _ => None,
        };
        if tls.is_none() && !self.listen.ip().is_loopback() {
            crate::output::warn(
                "callers from elsewhere are served without TLS: `--tls-cert` and `--tls-key` change that",
            );
        }
        if !self.admin.ip().is_loopback() {
            bail!("--admin: {} can be reached by others, and nobody signs in there", self.admin);
        }
        let usual = Config::default();
        Ok(Config {
            listen: self.listen,
            threads: self.threads.unwrap_or(usual.threads).clamp(1, 256),
            tls,
            authorities: self.tls_ca.clone(),
            memory: Some(self.dir.join("gateway.json")),
            dead_man: Duration::from_secs(self.dead_man),
            connect: Duration::from_secs(self.connect_timeout),
            first_byte: Duration::from_secs(self.first_byte_timeout),
            idle: Duration::from_secs(self.idle_timeout),
            capture_limit: self.capture << 10,
            max_connections: self.connections,
            max_in_flight: self.in_flight,
            ..usual
        })
    }
}

pub(crate) async fn run(args: GatewayArgs) -> Result<()> {
    let link = Arc::new(Link::new(&args.name, &args.server, args.tls_ca.as_deref())?);
    let config = args.config()?;
    let admin = TcpListener::bind(args.admin).await.with_context(|| {
        format!("cannot listen on {}; choose another address with `--admin ADDR:PORT`", args.admin)
    })?;
    let (sender, captures) = mpsc::channel(CAPTURE_QUEUE);
    let gateway = Gateway::start(config, sender).await.map_err(|problem| match problem.kind {
        ErrorKind::Conflict => problem.hint("choose another address with `--listen ADDR:PORT`"),
        _ => problem,
    })?;
    crate::output::note(&format!("gateway  {}", gateway.address()));
    crate::output::note(&format!("admin    http://{}/metrics", admin.local_addr()?));
    let served = gateway.models();
    if !served.is_empty() {
        let names: Vec<&str> = served.iter().map(|model| model.as_str()).collect();
        crate::output::note(&format!("serves   {}, as it was told last", names.join(", ")));
    }
    let routes = admin_routes(gateway.clone(), link.clone());
    let admin = tokio::spawn(async move { axum::serve(admin, routes).await });
    let push = link.push(captures);
    tokio::pin!(push);
    tokio::select! {
        () = link.follow(&gateway) => {}
        () = &mut push => {}
        ended = ended() => ended?,
    }
    crate::output::note("stopping: requests under way are finished, captured calls are sent");
    gateway.drain();
    let finish = async {
        tokio::time::sleep(Duration::from_secs(args.drain)).await;
        gateway.shutdown(Duration::from_secs(30)).await;
    };
    tokio::pin!(finish);
    let sent = tokio::select! {
        () = &mut push => true,
        () = &mut finish => tokio::time::timeout(LAST_CAPTURES, &mut push).await.is_ok(),
    };
    admin.abort();
    if !sent {
        crate::output::warn("captured calls that could not be sent are lost");
    }
    Ok(())
}

async fn ended() -> Result<()> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

fn admin_routes(gateway: Gateway, link: Arc<Link>) -> Router {
    let numbers = gateway.clone();
    let metrics = async move || {
        let mut text = String::new();
        numbers.write_metrics(&mut text);
        link.write_metrics(&mut text);
        text
    };
    let ready = async move || match gateway.models().is_empty() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "no routes yet\n"),
        false => (StatusCode::OK, "ready\n"),
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}
