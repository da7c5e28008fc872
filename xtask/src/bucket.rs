//! A server that speaks S3 for the tests: moto, in a Python environment of its own in the target folder.

use crate::{root, say};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Tests write to buckets of the server at this URL, and are skipped where it is not set.
pub(crate) const VARIABLE: &str = "STEERSMAN_TEST_S3";
const PACKAGE: &str = "moto[server]==5.2.5";

/// A running server.
pub(crate) struct Bucket {
    server: Child,
    port: u16,
}

impl Bucket {
    /// Starts one; none, with a message, where Python or the network is missing or a URL is given.
    pub(crate) fn start() -> Result<Option<Self>, String> {
        if std::env::var_os(VARIABLE).is_some() {
            return Ok(None);
        }
        let Some(program) = program() else {
            say(
                "no S3 server can be installed, its tests are skipped: Python with `venv` and the network are needed",
            );
            return Ok(None);
        };
        let failed = |error: std::io::Error| format!("the S3 server cannot be started: {error}");
        // The port is free now; nobody else is likely to take it within the next second.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        drop(listener);
        let server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let started = Self { server, port };
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                say(&format!("> an S3 server at {}", started.url()));
                return Ok(Some(started));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the S3 server does not come up".to_owned())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program, installed if it is not there.
fn program() -> Option<PathBuf> {
    let folder = root().join("target").join("s3-server");
    let program = folder.join("bin").join("moto_server");
    if program.exists() {
        return Some(program);
    }
    let done = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let made = done(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let pip = folder.join("bin").join("pip");
    (made && done(Command::new(pip).args(["install", "--quiet", PACKAGE])) && program.exists())
        .then_some(program)
}
