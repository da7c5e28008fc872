//! Writing: facts become leaves of the log, with the rows that belong to them, in one transaction.

use crate::Store;
use crate::database::{Transaction, on, problem};
use jiff::Timestamp;
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
    /// How many entries there were when this was decided on; if there are others by now, it is refused.
    pub after: Option<u64>,
    /// Window profiles.
    pub windows: Vec<WindowRow>,
    /// Measurements; one of a window that was measured before replaces it.
    pub measurements: Vec<(ModelName, Measurement)>,
    /// Monitors' evidence.
    pub monitor_states: Vec<MonitorState>,
}

/// The end of the log as it was last seen, and the key that signs it.
pub(crate) struct Writer {
    /// The checkpoint that the tree belongs to.
    note: Option<String>,
    tree: Tree,
    signer: Signer,
}

impl Writer {
    /// The end of the log as it is in the database; it must be as it was signed.
    pub(crate) async fn restore(transaction: &mut Transaction, signer: Signer) -> Result<Self, Problem> {
        let mut writer = Self { note: None, tree: Tree::default(), signer };
        writer.catch_up(transaction).await?;
        Ok(writer)
    }

    /// Goes to the end of the log, wherever another process took it.
    async fn catch_up(&mut self, transaction: &mut Transaction) -> Result<(), Problem> {
        let note = checkpoint(transaction).await?;
        if note == self.note && self.note.is_some() {
            return Ok(());
        }
        let size: i64 = on!(transaction, transaction => {
            sqlx::query_scalar("SELECT COUNT(*) FROM ledger_entries").fetch_one(&mut **transaction).await
        })
        .map_err(problem)?;
        let rows: Vec<(i64, i64, Vec<u8>)> = on!(transaction, transaction => {
            sqlx::query_as("SELECT level, position, hashes FROM ledger_tiles WHERE LENGTH(hashes) < 8192")
                .fetch_all(&mut **transaction)
                .await
        })
        .map_err(problem)?;
        let find = |level: u8, position: u64| {
            let is_it =
                |row: &&(i64, i64, Vec<u8>)| row.0 == i64::from(level) && row.1 == position.cast_signed();
            rows.iter().find(is_it).map(|row| row.2.clone())
        };
        let tree = Tree::restore(size.cast_unsigned(), find)?;
        if let Some(note) = &note {
            let own = self.signer.verifier_key();
            let origin = note.lines().next().unwrap_or_default();
            if !own.starts_with(&format!("{origin}+")) {
                return Err(Problem::conflict(format!(
                    "the ledger is signed by `{origin}`, and the key here is another"
                ))
                .hint("give all replicas the same key: copy the file, and name it in `[store] key_file`"));
            }
            let checkpoint = Verifier::parse(&own)?.verify(note)?;
            if checkpoint.size != tree.size() || checkpoint.root != tree.root() {
                return Err(Problem::new(ErrorKind::Corrupt, "the ledger is not as it was signed")
                    .hint("`steersman verify log` says where; restore it from a backup"));
            }
        }
        (self.note, self.tree) = (note, tree);
        Ok(())
    }
}

/// The signed root; none while the ledger is empty.
pub(crate) async fn checkpoint(transaction: &mut Transaction) -> Result<Option<String>, Problem> {
    on!(transaction, transaction => {
        sqlx::query_scalar("SELECT note FROM ledger_checkpoint").fetch_optional(&mut **transaction).await
    })
    .map_err(problem)
}

impl Store {
    /// Writes a batch in one transaction and returns its facts as entries. When this returns, all of it is on disk.
    ///
    /// When it is refused, none of it is. When the connection to a database elsewhere breaks at the very end, it may be
    /// there all the same: whoever goes on reads the ledger first, and says with [`Batch::after`] what it has read.
    pub async fn commit(&self, now: Timestamp, batch: Batch) -> Result<Vec<Entry>, Problem> {
        let mut writer = self.inner.writer.lock().await;
        let mut transaction = self.inner.pool.begin().await?;
        self.fence(&mut transaction).await?;
        writer.catch_up(&mut transaction).await?;
        if let Some(after) = batch.after.filter(|after| *after != writer.tree.size()) {
            let message =
                format!("the ledger has {} entries and not {after}; nothing was written", writer.tree.size());
            return Err(Problem::conflict(message));
        }
        let mut tree = writer.tree.clone();
        let mut note = writer.note.clone();
        let mut entries = Vec::with_capacity(batch.drafts.len());
        for Draft { actor, because, fact } in batch.drafts {
            let entry = Entry { seq: tree.size(), time: now, actor, because, fact };
            let leaf = encode(&entry)?;
            for tile in tree.append(leaf_hash(&leaf)) {
                put_tile(&mut transaction, &tile).await?;
            }
            on!(&mut transaction, transaction => {
                sqlx::query("INSERT INTO ledger_entries (seq, leaf) VALUES ($1, $2)")
                    .bind(entry.seq.cast_signed())
                    .bind(leaf)
                    .execute(&mut **transaction)
                    .await
                    .map(drop)
            })
            .map_err(problem)?;
            entries.push(entry);
        }
        if !entries.is_empty() {
            for tile in tree.unfinished() {
                put_tile(&mut transaction, tile).await?;
            }
            let signed = writer.signer.sign(tree.size(), &tree.root());
            on!(&mut transaction, transaction => {
                sqlx::query(
                    "INSERT INTO ledger_checkpoint (id, note) VALUES (1, $1)
                     ON CONFLICT (id) DO UPDATE SET note = excluded.note",
                )
                .bind(signed.clone())
                .execute(&mut **transaction)
                .await
                .map(drop)
            })
            .map_err(problem)?;
            note = Some(signed);
        }
        put_rows(&mut transaction, batch.windows, batch.measurements, batch.monitor_states).await?;
        transaction.commit().await?;
        (writer.note, writer.tree) = (note, tree);
        Ok(entries)
    }
}

async fn put_tile(transaction: &mut Transaction, tile: &Tile) -> Result<(), Problem> {
    on!(transaction, transaction => {
        sqlx::query(
            "INSERT INTO ledger_tiles (level, position, hashes) VALUES ($1, $2, $3)
             ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes",
        )
        .bind(i64::from(tile.level))
        .bind(tile.index.cast_signed())
        .bind(tile.bytes())
        .execute(&mut **transaction)
        .await
        .map(drop)
    })
    .map_err(problem)
}

async fn put_rows(
    transaction: &mut Transaction,
    windows: Vec<WindowRow>,
    measurements: Vec<(ModelName, Measurement)>,
    monitor_states: Vec<MonitorState>,
) -> Result<(), Problem> {
    for row in windows {
        on!(&mut *transaction, transaction => {
            sqlx::query(
                "INSERT INTO windows (model, start, finish, revision, rows, profile) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (model, start) DO UPDATE
                 SET finish = excluded.finish, revision = excluded.revision, rows = excluded.rows, profile = excluded.profile",
            )
            .bind(row.model.as_str().to_owned())
            .bind(micros(row.window.start))
            .bind(micros(row.window.end))
            .bind(i64::from(row.revision))
            .bind(row.rows.cast_signed())
            .bind(row.profile)
            .execute(&mut **transaction)
            .await
            .map(drop)
        })
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
        on!(&mut *transaction, transaction => {
            sqlx::query(
                "INSERT INTO measurements (model, monitor, segment, subject, start, measurement)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (model, monitor, segment, start, subject) DO UPDATE SET measurement = excluded.measurement",
            )
            .bind(model.as_str().to_owned())
            .bind(measurement.monitor.as_str())
            .bind(segment)
            .bind(subject)
            .bind(micros(measurement.window.start))
            .bind(json)
            .execute(&mut **transaction)
            .await
            .map(drop)
        })
        .map_err(problem)?;
    }
    for row in monitor_states {
        on!(&mut *transaction, transaction => {
            sqlx::query(
                "INSERT INTO monitor_states (model, name, state) VALUES ($1, $2, $3)
                 ON CONFLICT (model, name) DO UPDATE SET state = excluded.state",
            )
            .bind(row.model.as_str().to_owned())
            .bind(row.name)
            .bind(row.state)
            .execute(&mut **transaction)
            .await
            .map(drop)
        })
        .map_err(problem)?;
    }
    Ok(())
}
