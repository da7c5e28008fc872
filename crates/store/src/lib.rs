//! Where things last: the ledger, windows, measurements and monitors' evidence, in SQLite or in Postgres.
//!
//! - [`Store::commit`] is the only way to write: facts, their tiles, the signed root and the rows that belong to them go
//!   into one transaction, which is on disk when it returns.
//! - `database` is what differs between the two; everything else is written once, and tested on both.
//! - `lease` says which of several replicas on one Postgres writes. One process owns a folder at a time (a lock file).

mod commit;
mod database;
mod keys;
mod lease;
mod read;
mod verify;

pub use commit::{Batch, Draft, MonitorState, WindowRow};
pub use lease::Leader;
pub use read::MeasurementQuery;
pub use verify::{verify, verify_dir};

use commit::Writer;
use database::Pool;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use steersman_domain::Problem;
use steersman_domain::config::StoreSection;
use tokio::sync::Mutex;

/// An open store; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    pool: Pool,
    writer: Mutex<Writer>,
    /// How long the lead lasts when it is not renewed.
    lease: Duration,
    /// The term in which this process took the lead; 0 where it never did.
    term: AtomicI64,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`, which is made if it is not there.
    pub async fn open(dir: &Path) -> Result<Self, Problem> {
        Self::open_as(dir, &StoreSection::default()).await
    }

    /// Opens a store as `section` says. What belongs to this process alone is in `dir`, which is made if it is not there.
    pub async fn open_as(dir: &Path, section: &StoreSection) -> Result<Self, Problem> {
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let lock = lock(dir)?;
        let pool = Pool::open(dir, section).await?;
        let mut snapshot = pool.begin().await?;
        let begun = commit::checkpoint(&mut snapshot).await?.is_some();
        let signer = keys::signer(dir, section.key_file.as_deref(), begun)?;
        let writer = Writer::restore(&mut snapshot, signer).await?;
        drop(snapshot);
        let inner = Inner {
            dir: dir.to_owned(),
            pool,
            writer: Mutex::new(writer),
            lease: section.lease.duration(),
            term: AtomicI64::new(0),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// How long the lead lasts when it is not renewed.
    pub fn lease(&self) -> Duration {
        self.inner.lease
    }

    /// Ends all connections; what was committed stays.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

fn lock(dir: &Path) -> Result<File, Problem> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| Problem::io("make", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Problem::conflict(format!("another Steersman uses the folder `{}`", dir.display()))
                .hint("stop it, or choose another folder with `--dir`"))
        }
        Err(TryLockError::Error(error)) => Err(Problem::io("lock", &path, &error)),
    }
}
