//! Follows the record log, closes windows when their time has come, and says what is to be written.
//!
//! A window is closed when the watermark passes its end, and measured again when late records or labels arrive; evidence
//! counts only the first time. [`Watcher::tick`] changes nothing in memory until [`Watcher::committed`] says that its
//! batch is on disk, so a failed write is made good by the next tick.
//!
//! - `due`: what arrived, and what is due because of it. - `round`: one turn of one model: windows to close.
//! - `labels`: windows whose labels have come. - `done`: what is on disk.

mod done;
mod due;
mod labels;
mod round;

use crate::operation::{Operation, Steps};
use crate::quality::NotTaken;
use crate::reference::ReferenceProfile;
use done::{Done, INTAKE, SILENCE, stored};
use due::{Watched, usual};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use steersman_domain::time::from_micros;
use steersman_domain::{ModelName, Problem, Window};
use steersman_ledger::state::ModelState;
use steersman_records::{Fresh, RecordLog};
use steersman_store::{Batch, MonitorState, Store};

/// Watches all models.
#[derive(Debug)]
pub struct Watcher {
    log: RecordLog,
    store: Store,
    models: Mutex<BTreeMap<ModelName, Watched>>,
}

impl Watcher {
    /// Watches what is in `log`, next to what is in `store`.
    pub fn new(log: RecordLog, store: Store) -> Self {
        Self { log, store, models: Mutex::default() }
    }

    /// Lets go of all models; [`Watcher::load`] takes them up again from what is in the store.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// Takes a model up, or goes on with another reference. What was measured before is found in the store.
    pub async fn load(
        &self,
        name: &ModelName,
        model: &ModelState,
        reference: ReferenceProfile,
    ) -> Result<(), Problem> {
        let window = model.spec.watch.window;
        if let Some(watched) = self.lock().get_mut(name).filter(|watched| watched.window == window) {
            watched.reference = reference;
            return Ok(());
        }
        let (done, intake) = Done::load(&self.store, name, model.champion(), window).await?;
        let watched = Watched::new(reference, window, done, intake);
        self.lock().insert(name.clone(), watched);
        Ok(())
    }

    /// Takes note of what arrived.
    pub fn note(&self, name: &ModelName, fresh: &Fresh) -> Result<(), Problem> {
        let (served, received) = (fresh.served_times()?, fresh.received_times()?);
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name) else { return Ok(()) };
        let steps = Steps::of(watched.window);
        let from = watched.done.operation.as_ref().and_then(Operation::next);
        let alive = received.into_iter().map(|at| steps.number(from_micros(at)));
        watched.alive.extend(alive.filter(|step| from.is_none_or(|from| from <= *step)));
        let usual = usual(&watched.reference, watched.window, watched.done.operation.as_ref());
        watched.done.silence.note(&served, usual);
        // Neighbours mostly lie in the same window.
        let mut current: Option<(Window, u64)> = None;
        for (time, received_at) in served {
            let (at, arrived) = (from_micros(time), from_micros(received_at));
            watched.last_event = watched.last_event.max(Some(at));
            watched.last_arrival = watched.last_arrival.max(Some(arrived));
            match &mut current {
                Some((window, rows)) if window.contains(at) => *rows += 1,
                _ => {
                    let next = (Window::holding(at, watched.window), 1);
                    if let Some((window, rows)) = current.replace(next) {
                        *watched.seen.entry(window).or_default() += rows;
                    }
                }
            }
        }
        if let Some((window, rows)) = current {
            *watched.seen.entry(window).or_default() += rows;
        }
        watched.labels_since |= !fresh.labels.is_empty();
        Ok(())
    }

    /// Takes note of what did not get in: records that were refused, and the times of those whose id was there already.
    pub fn note_refused(&self, name: &ModelName, refused: &[NotTaken], resent: &[Timestamp], now: Timestamp) {
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name).filter(|_| !(refused.is_empty() && resent.is_empty()))
        else {
            return;
        };
        watched.intake.note(watched.window, refused, resent, watched.last_event, now);
        let usual = usual(&watched.reference, watched.window, watched.done.operation.as_ref());
        let rows = refused.iter().map(|refused| refused.rows).sum::<u64>() + resent.len() as u64;
        watched.done.silence.refused(rows, now, usual);
        watched.changes[0] += 1;
        watched.last_event = watched.last_event.max(watched.intake.last.map(|(at, _)| at));
        watched.last_arrival = watched.last_arrival.max(watched.intake.last.map(|(_, came)| came));
    }

    /// What did not get in, and how long nothing came, to be kept, if it changed.
    fn kept(
        &self,
        name: &ModelName,
        model: &ModelState,
        now: Timestamp,
    ) -> Result<Vec<MonitorState>, Problem> {
        let mut models = self.lock();
        let Some(watched) = models.get_mut(name) else { return Ok(Vec::new()) };
        // What the last turn staged is on disk by now, or is made again.
        watched.staged = None;
        let [changed, staged, on_disk] = &mut watched.changes;
        *staged = *changed;
        let mut kept = Vec::new();
        if changed != on_disk {
            kept.push(stored(name, INTAKE, &watched.intake)?);
        }
        let setting = watched.setting(&model.spec);
        let usual = usual(&watched.reference, watched.window, watched.done.operation.as_ref());
        watched.done.silence.look(now, setting.settle, usual);
        if watched.done.silence.worth_keeping(now, &setting, usual) {
            kept.push(stored(name, SILENCE, &watched.done.silence)?);
        }
        Ok(kept)
    }

    /// What is due now: windows to close, performance to measure, signals to raise or clear.
    pub async fn tick(&self, name: &ModelName, model: &ModelState, now: Timestamp) -> Result<Batch, Problem> {
        let log = self.log.clone();
        let kept = self.kept(name, model, now)?;
        let round = self.lock().get_mut(name).and_then(|watched| watched.round(name, model, now));
        let Some(mut round) = round else {
            return Ok(Batch { monitor_states: kept, ..Batch::default() });
        };
        let finished = tokio::task::spawn_blocking(move || {
            round.close_windows(&log)?;
            round.measure_performance(&log)?;
            Ok::<_, Problem>(round)
        });
        let round =
            finished.await.map_err(|error| Problem::internal(format!("watching ended early: {error}")))??;
        let name = round.name.clone();
        let (mut batch, done) = round.into_batch()?;
        batch.monitor_states.splice(0..0, kept);
        if let Some(watched) = self.lock().get_mut(&name) {
            watched.staged = Some(done);
        }
        Ok(batch)
    }

    /// The batch of the last tick is on disk.
    pub fn committed(&self, name: &ModelName) {
        if let Some(watched) = self.lock().get_mut(name) {
            watched.changes[2] = watched.changes[1];
            let Some(done) = watched.staged.take() else { return };
            if let Some(next) = done.operation.as_ref().and_then(Operation::next) {
                watched.alive = watched.alive.split_off(&next);
            }
            let before = std::mem::replace(&mut watched.done, done);
            let said = std::mem::replace(&mut watched.done.silence, before.silence);
            watched.done.silence.said(said);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, Watched>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
