//! Rows that were read and checked, and those that were refused.

use crate::codec::{labels_to_batch, records_to_batch};
use arrow::array::RecordBatch;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{Label, Problem, Record, Schema};

/// What rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Predictions.
    Records,
    /// Truths.
    Labels,
}

/// Rows of one kind in columns, all of them checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    pub(crate) kind: Kind,
    /// In their own columns; see `codec`.
    pub(crate) batch: RecordBatch,
}

impl Rows {
    /// Records that were made in this process.
    pub fn records(schema: &Schema, records: &[Record]) -> Result<Self, Problem> {
        Ok(Self { kind: Kind::Records, batch: records_to_batch(schema, records)? })
    }

    /// Labels that were made in this process.
    pub fn labels(labels: &[Label]) -> Result<Self, Problem> {
        if let Some(label) = labels.iter().find(|label| label.label.number().is_none()) {
            let problem = Problem::invalid("not a number, nor true or false").field("label");
            return Err(problem.hint(format!("the label of `{}`", label.id)));
        }
        Ok(Self { kind: Kind::Labels, batch: labels_to_batch(labels)? })
    }

    /// What they are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its position in the batch, from 0.
    pub index: u64,
    /// Its line in the body, from 1, where rows are lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// The time it was of, if it said so.
    #[serde(skip)]
    pub at: Option<Timestamp>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What of a batch was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// What the rows were to be.
    pub kind: Kind,
    /// How many rows were refused.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Refusal>,
    /// Of each of them the time it was of and the field that was wrong, as far as they are known.
    pub faults: Vec<(Option<Timestamp>, Option<String>)>,
    /// Columns that are not in the schema, with how many values came. Their rows are taken in without them.
    pub unknown_columns: BTreeMap<String, u64>,
}

impl Refusals {
    /// How many refused rows are listed; the count is always whole.
    const LISTED: usize = 100;
    /// How many unknown columns are told apart; the values of others are counted under `...`.
    const COLUMNS: usize = 64;

    /// None yet.
    pub fn new(kind: Kind) -> Self {
        Self { kind, count: 0, first: Vec::new(), faults: Vec::new(), unknown_columns: BTreeMap::new() }
    }

    /// Refuses a row.
    pub fn add(&mut self, refusal: Refusal) {
        self.count += 1;
        self.faults.push((refusal.at, refusal.problem.field.clone()));
        if self.first.len() < Self::LISTED {
            self.first.push(refusal);
        }
    }

    /// Notes values of a column that is not in the schema.
    pub fn note_unknown(&mut self, name: &str, values: u64) {
        count_column(&mut self.unknown_columns, name, values);
    }
}

/// Counts values of a column, under a bound on how many columns are told apart.
pub(crate) fn count_column(columns: &mut BTreeMap<String, u64>, name: &str, values: u64) {
    if let Some(known) = columns.get_mut(name) {
        *known += values;
        return;
    }
    let told_apart = columns.len() < Refusals::COLUMNS && name.len() <= 128;
    *columns.entry(if told_apart { name } else { "..." }.to_owned()).or_default() += values;
}
