//! Calls that others saw: CloudEvents in all three forms, and the payloads of both protocols as records.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use steersman_domain::Schema;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_records::Rows;
use steersman_records::calls::{Call, Content, EventKind, read_binary, read_structured, records_of};

const TYPE: &str = "org.kubeflow.serving.inference.request";

fuzz_target!(|data: &[u8]| {
    let Some((&form, body)) = data.split_first() else { return };
    let events = match form % 4 {
        0 => read_structured(None, false, body),
        1 => read_structured(Some(&"m".parse().unwrap()), true, body),
        2 => {
            // Attributes are lines, the payload follows an empty one.
            let text = String::from_utf8_lossy(body);
            let (head, payload) = text.split_once("\n\n").unwrap_or((&text, ""));
            let find =
                |name: &'static str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            read_binary(None, &find, Bytes::copy_from_slice(payload.as_bytes())).map(|event| vec![event])
        }
        _ => {
            let find = |name: &'static str| match name {
                "ce-specversion" => Some("1.0"),
                "ce-id" => Some("a"),
                "ce-type" => Some(TYPE),
                "ce-inferenceservicename" => Some("m"),
                _ => None,
            };
            read_binary(None, &find, Bytes::copy_from_slice(body)).map(|event| vec![event])
        }
    };
    let Ok(events) = events else { return };
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let schema = Schema {
        features: vec![column("age", ColumnKind::Numeric), column("town", ColumnKind::Categorical)],
        prediction: column("score", ColumnKind::Numeric),
        label: column("late", ColumnKind::Numeric),
    };
    // Each payload is taken for a request, and with the next one for an answer.
    for pair in events.chunks(2) {
        let Some(first) = pair.first() else { continue };
        let call = Call {
            id: first.id.clone(),
            time: first.time.unwrap_or_default(),
            content: Content::Json {
                request: first.body.clone(),
                response: pair
                    .last()
                    .filter(|last| last.kind == EventKind::Response)
                    .map(|last| last.body.clone()),
            },
            version: None,
            arm: None,
            weight: None,
            unit: None,
            latency_ms: None,
            status: 200,
        };
        if let Ok(rows) = records_of(&call, &schema) {
            assert_eq!(Rows::records(&schema, &rows.records).unwrap().len(), rows.records.len());
        }
    }
});
