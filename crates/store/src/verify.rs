//! Checks a folder's ledger offline, without writing to it.

use crate::{DATABASE, keys, problem};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use std::collections::HashMap;
use std::path::Path;
use steersman_domain::{ErrorKind, Problem};
use steersman_ledger::verify::{LogVerifier, Verified};

/// How many leaves are read at a time.
const CHUNK: i64 = 10_000;

/// Verifies the ledger in `dir` with `verifier_key`; without one, with the key that lies beside the ledger, which shows
/// damage but not the work of somebody who holds the signing key.
pub async fn verify_dir(dir: &Path, verifier_key: Option<&str>) -> Result<Verified, Problem> {
    let database = dir.join(DATABASE);
    if !database.exists() {
        return Err(Problem::not_found(format!("there is no ledger in `{}`", dir.display()))
            .hint("name the platform's folder with `--dir`"));
    }
    let key = match verifier_key {
        Some(key) => key.to_owned(),
        None => {
            let path = dir.join("keys").join(keys::PUBLIC);
            std::fs::read_to_string(&path).map_err(|error| Problem::io("read", &path, &error))?
        }
    };
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(problem)?;
    // One snapshot of the database, even while a platform writes to it.
    let mut snapshot = pool.begin().await.map_err(problem)?;
    let note: Option<String> = sqlx::query_scalar("SELECT note FROM ledger_checkpoint")
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(problem)?;
    let note = note.ok_or_else(|| Problem::new(ErrorKind::Corrupt, "the ledger has no checkpoint"))?;
    let tiles: HashMap<(u8, u64), Vec<u8>> = sqlx::query("SELECT level, position, hashes FROM ledger_tiles")
        .fetch_all(&mut *snapshot)
        .await
        .map_err(problem)?
        .iter()
        .map(|row| {
            let level = u8::try_from(row.get::<i64, _>(0)).unwrap_or(u8::MAX);
            ((level, row.get::<i64, _>(1).cast_unsigned()), row.get(2))
        })
        .collect();
    let tile = |level, position| Ok(tiles.get(&(level, position)).cloned());
    let mut verifier = LogVerifier::new(&key, &note)?;
    let mut next = 0i64;
    loop {
        let leaves = sqlx::query("SELECT leaf FROM ledger_entries WHERE seq >= ? ORDER BY seq LIMIT ?")
            .bind(next)
            .bind(CHUNK)
            .fetch_all(&mut *snapshot)
            .await
            .map_err(problem)?;
        if leaves.is_empty() {
            break;
        }
        for row in &leaves {
            verifier.leaf(&row.get::<Vec<u8>, _>(0), tile)?;
            next += 1;
        }
    }
    let verified = verifier.finish(tile);
    drop(snapshot);
    pool.close().await;
    verified
}
