//! Segments, their catalogue, and what is done with them: several replicas, compaction, retention, erasure, crashes.

use crate::{at, label, name, record, schema};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::ErrorKind;
use steersman_domain::fact::SnapshotRequest;
use steersman_domain::spec::SnapshotFormat;
use steersman_records::archive::{Archive, Change, FileCatalogue, Listing, Storage, gone};
use steersman_records::{Cursor, Detail, Erase, Item, Kind, Limits, RecordLog, Scan};

/// A folder that replicas share, and the catalogue in it.
struct Shared {
    dir: tempfile::TempDir,
    archive: Archive,
}

impl Shared {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        let catalogue = Arc::new(FileCatalogue::new(&shared));
        let archive = Archive { storage: Arc::new(Storage::folder(&shared)), catalogue };
        Self { dir, archive }
    }

    fn open(&self, replica: &str) -> RecordLog {
        let log = RecordLog::open_on(&self.dir.path().join(replica), self.archive.clone(), Limits::default())
            .unwrap();
        log.declare(&name(), &schema()).unwrap();
        log
    }

    /// Names of the files that the catalogue knows.
    fn files(&self) -> Vec<String> {
        let segments = self.listing().segments;
        segments.iter().flat_map(|one| [one.file(Kind::Records), one.file(Kind::Labels)]).collect()
    }

    fn listing(&self) -> Listing {
        self.archive.catalogue.list(&name()).unwrap()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn parquet_files(dir: &Path) -> usize {
    files(dir).iter().filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).count()
}

/// Takes records in and makes a segment of them.
fn segment(log: &RecordLog, numbers: std::ops::Range<i64>, second: i64) {
    log.append_records(&name(), numbers.map(record).collect(), at(second)).unwrap();
    log.flush().unwrap();
}

fn ids(log: &RecordLog) -> Vec<String> {
    log.table(&name(), &Scan::default()).unwrap().texts("id").into_iter().flatten().collect()
}

fn follow(log: &RecordLog, cursor: &mut Cursor) -> usize {
    let mut rows = 0;
    while let Some(fresh) = log.fresh(&name(), cursor, Detail::Times).unwrap() {
        rows += fresh.records.iter().map(RecordBatch::num_rows).sum::<usize>();
        *cursor = fresh.until;
    }
    rows
}

#[test]
fn a_segment_is_sorted_by_time_and_can_be_pruned() {
    let shared = Shared::new();
    let log = shared.open("a");
    segment(&log, 0..40_000, 1);
    log.append_records(&name(), (40_000..40_100).rev().map(record).collect(), at(2)).unwrap();
    log.flush().unwrap();
    let view = log.view(&name()).unwrap();
    let file = view.segments[0].open(Kind::Records).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&file.path).unwrap()).unwrap();
    let metadata = reader.metadata().clone();
    assert_eq!(metadata.num_row_groups(), 3);
    let place = |name: &str| {
        let columns = reader.parquet_schema().columns();
        columns.iter().position(|column| column.name() == name).unwrap()
    };
    for group in metadata.row_groups() {
        assert!(group.column(place("id")).bloom_filter_offset().is_some());
        assert!(group.column(place("time")).statistics().is_some());
        assert!(group.sorting_columns().is_some());
    }
    let about = metadata.file_metadata().key_value_metadata().unwrap();
    let positions = about.iter().find(|pair| pair.key == "steersman.positions").unwrap();
    assert_eq!(positions.value.as_deref(), Some("0-40000"));
    // What came in another order is read in the order of arrival.
    let arrivals = log.arrivals(&name()).unwrap();
    assert!(arrivals.iter().enumerate().all(|(place, arrival)| arrival.seq == place as u64));
    let Item::Record(last) = &arrivals[40_099].item else { panic!("a label") };
    assert_eq!(last.id.as_str(), "r40000");
}

#[test]
fn replicas_see_each_other_and_a_record_that_two_took_in_counts_once() {
    let shared = Shared::new();
    let (a, b) = (shared.open("a"), shared.open("b"));
    let mut cursor = Cursor::default();
    segment(&a, 0..10, 1);
    // Sent to the other one, as it does not know yet; a label comes there too, before the record.
    b.append_records(&name(), (5..15).map(record).collect(), at(2)).unwrap();
    b.append_labels(&name(), vec![label(3, 1.0), label(20, 1.0)], at(3)).unwrap();
    assert_eq!(follow(&a, &mut cursor), 10);
    b.flush().unwrap();
    for log in [&a, &b] {
        log.refresh().unwrap();
        assert_eq!(ids(log).len(), 15);
        assert_eq!(log.arrivals(&name()).unwrap().len(), 17);
        let stats = log.stats(&name()).unwrap();
        assert_eq!((stats.records, stats.labels, stats.labels_without_record), (15, 1, 1));
        let again = log.append_records(&name(), (0..15).map(record).collect(), at(9)).unwrap();
        assert_eq!((again.accepted, again.duplicates), (0, 15));
    }
    // After a restart too: which are twice is written down.
    drop(a);
    let a = shared.open("a");
    assert_eq!((ids(&a).len(), a.stats(&name()).unwrap().records), (15, 15));
    assert_eq!(follow(&a, &mut cursor), 5);
    let table = a.table(&name(), &Scan::default()).unwrap();
    assert_eq!(table.numbers("label")[3], Some(1.0));
    // The first one counts, so what was known earlier stays as it was.
    let received = table.times("received_at");
    assert!(received[..10].iter().all(|at_time| *at_time == Some(at(1))));
    let snapshot = |log: &RecordLog| {
        let request = SnapshotRequest { as_of: at(3), from: None, to: at(100) };
        let path = shared.dir.path().join("snapshot.csv");
        log.snapshot(&name(), &request, None, &path, SnapshotFormat::Csv).unwrap()
    };
    let before = snapshot(&a);
    let compacted = a.compact(&name()).unwrap();
    assert_eq!(compacted.doubles, 5);
    b.refresh().unwrap();
    for log in [&a, &b, &shared.open("c")] {
        assert_eq!((ids(log).len(), snapshot(log)), (15, before.clone()));
        assert_eq!(log.stats(&name()).unwrap().records, 15);
    }
    assert_eq!(follow(&a, &mut cursor), 0);
    let rows: u64 = shared.listing().segments.iter().map(|segment| segment.records).sum();
    assert_eq!(rows, 15);
}

#[test]
fn whoever_reads_during_compaction_sees_all_or_nothing() {
    let shared = Shared::new();
    let (a, b) = (shared.open("a"), shared.open("b"));
    for part in 0..24 {
        segment(&a, part * 10..part * 10 + 10, part);
    }
    b.refresh().unwrap();
    std::thread::scope(|scope| {
        let compacting = scope.spawn(|| {
            let mut made = 0;
            loop {
                match a.compact(&name()).unwrap().segments {
                    0 => return made,
                    _ => made += 1,
                }
            }
        });
        let mut named = shared.files();
        loop {
            let over = compacting.is_finished();
            for log in [&a, &b] {
                assert_eq!(ids(log).len(), 240);
            }
            b.refresh().unwrap();
            // Replaced files go, even those that somebody is about to open.
            let now: Vec<String> = shared.files();
            for gone in named.iter().filter(|name| !now.contains(name)) {
                fs::remove_file(shared.dir.path().join("shared").join(gone)).unwrap();
            }
            named = now;
            if over {
                break;
            }
        }
        assert!(compacting.join().unwrap() > 0);
    });
    assert_eq!(shared.listing().segments.len(), 1);
    b.remove_garbage(jiff::Timestamp::MAX).unwrap();
    assert_eq!(parquet_files(shared.dir.path()), 2);
    let log = shared.open("a2");
    assert_eq!(ids(&log).len(), 240);
    assert!(
        log.arrivals(&name()).unwrap().iter().enumerate().all(|(place, arrival)| arrival.seq == place as u64)
    );
}

#[test]
fn a_crash_between_a_file_and_its_entry_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let log = RecordLog::open(dir.path()).unwrap();
        log.declare(&name(), &schema()).unwrap();
        log
    };
    let log = open();
    log.append_records(&name(), (0..10).map(record).collect(), at(1)).unwrap();
    let keep = |extension: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let kept = files(dir.path()).into_iter().filter(|path| path.to_string_lossy().ends_with(extension));
        kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let wal = keep(".log");
    log.flush().unwrap();
    drop(log);
    // As if it had ended after the files were written and before the catalogue named them.
    fs::remove_file(dir.path().join(name().as_str()).join("catalogue.json")).unwrap();
    keep(".log").into_iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    wal.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let log = open();
    assert_eq!((ids(&log).len(), log.stats(&name()).unwrap().segments), (10, 0));
    assert_eq!(log.remove_garbage(jiff::Timestamp::MIN).unwrap(), 0);
    assert_eq!(log.remove_garbage(jiff::Timestamp::MAX).unwrap(), 2);
    log.flush().unwrap();
    // As if it had ended after the entry and before the write-ahead log was removed.
    drop(log);
    wal.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let log = open();
    assert_eq!((ids(&log).len(), log.stats(&name()).unwrap().segments), (10, 1));
    assert_eq!(log.append_records(&name(), vec![record(10)], at(2)).unwrap().first, 10);
}

#[test]
fn a_change_that_comes_too_late_is_refused_as_a_whole() {
    let shared = Shared::new();
    let log = shared.open("a");
    segment(&log, 0..10, 1);
    let before = shared.listing();
    let known = before.segments[0].clone();
    let other = steersman_records::archive::Segment { object: "x/y/z".to_owned(), ..known.clone() };
    let change = Change { add: vec![other], remove: vec![known.object, "gone".to_owned()], flushed: None };
    let problem = shared.archive.catalogue.change(&name(), &change).unwrap_err();
    assert_eq!((problem.kind, problem), (ErrorKind::Conflict, gone("gone")));
    assert_eq!(shared.listing(), before);
}

#[test]
fn what_is_too_old_goes_in_whole_segments_and_the_log_goes_on() {
    let shared = Shared::new();
    let log = shared.open("a");
    segment(&log, 0..10, 100);
    segment(&log, 10..20, 200);
    let mut old = record(20);
    old.time = at(1);
    // Old, but taken in late: its segment stays.
    log.append_records(&name(), vec![old], at(300)).unwrap();
    log.flush().unwrap();
    let planned = log.expired(&name(), at(201)).unwrap();
    assert_eq!(log.expire(&name(), at(201)).unwrap(), planned);
    assert_eq!((planned.segments, planned.records), (2, 20));
    assert_eq!(ids(&log), ["r20"]);
    let size = log.stats(&name()).unwrap();
    assert_eq!((size.records, size.ids), (1, 1));
    log.expire(&name(), at(1_000)).unwrap();
    assert_eq!(log.remove_garbage(jiff::Timestamp::MAX).unwrap(), 6);
    drop(log);
    // The ids are free again, and positions go on.
    let log = shared.open("a");
    let appended = log.append_records(&name(), vec![record(3)], at(400)).unwrap();
    assert_eq!((appended.accepted, appended.first), (1, 21));
    drop(log);
    assert_eq!(ids(&shared.open("a")), ["r3"]);
}

#[test]
fn what_is_erased_is_in_no_file_any_more() {
    let shared = Shared::new();
    let (a, b) = (shared.open("a"), shared.open("b"));
    let mut ada = [record(1), record(2), record(3)];
    ada[0].id = "ada-lovelace-1".parse().unwrap();
    ada[1].features.insert("town".to_owned(), "Marylebone".into());
    ada[2].features.insert("town".to_owned(), "Marylebone".into());
    segment(&b, 100..120, 1);
    b.append_records(&name(), ada[..2].to_vec(), at(2)).unwrap();
    b.append_labels(&name(), vec![label(1, 1.0), label(2, 1.0)], at(2)).unwrap();
    let mut own = label(1, 1.0);
    own.id = ada[0].id.clone();
    b.append_labels(&name(), vec![own], at(2)).unwrap();
    b.flush().unwrap();
    // In the write-ahead log alone.
    a.append_records(&name(), vec![ada[2].clone(), record(4)], at(3)).unwrap();
    a.refresh().unwrap();
    let everywhere = |words: &str| {
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            bytes.windows(words.len()).any(|window| window == words.as_bytes())
        };
        files(shared.dir.path()).iter().filter(|path| holds(path)).count()
    };
    assert!(everywhere("ada-lovelace-1") > 0 && everywhere("Marylebone") > 1);
    let gone = a.erase(&name(), &Erase::Id("ada-lovelace-1".to_owned())).unwrap();
    assert_eq!((gone.records, gone.labels), (1, 1));
    let town = Erase::Column { name: "town".to_owned(), value: "Marylebone".to_owned() };
    let gone = a.erase(&name(), &town).unwrap();
    assert_eq!((gone.records, gone.labels), (2, 1));
    assert_eq!((everywhere("ada-lovelace-1"), everywhere("Marylebone")), (0, 0));
    assert_eq!(a.erase(&name(), &town).unwrap().records, 0);
    let unknown = Erase::Column { name: "street".to_owned(), value: String::new() };
    assert_eq!(a.erase(&name(), &unknown).unwrap_err().kind, ErrorKind::NotFound);
    b.refresh().unwrap();
    for log in [&a, &b, &shared.open("c")] {
        assert_eq!(ids(log).len(), 21);
        assert_eq!(log.stats(&name()).unwrap().records, 21);
    }
}

#[test]
fn a_folder_without_a_catalogue_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let log = RecordLog::open(dir.path()).unwrap();
        log.declare(&name(), &schema()).unwrap();
        log
    };
    let log = open();
    for (numbers, second) in [(0..10, 1), (10..15, 3)] {
        log.append_records(&name(), numbers.clone().map(record).collect(), at(second)).unwrap();
        log.append_labels(&name(), vec![label(numbers.start, 1.0)], at(second + 1)).unwrap();
        log.flush().unwrap();
    }
    let before = log.arrivals(&name()).unwrap();
    drop(log);
    // As the first version had it: the files beside the write-ahead log, and nothing else.
    let own = dir.path().join(name().as_str());
    for path in files(&own) {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        match file.strip_suffix(".parquet").and_then(|stem| stem.rsplit_once('-')) {
            Some((stem, _checksum)) => fs::rename(&path, own.join(format!("{stem}.parquet"))).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    for folder in fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::remove_file(dir.path().join("replica")).unwrap();
    assert!(own.join("records-000000000000-000000000011.parquet").exists());
    let check = |log: &RecordLog| {
        assert_eq!(log.arrivals(&name()).unwrap(), before);
        let table = log.table(&name(), &Scan::default()).unwrap();
        assert_eq!((table.len(), table.numbers("label")[10]), (15, Some(1.0)));
        assert_eq!(log.append_records(&name(), (0..15).map(record).collect(), at(9)).unwrap().accepted, 0);
    };
    let log = open();
    check(&log);
    assert_eq!(log.stats(&name()).unwrap().segments, 2);
    assert_eq!(log.append_records(&name(), vec![record(15)], at(9)).unwrap().first, 17);
    log.erase(&name(), &Erase::Id("r15".to_owned())).unwrap();
    drop(log);
    // Once is enough, and what was taken over goes as garbage.
    let log = open();
    check(&log);
    assert_eq!(log.remove_garbage(jiff::Timestamp::MAX).unwrap(), 4);
    check(&log);
}
