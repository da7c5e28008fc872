//! What a gateway remembers over its own end: the last routes it was told, and how much of a budget is reserved.
//!
//! One file, written anew beside itself, synced and put in place, by a thread of its own: no request waits for a disk.

use crate::budget::Reserved;
use crate::gateway::Shared;
use crate::route::Route;
use crate::slot::rollout_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use steersman_domain::{ErrorKind, ModelName, Problem};
use tokio::sync::watch;

/// How often is looked whether more of a budget must be reserved.
const LOOK: Duration = Duration::from_millis(100);

/// The file.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    /// What an earlier process reserved.
    before: BTreeMap<ModelName, Kept>,
    /// What is in the file.
    written: Mutex<BTreeMap<ModelName, Kept>>,
    poke: SyncSender<()>,
    poked: Mutex<Option<Receiver<()>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    route: Route,
    reserved: Reserved,
}

impl Memory {
    /// Reads the file, if it is there; with it the routes that it knows.
    pub(crate) fn open(path: &Path) -> Result<(Self, BTreeMap<ModelName, Route>), Problem> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Problem::io("make the folder", folder, &error))?;
        }
        let before: BTreeMap<ModelName, Kept> = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let message = format!("`{}` is not what a gateway writes: {error}", path.display());
                Problem::new(ErrorKind::Corrupt, message)
                    .hint("move it away; budgets of rollouts under way begin anew then")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(Problem::io("read", path, &error)),
        };
        let routes = before.iter().map(|(model, kept)| (model.clone(), kept.route.clone())).collect();
        let (poke, poked) = sync_channel(1);
        let written = Mutex::default();
        Ok((Self { path: path.to_owned(), before, written, poke, poked: Mutex::new(Some(poked)) }, routes))
    }

    /// What an earlier process reserved for the same rollout.
    pub(crate) fn reserved(&self, model: &ModelName, route: &Route) -> Option<Reserved> {
        let kept = self.before.get(model)?;
        rollout_of(route)?;
        (rollout_of(&kept.route) == rollout_of(route)).then(|| kept.reserved.clone())
    }

    /// Something changed.
    pub(crate) fn poke(&self) {
        // One that waits is enough.
        let _ = self.poke.try_send(());
    }

    fn write(&self, kept: &BTreeMap<ModelName, Kept>) -> std::io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Keeps the file up to date until the gateway stops.
pub(crate) fn keep(shared: &Arc<Shared>, stopping: watch::Receiver<bool>) -> Result<(), Problem> {
    let shared = Arc::downgrade(shared);
    let poked = shared.upgrade().and_then(|shared| {
        let memory = shared.memory.as_ref()?;
        memory.poked.lock().unwrap_or_else(PoisonError::into_inner).take()
    });
    let Some(poked) = poked else { return Ok(()) };
    let work = move || {
        while !matches!(poked.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
            let stopped = *stopping.borrow() || stopping.has_changed().is_err();
            let Some(shared) = shared.upgrade().filter(|_| !stopped) else { return };
            if let Err(error) = remember(&shared, true) {
                tracing::error!(%error, "the gateway cannot write down what it must remember");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    };
    let made = std::thread::Builder::new().name("gateway-memory".to_owned()).spawn(work);
    made.map(drop).map_err(|error| Problem::internal(format!("the gateway cannot start: {error}")))
}

/// Writes down what is new: reservations first, then they may be used. With no `more`, because no request is under way
/// any more, what was reserved and not used is given back.
pub(crate) fn remember(shared: &Shared, more: bool) -> std::io::Result<()> {
    let Some(memory) = &shared.memory else { return Ok(()) };
    let mut written = memory.written.lock().unwrap_or_else(PoisonError::into_inner);
    let routes = shared.routes.load();
    let mut wanted = Vec::new();
    let kept: BTreeMap<ModelName, Kept> = routes
        .iter()
        .map(|(model, slot)| {
            let budget = slot.route.candidate.as_ref().and_then(|candidate| candidate.budget);
            let reserve = if more { slot.exposure.wants(budget) } else { Some(slot.exposure.used()) };
            let known = written.get(model).filter(|kept| kept.route == slot.route);
            let unchanged =
                known.filter(|known| reserve.is_none() && known.reserved.tripped == slot.exposure.tripped());
            let reserved = match unchanged {
                // Counts alone are no reason to write: what is reserved covers them.
                Some(known) => known.reserved.clone(),
                None => slot.exposure.reservation(reserve),
            };
            wanted.extend(reserve.map(|requests| (slot.exposure.clone(), requests)));
            (model.clone(), Kept { route: slot.route.clone(), reserved })
        })
        .collect();
    if *written != kept {
        memory.write(&kept)?;
        *written = kept;
    }
    wanted.into_iter().for_each(|(exposure, requests)| exposure.reserve(requests));
    Ok(())
}
