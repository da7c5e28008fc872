//! Values about persons are on no disk: whatever way they come, all bytes of the platform's folder are searched for them.

use crate::platform::{Up, champion, project};
use crate::{run, steersman};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_records::frame::{Frame, Selection};

const ADA: &str = "ada@example.org";
const ROAD: &str = "Ockham Road 7";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The files that hold one of these words, also where columns are packed.
fn holding(dir: &Path, words: &[&str]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        let plain =
            words.iter().any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()));
        let columns = path.extension().is_some_and(|extension| extension == "parquet")
            && Frame::read(&path.display().to_string(), &Selection::default()).is_ok_and(|frame| {
                let cell = |text: String| words.iter().any(|word| text.contains(word));
                frame
                    .columns
                    .iter()
                    .any(|column| (0..frame.rows).filter_map(|row| column.category(row)).any(cell))
            });
        plain || columns
    };
    files(dir).into_iter().filter(holds).collect()
}

/// The project of the other tests, with a mail address and a street in its data.
fn personal_project() -> (tempfile::TempDir, PathBuf) {
    let (dir, spec) = project(None);
    let data = fs::read_to_string(dir.path().join("churn.csv")).unwrap();
    let mut lines = data.lines();
    let mut text = format!("email,street,{}\n", lines.next().unwrap());
    for (row, line) in lines.enumerate() {
        let email = if row == 7 { ADA.to_owned() } else { format!("user{}@example.org", row % 40) };
        text.push_str(&format!("{email},{ROAD},{line}\n"));
    }
    fs::write(dir.path().join("churn.csv"), text).unwrap();
    let text = fs::read_to_string(&spec).unwrap();
    let text = text
        .replace("id='id'\n", "id='id'\npersonal={email='hash', street='drop'}\n")
        .replace("'2s'", "'60s'");
    fs::write(&spec, text).unwrap();
    (dir, spec)
}

fn start(dir: &Path, spec: &Path, log: &str) -> Up {
    let mut command = steersman(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--gateway",
        "127.0.0.1:0",
        "--dir",
        "state",
        "--apply",
    ]);
    command.arg(spec).current_dir(dir).env("STEERSMAN_LOG", "debug");
    command.stderr(File::create(dir.join(log)).unwrap());
    Up::from(command)
}

fn record(id: &str, email: &str) -> String {
    json!({"id": id, "time": "2026-02-01T00:00:00Z", "score": 0.4,
           "features": {"calls": 3, "plan": "a", "email": email, "street": ROAD}})
    .to_string()
}

fn arrow(id: &str) -> Vec<u8> {
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let columns: [(&str, ArrayRef); 7] = [
        ("id", text(id)),
        ("time", text("2026-02-01T00:00:00Z")),
        ("calls", Arc::new(Float64Array::from(vec![3.0]))),
        ("plan", text("a")),
        ("email", text(ADA)),
        ("street", text(ROAD)),
        ("score", Arc::new(Float64Array::from(vec![0.4]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn post(up: &Up, path: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let request = reqwest::Client::new().post(format!("{}/api/v1{path}", up.page));
        let response = request.header("content-type", kind).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    })
}

fn hashes(up: &Up) -> Vec<(String, u64)> {
    let sql = "SELECT email, count(*) AS n FROM churn GROUP BY email ORDER BY n DESC";
    let answer = up.post("/query", &json!({"sql": sql})).1;
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["email"].as_str().unwrap_or("").to_owned(), row["n"].as_u64().unwrap())).collect()
}

#[test]
fn what_is_about_a_person_is_on_no_disk() {
    let (dir, spec) = personal_project();
    let up = start(dir.path(), &spec, "first.log");
    assert_eq!(up.wait("a champion", champion), "v1");
    // Records in every format, good ones and such that are refused.
    let lines = [
        record("r1", ADA),
        record("r2", "bob@example.org"),
        record("bad", ADA).replace(":3,", ":\"3\","),
        format!("\"{ADA}\""),
        record("odd", ADA).replace("\"score\"", "\"scoer\""),
        format!("{{\"id\": \"cut\", \"features\": {{\"email\": \"{ADA}\""),
    ];
    let (status, reply) = up.lines("/models/churn/records", &lines.join("\n"));
    assert_eq!((status, &reply["accepted"], &reply["rejected"]), (207, &json!(2), &json!(4)), "{reply}");
    // Nobody need be told that the schema lacks what is dropped.
    assert_eq!(reply["unknown_columns"], json!({}));
    let array = format!("[{}]", record("r3", ADA));
    assert_eq!(post(&up, "/models/churn/records", "application/json", array.into()).0, 200);
    assert_eq!(post(&up, "/models/churn/records", "application/vnd.apache.arrow.stream", arrow("r4")).0, 200);
    // Calls that others saw, and one that is none.
    let event = |id: &str, kind: &str, data: Value| {
        let event = json!({"specversion": "1.0", "id": id, "source": "x", "time": "2026-02-01T00:00:00Z",
                           "type": format!("org.kubeflow.serving.inference.{kind}"), "data": data});
        post(&up, "/models/churn/events", "application/cloudevents+json", event.to_string().into()).0
    };
    let instance = json!({"calls": 3, "plan": "a", "email": ADA, "street": ROAD});
    for (id, request, then) in
        [("r5", json!({"instances": [instance]}), 200), ("r6", json!({"instances": ADA}), 400)]
    {
        assert_eq!(event(id, "request", request), 202);
        assert_eq!(event(id, "response", json!({"predictions": [0.4]})), then);
    }
    // Calls through the gateway, of which one cannot be a record.
    let tensor = |name: &str, kind: &str, value: Value| json!({"name": name, "shape": [1], "datatype": kind, "data": [value]});
    let infer = |id: &str, calls: Value| {
        let inputs = json!([
            tensor("calls", "FP64", calls),
            tensor("plan", "BYTES", json!("a")),
            tensor("email", "BYTES", json!(ADA)),
            tensor("street", "BYTES", json!(ROAD)),
        ]);
        let url = format!("{}/v2/models/churn/infer", up.gateway);
        up.call(
            reqwest::Method::POST,
            &url,
            "application/json",
            json!({"id": id, "inputs": inputs}).to_string(),
        )
        .0
    };
    up.wait("an answer", |_| (infer("r7", json!(9)) == 200).then_some(()));
    infer("r8", json!({"email": ADA}));
    // A history.
    let history = format!(
        "id,time,calls,plan,email,street,score,churned\nr9,2026-01-20T00:00:00Z,3,a,{ADA},{ROAD},0.4,1\n"
    );
    fs::write(dir.path().join("history.csv"), history).unwrap();
    let mut import = steersman(&["import", "churn", "history.csv", "--server", &up.page]);
    import.current_dir(dir.path()).env("XDG_STATE_HOME", dir.path().join("state/marks"));
    assert!(import.output().unwrap().status.success());
    up.wait("all records", |up| (hashes(up).iter().map(|(_, n)| n).sum::<u64>() >= 7).then_some(()));

    // One value is one category, whichever way it came.
    let found = hashes(&up);
    let ada = found[0].0.clone();
    assert!(ada.starts_with("hash:") && ada.len() == 37 && found.len() == 2, "{found:?}");
    assert_eq!(found.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [6, 1]);
    // In the write-ahead log, in the quarantine and in the log nothing is left of it, nor in what a training got.
    let state = dir.path().join("state");
    let words = [ADA, ROAD, "bob@example.org", "user12@example.org"];
    assert_eq!(holding(&state, &words), Vec::<PathBuf>::new());
    let refused = up.get("/models/churn/quarantine");
    assert!(!refused.to_string().contains(ADA) && refused.as_array().unwrap().len() >= 5, "{refused}");
    let train = dir.path().join("train.csv");
    let (code, out, _) = run(&["snapshot", "churn", "--file", train.to_str().unwrap(), "--server", &up.page]);
    let taken = fs::read_to_string(&train).unwrap();
    assert!(code == 0 && taken.contains(&ada) && !taken.contains(ADA) && !taken.contains("street"), "{out}");
    drop(up);
    assert_eq!(holding(&state, &words), Vec::<PathBuf>::new());
    assert!(holding(&state, &[&ada]).len() > 2);

    // The secret is the owner's alone, and in no other file.
    use std::os::unix::fs::PermissionsExt as _;
    let key = state.join("keys/personal.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&key).unwrap();
    assert_eq!(holding(dir.path(), &[secret.trim()]), std::slice::from_ref(&key));

    // After a restart it is the same hash, and the person can be erased by name.
    let up = start(dir.path(), &spec, "second.log");
    assert_eq!(up.lines("/models/churn/records", &record("r10", ADA)).0, 200);
    assert_eq!(hashes(&up)[0], (ada.clone(), 7));
    let subject = format!("email={ADA}");
    let (code, out, err) = run(&["forget", "churn", "--subject", &subject, "--server", &up.page]);
    assert!(code == 0 && out.contains("erased 7 records"), "{out}{err}");
    let (code, _, err) = run(&["forget", "churn", "--subject", "street=x", "--server", &up.page]);
    assert!(code == 2 && err.contains("no record has a column `street`"), "{err}");
    assert_eq!(hashes(&up).len(), 1);
    drop(up);
    for log in ["first.log", "second.log"] {
        let text = fs::read_to_string(dir.path().join(log)).unwrap();
        assert!(!text.is_empty() && !words.iter().any(|word| text.contains(word)), "{text}");
    }
    // Without the secret nothing goes on under other hashes.
    fs::remove_file(&key).unwrap();
    let state = state.to_str().unwrap();
    let (code, _, err) = run(&["up", "--dir", state, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]);
    assert!(code == 2 && err.contains("personal.key` is not there"), "{err}");
}
