//! The keys of records that may be there twice, because two replicas took them in: written down, so that they need not be
//! looked for among all ids at every start.

use crate::archive::sync_dir;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use steersman_domain::Problem;

const NAME: &str = "doubles";

/// Those that were written down; none if what is there is damaged.
pub(in crate::log) fn read_doubles(dir: &Path) -> Result<Option<HashSet<u128>>, Problem> {
    let path = dir.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some(HashSet::new())),
        Err(error) => return Err(Problem::io("read", &path, &error)),
    };
    let Some((keys, _)) =
        bytes.split_last_chunk::<4>().filter(|(keys, sum)| crc32c::crc32c(keys).to_le_bytes() == **sum)
    else {
        return Ok(None);
    };
    Ok(Some(keys.chunks_exact(16).map(super::pages::key).collect()))
}

/// Writes them down.
pub(in crate::log) fn write_doubles(dir: &Path, keys: &HashSet<u128>) -> Result<(), Problem> {
    let path = dir.join(NAME);
    if keys.is_empty() && !path.exists() {
        return Ok(());
    }
    let sorted: BTreeSet<u128> = keys.iter().copied().collect();
    let mut bytes: Vec<u8> = sorted.iter().flat_map(|key| key.to_be_bytes()).collect();
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    let partial = path.with_added_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)
    };
    write().map_err(|error| Problem::io("write", &path, &error))?;
    sync_dir(dir)
}
