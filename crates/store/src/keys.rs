//! The key that signs checkpoints: made once, readable by its owner alone, never written anywhere else. All replicas of a
//! deployment have the same.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use steersman_domain::{ErrorKind, Problem};
use steersman_ledger::Signer;

pub(crate) const FOLDER: &str = "keys";
pub(crate) const PUBLIC: &str = "ledger.vkey";
const SECRET: &str = "ledger.key";

/// The signer of the ledger: the key in `file`, by default in the folder `dir`. A ledger that was `begun` goes on with the
/// key it was begun with; none is made for it.
pub(crate) fn signer(dir: &Path, file: Option<&Path>, begun: bool) -> Result<Signer, Problem> {
    let keys = dir.join(FOLDER);
    std::fs::create_dir_all(&keys).map_err(|error| Problem::io("make the folder", &keys, &error))?;
    let path = file.map_or_else(|| keys.join(SECRET), Path::to_owned);
    if !path.exists() {
        if begun {
            let message = format!("the ledger was begun with a key, and `{}` is not there", path.display());
            return Err(Problem::not_found(message).field("store.key_file").hint(
                "copy the file from the replica or the backup that has it; without it no checkpoint can be signed",
            ));
        }
        make(&path)?;
    }
    let read = |error: std::io::Error| Problem::io("read", &path, &error);
    if std::fs::metadata(&path).map_err(read)?.permissions().mode() & 0o007 != 0 {
        return Err(Problem::new(ErrorKind::Forbidden, format!("everybody can read `{}`", path.display()))
            .hint(format!("`chmod 600 {}`", path.display())));
    }
    let text = std::fs::read_to_string(&path).map_err(read)?;
    let unreadable = || {
        Problem::new(ErrorKind::Corrupt, format!("`{}` does not hold a name and a key", path.display()))
            .hint("restore it from a backup; without it no checkpoint can be signed")
    };
    let (name, secret) = text.trim().split_once(' ').ok_or_else(unreadable)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(secret, &mut bytes).map_err(|_| unreadable())?;
    let signer = Signer::new(name, &bytes);
    let public = keys.join(PUBLIC);
    let wanted = format!("{}\n", signer.verifier_key());
    if std::fs::read_to_string(&public).ok().as_ref() != Some(&wanted) {
        std::fs::write(&public, wanted).map_err(|error| Problem::io("write", &public, &error))?;
    }
    Ok(signer)
}

/// Makes a key; of several processes that do so at once, all take the same one.
fn make(path: &Path) -> Result<(), Problem> {
    let (mut id, mut secret) = ([0; 6], [0; 32]);
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| Problem::internal(format!("no random numbers: {error}")))
    };
    random(&mut id)?;
    random(&mut secret)?;
    let id = hex::encode(id);
    let partial = path.with_added_extension(format!("{id}.partial"));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        writeln!(file, "steersman.{id} {}", hex::encode(secret))?;
        file.sync_all()?;
        // A link, unlike a renaming, replaces nothing.
        let made = std::fs::hard_link(&partial, path);
        std::fs::remove_file(&partial)?;
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    };
    write().map_err(|error| Problem::io("write", path, &error))
}
