//! Columns that came, went or changed their kind.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One change of a schema; `K` is the kind of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChange<K> {
    /// A column that the reference does not have.
    Added {
        /// Its name.
        column: String,
        /// Its kind.
        kind: K,
    },
    /// A column that is there no longer.
    Removed {
        /// Its name.
        column: String,
        /// The kind it had.
        kind: K,
    },
    /// A column of another kind.
    Changed {
        /// Its name.
        column: String,
        /// The kind it had.
        from: K,
        /// The kind it has.
        to: K,
    },
}

/// What changed between two lists of columns and their kinds, by name; their order is of no account. Fails if
/// a list names a column twice.
///
/// ```
/// use steersman_stats::quality::{SchemaChange, schema_changes};
/// let (before, now) = ([("age", "number"), ("city", "text")], [("age", "text"), ("zip", "text")]);
/// let changes = schema_changes(&before, &now).unwrap();
/// assert_eq!(changes, [
///     SchemaChange::Changed { column: "age".to_owned(), from: "number", to: "text" },
///     SchemaChange::Removed { column: "city".to_owned(), kind: "text" },
///     SchemaChange::Added { column: "zip".to_owned(), kind: "text" },
/// ]);
/// ```
pub fn schema_changes<K: Copy + PartialEq>(
    reference: &[(&str, K)],
    current: &[(&str, K)],
) -> Result<Vec<SchemaChange<K>>, StatsError> {
    let mut kinds: BTreeMap<&str, (Option<K>, Option<K>)> = BTreeMap::new();
    for (column, kind) in reference {
        once(kinds.entry(column).or_default().0.replace(*kind))?;
    }
    for (column, kind) in current {
        once(kinds.entry(column).or_default().1.replace(*kind))?;
    }
    let change = |(column, kinds): (&str, (Option<K>, Option<K>))| {
        let column = column.to_owned();
        match kinds {
            (Some(from), Some(to)) => (from != to).then_some(SchemaChange::Changed { column, from, to }),
            (Some(kind), None) => Some(SchemaChange::Removed { column, kind }),
            (None, Some(kind)) => Some(SchemaChange::Added { column, kind }),
            (None, None) => None,
        }
    };
    Ok(kinds.into_iter().filter_map(change).collect())
}

fn once<K>(before: Option<K>) -> Result<(), StatsError> {
    match before {
        Some(_) => Err(StatsError::Domain("a column is named twice")),
        None => Ok(()),
    }
}
