//! The store through its public face: durable, one owner, every flipped byte found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;
use steersman_domain::{Actor, ErrorKind, Fact};
use steersman_store::{Batch, Draft, MonitorState, Store, verify_dir};

fn started(count: usize) -> Batch {
    let draft = |number: usize| Draft {
        actor: Actor::Platform("act".to_owned()),
        because: Vec::new(),
        fact: Fact::PlatformStarted { program: format!("test {number}") },
    };
    Batch { drafts: (0..count).map(draft).collect(), ..Batch::default() }
}

async fn filled(dir: &Path, count: usize) {
    let store = Store::open(dir).await.unwrap();
    store.commit(jiff::Timestamp::UNIX_EPOCH, started(count)).await.unwrap();
    store.close().await;
}

async fn change(dir: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("steersman.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let changed = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
    assert_eq!(changed, 1, "{sql}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn entries_survive_and_go_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 300).await;
    let store = Store::open(dir.path()).await.unwrap();
    let entries = store.commit(jiff::Timestamp::UNIX_EPOCH, started(2)).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [300, 301]);
    assert_eq!(store.entries(298, 10).await.unwrap().len(), 4);
    assert_eq!(verify_dir(dir.path(), None).await.unwrap().size, 302);
}

#[tokio::test]
async fn a_second_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(dir.path()).await.unwrap();
    assert_eq!(Store::open(dir.path()).await.unwrap_err().kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn a_batch_that_does_not_fit_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let mut batch = started(1);
    batch.drafts[0].fact = Fact::PlatformStarted { program: "x".repeat(70_000) };
    batch.monitor_states.push(MonitorState {
        model: "m".parse().unwrap(),
        name: "drift".to_owned(),
        state: "{}".to_owned(),
    });
    assert_eq!(store.commit(jiff::Timestamp::UNIX_EPOCH, batch).await.unwrap_err().kind, ErrorKind::TooLarge);
    assert!(store.monitor_states(&"m".parse().unwrap()).await.unwrap().is_empty());
    assert_eq!(store.commit(jiff::Timestamp::UNIX_EPOCH, started(1)).await.unwrap()[0].seq, 0);
}

#[tokio::test]
async fn verification_finds_a_changed_entry_tile_or_checkpoint() {
    let changes = [
        "UPDATE ledger_entries SET leaf = CAST(REPLACE(CAST(leaf AS TEXT), 'test 7', 'test 8') AS BLOB) WHERE seq = 7",
        "DELETE FROM ledger_entries WHERE seq = 259",
        "UPDATE ledger_tiles SET hashes = zeroblob(LENGTH(hashes)) WHERE level = 0 AND position = 0",
        "UPDATE ledger_tiles SET hashes = zeroblob(LENGTH(hashes)) WHERE level = 0 AND position = 1",
        "UPDATE ledger_checkpoint SET note = REPLACE(note, '260', '259')",
    ];
    for sql in changes {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 260).await;
        assert_eq!(verify_dir(dir.path(), None).await.unwrap().size, 260);
        change(dir.path(), sql).await;
        assert_eq!(verify_dir(dir.path(), None).await.unwrap_err().kind, ErrorKind::Corrupt, "{sql}");
    }
}
