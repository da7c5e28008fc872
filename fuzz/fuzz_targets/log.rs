//! A folder of records whose bytes are not what was written: it is opened without a panic, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steersman_domain::Schema;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_records::RecordLog;

const FILES: [&str; 5] =
    ["wal-000000000000.log", "ids/00000001.ids", "ids/doubles", "catalogue.json", "quarantine.ndjson"];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, contents)) = data.split_first() else { return };
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("m");
    std::fs::create_dir_all(own.join("ids")).unwrap();
    std::fs::write(own.join(FILES[usize::from(choice) % FILES.len()]), contents).unwrap();
    let column = |name: &str| Column { name: name.to_owned(), kind: ColumnKind::Numeric };
    let schema = Schema { features: vec![column("x")], prediction: column("score"), label: column("y") };
    let log = RecordLog::open(folder.path()).unwrap();
    let name = "m".parse().unwrap();
    if log.declare(&name, &schema).is_ok() {
        let stats = log.stats(&name).unwrap();
        assert!(stats.labels <= stats.records);
        let _ = log.quarantine(&name).unwrap();
    }
});
