//! Categories as numbers: each becomes its share in the reference.

use super::column::{Column, rows};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How the columns of a table become numbers: categories become their share in the reference (0 when it had none of
/// them), a missing category counts as the most frequent one (the first in alphabetical order where several are),
/// numbers stay as they are. What `SimpleImputer("most_frequent")` followed by `CountEncoder(normalize=True)` do.
///
/// Counts merge: learn from parts of the reference, merge, then [`encode`](Self::encode).
///
/// ```
/// use steersman_stats::multivariate::{Column, Frequencies};
/// let carriers = [Some("UA"), Some("UA"), None, Some("DL")];
/// let frequencies = Frequencies::learn(&[Column::Categorical(&carriers)]).unwrap();
/// let encoded = frequencies.encode(&[Column::Categorical(&[Some("DL"), None, Some("new")])]).unwrap();
/// assert_eq!(encoded[0].as_ref(), [0.25, 0.75, 0.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frequencies {
    columns: Vec<Kind>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Numeric,
    Categorical { missing: u64, counts: BTreeMap<String, u64> },
}

impl Frequencies {
    /// Learns from the columns of a reference.
    pub fn learn(reference: &[Column<'_>]) -> Result<Self, StatsError> {
        rows(reference.iter().map(Column::rows))?;
        let kind = |column: &Column<'_>| match column {
            Column::Numeric(_) => Kind::Numeric,
            Column::Categorical(values) => {
                let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
                for value in values.iter().copied().flatten() {
                    *tally.entry(value).or_default() += 1;
                }
                let missing = values.len() as u64 - tally.values().sum::<u64>();
                Kind::Categorical {
                    missing,
                    counts: tally.into_iter().map(|(category, count)| (category.to_owned(), count)).collect(),
                }
            }
        };
        Ok(Self { columns: reference.iter().map(kind).collect() })
    }

    /// Adds what another part of the reference has seen.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        let kinds_differ =
            |(own, other): (&Kind, &Kind)| matches!(own, Kind::Numeric) != matches!(other, Kind::Numeric);
        if self.columns.len() != other.columns.len()
            || self.columns.iter().zip(&other.columns).any(kinds_differ)
        {
            return Err(StatsError::Incompatible("encodings of different columns"));
        }
        for pair in self.columns.iter_mut().zip(&other.columns) {
            if let (
                Kind::Categorical { missing, counts },
                Kind::Categorical { missing: more, counts: added },
            ) = pair
            {
                *missing += more;
                for (category, count) in added {
                    *counts.entry(category.clone()).or_default() += count;
                }
            }
        }
        Ok(())
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The table as numbers. Columns of numbers are borrowed, with their missing values.
    pub fn encode<'a>(&self, table: &[Column<'a>]) -> Result<Vec<Cow<'a, [f64]>>, StatsError> {
        rows(table.iter().map(Column::rows))?;
        if table.len() != self.columns.len() {
            return Err(StatsError::Columns { left: self.columns.len(), right: table.len() });
        }
        self.columns.iter().zip(table).map(|(kind, column)| kind.encode(column)).collect()
    }
}

impl Kind {
    fn encode<'a>(&self, column: &Column<'a>) -> Result<Cow<'a, [f64]>, StatsError> {
        match (self, *column) {
            (Self::Numeric, Column::Numeric(values)) => Ok(Cow::Borrowed(values)),
            (Self::Categorical { missing, counts }, Column::Categorical(values)) => {
                // Of equal counts the first category wins: iteration is in alphabetical order.
                let mode = counts
                    .iter()
                    .rev()
                    .max_by_key(|(_, count)| **count)
                    .map(|(category, _)| category.as_str());
                let total = (missing + counts.values().sum::<u64>()).max(1) as f64;
                let share = |category: &str| {
                    let count = counts.get(category).copied().unwrap_or(0);
                    (count + if mode == Some(category) { *missing } else { 0 }) as f64 / total
                };
                Ok(values.iter().map(|value| value.or(mode).map_or(0.0, share)).collect())
            }
            _ => Err(StatsError::Incompatible(
                "a column of numbers where categories are, or the other way round",
            )),
        }
    }
}
