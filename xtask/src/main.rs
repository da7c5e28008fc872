//! Development tasks: `cargo xtask test`, `cargo xtask check`, `cargo xtask schema`.

mod bucket;
mod postgres;
mod rules;

use bucket::Bucket;
use postgres::Postgres;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "usage: cargo xtask TASK

  test    all tests, documentation examples included; installs cargo-nextest if it is missing. Those that need Postgres
          run where Debian's packages are installed, or against the database in STEERSMAN_TEST_POSTGRES
  check   format, lints, documentation, licences and bans; installs cargo-deny if it is missing
  schema  writes docs/spec.schema.json and docs/config.schema.json, of a model's spec and of steersman.toml
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
pub(crate) fn say(message: &str) {
    eprintln!("{message}");
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    say(&format!("> {program} {}", arguments.join(" ")));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // What cargo says of this package is no news of others: build scripts that read it would run again, and what depends on
    // them (TLS, the query engine) would be compiled anew after each direct call of cargo.
    let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        command.env_remove(name);
    }
    match command.envs(environment.iter().copied()).status() {
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
    let (postgres, bucket) = (Postgres::start()?, Bucket::start()?);
    let urls = [
        (postgres::VARIABLE, postgres.as_ref().map(Postgres::url)),
        (bucket::VARIABLE, bucket.as_ref().map(Bucket::url)),
    ];
    let environment: Vec<(&str, &str)> =
        urls.iter().filter_map(|(name, url)| Some((*name, url.as_deref()?))).collect();
    run("cargo", &["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"], &environment)?;
    drop((postgres, bucket));
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
    for (name, schema) in rules::schemas()? {
        let path = root().join("docs").join(name);
        std::fs::write(&path, schema).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
