//! The records of a platform that is not running, for those who only read them.

use super::{Options, blocking, fold, log_limits, open_archive, reference_path};
use steersman_domain::{ErrorKind, Problem};
use steersman_records::RecordLog;
use steersman_records::reference::read_reference;
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
    pub async fn open(options: &Options) -> Result<Self, Problem> {
        let dir = options.dir.as_path();
        if !dir.join("records").is_dir() {
            return Err(Problem::not_found(format!("`{}` is not the folder of a platform", dir.display()))
                .field("dir")
                .hint("name the folder that `steersman up --dir` works in"));
        }
        let store = Store::open_as(dir, &options.store).await.map_err(|problem| match problem.kind {
            ErrorKind::Conflict => problem.hint("ask the platform that runs there, with `--server URL`"),
            _ => problem,
        })?;
        let state = fold(&store).await?;
        let archive = open_archive(dir, &options.records, &store)?;
        let (records, limits) = (dir.join("records"), log_limits(&options.records));
        let log = blocking(move || RecordLog::open_on(&records, archive, limits)).await?;
        for (name, model) in state.models.iter().filter(|(_, model)| model.reference.is_some()) {
            let (log, name, spec) = (log.clone(), name.clone(), model.spec.clone());
            let path = reference_path(&options.artifacts, &name, &spec);
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
