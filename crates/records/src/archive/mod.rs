//! What no longer changes: segments, the catalogue that names them, and where their files lie.

mod bucket;
mod catalogue;
mod segment;
mod storage;

pub use bucket::{Bucket, BucketOptions};
pub use catalogue::{Catalogue, Change, FileCatalogue, Listing, gone};
pub use segment::Segment;
pub use storage::{Held, Storage};

pub(crate) use segment::{
    Content, parquet_batches, parquet_problem, read_parquet, read_records, sync_dir, write_parquet,
    write_segment,
};

use std::path::Path;
use std::sync::Arc;
use steersman_domain::Problem;

/// The segments of all models.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where their files lie.
    pub storage: Arc<Storage>,
    /// Which there are.
    pub catalogue: Arc<dyn Catalogue>,
}

impl Archive {
    /// In a folder that one process owns, with its catalogue in it.
    pub fn folder(dir: &Path) -> Self {
        let catalogue = FileCatalogue::new(dir);
        Self { storage: Arc::new(Storage::folder(dir)), catalogue: Arc::new(catalogue) }
    }
}

/// The name of the replica that a folder belongs to, made up when it is asked for first.
pub(crate) fn replica(dir: &Path) -> Result<String, Problem> {
    use std::hash::BuildHasher as _;
    let path = dir.join("replica");
    match std::fs::read_to_string(&path) {
        Ok(name) if name.len() == 16 && name.chars().all(|letter| letter.is_ascii_hexdigit()) => {
            return Ok(name);
        }
        Ok(_) => {
            let problem = Problem::new(steersman_domain::ErrorKind::Corrupt, "not the name of a replica");
            return Err(problem.field(path.display().to_string()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Problem::io("read", &path, &error)),
    }
    let name = format!("{:016x}", std::hash::RandomState::new().hash_one("replica"));
    let partial = path.with_added_extension("partial");
    let write = std::fs::write(&partial, &name)
        .and_then(|()| std::fs::File::open(&partial)?.sync_all())
        .and_then(|()| std::fs::rename(&partial, &path));
    write.map_err(|error| Problem::io("write", &path, &error))?;
    sync_dir(dir)?;
    Ok(name)
}
