//! The quarantine: what was refused last, with the reason, for each model.
//!
//! Kept in a file beside the log, so that it outlasts a restart; it holds ids and reasons, not the rows themselves. The
//! file is bounded by starting a new one and keeping only the one before. It is not synced: nothing was acknowledged.

use crate::rows::{Kind, Refusals, count_column};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use steersman_domain::Problem;

/// So many refused rows are kept.
const KEPT: usize = 500;
/// A file of this size is put aside.
const FILE_BYTES: u64 = 1 << 20;

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// When it came.
    pub received_at: Timestamp,
    /// What it was to be.
    pub kind: Kind,
    /// Its position in its batch, from 0.
    pub index: u64,
    /// Its line in the body, from 1, where rows are lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

#[derive(Debug)]
pub(crate) struct Quarantine {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest: VecDeque<Quarantined>,
    count: u64,
    unknown_columns: BTreeMap<String, u64>,
}

impl Quarantine {
    pub(crate) fn open(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join("quarantine.ndjson");
        let mut latest = VecDeque::new();
        for path in [&earlier(&path), &path] {
            // A line that was cut off tells nothing.
            let text = std::fs::read(path).unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n');
            latest.extend(lines.filter_map(|line| serde_json::from_slice(line).ok()));
        }
        let mut state = State { latest, ..State::default() };
        state.bound();
        Ok(Self { path, state: Mutex::new(state) })
    }

    /// Adds what of a batch was refused. A file that cannot be written leaves the quarantine in memory alone.
    pub(crate) fn add(&self, refusals: &Refusals, received_at: Timestamp) {
        if refusals.count == 0 && refusals.unknown_columns.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += refusals.count;
        for (name, values) in &refusals.unknown_columns {
            count_column(&mut state.unknown_columns, name, *values);
        }
        let mut lines = Vec::new();
        for refusal in &refusals.first {
            let row = Quarantined {
                received_at,
                kind: refusals.kind,
                index: refusal.index,
                line: refusal.line,
                id: refusal.id.clone(),
                problem: refusal.problem.clone(),
            };
            if serde_json::to_writer(&mut lines, &row).is_ok() {
                lines.push(b'\n');
            }
            state.latest.push_back(row);
        }
        state.bound();
        let _ = self.write(&lines);
    }

    fn write(&self, lines: &[u8]) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() > FILE_BYTES) {
            std::fs::rename(&self.path, earlier(&self.path))?;
        }
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(lines)
    }

    /// Latest first.
    pub(crate) fn latest(&self) -> Vec<Quarantined> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest.iter().rev().cloned().collect()
    }

    /// Rows refused, and values of unknown columns, since this was opened.
    pub(crate) fn counts(&self) -> (u64, BTreeMap<String, u64>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.count, state.unknown_columns.clone())
    }
}

impl State {
    fn bound(&mut self) {
        let beyond = self.latest.len().saturating_sub(KEPT);
        self.latest.drain(..beyond);
    }
}

fn earlier(path: &Path) -> PathBuf {
    path.with_extension("earlier.ndjson")
}
