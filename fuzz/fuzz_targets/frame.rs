//! Data files that people bring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steersman_records::frame::{Frame, Selection};

const ENDINGS: [&str; 8] =
    ["csv", "tsv", "json", "ndjson", "parquet", "arrow", "csv.gz", "ndjson.zst"];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, contents)) = data.split_first() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("data.{}", ENDINGS[usize::from(choice) % ENDINGS.len()]));
    std::fs::write(&path, contents).unwrap();
    if let Ok(frame) = Frame::read(&path.display().to_string(), &Selection::default()) {
        for column in &frame.columns {
            assert_eq!(column.len(), frame.rows);
        }
    }
});
