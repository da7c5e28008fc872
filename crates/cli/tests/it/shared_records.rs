//! Three replicas of the real binary on one Postgres and one bucket take the same model's records in, and one is killed.
//!
//! Where `STEERSMAN_TEST_POSTGRES` and `STEERSMAN_TEST_S3` say where; `cargo xtask test` starts both.

use crate::ingest::LINES;
use crate::platform::{Up, champion, project, record};
use crate::replicas::{configure, database, leader, start};
use crate::run;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steersman_domain::config::ServerConfig;
use steersman_records::{Limits, RecordLog, Scan};
use steersman_server::open_archive;
use steersman_store::Store;

/// The URL of a server with an empty bucket of this name; none, with a message, where there is none.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn bucket(name: &str) -> Option<String> {
    let Ok(url) = std::env::var("STEERSMAN_TEST_S3") else {
        println!("skipped: STEERSMAN_TEST_S3 names no server; `cargo xtask test` starts one");
        return None;
    };
    let made = Command::new("curl").args(["-sf", "-X", "PUT", &format!("{url}/{name}")]).status().unwrap();
    assert!(made.success());
    Some(url)
}

/// Sends batches of its own, and every third that all replicas get, until told to stop or refused for good.
fn write(page: &str, name: &str, stop: &AtomicBool, acknowledged: &Mutex<BTreeSet<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::new();
    for batch in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let owner = if batch % 3 == 0 { "all" } else { name };
        let ids: Vec<String> = (0..10).map(|row| format!("{owner}-{batch}-{row}")).collect();
        let body = ids.iter().map(|id| record(id)).collect::<Vec<_>>().join("\n");
        let request = client.post(format!("{page}/api/v1/models/churn/records"));
        let sent = runtime.block_on(request.header(LINES.0, LINES.1).body(body).send());
        match sent {
            Ok(response) if response.status().is_success() => acknowledged.lock().unwrap().extend(ids),
            Ok(_) => {}
            Err(_) => return,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ids of all records, read from the bucket beside the platform.
fn ids(config: &Path, schema: &Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(config).unwrap();
    let config = ServerConfig::parse(&text, config.parent().unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::open_as(folder.path(), &config.store)).unwrap();
    let _inside = runtime.enter();
    let archive = open_archive(folder.path(), &config.records, &store).unwrap();
    let log = RecordLog::open_on(&folder.path().join("records"), archive, Limits::default()).unwrap();
    let model = "churn".parse().unwrap();
    log.declare(&model, &serde_json::from_value(schema.clone()).unwrap()).unwrap();
    let table = log.table(&model, &Scan::default()).unwrap();
    table.texts("id").into_iter().flatten().collect()
}

#[test]
fn three_replicas_share_records_in_a_bucket_and_a_kill_loses_and_doubles_nothing() {
    let name = format!("replicas-{}", std::process::id());
    let (Some(database), Some(url)) = (database("records"), bucket(&name)) else { return };
    let (dir, spec) = project(None);
    fs::write(dir.path().join("secret"), "verysecret\n").unwrap();
    let records = format!(
        "[records]\nlocation = 's3://{name}/team'\nendpoint = '{url}'\nregion = 'us-east-1'\nallow_http = true\n\
         access_key_id = 'key'\nsecret_access_key_file = '../secret'\n"
    );
    let names = ["a", "b", "c"];
    let configs: BTreeMap<&str, _> =
        names.iter().map(|name| (*name, configure(dir.path(), name, &database, &spec, &records))).collect();
    let mut replicas: BTreeMap<&str, Up> =
        configs.iter().map(|(name, config)| (*name, start(config))).collect();
    let first = leader(&replicas);
    replicas[first.as_str()].wait("a champion", champion);
    for up in replicas.values() {
        up.wait("the model", champion);
    }
    let schema = replicas["a"].get("/models/churn")["state"]["reference"]["schema"].clone();
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let victim = names.into_iter().find(|name| **name == *first).unwrap();
    let pages: Vec<(&str, String)> = replicas.iter().map(|(name, up)| (*name, up.page.clone())).collect();
    std::thread::scope(|scope| {
        for (name, page) in &pages {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || write(page, name, stop, acknowledged));
        }
        std::thread::sleep(Duration::from_secs(4));
        // The leader is killed with records that no segment holds yet; another one decides, and it comes back.
        replicas.remove(victim).unwrap().kill();
        let second = leader(&replicas);
        assert_ne!(second, first);
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::SeqCst);
    });
    replicas.insert(victim, start(&configs[victim]));
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 200, "{}", acknowledged.len());
    // All of them come to see all of it.
    let seen = |up: &Up| up.get("/models/churn")["records"]["records"].as_u64();
    for up in replicas.values() {
        up.wait("all records", |up| seen(up).filter(|count| *count >= acknowledged.len() as u64));
    }
    // What was on its way and not acknowledged may be there, or not; they agree on it.
    replicas["a"].wait("the same count", |a| replicas.values().all(|up| seen(up) == seen(a)).then_some(()));
    // What belongs to one record goes everywhere.
    let leads = leader(&replicas);
    let forgotten = acknowledged.first().unwrap();
    let (code, _, err) = run(&[
        "forget",
        "churn",
        "--id",
        forgotten,
        "--by",
        "ada",
        "--server",
        &replicas[leads.as_str()].page,
    ]);
    assert_eq!(code, 0, "{err}");
    let facts = replicas[leads.as_str()].get("/ledger/entries?limit=1000");
    assert!(!facts.to_string().contains(forgotten.as_str()));
    let kinds: Vec<&str> =
        facts.as_array().unwrap().iter().filter_map(|entry| entry["fact"]["kind"].as_str()).collect();
    for kind in ["erasure.requested", "erasure.finished", "champion.changed"] {
        assert_eq!(kinds.iter().filter(|known| **known == kind).count(), 1, "{kind}: {kinds:?}");
    }
    drop(replicas);
    let ids = ids(&configs["a"], &schema);
    let unique: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "records that are there twice");
    assert!(!unique.contains(forgotten));
    let lost: Vec<_> = acknowledged.iter().skip(1).filter(|id| !unique.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let (code, out, err) = run(&["verify", "log", "--config", configs["a"].to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
}
