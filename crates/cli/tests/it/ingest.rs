//! Telemetry through the real binary: formats, bad input, events, kills under load.

use crate::platform::{Up, project, record};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use steersman_domain::Schema;
use steersman_domain::config::RecordsSection;
use steersman_records::{Item, Limits, RecordLog};
use steersman_server::open_archive;
use steersman_store::Store;

/// An answer: status, `Retry-After`, body.
pub(crate) type Answer = (u16, Option<String>, Value);
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

impl Up {
    pub(crate) fn send(&self, path: &str, headers: Headers<'_>, body: impl Into<Vec<u8>>) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut request =
            reqwest::Client::new().post(format!("{}/api/v1{path}", self.page)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        runtime.block_on(async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            (status, retry, response.json().await.unwrap_or_default())
        })
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(async {
            reqwest::get(format!("{}/metrics", self.page)).await.unwrap().text().await.unwrap()
        });
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(body).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn arrow(ids: &[&str]) -> Vec<u8> {
    let texts = |text: &str| Arc::new(StringArray::from(vec![text; ids.len()])) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(ids.to_vec()))),
        ("time", texts("2026-02-01T00:00:00Z")),
        ("calls", Arc::new(Float64Array::from(vec![3.0; ids.len()]))),
        ("plan", texts("a")),
        ("score", Arc::new(Float64Array::from(vec![0.4; ids.len()]))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

pub(crate) const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
pub(crate) const ARRAY: (&str, &str) = ("content-type", "application/json");
pub(crate) const ARROW: (&str, &str) = ("content-type", "application/vnd.apache.arrow.stream");

#[test]
fn every_format_is_taken_in_and_what_is_wrong_is_refused_in_words() {
    let (dir, spec) = project(None);
    std::fs::write(dir.path().join("steersman.toml"), "[ingest]\nlargest_body = 1\n").unwrap();
    let up = Up::start(dir.path(), Some(&spec));
    let path = "/models/churn/records";
    let lines = [record("a"), record("b")].join("\n").into_bytes();
    let array = format!("[{},{}]", record("a"), record("b")).into_bytes();
    let (status, _, reply) = up.send(path, &[LINES], lines.clone());
    assert_eq!((status, &reply["accepted"]), (200, &json!(2)));
    let zstd = zstd::encode_all(&*lines, 1).unwrap();
    let same: [(Headers<'_>, Vec<u8>); 5] = [
        (&[LINES, ("content-encoding", "gzip")], gzip(&lines)),
        (&[LINES, ("content-encoding", "zstd")], zstd),
        (&[ARRAY], array),
        (&[ARROW], arrow(&["a", "b"])),
        (&[ARROW, ("content-encoding", "gzip")], gzip(&arrow(&["a", "b"]))),
    ];
    for (headers, body) in same {
        let (status, _, reply) = up.send(path, headers, body);
        assert_eq!(
            (status, &reply["accepted"], &reply["duplicates"]),
            (200, &json!(0), &json!(2)),
            "{headers:?}"
        );
    }
    // A new column is accepted and noted; a bad line is refused alone, and stays visible.
    let new = record("c").replace("\"plan\"", "\"tariff\":1,\"plan\"");
    let (status, _, reply) = up.send(path, &[LINES], format!("{new}\n{{\"id\":\"d\",\n"));
    assert_eq!((status, &reply["accepted"], &reply["rejected"]), (207, &json!(1), &json!(1)));
    assert_eq!(
        (&reply["unknown_columns"]["tariff"], &reply["rejections"][0]["line"]),
        (&json!(1), &json!(2))
    );
    let kept = up.get("/models/churn/quarantine");
    assert_eq!((&kept[0]["line"], kept.as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(up.get("/models/churn")["records"]["unknown_columns"]["tariff"], json!(1));
    assert_eq!(up.metric("steersman_refused_rows_total{model=\"churn\"}"), 1);
    // The whole body.
    let mut bomb = Vec::new();
    std::io::repeat(b' ').take(64 << 20).read_to_end(&mut bomb).unwrap();
    let refused: [(Headers<'_>, Vec<u8>, u16, &str); 7] = [
        (&[LINES, ("content-encoding", "gzip")], gzip(&bomb), 413, "larger than 1048576 bytes when unpacked"),
        (&[LINES], vec![b' '; 16 << 20], 413, "larger than 1048576 bytes"),
        (&[("content-type", "text/csv")], lines.clone(), 400, "the type `text/csv` is not read"),
        (&[LINES, ("content-encoding", "br")], lines.clone(), 400, "the encoding `br` is not read"),
        (&[LINES, ("content-encoding", "gzip")], gzip(&lines)[..40].to_vec(), 400, "not whole gzip"),
        (&[ARRAY], b"[{\"id\":".to_vec(), 400, "not JSON"),
        (&[ARROW], arrow(&["x"])[..300].to_vec(), 400, "not a whole Arrow IPC stream"),
    ];
    for (headers, body, expected, words) in refused {
        let (status, _, reply) = up.send(path, headers, body);
        assert_eq!(status, expected, "{reply}");
        assert!(reply["detail"].as_str().unwrap().contains(words), "{reply}");
    }
    assert_eq!(up.get("/models/churn")["records"]["records"], json!(3));
    assert_eq!(up.metric("steersman_ingest_in_flight_bytes "), 0);
}

#[test]
fn without_room_a_sender_is_told_at_once_to_come_again() {
    let (dir, spec) = project(None);
    std::fs::write(dir.path().join("steersman.toml"), "[ingest]\nin_flight_per_model = 0\n").unwrap();
    let up = Up::start(dir.path(), Some(&spec));
    let (status, retry, reply) = up.send("/models/churn/records", &[LINES], record("a"));
    assert_eq!((status, retry.as_deref(), &reply["kind"]), (503, Some("5"), &json!("unavailable")));
    assert_eq!(up.metric("steersman_model_ingest_busy_total{model=\"churn\"}"), 1);
    assert_eq!(up.get("/models/churn")["records"]["records"], json!(0));
}

#[test]
fn the_two_halves_of_a_call_become_a_record_in_either_order() {
    let (dir, spec) = project(None);
    let up = Up::start(dir.path(), Some(&spec));
    let event = |id: &'static str, kind: &'static str, time: &'static str, body: &'static str| {
        let kind = format!("org.kubeflow.serving.inference.{kind}");
        let headers = [
            ARRAY,
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "http://localhost:9081/"),
            ("ce-type", kind.as_str()),
            ("ce-time", time),
            ("ce-inferenceservicename", "churn"),
        ];
        up.send("/events", &headers, body).0
    };
    let v1 = r#"{"instances":[{"calls":3,"plan":"a","tariff":7}]}"#;
    assert_eq!(event("one", "request", "2026-02-01T00:00:00Z", v1), 202);
    assert_eq!(event("one", "request", "2026-02-01T00:00:00Z", v1), 202);
    // The second half is answered when the record of both is on disk.
    assert_eq!(event("one", "response", "2026-02-01T00:00:00.250Z", r#"{"predictions":[0.4]}"#), 200);
    let v2 = r#"{"model_name":"churn","model_version":"v7","outputs":[{"name":"score","shape":[1],"datatype":"FP64","data":[0.9]}]}"#;
    assert_eq!(event("two", "response", "2026-02-01T00:00:01Z", v2), 202);
    let structured = json!({
        "specversion": "1.0", "id": "two", "source": "x", "type": "org.kubeflow.serving.inference.request",
        "time": "2026-02-01T00:00:00Z", "inferenceservicename": "ignored", "knativearrivaltime": "later",
        "data": {"id": "order-2", "inputs": [
            {"name": "calls", "shape": [1], "datatype": "FP64", "data": [9]},
            {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["b"]},
        ]},
    });
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    assert_eq!(up.send("/models/churn/events", &headers, structured.to_string()).0, 200);
    assert_eq!(up.get("/models/churn")["records"]["records"], json!(2));
    assert_eq!(up.get("/models/churn")["records"]["unknown_columns"]["tariff"], json!(1));
    // The V2 id of the request is what labels are joined by.
    let label = json!([{"id": "order-2", "label": 1, "time": "2026-02-01T01:00:00Z"}]);
    assert_eq!(up.send("/models/churn/labels", &[ARRAY], label.to_string()).2["waiting"], json!(0));
    let (status, _, reply) = up.send("/events", &[ARRAY], "{}");
    assert_eq!((status, reply["field"].as_str()), (400, Some("ce-specversion")));
    assert_eq!(
        (up.metric("steersman_events_paired_total"), up.metric("steersman_events_repeated_total")),
        (2, 1)
    );
}

/// How often the process is killed; many more where this is set, for a long run.
const KILLS: &str = "STEERSMAN_KILLS";

#[test]
fn killed_under_load_the_platform_loses_nothing_that_it_acknowledged() {
    let kills = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(3u64);
    let (dir, spec) = project(None);
    let mut acknowledged: Vec<String> = Vec::new();
    let mut schema = None;
    for kill in 0..kills {
        let up = Up::start(dir.path(), (kill == 0).then_some(spec.as_path()));
        let page = up.page.clone();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let forms = [Form::Arrow, Form::Lines, Form::Lines, Form::Events];
            let writers: Vec<_> = (0..)
                .zip(forms)
                .map(|(writer, form)| {
                    let (page, stop) = (&page, &stop);
                    scope.spawn(move || write(page, &format!("k{kill}-{writer}"), form, stop))
                })
                .collect();
            if schema.is_none() {
                let found = up.get("/models/churn")["state"]["reference"]["schema"].clone();
                schema = Some(serde_json::from_value::<Schema>(found).unwrap());
            }
            std::thread::sleep(Duration::from_millis(300 + kill * 7_919 % 700));
            up.kill();
            stop.store(true, Ordering::SeqCst);
            for writer in writers {
                acknowledged.extend(writer.join().unwrap());
            }
        });
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    // It comes up again on what is there, and what is there is read beside it.
    drop(Up::start(dir.path(), None));
    let state = dir.path().join("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::open(&state)).unwrap();
    let _inside = runtime.enter();
    let archive = open_archive(&state, &RecordsSection::default(), &store).unwrap();
    let log = RecordLog::open_on(&state.join("records"), archive, Limits::default()).unwrap();
    let name = "churn".parse().unwrap();
    log.declare(&name, &schema.unwrap()).unwrap();
    let mut there: BTreeMap<String, u64> = BTreeMap::new();
    for arrival in log.arrivals(&name).unwrap() {
        if let Item::Record(record) = arrival.item {
            *there.entry(record.id.to_string()).or_default() += 1;
        }
    }
    assert_eq!(there.values().filter(|count| **count > 1).count(), 0);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

/// How records are sent.
#[derive(Clone, Copy)]
enum Form {
    Arrow,
    Lines,
    /// Both halves of each call.
    Events,
}

/// Both halves of a call of each id, as a batch of CloudEvents.
fn halves(ids: &[&str]) -> Vec<u8> {
    let half = |id: &str, kind: &str, data: Value| {
        json!({"specversion": "1.0", "id": id, "source": "x", "time": "2026-02-01T00:00:00Z",
               "type": format!("org.kubeflow.serving.inference.{kind}"), "data": data})
    };
    let requests =
        ids.iter().map(|id| half(id, "request", json!({"instances": [{"calls": 3, "plan": "a"}]})));
    let responses = ids.iter().map(|id| half(id, "response", json!({"predictions": [0.4]})));
    Value::from_iter(requests.chain(responses)).to_string().into_bytes()
}

/// Sends batches until the other side is gone; the ids that were acknowledged.
fn write(page: &str, prefix: &str, form: Form, stop: &AtomicBool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::new();
    let mut acknowledged = Vec::new();
    for batch in 0.. {
        let ids: Vec<String> = (0..20).map(|row| format!("{prefix}-{batch}-{row}")).collect();
        let texts: Vec<&str> = ids.iter().map(String::as_str).collect();
        let lines = || texts.iter().map(|id| record(id)).collect::<Vec<_>>().join("\n").into_bytes();
        let batch = ("content-type", "application/cloudevents-batch+json");
        let (path, header, body) = match form {
            Form::Arrow => ("records", ARROW, arrow(&texts)),
            Form::Lines => ("records", LINES, lines()),
            Form::Events => ("events", batch, halves(&texts)),
        };
        let request =
            client.post(format!("{page}/api/v1/models/churn/{path}")).header(header.0, header.1).body(body);
        let sent =
            runtime.block_on(async { request.send().await.map(|response| response.status().as_u16()) });
        match sent {
            Ok(200) => acknowledged.extend(ids),
            Ok(status) => panic!("status {status}"),
            Err(_) => break,
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    acknowledged
}
