//! Commands that need no platform, and what they say of bad input.

use crate::run;
use std::fs;

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "demo",
        "estimate",
        "up",
        "compare",
        "init",
        "apply",
        "status",
        "incidents",
        "rollouts",
        "register",
        "approve",
        "reject",
        "report",
        "compare",
        "tune",
        "simulate",
        "rollout",
    ] {
        let (code, out, _) = run(&[command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(out.contains("steersman ") && out.contains("Usage:"), "{command}: {out}");
    }
    assert!(
        run(&["simulate", "rollout", "--help"]).1.contains("steersman simulate rollout model.toml --traffic")
    );
    for command in ["show", "start", "pause", "resume", "abort", "skip"] {
        let out = run(&["rollout", command, "--help"]).1;
        assert!(out.contains(&format!("steersman rollout {command} ")), "{out}");
    }
    assert!(run(&["verify", "log", "--help"]).1.contains("steersman verify log --dir"));
}

#[test]
fn init_writes_a_spec_that_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("Churn 2026.csv");
    fs::write(&data, "id,when,plan,calls,churned\n1,2026-01-01,a,3,0\n2,2026-01-02,b,,1\n").unwrap();
    let out = dir.path().join("churn.toml");
    let (code, _, err) =
        run(&["init", data.to_str().unwrap(), "--label", "churned", "--out", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let text = fs::read_to_string(&out).unwrap();
    assert!(
        text.contains("name = \"churn\"")
            && text.contains("task = \"binary\"")
            && text.contains("time = \"when\""),
        "{text}"
    );
    assert!(text.contains("#   calls: numeric, 1 distinct, 1 missing"), "{text}");
    let (code, _, err) = run(&["init", data.to_str().unwrap(), "--label", "left"]);
    assert_eq!(code, 2);
    assert!(err.contains("has no column `left`; it has id, when, plan, calls, churned"), "{err}");
    let (code, _, err) = run(&["init", "no-such-file.csv", "--label", "left"]);
    assert!(code == 2 && err.contains("no-such-file.csv"), "{err}");
}

#[test]
fn bad_specs_and_missing_files_name_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let spec = dir.path().join("model.toml");
    let base = "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='none.csv'\ntime='t'\n";
    let up = |text: &str| {
        fs::write(&spec, text).unwrap();
        let state = dir.path().join("state");
        run(&[
            "up",
            "--dir",
            state.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--gateway",
            "127.0.0.1:0",
            "--apply",
            spec.to_str().unwrap(),
        ])
    };
    let (code, _, err) = up(&format!("{base}[watch]\nwindwo='1d'\n"));
    assert!(code == 2 && err.contains("model.toml, watch.windwo (line 10): unknown field"), "{err}");
    let (code, _, err) = up(&format!("{base}[watch]\nwindow=1\n"));
    assert!(code == 2 && err.contains("watch.window (line 10): invalid type"), "{err}");
    let (code, _, err) = up(base);
    assert!(
        code == 2 && err.contains("none.csv") && err.contains("Parquet and Arrow files are read"),
        "{err}"
    );
    // What is wrong with a segment is said with its place in the spec.
    let mut data = "t,region,code,amount,y\n".to_owned();
    for row in 0..1_200 {
        let day = format!("2026-01-{:02}T00:00:00Z", 1 + row % 28);
        data.push_str(&format!("{day},{},c{row},{row}.5,{}\n", ["north", "south"][row % 2], row % 2));
    }
    fs::write(dir.path().join("rows.csv"), data).unwrap();
    let base = base.replace("none.csv", "rows.csv");
    for (segments, refusal) in [
        ("['region', 'region']", "data.segments[1]: `region` is named twice"),
        ("['y']", "data.segments[0]: `y` is no feature"),
        ("['regoin']", "data.segments[0]: the reference has no feature `regoin`"),
        ("['region', 'amount']", "data.segments[1]: `amount` is numeric"),
        ("['code']", "data.segments[0]: `code` has 1200 values, at most 1000"),
    ] {
        let (code, _, err) = up(&format!("{base}segments={segments}\n"));
        assert!(code == 2 && err.contains(refusal), "{segments}: {err}");
    }
    let (code, _, err) = run(&["verify", "log", "--dir", dir.path().to_str().unwrap()]);
    assert!(code == 2 && err.contains("there is no ledger in"), "{err}");
    let (code, _, err) = run(&[
        "up",
        "--listen",
        "0.0.0.0:0",
        "--gateway",
        "127.0.0.1:0",
        "--dir",
        dir.path().join("s").to_str().unwrap(),
    ]);
    assert!(code == 2 && err.contains("listen on 127.0.0.1"), "{err}");
    let (code, _, err) = run(&["status", "--server", "http://127.0.0.1:9"]);
    assert!(code == 2 && err.contains("start one with `steersman up`"), "{err}");
}
