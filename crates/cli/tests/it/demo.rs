//! The demo's story, read from its ledger.

use crate::run;
use std::collections::BTreeSet;
use steersman_domain::Fact;
use steersman_domain::fact::{RolloutOutcome, RunTask, VerdictOutcome};
use steersman_store::{Store, verify_dir};

#[test]
fn the_whole_loop_on_a_year_of_flights() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("demo");
    let folder_text = folder.to_str().unwrap();
    let (code, out, err) = run(&[
        "demo",
        "--fast",
        "--exit",
        "--dir",
        folder_text,
        "--listen",
        "127.0.0.1:0",
        "--gateway",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, 0, "{out}\n{err}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (entries, verified) = runtime.block_on(async {
        let store = Store::open(&folder).await.unwrap();
        let entries = store.entries(0, 100_000).await.unwrap();
        store.close().await;
        (entries, verify_dir(&folder, None).await.unwrap())
    });
    assert_eq!(verified.size, entries.len() as u64);
    let model = &verified.state.models[&"flight-delay".parse().unwrap()];

    // Trained as an ordinary run, evaluated, serving before the first request.
    assert!(matches!(model.runs[0].task, RunTask::Train { .. }) && model.runs[0].snapshot.is_some());
    assert_eq!(model.champions[0].version.to_string(), "v1");
    // It went wrong, was noticed, was trained anew.
    let performance =
        model.signals.iter().find(|signal| signal.measurement.monitor.as_str() == "performance").unwrap();
    let retrained = model.runs.iter().find(|run| run.reason.starts_with("performance was bad")).unwrap();
    assert!(performance.raised_at <= retrained.requested_at);
    // The new version was judged on live traffic before it served.
    let promoted = model
        .rollouts
        .iter()
        .find(|rollout| rollout.finished.as_ref().is_some_and(|end| end.outcome == RolloutOutcome::Promoted))
        .unwrap();
    assert!(promoted.seq > retrained.seq);
    assert!(promoted.verdicts.iter().all(|verdict| verdict.verdict.outcome == VerdictOutcome::Pass));
    assert!(model.champions.iter().any(|reign| reign.version == promoted.candidate));
    // The bad version was caught, and never served everybody.
    let drill = model.versions.values().find(|version| version.note.starts_with("a drill")).unwrap();
    let caught = model.rollouts.iter().find(|rollout| rollout.candidate == drill.version).unwrap();
    let end = caught.finished.as_ref().unwrap();
    assert_eq!(end.outcome, RolloutOutcome::RolledBack);
    assert!((1..=400).contains(&end.exposed), "{} exposed", end.exposed);
    assert!(out.contains(&format!("{} requests were exposed to it", end.exposed)), "{out}");
    assert!(!model.champions.iter().any(|reign| reign.version == drill.version));
    // Every effect follows the intent that decided it, and none was decided twice.
    let mut intents = BTreeSet::new();
    for entry in &entries {
        let intent = match &entry.fact {
            Fact::RunRequested { intent, .. }
            | Fact::StageEntered { intent, .. }
            | Fact::RolloutStarted { intent, .. } => intent,
            _ => continue,
        };
        assert!(intents.insert(intent.clone()), "{intent} twice");
    }
    // The report is there and is the one that the ledger names.
    let report = std::fs::read(folder.join("health.html")).unwrap();
    let digest = steersman_domain::Digest::of(&report);
    assert!(
        entries.iter().any(
            |entry| matches!(&entry.fact, Fact::ReportIssued { digest: issued, .. } if *issued == digest)
        )
    );

    // One flipped byte anywhere in an entry is found.
    assert_eq!(run(&["verify", "log", "--dir", folder_text]).0, 0);
    runtime.block_on(flip_a_byte(&folder));
    let (code, out, _) = run(&["verify", "log", "--dir", folder_text]);
    assert_eq!(code, 1, "{out}");
    assert!(out.starts_with("NOT AS SIGNED"), "{out}");
}

async fn flip_a_byte(folder: &std::path::Path) {
    // The text of an entry in the database file, one letter changed.
    let path = folder.join("steersman.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = br#""kind":"champion.changed""#;
    let place = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[place + needle.len() - 4] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}
