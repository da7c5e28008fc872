//! A full disk: nothing half written, a clear answer, and on again as soon as there is room.

use crate::{at, name, record, schema};
use std::path::Path;
use std::process::Command;
use steersman_domain::ErrorKind;
use steersman_records::{Limits, RecordLog};

const FOLDER: &str = "STEERSMAN_SMALL_DISK";
const DONE: &str = "STEERSMAN_SMALL_DISK_DONE";

/// In a process of its own, which has a disk of two megabytes: this test again.
#[test]
fn on_a_small_disk() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let dir = Path::new(&dir);
    let limits = Limits { segment_rows: 1_000, ..Limits::default() };
    let log = RecordLog::open_with(&dir.join("log"), limits).unwrap();
    log.declare(&name(), &schema()).unwrap();
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let mut accepted = 0;
    let problem = (0..10_000).find_map(|batch| {
        let rows = (batch * 100..batch * 100 + 100).map(record).collect();
        match log.append_records(&name(), rows, at(1)) {
            Ok(appended) => {
                accepted += appended.accepted;
                None
            }
            Err(problem) => Some((batch, problem)),
        }
    });
    let (batch, problem) = problem.unwrap();
    assert_eq!(problem.kind, ErrorKind::NoSpace, "{problem}");
    assert_eq!(log.stats(&name()).unwrap().records, accepted);
    // What was refused for want of room is new when it comes again.
    std::fs::remove_file(&ballast).unwrap();
    let rows = || (batch * 100..batch * 100 + 100).map(record).collect::<Vec<_>>();
    assert_eq!(log.append_records(&name(), rows(), at(2)).unwrap().accepted, 100);
    assert_eq!(log.append_records(&name(), rows(), at(2)).unwrap().duplicates, 100);
    // What waited for a segment becomes one now.
    log.flush().unwrap();
    drop(log);
    let log = RecordLog::open_with(&dir.join("log"), limits).unwrap();
    log.declare(&name(), &schema()).unwrap();
    let arrivals = log.arrivals(&name(), 0).unwrap();
    assert_eq!(arrivals.len() as u64, accepted + 100);
    assert!(arrivals.iter().enumerate().all(|(place, arrival)| arrival.seq == place as u64));
    // Outside of the small disk, for the one who started this.
    std::fs::write(std::env::var(DONE).unwrap(), "").unwrap();
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, done) = (dir.path().join("disk"), dir.path().join("done"));
    std::fs::create_dir(&disk).unwrap();
    // A file system of one's own needs no rights where user namespaces are allowed.
    let script = r#"mount -t tmpfs -o size=2m steersman "$1" && exec "$2" --exact full_disk::on_a_small_disk --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([&disk, &std::env::current_exe().unwrap()])
        .env(FOLDER, &disk)
        .env(DONE, &done)
        .output();
    let Ok(output) = output else { return };
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !told.contains("running 1 test") {
        // No such file system is to be had here.
        return;
    }
    assert!(output.status.success() && done.exists(), "{told}");
}
