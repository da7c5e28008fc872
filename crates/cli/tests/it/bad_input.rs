//! What others send wrong, through HTTP: each is refused in words that name the line or the row, nothing of it is half
//! applied, and the platform goes on.

use crate::ingest::{ARRAY, ARROW, Answer, Headers, LINES, arrow, gzip};
use crate::platform::{Up, project, record};
use crate::steersman;
use serde_json::json;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

const PATH: &str = "/models/churn/records";
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const ZSTD: (&str, &str) = ("content-encoding", "zstd");

/// A platform whose bodies have at most two megabytes, and what it says on its standard error.
fn start() -> (tempfile::TempDir, Up) {
    let (dir, spec) = project(None);
    std::fs::write(dir.path().join("steersman.toml"), "[ingest]\nlargest_body = 2\n").unwrap();
    let mut command =
        steersman(&["up", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--dir", "state"]);
    command.arg("--apply").arg(spec).current_dir(dir.path());
    command.stderr(File::create(dir.path().join("errors.log")).unwrap());
    let up = Up::from(command);
    (dir, up)
}

fn count(up: &Up) -> u64 {
    up.get("/models/churn")["records"]["records"].as_u64().unwrap()
}

/// It is up, holds so many records, keeps no room for what is gone, and nothing in it panicked.
fn goes_on(dir: &tempfile::TempDir, up: &Up, records: u64) {
    assert_eq!(count(up), records);
    assert_eq!(up.metric("steersman_ingest_in_flight_bytes "), 0);
    let told = std::fs::read_to_string(dir.path().join("errors.log")).unwrap();
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_bad_line_is_named_and_the_others_are_taken_in() {
    let (dir, up) = start();
    let with = |from: &str, to: &str| record("bad").replace(from, to);
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    let at = |time: &str| with("2026-02-01T00:00:00Z", time);
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (record("bad")[..40].into(), "", "not a JSON object: EOF"),
        (b"{\"id\":\"bad\"".to_vec(), "", "EOF"),
        (b"[1,2]".to_vec(), "", "not a JSON object"),
        (deep("[", "]").into(), "", "not a JSON object"),
        (with(":3,", &format!(":{},", deep("[", "]"))).into(), "features.calls", "a list is not a number"),
        (
            with(":3,", &format!(":{},", deep("{\"a\":", "}"))).into(),
            "features.calls",
            "an object is not a number",
        ),
        (with(":3,", &format!(":{},", deep("[", ""))).into(), "", "not a JSON object"),
        (with(":3,", ":1e999,").into(), "", "number out of range"),
        (with(":3,", &format!(":{},", "9".repeat(100_000))).into(), "", "number out of range"),
        (with(":3,", ":-Infinity,").into(), "", "not a JSON object"),
        (with(":3,", ":\"three\",").into(), "features.calls", "is not a number"),
        (
            with("\"a\"", &format!("\"{}\"", "x".repeat(500_000))).into(),
            "features.plan",
            "text of 500000 bytes",
        ),
        (with("\"bad\"", &format!("\"{}\"", "x".repeat(129))).into(), "id", "record id of 129 bytes"),
        (with("\"bad\"", "\"b\\u0000d\"").into(), "id", "record id of 3 bytes"),
        (with("bad", "b\u{fffd}d").replace('\u{fffd}', "\\ud800").into(), "", "not a JSON object"),
        (with("\"score\"", "\"id\":\"other\",\"score\"").into(), "id", "the key comes twice"),
        (with("\"calls\"", "\"calls\":1,\"calls\"").into(), "features.calls", "the key comes twice"),
        (with("\"score\"", "\"score\":1,\"score\"").into(), "score", "the key comes twice"),
        (at("0001-01-01T00:00:00Z").into(), "time", "is before 1980"),
        (at("-009999-01-02T00:00:00Z").into(), "time", "is not a time"),
        (at("9999-12-30T00:00:00Z").into(), "time", "more than a day ahead"),
        (at("99999-01-01T00:00:00Z").into(), "time", "is not a time"),
        (at("2026-02-30T00:00:00Z").into(), "time", "is not a time"),
        (at(&"2".repeat(300_000)).into(), "time", "not a string"),
        (at(&"2".repeat(60_000)).into(), "time", "is not a time"),
        (with(":3,", &format!(":\"{}\",", "x".repeat(60_000))).into(), "features.calls", "is not a number"),
        (with("\"2026-02-01T00:00:00Z\"", "1769904000").into(), "time", "not a string"),
    ];
    let mut bytes = with("bad", "b?d").into_bytes();
    let place = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[place] = 0xff;
    let cases = cases.into_iter().chain([(bytes, "", "invalid unicode")]);
    let mut records = 0;
    for (number, (bad, field, words)) in cases.enumerate() {
        let mut body = format!("{}\n\r\n", record(&format!("before-{number}"))).into_bytes();
        body.extend(&bad);
        body.extend(format!("\n{}", record(&format!("after-{number}"))).into_bytes());
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(200)]).into_owned();
        let (status, _, reply) = up.send(PATH, &[LINES], body);
        records += 2;
        assert_eq!(
            (status, &reply["accepted"], &reply["rejected"]),
            (207, &json!(2), &json!(1)),
            "{shown}: {reply}"
        );
        let told = &reply["rejections"][0];
        let found = (told["line"].as_u64(), told["problem"]["field"].as_str().unwrap_or_default());
        assert_eq!(found, (Some(3), field), "{shown}: {told}");
        assert!(told["problem"]["message"].as_str().unwrap().contains(words), "{shown}: {told}");
        // A gigantic value is not repeated.
        assert!(told.to_string().len() < 1_000, "{shown}: {} bytes", told.to_string().len());
        assert_eq!(count(&up), records, "{shown}");
    }
    let kept = up.get("/models/churn/quarantine?limit=1000");
    assert_eq!(kept.as_array().unwrap().len() as u64, records / 2);
    assert!(kept.to_string().len() < 60_000);
    goes_on(&dir, &up, records);
}

#[test]
fn one_moment_in_several_zones_is_one_time() {
    let (dir, up) = start();
    let times = [
        "2026-02-01T00:00:00Z",
        "2026-02-01T05:30:00+05:30",
        "2026-01-31T16:00:00-08:00",
        "2026-02-01 01:00:00+01",
        "2026-02-01T01:00:00+01:00[Europe/Berlin]",
    ];
    let line = |(number, time): (usize, &&str)| record(&format!("z{number}")).replace(times[0], time);
    let body: Vec<String> = times.iter().enumerate().map(line).collect();
    let (status, _, reply) = up.send(PATH, &[LINES], body.join("\n"));
    assert_eq!((status, &reply["accepted"]), (200, &json!(times.len())), "{reply}");
    let sql = "SELECT count(DISTINCT time) AS times, min(time) AS first FROM churn";
    let rows = up.post("/query", &json!({"sql": sql})).1["rows"].clone();
    assert_eq!(rows, json!([{"times": 1, "first": "2026-02-01T00:00:00Z"}]));
    goes_on(&dir, &up, times.len() as u64);
}

#[test]
fn a_body_that_is_broken_as_a_whole_changes_nothing() {
    let (dir, up) = start();
    let lines = [record("a"), record("b")].join("\n").into_bytes();
    let array = format!("[{},{}]", record("a"), record("b")).into_bytes();
    let zeros = |bytes: u64| std::io::repeat(0).take(bytes);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut zeros(1 << 30), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let within = gzip(&gzip(&lines));
    let cases: [(Headers<'_>, Vec<u8>, u16, &str); 15] = [
        (&[LINES, GZIP], bomb, 413, "larger than 2097152 bytes when unpacked"),
        (&[LINES, ZSTD], zstd::encode_all(zeros(1 << 32), 1).unwrap(), 413, "when unpacked"),
        (&[LINES, GZIP], lines.clone(), 400, "not whole gzip"),
        (&[LINES, ZSTD], gzip(&lines), 400, "not whole zstd"),
        (&[ARRAY], array[..array.len() - 1].to_vec(), 400, "not JSON"),
        (&[ARRAY], array[..array.len() - 20].to_vec(), 400, "not JSON"),
        (&[ARRAY], lines.clone(), 400, "not JSON"),
        (&[ARRAY], "[".repeat(1_000_000).into_bytes(), 400, "not JSON"),
        (&[ARRAY], b"\"text\"".to_vec(), 400, "neither a JSON array nor an object"),
        (&[ARRAY], b"\xff\xfe[\x00]\x00".to_vec(), 400, "neither a JSON array nor an object"),
        (&[ARROW], lines.clone(), 400, "not a whole Arrow IPC stream"),
        (&[ARROW], Vec::new(), 400, "not a whole Arrow IPC stream"),
        (&[ARROW, GZIP], gzip(&arrow(&["a"])[..400]), 400, "not a whole Arrow IPC stream"),
        (&[("content-type", "multipart/form-data")], lines.clone(), 400, "is not read"),
        (&[("content-type", "application/json-patch+json")], array.clone(), 400, "is not read"),
    ];
    for (headers, body, expected, words) in cases {
        let (status, _, reply): Answer = up.send(PATH, headers, body);
        assert_eq!(status, expected, "{headers:?} {words}: {reply}");
        assert!(reply["detail"].as_str().unwrap_or_default().contains(words), "{words}: {reply}");
        assert_eq!(count(&up), 0, "{words}");
    }
    // Each line of what is packed twice, or is something else altogether, is refused.
    for (headers, body) in
        [(&[LINES, GZIP], within), (&[LINES, ZSTD], zstd::encode_all(&*arrow(&["a"]), 1).unwrap())]
    {
        let (status, _, reply) = up.send(PATH, headers, body);
        assert_eq!((status, &reply["accepted"]), (400, &json!(0)), "{reply}");
        assert_eq!(reply["rejections"][0]["line"], json!(1));
    }
    // A sender that falls silent, or says another length than it sends.
    for (announced, sent) in [(1_000, 100), (1usize << 40, 100), (0, 0)] {
        let mut stream = TcpStream::connect(up.page.trim_start_matches("http://")).unwrap();
        let head = format!(
            "POST /api/v1{PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {announced}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[lines.clone(), lines.clone()].concat()[..sent]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let good = announced == 0;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200") == good, "{announced}: {answer}");
        assert_eq!(count(&up), 0);
    }
    // The rest of a refused body is read, so that the sender sees the answer, and counted.
    assert!(up.metric("steersman_refused_body_bytes_total") > 0);
    goes_on(&dir, &up, 0);
}

#[test]
fn an_arrow_stream_that_lies_is_refused_or_taken_in_whole() {
    let (dir, up) = start();
    let whole = arrow(&["l0", "l1", "l2"]);
    let mut expected = 0;
    let mut refused = 0;
    // Lengths, offsets, counts and types of the stream, one after the other, say something else.
    for place in (0..whole.len()).step_by(5) {
        for lie in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            if bytes[place] == lie {
                continue;
            }
            bytes[place] = lie;
            let (status, _, reply) = up.send(PATH, &[ARROW], bytes);
            assert!([200, 207, 400, 413].contains(&status), "{place} {lie}: {status} {reply}");
            expected += reply["accepted"].as_u64().unwrap_or_default();
            if reply["accepted"].is_null() {
                refused += 1;
                assert!(!reply["detail"].as_str().unwrap().is_empty(), "{place} {lie}: {reply}");
            }
        }
    }
    assert!(refused > 20, "{refused}");
    goes_on(&dir, &up, expected);
}

#[test]
fn events_that_are_wrong_are_refused_and_bad_calls_are_kept_with_the_reason() {
    let (dir, up) = start();
    let structured = [("content-type", "application/cloudevents+json")];
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let event = |id: &str, kind: &str, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","type":"org.kubeflow.serving.inference.{kind}","source":"x","time":"2026-02-01T00:00:00Z","inferenceservicename":"churn","data":{data}}}"#
        )
    };
    let good = r#"{"instances":[{"calls":3,"plan":"a"}]}"#;
    let one = event("one", "request", good);
    let refused = [
        (structured, one[..80].to_owned(), "line 1 column 80"),
        (structured, one.replace("\"1.0\"", "\"0.3\""), "`0.3` is not 1.0"),
        (structured, one.replace("request", "explain"), "are not taken in"),
        (structured, one.replace("2026-02-01T", "soon "), "is not a time"),
        (structured, one.replace("\"one\"", &format!("\"{}\"", "x".repeat(300))), "1 to 256 bytes"),
        (structured, event("one", "request", &"[".repeat(100_000)), "no CloudEvent"),
        (batch, one.clone(), "no CloudEvent"),
        (batch, format!("[{one},{}]", one.replace("\"1.0\"", "\"2\"")), "`2` is not 1.0"),
    ];
    for (headers, body, words) in refused {
        let (status, _, reply) = up.send("/events", &headers, body);
        assert_eq!(status, 400, "{reply}");
        assert!(reply["detail"].as_str().unwrap().contains(words), "{reply}");
        assert!(reply.to_string().len() < 1_000);
    }
    assert_eq!((count(&up), up.metric("steersman_events_waiting ")), (0, 0));
    // Of a batch each event counts by itself.
    let bodies = [
        event("one", "request", good),
        event("one", "response", r#"{"predictions":[0.4]}"#),
        event("bad", "request", r#"{"instances":[{"calls":"three"}]}"#),
        event("bad", "response", r#"{"predictions":[0.4]}"#),
    ];
    let (status, _, reply) = up.send("/events", &batch, format!("[{}]", bodies.join(",")));
    assert_eq!((status, reply["field"].as_str()), (400, Some("event 3, features.calls")), "{reply}");
    assert_eq!(up.get("/models/churn/quarantine")[0]["id"], json!("bad"));
    goes_on(&dir, &up, 1);
}
