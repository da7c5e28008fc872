//! Why a number cannot be computed.

/// Why a statistic has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// Fewer observations than the statistic needs.
    #[error("{got} observations where at least {needed} are needed")]
    TooFew {
        /// How many are needed.
        needed: usize,
        /// How many there are.
        got: usize,
    },
    /// Two columns that belong together differ in length.
    #[error("columns of {left} and {right} rows")]
    Length {
        /// Rows of the first.
        left: usize,
        /// Rows of the second.
        right: usize,
    },
    /// A table does not have the columns of the one it belongs to.
    #[error("tables of {left} and {right} columns")]
    Columns {
        /// Columns of the first.
        left: usize,
        /// Columns of the second.
        right: usize,
    },
    /// An observation is NaN or infinite.
    #[error("row {row} is not a finite number")]
    NotFinite {
        /// Its position, from 0.
        row: usize,
    },
    /// Only one of the two classes occurs.
    #[error("only one class occurs in {rows} rows")]
    OneClass {
        /// How many rows there are.
        rows: usize,
    },
    /// An argument is outside its domain.
    #[error("{0}")]
    Domain(&'static str),
    /// Two summaries cannot be put together.
    #[error("{0}")]
    Incompatible(&'static str),
}

/// Fails unless every value is finite.
pub(crate) fn finite(values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(StatsError::NotFinite { row }),
        None => Ok(()),
    }
}

/// Fails unless both columns have the same, sufficient length.
pub(crate) fn paired(left: usize, right: usize, needed: usize) -> Result<(), StatsError> {
    if left != right {
        return Err(StatsError::Length { left, right });
    }
    if left < needed {
        return Err(StatsError::TooFew { needed, got: left });
    }
    Ok(())
}
