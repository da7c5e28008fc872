//! `steersman rollout` against a running platform: what people may do to a rollout, up to the champion that comes back.

use crate::platform::{Up, champion, project};
use crate::run;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A command for this platform, in ada's name.
fn say(up: &Up, arguments: &[&str]) -> (i32, String, String) {
    let by = if arguments[0] == "rollouts" || arguments[1] == "show" { &[][..] } else { &["--by", "ada"] };
    run(&[arguments, by, &["--server", &up.page]].concat())
}

fn refused(up: &Up, arguments: &[&str], words: &str) {
    let (code, out, err) = say(up, arguments);
    assert!(code == 2 && err.contains(words), "{arguments:?}: {code} {out} {err}");
}

fn done(up: &Up, arguments: &[&str]) -> String {
    let (code, out, err) = say(up, arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

fn last(up: &Up) -> Value {
    let rollouts = up.get("/models/churn/rollouts");
    rollouts.as_array().and_then(|all| all.last()).cloned().unwrap_or_default()
}

fn in_stage(up: &Up, stage: usize) {
    up.wait("the stage", |up| (last(up)["stages"].as_array()?.len() == stage + 1).then_some(()));
}

fn asked(up: &Up, step: &str) {
    up.wait("the question", |up| {
        let approvals = last(up)["approvals"].clone();
        let open = |one: &Value| one["step"] == step && one["answer"].is_null();
        approvals.as_array()?.iter().any(open).then_some(())
    });
}

#[test]
fn people_hold_a_rollout_go_on_without_proof_and_take_it_back() {
    let (dir, spec) = project(None);
    let rollout = "[rollout]\nstages=['5%', '50%', '100%']\napproval='before_start'\nguardrails=['errors']\n";
    let text = fs::read_to_string(&spec).unwrap() + rollout;
    fs::write(&spec, text).unwrap();
    let up = Up::start(dir.path(), Some(&spec));
    up.wait("a champion", champion);
    let out = done(&up, &["rollout", "show", "churn"]);
    assert!(out.contains("no rollout of churn is under way"), "{out}");

    // The champion's artefact, brought again.
    let runs = dir.path().join("state/models/churn/runs");
    let mut trained = fs::read_dir(&runs).unwrap().map(|run| run.unwrap().path().join("artifact"));
    let artifact: PathBuf = trained.find(|path| path.exists()).unwrap();
    let register = ["register", "churn", artifact.to_str().unwrap(), "--note", "again"];
    done(&up, &register);
    refused(&up, &["rollout", "start", "churn", "v9"], "`churn` has no version v9");
    refused(&up, &["rollout", "start", "churn", "v1"], "v1 cannot be rolled out against itself");
    let start = ["rollout", "start", "churn", "v2", "--skip", "evaluation", "--reason", "a drill"];
    refused(&up, &["rollout", "start", "churn", "v2", "--skip", "evaluation"], "--reason");
    refused(
        &up,
        &["rollout", "start", "churn", "v2", "--skip", "tests", "--reason", "x"],
        "cannot be skipped",
    );
    done(&up, &start);
    asked(&up, "before_start");
    let id = last(&up)["rollout"].as_str().unwrap().to_owned();
    let id = id.as_str();
    refused(&up, &["rollout", "skip", id, "--reason", "now"], "it has not begun its first stage");
    refused(&up, &["rollout", "pause", "rol-0123456789ab"], "no rollout `rol-0123456789ab` is under way");
    refused(&up, &["rollout", "pause", "roll-1"], "roll-1");
    done(&up, &["approve", id]);
    in_stage(&up, 0);

    done(&up, &["rollout", "pause", id, "--reason", "holiday"]);
    refused(&up, &["rollout", "pause", id], "it is paused already");
    refused(&up, &["rollout", "skip", id], "a reason is needed to skip a rollout");
    let shown = done(&up, &["rollout", "show", "churn"]);
    assert!(shown.contains("[5%], 50%, 100%") && shown.contains("paused at"), "{shown}");
    done(&up, &["rollout", "resume", id]);
    refused(&up, &["rollout", "resume", id], "it is not paused");

    // Where rollouts need approval, going on without proof does too.
    done(&up, &["rollout", "skip", id, "--reason", "checked by hand"]);
    asked(&up, "skip");
    let page = up.wait("the page", |up| {
        let runtime = tokio::runtime::Runtime::new().ok()?;
        runtime.block_on(async {
            reqwest::get(format!("{}/models/churn", up.page)).await.ok()?.text().await.ok()
        })
    });
    assert!(page.contains("may v2 go on without proof? ada wants it: checked by hand"), "{page}");
    done(&up, &["approve", id]);
    in_stage(&up, 1);
    done(&up, &["rollout", "skip", id, "--reason", "and on"]);
    asked(&up, "skip");
    done(&up, &["approve", id]);
    up.wait("the promotion", |up| (champion(up)? == "v2").then_some(()));
    let shown = done(&up, &["rollout", "show", "churn"]);
    assert!(shown.contains("v2 serves; v1 stands ready until"), "{shown}");
    refused(&up, &["rollout", "pause", id], "`abort` brings the old champion back");
    refused(&up, &["rollout", "abort", id], "a reason is needed to abort a rollout");
    done(&up, &["rollout", "abort", id, "--reason", "complaints"]);
    up.wait("the old champion", |up| (champion(up)? == "v1").then_some(()));
    assert!(done(&up, &["rollouts", "churn"]).contains("reverted"));

    // What was reverted does not come back by itself, nor under another number.
    refused(&up, &start, "v2 is fenced: reverted: a person wanted it back: complaints");
    done(&up, &register);
    let again = ["rollout", "start", "churn", "v3", "--skip", "evaluation", "--reason", "again"];
    refused(&up, &again, "the same artefact as v2");
    done(&up, &[&again[..], &["--skip", "fence"]].concat());
    up.wait("another rollout", |up| (last(up)["candidate"] == json!("v3")).then_some(()));
    drop(up);
    assert_eq!(run(&["verify", "log", "--dir", dir.path().join("state").to_str().unwrap()]).0, 0);
}
