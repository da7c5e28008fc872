//! Model servers: one process for each version that is needed, found again or ended after a crash of the platform.

use crate::command::{Group, Program, RunFailure, ending, last_lines};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman_domain::spec::{ServeSection, fill};
use steersman_domain::{ErrorKind, ModelName, Problem, Version};
use tokio::sync::Mutex;

/// A log larger than this is begun anew when its server starts.
const LARGEST_LOG: u64 = 10 << 20;
/// How often a starting server is asked whether it is ready.
const POLL: Duration = Duration::from_millis(25);
/// The longest wait between two starts of a server that keeps failing.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A server that ran this long has started well: the next failure begins to count anew.
const GOOD_RUN: Duration = Duration::from_secs(120);

/// The model servers of this machine.
#[derive(Debug)]
pub struct Servers {
    dir: PathBuf,
    running: Mutex<BTreeMap<(ModelName, Version), Slot>>,
    exits: std::sync::Mutex<Vec<ServerExit>>,
}

/// A server that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerExit {
    /// The model.
    pub model: ModelName,
    /// The version it served.
    pub version: Version,
    /// How it ended.
    pub reason: String,
}

/// A server that may be starting; who wants it meanwhile waits for its lock.
type Slot = Arc<Mutex<Server>>;

#[derive(Debug, Default)]
struct Server {
    process: Option<(Group, String, Instant)>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What is written down about a process, so that it is found after a crash.
#[derive(Debug, Serialize, Deserialize)]
struct Trace {
    group: i32,
    /// When it started, in clock ticks since boot: tells it from a later process with the same number.
    started: u64,
}

impl Servers {
    /// Servers whose traces and logs are in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, running: Mutex::default(), exits: std::sync::Mutex::default() }
    }

    /// Ends servers that a platform which was killed left behind.
    pub fn reap_orphans(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let trace = std::fs::read_to_string(&path)
                .ok()
                .and_then(|text| serde_json::from_str::<Trace>(&text).ok());
            if let Some(trace) = trace
                && start_time(trace.group) == Some(trace.started)
                && let Some(group) = Pid::from_raw(trace.group)
            {
                let _ = kill_process_group(group, Signal::KILL);
                tracing::info!(group = trace.group, "a model server of an earlier run was ended");
            }
            let _ = std::fs::remove_file(&path);
        }
    }

    /// The address of a version's server, which is started if it does not run. While a server that failed is kept from
    /// starting again, the error is [`ErrorKind::Unavailable`].
    pub async fn ensure(
        &self,
        model: &ModelName,
        version: Version,
        serve: &ServeSection,
        folder: &Path,
        artifact: &Path,
    ) -> Result<String, Problem> {
        let slot = self.running.lock().await.entry((model.clone(), version)).or_default().clone();
        let mut server = slot.lock().await;
        self.note_exit(model, version, &mut server);
        if let Some((_, url, _)) = &server.process {
            return Ok(url.clone());
        }
        if server.not_before.is_some_and(|time| time > Instant::now()) {
            return Err(Problem::new(
                ErrorKind::Unavailable,
                format!("the server of {version} failed lately"),
            ));
        }
        match self.start(model, version, serve, folder, artifact).await {
            Ok((group, url)) => {
                server.process = Some((group, url.clone(), Instant::now()));
                Ok(url)
            }
            Err(failure) => {
                back_off(&mut server);
                Err(Problem::new(ErrorKind::Upstream, failure.reason).hint(failure.hint))
            }
        }
    }

    async fn start(
        &self,
        model: &ModelName,
        version: Version,
        serve: &ServeSection,
        folder: &Path,
        artifact: &Path,
    ) -> Result<(Group, String), RunFailure> {
        let broken = |what: &str, error: std::io::Error| RunFailure {
            reason: format!("cannot {what}: {error}"),
            hint: "look at the disk and at who may write there".to_owned(),
        };
        std::fs::create_dir_all(&self.dir).map_err(|error| broken("make the servers' folder", error))?;
        let log = self.path(model, version, "log");
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > LARGEST_LOG) {
            std::fs::remove_file(&log).map_err(|error| broken("begin a new log", error))?;
        }
        let port = free_port().map_err(|error| broken("find a free port", error))?;
        let values = BTreeMap::from([
            ("artifact", artifact.display().to_string()),
            ("port", port.to_string()),
            ("version", version.to_string()),
            ("model", model.to_string()),
        ]);
        let program = Program {
            command: fill(&serve.command, &values),
            folder: folder.to_owned(),
            environment: serve.environment.clone(),
            log: log.clone(),
        };
        let mut group = program.spawn()?;
        if let Some(id) = group.id() {
            let trace = Trace { group: id, started: start_time(id).unwrap_or(0) };
            let text = serde_json::to_string(&trace).unwrap_or_default();
            std::fs::write(self.path(model, version, "json"), text)
                .map_err(|error| broken("write a trace", error))?;
        }
        let url = format!("http://127.0.0.1:{port}");
        let deadline = Instant::now() + serve.ready_timeout.duration();
        let client = reqwest::Client::new();
        let hint = format!("its output is in {}", log.display());
        loop {
            if let Some(status) = group.ended() {
                let reason = format!(
                    "the server of {version} {} before it was ready: {}",
                    ending(status),
                    last_lines(&log)
                );
                return Err(RunFailure { reason, hint });
            }
            let asked =
                client.get(format!("{url}/v2/health/ready")).timeout(Duration::from_secs(2)).send().await;
            if asked.is_ok_and(|response| response.status().is_success()) {
                return Ok((group, url));
            }
            if Instant::now() > deadline {
                let reason = format!(
                    "the server of {version} was not ready within {} (GET /v2/health/ready on port {port}): {}",
                    serve.ready_timeout,
                    last_lines(&log)
                );
                group.stop().await;
                return Err(RunFailure { reason, hint });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends the servers of a model that are not of these versions.
    pub async fn retain(&self, model: &ModelName, versions: &[Version]) {
        let unneeded: Vec<_> = {
            let mut running = self.running.lock().await;
            let keys: Vec<_> = running
                .keys()
                .filter(|(name, version)| name == model && !versions.contains(version))
                .cloned()
                .collect();
            keys.into_iter().filter_map(|key| Some((key.clone(), running.remove(&key)?))).collect()
        };
        for ((model, version), server) in unneeded {
            self.stop(&model, version, &server).await;
        }
    }

    /// Servers that ended by themselves since the last call.
    pub fn take_exits(&self) -> Vec<ServerExit> {
        if let Ok(running) = self.running.try_lock() {
            for ((model, version), server) in running.iter() {
                // One that is being started or asked for is looked at there.
                if let Ok(mut server) = server.try_lock() {
                    self.note_exit(model, *version, &mut server);
                }
            }
        }
        std::mem::take(&mut *self.exits.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn note_exit(&self, model: &ModelName, version: Version, server: &mut Server) {
        let ended =
            server.process.as_mut().and_then(|(group, _, started)| Some((group.ended()?, started.elapsed())));
        let Some((status, ran)) = ended else { return };
        server.process = None;
        let _ = std::fs::remove_file(self.path(model, version, "json"));
        if ran > GOOD_RUN {
            server.failures = 0;
        }
        back_off(server);
        let last = last_lines(&self.path(model, version, "log"));
        let reason = format!("the server of {version} {}: {last}", ending(status));
        let exit = ServerExit { model: model.clone(), version, reason };
        self.exits.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(exit);
    }

    /// Ends all servers.
    pub async fn stop_all(&self) {
        let all = std::mem::take(&mut *self.running.lock().await);
        for ((model, version), server) in all {
            self.stop(&model, version, &server).await;
        }
    }

    async fn stop(&self, model: &ModelName, version: Version, server: &Mutex<Server>) {
        if let Some((group, _, _)) = server.lock().await.process.take() {
            group.stop().await;
        }
        let _ = std::fs::remove_file(self.path(model, version, "json"));
    }

    fn path(&self, model: &ModelName, version: Version, ending: &str) -> PathBuf {
        self.dir.join(format!("{model}-{version}.{ending}"))
    }
}

/// The first restart comes at once, then after 1, 2, 4, ... seconds.
fn back_off(server: &mut Server) {
    let wait = match server.failures {
        0 => Duration::ZERO,
        failures => Duration::from_secs(1 << (failures - 1).min(6)).min(LONGEST_BACKOFF),
    };
    server.failures += 1;
    server.not_before = Some(Instant::now() + wait);
}

/// A port that is free now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// When a process started, in clock ticks since boot; none where the system does not tell (field 22 of `proc(5)`).
fn start_time(process: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}
