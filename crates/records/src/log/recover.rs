//! What is found when a log is opened.

use super::Recovery;
use super::index::{Index, Keys};
use super::model::Shape;
use super::tail::Unflushed;
use crate::Kind;
use crate::codec::{conform, stamped};
use crate::segment::{Segment, read_parquet, sync_dir};
use crate::wal::{Wal, read};
use std::path::{Path, PathBuf};
use steersman_domain::{ErrorKind, Problem};

/// The write-ahead log that begins at this position.
pub(super) fn wal_path(dir: &Path, from: u64) -> PathBuf {
    dir.join(format!("wal-{from:012}.log"))
}

/// Reads what segments do not hold from the write-ahead logs, removes those that hold nothing else, and opens the last.
pub(super) fn replay(
    dir: &Path,
    shape: &Shape,
    keys: &Keys,
    index: &mut Index,
    open: &mut Unflushed,
    recovery: &mut Recovery,
) -> Result<Wal, Problem> {
    let flushed = open.from;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|error| Problem::io("list", dir, &error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    // A file ends where the next one begins.
    let begins_flushed = |path: &PathBuf| path <= &wal_path(dir, flushed);
    while paths.get(1).is_some_and(begins_flushed) {
        let path = paths.remove(0);
        std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
    }
    let Some(last) = paths.pop() else {
        let wal = Wal::create(&wal_path(dir, flushed))?;
        sync_dir(dir)?;
        return Ok(wal);
    };
    let mut length = 0;
    for (path, is_last) in paths.iter().map(|path| (path, false)).chain([(&last, true)]) {
        let contents = read(path, is_last)?;
        (length, recovery.torn_bytes) = (contents.length, contents.torn_bytes);
        open.bytes += contents.length;
        for frame in contents.frames {
            let end = frame.first + frame.batch.num_rows() as u64;
            if end <= flushed {
                continue;
            }
            if frame.first != open.to {
                let message = format!("position {} follows {} in `{}`", frame.first, open.to, path.display());
                return Err(Problem::new(ErrorKind::Corrupt, message));
            }
            let own = conform(&frame.batch, shape.own(frame.kind))?;
            let batch = stamped(&own, shape.stamped(frame.kind), frame.first, frame.received_at)?;
            index.add(frame.kind, &keys.of(frame.kind, &batch)?, &batch)?;
            recovery.replayed += batch.num_rows() as u64;
            open.push(frame.kind, batch, frame.received_at);
        }
    }
    open.logs = paths;
    Wal::resume(&last, length)
}

/// Reads ids, times and labels of a segment into the index.
pub(super) fn index_segment(
    dir: &Path,
    segment: &mut Segment,
    keys: &Keys,
    index: &mut Index,
) -> Result<(), Problem> {
    let wanted = ["_seq", "received_at", "id", "time", "_arm"];
    let records = read_parquet(&segment.records_path(dir), Some(&wanted))?;
    let labels = read_parquet(&segment.labels_path(dir), None)?;
    let read = Unflushed { from: segment.from, to: segment.to, ..Unflushed::default() };
    for (kind, batch) in [(Kind::Records, &records), (Kind::Labels, &labels)] {
        index.add(kind, &keys.of(kind, batch)?, batch)?;
    }
    *segment = Unflushed { records: vec![records], labels: vec![labels], ..read }.segment()?;
    Ok(())
}
