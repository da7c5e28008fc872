//! Secrets that this process makes itself: random bytes in a file that its owner alone can read.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use steersman_domain::{ErrorKind, Problem};

/// Random bytes that nobody else knows. Whoever prints them sees nothing.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret in a file; none where there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, Problem> {
        let read = |error: std::io::Error| Problem::io("read", path, &error);
        let permissions = match std::fs::metadata(path) {
            Ok(about) => about.permissions(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        if permissions.mode() & 0o007 != 0 {
            return Err(Problem::new(
                ErrorKind::Forbidden,
                format!("everybody can read `{}`", path.display()),
            )
            .hint(format!("`chmod 600 {}`", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let secret = Self::parse(text.trim()).ok_or_else(|| {
            Problem::new(ErrorKind::Corrupt, format!("`{}` does not hold a secret", path.display()))
                .hint("64 hexadecimal digits; restore it from a backup")
        })?;
        Ok(Some(secret))
    }

    /// The secret in a file, which is made if it is not there; of several who make it at once, all get the same one.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        if let Some(secret) = Self::read(path)? {
            return Ok(secret);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Problem::internal(format!("no random numbers: {error}")))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let partial = path.with_added_extension(format!("{}.partial", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            // A link, unlike a renaming, replaces nothing.
            let made = std::fs::hard_link(&partial, path);
            std::fs::remove_file(&partial)?;
            match made {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                made => made,
            }
        };
        write().map_err(|error| Problem::io("write", path, &error))?;
        Self::read(path)?.ok_or_else(|| Problem::internal(format!("`{}` is gone again", path.display())))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| digit.to_digit(16))
            .map(|digit| digit.map(|d| d as u8))
            .collect::<Option<_>>()?;
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Some(Self(bytes))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
