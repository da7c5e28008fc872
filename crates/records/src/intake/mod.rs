//! Bodies of any format, read straight into columns: NDJSON, a JSON array, an Arrow IPC stream, each also packed with
//! gzip or zstd.
//!
//! A row that does not fit is refused with its place and the reason, and the rest goes on; a body that is broken as a
//! whole is a [`Problem`], and nothing of it is taken in. Columns that the schema does not have are accepted and counted
//! by name, and their values are not kept: nothing watches them, so keeping them would cost every row and serve nobody.
//! Once such a column is in the reference and the spec is applied again, its values are taken in. Keys of a record itself
//! are few and fixed, so one that is unknown is a mistake and refuses the row.
//!
//! - `unpack` undoes the packing, under a limit;
//! - `json` reads rows, `arrow` checks columns;
//! - `columns` is where checked rows gather.

mod arrow;
mod columns;
mod json;
mod unpack;

pub use unpack::{Packing, unpack};

use crate::rows::{Kind, Refusals, Rows};
use bytes::Bytes;
use jiff::Timestamp;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Period, Problem, Schema, Task};

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Lines,
    /// A JSON array of objects, or one object.
    Array,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The format that a media type names; none given is a JSON array.
    pub fn of(content_type: &str) -> Result<Self, Problem> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/json-lines" => Ok(Self::Lines),
            "application/json" | "" => Ok(Self::Array),
            "application/vnd.apache.arrow.stream" => Ok(Self::Arrow),
            other => {
                Err(Problem::invalid(format!("the type `{other}` is not read")).field("Content-Type").hint(
                    "send application/x-ndjson (one object a line), application/json (an array) or \
                     application/vnd.apache.arrow.stream",
                ))
            }
        }
    }
}

/// What rows are read as.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Records or labels.
    pub kind: Kind,
    /// The model's columns.
    pub schema: &'a Schema,
    /// The model's task: it says which labels there are.
    pub task: Task,
    /// The time now: what lies far after it is a mistake.
    pub now: Timestamp,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// The rows that fit.
    pub rows: Rows,
    /// Those that do not.
    pub refusals: Refusals,
}

/// Reads an unpacked body.
pub fn read(wanted: &Wanted<'_>, format: Format, body: &Bytes) -> Result<Intake, Problem> {
    match format {
        Format::Lines => json::lines(wanted, body),
        Format::Array => json::array(wanted, body),
        Format::Arrow => arrow::stream(wanted, body),
    }
}

/// Clocks differ, and batches are sent ahead of the hour; more is a mistake.
const AHEAD: Period = Period::from_days(1);
/// 1980-01-01: what lies before is a number in a wrong unit, not the time of a prediction.
const EARLIEST: i64 = 315_532_800_000_000;

/// The times that are believed, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Believed {
    latest: i64,
}

impl Believed {
    fn new(now: Timestamp) -> Self {
        Self { latest: micros(AHEAD.after(now)) }
    }

    fn holds(self, time: i64) -> bool {
        (EARLIEST..=self.latest).contains(&time)
    }

    fn check(self, time: i64) -> Result<i64, Problem> {
        if self.holds(time) {
            return Ok(time);
        }
        let at = from_micros(time);
        let message = match time < EARLIEST {
            true => format!("`{at}` is before {}", from_micros(EARLIEST)),
            false => format!("`{at}` is more than a day ahead of the platform's clock"),
        };
        Err(Problem::invalid(message).field("time").hint("look at the clock and the unit of the sender"))
    }
}

/// Whether a truth is one that the task can have.
fn check_label(task: Task, label: f64) -> Result<f64, Problem> {
    match task {
        Task::Binary if label != 0.0 && label != 1.0 => {
            Err(Problem::invalid(format!("{label} is not 0 or 1"))
                .field("label")
                .hint("a binary model needs 0 and 1, or true and false"))
        }
        _ => Ok(label),
    }
}
