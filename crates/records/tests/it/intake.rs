//! Bodies of every format become the same rows; bad ones are refused with their place, and nothing is half applied.

use crate::{at, schema};
use arrow::array::{
    Array as _, ArrayRef, DictionaryArray, Float32Array, Float64Array, Int64Array, NullArray, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray, UInt16Array,
};
use arrow::datatypes::{Field, Int32Type, Schema as ArrowSchema};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use jiff::Timestamp;
use std::io::Write as _;
use std::sync::Arc;
use steersman_domain::{ErrorKind, Problem, Task};
use steersman_records::intake::{Format, Intake, Packing, Wanted, read, unpack};
use steersman_records::{Item, Kind, RecordLog};

fn now() -> Timestamp {
    at(1_800_000_000)
}

fn take(kind: Kind, format: Format, body: impl Into<Vec<u8>>) -> Result<Intake, Problem> {
    let schema = schema();
    let wanted = Wanted { kind, schema: &schema, task: Task::Binary, now: now() };
    read(&wanted, format, &Bytes::from(body.into()))
}

/// What each refused row says, after its place.
fn refused(intake: &Intake) -> Vec<String> {
    let place =
        |line: Option<u64>, index: u64| line.map_or(format!("row {index}"), |line| format!("line {line}"));
    let rows = intake.refusals.first.iter();
    rows.map(|row| format!("{}: {}", place(row.line, row.index), row.problem)).collect()
}

fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
}

fn moments(seconds: &[i64]) -> ArrayRef {
    Arc::new(seconds.iter().map(|second| Some(second * 1_000)).collect::<TimestampMillisecondArray>())
}

fn ids(ids: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(ids.to_vec()))
}

const ONE: &str = r#"{"id":"a","time":"2026-11-01T00:00:00+02:00","version":"v1","features":{"age":3,"town":"Bonn"},"score":0.5,"latency_ms":1.5,"status":200}"#;
const TWO: &str = r#"{"time":"2026-10-31T23:00:00Z","id":"b","features":{"town":null,"new":[1,{"x":2}]}}"#;

#[test]
fn every_format_gives_the_same_rows() {
    let lines = take(Kind::Records, Format::Lines, format!("{ONE}\r\n\n{TWO}")).unwrap();
    let array = take(Kind::Records, Format::Array, format!(" [{ONE}, {TWO}]\n")).unwrap();
    let town: DictionaryArray<Int32Type> = [Some("Bonn"), None].into_iter().collect();
    let age: ArrayRef = Arc::new(Float32Array::from(vec![Some(3.0), None]));
    let head = || {
        vec![
            ("id", ids(&["a", "b"])),
            ("time", moments(&[1_793_484_000, 1_793_487_600])),
            ("version", Arc::new(StringArray::from(vec![Some("v1"), None])) as ArrayRef),
            ("score", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("latency_ms", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
            ("status", Arc::new(Int64Array::from(vec![Some(200), None]))),
        ]
    };
    let features: Vec<(&str, ArrayRef)> = vec![
        ("age", age),
        ("town", Arc::new(town)),
        ("new", Arc::new(Int64Array::from(vec![None, Some(1)]))),
    ];
    let flat = batch(head().into_iter().chain(features.clone()).collect());
    let inner = StructArray::from(batch(features));
    let nested = batch(head().into_iter().chain([("features", Arc::new(inner) as ArrayRef)]).collect());
    let flat = take(Kind::Records, Format::Arrow, ipc(&flat)).unwrap();
    let nested = take(Kind::Records, Format::Arrow, ipc(&nested)).unwrap();
    assert_eq!(lines.rows.len(), 2);
    for other in [&array, &flat, &nested] {
        assert_eq!(other.rows, lines.rows);
        // A column that the schema does not have is accepted and noted.
        assert_eq!(other.refusals.unknown_columns, [("new".to_owned(), 1)].into());
        assert_eq!(other.refusals.count, 0);
    }
    let dir = tempfile::tempdir().unwrap();
    let log = RecordLog::open(dir.path()).unwrap();
    log.declare(&crate::name(), &schema()).unwrap();
    assert_eq!(log.append(&crate::name(), &lines.rows, now()).unwrap().accepted, 2);
    // The same rows in another format are the same records.
    assert_eq!(log.append(&crate::name(), &flat.rows, now()).unwrap().duplicates, 2);
    let arrivals = log.arrivals(&crate::name()).unwrap();
    let Item::Record(record) = &arrivals[0].item else { panic!("a record") };
    assert_eq!(record.time, "2026-10-31T22:00:00Z".parse().unwrap());
    assert_eq!(
        (record.status, record.latency_ms, record.version.as_deref()),
        (Some(200), Some(1.5), Some("v1"))
    );
}

#[test]
fn a_packed_body_is_unpacked_under_a_limit() {
    let body = format!("{ONE}\n{TWO}").into_bytes();
    let gzip = {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(&body).unwrap();
        writer.finish().unwrap()
    };
    let zstd = zstd::encode_all(&*body, 3).unwrap();
    let undo =
        |packing, bytes: &[u8], limit| unpack(packing, Bytes::copy_from_slice(bytes), limit, &mut |_| Ok(()));
    for (packing, bytes) in [(Packing::Gzip, &gzip), (Packing::Zstd, &zstd), (Packing::Plain, &body)] {
        assert_eq!(undo(packing, bytes, 1_000).unwrap(), body);
        assert_eq!(undo(packing, bytes, 100).unwrap_err().kind, ErrorKind::TooLarge);
    }
    for (packing, bytes) in [(Packing::Gzip, &gzip), (Packing::Zstd, &zstd)] {
        assert_eq!(undo(packing, &bytes[..bytes.len() - 5], 1_000).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(undo(packing, &body, 1_000).unwrap_err().kind, ErrorKind::Invalid);
    }
    // A gigabyte of zeros in a megabyte stops at the limit.
    let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
    assert_eq!(undo(Packing::Zstd, &bomb, 1 << 20).unwrap_err().kind, ErrorKind::TooLarge);
    // Whoever gives the room may say no.
    let no_room = &mut |_: u64| Err(Problem::new(ErrorKind::Unavailable, "no room"));
    assert_eq!(unpack(Packing::Gzip, gzip.into(), 1_000, no_room).unwrap_err().kind, ErrorKind::Unavailable);
}

use std::io::Read as _;

#[test]
fn a_bad_line_is_refused_alone() {
    let record = |rest: &str| format!(r#"{{"id":"x","time":"2026-11-01T00:00:00Z",{rest}}}"#);
    let deep = format!(r#""features":{{"age":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    let cases: Vec<(String, &str)> = vec![
        (r#"{"id":"x","#.to_owned(), "not a JSON object: EOF"),
        ("[1]".to_owned(), "not a JSON object (hint: NaN"),
        (record(r#""features":{"age":NaN}"#), "not a JSON object: expected value"),
        (record(&deep), "features.age: a list is not a number"),
        (record(r#""features":{"age":1e999}"#), "not a JSON object: number out of range"),
        (record(r#""features":{"age":"old"}"#), "features.age: `\"old\"` is not a number"),
        (record(r#""features":{"age":"NaN"}"#), "features.age: `\"NaN\"` is not a finite number"),
        (record(r#""features":{"age":{"x":[]}}"#), "features.age: an object is not a number"),
        (record(r#""features":{"age":1,"age":2}"#), "features.age: the key comes twice"),
        (
            record(&format!(r#""features":{{"town":"{}"}}"#, "x".repeat(70_000))),
            "features.town: text of 70000 bytes",
        ),
        (record(r#""features":{},"id":"y""#), "id: the key comes twice"),
        (record(r#""features":{},"features":{}"#), "features: the key comes twice"),
        (record(r#""features":{},"scoer":1"#), "scoer: unknown key (hint: known are id, time"),
        (record(r#""features":[]"#), "features: not an object"),
        (record(r#""score":1"#), "features: missing"),
        (record(r#""features":{},"status":-1"#), "status: not an HTTP status code"),
        (record(r#""features":{},"latency_ms":"fast""#), "latency_ms: not a number >= 0"),
        (record(r#""features":{},"version":7"#), "version: not a string"),
        (r#"{"time":"2026-11-01T00:00:00Z","features":{}}"#.to_owned(), "id: missing"),
        (r#"{"id":"","time":"2026-11-01T00:00:00Z","features":{}}"#.to_owned(), "id: record id of 0 bytes"),
        (r#"{"id":"x","time":"yesterday","features":{}}"#.to_owned(), "time: `yesterday` is not a time"),
        (
            r#"{"id":"x","time":"1970-01-21T00:00:00Z","features":{}}"#.to_owned(),
            "time: `1970-01-21T00:00:00Z` is before",
        ),
        (
            r#"{"id":"x","time":"9999-01-01T00:00:00Z","features":{}}"#.to_owned(),
            "time: `9999-01-01T00:00:00Z` is more than a day ahead",
        ),
        (record(r#""features":{}} trailing"#), "not a JSON object: trailing characters"),
    ];
    for (bad, reason) in &cases {
        let taken = take(Kind::Records, Format::Lines, format!("{ONE}\n{bad}\n{TWO}\n")).unwrap();
        assert_eq!((taken.rows.len(), taken.refusals.count), (2, 1), "{bad}");
        let told = refused(&taken);
        assert!(told[0].starts_with(&format!("line 2: {reason}")), "{told:?} is not {reason}");
        // In an array too, unless the array itself is broken.
        let array = take(Kind::Records, Format::Array, format!("[{ONE},{bad}]"));
        if let Ok(taken) = array {
            assert_eq!((taken.rows.len(), taken.refusals.count), (1, 1), "{bad}");
        } else if let Err(problem) = array {
            assert!(problem.hint.unwrap().starts_with("nothing of this batch was taken in"), "{bad}");
        }
    }
    let mut bytes = format!("{ONE}\n").into_bytes();
    bytes.extend(b"{\"id\":\"\xff\xfe\",\"time\":\"2026-11-01T00:00:00Z\",\"features\":{}}\n");
    let taken = take(Kind::Records, Format::Lines, bytes).unwrap();
    assert!(refused(&taken)[0].contains("invalid unicode"), "{:?}", refused(&taken));
}

#[test]
fn a_broken_body_is_refused_as_a_whole() {
    let array = |body: &str| take(Kind::Records, Format::Array, body).unwrap_err();
    let cut = array(&format!("[{ONE},{}", &TWO[..20]));
    assert_eq!((cut.kind, cut.field.as_deref()), (ErrorKind::Invalid, Some("row 1")));
    assert!(array("7").message.contains("neither a JSON array nor an object"));
    assert!(array(&format!("[{ONE}] x")).message.contains("trailing characters"));
    assert!(array("").message.contains("neither"));
    assert_eq!(take(Kind::Records, Format::Array, "[]").unwrap().rows.len(), 0);
    assert_eq!(take(Kind::Records, Format::Array, ONE).unwrap().rows.len(), 1);
}

#[test]
fn labels_are_checked_for_what_the_task_can_have() {
    let body = r#"[{"id":"a","label":true,"time":"2026-11-01T00:00:00Z"},
        {"id":"b","label":7,"time":"2026-11-01T00:00:00Z"},{"id":"c","label":null,"time":"2026-11-01T00:00:00Z"},
        {"id":"d","label":0,"time":"2026-11-01T00:00:00Z","x":1}]"#;
    let taken = take(Kind::Labels, Format::Array, body).unwrap();
    assert_eq!(taken.rows.len(), 1);
    let told = refused(&taken);
    assert!(told[0].starts_with("row 1: label: 7 is not 0 or 1"), "{told:?}");
    assert!(told[1].starts_with("row 2: label: missing"), "{told:?}");
    assert!(told[2].starts_with("row 3: x: unknown key"), "{told:?}");
    let arrow = batch(vec![
        ("id", ids(&["a", "b", "c"])),
        ("label", Arc::new(UInt16Array::from(vec![Some(1), Some(7), None]))),
        ("time", moments(&[1_793_491_200; 3])),
    ]);
    let arrow = take(Kind::Labels, Format::Arrow, ipc(&arrow)).unwrap();
    assert_eq!((&arrow.rows, arrow.refusals.count), (&taken.rows, 2));
}

#[test]
fn columns_of_an_arrow_stream_are_checked() {
    let of = |columns: Vec<(&str, ArrayRef)>| {
        let head = vec![("id", ids(&["a", "b"])), ("time", moments(&[1_793_491_200; 2]))];
        take(Kind::Records, Format::Arrow, ipc(&batch(head.into_iter().chain(columns).collect())))
    };
    let not_finite = of(vec![("age", Arc::new(Float64Array::from(vec![1.0, f64::NAN])))]).unwrap();
    assert_eq!(not_finite.rows.len(), 1);
    assert_eq!(not_finite.refusals.first[0].id.as_deref(), Some("b"));
    assert!(refused(&not_finite)[0].starts_with("row 1: age: `NaN` is not a finite number"));
    let status = of(vec![("status", Arc::new(Int64Array::from(vec![200, 70_000])))]).unwrap();
    assert!(refused(&status)[0].starts_with("row 1: status: not an HTTP status code"));
    let wrong = of(vec![("age", ids(&["x", "y"]))]).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "age: a column of Utf8 where numbers belong (hint: nothing of this batch was taken in)"
    );
    let nested: ArrayRef =
        Arc::new(StructArray::from(batch(vec![("age", Arc::new(Float64Array::from(vec![1.0, 2.0])))])));
    let beside =
        of(vec![("features", nested), ("scoer", Arc::new(Float64Array::from(vec![1.0, 2.0])))]).unwrap_err();
    assert!(beside.to_string().starts_with("scoer: unknown column"), "{beside}");
    let far = batch(vec![("id", ids(&["a"])), ("time", moments(&[1_793_491]))]);
    let far = take(Kind::Records, Format::Arrow, ipc(&far)).unwrap();
    assert!(refused(&far)[0].starts_with("row 0: time: `1970-01-21"), "{:?}", refused(&far));
    let claims =
        batch(vec![("id", Arc::new(NullArray::new(1 << 40))), ("time", Arc::new(NullArray::new(1 << 40)))]);
    let claims = take(Kind::Records, Format::Arrow, ipc(&claims)).unwrap_err();
    assert!(claims.message.contains("more rows than it has bytes"), "{claims}");
}

#[test]
fn an_arrow_stream_that_lies_or_is_cut_short_is_an_error_and_never_a_crash() {
    let whole = ipc(&batch(vec![
        ("id", ids(&["a", "b"])),
        ("time", moments(&[1_793_491_200; 2])),
        ("town", ids(&["Bonn", "Ulm"])),
    ]));
    assert_eq!(take(Kind::Records, Format::Arrow, whole.clone()).unwrap().rows.len(), 2);
    for length in 0..whole.len() {
        // A cut at the border of a message leaves a stream without its end mark; that is allowed by the format only
        // where nothing is missing, which nobody can know: it is refused.
        let cut = take(Kind::Records, Format::Arrow, &whole[..length]);
        assert!(cut.is_err() || cut.unwrap().rows.len() == 2, "cut at {length}");
    }
    std::panic::set_hook(Box::new(|_| {}));
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut lie = whole.clone();
            lie[place] = value;
            // Whatever comes of it, it comes back.
            let _ = take(Kind::Records, Format::Arrow, lie);
        }
    }
    let _ = std::panic::take_hook();
    let mut twice = whole.clone();
    twice.extend(&whole);
    assert!(take(Kind::Records, Format::Arrow, twice).is_err());
}
