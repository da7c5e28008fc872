//! Writing: facts become leaves of the log, with the rows that belong to them, in one transaction.

use crate::{Store, problem};
use jiff::Timestamp;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite, Transaction};
use steersman_domain::time::micros;
use steersman_domain::{Actor, Entry, ErrorKind, Fact, Measurement, ModelName, Problem, Window};
use steersman_ledger::leaf::encode;
use steersman_ledger::tree::leaf_hash;
use steersman_ledger::{Signer, Tile, Tree, Verifier};

/// A fact that is not in the ledger yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Who or what writes it.
    pub actor: Actor,
    /// Positions of the facts that led to it.
    pub because: Vec<u64>,
    /// What happened.
    pub fact: Fact,
}

/// The profile of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// The model.
    pub model: ModelName,
    /// The window.
    pub window: Window,
    /// Raised each time it is profiled again.
    pub revision: u32,
    /// Records in it.
    pub rows: u64,
    /// Column profiles, as JSON.
    pub profile: String,
}

/// Evidence that a monitor carries from window to window.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorState {
    /// The model.
    pub model: ModelName,
    /// Which monitor, with its column.
    pub name: String,
    /// Its evidence, as JSON.
    pub state: String,
}

/// What is written together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Facts, in order.
    pub drafts: Vec<Draft>,
    /// Window profiles.
    pub windows: Vec<WindowRow>,
    /// Measurements; one of a window that was measured before replaces it.
    pub measurements: Vec<(ModelName, Measurement)>,
    /// Monitors' evidence.
    pub monitor_states: Vec<MonitorState>,
}

/// The end of the log, and the key that signs it.
pub(crate) struct Writer {
    tree: Tree,
    signer: Signer,
}

impl Writer {
    /// The end of the log as it is on disk; it must be as it was signed.
    pub(crate) async fn restore(pool: &SqlitePool, signer: Signer) -> Result<Self, Problem> {
        let size: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ledger_entries")
            .fetch_one(pool)
            .await
            .map_err(problem)?;
        let rows =
            sqlx::query("SELECT level, position, hashes FROM ledger_tiles WHERE LENGTH(hashes) < 8192")
                .fetch_all(pool)
                .await
                .map_err(problem)?;
        let find = |level: u8, position: u64| {
            let is_it = |row: &&SqliteRow| {
                row.get::<i64, _>(0) == i64::from(level) && row.get::<i64, _>(1) == position.cast_signed()
            };
            rows.iter().find(is_it).map(|row| row.get::<Vec<u8>, _>(2))
        };
        let tree = Tree::restore(size.cast_unsigned(), find)?;
        let note: Option<String> = sqlx::query_scalar("SELECT note FROM ledger_checkpoint")
            .fetch_optional(pool)
            .await
            .map_err(problem)?;
        if let Some(note) = note {
            let checkpoint = Verifier::parse(&signer.verifier_key())?.verify(&note)?;
            if checkpoint.size != tree.size() || checkpoint.root != tree.root() {
                return Err(Problem::new(ErrorKind::Corrupt, "the ledger is not as it was signed")
                    .hint("`steersman verify log` says where; restore the folder from a backup"));
            }
        }
        Ok(Self { tree, signer })
    }
}

impl Store {
    /// Writes a batch in one transaction and returns its facts as entries. When this returns, all of it is on disk;
    /// when it fails, none of it is.
    pub async fn commit(&self, now: Timestamp, batch: Batch) -> Result<Vec<Entry>, Problem> {
        let mut writer = self.inner.writer.lock().await;
        let mut transaction = self.inner.pool.begin().await.map_err(problem)?;
        let mut tree = writer.tree.clone();
        let mut entries = Vec::with_capacity(batch.drafts.len());
        for Draft { actor, because, fact } in batch.drafts {
            let entry = Entry { seq: tree.size(), time: now, actor, because, fact };
            let leaf = encode(&entry)?;
            for tile in tree.append(leaf_hash(&leaf)) {
                put_tile(&mut transaction, &tile).await?;
            }
            sqlx::query("INSERT INTO ledger_entries (seq, leaf) VALUES (?, ?)")
                .bind(entry.seq.cast_signed())
                .bind(leaf)
                .execute(&mut *transaction)
                .await
                .map_err(problem)?;
            entries.push(entry);
        }
        if !entries.is_empty() {
            for tile in tree.unfinished() {
                put_tile(&mut transaction, tile).await?;
            }
            sqlx::query("INSERT OR REPLACE INTO ledger_checkpoint (id, note) VALUES (1, ?)")
                .bind(writer.signer.sign(tree.size(), &tree.root()))
                .execute(&mut *transaction)
                .await
                .map_err(problem)?;
        }
        put_rows(&mut transaction, batch.windows, batch.measurements, batch.monitor_states).await?;
        transaction.commit().await.map_err(problem)?;
        writer.tree = tree;
        Ok(entries)
    }
}

async fn put_tile(transaction: &mut Transaction<'_, Sqlite>, tile: &Tile) -> Result<(), Problem> {
    sqlx::query("INSERT OR REPLACE INTO ledger_tiles (level, position, hashes) VALUES (?, ?, ?)")
        .bind(i64::from(tile.level))
        .bind(tile.index.cast_signed())
        .bind(tile.bytes())
        .execute(&mut **transaction)
        .await
        .map_err(problem)?;
    Ok(())
}

async fn put_rows(
    transaction: &mut Transaction<'_, Sqlite>,
    windows: Vec<WindowRow>,
    measurements: Vec<(ModelName, Measurement)>,
    monitor_states: Vec<MonitorState>,
) -> Result<(), Problem> {
    for row in windows {
        sqlx::query(
            "INSERT OR REPLACE INTO windows (model, start, finish, revision, rows, profile) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(row.model.as_str().to_owned())
        .bind(micros(row.window.start))
        .bind(micros(row.window.end))
        .bind(i64::from(row.revision))
        .bind(row.rows.cast_signed())
        .bind(row.profile)
        .execute(&mut **transaction)
        .await
        .map_err(problem)?;
    }
    for (model, measurement) in measurements {
        let json =
            serde_json::to_string(&measurement).map_err(|error| Problem::internal(error.to_string()))?;
        // A segment has one measurement of each monitor, about whichever column speaks most clearly.
        let (segment, subject) = match measurement.segment {
            Some(segment) => (segment, String::new()),
            None => (String::new(), measurement.column),
        };
        sqlx::query(
            "INSERT OR REPLACE INTO measurements (model, monitor, segment, subject, start, measurement)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(model.as_str().to_owned())
        .bind(measurement.monitor.as_str())
        .bind(segment)
        .bind(subject)
        .bind(micros(measurement.window.start))
        .bind(json)
        .execute(&mut **transaction)
        .await
        .map_err(problem)?;
    }
    for row in monitor_states {
        sqlx::query("INSERT OR REPLACE INTO monitor_states (model, name, state) VALUES (?, ?, ?)")
            .bind(row.model.as_str().to_owned())
            .bind(row.name)
            .bind(row.state)
            .execute(&mut **transaction)
            .await
            .map_err(problem)?;
    }
    Ok(())
}
