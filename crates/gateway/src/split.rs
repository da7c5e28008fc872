//! Which arm a request belongs to: a hash of its unit, salted by the rollout.

use crate::route::Audience;
use hyper::header::{COOKIE, HeaderMap, HeaderName};
use std::hash::{BuildHasher as _, Hasher as _};

/// A hash that is the same on every machine and in every build: FNV-1a over salt, a separator and key, then the
/// finaliser of MurmurHash3, which spreads each bit over all others.
///
/// ```
/// use steersman_gateway::hash64;
/// assert_eq!(hash64("rol-1", "customer-7"), hash64("rol-1", "customer-7"));
/// assert_ne!(hash64("rol-1", "customer-7"), hash64("rol-2", "customer-7"));
/// ```
pub fn hash64(salt: &str, key: &str) -> u64 {
    let bytes = salt.bytes().chain([0xff]).chain(key.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Whether a unit is on the candidate's side at this weight. Nested: a higher weight keeps all who were there.
pub(crate) fn on_candidate(salt: &str, key: &str, weight: f64) -> bool {
    // 53 bits are what a double holds exactly.
    let place = (hash64(salt, key) >> 11) as f64 / (1u64 << 53) as f64;
    place < weight
}

/// A number that differs from process to process.
pub(crate) fn process_nonce() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// A part of a request's head whose value tells callers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    Header(HeaderName),
    Cookie(String),
}

impl By {
    /// Reads `x-user` or `cookie:NAME`; what is neither tells nobody apart.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("cookie:") {
            Some(name) => Some(Self::Cookie(name.trim().to_owned())),
            None => text.parse().ok().map(Self::Header),
        }
    }

    pub(crate) fn value<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        match self {
            Self::Header(name) => headers.get(name)?.to_str().ok(),
            Self::Cookie(name) => headers
                .get_all(COOKIE)
                .iter()
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(known, value)| (known == name).then_some(value)),
        }
    }
}

/// An audience, ready to be asked.
#[derive(Debug)]
pub(crate) struct Members {
    by: Option<By>,
    values: Vec<String>,
}

impl Members {
    pub(crate) fn new(audience: &Audience) -> Self {
        Self { by: By::parse(&audience.by), values: audience.values.clone() }
    }

    pub(crate) fn include(&self, headers: &HeaderMap) -> bool {
        let value = self.by.as_ref().and_then(|by| by.value(headers));
        value.is_some_and(|value| self.values.is_empty() || self.values.iter().any(|known| known == value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_told_and_nested_and_independent_between_rollouts() {
        let on = |salt: &str, weight: f64| -> Vec<bool> {
            (0..20_000).map(|unit| on_candidate(salt, &unit.to_string(), weight)).collect()
        };
        let (tenth, half, other) = (on("a", 0.1), on("a", 0.5), on("b", 0.5));
        let share = |arm: &[bool]| arm.iter().filter(|&&on| on).count() as f64 / arm.len() as f64;
        assert!((share(&tenth) - 0.1).abs() < 0.01 && (share(&half) - 0.5).abs() < 0.015);
        assert!(tenth.iter().zip(&half).all(|(tenth, half)| !tenth || *half));
        let both: Vec<bool> = half.iter().zip(&other).map(|(a, b)| *a && *b).collect();
        assert!((share(&both) - 0.25).abs() < 0.015);
        assert!(on("a", 1.0).iter().all(|&on| on) && !on("a", 0.0).iter().any(|&on| on));
    }

    #[test]
    fn callers_are_told_apart_by_header_or_cookie() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", "ada".parse().unwrap());
        headers.append(COOKIE, "theme=dark; beta=yes".parse().unwrap());
        headers.append(COOKIE, "session=7".parse().unwrap());
        let value = |by: &str| By::parse(by).unwrap().value(&headers);
        assert_eq!((value("X-User"), value("cookie:beta")), (Some("ada"), Some("yes")));
        assert_eq!((value("cookie:session"), value("cookie:eta")), (Some("7"), None));
        let included = |values: &[&str]| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            Members::new(&Audience { by: "cookie:beta".to_owned(), values }).include(&headers)
        };
        assert!(included(&["yes"]) && included(&[]) && !included(&["no"]));
    }
}
