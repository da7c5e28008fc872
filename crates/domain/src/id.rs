//! Names and ids. Each is its own type, so that a run id cannot be passed where a rollout id is meant.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The name of a model: lower-case letters, digits, `-` and `_`, at most 63 characters, starting with a letter.
///
/// ```
/// use steersman_domain::ModelName;
/// assert!("flight-delay".parse::<ModelName>().is_ok());
/// assert!("../etc".parse::<ModelName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let starts_with_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if starts_with_letter && text.len() <= 63 && text.chars().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Problem::invalid(format!("`{text}` is not a model name"))
            .hint("use lower-case letters, digits, `-` and `_`, start with a letter, at most 63 characters"))
    }
}

impl TryFrom<String> for ModelName {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of a model, counted from 1 and written `v1`, `v2`, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl Version {
    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for Version {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        text.strip_prefix('v')
            .and_then(|digits| digits.parse().ok())
            .filter(|&number| number > 0)
            .map(Version)
            .ok_or_else(|| {
                Problem::invalid(format!("`{text}` is not a version")).hint("write it as `v1`, `v2`, ...")
            })
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The id of one record, unique within its model; chosen by the caller, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId(String);

impl RecordId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text may be an id, without taking it.
    pub fn check(text: &str) -> Result<(), Problem> {
        let plain = text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        if text.is_empty() || text.len() > 128 || (!plain && text.chars().any(char::is_control)) {
            let message = format!("record id of {} bytes", text.len());
            return Err(Problem::invalid(message)
                .field("id")
                .hint("an id has 1 to 128 bytes and no control characters"));
        }
        Ok(())
    }
}

impl TryFrom<String> for RecordId {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        Self::check(&text)?;
        Ok(Self(text))
    }
}

impl FromStr for RecordId {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::try_from(text.to_owned())
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> String {
        id.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest, written `sha256:<64 hex digits>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    ///
    /// ```
    /// use steersman_domain::Digest;
    /// assert!(Digest::of(b"").as_str().starts_with("sha256:e3b0c44298fc1c14"));
    /// ```
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(&Sha256::digest(bytes).into())
    }

    /// Wraps 32 bytes that a hasher gave.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// The whole text, `sha256:` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }
}

impl TryFrom<String> for Digest {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            return Ok(Self(text));
        }
        Err(Problem::invalid(format!("`{text}` is not a digest"))
            .hint("write it as `sha256:` and 64 hex digits"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Declares an id that Steersman itself gives: derived from what caused it, so that deciding the same thing twice
/// gives the same id.
macro_rules! derived_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id that belongs to these causes: the same causes always give the same id.
            pub fn derive(causes: &[&str]) -> Self {
                let mut hasher = Sha256::new();
                for cause in causes {
                    hasher.update((cause.len() as u64).to_be_bytes());
                    hasher.update(cause.as_bytes());
                }
                let digest: [u8; 32] = hasher.finalize().into();
                Self(format!("{}-{}", $prefix, hex::encode(&digest[..6])))
            }

            /// Takes an id that a person typed or a file names.
            pub fn parse(text: &str) -> Result<Self, Problem> {
                let tail = text.strip_prefix(concat!($prefix, "-")).unwrap_or_default();
                if tail.len() == 12 && tail.chars().all(|c| c.is_ascii_hexdigit()) {
                    return Ok(Self(text.to_owned()));
                }
                let shape = concat!("it looks like `", $prefix, "-0123456789ab`");
                Err(Problem::invalid(format!("`{text}` is not an id of this kind")).hint(shape))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

derived_id!(
    /// One thing that `decide` wants done.
    IntentId, "int");
derived_id!(
    /// A job: training or evaluation.
    RunId, "run");
derived_id!(
    /// One attempt to move traffic from champion to candidate.
    RolloutId, "rol");
derived_id!(
    /// One alarm of one monitor, from raised to cleared.
    SignalId, "sig");
derived_id!(
    /// Signals that belong together, from opened to resolved.
    IncidentId, "inc");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_every_cause_and_on_where_one_ends() {
        let id = RunId::derive(&["flight-delay", "12"]);
        assert_eq!(id, RunId::derive(&["flight-delay", "12"]));
        assert_ne!(id, RunId::derive(&["flight-delay1", "2"]));
        assert_eq!(RunId::parse(id.as_str()).unwrap(), id);
        assert!(RunId::parse("rol-0123456789ab").is_err());
    }

    #[test]
    fn names_that_would_leave_a_folder_are_refused() {
        for bad in ["", "A", "a/b", "..", "1a", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }
}
