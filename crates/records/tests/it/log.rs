//! Durability, idempotence, joins, snapshots.

use crate::{at, label, name, record, schema};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use steersman_domain::ErrorKind;
use steersman_domain::fact::SnapshotRequest;
use steersman_domain::record::Arm;
use steersman_domain::spec::SnapshotFormat;
use steersman_records::{Arms, Detail, Item, Limits, RecordLog, Scan};

fn open(dir: &Path) -> RecordLog {
    let limits = Limits { segment_rows: 4_096, ..Limits::default() };
    let log = RecordLog::open_with(dir, limits).unwrap();
    log.declare(&name(), &schema()).unwrap();
    log
}

fn wal(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir.join(name().as_str())).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap()
}

fn request(as_of: i64, to: i64) -> SnapshotRequest {
    SnapshotRequest { as_of: at(as_of), from: None, to: at(to) }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_records(&name(), (0..5_000).map(record).collect(), at(1)).unwrap();
    log.append_labels(&name(), (0..10).map(|number| label(number, 1.0)).collect(), at(2)).unwrap();
    let before = log.arrivals(&name(), 0).unwrap();
    drop(log);
    let log = RecordLog::open(dir.path()).unwrap();
    let recovery = log.declare(&name(), &schema()).unwrap();
    assert_eq!((recovery.segments, recovery.replayed, recovery.torn_bytes), (1, 10, 0));
    assert_eq!(log.arrivals(&name(), 0).unwrap(), before);
    assert_eq!(before.len(), 5_010);
    assert!(before.iter().enumerate().all(|(index, arrival)| arrival.seq == index as u64));
}

#[test]
fn sent_again_changes_nothing_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let batch = || (0..20).map(record).collect::<Vec<_>>();
    let log = open(dir.path());
    assert_eq!(log.append_records(&name(), batch(), at(1)).unwrap().accepted, 20);
    assert_eq!(log.append_records(&name(), batch(), at(2)).unwrap().duplicates, 20);
    log.flush().unwrap();
    drop(log);
    let log = open(dir.path());
    let again = log.append_records(&name(), batch(), at(3)).unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 20));
    let mut twice = batch();
    twice[0] = record(99);
    twice[1] = record(99);
    assert_eq!(log.append_records(&name(), twice, at(4)).unwrap().accepted, 1);
    // A shadow answer has the id of the record it copies and is no duplicate of it.
    let mut shadow = record(3);
    shadow.arm = Some(Arm::Shadow);
    assert_eq!(log.append_records(&name(), vec![shadow], at(5)).unwrap().accepted, 1);
    assert_eq!(log.table(&name(), &Scan::default()).unwrap().len(), 21);
    assert_eq!(log.table(&name(), &Scan { arms: Arms::Shadow, ..Scan::default() }).unwrap().len(), 1);
}

#[test]
fn a_torn_end_is_dropped_and_damage_before_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_records(&name(), vec![record(1)], at(1)).unwrap();
    let first = fs::metadata(wal(dir.path())).unwrap().len() as usize;
    log.append_records(&name(), vec![record(2)], at(1)).unwrap();
    drop(log);
    let whole = fs::read(wal(dir.path())).unwrap();
    for cut in [first + 1, first + 12, whole.len() - 1] {
        fs::write(wal(dir.path()), &whole[..cut]).unwrap();
        let log = RecordLog::open(dir.path()).unwrap();
        let recovery = log.declare(&name(), &schema()).unwrap();
        assert_eq!((recovery.replayed, recovery.torn_bytes), (1, (cut - first) as u64));
        // The place is usable again.
        log.append_records(&name(), vec![record(3)], at(1)).unwrap();
        assert_eq!(log.arrivals(&name(), 0).unwrap().len(), 2);
    }
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    fs::write(wal(dir.path()), &damaged).unwrap();
    let log = RecordLog::open(dir.path()).unwrap();
    assert_eq!(log.declare(&name(), &schema()).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_crash_between_segment_and_new_log_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_records(&name(), (0..30).map(record).collect(), at(1)).unwrap();
    let before = fs::read(wal(dir.path())).unwrap();
    let old = wal(dir.path());
    log.flush().unwrap();
    drop(log);
    // As if the process had ended right after the segment was there.
    fs::remove_file(wal(dir.path())).unwrap();
    fs::write(&old, before).unwrap();
    fs::write(
        dir.path().join(name().as_str()).join("records-000000000030-000000000040.parquet.partial"),
        "x",
    )
    .unwrap();
    let log = open(dir.path());
    assert_eq!(log.arrivals(&name(), 0).unwrap().len(), 30);
    assert_eq!(log.append_records(&name(), vec![record(31)], at(2)).unwrap().first, 30);
}

#[test]
fn labels_join_whenever_they_come_and_as_of_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_labels(&name(), vec![label(2, 1.0)], at(10)).unwrap(); // before its record
    log.append_records(&name(), (0..4).map(record).collect(), at(20)).unwrap();
    log.append_labels(&name(), vec![label(1, 0.0)], at(30)).unwrap();
    log.append_labels(&name(), vec![label(1, 1.0)], at(40)).unwrap(); // a correction
    let known = |as_of: i64| {
        let scan = Scan { as_of: Some(at(as_of)), ..Scan::default() };
        log.table(&name(), &scan).unwrap().numbers("label")
    };
    assert_eq!(known(15), []);
    assert_eq!(known(20), [None, None, Some(1.0), None]);
    assert_eq!(known(30), [None, Some(0.0), Some(1.0), None]);
    assert_eq!(known(40), [None, Some(1.0), Some(1.0), None]);
    log.flush().unwrap();
    assert_eq!(known(30), [None, Some(0.0), Some(1.0), None]);
}

#[test]
fn a_snapshot_can_be_taken_again_whatever_came_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_records(&name(), (0..50).map(record).collect(), at(60)).unwrap();
    log.append_labels(&name(), (0..40).map(|number| label(number, 1.0)).collect(), at(200)).unwrap();
    let take = |log: &RecordLog, format: SnapshotFormat| {
        let path = dir.path().join(format!("snapshot.{}", format.extension()));
        log.snapshot(&name(), &request(200, 30), None, &path, format).unwrap()
    };
    let first = take(&log, SnapshotFormat::Parquet);
    assert_eq!(first.rows, 30);
    assert_eq!(take(&log, SnapshotFormat::Csv), first);
    log.append_labels(&name(), vec![label(3, 0.0)], at(300)).unwrap();
    let mut late = record(60);
    late.time = at(5);
    log.append_records(&name(), vec![late], at(300)).unwrap();
    log.flush().unwrap();
    assert_eq!(take(&log, SnapshotFormat::Parquet), first);
    drop(log);
    assert_eq!(take(&open(dir.path()), SnapshotFormat::Csv), first);
    let text = fs::read_to_string(dir.path().join("snapshot.csv")).unwrap();
    assert!(text.starts_with("id,time,age,town,late\nr0,1970-01-01T00:00:00Z,0,Bonn,1\n"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However batches are cut, flushed and reopened, readers see the same sequence.
    #[test]
    fn the_sequence_does_not_depend_on_segments(cuts in prop::collection::vec((1usize..20, any::<bool>(), any::<bool>()), 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let mut next = 0;
        for (count, flush, reopen) in cuts {
            let records = (next..next + count as i64).map(record).collect();
            log.append_records(&name(), records, at(1)).unwrap();
            log.append_labels(&name(), vec![label(next, 1.0)], at(1)).unwrap();
            next += count as i64;
            if flush {
                log.flush().unwrap();
            }
            if reopen {
                drop(log);
                log = open(dir.path());
            }
        }
        let arrivals = log.arrivals(&name(), 0).unwrap();
        prop_assert!(arrivals.iter().enumerate().all(|(index, arrival)| arrival.seq == index as u64));
        let records: Vec<_> = arrivals.iter().filter_map(|arrival| match &arrival.item {
            Item::Record(record) => Some(record.clone()),
            Item::Label(_) => None,
        }).collect();
        prop_assert_eq!(records, (0..next).map(record).collect::<Vec<_>>());
    }
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    log.append_records(&name(), vec![record(writer * 1_000 + number)], at(1)).unwrap();
                }
            });
        }
    });
    drop(log);
    assert_eq!(open(dir.path()).stats(&name()).unwrap().records, 200);
}

#[test]
fn what_was_closed_and_no_segment_yet_is_read_from_its_log_and_damage_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_records(&name(), (0..30).map(record).collect(), at(1)).unwrap();
    let (first, bytes) = (wal(dir.path()), fs::read(wal(dir.path())).unwrap());
    log.flush().unwrap();
    log.append_records(&name(), (30..40).map(record).collect(), at(2)).unwrap();
    drop(log);
    // As if the process had ended while the segment was being made.
    for path in fs::read_dir(dir.path().join(name().as_str())).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            fs::remove_file(path).unwrap();
        }
    }
    let damaged = |cut: usize, turned: usize| {
        let mut damaged = bytes[..bytes.len() - cut].to_vec();
        damaged[100] ^= u8::try_from(turned).unwrap();
        fs::write(&first, damaged).unwrap();
        let log = RecordLog::open(dir.path()).unwrap();
        log.declare(&name(), &schema()).unwrap_err().kind
    };
    assert_eq!([damaged(1, 0), damaged(0, 1)], [ErrorKind::Corrupt; 2]);
    fs::write(&first, &bytes).unwrap();
    let log = open(dir.path());
    assert_eq!(log.arrivals(&name(), 0).unwrap().len(), 40);
    log.flush().unwrap();
    assert!(!first.exists());
    drop(log);
    assert_eq!(open(dir.path()).arrivals(&name(), 0).unwrap().len(), 40);
}

#[test]
fn a_view_has_every_row_once_while_segments_are_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_rows: 40, ..Limits::default() };
    let log = RecordLog::open_with(dir.path(), limits).unwrap();
    log.declare(&name(), &schema()).unwrap();
    let writer = log.clone();
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            for batch in 0..200 {
                let rows = (batch * 7..batch * 7 + 7).map(record).collect();
                writer.append_records(&name(), rows, at(1)).unwrap();
            }
        });
        let mut last = 0;
        while !written.is_finished() || last < 1_400 {
            let view = log.view(&name()).unwrap();
            let in_segments: u64 = view.segments.iter().map(|segment| segment.record_rows).sum();
            let in_tail: usize = view.records.iter().map(arrow::array::RecordBatch::num_rows).sum();
            assert_eq!(in_segments + in_tail as u64, view.until);
            let end = view.segments.last().map_or(0, |segment| segment.positions.1);
            assert_eq!(end, in_segments);
            assert!(view.until >= last);
            last = view.until;
        }
    });
    let mut from = 0;
    while let Some(fresh) = log.fresh(&name(), from, Detail::Times).unwrap() {
        let rows: usize = fresh.records.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(from + rows as u64, fresh.until);
        from = fresh.until;
    }
    assert_eq!(from, 1_400);
}
