//! Segments in a bucket, read through a bounded folder of copies.
//!
//! Where `STEERSMAN_TEST_S3` says the URL of a server that tests may write to; `cargo xtask test` starts one.

use crate::{at, name, record, schema};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use steersman_domain::ErrorKind;
use steersman_records::archive::{Archive, BucketOptions, FileCatalogue, Storage};
use steersman_records::{Erase, Limits, RecordLog, Scan};

/// The server's URL, with an empty bucket of this name; none, with a message, where there is no server.
fn server(bucket: &str) -> Option<String> {
    let Ok(url) = std::env::var("STEERSMAN_TEST_S3") else {
        let message = "skipped: STEERSMAN_TEST_S3 names no server; `cargo xtask test` starts one\n";
        let _ = std::io::Write::write_all(&mut std::io::stdout(), message.as_bytes());
        return None;
    };
    let made = Command::new("curl").args(["-sf", "-X", "PUT", &format!("{url}/{bucket}")]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    Some(url)
}

fn options(url: &str, bucket: &str, cache: &Path, cache_bytes: u64) -> BucketOptions {
    BucketOptions {
        bucket: bucket.to_owned(),
        prefix: "team/records".to_owned(),
        endpoint: Some(url.to_owned()),
        region: Some("eu-central-1".to_owned()),
        allow_http: true,
        credentials: Some(("key".to_owned(), "verysecret".to_owned())),
        cache: cache.to_owned(),
        cache_bytes,
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        bytes += if about.is_dir() { bytes_in(&entry.path()) } else { about.len() };
    }
    bytes
}

#[test]
fn a_bucket_is_read_through_a_bounded_cache_and_what_is_erased_is_gone_from_both() {
    let name_of_bucket = format!("records-{}", std::process::id());
    let Some(url) = server(&name_of_bucket) else { return };
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Arc::new(FileCatalogue::new(&dir.path().join("catalogue")));
    let open = |replica: &str| {
        let cache = dir.path().join(replica).join("cache");
        let storage = Storage::bucket(options(&url, &name_of_bucket, &cache, 40_000)).unwrap();
        let archive = Archive { storage: Arc::new(storage), catalogue: catalogue.clone() };
        let log = RecordLog::open_on(&dir.path().join(replica).join("records"), archive, Limits::default())
            .unwrap();
        log.declare(&name(), &schema()).unwrap();
        log
    };
    let a = open("a");
    for part in 0..12 {
        a.append_records(&name(), (part * 200..part * 200 + 200).map(record).collect(), at(part)).unwrap();
        a.flush().unwrap();
    }
    let b = open("b");
    for log in [&a, &b] {
        assert_eq!(log.table(&name(), &Scan::default()).unwrap().len(), 2_400);
    }
    let stored = a.stats(&name()).unwrap().segment_bytes;
    let kept = bytes_in(&dir.path().join("b/cache"));
    assert!(kept <= 40_000 && stored > 40_000, "{kept} of {stored}");
    // The copies are only copies.
    fs::remove_dir_all(dir.path().join("b/cache")).unwrap();
    drop(b);
    let b = open("b");
    assert_eq!(b.compact(&name()).unwrap().segments, 12);
    a.refresh().unwrap();
    assert_eq!(a.table(&name(), &Scan::default()).unwrap().len(), 2_400);
    assert_eq!(a.erase(&name(), &Erase::Id("r7".to_owned())).unwrap().records, 1);
    b.refresh().unwrap();
    assert_eq!(b.table(&name(), &Scan::default()).unwrap().len(), 2_399);
    // What compaction replaced is garbage; what was erased went at once.
    assert_eq!(b.remove_garbage(jiff::Timestamp::MIN).unwrap(), 0);
    assert_eq!(b.remove_garbage(at(4_000_000_000)).unwrap(), 24);
    assert_eq!(open("c").table(&name(), &Scan::default()).unwrap().len(), 2_399);
}

#[test]
fn a_bucket_that_cannot_be_reached_is_said_without_secrets_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = options("http://127.0.0.1:9", "nowhere", &dir.path().join("cache"), 1 << 20);
    assert!(!format!("{options:?}").contains("verysecret"));
    let catalogue = Arc::new(FileCatalogue::new(dir.path()));
    let archive = Archive { storage: Arc::new(Storage::bucket(options).unwrap()), catalogue };
    let log = RecordLog::open_on(dir.path(), archive, Limits::default()).unwrap();
    log.declare(&name(), &schema()).unwrap();
    log.append_records(&name(), (0..10).map(record).collect(), at(1)).unwrap();
    let problem = log.flush().unwrap_err();
    assert_eq!(problem.kind, ErrorKind::Unavailable);
    assert!(!problem.to_string().contains("verysecret"), "{problem}");
    assert_eq!(log.table(&name(), &Scan::default()).unwrap().len(), 10);
    assert_eq!(log.append_records(&name(), vec![record(3)], at(2)).unwrap().duplicates, 1);
}
