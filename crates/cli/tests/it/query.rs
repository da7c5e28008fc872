//! `steersman query` and `steersman features check` through the real binary.

use crate::platform::{Up, project};
use crate::{run, steersman};
use serde_json::{Value, json};
use std::fs;

fn rows(count: usize) -> String {
    let row = |row: usize| {
        let plan = if row.is_multiple_of(2) { "a" } else { "b" };
        json!({"id": format!("q{row}"), "time": format!("2026-02-{:02}T00:00:00Z", 1 + row % 28),
               "features": {"calls": row % 11, "plan": plan}, "score": 0.4})
        .to_string()
    };
    (0..count).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn records_are_asked_in_sql_with_and_without_a_running_platform() {
    let (dir, spec) = project(Some("exit 1"));
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let config = "[records]\nlocation = '../segments'\n[query]\nrows = 4000\nmost_rows = 5000\n";
    fs::write(state.join("steersman.toml"), config).unwrap();
    let up = Up::start(dir.path(), Some(&spec));
    // More than a segment, and a tail.
    assert_eq!(up.lines("/models/churn/records", &rows(5_000)).0, 200);
    let labels = (0..100).map(|row| {
        json!({"id": format!("q{row}"), "label": row % 2, "time": "2026-03-01T00:00:00Z"}).to_string()
    });
    assert_eq!(up.lines("/models/churn/labels", &labels.collect::<Vec<_>>().join("\n")).0, 200);
    assert_eq!(up.lines("/models/churn/records", &rows(5_010)).0, 200);

    let server = ["--server", &up.page];
    let ask = |arguments: &[&str]| run(&[&["query"], arguments, &server].concat());
    let counts = "SELECT plan, count(*) AS n, count(label) AS known FROM churn GROUP BY plan ORDER BY plan";
    let (code, out, _) = ask(&[counts, "--output", "json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &found),
        (0, &json!([{"plan": "a", "n": 2505, "known": 50}, {"plan": "b", "n": 2505, "known": 50}]))
    );
    assert_eq!(ask(&[counts, "--output", "csv"]).1, "plan,n,known\na,2505,50\nb,2505,50\n");
    let (_, out, _) = ask(&[]);
    assert!(out.contains("churn  calls") && out.contains("label_time"), "{out}");
    let (_, out, notes) = ask(&["SELECT id FROM churn", "--limit", "3"]);
    assert_eq!((out.lines().count(), notes.contains("--limit N")), (4, true), "{out} {notes}");
    let (code, _, error) = ask(&["SELECT cals FROM churn"]);
    assert!(code == 2 && error.contains("did you mean `calls`?"), "{error}");
    let (code, _, error) = ask(&["DROP TABLE churn"]);
    assert!(code == 2 && error.contains("`DROP` is not allowed"), "{error}");

    // The limits are those of the configuration, and a query that meets one is counted.
    let (_, out, notes) = ask(&["SELECT id FROM churn", "--output", "ndjson"]);
    assert!(out.lines().count() == 4_000 && notes.contains("--limit N"), "{notes}");
    let (status, problem) = up.post("/query", &json!({"sql": "SELECT id FROM churn", "limit": 5_001}));
    assert_eq!((status, problem["field"].as_str()), (400, Some("limit")));
    assert_eq!(up.metric("steersman_queries_refused_total{limit=\"size\"}"), 1);
    let (_, out, _) = ask(&[
        "SELECT abs(extract(epoch FROM now()) - extract(epoch FROM max(received_at))) < 3600 AS recent FROM churn",
        "--output",
        "csv",
    ]);
    assert_eq!(out, "recent\ntrue\n");
    let (status, problem) = up.post("/query", &json!({"sql": "SELECT 1", "limits": 3}));
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("limits"), "{problem}");
    let (status, answer) =
        up.post("/query", &json!({"sql": "SELECT id, time FROM churn ORDER BY id", "limit": 1}));
    assert_eq!(status, 200);
    assert_eq!(answer["columns"][0], json!({"name": "id", "type": "Utf8"}));
    assert_eq!(
        (&answer["rows"][0]["time"], &answer["truncated"]),
        (&json!("2026-02-01T00:00:00Z"), &json!(true))
    );

    // The folder is the platform's as long as it runs; where its segments are, its configuration says.
    let offline = ["query", counts, "--output", "csv", "--dir", state.to_str().unwrap()];
    let (code, _, error) = run(&offline);
    assert!(code == 2 && error.contains("--server URL"), "{error}");
    drop(up);
    assert_eq!(run(&offline), (0, "plan,n,known\na,2505,50\nb,2505,50\n".to_owned(), String::new()));
    assert!(fs::read_dir(dir.path().join("segments")).unwrap().count() > 0);
    let (code, out, _) = run(&[
        "query",
        "SELECT id FROM churn",
        "--output",
        "csv",
        "--limit",
        "5010",
        "--dir",
        state.to_str().unwrap(),
    ]);
    assert_eq!((code, out.lines().count()), (0, 5_011));
    let (code, _, error) = run(&["query", "--dir", dir.path().to_str().unwrap()]);
    assert!(code == 2 && error.contains("not the folder of a platform"), "{error}");
}

#[test]
fn features_are_checked_in_files_and_in_a_platform() {
    let (dir, spec) = project(Some("exit 1"));
    let table = |name: &str, wrong: usize| {
        let path = dir.path().join(name);
        let mut text = "plan,event_time,calls\n".to_owned();
        for day in 1..=28 {
            // Of plan `a` all records of a day have what is here, but for the wrong ones.
            text.push_str(&format!(
                "a,2026-02-{day:02}T00:00:00Z,{}\n",
                if day <= wrong { 99 } else { day % 7 }
            ));
        }
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (table("good.csv", 0), table("bad.csv", 4));
    let line = |day: usize| {
        json!({"id": format!("q{day}"), "time": format!("2026-02-{day:02}T10:00:00Z"),
               "features": {"calls": day % 7, "plan": "a"}, "score": 0.4})
        .to_string()
    };
    let up = Up::start(dir.path(), Some(&spec));
    assert_eq!(up.lines("/models/churn/records", &(1..=28).map(line).collect::<Vec<_>>().join("\n")).0, 200);
    let check = |table: &str, more: &[&str]| {
        run(&[&["features", "check", "--table", table, "--entity", "plan"], more].concat())
    };
    let here = ["--model", "churn", "--server", &up.page];
    let (code, out, error) = check(&good, &here);
    assert!(code == 0 && out.contains("as it should be"), "{out} {error}");
    let (code, out, _) = check(&bad, &[&here[..], &["--output", "json"]].concat());
    let report: Value = serde_json::from_str(&out).unwrap();
    let feature = &report["features"][0];
    assert_eq!((code, &feature["name"], &feature["mismatches"]), (1, &json!("calls"), &json!(4)));
    assert_eq!(feature["examples"][0]["id"], "q1");
    assert_eq!(feature["examples"][0]["expected"], "99");
    assert_eq!(check(&bad, &[&here[..], &["--accept", "0.2"]].concat()).0, 0);
    assert_eq!(check(&bad, &[&here[..], &["--where", "time >= '2026-02-05'"]].concat()).0, 0);

    let csv =
        run(&["query", "SELECT id, time, plan, calls FROM churn", "--output", "csv", "--server", &up.page]).1;
    let records = dir.path().join("records.csv");
    fs::write(&records, csv).unwrap();
    let records = ["--records", records.to_str().unwrap()];
    assert_eq!(check(&good, &records).0, 0);
    let (code, out, _) = check(&bad, &records);
    assert!(code == 1 && out.contains("saw 1, should have seen 99"), "{out}");
    let (code, _, error) = check(&bad, &["--records", "nowhere.csv"]);
    assert!(code == 2 && error.contains("nowhere.csv"), "{error}");
    assert_eq!(steersman(&["features", "check", "--table", &good]).output().unwrap().status.code(), Some(2));
}
