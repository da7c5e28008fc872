//! The data plane: takes requests in, gives each to champion or candidate, copies, and hands records on.
//!
//! INVARIANT: a request waits for nothing but its upstream. Routes are read without locks, captures go into a bounded
//! queue without waiting, copies run beside. What is shed is counted.
//!
//! - `route`: what the control plane tells the gateway, and what the gateway counts.
//! - `split`: which arm a request belongs to.
//! - `proxy`: the way of one request.

mod body;
mod proxy;
mod route;
mod split;

pub use route::{CandidateRoute, Counters, Route, Target};
pub use split::hash64;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use route::Slot;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use steersman_domain::fact::TripCause;
use steersman_domain::record::Arm;
use steersman_domain::{ErrorKind, ModelName, Problem, Version};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

/// How a gateway behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// After how long without [`Gateway::heartbeat`] candidates get no traffic.
    pub dead_man: Duration,
    /// How long an upstream may take.
    pub timeout: Duration,
    /// The largest request body that is passed on, in bytes.
    pub max_request: usize,
    /// The largest answer that is passed on, in bytes.
    pub max_response: usize,
    /// Bodies up to this size are captured, in bytes.
    pub capture_limit: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Copies under way at a time.
    pub max_mirrors: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7701)),
            dead_man: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            max_request: 8 << 20,
            max_response: 64 << 20,
            capture_limit: 256 << 10,
            max_connections: 1_024,
            max_mirrors: 64,
        }
    }
}

/// One call as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// The model.
    pub model: ModelName,
    /// Which arm answered.
    pub arm: Arm,
    /// The version that was asked.
    pub version: Version,
    /// The probability with which the request was given to the candidate; 0 where chance did not decide.
    pub weight: f64,
    /// What the split was by, hashed.
    pub unit: u64,
    /// The caller's id for the request, or a fresh one.
    pub request_id: String,
    /// How long the upstream took.
    pub latency: Duration,
    /// Its status; 0 when there was no answer.
    pub status: u16,
    /// The request's body.
    pub request: Bytes,
    /// The answer's body.
    pub response: Bytes,
    /// One of the bodies is larger than what is captured, and left out.
    pub truncated: bool,
}

/// A running gateway; clones share it.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) routes: ArcSwap<BTreeMap<ModelName, Arc<Slot>>>,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) mirrors: Arc<Semaphore>,
    pub(crate) started: Instant,
    nonce: u64,
    requests: AtomicU64,
    captured: AtomicU64,
    /// Milliseconds from `started` to the last heartbeat.
    heartbeat: AtomicU64,
    changing: Mutex<()>,
    captures: ArcSwapOption<mpsc::Sender<Capture>>,
}

impl Shared {
    /// Whether the judge has been silent for too long.
    pub(crate) fn judge_silent(&self) -> bool {
        let last = Duration::from_millis(self.heartbeat.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last) > self.config.dead_man
    }

    /// An id for a request that has none: unique over restarts.
    pub(crate) fn fresh_id(&self) -> String {
        format!("{:016x}-{}", self.nonce, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands a capture on, if there is room.
    pub(crate) fn capture(&self, slot: &Slot, capture: Capture) {
        let sender = self.captures.load();
        if sender.as_ref().is_some_and(|sender| sender.try_send(capture).is_ok()) {
            self.captured.fetch_add(1, Ordering::SeqCst);
        } else {
            slot.shed_captures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Gateway {
    /// Listens, and hands what it captures to `captures`.
    pub async fn start(config: Config, captures: mpsc::Sender<Capture>) -> Result<Self, Problem> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
                _ => ErrorKind::Internal,
            };
            Problem::new(kind, format!("the gateway cannot listen on {listen}: {error}"))
                .hint("choose another address with `--gateway ADDR:PORT`")
        })?;
        let address = listener.local_addr().map_err(|error| Problem::internal(error.to_string()))?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        let shared = Arc::new(Shared {
            routes: ArcSwap::default(),
            client,
            mirrors: Arc::new(Semaphore::new(config.max_mirrors)),
            started: Instant::now(),
            nonce: split::process_nonce(),
            requests: AtomicU64::new(0),
            captured: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            changing: Mutex::new(()),
            captures: ArcSwapOption::from_pointee(captures),
            config,
        });
        let (stop, stopping) = watch::channel(false);
        let (finished, stopped) = watch::channel(false);
        tokio::spawn(accept(listener, shared.clone(), stopping, finished));
        Ok(Self { shared, address, stop, stopped })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it how to split a model's requests from the next one on. Counts and trips of a candidate are kept as long
    /// as it is the same version in the same rollout.
    pub fn install(&self, model: &ModelName, route: Route) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.shared.routes.load();
        let slot = Slot::following(routes.get(model).map(Arc::as_ref), route);
        let mut changed = BTreeMap::clone(&routes);
        changed.insert(model.clone(), Arc::new(slot));
        self.shared.routes.store(Arc::new(changed));
    }

    /// Forgets all routes: another one serves.
    pub fn withdraw(&self) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.routes.store(Arc::default());
    }

    /// How it splits a model's requests.
    pub fn route(&self, model: &ModelName) -> Option<Route> {
        self.shared.routes.load().get(model).map(|slot| slot.route.clone())
    }

    /// The judge is alive.
    pub fn heartbeat(&self) {
        let now = self.shared.started.elapsed().as_millis() as u64;
        self.shared.heartbeat.fetch_max(now, Ordering::Relaxed);
    }

    /// What was counted for a model.
    pub fn counters(&self, model: &ModelName) -> Counters {
        let routes = self.shared.routes.load();
        let Some(slot) = routes.get(model) else { return Counters::default() };
        if self.shared.judge_silent() {
            slot.trip(TripCause::DeadMan);
        }
        slot.counters()
    }

    /// Calls that were handed on to be recorded.
    pub fn captured(&self) -> u64 {
        self.shared.captured.load(Ordering::SeqCst)
    }

    /// Copies under way.
    pub fn mirroring(&self) -> usize {
        self.shared.config.max_mirrors - self.shared.mirrors.available_permits()
    }

    /// Takes no new connections, lets requests under way end, and lets go of the capture queue.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop.send_replace(true);
        let mut stopped = self.stopped.clone();
        if tokio::time::timeout(grace, stopped.wait_for(|stopped| *stopped)).await.is_err() {
            tracing::warn!("requests were still under way when the gateway stopped");
        }
        self.shared.captures.store(None);
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
    finished: watch::Sender<bool>,
) {
    let connections = Arc::new(Semaphore::new(shared.config.max_connections));
    let graceful = GracefulShutdown::new();
    loop {
        // A full house waits in the kernel's queue.
        let Ok(seat) = connections.clone().acquire_owned().await else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of file handles: give others time to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = async { drop(stopping.wait_for(|stop| *stop).await) } => break,
        };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        let service = hyper::service::service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, std::convert::Infallible>(proxy::handle(shared, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
            drop(seat);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    finished.send_replace(true);
}
