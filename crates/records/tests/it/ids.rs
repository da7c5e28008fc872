//! Ids of segments are in files: whatever becomes of those, and however little memory there is, a record that is sent again
//! changes nothing and labels find their records.

use crate::{at, label, name, record, schema};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steersman_records::{Erase, Limits, RecordLog, Scan};

fn open(dir: &Path, id_bytes: u64) -> RecordLog {
    let log = RecordLog::open_with(dir, Limits { segment_rows: 100, id_bytes, ..Limits::default() }).unwrap();
    log.declare(&name(), &schema()).unwrap();
    log
}

fn id_files(dir: &Path) -> BTreeSet<PathBuf> {
    let found =
        fs::read_dir(dir.join(name().as_str()).join("ids")).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.extension().is_some_and(|extension| extension == "ids")).collect()
}

type Labels = Vec<Option<f64>>;

/// Records and labels that are there, and what labels say, also as of an earlier time.
fn contents(log: &RecordLog) -> (usize, Labels, Labels, (u64, u64, u64)) {
    let table = log.table(&name(), &Scan::default()).unwrap();
    let before = log.table(&name(), &Scan { as_of: Some(at(5)), ..Scan::default() }).unwrap();
    let stats = log.stats(&name()).unwrap();
    let counts = (stats.records, stats.labels, stats.labels_without_record);
    (table.len(), table.numbers("label"), before.numbers("label"), counts)
}

#[test]
fn with_or_without_memory_and_whatever_becomes_of_the_files_ids_are_known() {
    for id_bytes in [0, 20_000, 1 << 30] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), id_bytes);
        for part in 0..30 {
            let numbers = part * 100..part * 100 + 100;
            log.append_records(&name(), numbers.clone().map(record).collect(), at(1)).unwrap();
            // Labels of the next part come before their records; every tenth is corrected later.
            let early = numbers.clone().step_by(3).map(|number| label(number + 100, 1.0)).collect();
            log.append_labels(&name(), early, at(2)).unwrap();
            let late = numbers.step_by(10).map(|number| label(number, 0.0)).collect();
            log.append_labels(&name(), late, at(6)).unwrap();
            log.flush().unwrap();
        }
        let first = contents(&log);
        assert_eq!((first.0, first.3.0, first.3.2), (3_000, 3_000, 34));
        assert_eq!(
            (first.1[103], first.2[103], first.1[110], first.2[110]),
            (Some(1.0), Some(1.0), Some(0.0), None)
        );
        let check = |log: &RecordLog| {
            assert_eq!(contents(log), first, "{id_bytes}");
            let again = log.append_records(&name(), (0..3_000).map(record).collect(), at(9)).unwrap();
            assert_eq!((again.accepted, again.duplicates), (0, 3_000), "{id_bytes}");
            let labels = (2_010..3_000).step_by(10).map(|number| label(number, 0.0)).collect();
            assert_eq!(log.append_labels(&name(), labels, at(9)).unwrap().accepted, 0, "{id_bytes}");
            let stats = log.stats(&name()).unwrap();
            assert!(stats.id_bytes <= id_bytes && stats.id_file_bytes > 60_000, "{stats:?}");
            assert_eq!(stats.ids, 3_000 + 30 * 34 + 30 * 10);
        };
        check(&log);
        // Small files become larger ones.
        while id_files(dir.path()).len() > 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        check(&log);
        let mut reopened = |change: &dyn Fn()| {
            let old = std::mem::replace(&mut log, RecordLog::open(&dir.path().join("none")).unwrap());
            drop(old);
            change();
            log = open(dir.path(), id_bytes);
            let again = log.append_records(&name(), (0..3_000).map(record).collect(), at(9));
            if again.is_err() || log.table(&name(), &Scan::default()).is_err() {
                // What is not in memory is seen to be damaged when it is read, and is made anew at the next start.
                assert!(id_bytes < 1 << 30);
                let old = std::mem::replace(&mut log, RecordLog::open(&dir.path().join("none")).unwrap());
                drop(old);
                log = open(dir.path(), id_bytes);
            }
            check(&log);
        };
        reopened(&|| {});
        // One is changed, one is cut off, what was being written is left, all are lost.
        for place in [0.0, 0.3, 0.6, 0.9, 0.95, 0.99, 1.0] {
            reopened(&|| {
                for path in id_files(dir.path()) {
                    let mut bytes = fs::read(&path).unwrap();
                    let place = ((bytes.len() - 1) as f64 * place) as usize;
                    bytes[place] ^= 0x10;
                    fs::write(&path, bytes).unwrap();
                }
            });
        }
        reopened(&|| {
            for path in id_files(dir.path()) {
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                fs::write(path.with_added_extension("partial"), bytes).unwrap();
            }
        });
        reopened(&|| fs::write(dir.path().join(name().as_str()).join("ids/doubles"), "damaged").unwrap());
        reopened(&|| fs::remove_dir_all(dir.path().join(name().as_str()).join("ids")).unwrap());
        reopened(&|| fs::remove_file(dir.path().join("ids.key")).unwrap());
    }
}

#[test]
fn damage_that_comes_later_is_an_error_and_no_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 0);
    log.append_records(&name(), (0..5_000).map(record).collect(), at(1)).unwrap();
    log.flush().unwrap();
    for path in id_files(dir.path()) {
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(500).for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes).unwrap();
    }
    let problem = log.append_records(&name(), (0..5_000).map(record).collect(), at(2)).unwrap_err();
    assert!(problem.kind == steersman_domain::ErrorKind::Corrupt && problem.hint.is_some(), "{problem}");
    drop(log);
    let log = open(dir.path(), 0);
    assert_eq!(log.append_records(&name(), (0..5_000).map(record).collect(), at(2)).unwrap().accepted, 0);
}

#[test]
fn what_is_erased_leaves_no_file_of_ids_behind_and_its_id_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20);
    for part in 0..3 {
        log.append_records(&name(), (part * 10..part * 10 + 10).map(record).collect(), at(1)).unwrap();
        log.append_labels(&name(), vec![label(part * 10, 1.0)], at(2)).unwrap();
        log.flush().unwrap();
    }
    let before = id_files(dir.path());
    log.erase(&name(), &Erase::Id("r10".to_owned())).unwrap();
    let after = id_files(dir.path());
    assert_eq!((before.intersection(&after).count(), after.len()), (2, 3));
    let stats = log.stats(&name()).unwrap();
    assert_eq!((stats.ids, stats.labels), (29 + 2, 2));
    assert_eq!(log.append_records(&name(), (0..30).map(record).collect(), at(3)).unwrap().accepted, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Records(Vec<i64>),
    Labels(Vec<(i64, bool)>),
    Flush,
    Reopen,
    Lose,
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0i64..60, 1..12).prop_map(Step::Records),
        3 => prop::collection::vec((0i64..60, any::<bool>()), 1..6).prop_map(Step::Labels),
        4 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Lose),
        1 => Just(Step::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is there is what a plain map says, whatever is done in which order.
    #[test]
    fn it_is_a_map_from_ids(steps in prop::collection::vec(step(), 1..60), memory in prop_oneof![Just(0u64), Just(1 << 20)]) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), memory);
        let mut records: BTreeSet<i64> = BTreeSet::new();
        let mut labels: BTreeMap<i64, f64> = BTreeMap::new();
        let mut now = 1_000;
        for step in steps {
            now += 1;
            match step {
                Step::Records(numbers) => {
                    let fresh = numbers.iter().filter(|number| records.insert(**number)).count();
                    let appended = log.append_records(&name(), numbers.into_iter().map(record).collect(), at(now)).unwrap();
                    prop_assert_eq!(appended.accepted, fresh as u64);
                }
                Step::Labels(truths) => {
                    let (mut fresh, mut seen) = (0, BTreeSet::new());
                    for (number, truth) in &truths {
                        let truth = f64::from(u8::from(*truth));
                        if seen.insert(*number) && labels.insert(*number, truth) != Some(truth) {
                            fresh += 1;
                        }
                    }
                    // Twice in one batch: the first counts.
                    let mut first = BTreeMap::new();
                    for (number, truth) in &truths {
                        first.entry(*number).or_insert(f64::from(u8::from(*truth)));
                    }
                    labels.extend(first);
                    let sent = truths.into_iter().map(|(number, truth)| label(number, f64::from(u8::from(truth)))).collect();
                    prop_assert_eq!(log.append_labels(&name(), sent, at(now)).unwrap().accepted, fresh);
                }
                Step::Flush => log.flush().unwrap(),
                Step::Reopen => {
                    drop(log);
                    log = open(dir.path(), memory);
                }
                Step::Lose => {
                    drop(log);
                    if let Some(path) = id_files(dir.path()).first() {
                        fs::write(path, "lost").unwrap();
                    }
                    log = open(dir.path(), memory);
                }
                // Everything: what is in no segment stays, so it becomes one first.
                Step::Expire => {
                    log.flush().unwrap();
                    log.expire(&name(), at(now + 1_000)).unwrap();
                    records.clear();
                    labels.clear();
                }
            }
            let table = log.table(&name(), &Scan::default()).unwrap();
            let there: BTreeMap<String, Option<f64>> = table.texts("id").into_iter().flatten().zip(table.numbers("label")).collect();
            let expected: BTreeMap<String, Option<f64>> =
                records.iter().map(|number| (format!("r{number}"), labels.get(number).copied())).collect();
            prop_assert_eq!(there, expected);
            let stats = log.stats(&name()).unwrap();
            let joined = records.iter().filter(|number| labels.contains_key(number)).count() as u64;
            prop_assert_eq!((stats.records, stats.labels, stats.labels_without_record), (records.len() as u64, joined, labels.len() as u64 - joined));
        }
    }
}
