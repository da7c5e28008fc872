//! `steersman compare` on the bundled flights and on odd input.

use crate::run;
use serde_json::Value;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The bundled flights, unpacked.
fn flights(dir: &Path) -> PathBuf {
    let packed = include_bytes!("../../data/demo_flights_nyc.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let path = dir.join("flights.csv");
    fs::write(&path, text).unwrap();
    path
}

/// The rows of a CSV file for which `keep` holds.
fn part(path: &Path, name: &str, keep: impl Fn(&[&str]) -> bool) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let mut kept = vec![lines.next().unwrap().to_owned()];
    kept.extend(lines.filter(|line| keep(&line.split(',').collect::<Vec<_>>())).map(str::to_owned));
    let part = path.with_file_name(name);
    fs::write(&part, kept.join("\n") + "\n").unwrap();
    part.to_str().unwrap().to_owned()
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(&[&["compare"], arguments, &["--json", "-"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{err}")))
}

fn column<'a>(found: &'a Value, name: &str) -> &'a Value {
    found["columns"].as_array().unwrap().iter().find(|column| column["name"] == name).unwrap()
}

#[test]
fn summer_is_not_winter_and_every_other_row_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let all = flights(dir.path());
    let winter = part(&all, "winter.csv", |cells| ("2013-01".."2013-03").contains(&cells[1]));
    let summer = part(&all, "summer.csv", |cells| ("2013-06".."2013-08").contains(&cells[1]));
    let html = dir.path().join("report.html");
    let (code, found) = json(&[&winter, &summer, "--target", "label", "--html", html.to_str().unwrap()]);
    assert_eq!((code, &found["drifted"]), (1, &Value::Bool(true)));
    let temperature = column(&found, "temp");
    assert_eq!(temperature["kind"], "numeric");
    assert!(temperature["drifted"].as_bool().unwrap() && temperature["effect"].as_f64().unwrap() > 1.0);
    assert!(temperature["moved"].as_str().unwrap().starts_with("median 3"), "{temperature}");
    for name in [
        "jensen_shannon",
        "hellinger",
        "psi",
        "kolmogorov_smirnov",
        "wasserstein",
        "kl_divergence",
        "l_infinity",
    ] {
        assert!(temperature["distances"][name].is_number(), "{name}");
    }
    for name in ["chi_square", "cramers_v"] {
        assert!(column(&found, "carrier")["distances"][name].is_number(), "{name}");
    }
    assert!(!column(&found, "origin")["drifted"].as_bool().unwrap());
    assert_eq!(column(&found, "id")["why"], "an identifier: nearly every value is different");
    assert!(found["harm"]["expected"].is_number() && found["joint"]["drifted"].as_bool().unwrap());
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("drifted") && !page.contains("http"), "self-contained");
    // Every other row of the same months: nothing moved.
    let number = |cells: &[&str]| cells[0].parse::<usize>().unwrap();
    let even = part(&all, "even.csv", |cells| number(cells) % 2 == 0);
    let odd = part(&all, "odd.csv", |cells| number(cells) % 2 == 1);
    for time in [&[][..], &["--no-time"]] {
        let (code, found) = json(&[&[even.as_str(), odd.as_str(), "--segment", "origin"], time].concat());
        assert_eq!((code, &found["drifted"]), (0, &Value::Bool(false)), "{}", found["summary"]);
        assert_eq!(found["segments"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn a_shuffled_column_is_found_by_all_columns_together() {
    let dir = tempfile::tempdir().unwrap();
    let noise = |row: u64, salt: u64| {
        let mut z = (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut rows = ["x,y\n".to_owned(), "x,y\n".to_owned()];
    for row in 0..4_000 {
        let y = |of: u64| noise(of, 1) + 0.5 * noise(of, 2);
        rows[0].push_str(&format!("{},{}\n", noise(row, 1), y(row)));
        // The same values of y, of another row.
        rows[1].push_str(&format!("{},{}\n", noise(row, 1), y((row + 1_777) % 4_000)));
    }
    let paths = [dir.path().join("a.csv"), dir.path().join("b.csv")];
    paths.iter().zip(&rows).for_each(|(path, rows)| fs::write(path, rows).unwrap());
    let (code, found) = json(&[paths[0].to_str().unwrap(), paths[1].to_str().unwrap()]);
    assert!(found["columns"].as_array().unwrap().iter().all(|column| column["drifted"] == false), "{found}");
    assert_eq!((code, &found["joint"]["drifted"]), (1, &Value::Bool(true)), "{}", found["joint"]);
    assert!(found["summary"].as_str().unwrap().contains("the columns together did"), "{}", found["summary"]);
}

#[test]
fn odd_input_gets_a_word_and_a_result_where_there_can_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows = |line: &dyn Fn(usize) -> String| (0..200).map(line).collect::<String>();
    let reference = file(
        "a.csv",
        &format!(
            "n,constant,empty,kind,when,late,n\n{}",
            rows(&|row| format!(
                "{},7,,{},2026-01-01 10:{:02},{},{row}\n",
                row % 50,
                row % 4,
                row % 60,
                row % 2
            ))
        ),
    );
    let current = file(
        "b.csv",
        &format!(
            "n,constant,empty,kind,when,extra\n{}",
            rows(&|row| format!(
                "{},7,,{},2026-02-01 10:{:02},x\n",
                if row == 3 { "inf".to_owned() } else { (row % 50).to_string() },
                ["a", "b"][row % 2],
                row % 60
            ))
        ),
    );
    let (code, found) = json(&[&reference, &current]);
    assert_eq!(code, 1);
    assert_eq!(column(&found, "empty")["why"], "no data: neither side has a value");
    assert_eq!(column(&found, "constant")["drifted"], false);
    assert_eq!(column(&found, "kind")["why"], "it was numeric, now it is categorical");
    assert_eq!(column(&found, "n")["summary"]["current"]["infinite"], 1);
    assert_eq!((&found["removed"][0], &found["added"][0]), (&Value::from("late"), &Value::from("extra")));
    assert!(found["notes"].to_string().contains("column name `n` occurs twice"), "{}", found["notes"]);
    let one = file("one.csv", "n,kind\n3,a\n");
    let (code, found) = json(&[&reference, &one]);
    assert_eq!(code, 1, "the kind of a column changed");
    assert!(
        column(&found, "n")["why"].as_str().unwrap().starts_with("too few: the current data has 1 values")
    );
    let refusal = |arguments: &[&str]| {
        let (code, _, err) = run(&[&["compare"], arguments].concat());
        assert_eq!(code, 2, "{err}");
        err
    };
    assert!(refusal(&[&reference, &file("other.csv", "z\n1\n")]).contains("no column in common"));
    assert!(refusal(&[&reference, &file("none.csv", "")]).contains("none.csv: the file is empty"));
    assert!(refusal(&[&reference, &file("header.csv", "n,kind\n")]).contains("holds no rows"));
    assert!(refusal(&[&reference, &current, "--where", "nn > 3"]).contains("has no column `nn`"));
    assert!(refusal(&[&reference, &current, "--time", "n"]).contains("holds no times but is numeric"));
    assert!(refusal(&[&reference, "no-such-file.csv"]).contains("no-such-file.csv"));
    assert!(refusal(&[&reference, &current, "--columns", "n,m"]).contains("has no column `m`"));
}

#[test]
fn a_change_of_topic_is_found_in_texts_of_equal_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, words: [&str; 5], turn: usize| {
        let mut text = "id,note\n".to_owned();
        for row in 0..300usize {
            let place = |step: usize| words[(row * step + row / 5 + turn) % 5];
            // Every word has six letters, every text the same number of words.
            let note = (1..=4 + row % 7).map(place).collect::<Vec<_>>().join(" ");
            text.push_str(&format!("{row},{note} number {:06}\n", row * 7_919 % 999_983));
        }
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let refunds = ["refund", "amount", "credit", "charge", "return"];
    let before = file("before.csv", refunds, 0);
    let same = file("same.csv", refunds, 1);
    let other = file("other.csv", ["driver", "update", "screen", "reboot", "kernel"], 0);
    let html = dir.path().join("report.html");
    let (code, found) = json(&[&before, &other, "--html", html.to_str().unwrap()]);
    let note = column(&found, "note");
    assert_eq!(
        (code, note["kind"].as_str(), note["drifted"].as_bool()),
        (1, Some("text"), Some(true)),
        "{note}"
    );
    assert!(note["distances"]["mmd"].as_f64().unwrap() > 0.3 && note["distances"]["wasserstein"] == 0.0);
    assert!(note["p_values"]["mmd"].as_f64().unwrap() < 1e-3);
    assert!(note["why"].as_str().unwrap().starts_with("its words changed, certainly"), "{note}");
    assert!(fs::read_to_string(&html).unwrap().contains("mmd"));
    let (code, found) = json(&[&before, &same]);
    let note = column(&found, "note");
    assert_eq!((code, note["drifted"].as_bool()), (0, Some(false)), "{note}");
}

/// Scores and labels that follow them, of which so many of a hundred are turned around.
fn scored(dir: &Path, name: &str, turned: usize, seed: u64) -> String {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let mut text = "amount,score,label\n".to_owned();
    for row in 0..2_000 {
        let (amount, score) = (uniform(), uniform().powi(2));
        let label = (uniform() < score) != (row % 100 < turned);
        text.push_str(&format!("{amount:.4},{score:.4},{}\n", u8::from(label)));
    }
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn turned_labels_are_found_though_no_column_of_the_inputs_moved() {
    let dir = tempfile::tempdir().unwrap();
    let reference = scored(dir.path(), "reference.csv", 0, 1);
    let named = ["--target", "label", "--prediction", "score"];
    let calm = scored(dir.path(), "calm.csv", 0, 2);
    let (code, found) = json(&[&[reference.as_str(), &calm], named.as_slice()].concat());
    assert_eq!((code, &found["concept"]["drifted"]), (0, &Value::Bool(false)), "{}", found["concept"]);
    let turned = scored(dir.path(), "turned.csv", 10, 2);
    let (code, found) = json(&[&[reference.as_str(), &turned], named.as_slice()].concat());
    assert_eq!((code, &found["concept"]["drifted"]), (1, &Value::Bool(true)), "{}", found["concept"]);
    assert!(!column(&found, "amount")["drifted"].as_bool().unwrap());
    assert!(found["summary"].as_str().unwrap().contains("the truth follows the predictions in another way"));
    // Without a prediction there is nothing to follow.
    let (_, found) = json(&[&reference, &turned, "--target", "label"]);
    assert!(found["concept"].is_null());
}
