//! What joint monitors read: a table by columns.

use crate::error::StatsError;

/// One column of a table, an entry per row.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// Numbers. NaN is a missing value; infinite values, which have no place in a moment, count as missing too.
    Numeric(&'a [f64]),
    /// Categories.
    Categorical(&'a [Option<&'a str>]),
}

impl Column<'_> {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        match self {
            Self::Numeric(values) => values.len(),
            Self::Categorical(values) => values.len(),
        }
    }
}

/// The number of rows that all columns share; fails without a column and when they differ.
pub(super) fn rows(mut lengths: impl Iterator<Item = usize>) -> Result<usize, StatsError> {
    let Some(first) = lengths.next() else {
        return Err(StatsError::Domain("a table needs at least one column"));
    };
    match lengths.find(|length| *length != first) {
        Some(other) => Err(StatsError::Length { left: first, right: other }),
        None => Ok(first),
    }
}
