//! Programs that fail in every way, and artefacts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use steersman_act::artifact::{digest, import};
use steersman_act::command::RunFailure;
use steersman_act::server::Servers;
use steersman_act::train::{Trained, Training, train};
use steersman_domain::spec::{ModelSpec, Repeatable, ServeSection};
use steersman_domain::{ErrorKind, Period, RunId, Version};

fn training(dir: &Path, script: &str) -> Training {
    let spec = ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y'}}\n[data]\nreference='r'\ntime='t'\n\
         [retrain]\ncommand=['sh','-c','{script}','{{snapshot}}','{{artifact}}']\ntimeout='1s'\n"
    ))
    .unwrap();
    Training {
        model: spec.model.name.clone(),
        run: RunId::derive(&["test"]),
        retrain: spec.retrain.unwrap(),
        folder: dir.to_owned(),
        snapshot: dir.join("snapshot.csv"),
        artifact: dir.join("artifact"),
        log: dir.join("log.txt"),
    }
}

async fn outcome(script: &str) -> Result<Trained, RunFailure> {
    let dir = tempfile::tempdir().unwrap();
    train(&training(dir.path(), script)).await
}

#[tokio::test]
async fn a_good_run_leaves_an_artefact_and_numbers_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo model > $1/model; echo {\\\"loss\\\": 0.25} > $1/metrics.json; echo ran >> runs";
    // The first argument after the script is `$0`.
    let first = train(&training(dir.path(), &script.replace('\'', ""))).await;
    let first = first.unwrap();
    assert_eq!(first.metrics, BTreeMap::from([("loss".to_owned(), 0.25)]));
    assert_eq!(first.artifact, digest(&dir.path().join("artifact")).unwrap());
    assert_eq!(train(&training(dir.path(), script)).await.unwrap(), first);
    assert_eq!(fs::read_to_string(dir.path().join("runs")).unwrap(), "ran\n");
}

#[tokio::test]
async fn every_way_to_fail_says_what_happened_and_what_to_do() {
    let failed = outcome("echo no such column >&2; exit 3").await.unwrap_err();
    assert_eq!(failed.reason, "`sh` ended with exit code 3: no such column");
    let empty = outcome("true").await.unwrap_err();
    assert!(empty.reason.ends_with("holds no file") && empty.hint.contains("{artifact}"), "{empty:?}");
    let numbers = outcome("echo x > $1/metrics.json").await.unwrap_err();
    assert!(numbers.reason.starts_with("`metrics.json` is not an object of numbers"), "{numbers:?}");
    let dir = tempfile::tempdir().unwrap();
    let mut unknown = training(dir.path(), "true");
    unknown.retrain.command[0] = "no-such-program".to_owned();
    assert!(train(&unknown).await.unwrap_err().reason.starts_with("`no-such-program` cannot be started"));
}

#[tokio::test]
async fn a_program_that_hangs_is_stopped_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let failure = train(&training(dir.path(), "sleep 300 & echo $! > child; wait")).await.unwrap_err();
    assert_eq!(failure.reason, "`sh` did not end within 1 s and was stopped");
    let child = fs::read_to_string(dir.path().join("child")).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    // Ended, or a zombie that nobody has waited for.
    for _ in 0..100 {
        if state().is_empty() || state().contains(") Z ") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the child still runs: {}", state());
}

#[tokio::test]
async fn a_server_that_ends_or_never_answers_is_explained_and_kept_from_starting_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let servers = Servers::new(dir.path().join("servers"));
    let serve = |script: &str| ServeSection {
        command: ["sh", "-c", script, "{artifact}", "{port}"].map(str::to_owned).to_vec(),
        ready_timeout: Period::from_seconds(1),
        environment: Vec::new(),
        url: None,
        grpc_url: None,
        repeatable: Repeatable::default(),
    };
    let name = "m".parse().unwrap();
    let ensure = async |version: u32, script: &str| {
        servers.ensure(&name, Version(version), &serve(script), dir.path(), dir.path()).await.unwrap_err()
    };
    let ended = ensure(1, "echo no model here; exit 1").await;
    assert_eq!(ended.kind, ErrorKind::Upstream);
    assert!(ended.message.contains("before it was ready: no model here"), "{ended}");
    ensure(1, "exit 1").await;
    assert_eq!(ensure(1, "exit 1").await.kind, ErrorKind::Unavailable);
    assert!(ensure(2, "sleep 60").await.message.contains("was not ready within 1s"));
    servers.stop_all().await;
}

#[test]
fn a_digest_tells_names_and_bytes_and_survives_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::create_dir_all(one.join("sub")).unwrap();
    fs::write(one.join("sub/a"), "x").unwrap();
    let before = digest(&one).unwrap();
    import(&one, &two).unwrap();
    assert_eq!(digest(&two).unwrap(), before);
    fs::rename(two.join("sub/a"), two.join("sub/b")).unwrap();
    assert_ne!(digest(&two).unwrap(), before);
    fs::write(one.join("sub/a"), "y").unwrap();
    assert_ne!(digest(&one).unwrap(), before);
    import(&one.join("sub/a"), &two).unwrap();
    assert_eq!(fs::read_to_string(two.join("a")).unwrap(), "y");
}
