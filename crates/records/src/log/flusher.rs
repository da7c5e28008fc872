//! The thread that makes segments, so that nobody who appends waits for Parquet.

use super::model::ModelLog;
use std::sync::Arc;
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
    queue: Option<SyncSender<Arc<ModelLog>>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start() -> Result<Self, Problem> {
        let (queue, models) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("segments".to_owned()).spawn(move || run(&models));
        let thread = thread.map_err(|error| Problem::internal(format!("no thread: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Has a model's closed rows made into segments, if something was closed since the last time.
    pub(super) fn wake(&self, model: &Arc<ModelLog>) {
        if let Some(queue) = &self.queue
            && model.take_closed()
            && queue.try_send(model.clone()).is_err()
        {
            model.note_closed();
        }
    }
}

fn run(models: &Receiver<Arc<ModelLog>>) {
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
        due.retain(|model| model.flush_sealed().is_err());
    }
}

impl Drop for Flusher {
    /// Waits for the segment that is being written: whoever opens the folder next finds it whole.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
