//! JSON rows, read without an object in between: a visitor fills one scratch row, again and again, and a row that is
//! good as a whole is added to the columns.

mod scratch;
mod visit;

use super::columns::{Columns, Head, Slot};
use super::{Believed, Intake, Wanted, check_label};
use crate::rows::{Kind, Refusal, Refusals};
use scratch::Scratch;
use serde::de::{DeserializeSeed as _, Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use steersman_domain::time::{micros, parse_time};
use steersman_domain::{Problem, RecordId};
use visit::RowSeed;

const NOTHING_TAKEN: &str = "nothing of this batch was taken in; NaN is written null";

/// One object a line. A line that is no JSON refuses that line alone.
pub(super) fn lines(wanted: &Wanted<'_>, body: &[u8]) -> Result<Intake, Problem> {
    let mut reader = Reader::new(wanted, body.len());
    let mut index = 0;
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        reader.row(index, Some(number), line);
        index += 1;
    }
    reader.finish()
}

/// An array of objects, or one object. An array that is broken or cut short is refused as a whole.
pub(super) fn array(wanted: &Wanted<'_>, body: &[u8]) -> Result<Intake, Problem> {
    let mut reader = Reader::new(wanted, body.len());
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match start {
        Some(b'{') => {
            // A line of its own would name what is wrong; so does the whole body.
            let row: &RawValue = serde_json::from_slice(body).map_err(|error| broken(&error, 0))?;
            reader.row(0, None, row.get().as_bytes());
        }
        Some(b'[') => {
            let mut rows = 0;
            let mut json = serde_json::Deserializer::from_slice(body);
            let read = json.deserialize_seq(RowsVisitor { reader: &mut reader, rows: &mut rows });
            read.and_then(|()| json.end()).map_err(|error| broken(&error, rows))?;
        }
        _ => {
            let problem = Problem::invalid("the body is neither a JSON array nor an object");
            return Err(problem.hint(NOTHING_TAKEN));
        }
    }
    reader.finish()
}

fn broken(error: &serde_json::Error, row: u64) -> Problem {
    Problem::invalid(format!("the body is not JSON: {error}")).field(format!("row {row}")).hint(NOTHING_TAKEN)
}

struct RowsVisitor<'r, 's> {
    reader: &'r mut Reader<'s>,
    rows: &'r mut u64,
}

impl<'de> Visitor<'de> for RowsVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<&RawValue>()? {
            self.reader.row(*self.rows, None, row.get().as_bytes());
            *self.rows += 1;
        }
        Ok(())
    }
}

/// Reads row after row.
struct Reader<'s> {
    scratch: Scratch<'s>,
    columns: Columns<'s>,
    believed: Believed,
    refusals: Refusals,
    wanted: Wanted<'s>,
}

impl<'s> Reader<'s> {
    fn new(wanted: &Wanted<'s>, bytes: usize) -> Self {
        // Rows are rarely shorter; more are no error, only another allocation.
        let rows = (bytes / (48 + 24 * wanted.schema.features.len())).min(1 << 20);
        Self {
            scratch: Scratch::new(wanted),
            columns: Columns::new(wanted.kind, wanted.schema, rows),
            believed: Believed::new(wanted.now),
            refusals: Refusals::new(wanted.kind),
            wanted: *wanted,
        }
    }

    fn row(&mut self, index: u64, line: Option<u64>, bytes: &[u8]) {
        let result = self.read(bytes);
        for name in self.scratch.unknown.drain(..) {
            self.refusals.note_unknown(&name, 1);
        }
        if let Err(problem) = result {
            let id = self.scratch.text(self.scratch.id).filter(|id| RecordId::check(id).is_ok());
            let at = self.scratch.text(self.scratch.time).and_then(|time| parse_time(time).ok());
            self.refusals.add(Refusal { index, line, id: id.map(str::to_owned), at, problem });
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.scratch.clear();
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = RowSeed(&mut self.scratch).deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| {
            // What is JSON and no object may be somebody's name: it is not repeated.
            let why = if error.is_data() { String::new() } else { format!(": {error}") };
            Problem::invalid(format!("not a JSON object{why}")).hint("NaN is written null")
        })?;
        if let Some(problem) = self.scratch.problem.take() {
            return Err(problem);
        }
        let scratch = &self.scratch;
        let id = scratch.required("id", scratch.id)?;
        RecordId::check(id)?;
        let time = parse_time(scratch.required("time", scratch.time)?);
        let time = self.believed.check(micros(time.map_err(|problem| problem.field("time"))?))?;
        let mut head = Head {
            id,
            time,
            version: scratch.text(scratch.version),
            latency_ms: None,
            status: None,
            label: f64::NAN,
        };
        match self.wanted.kind {
            Kind::Records => {
                if !scratch.has_features {
                    return Err(missing("features"));
                }
                head.latency_ms = number("latency_ms", scratch.latency_ms, "a number >= 0", |ms| ms >= 0.0)?;
                let code =
                    |status: f64| status >= 0.0 && status <= f64::from(u16::MAX) && status.fract() == 0.0;
                head.status =
                    number("status", scratch.status, "an HTTP status code", code)?.map(|code| code as u16);
            }
            Kind::Labels => {
                let label = match scratch.output {
                    Slot::Number(label) => label,
                    Slot::Flag(flag) => f64::from(u8::from(flag)),
                    _ => return Err(missing("label").hint("send a label only when the truth is known")),
                };
                head.label = check_label(self.wanted.task, label)?;
            }
        }
        self.columns.push(head, &scratch.features, scratch.output, &scratch.texts);
        Ok(())
    }

    fn finish(self) -> Result<Intake, Problem> {
        Ok(Intake { rows: self.columns.finish()?, refusals: self.refusals })
    }
}

fn missing(field: &str) -> Problem {
    Problem::invalid("missing").field(field)
}

/// A number that may be missing.
fn number(
    field: &str,
    slot: Slot,
    expected: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<Option<f64>, Problem> {
    match slot {
        Slot::Missing | Slot::Null => Ok(None),
        Slot::Number(number) if fits(number) => Ok(Some(number)),
        _ => Err(Problem::invalid(format!("not {expected}")).field(field)),
    }
}
