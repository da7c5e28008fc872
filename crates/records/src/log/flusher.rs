//! The threads that make segments, and larger files of ids, so that nobody who appends waits for them.

use super::model::ModelLog;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use steersman_domain::Problem;

/// How many models may wait for their turn.
const QUEUE: usize = 1_024;
/// After a failure, such as a full disk, it is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Flusher {
    segments: Option<SyncSender<Arc<ModelLog>>>,
    ids: Option<SyncSender<Arc<ModelLog>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start() -> Result<Self, Problem> {
        let (segments, closed) = sync_channel(QUEUE);
        let (ids, grown) = sync_channel(QUEUE);
        let (stop, more) = (Arc::new(AtomicBool::new(false)), ids.clone());
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(|error| Problem::internal(format!("no thread: {error}")))
        };
        let ended = stop.clone();
        let threads = vec![
            spawn("segments", Box::new(move || make_segments(&closed, &more)))?,
            spawn("ids", Box::new(move || merge_ids(&grown, &ended)))?,
        ];
        Ok(Self { segments: Some(segments), ids: Some(ids), stop, threads })
    }

    /// Has a model's closed rows made into segments, if something was closed since the last time.
    pub(super) fn wake(&self, model: &Arc<ModelLog>) {
        if let Some(queue) = &self.segments
            && model.take_closed()
            && queue.try_send(model.clone()).is_err()
        {
            model.note_closed();
        }
    }

    /// Has a model's files of ids made into larger ones, if there are enough.
    pub(super) fn tidy(&self, model: &Arc<ModelLog>) {
        if let Some(queue) = &self.ids
            && model.ids_are_due()
        {
            // Where the queue is full there will be another time.
            let _ = queue.try_send(model.clone());
        }
    }
}

fn make_segments(models: &Receiver<Arc<ModelLog>>, ids: &SyncSender<Arc<ModelLog>>) {
    let mut due: Vec<Arc<ModelLog>> = Vec::new();
    loop {
        let received = match due.is_empty() {
            true => models.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => models.recv_timeout(RETRY),
        };
        match received {
            Ok(model) if !due.iter().any(|known| Arc::ptr_eq(known, &model)) => due.push(model),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // What failed is kept with the model, which says so to those who append once too much has gathered.
        due.retain(|model| {
            let made = model.flush_sealed();
            if made.is_ok() && model.ids_are_due() {
                let _ = ids.try_send(model.clone());
            }
            made.is_err()
        });
    }
}

fn merge_ids(models: &Receiver<Arc<ModelLog>>, stop: &AtomicBool) {
    while let Ok(model) = models.recv() {
        // What could not be done is done another time; until then keys are looked for in more files.
        let _ = model.merge_ids(stop);
    }
}

impl Drop for Flusher {
    /// Waits for the segment that is being written: whoever opens the folder next finds it whole.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop((self.segments.take(), self.ids.take()));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
