//! Columns as few cells, and the words for these.

use crate::error::StatsError;
use crate::profile::Bins;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A column with more cells than this is no shallow search.
const MOST_CELLS: usize = 64;

/// A column to look through.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its values.
    pub data: ColumnData<'a>,
}

/// The values of a column, one a row; `None` is missing.
#[derive(Debug, Clone, Copy)]
pub enum ColumnData<'a> {
    /// Numbers, with the cells to look at: best four to six quantile bins of the reference. NaN is missing.
    Numbers(&'a [Option<f64>], &'a Bins),
    /// Categories: the most frequent ones are looked at by themselves, all others together.
    Categories(&'a [Option<&'a str>]),
}

impl ColumnData<'_> {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Numbers(values, _) => values.len(),
            Self::Categories(values) => values.len(),
        }
    }
}

/// Which values of a column belong to a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Numbers above `from` and up to `to`; none is no limit.
    Between {
        /// Lower end, outside.
        from: Option<f64>,
        /// Upper end, inside.
        to: Option<f64>,
    },
    /// One category.
    Category(String),
    /// Any category that is not among the most frequent ones.
    OtherCategories,
    /// No value.
    Missing,
}

/// One of the conditions that make a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The column's name.
    pub column: String,
    /// Its values.
    pub values: Values,
}

/// A column as the number of a cell for each row looked at.
pub(super) struct Coded {
    pub(super) cells: Vec<Values>,
    pub(super) codes: Vec<u8>,
}

impl Coded {
    /// Codes the given rows of a column, with at most `categories` categories by themselves.
    pub(super) fn new(data: ColumnData<'_>, rows: &[usize], categories: usize) -> Result<Self, StatsError> {
        match data {
            ColumnData::Numbers(values, bins) => Self::numbers(values, bins, rows),
            ColumnData::Categories(values) => Self::categories(values, rows, categories),
        }
    }

    fn numbers(values: &[Option<f64>], bins: &Bins, rows: &[usize]) -> Result<Self, StatsError> {
        if bins.cells() > MOST_CELLS {
            return Err(StatsError::Domain("a column of more than 64 bins is not searched"));
        }
        let edge = |cell: Option<usize>| cell.and_then(|cell| bins.edges().get(cell)).copied();
        let between = |cell: usize| Values::Between { from: edge(cell.checked_sub(1)), to: edge(Some(cell)) };
        let mut cells: Vec<Values> = (0..bins.cells()).map(between).collect();
        cells.push(Values::Missing);
        let code = |&row: &usize| match values[row] {
            Some(value) if !value.is_nan() => bins.cell(value) as u8,
            _ => bins.cells() as u8,
        };
        Ok(Self { cells, codes: rows.iter().map(code).collect() })
    }

    fn categories(values: &[Option<&str>], rows: &[usize], most: usize) -> Result<Self, StatsError> {
        if most > MOST_CELLS {
            return Err(StatsError::Domain(
                "more than 64 categories of a column are not searched one by one",
            ));
        }
        // First numbered as they come, then renumbered by frequency; ties by name, whatever the order of rows.
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counts: Vec<(&str, usize)> = Vec::new();
        let mut coded: Vec<Option<usize>> = Vec::with_capacity(rows.len());
        for &row in rows {
            coded.push(values[row].map(|name| {
                let number = *numbers.entry(name).or_insert(counts.len());
                if number == counts.len() {
                    counts.push((name, 0));
                }
                counts[number].1 += 1;
                number
            }));
        }
        let mut frequent: Vec<usize> = (0..counts.len()).collect();
        frequent.sort_by_key(|&number| (Reverse(counts[number].1), counts[number].0));
        frequent.truncate(most);
        let mut code = vec![frequent.len() as u8; counts.len()];
        frequent.iter().enumerate().for_each(|(cell, &number)| code[number] = cell as u8);
        let missing = frequent.len() as u8 + 1;
        let mut cells: Vec<Values> =
            frequent.iter().map(|&number| Values::Category(counts[number].0.to_owned())).collect();
        cells.extend([Values::OtherCategories, Values::Missing]);
        let codes = coded.iter().map(|number| number.map_or(missing, |number| code[number])).collect();
        Ok(Self { cells, codes })
    }
}
