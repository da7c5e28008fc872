//! The gateway as others hold it: told how to split, asked what it counted.

use crate::capture::{Capture, Waiting};
use crate::fault::{ClientFault, ClientFaults};
use crate::lane::Pool;
use crate::listen;
use crate::memory::Memory;
use crate::route::{Counters, Route, ServerHealth};
use crate::slot::Slot;
use crate::split;
use crate::tls::{ClientTls, ServerTls};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use steersman_domain::fact::TripCause;
use steersman_domain::{ModelName, Problem};
use tokio::sync::{Semaphore, mpsc, watch};

/// How a gateway behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Threads that serve requests; each has its own connections.
    pub threads: usize,
    /// The certificate that callers are shown; none without TLS.
    pub tls: Option<ServerTls>,
    /// Certificates of model servers that are trusted beside those that the machine trusts.
    pub authorities: Option<PathBuf>,
    /// The file of what it remembers over a restart; none for nothing.
    pub memory: Option<PathBuf>,
    /// Whether the routes that it remembers are served at once; else only what it used of budgets is remembered.
    pub resume: bool,
    /// After how long without [`Gateway::heartbeat`] candidates get no traffic.
    pub dead_man: Duration,
    /// How long a connection to a model server may take, with TLS.
    pub connect: Duration,
    /// How long the head of an answer may take.
    pub first_byte: Duration,
    /// How long an answer may be silent in its middle.
    pub idle: Duration,
    /// How long a caller's head may take, and how long a caller's connection may rest.
    pub head: Duration,
    /// How long a caller may be silent in the middle of a body, and how long one may not read its answer.
    pub body: Duration,
    /// The largest head of a request, in bytes.
    pub max_head: usize,
    /// The largest request body that is passed on, in bytes.
    pub max_request: u64,
    /// The largest answer that is passed on, in bytes.
    pub max_response: u64,
    /// Bodies up to this size are captured, in bytes; of larger ones length and digest.
    pub capture_limit: usize,
    /// Captured calls that wait to be handed on may hold so many bytes.
    pub capture_memory: u64,
    /// Connections of callers at a time.
    pub max_connections: usize,
    /// Requests under way to one model server at a time.
    pub max_in_flight: u64,
    /// Copies under way at a time.
    pub max_mirrors: usize,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7701)),
            threads: cores.clamp(1, 8),
            tls: None,
            authorities: None,
            memory: None,
            resume: true,
            dead_man: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            max_head: 64 << 10,
            max_request: 64 << 20,
            max_response: 1 << 30,
            capture_limit: 64 << 10,
            capture_memory: 64 << 20,
            max_connections: 4_096,
            max_in_flight: 1_024,
            max_mirrors: 64,
        }
    }
}

/// A running gateway; clones share it.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<usize>,
}

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) routes: ArcSwap<BTreeMap<ModelName, Arc<Slot>>>,
    pub(crate) mirrors: Arc<Semaphore>,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) client_faults: ClientFaults,
    pub(crate) captures: ArcSwapOption<mpsc::Sender<Capture>>,
    pub(crate) captured: AtomicU64,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) memory: Option<Memory>,
    /// What is trusted of model servers.
    pub(crate) tls: ClientTls,
    started: Instant,
    nonce: u64,
    requests: AtomicU64,
    /// Milliseconds from `started` to the last heartbeat.
    heartbeat: AtomicU64,
    draining: AtomicBool,
    changing: Mutex<()>,
}

/// One thread that serves requests.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Pool,
}

impl Shared {
    /// How long the judge has been silent.
    fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.heartbeat.load(Ordering::Relaxed)))
    }

    /// Whether the judge has been silent for too long.
    pub(crate) fn judge_silent(&self) -> bool {
        self.silence() > self.config.dead_man
    }

    /// Whether it is about to stop.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// An id for a request that has none: unique over restarts.
    pub(crate) fn fresh_id(&self) -> String {
        format!("{:016x}-{}", self.nonce, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

impl Gateway {
    /// Listens, and hands what it captures to `captures`. What it remembers of an earlier process is served at once.
    pub async fn start(config: Config, captures: mpsc::Sender<Capture>) -> Result<Self, Problem> {
        let (memory, remembered) = match &config.memory {
            Some(path) => Memory::open(path).map(|(memory, routes)| (Some(memory), routes))?,
            None => (None, BTreeMap::new()),
        };
        let tls = ClientTls::read(config.authorities.as_deref())?;
        let listener = listen::bind(config.listen)?;
        let address = listener.local_addr().map_err(|error| Problem::internal(error.to_string()))?;
        let shared = Arc::new(Shared {
            routes: ArcSwap::default(),
            mirrors: Arc::new(Semaphore::new(config.max_mirrors)),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            client_faults: ClientFaults::default(),
            captures: ArcSwapOption::from_pointee(captures),
            captured: AtomicU64::new(0),
            waiting: Arc::default(),
            memory,
            tls,
            started: Instant::now(),
            nonce: split::process_nonce(),
            requests: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            changing: Mutex::new(()),
            config,
        });
        let (stop, stopping) = watch::channel(false);
        let stopped = listen::serve(listener, &shared, &stopping)?;
        let gateway = Self { shared, address, stop, stopped };
        for (model, route) in remembered.into_iter().filter(|_| gateway.shared.config.resume) {
            gateway.install(&model, route);
        }
        if gateway.shared.memory.is_some() {
            crate::memory::keep(&gateway.shared, stopping)?;
        }
        Ok(gateway)
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
        let memory = self.shared.memory.as_ref();
        let reserved = memory.and_then(|memory| memory.reserved(model, &route));
        let before = routes.get(model).map(Arc::as_ref);
        let slot = Slot::following(before, route, reserved.as_ref(), memory.is_some());
        let mut changed = BTreeMap::clone(&routes);
        changed.insert(model.clone(), Arc::new(slot));
        self.shared.routes.store(Arc::new(changed));
        self.poke();
    }

    /// Forgets how a model's requests are split: it is not served any more.
    pub fn remove(&self, model: &ModelName) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = BTreeMap::clone(&self.shared.routes.load());
        changed.remove(model);
        self.shared.routes.store(Arc::new(changed));
        self.poke();
    }

    /// Forgets all routes: another one serves.
    pub fn withdraw(&self) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.routes.store(Arc::default());
        self.poke();
    }

    fn poke(&self) {
        if let Some(memory) = &self.shared.memory {
            memory.poke();
        }
    }

    /// How it splits a model's requests.
    pub fn route(&self, model: &ModelName) -> Option<Route> {
        self.shared.routes.load().get(model).map(|slot| slot.route.clone())
    }

    /// The models that it serves.
    pub fn models(&self) -> Vec<ModelName> {
        self.shared.routes.load().keys().cloned().collect()
    }

    /// The judge is alive.
    pub fn heartbeat(&self) {
        self.heard(Duration::ZERO);
    }

    /// The judge was alive so long ago.
    pub fn heard(&self, ago: Duration) {
        let at = self.shared.started.elapsed().saturating_sub(ago).as_millis();
        self.shared.heartbeat.fetch_max(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the judge has been silent.
    pub fn judge_silence(&self) -> Duration {
        self.shared.silence()
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

    /// How a model's servers are: the champion's, then the candidate's.
    pub fn health(&self, model: &ModelName) -> Vec<ServerHealth> {
        self.shared.routes.load().get(model).map(|slot| slot.health()).unwrap_or_default()
    }

    /// What callers did wrong, how often.
    pub fn client_faults(&self) -> Vec<(ClientFault, u64)> {
        self.shared.client_faults.client_counts().collect()
    }

    /// Calls that were handed on to be recorded.
    pub fn captured(&self) -> u64 {
        self.shared.captured.load(Ordering::SeqCst)
    }

    /// Bytes of captured calls that wait to be recorded.
    pub fn waiting_bytes(&self) -> u64 {
        self.shared.waiting.bytes()
    }

    /// Copies under way.
    pub fn mirroring(&self) -> usize {
        self.shared.config.max_mirrors - self.shared.mirrors.available_permits()
    }

    /// Connections of callers.
    pub fn connections(&self) -> usize {
        self.shared.config.max_connections.saturating_sub(self.shared.connections.available_permits())
    }

    /// Says from now on that it is not ready, and goes on serving: balancers have time to notice.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Takes no new connections, lets requests under way end, and lets go of the capture queue.
    pub async fn shutdown(&self, grace: Duration) {
        self.drain();
        self.stop.send_replace(true);
        let mut stopped = self.stopped.clone();
        let threads = self.shared.config.threads.max(1);
        if tokio::time::timeout(grace, stopped.wait_for(|stopped| *stopped >= threads)).await.is_err() {
            tracing::warn!("requests were still under way when the gateway stopped");
        } else if let Err(error) = crate::memory::remember(&self.shared, false) {
            tracing::warn!(%error, "what was reserved of a budget counts as used");
        }
        self.shared.captures.store(None);
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}
