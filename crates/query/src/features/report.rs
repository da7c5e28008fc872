//! What a check of features found.

use serde::Serialize;
use steersman_stats::interval::Interval;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether a feature differs in a larger share of the rows than is accepted.
    pub skewed: bool,
    /// In one sentence.
    pub summary: String,
    /// Where the records come from.
    pub records: String,
    /// How many there are.
    pub rows: usize,
    /// Time of the first.
    pub from: Option<String>,
    /// Time of the last.
    pub to: Option<String>,
    /// The tables.
    pub tables: Vec<TableReport>,
    /// The features, the worst first.
    pub features: Vec<FeatureReport>,
    /// The share of differing rows that is accepted.
    pub accept: f64,
    /// The relative difference of numbers that is none.
    pub tolerance: f64,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// How an offline table fits the records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableReport {
    /// Where it comes from.
    pub source: String,
    /// Its rows.
    pub rows: usize,
    /// The columns by which it is matched.
    pub entities: Vec<String>,
    /// Its column with the time.
    pub time: String,
    /// Its column that says when a row was written, where that counts.
    pub created: Option<String>,
    /// Age from which its rows do not count, in seconds.
    pub ttl_seconds: Option<i64>,
    /// Records that have a row.
    pub matched: usize,
    /// Records whose entity the table does not have.
    pub unknown_entity: usize,
    /// Records whose entity has rows, none of which counts: all are later, written later, or too old.
    pub no_row: usize,
    /// Records without a time or an entity: they cannot be compared.
    pub without_key: usize,
    /// Age of the matched rows at the record's time, in seconds.
    pub staleness_seconds: Option<Spread>,
}

/// How one feature fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureReport {
    /// Its name in the records.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its column there.
    pub column: String,
    /// How values are compared: `numeric`, `categorical` or `datetime`.
    pub kind: &'static str,
    /// Whether it differs in a larger share than is accepted.
    pub skewed: bool,
    /// Records that were compared.
    pub compared: u64,
    /// Of these, records that hold another value than they should.
    pub mismatches: u64,
    /// Their share, with its 95 % interval; none where nothing was compared.
    pub share: Option<Interval>,
    /// Mismatches where both sides hold a value.
    pub different: u64,
    /// Mismatches where the record holds none.
    pub missing_in_record: u64,
    /// Mismatches where the table holds none, or has no row.
    pub missing_in_table: u64,
    /// Mismatches that hold the value of the row before.
    pub earlier_value: u64,
    /// Mismatches that hold the value of the row after.
    pub later_value: u64,
    /// What the record holds less what it should hold, where both are numbers that differ; in seconds for times.
    pub difference: Option<Spread>,
    /// Age of the rows that differ at the record's time, in seconds.
    pub staleness_seconds: Option<Spread>,
    /// Time of the first record that differs.
    pub first_seen: Option<String>,
    /// Time of the last.
    pub last_seen: Option<String>,
    /// The first records that differ.
    pub examples: Vec<Example>,
}

/// One record that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Its id, or its row where it has none.
    pub id: String,
    /// Its time.
    pub time: String,
    /// What it holds.
    pub record: Option<String>,
    /// What it should hold.
    pub expected: Option<String>,
    /// Time of the row that says so.
    pub feature_time: Option<String>,
}

/// A distribution in a few numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// Five percent are below.
    pub p05: f64,
    /// The median.
    pub median: f64,
    /// Five percent are above.
    pub p95: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Spread {
    /// Of finite values; none where there are none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            values.get((share * (values.len().checked_sub(1)?) as f64).round() as usize).copied()
        };
        Some(Self {
            min: at(0.0)?,
            p05: at(0.05)?,
            median: at(0.5)?,
            p95: at(0.95)?,
            max: at(1.0)?,
            mean: values.iter().sum::<f64>() / values.len() as f64,
        })
    }
}
