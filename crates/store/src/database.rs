//! The two databases behind one face: SQLite in the platform's folder, or Postgres for a team.
//!
//! Every statement is written once and means the same in both: `$1` for values, `ON CONFLICT .. DO UPDATE` for rows
//! that may be there, tuples for what comes back. [`on`] runs it on whichever is open.

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Postgres, Sqlite};
use std::path::Path;
use std::time::Duration;
use steersman_domain::config::{Database, StoreSection};
use steersman_domain::{ErrorKind, Problem};

/// The file of a SQLite database.
pub(crate) const FILE: &str = "steersman.db";

/// What there is of each database.
pub(crate) enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// Connections.
pub(crate) type Pool = Either<SqlitePool, PgPool>;
/// A transaction; dropped, it leaves nothing behind.
pub(crate) type Transaction =
    Either<sqlx::Transaction<'static, Sqlite>, sqlx::Transaction<'static, Postgres>>;

/// Runs the same expression on whichever database is open.
macro_rules! on {
    ($database:expr, $connection:ident => $expression:expr) => {
        match $database {
            $crate::database::Either::Sqlite($connection) => $expression,
            $crate::database::Either::Postgres($connection) => $expression,
        }
    };
}
pub(crate) use on;

impl Pool {
    /// Opens the database of a deployment for writing, brought up to date.
    pub(crate) async fn open(dir: &Path, section: &StoreSection) -> Result<Self, Problem> {
        let pool = match &section.database {
            Database::Sqlite => {
                let options = SqliteConnectOptions::new()
                    .filename(dir.join(FILE))
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // Every commit is on disk before it is acknowledged.
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(10));
                let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
                Self::Sqlite(pool.map_err(problem)?)
            }
            Database::Postgres(url) => Self::Postgres(postgres(url, section).await?),
        };
        match &pool {
            Self::Sqlite(pool) => migrate(pool, SQLITE).await?,
            Self::Postgres(pool) => migrate(pool, POSTGRES).await?,
        }
        Ok(pool)
    }

    /// Opens the database of a deployment for reading alone.
    pub(crate) async fn open_to_read(dir: &Path, section: &StoreSection) -> Result<Self, Problem> {
        match &section.database {
            Database::Sqlite => {
                let options = SqliteConnectOptions::new().filename(dir.join(FILE)).read_only(true);
                let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
                Ok(Self::Sqlite(pool.map_err(problem)?))
            }
            Database::Postgres(url) => Ok(Self::Postgres(postgres(url, section).await?)),
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<Transaction, Problem> {
        let begun = match self {
            Self::Sqlite(pool) => pool.begin().await.map(Either::Sqlite),
            Self::Postgres(pool) => pool.begin().await.map(Either::Postgres),
        };
        begun.map_err(problem)
    }

    /// Begins a transaction that sees the database as it is now, whoever writes meanwhile.
    pub(crate) async fn snapshot(&self) -> Result<Transaction, Problem> {
        let begun = match self {
            Self::Sqlite(pool) => pool.begin().await.map(Either::Sqlite),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                pool.begin_with(begin).await.map(Either::Postgres)
            }
        };
        begun.map_err(problem)
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}

impl Transaction {
    /// Makes what was done last.
    pub(crate) async fn commit(self) -> Result<(), Problem> {
        on!(self, transaction => transaction.commit().await).map_err(problem)
    }
}

/// Migrations, by version. One that was released is never edited.
type Migrations = [(i64, &'static str, &'static str)];

const SQLITE: &Migrations = &[
    (1, "ledger and telemetry", include_str!("../migrations/sqlite/1_ledger_and_telemetry.sql")),
    (2, "segments", include_str!("../migrations/sqlite/2_segments.sql")),
    (3, "segments of records", include_str!("../migrations/sqlite/3_record_segments.sql")),
];
const POSTGRES: &Migrations = &[
    (1, "ledger and telemetry", include_str!("../migrations/postgres/1_ledger_and_telemetry.sql")),
    (2, "segments", include_str!("../migrations/postgres/2_segments.sql")),
    (3, "segments of records", include_str!("../migrations/postgres/3_record_segments.sql")),
];

/// Brings a database up to date. Several that start at once wait for each other (Postgres advisory lock).
async fn migrate<DB>(pool: &sqlx::Pool<DB>, migrations: &Migrations) -> Result<(), Problem>
where
    DB: sqlx::Database,
    DB::Connection: Migrate,
{
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    };
    let migrator = Migrator::with_migrations(migrations.iter().map(migration).collect());
    migrator.run(pool).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => problem(error),
        error => Problem::internal(format!("the database cannot be brought up to date: {error}"))
            .hint("a newer Steersman wrote it; use that one"),
    })
}

/// Connections to Postgres.
async fn postgres(url: &str, section: &StoreSection) -> Result<PgPool, Problem> {
    let mut options: PgConnectOptions = url.parse().map_err(|error| {
        // A URL holds a password; what is said of it names its parts alone.
        let what = match error {
            sqlx::Error::Configuration(cause) => cause.to_string(),
            _ => "it cannot be read".to_owned(),
        };
        Problem::invalid(format!("the address of the database is wrong: {what}"))
            .field("store.database")
            .hint("write postgres://user@host:5432/database")
    })?;
    if let Some(path) = &section.password_file {
        let password = std::fs::read_to_string(path)
            .map_err(|error| Problem::io("read", path, &error).field("store.password_file"))?;
        options = options.password(password.trim_end_matches(['\r', '\n']));
    }
    options = options.application_name("steersman");
    let lease = section.lease.duration().as_millis().to_string();
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(move |connection, _| {
            let lease = lease.clone();
            Box::pin(async move {
                let settings = [
                    // Every commit is on disk before it is acknowledged, whatever is usual in this database.
                    ("synchronous_commit", "on"),
                    // Who stops in the midst of a commit must not keep the others from leading.
                    ("idle_in_transaction_session_timeout", lease.as_str()),
                    ("lock_timeout", "10000"),
                    ("tcp_keepalives_idle", "5"),
                    ("tcp_keepalives_interval", "2"),
                    ("tcp_keepalives_count", "3"),
                ];
                for (name, value) in settings {
                    sqlx::query("SELECT set_config($1, $2, false)")
                        .bind(name)
                        .bind(value.to_owned())
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .map_err(problem)
}

/// What a database error means.
pub(crate) fn problem(error: sqlx::Error) -> Problem {
    use ErrorKind::{Corrupt, Forbidden, Internal, NoSpace, NotFound, Unavailable};
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    let (kind, hint) = match code.as_deref() {
        // https://www.sqlite.org/rescode.html: 13 is SQLITE_FULL, 11 SQLITE_CORRUPT, 26 SQLITE_NOTADB;
        // https://www.postgresql.org/docs/current/errcodes-appendix.html: 53100 disk_full, XX001 data_corrupted.
        Some("13" | "53100") => (NoSpace, None),
        Some("11" | "26" | "XX001" | "XX002") => (Corrupt, None),
        // Who it is, and what may be done.
        Some("28000" | "28P01" | "42501") => (
            Forbidden,
            Some(
                "see `[store]` in the configuration: user in `database`, password in `password_file` or PGPASSWORD",
            ),
        ),
        Some("3D000") => (NotFound, Some("make it first: `createdb NAME`")),
        // Shutting down or starting up, too many connections, a lock that took too long, a transaction to try again.
        Some("57P01" | "57P02" | "57P03" | "53300" | "55P03" | "40001" | "40P01" | "25P03") => {
            (Unavailable, None)
        }
        Some(_) => (Internal, None),
        None => match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => {
                (Unavailable, Some("is the database up, reachable from here, and its certificate trusted?"))
            }
            _ => (Internal, None),
        },
    };
    let what =
        error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let problem = Problem::new(kind, format!("the database failed: {what}"));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
