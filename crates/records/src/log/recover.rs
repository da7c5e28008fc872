//! What is found when a log is opened: what segments do not hold is read from its write-ahead logs.

use super::Recovery;
use super::ids::{IdFiles, Recents, origin};
use super::model::{Home, Shape};
use super::tail::Unflushed;
use crate::archive::sync_dir;
use crate::codec::{conform, stamped};
use crate::wal::{Wal, read};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use steersman_domain::{ErrorKind, Problem};

/// The write-ahead log that begins at this position.
pub(super) fn wal_path(dir: &Path, from: u64) -> PathBuf {
    dir.join(format!("wal-{from:012}.log"))
}

/// Reads what segments do not hold from the write-ahead logs, removes those that hold nothing else, and opens the last.
pub(super) fn replay(
    home: &Home,
    shape: &Shape,
    files: &IdFiles,
    recents: &mut Recents,
    open: &mut Unflushed,
    recovery: &mut Recovery,
    suspects: &mut HashSet<u128>,
) -> Result<Wal, Problem> {
    let (dir, flushed) = (home.dir.as_path(), open.from);
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
            let (keys, own) = (home.keys.of(frame.kind, &batch)?, origin(&home.replica));
            suspects.extend(recents.add(files, frame.kind, &keys, &batch, own)?);
            recovery.replayed += batch.num_rows() as u64;
            open.push(frame.kind, batch, frame.received_at);
        }
    }
    open.logs = paths;
    Wal::resume(&last, length)
}
