//! The platform: the rooms joined into one loop.
//!
//! - [`Platform::open`] brings everything up from a folder: the state is folded from the ledger, records are recovered
//!   from their log, orphaned processes are ended.
//! - `ingest` takes records, labels and the gateway's captures in, under the limits of `admission`; `events` pairs the two
//!   halves of a call that others saw.
//! - `steer` is one turn of the loop: watch, decide, write facts, act.
//! - `gateways` directs gateways that are processes of their own, and shares budgets out.
//! - `jobs` carries out training and evaluation; `routes` keeps model servers and the gateway as the state wants them.
//! - `archive` is where the segments of records are, and keeps them in order.
//! - `lead` says which of several replicas decides; the others follow the facts that it writes.
//! - `offline` opens the records of a folder that no platform runs on.
//! - `personal` hashes and drops what is about persons.
//! - `commands` is what people ask for: apply a spec, register a version, approve; `report` writes reports.
//!
//! INVARIANT: facts are written under one lock, and the state in memory is the fold of exactly the facts on disk.

mod admission;
mod archive;
mod clock;
mod commands;
mod events;
mod forecast;
mod gateways;
mod ingest;
mod jobs;
mod lead;
mod offline;
mod personal;
mod report;
mod routes;
mod steer;

pub use admission::{Admission, IngestLimits, Ticket};
pub use archive::open_archive;
pub use clock::Clock;
pub use commands::{Applied, Registration};
pub use events::{EventCounts, Taken};
pub use ingest::{Body, Ingested};
pub use lead::Replica;
pub use offline::Offline;

use events::Events;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use steersman_act::server::Servers;
use steersman_decide::rollout::Judged;
use steersman_decide::{Intent, Judge};
use steersman_domain::config::{RecordsSection, StoreSection};
use steersman_domain::simulation::SimulatedStrategy;
use steersman_domain::time::from_micros;
use steersman_domain::{
    Actor, Entry, Fact, ModelName, ModelSpec, Period, Problem, RolloutId, RunId, Version,
};
use steersman_gateway::Gateway;
use steersman_ledger::state::{ModelState, State};
use steersman_query::sql::{Engine, Limits};
use steersman_records::reference::{Reference, read_reference};
use steersman_records::{Arrival, Cursor, Detail, Item, Limits as LogLimits, RecordLog};
use steersman_store::{Batch, Draft, Store};
use steersman_watch::{ReferenceProfile, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many captured calls may wait to be written.
const CAPTURE_QUEUE: usize = 10_000;

/// What a platform is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of this process.
    pub dir: PathBuf,
    /// Which database holds the ledger.
    pub store: StoreSection,
    /// Where records last.
    pub records: RecordsSection,
    /// The folder of references, snapshots and trained versions; replicas share it.
    pub artifacts: PathBuf,
    /// Name of this replica.
    pub name: String,
    /// Where its pages and API are.
    pub address: String,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the time comes from.
    pub clock: Clock,
    /// After how long without a judge the gateway takes a candidate's traffic away.
    pub dead_man: Duration,
    /// How much telemetry may be on its way at once.
    pub ingest: IngestLimits,
    /// What queries may take.
    pub queries: Limits,
}

impl Options {
    /// A platform that owns `dir` alone, with everything in it.
    pub fn alone(dir: PathBuf) -> Self {
        Self {
            store: StoreSection::default(),
            records: RecordsSection::default(),
            artifacts: dir.join("models"),
            name: "steersman".to_owned(),
            address: String::new(),
            gateway: SocketAddr::from(([127, 0, 0, 1], 7701)),
            clock: Clock::System,
            dead_man: Duration::from_secs(30),
            ingest: IngestLimits::default(),
            queries: Limits::default(),
            dir,
        }
    }
}

/// A running platform; clones share it.
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    artifacts: PathBuf,
    personal: personal::Place,
    name: String,
    address: String,
    clock: Clock,
    store: Store,
    log: RecordLog,
    queries: Engine,
    gateway: Gateway,
    servers: Servers,
    watcher: Watcher,
    state: RwLock<Arc<State>>,
    writer: tokio::sync::Mutex<()>,
    lead: Mutex<lead::Lead>,
    models: Mutex<BTreeMap<ModelName, Live>>,
    jobs: Mutex<HashMap<RunId, JoinHandle<()>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    ingested: AtomicU64,
    capture_failures: AtomicU64,
    admission: Arc<Admission>,
    events: Events,
    gateways: Mutex<gateways::Gateways>,
    /// Held while a part of a budget is granted.
    granting: tokio::sync::Mutex<()>,
    /// Rises with each change of a route.
    routes_changed: tokio::sync::watch::Sender<u64>,
    stopping: tokio::sync::watch::Sender<bool>,
    /// After so long records go, unless the model's spec says otherwise.
    retention: Option<Period>,
    /// What compacts segments, if something does.
    compaction: Mutex<Option<JoinHandle<()>>>,
    /// When old segments and garbage were last looked for.
    kept: Mutex<Option<Timestamp>>,
}

/// What is known of a model beside the ledger: all of it can be made again from records and facts.
#[derive(Default)]
struct Live {
    /// The judge of the active rollout, or of the version that was promoted lately.
    judge: Option<((RolloutId, bool), Judge)>,
    /// How a rollout would go, and what that was computed from.
    forecast: Option<(forecast::Basis, SimulatedStrategy)>,
    /// Time of the first and of the last labelled row of the reference.
    reference_span: Option<(Timestamp, Timestamp)>,
    /// Time of the latest record.
    last_record: Option<Timestamp>,
    /// When the latest label became known.
    last_label: Option<Timestamp>,
    /// The version whose training data windows are compared with; none for the reference file.
    compared_with: Option<Version>,
    /// How far arrivals were taken in.
    cursor: Cursor,
}

impl Platform {
    /// Brings a platform up on `options.dir`, which is made if it is not there. It leads if no other replica does.
    pub async fn open(options: Options) -> Result<Self, Problem> {
        let store = Store::open_as(&options.dir, &options.store).await?;
        let servers = Servers::new(options.dir.join("servers"));
        servers.reap_orphans();
        let archive = open_archive(&options.dir, &options.records, &store)?;
        let records = options.dir.join("records");
        let limits = log_limits(&options.records);
        let log = blocking(move || RecordLog::open_on(&records, archive, limits)).await?;
        let (captures, queue) = mpsc::channel(CAPTURE_QUEUE);
        let (events, pairs) = Events::new();
        let gateway_config = steersman_gateway::Config {
            listen: options.gateway,
            dead_man: options.dead_man,
            memory: Some(options.dir.join("gateway.json")),
            // Model servers of an earlier process are gone; what it used of budgets is not.
            resume: false,
            ..steersman_gateway::Config::default()
        };
        let gateway = Gateway::start(gateway_config, captures).await?;
        let watcher = Watcher::new(log.clone(), store.clone());
        let queries = Engine::new(log.clone(), options.queries)?;
        let secret = options.records.personal_key_file.clone();
        let personal = personal::Place {
            secret: secret.unwrap_or_else(|| options.dir.join("keys").join("personal.key")),
            artifacts: options.artifacts.clone(),
        };
        let platform = Self {
            inner: Arc::new(Inner {
                personal,
                dir: options.dir,
                artifacts: options.artifacts,
                name: options.name,
                address: options.address,
                clock: options.clock,
                store,
                log,
                queries,
                gateway,
                servers,
                watcher,
                state: RwLock::default(),
                writer: tokio::sync::Mutex::new(()),
                lead: Mutex::default(),
                models: Mutex::new(BTreeMap::new()),
                jobs: Mutex::new(HashMap::new()),
                tasks: Mutex::new(Vec::new()),
                ingested: AtomicU64::new(0),
                capture_failures: AtomicU64::new(0),
                admission: Arc::new(Admission::new(options.ingest)),
                events,
                gateways: Mutex::default(),
                granting: tokio::sync::Mutex::new(()),
                routes_changed: tokio::sync::watch::Sender::new(0),
                stopping: tokio::sync::watch::Sender::new(false),
                retention: options.records.retention,
                compaction: Mutex::default(),
                kept: Mutex::default(),
            }),
        };
        platform.follow().await?;
        platform.start_keeping();
        platform.start_capture(queue);
        platform.start_events(pairs);
        platform.lead().await?;
        Ok(platform)
    }

    /// The state now: a fold over all facts.
    pub fn state(&self) -> Arc<State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The platform's time.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The clock, for whoever replays history.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Where everything lasts.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The ledger, windows and measurements.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The record log.
    pub fn log(&self) -> &RecordLog {
        &self.inner.log
    }

    /// SQL over the records.
    pub fn queries(&self) -> &Engine {
        &self.inner.queries
    }

    /// The data plane.
    pub fn gateway(&self) -> &Gateway {
        &self.inner.gateway
    }

    /// Stops: no new requests, running jobs are ended and will be taken up at the next start, records are on disk.
    pub async fn shutdown(&self) {
        self.inner.gateway.shutdown(Duration::from_secs(5)).await;
        for (_, job) in lock(&self.inner.jobs).drain() {
            job.abort();
        }
        self.inner.stopping.send_replace(true);
        // The capture task ends by itself once the gateway has dropped its end of the queue.
        let tasks: Vec<_> = lock(&self.inner.tasks).drain(..).collect();
        for mut task in tasks {
            if tokio::time::timeout(Duration::from_secs(5), &mut task).await.is_err() {
                task.abort();
            }
        }
        let compaction = lock(&self.inner.compaction).take();
        if let Some(compaction) = compaction {
            // What is half done is garbage later.
            let _ = tokio::time::timeout(Duration::from_secs(5), compaction).await;
        }
        let log = self.inner.log.clone();
        if let Err(problem) = blocking(move || log.flush()).await {
            tracing::warn!(%problem, "records stay in the write-ahead log");
        }
        self.inner.servers.stop_all().await;
        self.let_go().await;
        self.inner.store.close().await;
    }

    /// Writes facts, with rows that belong to them, in one transaction, and folds them into the state.
    async fn commit(&self, mut batch: Batch) -> Result<Vec<Entry>, Problem> {
        let _writing = self.inner.writer.lock().await;
        self.must_lead()?;
        batch.after = Some(self.state().size);
        let entries = match self.inner.store.commit(self.now(), batch).await {
            Ok(entries) => entries,
            Err(problem) => {
                // Where the answer of the database was lost the facts may be there all the same.
                if let Err(unread) = self.read_on().await {
                    tracing::warn!(problem = %unread, "the ledger was not read on");
                }
                return Err(problem);
            }
        };
        self.fold(&entries)?;
        for entry in &entries {
            tracing::info!(seq = entry.seq, kind = entry.fact.kind(), model = ?entry.fact.model().map(ModelName::as_str), "fact");
        }
        Ok(entries)
    }

    /// Writes one fact of one of the platform's rooms.
    async fn write(&self, room: &str, fact: Fact) -> Result<(), Problem> {
        self.write_all(room, vec![fact]).await
    }

    /// Writes facts of one of the platform's rooms together.
    async fn write_all(&self, room: &str, facts: Vec<Fact>) -> Result<(), Problem> {
        let drafts = facts.into_iter().map(|fact| platform_draft(room, Vec::new(), fact)).collect();
        self.commit(Batch { drafts, ..Batch::default() }).await.map(|_| ())
    }

    /// Makes what is known of a model beside the ledger: at start, and when its spec changes.
    async fn load_model(&self, name: &ModelName) -> Result<(), Problem> {
        let state = self.state();
        let model = state.model(name)?.clone();
        let Some(reference_state) = &model.reference else { return Ok(()) };
        let spec = model.spec.clone();
        let path = self.reference_path(name, &spec);
        let reference = blocking(move || read_reference(&path, &spec)).await?;
        if reference.digest != reference_state.digest {
            let message = format!("the kept copy of the reference of `{name}` is not what the ledger says");
            return Err(Problem::new(steersman_domain::ErrorKind::Corrupt, message));
        }
        let (log, declared, schema) = (self.inner.log.clone(), name.clone(), reference.schema.clone());
        let personal = self.personal(&model.spec).await?;
        let recovery = blocking(move || log.declare_personal(&declared, &schema, personal)).await?;
        if recovery.torn_bytes > 0 {
            let bytes = recovery.torn_bytes;
            tracing::warn!(model = %name, bytes, "the last write was cut off and never acknowledged; it is dropped");
        }
        tracing::debug!(model = %name, ?recovery, "record log opened");
        let live = Live { reference_span: Some((reference.from, reference.to)), ..Live::default() };
        lock(&self.inner.models).insert(name.clone(), live);
        self.compare_with_champion(name, &model, Some(&reference)).await?;
        self.ready_judge(name, &model).await?;
        self.catch_up(name).await
    }

    /// Lets windows be compared with what the champion was trained on: the reference moves with the champion, never
    /// without one.
    async fn compare_with_champion(
        &self,
        name: &ModelName,
        model: &ModelState,
        reference: Option<&Reference>,
    ) -> Result<(), Problem> {
        let champion = model.champion().and_then(|version| model.versions.get(&version));
        let run = champion.and_then(|version| version.run.clone());
        let trained = match (&run, champion) {
            (Some(run), Some(version)) => {
                let path = self.snapshot_path(name, run, &model.spec);
                path.exists().then_some((path, version.version))
            }
            _ => None,
        };
        let spec = model.spec.clone();
        let (profile, compared_with) = match (trained, reference) {
            (Some((path, version)), _) => {
                let profile = blocking(move || {
                    let snapshot = read_reference(&path, &snapshot_spec(&spec))?;
                    Ok(ReferenceProfile::learn(&spec, &snapshot))
                });
                (profile.await?, Some(version))
            }
            (None, Some(reference)) => (ReferenceProfile::learn(&spec, reference), None),
            (None, None) => {
                let path = self.reference_path(name, &spec);
                let profile = blocking(move || {
                    let reference = read_reference(&path, &spec)?;
                    Ok(ReferenceProfile::learn(&spec, &reference))
                });
                (profile.await?, None)
            }
        };
        self.inner.watcher.load(name, model, profile).await?;
        if let Some(live) = lock(&self.inner.models).get_mut(name) {
            live.compared_with = compared_with;
        }
        Ok(())
    }

    /// Gives the active rollout, or the version that was promoted lately, its judge, fed with everything that arrived since.
    async fn ready_judge(&self, name: &ModelName, model: &ModelState) -> Result<(), Problem> {
        let Some(judged) = Judged::of(model) else {
            if let Some(live) = lock(&self.inner.models).get_mut(name) {
                live.judge = None;
            }
            return Ok(());
        };
        let known = lock(&self.inner.models)
            .get(name)
            .is_some_and(|live| live.judge.as_ref().is_some_and(|(key, _)| *key == judged.key()));
        if known {
            return Ok(());
        }
        let mut judge = judged.judge(&model.spec);
        let (log, replayed) = (self.inner.log.clone(), name.clone());
        let began = judged.since();
        // What arrives after the cursor is shown to the judge when it is taken in.
        let Some(cursor) = lock(&self.inner.models).get(name).map(|live| live.cursor.clone()) else {
            return Ok(());
        };
        let arrivals = blocking(move || log.arrivals_since(&replayed, began, &cursor)).await?;
        for arrival in &arrivals {
            feed(&mut judge, arrival);
        }
        let mut models = lock(&self.inner.models);
        let Some(live) = models.get_mut(name) else { return Ok(()) };
        live.judge = Some((judged.key(), judge));
        Ok(())
    }

    /// Takes in what arrived since the last time, in order of arrival: the judge and the watcher always see the same
    /// sequence, however the platform was interrupted.
    async fn catch_up(&self, name: &ModelName) -> Result<(), Problem> {
        loop {
            let known =
                lock(&self.inner.models).get(name).map(|live| (live.cursor.clone(), live.judge.is_some()));
            let Some((from, judged)) = known else { return Ok(()) };
            // Only a judge looks at whole rows.
            let detail = if judged { Detail::All } else { Detail::Times };
            let (log, model) = (self.inner.log.clone(), name.clone());
            let fresh = blocking(move || {
                let Some(fresh) = log.fresh(&model, &from, detail)? else { return Ok(None) };
                let rows = if judged { fresh.arrivals(&log.schema(&model)?)? } else { Vec::new() };
                Ok(Some((fresh, rows)))
            });
            let Some((fresh, arrivals)) = fresh.await? else { return Ok(()) };
            self.inner.watcher.note(name, &fresh)?;
            let state = self.state();
            let started = Judged::of(state.model(name)?).map(|judged| judged.since());
            let (last_record, last_label) = fresh.latest()?;
            let mut models = lock(&self.inner.models);
            let Some(live) = models.get_mut(name) else { return Ok(()) };
            live.cursor = fresh.until.clone();
            live.last_record = live.last_record.max(last_record.map(from_micros));
            live.last_label = live.last_label.max(last_label.map(from_micros));
            if let (Some((_, judge)), Some(started)) = (&mut live.judge, started) {
                let judged = arrivals.iter().filter(|arrival| arrival.received_at >= started);
                judged.for_each(|arrival| feed(judge, arrival));
            }
        }
    }

    // Where a model's files lie.

    fn model_dir(&self, name: &ModelName) -> PathBuf {
        self.inner.artifacts.join(name.as_str())
    }

    fn run_dir(&self, name: &ModelName, run: &RunId) -> PathBuf {
        self.model_dir(name).join("runs").join(run.as_str())
    }

    fn snapshot_path(&self, name: &ModelName, run: &RunId, spec: &ModelSpec) -> PathBuf {
        let format = spec.retrain.as_ref().map(|retrain| retrain.format).unwrap_or_default();
        self.run_dir(name, run).join(format!("snapshot.{}", format.extension()))
    }

    fn reference_path(&self, name: &ModelName, spec: &ModelSpec) -> PathBuf {
        reference_path(&self.inner.artifacts, name, spec)
    }

    fn artifact_path(&self, name: &ModelName, version: Version, run: Option<&RunId>) -> PathBuf {
        match run {
            Some(run) => self.run_dir(name, run).join("artifact"),
            None => self.model_dir(name).join("versions").join(version.to_string()),
        }
    }
}

/// The limits of the record log that a configuration means.
fn log_limits(section: &RecordsSection) -> LogLimits {
    LogLimits { id_bytes: u64::from(section.id_memory) << 20, ..LogLimits::default() }
}

/// Where the copy of a model's reference lies.
fn reference_path(artifacts: &Path, name: &ModelName, spec: &ModelSpec) -> PathBuf {
    let original = Path::new(&spec.data.reference);
    let file =
        original.file_name().map_or_else(|| "reference".into(), |name| name.to_string_lossy().into_owned());
    let folder = artifacts.join(name.as_str()).join("reference");
    // Where columns are personal, what is kept is no copy of the file.
    if spec.data.personal.is_empty() { folder.join(file) } else { folder.join("hashed.parquet") }
}

/// The state that follows from all facts of a store.
async fn fold(store: &Store) -> Result<State, Problem> {
    let mut state = State::default();
    loop {
        let entries = store.entries(state.size, 1_000).await?;
        if entries.is_empty() {
            return Ok(state);
        }
        for entry in &entries {
            state.apply(entry)?;
        }
    }
}

/// A snapshot has its own column names; everything else is as the spec says.
fn snapshot_spec(spec: &ModelSpec) -> ModelSpec {
    let mut spec = spec.clone();
    spec.data.time = "time".to_owned();
    spec.data.id = Some("id".to_owned());
    spec.data.ignore.clear();
    spec.model.label.time = None;
    spec
}

/// Shows one arrival to a judge.
fn feed(judge: &mut Judge, arrival: &Arrival) {
    match &arrival.item {
        Item::Record(record) => judge.record(record),
        Item::Label(label) => judge.label(label),
    }
}

fn platform_draft(room: &str, because: Vec<u64>, fact: Fact) -> Draft {
    Draft { actor: Actor::Platform(room.to_owned()), because, fact }
}

fn intent_draft(intent: Intent) -> Draft {
    platform_draft("decide", intent.because, intent.fact)
}

/// Runs work that blocks or computes for long where it does not hold up the loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Problem::internal(format!("a background task ended early: {error}"))),
    }
}

/// Locks; a thread that panicked while holding the lock left data that is still whole, since every change under these
/// locks is a single assignment or insertion.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
