//! Where the files of segments lie: a folder, or a bucket with a bounded folder of copies before it.
//!
//! Files never change under a name; a file that no catalogue names is garbage.

use super::bucket::{Bucket, BucketOptions};
use super::segment::sync_dir;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use steersman_domain::Problem;

/// Where segments lie.
#[derive(Debug)]
pub enum Storage {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Box<Bucket>),
}

/// A file that can be read, and stays for as long as this is kept.
#[derive(Debug, Clone)]
pub struct Held {
    /// Where it is.
    pub path: PathBuf,
    /// Keeps a copy from being removed.
    pub(super) _pin: Option<Arc<()>>,
}

impl Storage {
    /// In this folder.
    pub fn folder(dir: &Path) -> Self {
        Self::Folder(dir.to_owned())
    }

    /// In a bucket of a server that speaks S3.
    pub fn bucket(options: BucketOptions) -> Result<Self, Problem> {
        Bucket::open(options).map(|bucket| Self::Bucket(Box::new(bucket)))
    }

    /// A place on the local disk for a file that is being made; [`Storage::publish`] takes it from there.
    pub(crate) fn draft(&self, name: &str) -> Result<PathBuf, Problem> {
        let path = match self {
            Self::Folder(dir) => dir.join(name),
            Self::Bucket(bucket) => bucket.copy(name),
        };
        let dir = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        Ok(path)
    }

    /// Puts a draft, which is on disk, under its name; it is there when this returns.
    pub(crate) fn publish(&self, draft: &Path, name: &str) -> Result<(), Problem> {
        match self {
            Self::Folder(dir) => {
                let path = dir.join(name);
                std::fs::rename(draft, &path).map_err(|error| Problem::io("rename", draft, &error))?;
                sync_dir(path.parent().unwrap_or(dir))
            }
            Self::Bucket(bucket) => bucket.put(draft, name),
        }
    }

    /// A file for reading.
    pub(crate) fn open(&self, name: &str) -> Result<Held, Problem> {
        match self {
            Self::Folder(dir) => Ok(Held { path: dir.join(name), _pin: None }),
            Self::Bucket(bucket) => bucket.get(name),
        }
    }

    /// Removes files, and local copies of them; those that are gone already do not matter.
    pub(crate) fn remove(&self, names: &[String]) -> Result<(), Problem> {
        match self {
            Self::Folder(dir) => names.iter().try_for_each(|name| remove_file(&dir.join(name))),
            Self::Bucket(bucket) => bucket.remove(names),
        }
    }

    /// Forgets local copies of files below `folder` for which `named` is false.
    pub(crate) fn forget_copies(&self, folder: &str, named: &dyn Fn(&str) -> bool) -> Result<(), Problem> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Bucket(bucket) => bucket.forget_copies(folder, named),
        }
    }

    /// Parquet files and drafts below `folder` that were written before `before`.
    pub(crate) fn older(&self, folder: &str, before: SystemTime) -> Result<Vec<String>, Problem> {
        match self {
            Self::Folder(dir) => {
                let mut found = Vec::new();
                walk(&dir.join(folder), &mut |path, written| {
                    if written < before
                        && let Ok(name) = path.strip_prefix(dir)
                    {
                        found.push(name.to_string_lossy().into_owned());
                    }
                })?;
                Ok(found)
            }
            Self::Bucket(bucket) => bucket.older(folder, before),
        }
    }
}

/// Removes a file; one that is not there does not matter.
pub(super) fn remove_file(path: &Path) -> Result<(), Problem> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Problem::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Shows all Parquet files and drafts in a folder and those below, with the time at which each was written.
pub(super) fn walk(dir: &Path, see: &mut dyn FnMut(&Path, SystemTime)) -> Result<(), Problem> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Problem::io("list", dir, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| Problem::io("list", dir, &error))?;
        let path = entry.path();
        // A file may be gone by now.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            walk(&path, see)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet" || extension == "partial") {
            see(
                &path,
                about.modified().unwrap_or(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX))),
            );
        }
    }
    Ok(())
}
