//! The store through its public face, the same on both databases: durable, one writer, every flipped byte found.
//!
//! On Postgres where `STEERSMAN_TEST_POSTGRES` says the URL of one that tests may write to; `cargo xtask test` starts one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lease;
mod place;
mod segments;
mod upgrade;

use place::{Place, both, started};
use std::collections::BTreeMap;
use steersman_domain::{ErrorKind, Fact, Measurement, ModelName, MonitorKind, Period, Reading, Window};
use steersman_store::{MeasurementQuery, MonitorState, WindowRow};

both!(
    entries_survive_and_go_on_counting,
    a_second_owner_of_a_folder_is_refused,
    a_batch_that_does_not_fit_leaves_nothing_behind,
    a_batch_decided_on_an_older_ledger_is_refused,
    what_is_written_again_replaces_what_was,
    verification_finds_a_changed_entry_tile_or_checkpoint,
    a_ledger_goes_on_with_its_own_key_alone,
);

const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

async fn entries_survive_and_go_on_counting(place: Place) {
    place.filled(300).await;
    let store = place.open().await;
    let entries = store.commit(NOW, started(2)).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [300, 301]);
    assert_eq!(store.entries(298, 10).await.unwrap().len(), 4);
    assert_eq!(place.verify().await.unwrap(), 302);
}

async fn a_second_owner_of_a_folder_is_refused(place: Place) {
    let _first = place.open().await;
    assert_eq!(place.try_open().await.unwrap_err().kind, ErrorKind::Conflict);
}

async fn a_batch_that_does_not_fit_leaves_nothing_behind(place: Place) {
    let store = place.open().await;
    let mut batch = started(1);
    batch.drafts[0].fact = Fact::PlatformStarted { program: "x".repeat(70_000) };
    batch.monitor_states.push(MonitorState {
        model: "m".parse().unwrap(),
        name: "drift".to_owned(),
        state: "{}".to_owned(),
    });
    assert_eq!(store.commit(NOW, batch).await.unwrap_err().kind, ErrorKind::TooLarge);
    assert!(store.monitor_states(&"m".parse().unwrap()).await.unwrap().is_empty());
    assert_eq!(store.commit(NOW, started(1)).await.unwrap()[0].seq, 0);
}

async fn a_batch_decided_on_an_older_ledger_is_refused(place: Place) {
    let store = place.open().await;
    let mut batch = started(1);
    batch.after = Some(0);
    store.commit(NOW, batch.clone()).await.unwrap();
    assert_eq!(store.commit(NOW, batch.clone()).await.unwrap_err().kind, ErrorKind::Conflict);
    batch.after = Some(1);
    assert_eq!(store.commit(NOW, batch).await.unwrap()[0].seq, 1);
}

async fn what_is_written_again_replaces_what_was(place: Place) {
    let store = place.open().await;
    let model: ModelName = "m".parse().unwrap();
    let window = Window::holding(NOW, Period::from_days(1));
    for revision in 1..=2 {
        let mut batch = started(0);
        let profile = format!("{{\"revision\":{revision}}}");
        batch.windows.push(WindowRow { model: model.clone(), window, revision, rows: 7, profile });
        for name in ["b", "B", "ä", "a"] {
            let state =
                MonitorState { model: model.clone(), name: name.to_owned(), state: revision.to_string() };
            batch.monitor_states.push(state);
        }
        for monitor in [MonitorKind::Drift, MonitorKind::Latency] {
            let measurement = Measurement {
                monitor,
                segment: None,
                column: String::new(),
                metric: "test".to_owned(),
                window,
                revision,
                reading: Reading::of(f64::from(revision)),
                ordinary: None,
                rows: 7,
                maturity: None,
                details: BTreeMap::new(),
                alarming: false,
                explanation: String::new(),
            };
            batch.measurements.push((model.clone(), measurement));
        }
        store.commit(NOW, batch).await.unwrap();
    }
    let windows = store.windows(&model, NOW).await.unwrap();
    assert_eq!((windows.len(), windows[0].revision, windows[0].window), (1, 2, window));
    assert_eq!(store.profile(&model, window.start).await.unwrap().unwrap(), "{\"revision\":2}");
    let states = store.monitor_states(&model).await.unwrap();
    let states: Vec<_> = states.iter().map(|state| (state.name.as_str(), state.state.as_str())).collect();
    assert_eq!(states, [("B", "2"), ("a", "2"), ("b", "2"), ("ä", "2")]);
    let query = MeasurementQuery { monitor: None, since: None, limit: 10 };
    let all = store.measurements(&model, &query).await.unwrap();
    let only = MeasurementQuery { monitor: Some(MonitorKind::Latency), ..query };
    assert!(all.len() == 2 && all.iter().all(|measurement| measurement.revision == 2));
    assert_eq!(store.measurements(&model, &only).await.unwrap().len(), 1);
}

async fn verification_finds_a_changed_entry_tile_or_checkpoint(place: Place) {
    place.filled(260).await;
    assert_eq!(place.verify().await.unwrap(), 260);
    let changes = [
        ("ledger_entries", "UPDATE ledger_entries SET leaf = CHANGED WHERE seq = 7"),
        ("ledger_entries", "DELETE FROM ledger_entries WHERE seq = 259"),
        ("ledger_tiles", "UPDATE ledger_tiles SET hashes = ZEROS WHERE level = 0 AND position = 0"),
        ("ledger_tiles", "UPDATE ledger_tiles SET hashes = ZEROS WHERE level = 0 AND position = 1"),
        ("ledger_checkpoint", "UPDATE ledger_checkpoint SET note = REPLACE(note, '260', '259')"),
    ];
    for (table, change) in changes {
        place.raw(&format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
        place.raw(change).await;
        assert_eq!(place.verify().await.unwrap_err().kind, ErrorKind::Corrupt, "{change}");
        place
            .raw(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"))
            .await;
    }
    assert_eq!(place.verify().await.unwrap(), 260);
}

async fn a_ledger_goes_on_with_its_own_key_alone(place: Place) {
    place.filled(1).await;
    let key = place.key();
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let problem = place.try_open().await.unwrap_err();
    assert!(problem.to_string().contains("was begun with a key"), "{problem}");
    std::fs::write(&key, format!("steersman.000000000000 {}\n", "0".repeat(64))).unwrap();
    let problem = place.try_open().await.unwrap_err();
    assert!(problem.to_string().starts_with("everybody can read"), "{problem}");
    place::private(&key);
    let problem = place.try_open().await.unwrap_err();
    assert!(problem.to_string().contains("the key here is another"), "{problem}");
    std::fs::write(&key, kept).unwrap();
    place.try_open().await.unwrap();
}
