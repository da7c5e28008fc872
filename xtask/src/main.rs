//! Development tasks: `cargo xtask test`, `cargo xtask check`, `cargo xtask schema`.

mod rules;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "usage: cargo xtask TASK

  test    all tests, documentation examples included; installs cargo-nextest if it is missing
  check   format, lints, documentation, licences and bans; installs cargo-deny if it is missing
  schema  writes docs/spec.schema.json, the JSON Schema of a model's spec
";

/// Installed where the machine has none; any newer one does as well.
const NEXTEST: &str = "0.9.140";
/// The same for cargo-deny.
const DENY: &str = "0.20.2";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("test") => test(),
        Some("check") => check(),
        Some("schema") => schema(),
        _ => Err(HELP.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program for developers")]
fn say(message: &str) {
    eprintln!("{message}");
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    say(&format!("> {program} {}", arguments.join(" ")));
    let status =
        Command::new(program).args(arguments).envs(environment.iter().copied()).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program} {}` failed: {status}", arguments.join(" "))),
        Err(error) => Err(format!("`{program}` cannot be started: {error}")),
    }
}

fn installed(subcommand: &str) -> bool {
    Command::new("cargo").args([subcommand, "--version"]).output().is_ok_and(|output| output.status.success())
}

fn test() -> Result<(), String> {
    if !installed("nextest") {
        run("cargo", &["install", "cargo-nextest", "--version", NEXTEST, "--locked"], &[])?;
    }
    run("cargo", &["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"], &[])?;
    run("cargo", &["test", "--workspace", "--doc", "--quiet"], &[])
}

fn check() -> Result<(), String> {
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    run("cargo", &["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    if !installed("deny") {
        run("cargo", &["install", "cargo-deny", "--version", DENY, "--locked"], &[])?;
    }
    run("cargo", &["fetch", "--locked"], &[])?;
    run("cargo", &["deny", "--offline", "check", "bans", "licenses", "sources"], &[])
}

fn schema() -> Result<(), String> {
    let path = root().join("docs/spec.schema.json");
    std::fs::write(&path, rules::spec_schema()?)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
