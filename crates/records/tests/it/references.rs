//! Reference files: what is learnt from them, and what is said of bad ones.

use std::fs;
use steersman_domain::ModelSpec;
use steersman_domain::schema::ColumnKind;
use steersman_records::reference::read_reference;

fn spec(file: &str, extra: &str) -> ModelSpec {
    ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={{column='late'}}\n[data]\nreference='{file}'\ntime='ts'\n{extra}"
    ))
    .unwrap()
}

fn read(text: &str, extra: &str) -> Result<steersman_records::reference::Reference, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.csv");
    fs::write(&path, text).unwrap();
    let shown = path.display().to_string();
    read_reference(&path, &spec("data.csv", extra))
        .map_err(|problem| problem.to_string().replace(&shown, "data.csv"))
}

#[test]
fn the_schema_is_learnt() {
    let reference =
        read("ts,hour,town,night,late\n2026-01-01,3,Bonn,true,1\n2026-01-02,,Köln,false,\n", "").unwrap();
    let kinds: Vec<_> =
        reference.schema.features.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    let expected =
        [("hour", ColumnKind::Numeric), ("town", ColumnKind::Categorical), ("night", ColumnKind::Boolean)];
    assert_eq!(kinds, expected);
    assert_eq!((reference.rows, reference.labelled), (2, 1));
    assert_eq!(reference.table.numbers("hour"), [Some(3.0), None]);
}

#[test]
fn a_bad_file_is_refused_with_the_place() {
    let refusal = |text: &str| read(text, "").unwrap_err();
    assert!(
        refusal("ts,a,late\n2026-01-01,1,2\n").starts_with("line 2: label 2 in column `late` is not 0 or 1")
    );
    assert!(refusal("ts,a,late\n2026-01-01,1,1\nsoon,1,0\n").starts_with("line 3: `soon` is not a time"));
    assert!(
        refusal("ts,a,late\n2026-01-01,1\n").starts_with("data.csv, line 2: 2 cells where the header has 3")
    );
    assert!(refusal("ts,a\n2026-01-01,1\n").contains("model.label.column: `data.csv` has no column `late`"));
    assert!(refusal("ts,id,late\n2026-01-01,1,1\n").contains("a feature cannot be called `id`"));
    assert!(refusal("ts,a,late\n").contains("holds no rows"));
    assert!(read("ts,a,late\n2026-01-01,1,1\n", "ignore=['b']").unwrap_err().contains("data.ignore"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.parquet");
    fs::write(&path, "PAR1 and no more").unwrap();
    assert!(read_reference(&path, &spec("x", "")).unwrap_err().to_string().contains("as Parquet"));
    let missing = read_reference(&dir.path().join("none.csv"), &spec("x", "")).unwrap_err().to_string();
    assert!(
        missing.contains("there is no file or folder")
            && missing.contains("Parquet and Arrow files are read"),
        "{missing}"
    );
}
