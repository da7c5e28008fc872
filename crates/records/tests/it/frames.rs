//! Data files that people bring: what is inferred, and what is said of odd ones.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, Selection};

fn read(path: &Path) -> Result<Frame, String> {
    Frame::read(path.to_str().unwrap(), &Selection::default()).map_err(|problem| problem.to_string())
}

fn kinds(frame: &Frame) -> Vec<(&str, DataKind)> {
    frame.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect()
}

const CSV: &str = "n;flag;at;town;empty\n1,5;true;2026-01-31;Bonn;\n2;false;2026-02-01 10:00;Köln;\n";

#[test]
fn the_same_rows_from_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let csv = "n,flag,at,town,empty\n1.5,true,2026-01-31,Bonn,\n2,false,2026-02-01 10:00,Köln,\n";
    let json = "{\"n\": 1.5, \"flag\": true, \"at\": \"2026-01-31\", \"town\": \"Bonn\", \"empty\": null}\n{\"n\": 2, \"flag\": false, \"at\": \"2026-02-01 10:00\", \"town\": \"Köln\"}\n";
    let list = format!("[{}]", json.trim().replace('\n', ","));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let files: [(&str, Vec<u8>); 5] = [
        ("a.csv", csv.into()),
        ("a.jsonl", json.into()),
        ("a.json", list.into()),
        ("a.csv.gz", gzip.finish().unwrap()),
        ("a.csv.zst", zstd::bulk::compress(csv.as_bytes(), 1).unwrap()),
    ];
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let frame = read(&path).unwrap();
        assert_eq!(frame.rows, 2, "{name}");
        let expected = [
            ("n", DataKind::Numeric),
            ("flag", DataKind::Boolean),
            ("at", DataKind::Datetime),
            ("town", DataKind::Categorical),
            ("empty", DataKind::Numeric),
        ];
        assert_eq!(kinds(&frame), expected, "{name}");
        assert_eq!(frame.column("n").unwrap().numbers(), [Some(1.5), Some(2.0)]);
        assert_eq!(frame.column("at").unwrap().times()[1], Some(1_769_940_000_000_000));
        assert_eq!(frame.column("town").unwrap().category(1).as_deref(), Some("Köln"));
        assert_eq!(frame.column("empty").unwrap().missing(), 2);
    }
}

#[test]
fn folders_patterns_and_separators() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("more")).unwrap();
    fs::write(dir.path().join("a.csv"), CSV).unwrap();
    fs::write(dir.path().join("more/b.tsv"), "n\ttown\n3\tBonn\n").unwrap();
    fs::write(dir.path().join("readme.md"), "not data").unwrap();
    let frame = read(dir.path()).unwrap();
    assert_eq!((frame.rows, frame.files.len()), (3, 2));
    // `1,5` is no number here: said with its place, and the column is text.
    assert_eq!(frame.column("n").unwrap().kind, DataKind::Categorical);
    assert!(frame.notes.iter().any(|note| note == "1 of 2 files have no column `flag`"), "{:?}", frame.notes);
    assert_eq!(read(&dir.path().join("*.csv")).unwrap().rows, 2);
    assert!(read(&dir.path().join("*.parquet")).unwrap_err().contains("holds no data file"));
}

#[test]
fn odd_files_are_read_with_a_note_or_refused_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let of = |bytes: &[u8]| {
        let path = dir.path().join("odd.csv");
        fs::write(&path, bytes).unwrap();
        read(&path)
    };
    let frame = of(b"town,town,\nK\xf6ln,a,1\n").unwrap();
    assert_eq!(
        kinds(&frame).iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["town", "town_2", "column_3"]
    );
    assert!(
        frame.notes.iter().any(|note| note.contains("not UTF-8") && note.contains("line 2")),
        "{:?}",
        frame.notes
    );
    assert!(frame.notes.iter().any(|note| note.contains("`town` occurs twice")));
    assert!(of(b"").unwrap_err().contains("the file is empty"));
    assert_eq!(of(b"a,b\n").unwrap().rows, 0);
    assert!(of(b"a,b\n1,2,3\n").unwrap_err().contains("line 2: 3 cells where the header has 2"));
    assert!(of(b"{\"a\": 1}\n{\"a\": \n").unwrap_err().contains("odd.csv, line"));
    assert!(of(b"\x1f\x8b\x00broken").unwrap_err().contains("cannot unpack"));
    assert!(of(b"a\x00\x01\x02").unwrap_err().contains("neither text nor a format"));
    let infinite = of(b"a\n1\ninf\n-inf\nnan\n").unwrap();
    assert_eq!(
        infinite.column("a").unwrap().numbers(),
        [Some(1.0), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None]
    );
}

#[test]
fn rows_and_columns_are_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "town,n,at\nBonn,1,2026-01-01\nKöln,2,2026-02-01\nBonn,,2026-03-01\nUlm,4,2026-04-01\n")
        .unwrap();
    let rows = |columns: &[&str], condition: &str| {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection { columns, condition: Some(condition.to_owned()), ..Selection::default() };
        Frame::read(path.to_str().unwrap(), &selection).map_err(|problem| problem.to_string())
    };
    for (condition, expected) in [
        ("town = 'Bonn'", 2),
        ("n >= 2", 2),
        ("not n >= 2", 1),
        ("n is null or town in ('Ulm', 'Köln')", 3),
        ("at between '2026-01-15' and '2026-03-15'", 2),
        ("town like '%ln' and n < 3", 1),
        ("town not in ('Bonn') and n = -2", 0),
    ] {
        assert_eq!(rows(&[], condition).unwrap().rows, expected, "{condition}");
    }
    let chosen = rows(&["n"], "town = 'Bonn'").unwrap();
    assert_eq!(kinds(&chosen), [("n", DataKind::Numeric)]);
    assert!(rows(&[], "city = 'Bonn'").unwrap_err().contains("has no column `city`"));
    assert!(rows(&[], "town > 3").unwrap_err().contains("`town` (text) cannot be compared with 3 (number)"));
    assert!(rows(&["m"], "n > 3").unwrap_err().contains("has no column `m`"));
}

#[test]
fn times_of_parquet_are_utc_whatever_their_unit_and_zone() {
    use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray, TimestampSecondArray};
    use std::sync::Arc;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let plain: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(1_769_940_000), None]));
    let zoned: ArrayRef = Arc::new(
        TimestampMillisecondArray::from(vec![Some(1_769_940_000_000), None])
            .with_timezone("America/New_York"),
    );
    let batch = RecordBatch::try_from_iter([("plain", plain), ("zoned", zoned)]).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let frame = read(&path).unwrap();
    for name in ["plain", "zoned"] {
        assert_eq!(frame.column(name).unwrap().times(), [Some(1_769_940_000_000_000), None], "{name}");
    }
}

/// Found by fuzzing: offsets and lengths that an Arrow file claims and does not have made the reader panic, or set aside
/// what they claim.
#[test]
fn a_damaged_file_of_columns_is_an_error_and_never_a_crash() {
    use arrow::array::{ArrayRef, BooleanArray, DictionaryArray, Float64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::FileWriter;
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;
    let plan: DictionaryArray<Int32Type> = [Some("a"), None, Some("b")].into_iter().collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(StringArray::from(vec!["x", "y", "z"])) as ArrayRef, true),
        ("n", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)])), true),
        ("plan", Arc::new(plan), true),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), true),
    ])
    .unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let arrow = writer.into_inner().unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let parquet = writer.into_inner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, whole) in [("a.arrow", arrow), ("a.parquet", parquet)] {
        let path = dir.path().join(name);
        let read_as = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path)
        };
        assert_eq!(read_as(&whole).unwrap().rows, 3);
        let (mut refused, mut damaged) = (0, whole.clone());
        for place in 0..whole.len() {
            for bit in [0x01, 0x10, 0x80] {
                damaged[place] ^= bit;
                refused += u32::from(read_as(&damaged).is_err());
                damaged[place] = whole[place];
            }
        }
        assert!(refused > 100, "{name}: {refused}");
        for length in (0..whole.len()).step_by(7) {
            assert!(read_as(&whole[..length]).is_err(), "{name}: {length}");
        }
    }
}

/// Found by fuzzing: a line of bars, which is a header of as many columns, took half a megabyte for each.
#[test]
fn a_short_file_of_many_columns_takes_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wide.csv");
    let columns = 100_000;
    let names: Vec<String> = (0..columns).map(|place| format!("c{place}")).collect();
    fs::write(&path, format!("{}\n{}\n", names.join("|"), vec!["1"; columns].join("|"))).unwrap();
    let frame = read(&path).unwrap();
    assert_eq!((frame.rows, frame.columns.len()), (1, columns));
}
