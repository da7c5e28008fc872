//! A Postgres of one's own for the tests, from what Debian installs: in a temporary folder, on a socket in it, gone when
//! the tests are over.

use crate::say;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Tests write to the database at this URL, and are skipped where it is not set.
pub(crate) const VARIABLE: &str = "STEERSMAN_TEST_POSTGRES";

/// A running server.
pub(crate) struct Postgres {
    dir: PathBuf,
    programs: PathBuf,
    server: Child,
}

impl Postgres {
    /// Starts one; none, with a message, where Postgres is not installed or a URL is given.
    pub(crate) fn start() -> Result<Option<Self>, String> {
        if std::env::var_os(VARIABLE).is_some() {
            return Ok(None);
        }
        let Some(programs) = programs() else {
            say("no Postgres is installed, its tests are skipped: `apt-get install postgresql`");
            return Ok(None);
        };
        let dir = std::env::temp_dir().join(format!("steersman-postgres-{}", std::process::id()));
        let failed = |error: std::io::Error| format!("Postgres cannot be started: {error}");
        std::fs::create_dir_all(&dir).map_err(failed)?;
        if root() {
            finish(Command::new("chown").arg("postgres").arg(&dir))?;
        }
        let data = dir.join("data");
        finish(as_user(&programs, "initdb").arg("-D").arg(&data).args([
            "-U",
            "steersman",
            "-A",
            "trust",
            "--no-sync",
        ]))?;
        // What is tested survives the end of a process, not of the machine: nothing is forced to the disk.
        let server = as_user(&programs, "postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let started = Self { dir, programs, server };
        for _ in 0..300 {
            let mut ready = as_user(&started.programs, "pg_isready");
            if ready.arg("-q").arg("-h").arg(&started.dir).status().is_ok_and(|status| status.success()) {
                say(&format!("> Postgres in {}", started.dir.display()));
                return Ok(Some(started));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("Postgres does not come up".to_owned())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://steersman@localhost/postgres?host={}", self.dir.display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.join("data");
        let _ = finish(as_user(&self.programs, "pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data));
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The folder of the newest server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(version).max()?;
    let folder = Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin");
    folder.join("initdb").exists().then_some(folder)
}

/// A program of Postgres; it refuses to run as root.
fn as_user(programs: &Path, program: &str) -> Command {
    let program = programs.join(program);
    if !root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program).current_dir("/");
    command
}

fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?} failed: {errors}")) }
}
