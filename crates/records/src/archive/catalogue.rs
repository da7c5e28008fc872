//! The catalogue: which segments there are. A segment that it does not name does not exist, whatever files there are.
//!
//! One change is one transaction: readers see all of it or nothing. The server keeps the catalogue in its database
//! ([`Catalogue`] is implemented there); [`FileCatalogue`] keeps it in a file beside the log, for one process alone.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use steersman_domain::{ErrorKind, ModelName, Problem};

use super::segment::{Segment, sync_dir};

/// What a catalogue says of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Segments of all replicas, by replica and position.
    pub segments: Vec<Segment>,
    /// For each replica the first position that it has put into no segment yet.
    pub flushed: BTreeMap<String, u64>,
}

/// What is to be different, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Segments that come. One that is there already changes nothing.
    pub add: Vec<Segment>,
    /// Objects of segments that go. If one of them is not there, somebody else was faster, and nothing changes.
    pub remove: Vec<String>,
    /// A replica, and the first position that it has put into no segment yet.
    pub flushed: Option<(String, u64)>,
}

/// Where it is written down which segments there are.
pub trait Catalogue: std::fmt::Debug + Send + Sync {
    /// All segments of a model at one moment.
    fn list(&self, model: &ModelName) -> Result<Listing, Problem>;

    /// Changes what there is of a model, in one transaction that is on disk when this returns; [`ErrorKind::Conflict`]
    /// if a segment that is to go is gone.
    fn change(&self, model: &ModelName, change: &Change) -> Result<(), Problem>;
}

/// A catalogue in one file for each model.
#[derive(Debug)]
pub struct FileCatalogue {
    dir: PathBuf,
    writing: Mutex<()>,
}

impl FileCatalogue {
    /// In this folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), writing: Mutex::new(()) }
    }

    fn path(&self, model: &ModelName) -> PathBuf {
        self.dir.join(model.as_str()).join("catalogue.json")
    }
}

impl Catalogue for FileCatalogue {
    fn list(&self, model: &ModelName) -> Result<Listing, Problem> {
        let path = self.path(model);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(Problem::io("read", &path, &error)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Problem::new(ErrorKind::Corrupt, format!("`{}`: {error}", path.display())))
    }

    fn change(&self, model: &ModelName, change: &Change) -> Result<(), Problem> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listing = self.list(model)?;
        listing.apply(change)?;
        let (path, bytes) = (self.path(model), serde_json::to_vec_pretty(&listing));
        let bytes = bytes.map_err(|error| Problem::internal(error.to_string()))?;
        let partial = path.with_added_extension("partial");
        let dir = path.parent().unwrap_or(&self.dir);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(dir)?;
            let mut file = File::create(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|error| Problem::io("write", &path, &error))?;
        sync_dir(dir)
    }
}

impl Listing {
    /// What it is after a change.
    fn apply(&mut self, change: &Change) -> Result<(), Problem> {
        for object in &change.remove {
            let place = self.segments.iter().position(|segment| segment.object == *object);
            let place = place.ok_or_else(|| gone(object))?;
            self.segments.remove(place);
        }
        for segment in &change.add {
            if !self.segments.iter().any(|known| known.object == segment.object) {
                self.segments.push(segment.clone());
            }
        }
        self.segments.sort_by(|a, b| (&a.replica, a.from).cmp(&(&b.replica, b.from)));
        if let Some((replica, to)) = &change.flushed {
            self.flushed.insert(replica.clone(), *to);
        }
        Ok(())
    }
}

/// Somebody else was faster.
pub fn gone(object: &str) -> Problem {
    Problem::conflict(format!("the segment `{object}` is not in the catalogue any more"))
}
