//! What is handed on of each call, and the queue that it waits in: bounded in calls and in bytes, never waited for.

use crate::fault::Fault;
use crate::protocol::Protocol;
use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use steersman_domain::record::Arm;
use steersman_domain::{Digest, ModelName, Version};

/// So much of the end of a stream of events is kept where all is too much: usage is told last.
const TAIL: usize = 16 << 10;

/// One call as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// The model.
    pub model: ModelName,
    /// How it was asked.
    pub protocol: Protocol,
    /// Which arm answered.
    pub arm: Arm,
    /// The version that was asked.
    pub version: Version,
    /// The probability with which the request was given to the candidate; 0 where chance did not decide.
    pub weight: f64,
    /// What the split was by, hashed.
    pub unit: u64,
    /// The caller's id for the request, or a fresh one.
    pub request_id: String,
    /// When the server was asked.
    pub began: Instant,
    /// How long its answer took to begin.
    pub first_byte: Option<Duration>,
    /// How long its whole answer took.
    pub latency: Duration,
    /// Its status; 0 when there was no whole answer, 499 when the caller went away before it was whole.
    pub status: u16,
    /// Why there was no whole answer.
    pub fault: Option<Fault>,
    /// What was asked.
    pub request: Payload,
    /// What was answered.
    pub response: Payload,
    /// Keeps count of the bytes that wait.
    pub(crate) room: Room,
}

/// A body, or what is known of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payload {
    /// The bytes; empty where there are more than are kept, except that of a stream of events beginning and end stay.
    pub bytes: Bytes,
    /// How many there were.
    pub length: u64,
    /// The SHA-256 of all bytes, where `bytes` is not all.
    pub digest: Option<Digest>,
    /// How many bytes of JSON come before binary tensors.
    pub json_length: Option<usize>,
    /// `Content-Encoding`.
    pub packing: Option<String>,
}

impl Payload {
    /// Whether `bytes` is all.
    pub fn whole(&self) -> bool {
        self.digest.is_none()
    }

    /// What its headers say about it.
    pub(crate) fn describe(&mut self, headers: &HeaderMap) {
        let text = |name: header::HeaderName| crate::headers::text(headers, name);
        self.json_length = text(crate::headers::JSON_LENGTH).and_then(|text| text.trim().parse().ok());
        self.packing = text(header::CONTENT_ENCODING).filter(|kind| *kind != "identity").map(str::to_owned);
    }
}

/// A body as it passes by.
#[derive(Debug)]
pub(crate) struct Taken {
    limit: usize,
    /// Beginning and end stay where all is too much.
    ends: bool,
    kept: Vec<u8>,
    tail: VecDeque<u8>,
    length: u64,
    hash: Option<Box<Sha256>>,
}

impl Taken {
    pub(crate) fn new(limit: usize, ends: bool) -> Self {
        Self { limit, ends, kept: Vec::new(), tail: VecDeque::new(), length: 0, hash: None }
    }

    pub(crate) fn take(&mut self, data: &[u8]) {
        self.length += data.len() as u64;
        if self.hash.is_none() && self.kept.len() + data.len() <= self.limit {
            if self.kept.is_empty() {
                self.kept.reserve_exact(data.len());
            }
            return self.kept.extend_from_slice(data);
        }
        if self.hash.is_none() {
            self.hash = Some(Box::new(Sha256::new_with_prefix(&self.kept)));
            if !self.ends {
                self.kept = Vec::new();
            }
        }
        if let Some(hash) = &mut self.hash {
            hash.update(data);
        }
        if self.ends {
            let room = self.limit - self.kept.len();
            let (beginning, rest) = data.split_at(room.min(data.len()));
            self.kept.extend_from_slice(beginning);
            self.tail.extend(rest.iter().skip(rest.len().saturating_sub(TAIL)));
            let surplus = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..surplus);
        }
    }

    /// How many bytes there were so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// How many of them are held.
    pub(crate) fn held(&self) -> usize {
        self.kept.len() + self.tail.len()
    }

    /// The body is over, or no more of it will come.
    pub(crate) fn finish(&mut self) -> Payload {
        let digest = self.hash.take().map(|hash| Digest::from_bytes(&hash.finalize().into()));
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend(self.tail.drain(..));
        Payload { bytes: kept.into(), length: self.length, digest, json_length: None, packing: None }
    }
}

/// Bytes that wait to be handed on, of all captures together.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicU64);

impl Waiting {
    /// Room for so many bytes, if there is.
    pub(crate) fn room(self: &Arc<Self>, bytes: u64, most: u64) -> Option<Room> {
        let within = |waiting: u64| (waiting + bytes <= most).then_some(waiting + bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Room(Some((self.clone(), bytes))))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Room in the queue, given back when it is dropped. A copy of a capture takes none.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<(Arc<Waiting>, u64)>);

impl Clone for Room {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((waiting, bytes)) = self.0.take() {
            waiting.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_known_by_length_and_digest() {
        let mut small = Taken::new(8, false);
        small.take(b"1234");
        small.take(b"5678");
        let payload = small.finish();
        assert_eq!((payload.whole(), &*payload.bytes), (true, &b"12345678"[..]));
        let mut large = Taken::new(8, false);
        large.take(b"1234");
        large.take(b"567890");
        let payload = large.finish();
        assert_eq!((payload.length, payload.bytes.len()), (10, 0));
        assert_eq!(payload.digest, Some(Digest::of(b"1234567890")));
        let mut stream = Taken::new(8, true);
        (0..100_000u32).for_each(|number| stream.take(format!("{number},").as_bytes()));
        let payload = stream.finish();
        assert!(payload.bytes.starts_with(b"0,1,2,3,") && payload.bytes.ends_with(b",99999,"));
        assert_eq!(payload.bytes.len(), 8 + TAIL);
    }
}
