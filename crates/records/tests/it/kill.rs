//! A process that writes is killed at random moments: what it acknowledged is there, once.

use crate::{at, label, name, record, schema};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use steersman_records::{Item, Limits, RecordLog};

/// How often the process is killed; many more where this is set, for a long run.
const KILLS: &str = "STEERSMAN_KILLS";
const FOLDER: &str = "STEERSMAN_KILL_FOLDER";
const WRITERS: i64 = 4;

fn open(dir: &Path) -> (RecordLog, steersman_records::Recovery) {
    let limits = Limits { segment_rows: 500, ..Limits::default() };
    let log = RecordLog::open_with(dir, limits).unwrap();
    let recovery = log.declare(&name(), &schema()).unwrap();
    (log, recovery)
}

/// The process that is killed: this test again, with a folder. Says what is durable, in lines of the first number, how
/// many, and a mark for labels.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let (log, _) = open(Path::new(&dir));
    let base = i64::try_from(log.stats(&name()).unwrap().records).unwrap() * 1_000;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let log = log.clone();
            scope.spawn(move || {
                let mut next = base * WRITERS + writer * 1_000_000_000;
                for turn in 0.. {
                    let count = 1 + (turn * 7 + writer) % 40;
                    let records = (next..next + count).map(record).collect();
                    log.append_records(&name(), records, at(1)).unwrap();
                    say(&format!("r {next} {count}"));
                    if turn % 3 == 0 {
                        // Also sent again, and with labels.
                        let again = (next..next + count).map(record).collect();
                        assert_eq!(log.append_records(&name(), again, at(1)).unwrap().accepted, 0);
                        log.append_labels(&name(), vec![label(next, 1.0)], at(2)).unwrap();
                        say(&format!("l {next} 1"));
                    }
                    next += count;
                }
            });
        }
    });
}

fn say(line: &str) {
    // One call, so that lines of threads do not mix.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(20u64);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(bool, i64, i64)> = Vec::new();
    let (mut torn, mut replayed) = (0, 0);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::writer", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // It works before it is killed, at a moment that differs from turn to turn.
        let mut said = Vec::new();
        said.extend(lines.by_ref().filter_map(|line| acknowledgement(&line)).take(1));
        std::thread::sleep(Duration::from_micros(kill * 7_919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before is in the pipe; a last line that was cut off was never said.
        said.extend(lines.filter_map(|line| acknowledgement(&line)));
        assert!(!said.is_empty());
        acknowledged.extend(said);
        let (log, recovery) = open(dir.path());
        torn += u64::from(recovery.torn_bytes > 0);
        replayed += recovery.replayed;
        drop(log);
    }
    let (log, _) = open(dir.path());
    let mut records: BTreeMap<String, u64> = BTreeMap::new();
    let mut labels: BTreeMap<String, u64> = BTreeMap::new();
    let arrivals = log.arrivals(&name()).unwrap();
    for (place, arrival) in arrivals.iter().enumerate() {
        assert_eq!(arrival.seq, place as u64);
        let (seen, id) = match &arrival.item {
            Item::Record(record) => (&mut records, &record.id),
            Item::Label(label) => (&mut labels, &label.id),
        };
        *seen.entry(id.to_string()).or_default() += 1;
    }
    let twice = records.values().chain(labels.values()).filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "rows that are there twice");
    let mut checked = 0;
    // The files of ids, which were being written too, know all of them.
    let all = records.keys().map(|id| record(id.trim_start_matches('r').parse().unwrap())).collect();
    let again = log.append_records(&name(), all, at(3)).unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, records.len() as u64));
    for (is_label, first, count) in acknowledged {
        let seen = if is_label { &labels } else { &records };
        for number in first..first + count {
            assert!(seen.contains_key(&format!("r{number}")), "r{number} was acknowledged and is lost");
            checked += 1;
        }
    }
    assert!(replayed > 0);
    std::io::stderr()
        .write_all(format!("{kills} kills, {checked} acknowledged rows, {torn} torn ends\n").as_bytes())
        .unwrap();
}

fn acknowledgement(line: &str) -> Option<(bool, i64, i64)> {
    let mut words = line.split(' ');
    let is_label = match words.next()? {
        "l" => true,
        "r" => false,
        _ => return None,
    };
    Some((is_label, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
