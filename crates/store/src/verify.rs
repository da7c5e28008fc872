//! Checks a ledger without a platform, and without writing to it.

use crate::commit::checkpoint;
use crate::database::{FILE, Pool, on, problem};
use crate::keys;
use std::collections::HashMap;
use std::path::Path;
use steersman_domain::config::{Database, StoreSection};
use steersman_domain::{ErrorKind, Problem};
use steersman_ledger::verify::{LogVerifier, Verified};

/// How many leaves are read at a time.
const CHUNK: i64 = 10_000;

/// Verifies the ledger in the folder `dir`; see [`verify`].
pub async fn verify_dir(dir: &Path, verifier_key: Option<&str>) -> Result<Verified, Problem> {
    verify(dir, &StoreSection::default(), verifier_key).await
}

/// Verifies the ledger of a deployment with `verifier_key`; without one, with the key that lies in the folder `dir`, which
/// shows damage but not the work of somebody who holds the signing key.
pub async fn verify(
    dir: &Path,
    section: &StoreSection,
    verifier_key: Option<&str>,
) -> Result<Verified, Problem> {
    if section.database == Database::Sqlite && !dir.join(FILE).exists() {
        return Err(Problem::not_found(format!("there is no ledger in `{}`", dir.display()))
            .hint("name the platform's folder with `--dir`, or its configuration with `--config`"));
    }
    let key = match verifier_key {
        Some(key) => key.to_owned(),
        None => {
            let path = dir.join(keys::FOLDER).join(keys::PUBLIC);
            std::fs::read_to_string(&path).map_err(|error| Problem::io("read", &path, &error))?
        }
    };
    let pool = Pool::open_to_read(dir, section).await?;
    let verified = check(&pool, &key).await;
    pool.close().await;
    verified
}

async fn check(pool: &Pool, key: &str) -> Result<Verified, Problem> {
    // One snapshot of the database, even while a platform writes to it.
    let mut snapshot = pool.snapshot().await?;
    let note = checkpoint(&mut snapshot).await?;
    let note = note.ok_or_else(|| Problem::new(ErrorKind::Corrupt, "the ledger has no checkpoint"))?;
    let rows: Vec<(i64, i64, Vec<u8>)> = on!(&mut snapshot, snapshot => {
        sqlx::query_as("SELECT level, position, hashes FROM ledger_tiles").fetch_all(&mut **snapshot).await
    })
    .map_err(problem)?;
    let tiles: HashMap<(u8, u64), Vec<u8>> = rows
        .into_iter()
        .map(|(level, position, hashes)| {
            ((u8::try_from(level).unwrap_or(u8::MAX), position.cast_unsigned()), hashes)
        })
        .collect();
    let tile = |level, position| Ok(tiles.get(&(level, position)).cloned());
    let mut verifier = LogVerifier::new(key, &note)?;
    let mut next = 0i64;
    loop {
        let leaves: Vec<Vec<u8>> = on!(&mut snapshot, snapshot => {
            sqlx::query_scalar("SELECT leaf FROM ledger_entries WHERE seq >= $1 ORDER BY seq LIMIT $2")
                .bind(next)
                .bind(CHUNK)
                .fetch_all(&mut **snapshot)
                .await
        })
        .map_err(problem)?;
        if leaves.is_empty() {
            break;
        }
        for leaf in &leaves {
            verifier.leaf(leaf, tile)?;
            next += 1;
        }
    }
    verifier.finish(tile)
}
