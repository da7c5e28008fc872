//! Signed roots: C2SP `tlog-checkpoint` in a `signed-note` with Ed25519 (signature type 1).

use crate::tree::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use steersman_domain::{ErrorKind, Problem};

const ED25519: u8 = 1;

/// What a checkpoint says: the log of this origin has this size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Signs checkpoints.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl Signer {
    /// A signer with this name and these 32 secret bytes.
    pub fn new(name: impl Into<String>, secret: &[u8; 32]) -> Self {
        Self { name: name.into(), key: SigningKey::from_bytes(secret) }
    }

    /// What others need to check its signatures: `name+hash+key`.
    pub fn verifier_key(&self) -> String {
        let public = typed_key(&self.key.verifying_key());
        format!("{}+{}+{}", self.name, hex::encode(key_hash(&self.name, &public)), BASE64.encode(&public))
    }

    /// A checkpoint over `size` leaves with this root.
    pub fn sign(&self, size: u64, root: &Hash) -> String {
        let body = format!("{}\n{size}\n{}\n", self.name, BASE64.encode(root));
        let public = typed_key(&self.key.verifying_key());
        let mut signature = key_hash(&self.name, &public).to_vec();
        signature.extend(self.key.sign(body.as_bytes()).to_bytes());
        format!("{body}\n\u{2014} {} {}\n", self.name, BASE64.encode(signature))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Checks checkpoints of one log.
#[derive(Debug, Clone)]
pub struct Verifier {
    name: String,
    hash: [u8; 4],
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a `name+hash+key`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem::new(ErrorKind::Corrupt, format!("the verifier key {what}"));
        // Base64 holds `+`, names do not.
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("is not of the form name+hash+key"));
        };
        let public = BASE64.decode(key).map_err(|_| wrong("is not base64"))?;
        let bytes = public.strip_prefix(&[ED25519]).and_then(|bytes| <&[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| wrong("is not an Ed25519 key"))?;
        let expected = key_hash(name, &public);
        if hex::encode(expected) != hash {
            return Err(wrong("does not match its hash"));
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| wrong("is not an Ed25519 key"))?;
        Ok(Self { name: name.to_owned(), hash: expected, key })
    }

    /// What the checkpoint says, if the log signed it.
    pub fn verify(&self, text: &str) -> Result<Checkpoint, Problem> {
        let wrong = |what: &str| Problem::new(ErrorKind::Corrupt, format!("the checkpoint {what}"));
        let (body, signatures) = text.split_once("\n\n").ok_or_else(|| wrong("has no signature"))?;
        let body = format!("{body}\n");
        let prefix = format!("\u{2014} {} ", self.name);
        let signature = signatures
            .strip_suffix('\n')
            .into_iter()
            .flat_map(|lines| lines.split('\n'))
            .find_map(|line| BASE64.decode(line.strip_prefix(&prefix)?).ok())
            .ok_or_else(|| wrong("is not signed by this log's key"))?;
        let signature =
            signature.strip_prefix(&self.hash).ok_or_else(|| wrong("is signed by another key"))?;
        let signature =
            Signature::from_slice(signature).map_err(|_| wrong("has a signature of wrong length"))?;
        self.key.verify_strict(body.as_bytes(), &signature).map_err(|_| wrong("has a wrong signature"))?;
        let mut lines = body.lines();
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let size = size.and_then(|size| size.parse().ok()).ok_or_else(|| wrong("has no size"))?;
        let root = root.and_then(|root| BASE64.decode(root).ok()).and_then(|root| Hash::try_from(root).ok());
        let origin =
            origin.filter(|origin| *origin == self.name).ok_or_else(|| wrong("is of another log"))?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root: root.ok_or_else(|| wrong("has no root"))? })
    }
}

fn typed_key(key: &VerifyingKey) -> Vec<u8> {
    std::iter::once(ED25519).chain(key.to_bytes()).collect()
}

fn key_hash(name: &str, typed_key: &[u8]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(typed_key).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_refused() {
        let signer = Signer::new("steersman.test", &[7; 32]);
        let verifier = Verifier::parse(&signer.verifier_key()).unwrap();
        let text = signer.sign(42, &[9; 32]);
        assert_eq!(verifier.verify(&text).unwrap().size, 42);
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(verifier.verify(&changed).is_err(), "byte {position}");
            }
        }
        let other = Verifier::parse(&Signer::new("steersman.test", &[8; 32]).verifier_key()).unwrap();
        assert!(other.verify(&text).is_err());
    }
}
