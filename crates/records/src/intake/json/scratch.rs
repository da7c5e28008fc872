//! One row on its way: every value is checked as it comes, and the row is looked at as a whole when it has ended.

use super::missing;
use crate::intake::Wanted;
use crate::intake::columns::Slot;
use crate::rows::Kind;
use std::collections::HashMap;
use std::sync::Arc;
use steersman_domain::schema::{Cell, Column, LONGEST_TEXT, Raw};
use steersman_domain::{Problem, Schema};

const RECORD_KEYS: [&str; 6] = ["id", "time", "version", "features", "latency_ms", "status"];

/// A key of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Key {
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
pub(super) struct Scratch<'s> {
    kind: Kind,
    schema: &'s Schema,
    /// What `output` is read as.
    output_column: Arc<Column>,
    by_name: HashMap<&'s str, usize>,
    /// Which feature followed each one the last time, first at 0: senders rarely change the order.
    follows: Vec<usize>,
    /// All texts of the row.
    pub(super) texts: String,
    pub(super) id: Slot,
    pub(super) time: Slot,
    pub(super) version: Slot,
    pub(super) latency_ms: Slot,
    pub(super) status: Slot,
    pub(super) output: Slot,
    pub(super) features: Vec<Slot>,
    pub(super) has_features: bool,
    pub(super) unknown: Vec<String>,
    /// The first thing that is wrong.
    pub(super) problem: Option<Problem>,
}

impl<'s> Scratch<'s> {
    pub(super) fn new(wanted: &Wanted<'s>) -> Self {
        let schema = wanted.schema;
        let output_column = match wanted.kind {
            Kind::Records => schema.prediction.clone(),
            Kind::Labels => Column { name: "label".to_owned(), kind: schema.label.kind },
        };
        let names = schema.features.iter().enumerate();
        Self {
            kind: wanted.kind,
            schema,
            output_column: Arc::new(output_column),
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

    pub(super) fn clear(&mut self) {
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

    pub(super) fn text(&self, slot: Slot) -> Option<&str> {
        match slot {
            Slot::Text(from, to) => self.texts.get(from..to),
            _ => None,
        }
    }

    pub(super) fn required(&self, field: &str, slot: Slot) -> Result<&str, Problem> {
        self.text(slot).ok_or_else(|| missing(field))
    }

    pub(super) fn wrong(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    pub(super) fn twice(&mut self, field: &str) {
        self.wrong(Problem::invalid("the key comes twice").field(field));
    }

    fn keep(&mut self, text: &str) -> Slot {
        let from = self.texts.len();
        self.texts.push_str(text);
        Slot::Text(from, self.texts.len())
    }

    pub(super) fn key(&mut self, name: &str) -> Key {
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
    pub(super) fn feature(&mut self, name: &str, last: usize) -> Option<usize> {
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

    pub(super) fn set_feature(&mut self, place: usize, raw: Raw<'_>) {
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

    pub(super) fn set(&mut self, key: Key, raw: Raw<'_>) {
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
                let column = Arc::clone(&self.output_column);
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

/// A name as messages show it.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}
