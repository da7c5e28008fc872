//! Records and labels: one prediction, and the truth that becomes known about it.

use crate::id::RecordId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One value of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Missing.
    Null,
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A category or text.
    Text(String),
}

impl Value {
    /// The number, if it is one; booleans count as 0 and 1.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// Whether it is missing.
    pub fn missing(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text a category is counted under; `None` when missing.
    pub fn category(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Which arm of a split answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The version that serves.
    Champion,
    /// The version that wants to, answering a user.
    Candidate,
    /// The version that wants to, answering a copy that no user sees.
    Shadow,
}

impl Arm {
    /// The word stored in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Candidate => "candidate",
            Self::Shadow => "shadow",
        }
    }

    /// Reads the word stored in tables.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Champion, Self::Candidate, Self::Shadow].into_iter().find(|arm| arm.as_str() == word)
    }
}

/// One prediction. Identified by `id` within its model; a shadow answer has the id of the record it copies and is
/// kept apart by its arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Chosen by the caller.
    pub id: RecordId,
    /// When the prediction was asked for.
    pub time: Timestamp,
    /// The version that answered, as the model server names it.
    pub version: Option<String>,
    /// Which arm answered; none for records that came by another way than the gateway.
    pub arm: Option<Arm>,
    /// The probability with which this request was given to the candidate, in `[0, 1]`.
    pub weight: Option<f64>,
    /// What the split was sticky on, hashed: the unit of randomisation.
    pub unit: Option<u64>,
    /// Inputs by column name.
    pub features: BTreeMap<String, Value>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Value>,
    /// How long the caller waited, in milliseconds.
    pub latency_ms: Option<f64>,
    /// HTTP status of the call; 0 when there was no answer.
    pub status: Option<u16>,
}

impl Record {
    /// Whether the call failed by the server's fault: no answer, or a status of 500 and above.
    pub fn failed(&self) -> bool {
        self.status.is_some_and(|status| status == 0 || status >= 500)
    }

    /// Whether no answer came, in time or at all.
    pub fn unanswered(&self) -> bool {
        matches!(self.status, Some(0 | 504))
    }
}

/// The truth for a record id.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The record it is about; it need not have arrived yet.
    pub id: RecordId,
    /// The truth.
    pub label: Value,
    /// When the truth became known.
    pub time: Timestamp,
}
