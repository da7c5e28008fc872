//! `steersman import` and `snapshot`: a history goes in once, and comes out as training data.

use crate::platform::Up;
use std::path::Path;
use std::process::Output;

const SPEC: &str = r#"
[model]
name = "calls"
task = "binary"
prediction = "score"
label = { column = "y", expected_delay = "1d" }

[data]
reference = "reference.csv"
time = "ts"
id = "id"
"#;

/// Rows of a day each, the labels of which turn with the feature.
fn history(dir: &Path, name: &str, month: u32, odd: &str) {
    let mut text = "id,ts,x,score,y\n".to_owned();
    for row in 0..200 {
        let (day, hour) = (1 + row / 24, row % 24);
        let x = if row == 120 { odd.to_owned() } else { format!("{}", row * 37 % 100) };
        let y = u8::from(row * 37 % 100 > 50);
        text += &format!(
            "{month}-{row},2026-{month:02}-{day:02}T{hour:02}:00:00Z,{x},0.{},{y}\n",
            row * 37 % 100
        );
    }
    std::fs::write(dir.join(name), text).unwrap();
}

fn run(dir: &Path, up: &Up, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_steersman"));
    let state = dir.join("marks");
    command.args(arguments).env("STEERSMAN_SERVER", &up.page).env("XDG_STATE_HOME", state).current_dir(dir);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_history_goes_in_once_and_comes_out_as_known_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    history(dir, "reference.csv", 1, "3");
    history(dir, "past.csv", 3, "4");
    history(dir, "odd.csv", 4, "oops");
    std::fs::write(dir.join("calls.toml"), SPEC).unwrap();
    let up = Up::start(dir, Some(&dir.join("calls.toml")));

    let first = run(dir, &up, &["import", "calls", "past.csv", "--output", "json"]);
    let counts: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(counts["records"]["accepted"], 200, "{}", told(&first));
    assert_eq!(counts["labels"]["accepted"], 200);
    let again = run(dir, &up, &["import", "calls", "past.csv"]);
    assert!(told(&again).contains("records: 0 new, 200 there already"), "{}", told(&again));

    // The cell that is no number is named, although it makes the whole column one of texts.
    let odd = run(dir, &up, &["import", "calls", "odd.csv"]);
    assert_eq!(odd.status.code(), Some(2));
    assert!(told(&odd).contains("odd.csv, line 122: `oops` in column `x` is not a number"), "{}", told(&odd));

    let taken = run(dir, &up, &["snapshot", "calls", "--file", "train.csv"]);
    assert!(told(&taken).starts_with("400 rows in `train.csv`, digest sha256:"), "{}", told(&taken));
    let rows = std::fs::read_to_string(dir.join("train.csv")).unwrap();
    assert_eq!(rows.lines().count(), 401);
    let same = run(dir, &up, &["snapshot", "calls", "--file", "again.parquet"]);
    let digest = |output: &Output| told(output).split("digest ").nth(1).map(str::trim).map(str::to_owned);
    assert_eq!(digest(&taken), digest(&same));
}
