//! One program, run as a user's own: in its own process group, with a clean environment, a time limit and a log.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Environment variables that every program gets, if they are set.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// How long a program may take to end after it was asked to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Lines of the log that a failure quotes.
const QUOTED_LINES: usize = 5;

/// Why a run did not succeed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFailure {
    /// What went wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Names of environment variables that it gets beside the usual ones.
    pub environment: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Program {
    /// Starts it.
    pub(crate) fn spawn(&self) -> Result<Group, RunFailure> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.and_then(|log| Ok((log.try_clone()?, log))).map_err(|error| RunFailure {
            reason: format!("cannot write the log `{}`: {error}", self.log.display()),
            hint: "make room, or check who may write there".to_owned(),
        })?;
        let (program, arguments) = self.command.split_first().ok_or_else(|| RunFailure {
            reason: "the command is empty".to_owned(),
            hint: "a program and its arguments, as a list of strings".to_owned(),
        })?;
        let names = PASSED_ON.iter().copied().chain(self.environment.iter().map(String::as_str));
        let environment: BTreeMap<&str, _> =
            names.filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.0)
            .stderr(log.1)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| RunFailure {
                reason: format!("`{program}` cannot be started: {error}"),
                hint: format!("it is run in `{}` with PATH, HOME, LANG and TMPDIR", self.folder.display()),
            })?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Group { child, id })
    }
}

/// A running program with all its descendants; dropping it kills them.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    /// The number of the process group.
    pub(crate) fn id(&self) -> Option<i32> {
        self.id.map(Pid::as_raw_pid)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, then makes it.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Runs a program to its end, at most for `timeout`; then it is stopped with all that it started.
pub async fn run(program: &Program, timeout: Duration) -> Result<(), RunFailure> {
    let mut group = program.spawn()?;
    let name = program.command.first().map_or("", String::as_str);
    let status = match tokio::time::timeout(timeout, group.wait()).await {
        Err(_) => {
            group.stop().await;
            return Err(RunFailure {
                reason: format!("`{name}` did not end within {} s and was stopped", timeout.as_secs()),
                hint: format!(
                    "raise `retrain.timeout`, or see what it waits for in {}",
                    program.log.display()
                ),
            });
        }
        Ok(Err(error)) => {
            return Err(RunFailure {
                reason: format!("`{name}` was lost: {error}"),
                hint: "try again".to_owned(),
            });
        }
        Ok(Ok(status)) => status,
    };
    if status.success() {
        return Ok(());
    }
    let last = last_lines(&program.log);
    let quoted = if last.is_empty() { String::new() } else { format!(": {last}") };
    Err(RunFailure {
        reason: format!("`{name}` {}{quoted}", ending(status)),
        hint: format!("its output is in {}", program.log.display()),
    })
}

/// How a process ended, in words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last lines of a log, in one line.
pub(crate) fn last_lines(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let quoted = lines[lines.len().saturating_sub(QUOTED_LINES)..].join(" | ");
    quoted.chars().take(600).collect()
}
