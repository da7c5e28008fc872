//! The key that signs checkpoints: made once, readable by its owner alone, never written anywhere else.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use steersman_domain::{ErrorKind, Problem};
use steersman_ledger::Signer;

const SECRET: &str = "ledger.key";
pub(crate) const PUBLIC: &str = "ledger.vkey";

/// The signer of this folder's ledger.
pub(crate) fn load_or_make(dir: &Path) -> Result<Signer, Problem> {
    let keys = dir.join("keys");
    std::fs::create_dir_all(&keys).map_err(|error| Problem::io("make the folder", &keys, &error))?;
    let path = keys.join(SECRET);
    if !path.exists() {
        make(&keys)?;
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Problem::io("read", &path, &error))?;
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

fn make(keys: &Path) -> Result<(), Problem> {
    let (mut id, mut secret) = ([0; 6], [0; 32]);
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| Problem::internal(format!("no random numbers: {error}")))
    };
    random(&mut id)?;
    random(&mut secret)?;
    let path = keys.join(SECRET);
    let partial = keys.join("ledger.key.partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        writeln!(file, "steersman.{} {}", hex::encode(id), hex::encode(secret))?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)
    };
    write().map_err(|error| Problem::io("write", &path, &error))
}
