//! The records of a platform that is not running, for those who only read them.

use super::{blocking, fold, open_archive, reference_path};
use std::path::Path;
use steersman_domain::config::RecordsSection;
use steersman_domain::{ErrorKind, Problem};
use steersman_records::reference::read_reference;
use steersman_records::{Limits, RecordLog};
use steersman_store::Store;

/// The records of a folder. As long as this is there, no platform can be started on it.
#[derive(Debug)]
pub struct Offline {
    log: RecordLog,
    /// Holds the folder's lock.
    _store: Store,
}

impl Offline {
    /// Opens a folder that a platform has made and that none runs on.
    pub async fn open(dir: &Path) -> Result<Self, Problem> {
        if !dir.join("records").is_dir() {
            return Err(Problem::not_found(format!("`{}` is not the folder of a platform", dir.display()))
                .field("dir")
                .hint("name the folder that `steersman up --dir` works in"));
        }
        let store = Store::open(dir).await.map_err(|problem| match problem.kind {
            ErrorKind::Conflict => problem.hint("ask the platform that runs there, with `--server URL`"),
            _ => problem,
        })?;
        let state = fold(&store).await?;
        let archive = open_archive(dir, &RecordsSection::default(), &store)?;
        let records = dir.join("records");
        let log = blocking(move || RecordLog::open_on(&records, archive, Limits::default())).await?;
        for (name, model) in state.models.iter().filter(|(_, model)| model.reference.is_some()) {
            let (log, name, spec) = (log.clone(), name.clone(), model.spec.clone());
            let path = reference_path(&dir.join("models"), &name, &spec);
            let declared = blocking(move || log.declare(&name, &read_reference(&path, &spec)?.schema));
            declared.await?;
        }
        Ok(Self { log, _store: store })
    }

    /// The records.
    pub fn log(&self) -> &RecordLog {
        &self.log
    }
}
