//! `steersman tune` on the bundled flights, and what it says of bad input.

use crate::run;
use serde_json::Value;
use std::fs;
use steersman_domain::ModelSpec;

const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo_flights_nyc.csv.gz");

#[test]
fn policies_are_replayed_and_the_recommended_one_is_a_valid_spec() {
    let dir = tempfile::tempdir().unwrap();
    let html = dir.path().join("tuning.html");
    let small = ["--chunk", "21d", "--history", "63d", "--rows", "1000"];
    let columns = ["--target", "label", "--time", "ts", "--label-time", "label_ts"];
    let files = ["--json", "-", "--html", html.to_str().unwrap()];
    let arguments = [["tune", FLIGHTS].as_slice(), &columns, &small, &files].concat();
    let (code, out, err) = run(&arguments);
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let policies = found["policies"].as_array().unwrap();
    let named = |name: &str| policies.iter().find(|policy| policy["name"] == name).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();

    let never = number(&found["never_loss"]);
    assert_eq!(number(&named("never")["loss"]), never);
    assert!((0.1..0.25).contains(&never), "{never}");
    // With a gate and all history a schedule does no harm, and nothing that trains and serves at once beats hindsight.
    for name in ["every chunk, gate, expanding", "every 2 chunks, gate, expanding"] {
        assert!(number(&named(name)["loss"]) <= never * 1.001, "{name}: {}", named(name)["loss"]);
    }
    let best = found["best"].as_array().unwrap();
    assert!(best.windows(2).all(|pair| number(&pair[1]["loss"]) <= number(&pair[0]["loss"]) + 1e-12));
    let least = number(&best.last().unwrap()["loss"]);
    let ungated = policies.iter().filter(|policy| policy["gate"] == false);
    assert!(
        ungated.clone().count() > 20 && ungated.clone().all(|policy| number(&policy["loss"]) >= least - 1e-9)
    );
    for policy in policies {
        assert!(policy["promotions"].as_u64() <= policy["trainings"].as_u64(), "{policy}");
        assert!(number(&policy["interval"][0]) <= number(&policy["loss"]), "{policy}");
    }
    assert_eq!(
        found["timeline"].as_array().unwrap().len() as u64,
        found["replay"]["chunks"].as_u64().unwrap()
    );
    assert!(number(&found["persistence_loss"]) > never);
    assert!(!found["features"].as_array().unwrap().contains(&"id".into()));

    assert!(named(found["recommended"].as_str().unwrap())["expressible"] == true);
    let spec = format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y'}}\n[data]\nreference='r'\ntime='t'\n{}",
        found["spec"].as_str().unwrap()
    );
    ModelSpec::parse(&spec).unwrap();
    let specs = policies.iter().filter(|policy| policy["spec"].is_string()).count();
    assert_eq!(specs, policies.iter().filter(|policy| policy["expressible"] == true).count());
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("All policies") && !page.contains("http"), "page");
    // The same again, to the last digit.
    assert_eq!(run(&arguments).1, out);
}

#[test]
fn bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("history.csv");
    let row = |day: usize| format!("2026-01-{:02} 00:00,{},{},low\n", 1 + day % 28, day % 7, day % 2);
    fs::write(&data, "at,x,y,word\n".to_owned() + &(0..28).map(row).collect::<String>()).unwrap();
    let data = data.to_str().unwrap();
    let said = |arguments: &[&str], words: &str| {
        let (code, _, err) = run(&[&["tune", data], arguments].concat());
        assert!(code == 2 && err.contains(words), "{arguments:?}: {code} {err}");
    };
    said(&["--target", "y", "--time", "at"], "--label-time");
    said(&["--target", "z", "--time", "at", "--delay", "1h"], "has no column `z`");
    said(&["--target", "y", "--time", "x", "--delay", "1h"], "column `x` holds no times");
    said(&["--target", "word", "--time", "at", "--delay", "1h"], "--target: column `word` holds no numbers");
    said(&["--target", "x", "--time", "at", "--delay", "1h", "--task", "binary"], "not all 0 or 1");
    said(
        &["--target", "y", "--time", "at", "--delay", "1h", "--chunk", "14d"],
        "chunks after the history are too few",
    );
    said(&["--target", "y", "--time", "at", "--delay", "1h", "--chunk", "2d"], "labels are known");
    said(
        &["--target", "y", "--time", "at", "--delay", "1h", "--features", "word", "--tolerance", "0.9"],
        "--tolerance",
    );
    said(
        &["--target", "y", "--time", "at", "--delay", "1h", "--where", "y = 1"],
        "there is nothing to learn",
    );
}
