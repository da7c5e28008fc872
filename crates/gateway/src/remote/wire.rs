//! What a gateway and its control plane say to each other: reports and orders as JSON; captured calls as a head in JSON
//! and the two bodies as they are, each with its length before it.

use crate::capture::{Capture, Payload, Room};
use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::route::{Counters, Route};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use steersman_domain::record::Arm;
use steersman_domain::{Digest, ModelName, Problem, Version};

/// The content type of captured calls.
pub const CAPTURES: &str = "application/vnd.steersman.captures";

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The revision of the orders that it has; the answer waits for a while for newer ones.
    pub revision: Option<u64>,
    /// What it counted.
    pub counters: BTreeMap<ModelName, Counters>,
    /// The salt of the rollout that it counts a candidate's requests of.
    pub rollouts: BTreeMap<ModelName, String>,
}

/// What a gateway is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// Rises with each change.
    pub revision: u64,
    /// How long the judge has been silent, in milliseconds.
    pub silence_ms: u64,
    /// How to split; a budget is the gateway's own part of it.
    pub routes: BTreeMap<ModelName, Route>,
    /// All models that there are: what is not among them is served no more, what has no route goes on as it is.
    pub models: Vec<ModelName>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    model: ModelName,
    protocol: Protocol,
    arm: Arm,
    version: Version,
    weight: f64,
    unit: u64,
    id: String,
    /// How long ago it began, in microseconds.
    ago: u64,
    first_byte: Option<u64>,
    latency: u64,
    status: u16,
    fault: Option<Fault>,
    request: BodyHead,
    response: BodyHead,
}

#[derive(Serialize, Deserialize)]
struct BodyHead {
    /// Bytes that follow.
    here: usize,
    length: u64,
    digest: Option<Digest>,
    json_length: Option<usize>,
    packing: Option<String>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn body_head(payload: &Payload) -> BodyHead {
    let Payload { bytes, length, digest, json_length, packing } = payload;
    BodyHead {
        here: bytes.len(),
        length: *length,
        digest: digest.clone(),
        json_length: *json_length,
        packing: packing.clone(),
    }
}

/// Captured calls as bytes.
pub fn encode(captures: &[Capture]) -> Bytes {
    let mut bytes = Vec::new();
    for capture in captures {
        let head = Head {
            model: capture.model.clone(),
            protocol: capture.protocol,
            arm: capture.arm,
            version: capture.version,
            weight: capture.weight,
            unit: capture.unit,
            id: capture.request_id.clone(),
            ago: micros(capture.began.elapsed()),
            first_byte: capture.first_byte.map(micros),
            latency: micros(capture.latency),
            status: capture.status,
            fault: capture.fault,
            request: body_head(&capture.request),
            response: body_head(&capture.response),
        };
        // These types always have a JSON form.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        bytes.extend(u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(head);
        bytes.extend_from_slice(&capture.request.bytes);
        bytes.extend_from_slice(&capture.response.bytes);
    }
    bytes.into()
}

/// Reads captured calls.
pub fn decode(mut bytes: Bytes) -> Result<Vec<Capture>, Problem> {
    let (mut captures, now) = (Vec::new(), Instant::now());
    while !bytes.is_empty() {
        let number = captures.len();
        let cut_off = || Problem::invalid("cut off").field(format!("call {number}"));
        let mut take =
            |length: usize| (length <= bytes.len()).then(|| bytes.split_to(length)).ok_or_else(cut_off);
        let length = take(4)?;
        let length = length.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
        let head = take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let head: Head = serde_json::from_slice(&head)
            .map_err(|error| Problem::invalid(error.to_string()).field(format!("call {number}")))?;
        let mut payload = |head: BodyHead| {
            let BodyHead { here, length, digest, json_length, packing } = head;
            Ok::<_, Problem>(Payload { bytes: take(here)?, length, digest, json_length, packing })
        };
        captures.push(Capture {
            model: head.model,
            protocol: head.protocol,
            arm: head.arm,
            version: head.version,
            weight: head.weight,
            unit: head.unit,
            request_id: head.id,
            began: now.checked_sub(Duration::from_micros(head.ago)).unwrap_or(now),
            first_byte: head.first_byte.map(Duration::from_micros),
            latency: Duration::from_micros(head.latency),
            status: head.status,
            fault: head.fault,
            request: payload(head.request)?,
            response: payload(head.response)?,
            room: Room::default(),
        });
    }
    Ok(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_come_back_as_they_were_and_what_is_cut_off_is_refused() {
        let body = |text: &'static str| Payload {
            bytes: Bytes::from_static(text.as_bytes()),
            length: text.len() as u64,
            ..Payload::default()
        };
        let capture = Capture {
            model: "m".parse().unwrap(),
            protocol: Protocol::V2,
            arm: Arm::Candidate,
            version: Version(2),
            weight: 0.1,
            unit: u64::MAX,
            request_id: "r1".to_owned(),
            began: Instant::now(),
            first_byte: Some(Duration::from_micros(7)),
            latency: Duration::from_micros(9),
            status: 200,
            fault: None,
            request: body("asked"),
            response: Payload { json_length: Some(3), packing: Some("gzip".to_owned()), ..body("answered") },
            room: Room::default(),
        };
        let both = [
            capture.clone(),
            Capture { fault: Some(Fault::CutShort), request: Payload::default(), ..capture },
        ];
        let bytes = encode(&both);
        let mut back = decode(bytes.clone()).unwrap();
        back.iter_mut().zip(&both).for_each(|(back, sent)| back.began = sent.began);
        assert_eq!(back, both);
        for length in [1, 3, 4, 50, bytes.len() - 1] {
            let problem = decode(bytes.slice(..length)).unwrap_err();
            assert!(problem.to_string().starts_with("call "), "{problem}");
        }
        assert!(decode(Bytes::from_static(b"\xff\xff\xff\xff")).is_err());
    }
}
