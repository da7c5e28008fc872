//! Artefacts: what a training leaves behind, named by the digest of its files.

use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use steersman_domain::{Digest, Problem};

/// The digest over the files of a folder: their paths and bytes, in order of path.
pub fn digest(folder: &Path) -> Result<Digest, Problem> {
    let files = files(folder)?;
    if files.is_empty() {
        return Err(Problem::invalid(format!("`{}` holds no file", folder.display()))
            .hint("the program must leave its model in the folder given as `{artifact}`"));
    }
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        let mut content = Sha256::new();
        let mut reader = File::open(&file).map_err(|error| Problem::io("open", &file, &error))?;
        io::copy(&mut reader, &mut HashWriter(&mut content))
            .map_err(|error| Problem::io("read", &file, &error))?;
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name);
        hasher.update(content.finalize());
    }
    Ok(Digest::from_bytes(&hasher.finalize().into()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files below a folder in order of path. Links are refused: they could lead anywhere.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| Problem::io("list", &folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Problem::io("list", &folder, &error))?;
            let kind = entry.file_type().map_err(|error| Problem::io("look at", &entry.path(), &error))?;
            if kind.is_symlink() {
                return Err(Problem::invalid(format!("`{}` is a link", entry.path().display()))
                    .hint("an artefact holds files and folders alone"));
            }
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file or a folder to the folder `to`, which is then there whole or not at all. What was there is replaced.
pub fn import(from: &Path, to: &Path) -> Result<(), Problem> {
    let kind = fs::metadata(from).map_err(|error| Problem::io("read", from, &error))?;
    let partial = to.with_added_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| Problem::io("empty", &partial, &error))?;
    }
    fs::create_dir_all(&partial).map_err(|error| Problem::io("make the folder", &partial, &error))?;
    let (root, sources) = match kind.is_dir() {
        true => (from.to_owned(), files(from)?),
        false => (from.parent().map(Path::to_owned).unwrap_or_default(), vec![from.to_owned()]),
    };
    for source in sources {
        copy(&source, &partial.join(source.strip_prefix(&root).unwrap_or(&source)))?;
    }
    replace(&partial, to)
}

/// Copies one file, which is then there whole or not at all.
pub fn import_file(from: &Path, to: &Path) -> Result<(), Problem> {
    let partial = to.with_added_extension("partial");
    copy(from, &partial)?;
    fs::rename(&partial, to).map_err(|error| Problem::io("rename", &partial, &error))
}

fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Problem::io("make the folder", folder, &error))?;
    }
    fs::copy(from, to).map_err(|error| Problem::io("copy", from, &error))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| Problem::io("sync", to, &error))
}

/// Puts a finished folder in its place.
pub(crate) fn replace(partial: &Path, to: &Path) -> Result<(), Problem> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(|error| Problem::io("replace", to, &error))?;
    }
    fs::rename(partial, to).map_err(|error| Problem::io("rename", partial, &error))
}
