//! Where things last: the ledger, windows, measurements and monitors' evidence, in SQLite.
//!
//! [`Store::commit`] is the only way to write: facts, their tiles, the signed root and the rows that belong to them go
//! into one transaction, which is on disk when it returns. One process owns a folder at a time (a lock file says so).

mod commit;
mod keys;
mod read;
mod verify;

pub use commit::{Batch, Draft, MonitorState, WindowRow};
pub use read::MeasurementQuery;
pub use verify::verify_dir;

use commit::Writer;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{ErrorKind, Problem};
use tokio::sync::Mutex;

const DATABASE: &str = "steersman.db";

/// An open store; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    pool: SqlitePool,
    writer: Mutex<Writer>,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`, which is made if it is not there.
    pub async fn open(dir: &Path) -> Result<Self, Problem> {
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let lock = lock(dir)?;
        let signer = keys::load_or_make(dir)?;
        let options = SqliteConnectOptions::new()
            .filename(dir.join(DATABASE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Every commit is on disk before it is acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool =
            SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(problem)?;
        migrator().run(&pool).await.map_err(|error| {
            Problem::internal(format!("the database cannot be brought up to date: {error}"))
                .hint("a newer Steersman wrote it; use that one")
        })?;
        let writer = Writer::restore(&pool, signer).await?;
        Ok(Self {
            inner: Arc::new(Inner { dir: dir.to_owned(), pool, writer: Mutex::new(writer), _lock: lock }),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
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

fn migrator() -> Migrator {
    let first = include_str!("../migrations/1_ledger_and_telemetry.sql");
    let second = include_str!("../migrations/2_segments.sql");
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sqlx::SqlSafeStr::into_sql_str(sql),
            false,
        )
    };
    Migrator::with_migrations(vec![
        migration(1, "ledger and telemetry", first),
        migration(2, "segments", second),
    ])
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

/// What a database error means.
fn problem(error: sqlx::Error) -> Problem {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    // https://www.sqlite.org/rescode.html: 13 is SQLITE_FULL, 11 SQLITE_CORRUPT, 26 SQLITE_NOTADB.
    let kind = match code.as_deref() {
        Some("13") => ErrorKind::NoSpace,
        Some("11" | "26") => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    };
    Problem::new(kind, format!("the database failed: {error}"))
}
