//! `steersman simulate rollout`: on a spec and its data, on given figures, and what it says of bad input.

use crate::run;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Four weeks of calls, all in the daytime; labels come two hours later, one call in fifty fails.
fn project(dir: &Path) -> String {
    let mut data = "ts,x,score,late,known,status\n".to_owned();
    let mut row = 0;
    for day in 1..29 {
        for hour in 8..20 {
            for minute in (0..60).step_by(5) {
                let late = u8::from(row % 5 == 0);
                let score = if row % 10 == 0 { 1 - late } else { late };
                let status = if row % 50 == 0 { 503 } else { 200 };
                data.push_str(&format!(
                    "2026-01-{day:02}T{hour:02}:{minute:02}:00Z,{row},{score},{late},2026-01-{day:02}T{:02}:{minute:02}:00Z,{status}\n",
                    hour + 2
                ));
                row += 1;
            }
        }
    }
    fs::write(dir.join("calls.csv"), data).unwrap();
    let spec = dir.join("model.toml");
    let text = "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={column='late', time='known', expected_delay='3h'}\n\
                [data]\nreference='calls.csv'\ntime='ts'\n[rollout]\nstages=['20%', '100%']\nguardrails=['errors', 'performance']\n";
    fs::write(&spec, text).unwrap();
    spec.display().to_string()
}

#[test]
fn strategies_stand_side_by_side_on_the_traffic_of_a_spec() {
    let dir = tempfile::tempdir().unwrap();
    let spec = project(dir.path());
    let html = dir.path().join("rollouts.html");
    let small =
        ["--rollouts", "60", "--strategies", "shadow,blue_green", "--stages", "slow: shadow 1d, 10%, 100%"];
    let files = ["--json", "-", "--html", html.to_str().unwrap()];
    let arguments = [&["simulate", "rollout", &spec], &small[..], &files].concat();
    let (code, out, err) = run(&arguments);
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let traffic = &found["traffic"];
    let near = |value: &Value, wanted: f64| {
        let value = value.as_f64().unwrap();
        assert!((value / wanted - 1.0).abs() < 0.02, "{value} {wanted}");
    };
    near(&traffic["per_day"], 144.0);
    near(&traffic["errors"], 0.02);
    near(&traffic["wrong"], 0.1);
    near(&traffic["label_delays"][10], 7_200.0);
    let rates = traffic["rates"].as_array().unwrap();
    assert!(rates.len() == 168 && rates.iter().filter(|rate| rate.as_f64() == Some(0.0)).count() == 84);
    let names: Vec<&str> =
        found["strategies"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["spec: canary", "shadow", "blue_green", "slow"]);
    for strategy in found["strategies"].as_array().unwrap() {
        for outcome in strategy["outcomes"].as_array().unwrap() {
            let share = |name: &str| outcome[name].as_f64().unwrap();
            let parts = ["rolled_back", "reverted", "promoted", "withdrawn", "asked"];
            let all: f64 = parts.iter().map(|part| share(part)).sum();
            assert!((all - 1.0).abs() < 1e-9, "{outcome}");
            if outcome["ratio"] == 1.0 {
                assert!(share("rolled_back") <= 0.15, "{outcome}");
            }
        }
    }
    // Ten times the failures are found by all who look before the promotion, and copies expose nobody.
    let tenfold = |place: usize| {
        let outcomes = found["strategies"][place]["outcomes"].as_array().unwrap();
        let is = |one: &&Value| one["guardrail"] == "errors" && one["ratio"] == 10.0;
        let outcome = outcomes.iter().find(is).unwrap();
        assert!(outcome["rolled_back"].as_f64().unwrap() > 0.9, "{outcome}");
        outcome["exposed_mean"].as_f64().unwrap()
    };
    assert!(tenfold(0) > 1.0 && tenfold(1) < 1.0, "{} {}", tenfold(0), tenfold(1));
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("spec: canary") && !page.contains("http"), "page");
    // The same again, to the last digit, however many processors share the work.
    assert_eq!(run(&arguments).1, out);
    let (code, out, _) =
        run(&[&["simulate", "rollout", &spec, "--strategies", "none"], &small[..2]].concat());
    assert!(code == 0 && out.contains("as good as the champion") && out.contains("NEITHER"), "{out}");
}

#[test]
fn figures_do_without_data_and_bad_input_is_named() {
    let given = ["simulate", "rollout", "--per-day", "86400", "--rollouts", "20", "--strategies", "canary"];
    let (code, out, err) =
        run(&[&given[..], &["--errors", "0.05", "--wrong", "0.2", "--output", "json"]].concat());
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["traffic"]["errors"], found["notes"].as_array().unwrap().len()), (&0.05.into(), 0));
    let dir = tempfile::tempdir().unwrap();
    let spec = project(dir.path());
    let said = |arguments: &[&str], words: &str| {
        let (code, _, err) = run(&[&["simulate", "rollout"], arguments].concat());
        assert!(code == 2 && err.contains(words), "{arguments:?}: {code} {err}");
    };
    said(&[], "--per-day: how much traffic is there?");
    said(&["--per-day", "0"], "not a number of requests above 0");
    said(&["--per-day", "10", "--errors", "1.5"], "not a share between 0 and 1");
    said(&["--per-day", "10", "--worse", "0.5"], "a ratio above 1");
    said(&["--per-day", "10", "--rollouts", "1"], "10..=1000000");
    said(&["--per-day", "10", "--strategies", "bandit"], "there are canary, shadow");
    said(&["--per-day", "10", "--stages", "odd: 50%, 20%, 100%"], "--stages odd: does not rise");
    said(&["--per-day", "10", "--stages", "odd: fast"], "--stages odd");
    said(&["--per-day", "10", "--strategies", "none"], "no strategy is left to simulate");
    said(&["--per-day", "10", "--where", "x = 1"], "there are no rows to choose from");
    said(&[&spec, "--time", "when"], "has no column `when`");
    said(&[&spec, "--time", "x"], "--time: column `x` of");
    said(&[&spec, "--where", "x < 0"], "holds no times");
    said(&["no-such.toml"], "cannot read the spec `no-such.toml`");
    said(&[&spec, "--traffic", "none.csv"], "none.csv");
}
