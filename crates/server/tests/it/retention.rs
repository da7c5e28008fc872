//! Records go by their age: a fact says so, and their files are gone.

use bytes::Bytes;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use steersman_domain::{Fact, ModelName, ModelSpec, Period};
use steersman_records::Kind;
use steersman_records::intake::{Format, Packing};
use steersman_server::platform::Body;
use steersman_server::{Clock, Options, Platform};

const START: &str = "2026-03-01T00:00:00Z";

fn after(hours: i64) -> Timestamp {
    Period::from_seconds(3_600 * hours).after(START.parse().unwrap())
}

/// A folder with a reference and a spec that only watches.
fn project(dir: &Path) -> ModelSpec {
    let mut data = "id,time,calls,churned\n".to_owned();
    for row in 0..200 {
        data.push_str(&format!(
            "c{row},2026-02-{:02}T{:02}:00:00Z,{},{}\n",
            1 + row / 24,
            row % 24,
            row % 7,
            row % 2
        ));
    }
    std::fs::write(dir.join("churn.csv"), data).unwrap();
    ModelSpec::parse(
        "[model]\nname='churn'\ntask='binary'\nprediction='score'\nlabel={column='churned'}\n\
         [data]\nreference='churn.csv'\ntime='time'\nid='id'\nretention='2d'\n",
    )
    .unwrap()
}

async fn open(dir: &Path, clock: &Clock) -> Platform {
    let gateway = ([127, 0, 0, 1], 0).into();
    Platform::open(Options { clock: clock.clone(), gateway, ..Options::alone(dir.join("state")) })
        .await
        .unwrap()
}

async fn send(platform: &Platform, model: &ModelName, ids: std::ops::Range<u32>) -> u64 {
    let now = platform.now();
    let line =
        |id| format!("{{\"id\":\"r{id}\",\"time\":\"{now}\",\"features\":{{\"calls\":3}},\"score\":0.5}}");
    let bytes = Bytes::from(ids.map(line).collect::<Vec<_>>().join("\n"));
    let ticket = platform.admit(model, bytes.len() as u64).unwrap();
    let body = Body { format: Format::Lines, packing: Packing::Plain, bytes, ticket };
    platform.ingest(model, Kind::Records, body).await.unwrap().accepted
}

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_goes_and_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::stepped(after(0));
    let (spec, model) = (project(dir.path()), "churn".parse::<ModelName>().unwrap());
    let platform = open(dir.path(), &clock).await;
    platform.apply("ada", spec, dir.path()).await.unwrap();
    assert_eq!(send(&platform, &model, 0..50).await, 50);
    platform.log().flush().unwrap();
    clock.advance_to(after(40));
    assert_eq!(send(&platform, &model, 50..60).await, 10);
    platform.tick().await.unwrap();
    assert_eq!(platform.log().stats(&model).unwrap().records, 60);
    let records = dir.path().join("state/records");
    let before = parquet_files(&records);
    clock.advance_to(after(50));
    platform.tick().await.unwrap();
    let stats = platform.log().stats(&model).unwrap();
    assert_eq!((stats.records, stats.ids), (10, 10));
    let facts = platform.store().entries(0, 1_000).await.unwrap();
    let expired: Vec<&Fact> =
        facts.iter().map(|entry| &entry.fact).filter(|fact| fact.kind() == "records.expired").collect();
    let [Fact::RecordsExpired { before: moment, records: gone, labels: 0, segments: 1, .. }] =
        expired.as_slice()
    else {
        panic!("{expired:?}")
    };
    assert_eq!((*moment, *gone), (after(2), 50));
    // Whoever reads them may go on for a while; then the files are gone. That they are old is told by the disk's clock.
    platform.log().remove_garbage(Timestamp::MAX).unwrap();
    let left = parquet_files(&records);
    assert!(before.iter().all(|path| !left.contains(path)), "{left:?}");
    // An id that went is free again, also after a restart.
    platform.shutdown().await;
    drop(platform);
    let platform = open(dir.path(), &clock).await;
    assert_eq!(platform.log().stats(&model).unwrap().records, 10);
    assert_eq!(send(&platform, &model, 0..60).await, 50);
    platform.shutdown().await;
}
