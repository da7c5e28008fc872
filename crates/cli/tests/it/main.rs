//! The real binary, from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod commands;
mod compare;
mod demo;
mod estimate;
mod gateway;
mod import;
mod ingest;
mod personal;
mod platform;
mod query;
mod replicas;
mod rollout;
mod shared_records;
mod simulate;
mod tune;

use std::process::{Command, Output};

/// The binary under test.
fn steersman(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steersman"));
    command.args(arguments).env_remove("STEERSMAN_SERVER").env_remove("STEERSMAN_LOG");
    command
}

/// Runs it to its end: exit code, output, errors.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = steersman(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}
