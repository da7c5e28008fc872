//! The segments of records: their catalogue in the store, their files in a folder or a bucket, and the work of keeping
//! them in order, which the leader does.

use super::{Platform, blocking};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use steersman_domain::config::{Location, RecordsSection};
use steersman_domain::{ErrorKind, Fact, ModelName, Period, Problem};
use steersman_records::archive::{
    Archive, BucketOptions, Catalogue, Change, Listing, Segment, Storage, gone,
};
use steersman_records::{Dropped, Erase};
use steersman_store::{SegmentChange, SegmentRow, Store};
use tokio::runtime::Handle;

/// What no catalogue names is removed after so long.
const GARBAGE_AFTER: Period = Period::from_seconds(3_600);
/// So often that is looked for, and so often records go for their age.
const KEEP_EVERY: Period = Period::from_seconds(600);
/// In one turn of the loop at most so many runs of segments become one.
const MOST_RUNS: usize = 4;

/// After so long the database does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The catalogue in the store.
struct InStore {
    store: Store,
    runtime: Handle,
}

impl std::fmt::Debug for InStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InStore")
    }
}

impl InStore {
    /// Asks the store from a thread that may wait.
    fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let (tell, told) = sync_channel(1);
        self.runtime.spawn(async move {
            let _ = tell.send(question.await);
        });
        told.recv_timeout(ANSWER_WITHIN).map_err(|_| {
            Problem::new(ErrorKind::Unavailable, "the database does not answer, or the platform stops")
        })?
    }
}

impl Catalogue for InStore {
    fn list(&self, model: &ModelName) -> Result<Listing, Problem> {
        let (store, model) = (self.store.clone(), model.clone());
        let list = self.ask(async move { store.segments(&model).await })?;
        Ok(Listing {
            segments: list.segments.into_iter().map(segment).collect(),
            flushed: list.flushed.into_iter().collect(),
        })
    }

    fn change(&self, model: &ModelName, change: &Change) -> Result<(), Problem> {
        let (store, model) = (self.store.clone(), model.clone());
        let change = SegmentChange {
            add: change.add.iter().map(row).collect(),
            remove: change.remove.clone(),
            flushed: change.flushed.clone(),
        };
        match self.ask(async move { store.change_segments(&model, &change).await })? {
            None => Ok(()),
            Some(object) => Err(gone(&object)),
        }
    }
}

fn segment(row: SegmentRow) -> Segment {
    let SegmentRow { object, replica, from, to, span, received, records, labels, bytes } = row;
    Segment { object, replica, from, to, span, received, records, labels, bytes }
}

fn row(segment: &Segment) -> SegmentRow {
    let Segment { object, replica, from, to, span, received, records, labels, bytes } = segment.clone();
    SegmentRow { object, replica, from, to, span, received, records, labels, bytes }
}

/// The archive that a configuration means, for a process whose folder is `dir`. Must be called in a runtime, which
/// answers for as long as the archive is used.
pub fn open_archive(dir: &Path, section: &RecordsSection, store: &Store) -> Result<Archive, Problem> {
    let storage = match &section.location {
        None => Storage::folder(&dir.join("records")),
        Some(Location::Folder(path)) => Storage::folder(path),
        Some(Location::Bucket { bucket, prefix }) => {
            let secret = section.secret_access_key_file.as_ref().map(|path| {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Problem::io("read", path, &error).field("records.secret_access_key_file")
                })?;
                Ok::<_, Problem>(text.trim().to_owned())
            });
            Storage::bucket(BucketOptions {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: section.endpoint.clone(),
                region: section.region.clone(),
                allow_http: section.allow_http,
                credentials: section.access_key_id.clone().zip(secret.transpose()?),
                cache: dir.join("cache"),
                cache_bytes: u64::from(section.cache) << 20,
            })?
        }
    };
    let catalogue = InStore { store: store.clone(), runtime: Handle::current() };
    Ok(Archive { storage: Arc::new(storage), catalogue: Arc::new(catalogue) })
}

impl Platform {
    /// Takes over what other replicas did to the segments.
    pub(super) async fn follow_segments(&self) {
        if !self.inner.store.shared() {
            return;
        }
        let log = self.inner.log.clone();
        if let Err(problem) = blocking(move || log.refresh()).await {
            tracing::warn!(%problem, "segments of other replicas are not seen");
        }
    }

    /// Compacts segments beside, if that is not being done already.
    pub(super) fn start_compaction(&self) {
        let mut compaction = super::lock(&self.inner.compaction);
        if compaction.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let (log, names) = (self.inner.log.clone(), self.state().models.keys().cloned().collect::<Vec<_>>());
        *compaction = Some(tokio::task::spawn_blocking(move || {
            for name in names {
                for _ in 0..MOST_RUNS {
                    match log.compact(&name) {
                        Ok(compacted) if compacted.segments == 0 => break,
                        Ok(compacted) => tracing::debug!(model = %name, ?compacted, "segments became one"),
                        Err(problem) => {
                            tracing::warn!(model = %name, %problem, "segments stay small");
                            break;
                        }
                    }
                }
            }
        }));
    }

    /// Drops what is too old, and removes garbage, from time to time.
    pub(super) async fn keep_segments(&self) -> Result<(), Problem> {
        let now = self.now();
        {
            let mut kept = super::lock(&self.inner.kept);
            if kept.is_some_and(|at| at > KEEP_EVERY.before(now)) {
                return Ok(());
            }
            *kept = Some(now);
        }
        let state = self.state();
        for (name, model) in &state.models {
            let Some(retention) = model.spec.data.retention.or(self.inner.retention) else { continue };
            let before = retention.before(now);
            let (log, asked) = (self.inner.log.clone(), name.clone());
            let planned = blocking(move || log.expired(&asked, before)).await?;
            if planned != Dropped::default() {
                let Dropped { segments, records, labels } = planned;
                let fact = Fact::RecordsExpired { model: name.clone(), before, segments, records, labels };
                self.write("records", fact).await?;
            }
        }
        for (name, model) in &self.state().models {
            // Also what was decided before a crash.
            let Some(before) = model.expired_before else { continue };
            let (log, asked) = (self.inner.log.clone(), name.clone());
            blocking(move || log.expire(&asked, before)).await?;
        }
        let (log, before) = (self.inner.log.clone(), GARBAGE_AFTER.before(now));
        match blocking(move || log.remove_garbage(before)).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files that no catalogue names were removed"),
            Err(problem) => tracing::warn!(%problem, "garbage stays"),
        }
        Ok(())
    }

    /// Erases what belongs to one person or record. The ledger says that it was done, and not what was erased.
    pub async fn forget(&self, by: &str, model: &ModelName, what: Erase) -> Result<Dropped, Problem> {
        let personal = self.personal(&self.state().model(model)?.spec).await?;
        let what = match (what, personal) {
            // What is there is the hash.
            (Erase::Column { name, value }, Some(personal)) => {
                let value = personal.stand_in(&name, &value);
                Erase::Column { name, value }
            }
            (what, _) => what,
        };
        let (log, name, asked) = (self.inner.log.clone(), model.clone(), what.clone());
        blocking(move || log.can_erase(&name, &asked)).await?;
        let column = match &what {
            Erase::Id(_) => "id".to_owned(),
            Erase::Column { name, .. } => name.clone(),
        };
        self.write_by(by, vec![Fact::ErasureRequested { model: model.clone(), column }]).await?;
        let (log, name) = (self.inner.log.clone(), model.clone());
        let dropped = blocking(move || log.erase(&name, &what)).await?;
        let Dropped { segments, records, labels } = dropped;
        let done = Fact::ErasureFinished { model: model.clone(), segments, records, labels };
        self.write_by(by, vec![done]).await?;
        Ok(dropped)
    }
}
