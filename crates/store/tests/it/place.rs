//! A deployment of its own on either database.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use steersman_domain::config::{Database, StoreSection};
use steersman_domain::{Actor, Fact, Problem};
use steersman_store::{Batch, Draft, Store, verify};

/// Makes two tests of each body.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(place) = crate::place::Place::postgres().await {
                    super::$name(place).await;
                }
            })*
        }
    };
}
pub(crate) use both;

/// `count` facts.
pub(crate) fn started(count: usize) -> Batch {
    let draft = |number: usize| Draft {
        actor: Actor::Platform("act".to_owned()),
        because: Vec::new(),
        fact: Fact::PlatformStarted { program: format!("test {number}") },
    };
    Batch { drafts: (0..count).map(draft).collect(), ..Batch::default() }
}

/// Lets its owner alone read a file.
pub(crate) fn private(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) section: StoreSection,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), section: StoreSection::default() }
    }

    /// In a schema of its own; none, with a message, where there is no Postgres.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    pub(crate) async fn postgres() -> Option<Self> {
        let Ok(url) = std::env::var("STEERSMAN_TEST_POSTGRES") else {
            println!("skipped: STEERSMAN_TEST_POSTGRES names no database; `cargo xtask test` starts one");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_string_lossy();
        let schema =
            format!("store_{}_{}", std::process::id(), name.trim_start_matches(".tmp").to_lowercase());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let joint = if url.contains('?') { '&' } else { '?' };
        let database = Database::Postgres(format!("{url}{joint}options=-csearch_path%3D{schema}"));
        Some(Self { dir, section: StoreSection { database, ..StoreSection::default() } })
    }

    pub(crate) async fn try_open(&self) -> Result<Store, Problem> {
        Store::open_as(self.dir.path(), &self.section).await
    }

    /// Opens it, and leads.
    pub(crate) async fn open(&self) -> Store {
        let store = self.try_open().await.unwrap();
        store.take_lead("test", "http://localhost").await.unwrap().unwrap();
        store
    }

    /// Writes `count` facts, and lets go.
    pub(crate) async fn filled(&self, count: usize) {
        let store = self.open().await;
        store.commit(jiff::Timestamp::UNIX_EPOCH, started(count)).await.unwrap();
        store.give_up_lead().await.unwrap();
        store.close().await;
    }

    /// The number of facts, if all of them are as they were signed.
    pub(crate) async fn verify(&self) -> Result<u64, Problem> {
        verify(self.dir.path(), &self.section, None).await.map(|verified| verified.size)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("keys/ledger.key")
    }

    /// Runs SQL beside the store. Two words stand for what the databases call differently.
    pub(crate) async fn raw(&self, sql: &str) {
        let (changed, zeros) = match self.section.database {
            Database::Sqlite => {
                ("CAST(REPLACE(CAST(leaf AS TEXT), 'test 7', 'test 8') AS BLOB)", "zeroblob(LENGTH(hashes))")
            }
            Database::Postgres(_) => (
                "convert_to(REPLACE(convert_from(leaf, 'UTF8'), 'test 7', 'test 8'), 'UTF8')",
                "decode(repeat('00', length(hashes)), 'hex')",
            ),
        };
        let sql = AssertSqlSafe(sql.replace("CHANGED", changed).replace("ZEROS", zeros));
        match &self.section.database {
            Database::Sqlite => {
                let file = self.dir.path().join("steersman.db");
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Database::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}
