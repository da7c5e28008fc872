//! JSON rows, read without an object in between: a visitor fills one scratch row, again and again, and a row that is
//! good as a whole is added to the columns.

use super::columns::{Columns, Head, Slot};
use super::{Believed, Intake, Wanted, check_label};
use crate::rows::{Kind, Refusal, Refusals};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use steersman_domain::schema::{Cell, Column, LONGEST_TEXT, Raw};
use steersman_domain::time::{micros, parse_time};
use steersman_domain::{Problem, RecordId, Schema};

const RECORD_KEYS: [&str; 6] = ["id", "time", "version", "features", "latency_ms", "status"];
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
            Problem::invalid(format!("not a JSON object: {error}")).hint("NaN is written null")
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

/// A key of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Id,
    Time,
    Version,
    Features,
    Latency,
    Status,
    /// Of a record its output, of a label the truth.
    Output,
    Unknown,
}

/// One row on its way; its allocations are used again.
struct Scratch<'s> {
    kind: Kind,
    schema: &'s Schema,
    /// What `output` is read as.
    output_column: Column,
    by_name: HashMap<&'s str, usize>,
    /// Which feature followed each one the last time, first at 0: senders rarely change the order.
    follows: Vec<usize>,
    /// All texts of the row.
    texts: String,
    id: Slot,
    time: Slot,
    version: Slot,
    latency_ms: Slot,
    status: Slot,
    output: Slot,
    features: Vec<Slot>,
    has_features: bool,
    unknown: Vec<String>,
    /// The first thing that is wrong.
    problem: Option<Problem>,
}

impl<'s> Scratch<'s> {
    fn new(wanted: &Wanted<'s>) -> Self {
        let schema = wanted.schema;
        let output_column = match wanted.kind {
            Kind::Records => schema.prediction.clone(),
            Kind::Labels => Column { name: "label".to_owned(), kind: schema.label.kind },
        };
        let names = schema.features.iter().enumerate();
        Self {
            kind: wanted.kind,
            schema,
            output_column,
            by_name: names.map(|(index, column)| (column.name.as_str(), index)).collect(),
            follows: (0..=schema.features.len()).collect(),
            texts: String::new(),
            id: Slot::Missing,
            time: Slot::Missing,
            version: Slot::Missing,
            latency_ms: Slot::Missing,
            status: Slot::Missing,
            output: Slot::Missing,
            features: vec![Slot::Missing; schema.features.len()],
            has_features: false,
            unknown: Vec::new(),
            problem: None,
        }
    }

    fn clear(&mut self) {
        self.texts.clear();
        for slot in [
            &mut self.id,
            &mut self.time,
            &mut self.version,
            &mut self.latency_ms,
            &mut self.status,
            &mut self.output,
        ] {
            *slot = Slot::Missing;
        }
        self.features.fill(Slot::Missing);
        self.has_features = false;
        self.unknown.clear();
        self.problem = None;
    }

    fn text(&self, slot: Slot) -> Option<&str> {
        match slot {
            Slot::Text(from, to) => self.texts.get(from..to),
            _ => None,
        }
    }

    fn required(&self, field: &str, slot: Slot) -> Result<&str, Problem> {
        self.text(slot).ok_or_else(|| missing(field))
    }

    fn wrong(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    fn twice(&mut self, field: &str) {
        self.wrong(Problem::invalid("the key comes twice").field(field));
    }

    fn keep(&mut self, text: &str) -> Slot {
        let from = self.texts.len();
        self.texts.push_str(text);
        Slot::Text(from, self.texts.len())
    }

    fn key(&mut self, name: &str) -> Key {
        let key = match (self.kind, name) {
            (_, "id") => Key::Id,
            (_, "time") => Key::Time,
            (Kind::Records, "version") => Key::Version,
            (Kind::Records, "features") => Key::Features,
            (Kind::Records, "latency_ms") => Key::Latency,
            (Kind::Records, "status") => Key::Status,
            (Kind::Labels, "label") => Key::Output,
            (Kind::Records, name) if name == self.schema.prediction.name => Key::Output,
            _ => Key::Unknown,
        };
        if key == Key::Unknown {
            let known = match self.kind {
                Kind::Records => {
                    format!("known are {}, and `{}`", RECORD_KEYS.join(", "), self.schema.prediction.name)
                }
                Kind::Labels => "known are id, label, time".to_owned(),
            };
            self.wrong(Problem::invalid("unknown key").field(shortened(name)).hint(known));
        }
        key
    }

    /// The feature of this name, where `last` is the place after the one before.
    fn feature(&mut self, name: &str, last: usize) -> Option<usize> {
        let guess = self.follows.get(last).copied().unwrap_or_default();
        if self.schema.features.get(guess).is_some_and(|column| column.name == name) {
            return Some(guess);
        }
        let found = self.by_name.get(name).copied()?;
        if let Some(follows) = self.follows.get_mut(last) {
            *follows = found;
        }
        Some(found)
    }

    /// A value as a column has it.
    fn cell(&mut self, column: &Column, raw: Raw<'_>) -> Result<Slot, Problem> {
        Ok(match column.cell(raw)? {
            Cell::Null => Slot::Null,
            Cell::Number(number) => Slot::Number(number),
            Cell::Flag(flag) => Slot::Flag(flag),
            Cell::Text(text) => self.keep(&text),
        })
    }

    fn set_feature(&mut self, place: usize, raw: Raw<'_>) {
        let schema = self.schema;
        let (Some(column), Some(slot)) = (schema.features.get(place), self.features.get(place).copied())
        else {
            return;
        };
        if slot != Slot::Missing {
            self.twice(&format!("features.{}", column.name));
            return;
        }
        match self.cell(column, raw) {
            Ok(slot) => self.features[place] = slot,
            Err(problem) => self.wrong(problem.field(format!("features.{}", column.name))),
        }
    }

    fn set(&mut self, key: Key, raw: Raw<'_>) {
        let (field, current) = match key {
            Key::Id => ("id", self.id),
            Key::Time => ("time", self.time),
            Key::Version => ("version", self.version),
            Key::Latency => ("latency_ms", self.latency_ms),
            Key::Status => ("status", self.status),
            Key::Output => ("", self.output),
            Key::Features | Key::Unknown => return,
        };
        if current != Slot::Missing {
            let field = if key == Key::Output { self.output_column.name.clone() } else { field.to_owned() };
            self.twice(&field);
            return;
        }
        let slot = match key {
            Key::Id | Key::Time | Key::Version => match raw {
                Raw::Text(text) if text.len() <= LONGEST_TEXT => self.keep(text),
                Raw::Null => Slot::Null,
                _ => return self.wrong(Problem::invalid("not a string").field(field)),
            },
            Key::Latency | Key::Status => match (raw, raw.number()) {
                (Raw::Null, _) => Slot::Null,
                (_, Some(number)) => Slot::Number(number),
                // Not a number: the check of its range says so.
                _ => Slot::Flag(false),
            },
            _ => {
                let column = self.output_column.clone();
                match self.cell(&column, raw) {
                    Ok(slot) => slot,
                    Err(problem) => return self.wrong(problem),
                }
            }
        };
        match key {
            Key::Id => self.id = slot,
            Key::Time => self.time = slot,
            Key::Version => self.version = slot,
            Key::Latency => self.latency_ms = slot,
            Key::Status => self.status = slot,
            _ => self.output = slot,
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

/// Reads an object into the scratch row. What is wrong with a value is kept there, so that the rest is still read: only
/// broken JSON is an error.
struct RowSeed<'r, 's>(&'r mut Scratch<'s>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed(|name: &str| self.0.key(name)))? {
            match key {
                Key::Unknown => drop(map.next_value::<IgnoredAny>()?),
                Key::Features if self.0.has_features => {
                    self.0.twice("features");
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Features => {
                    self.0.has_features = true;
                    map.next_value_seed(FeaturesSeed(self.0))?;
                }
                key => map.next_value_seed(ValueSeed(|raw: Raw<'_>| self.0.set(key, raw)))?,
            }
        }
        Ok(())
    }
}

/// Reads the object of features.
struct FeaturesSeed<'r, 's>(&'r mut Scratch<'s>);

impl<'de> DeserializeSeed<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> FeaturesSeed<'_, '_> {
    fn other<E>(self) -> Result<(), E> {
        self.0.wrong(Problem::invalid("not an object").field("features"));
        Ok(())
    }
}

impl<'de> Visitor<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut last = 0;
        loop {
            let scratch = &mut *self.0;
            let find = |name: &str| {
                let place = scratch.feature(name, last);
                if place.is_none() {
                    scratch.unknown.push(shortened(name));
                }
                place
            };
            match map.next_key_seed(KeySeed(find))? {
                None => return Ok(()),
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
                Some(Some(place)) => {
                    map.next_value_seed(ValueSeed(|raw: Raw<'_>| self.0.set_feature(place, raw)))?;
                    last = place + 1;
                }
            }
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.other()
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other()
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other()
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.other()
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other()
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.other()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.other()
    }
}

/// Gives a key to a function, without a copy.
struct KeySeed<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for KeySeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for KeySeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Gives a value to a function, without a copy.
struct ValueSeed<F>(F);

impl<'de, F: FnOnce(Raw<'_>)> DeserializeSeed<'de> for ValueSeed<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnOnce(Raw<'_>)> Visitor<'de> for ValueSeed<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        (self.0)(Raw::Null);
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        (self.0)(Raw::Bool(flag));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        (self.0)(Raw::Integer(number));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        (self.0)(i64::try_from(number).map_or(Raw::Unsigned(number), Raw::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        (self.0)(Raw::Float(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(Raw::Text(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        (self.0)(Raw::List);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        (self.0)(Raw::Object);
        Ok(())
    }
}
