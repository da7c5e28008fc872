//! Performance before the labels: estimates are near what came, alarms name when, and bad input gets a clear word.

use crate::run;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::Path;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/car_loan_reference.csv.gz");
const ANALYSIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/car_loan_analysis.csv.gz");

/// Runs with JSON output: exit code and result.
fn estimated(arguments: &[&str]) -> (i32, Value) {
    let all: Vec<&str> = ["estimate"].iter().chain(arguments).chain(&["--json", "-"]).copied().collect();
    let (code, out, err) = run(&all);
    assert!(code < 2, "{err}");
    (code, serde_json::from_str(&out).unwrap())
}

fn car_loan(more: &[&str]) -> (i32, Value) {
    car_loan_of(ANALYSIS, more)
}

fn car_loan_of(current: &str, more: &[&str]) -> (i32, Value) {
    let base =
        [REFERENCE, current, "--prediction", "y_pred_proba", "--target", "label", "--decision", "y_pred"];
    let own = ["--label-time", "label_ts"];
    estimated(&base.iter().chain(&own).chain(more).copied().collect::<Vec<&str>>())
}

fn metric<'a>(metrics: &'a Value, name: &str) -> &'a Value {
    metrics.as_array().unwrap().iter().find(|metric| metric["name"] == name).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The analysis file without its last two columns.
fn without_labels() -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(ANALYSIS).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| line.rsplitn(3, ',').nth(2).unwrap().to_owned() + "\n").collect()
}

#[test]
fn car_loans_are_estimated_before_with_and_after_their_labels() {
    let (code, all) = car_loan(&[]);
    assert_eq!((code, all["task"].as_str(), all["method"].as_str()), (1, Some("binary"), Some("cbpe")));
    // Accuracy falls on 2019-03-31, which scores alone show.
    let later = ["--where", "ts < '2018-10-30' or ts > '2019-03-31'"];
    let dir = tempfile::tempdir().unwrap();
    let unlabelled = dir.path().join("unlabelled.csv");
    fs::write(&unlabelled, without_labels()).unwrap();
    let unlabelled = unlabelled.to_str().unwrap();
    let (_, came) = car_loan(&later);
    let (code, before) = car_loan_of(unlabelled, &[later, ["--chunk-rows", "1250"]].concat());
    assert_eq!(code, 1, "{}", before["summary"]);
    assert_eq!((&before["current"]["labelled"], &before["maturity"]), (&Value::from(0), &Value::Null));
    assert!(
        before["calibration"]["needed"].as_bool().unwrap()
            && before["blind"].as_str().unwrap().contains("concept")
    );
    for name in
        ["roc_auc", "average_precision", "f1", "precision", "recall", "specificity", "accuracy", "brier"]
    {
        let (own, came) = (metric(&before["metrics"], name), metric(&came["metrics"], name));
        assert_eq!(
            (own["basis"].as_str(), came["basis"].as_str()),
            (Some("estimated"), Some("realised")),
            "{name}"
        );
        let (found, realised) = (&own["estimated"], number(&came["realised"]["value"]));
        assert!((number(&found["value"]) - realised).abs() < 0.025, "{name}: {own} {came}");
        assert!(
            number(&found["low"]) <= realised && realised <= number(&found["high"]),
            "{name}: {own} {came}"
        );
        assert!(number(&own["adapted"]["effective_rows"]) > 500.0);
        assert!(own["realised"].is_null() && own["corrected"].is_null() && !own["reference"].is_null());
    }
    assert_eq!(metric(&before["metrics"], "accuracy")["alarm"], true);
    let chunks = before["chunks"].as_array().unwrap();
    let of_side = |reference: bool| chunks.iter().filter(|chunk| chunk["reference"] == reference).count();
    assert_eq!((of_side(true), of_side(false)), (4, 2), "{chunks:?}");
    assert_eq!(car_loan_of(unlabelled, &["--where", "ts < '2019-03-31'"]).0, 0);
    // Seen in June, the labels of the last thirty days are missing; the others correct the estimate.
    let (_, truth) = car_loan(&["--where", "ts < '2019-06-15'"]);
    let (_, partly) = car_loan(&["--as-of", "2019-06-15T00:00:00Z", "--value", "tp=100,fp=-40,fn=-200,tn=0"]);
    let maturity = &partly["maturity"];
    assert!((number(&maturity["share"]) - number(&maturity["expected"])).abs() < 0.02, "{maturity}");
    for name in ["accuracy", "f1", "recall", "brier"] {
        let own = metric(&partly["metrics"], name);
        assert_eq!(own["basis"], "corrected");
        let realised = number(&metric(&truth["metrics"], name)["realised"]["value"]);
        assert!((number(&own["corrected"]["value"]) - realised).abs() < 0.015, "{own} {realised}");
    }
    let cells = ["true_positive", "false_positive", "false_negative", "true_negative"];
    let worth = [100.0, -40.0, -200.0, 0.0];
    let sum: f64 = cells
        .iter()
        .zip(worth)
        .map(|(cell, worth)| worth * number(&metric(&partly["metrics"], cell)["estimated"]["value"]))
        .sum();
    assert!((sum - number(&metric(&partly["metrics"], "business_value")["estimated"]["value"])).abs() < 1e-6);
}

/// Rows with two features, a number that is predicted and its truth, three classes; `shift` makes hard rows frequent.
fn generated(path: &Path, rows: u64, shift: f64, with_truth: bool) -> f64 {
    let mut state = 88_172_645_463_325_252u64 ^ rows;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut text = "when,hard,size,guess,p_a,p_b,p_c".to_owned();
    text.push_str(if with_truth { ",truth,kind\n" } else { "\n" });
    let mut error = 0.0;
    for row in 0..rows {
        let hard = f64::from(u8::from(uniform() < 0.2 + shift));
        let size = 10.0 + 90.0 * uniform();
        let noise = (uniform() - 0.5) * if hard > 0.0 { 40.0 } else { 8.0 };
        let (guess, truth) = (2.0 * size, 2.0 * size + noise);
        error += noise.abs();
        let (a, b) = (0.8 * uniform(), 0.2 * uniform());
        let draw = uniform();
        let kind = if draw < a {
            "a"
        } else if draw < a + b {
            "b"
        } else {
            "c"
        };
        let minute = row % 60;
        let (hour, day) = (row / 60 % 24, 1 + row / 1440);
        let _ = write!(
            text,
            "2026-01-{day:02}T{hour:02}:{minute:02}:00Z,{hard},{size:.3},{guess:.3},{a:.4},{b:.4},{:.4}",
            1.0 - a - b
        );
        let _ = if with_truth { writeln!(text, ",{truth:.3},{kind}") } else { writeln!(text) };
    }
    fs::write(path, text).unwrap();
    error / rows as f64
}

#[test]
fn harder_rows_make_a_number_worse_and_the_report_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (reference, hard, usual, page) =
        (file("ref.csv"), file("hard.csv"), file("usual.csv"), file("page.html"));
    generated(Path::new(&reference), 4_000, 0.0, true);
    let truth = generated(Path::new(&hard), 1_500, 0.6, false);
    generated(Path::new(&usual), 1_000, 0.0, false);
    let base = ["--prediction", "guess", "--target", "truth", "--features", "hard,size", "--window", "12h"];
    let with = |file: &str, more: &[&str]| {
        let all: Vec<&str> = [reference.as_str(), file].iter().chain(&base).chain(more).copied().collect();
        estimated(&all)
    };
    let (code, found) = with(&hard, &["--metrics", "mae,rmse", "--html", &page]);
    assert_eq!(
        (code, found["method"].as_str(), found["task_inferred"].as_bool()),
        (1, Some("dle"), Some(true))
    );
    let mae = metric(&found["metrics"], "mae");
    assert!((number(&mae["estimated"]["value"]) - truth).abs() < 0.05 * truth, "{mae} {truth}");
    assert!(
        number(&mae["estimated"]["low"]) <= truth && truth <= number(&mae["estimated"]["high"]),
        "{mae} {truth}"
    );
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.matches("<svg").count() == 2 && html.contains("What it cannot see"), "{}", html.len());
    assert_eq!(with(&usual, &["--metrics", "mae"]).0, 0);
    let (code, found) = with(&usual, &["--floor", "mae=1"]);
    assert_eq!((code, found["metrics"][0]["alarm"].as_bool()), (1, Some(true)), "{}", found["summary"]);
}

#[test]
fn several_classes_and_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (reference, current) = (file("ref.csv"), file("cur.csv"));
    generated(Path::new(&reference), 3_000, 0.0, true);
    generated(Path::new(&current), 1_000, 0.0, true);
    let classes = ["--target", "kind", "--probability", "a=p_a", "--probability", "b=p_b"];
    let both = [reference.as_str(), current.as_str()];
    let all: Vec<&str> = both.iter().chain(&classes).chain(&["--probability", "c=p_c"]).copied().collect();
    let (code, found) = estimated(&all);
    assert_eq!((code, found["task"].as_str()), (0, Some("multiclass")), "{}", found["summary"]);
    let accuracy = metric(&found["metrics"], "accuracy");
    assert!((number(&accuracy["estimated"]["value"]) - number(&accuracy["realised"]["value"])).abs() < 0.05);

    let fails = |arguments: &[&str], words: &str| {
        let all: Vec<&str> = ["estimate"].iter().chain(&both).chain(arguments).copied().collect();
        let (code, _, err) = run(&all);
        assert!(code == 2 && err.contains(words), "{arguments:?}: {err}");
    };
    fails(&classes, "is `c` at line");
    fails(&["--target", "truth"], "--prediction");
    fails(&["--target", "late", "--prediction", "guess"], "has no column `late`");
    fails(&["--target", "kind", "--prediction", "guess"], "the task cannot be inferred");
    fails(&["--target", "truth", "--prediction", "p_a", "--task", "binary"], "which is not 0 or 1");
    fails(&["--target", "hard", "--prediction", "guess"], "which is not a probability between 0 and 1");
    fails(&["--target", "hard", "--prediction", "p_a", "--where", "hard = 1"], "one class teaches nothing");
    fails(&["--target", "truth", "--prediction", "guess", "--where", "size < 11"], "at least 100 are needed");
    fails(&["--target", "hard", "--prediction", "p_a", "--features", "nothing"], "has no column `nothing`");
    fails(&["--target", "hard", "--prediction", "p_a", "--metrics", "mae"], "`mae` is no metric");
    fails(&["--target", "hard", "--prediction", "p_a", "--floor", "roc_auc"], "write a name");
    fails(&["--target", "hard", "--prediction", "p_a", "--value", "tp=1,xx=2"], "`xx` is no cell");
    fails(&["--target", "hard", "--prediction", "p_a", "--decision", "size"], "decision `size`");
    fails(&["--target", "hard", "--prediction", "p_a", "--window", "x"], "is not a period");
    fails(&["--target", "hard", "--prediction", "p_a", "--time", "size"], "holds no times");
    fails(&["--target", "hard", "--prediction", "p_a", "--where", "size < 0"], "holds no rows");
    // Neither side has anything that tells rows apart.
    let bare = file("bare.csv");
    let text: String = (0..200).map(|row| format!("{},{}\n", row % 7, row % 5)).collect();
    fs::write(&bare, format!("guess,truth\n{text}")).unwrap();
    let (code, _, err) = run(&["estimate", &bare, &bare, "--prediction", "guess", "--target", "truth"]);
    assert!(code == 2 && err.contains("no column of both sides can be a feature"), "{err}");
}
