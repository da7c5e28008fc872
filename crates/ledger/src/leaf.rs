//! An entry as bytes: canonical JSON (RFC 8785), so that the same entry always has the same hash.

use steersman_domain::{Entry, ErrorKind, Problem};

/// The largest leaf that `tlog-tiles` can hold; anything bigger is kept elsewhere and named by its digest.
pub const LARGEST: usize = 65_535;

/// The bytes of an entry.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, Problem> {
    let bytes = serde_json_canonicalizer::to_vec(entry)
        .map_err(|error| Problem::internal(format!("entry {} has no canonical form: {error}", entry.seq)))?;
    if bytes.len() > LARGEST {
        let message =
            format!("a fact `{}` of {} bytes; at most {LARGEST} fit", entry.fact.kind(), bytes.len());
        return Err(Problem::new(ErrorKind::TooLarge, message).hint("shorten the spec or the text it holds"));
    }
    Ok(bytes)
}

/// The entry of these bytes. Bytes that are not the canonical form of what they say are refused.
pub fn decode(seq: u64, bytes: &[u8]) -> Result<Entry, Problem> {
    let corrupt =
        |what: String| Problem::new(ErrorKind::Corrupt, format!("entry {seq} of the ledger {what}"));
    let entry: Entry = serde_json::from_slice(bytes)
        .map_err(|error| corrupt(format!("cannot be read as a fact: {error}")))?;
    if entry.seq != seq {
        return Err(corrupt(format!("says that it is entry {}", entry.seq)));
    }
    if encode(&entry)? != bytes {
        return Err(corrupt("is not in canonical form".to_owned()));
    }
    Ok(entry)
}
