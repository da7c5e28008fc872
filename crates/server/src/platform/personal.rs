//! Personal values: the secret that they are hashed with, and the copy of a reference that is kept without them.
//!
//! All replicas need the same secret, or one value would count as two. Beside the artifacts, which they share, lies a mark
//! that tells one secret from another and says nothing about it: a replica with another secret, or one that lost it, is
//! refused instead of going on with other hashes.

use super::{Platform, blocking};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::{ErrorKind, ModelSpec, Problem};
use steersman_records::personal::Personal;
use steersman_records::reference::{Reference, read_reference};
use steersman_records::secret::Secret;

/// The mark's file among the artifacts.
const MARK: &str = "personal.mark";

/// Where the secret lies, and the mark.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) secret: PathBuf,
    pub(super) artifacts: PathBuf,
}

impl Place {
    /// What becomes of a model's personal values; none where none are declared. The secret is made when it is needed first.
    fn personal(&self, spec: &ModelSpec) -> Result<Option<Arc<Personal>>, Problem> {
        if spec.data.personal.is_empty() {
            return Ok(None);
        }
        let secret = self.secret()?;
        Personal::new(&spec.data.personal, &secret).map(|personal| Some(Arc::new(personal)))
    }

    fn secret(&self) -> Result<Secret, Problem> {
        let mark = self.artifacts.join(MARK);
        let known = match std::fs::read_to_string(&mark) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Problem::io("read", &mark, &error)),
        };
        let path = self.secret.display();
        let Some(known) = known else {
            for folder in [self.secret.parent(), Some(self.artifacts.as_path())].into_iter().flatten() {
                std::fs::create_dir_all(folder)
                    .map_err(|error| Problem::io("make the folder", folder, &error))?;
            }
            let secret = Secret::open(&self.secret)?;
            // Of several replicas that do this at once, one is first; the others find its mark.
            let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&mark);
            return match written.and_then(|mut file| {
                let text = Personal::mark(&secret).map_err(std::io::Error::other)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            }) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.secret(),
                Err(error) => Err(Problem::io("write", &mark, &error)),
                Ok(()) => Ok(secret),
            };
        };
        let secret = Secret::read(&self.secret)?.ok_or_else(|| {
            let message = format!("personal values were hashed with a secret, and `{path}` is not there");
            Problem::not_found(message).field("records.personal_key_file").hint(
                "copy the file from the replica or the backup that has it; with another secret the same value gets another hash",
            )
        })?;
        if Personal::mark(&secret)? != known {
            let message = format!("`{path}` is not the secret that personal values were hashed with");
            return Err(Problem::new(ErrorKind::Conflict, message)
                .field("records.personal_key_file")
                .hint("all replicas need the same file"));
        }
        Ok(secret)
    }
}

/// A reference as it is kept.
pub(super) struct Kept {
    pub(super) reference: Reference,
    pub(super) personal: Option<Arc<Personal>>,
    /// The file that is to be copied.
    pub(super) source: PathBuf,
    /// Removed at the end.
    draft: Option<PathBuf>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            let _ = std::fs::remove_file(draft);
        }
    }
}

impl Platform {
    /// What becomes of a model's personal values.
    pub(super) async fn personal(&self, spec: &ModelSpec) -> Result<Option<Arc<Personal>>, Problem> {
        let (place, spec) = (self.inner.personal.clone(), spec.clone());
        blocking(move || place.personal(&spec)).await
    }

    /// Reads the reference that a person names. Where columns are personal, what is kept of it is a copy with hashes.
    pub(super) async fn read_named(
        &self,
        path: &Path,
        spec: &ModelSpec,
        kept: &Path,
    ) -> Result<Kept, Problem> {
        let (place, spec, path) = (self.inner.personal.clone(), spec.clone(), path.to_owned());
        let draft = kept.with_added_extension("draft.parquet");
        blocking(move || {
            // Also where a copy is kept: errors name lines of the file that a person knows.
            let reference = read_reference(&path, &spec)?;
            let Some(personal) = place.personal(&spec)? else {
                return Ok(Kept { reference, personal: None, source: path, draft: None });
            };
            personal.copy_reference(&path, &draft)?;
            let (source, draft) = (draft.clone(), Some(draft));
            let mut kept = Kept { reference, personal: Some(personal), source, draft };
            kept.reference = read_reference(&kept.source, &spec)?;
            Ok(kept)
        })
        .await
    }
}
