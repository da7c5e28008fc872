//! Did models see what they should have seen? Each record's features are recomputed from offline tables as of the
//! record's time, and compared with what the record holds.
//!
//! A feature may match in distribution and be wrong in every row: this check goes row by row. What differs is described
//! in a way that tells causes apart: values that are missing on one side, values of an earlier row (the online store lags)
//! or of a later one (the offline table was changed afterwards, or a label leaks), and values that are like neither.
//!
//! - `table`: an offline table, matched with the records.
//! - `compare`: one feature, row by row.
//! - `report`: what was found.

mod compare;
mod report;
mod table;

pub use report::{Example, FeatureReport, Report, Spread, TableReport};

use crate::asof::Known;
use steersman_domain::schema::DataKind;
use steersman_domain::{Period, Problem};
use steersman_records::frame::{Frame, FrameColumn};

/// An entity key or a feature whose name differs between the records and the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// In the records.
    pub record: String,
    /// In the tables.
    pub table: String,
}

impl Named {
    /// Reads `name`, or `name in the records=name in the tables`.
    pub fn parse(text: &str) -> Self {
        let (record, table) = text.split_once('=').unwrap_or((text, text));
        Self { record: record.trim().to_owned(), table: table.trim().to_owned() }
    }
}

/// What is compared, and how strictly.
#[derive(Debug, Clone)]
pub struct Options {
    /// The columns that say whom a row is about; a table is matched by those that it has.
    pub entities: Vec<Named>,
    /// Only these features; all that records and tables share when empty.
    pub features: Vec<Named>,
    /// The tables' column with the time; their first column of times without it.
    pub time: Option<String>,
    /// The tables' column that says when a row was written: only what was there at a record's time counts.
    pub created: Option<String>,
    /// Older rows do not count.
    pub ttl: Option<Period>,
    /// Numbers that differ by no more than this share of the larger one are the same.
    pub tolerance: f64,
    /// The share of differing rows that is accepted for each feature.
    pub accept: f64,
    /// The records' column with their ids.
    pub record_id: String,
    /// The records' column with their times; their first column of times if there is none of this name.
    pub record_time: String,
    /// Rows that are shown of each feature.
    pub examples: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            entities: Vec::new(),
            features: Vec::new(),
            time: None,
            created: None,
            ttl: None,
            tolerance: 1e-6,
            accept: 0.0,
            record_id: "id".to_owned(),
            record_time: "time".to_owned(),
            examples: 5,
        }
    }
}

/// The records, by their columns.
struct Records<'a> {
    frame: &'a Frame,
    id: Option<&'a FrameColumn>,
    time: &'a FrameColumn,
}

impl<'a> Records<'a> {
    fn new(frame: &'a Frame, options: &Options) -> Result<Self, Problem> {
        let times = |column: &&FrameColumn| column.kind == DataKind::Datetime;
        let time = match frame.column(&options.record_time) {
            Some(time) => Some(time),
            None => frame.columns.iter().find(times),
        };
        let no_time = || {
            Problem::invalid(format!(
                "`{}` has no column of times called `{}`",
                frame.source, options.record_time
            ))
            .field("record-time")
            .hint("name the column with the records' times")
        };
        let time = time.filter(times).ok_or_else(no_time)?;
        Ok(Self { frame, id: frame.column(&options.record_id), time })
    }

    fn id(&self, row: usize) -> String {
        self.id.and_then(|ids| ids.category(row)).unwrap_or_else(|| self.frame.place(row))
    }
}

/// Compares records with offline tables. `progress` is told how many of how many tables are done.
pub fn check(
    records: &Frame,
    tables: &[Frame],
    options: &Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Report, Problem> {
    let records = Records::new(records, options)?;
    let mut notes = Vec::new();
    let (mut reports, mut features) = (Vec::new(), Vec::new());
    for (done, frame) in tables.iter().enumerate() {
        progress(done, tables.len());
        let table = table::Table::new(&records, frame, options, &mut notes)?;
        for pair in table.features(&records, options) {
            features.push(compare::compare(&records, &table, &pair, options)?);
        }
        reports.push(table.report);
    }
    progress(tables.len(), tables.len());
    if features.is_empty() {
        let names = |frame: &Frame| {
            frame.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
        };
        let theirs = tables.iter().map(names).collect::<Vec<_>>().join("; ");
        return Err(Problem::invalid("records and tables share no feature")
            .field("feature")
            .hint(format!("the records have {}; the tables have {theirs}", names(records.frame))));
    }
    for named in &options.features {
        if !features.iter().any(|feature| feature.name == named.record) {
            return Err(Problem::invalid(format!("no table has `{}`", named.table)).field("feature"));
        }
    }
    let share = |feature: &FeatureReport| feature.share.map_or(0.0, |share| share.value);
    features.sort_by(|a, b| share(b).total_cmp(&share(a)).then_with(|| a.name.cmp(&b.name)));
    let skewed: Vec<&FeatureReport> = features.iter().filter(|feature| feature.skewed).collect();
    let summary = match skewed.as_slice() {
        [] if features.iter().all(|feature| feature.mismatches == 0) => {
            format!("all {} features are as they should have been", features.len())
        }
        [] => format!("all {} features differ in no more than the accepted share", features.len()),
        [worst, ..] => format!(
            "{} of {} features differ, `{}` the most: in {} of {} records",
            skewed.len(),
            features.len(),
            worst.name,
            worst.mismatches,
            worst.compared
        ),
    };
    let times = || records.time.times().into_iter().flatten();
    Ok(Report {
        skewed: !skewed.is_empty(),
        summary,
        records: records.frame.source.clone(),
        rows: records.frame.rows,
        from: times().min().map(written),
        to: times().max().map(written),
        tables: reports,
        accept: options.accept,
        tolerance: options.tolerance,
        notes,
        features,
    })
}

fn written(micros: i64) -> String {
    steersman_domain::time::from_micros(micros).to_string()
}

/// Which rows of a table count.
fn known(options: &Options, created: bool) -> Known {
    if created && options.created.is_some() { Known::AsKnown } else { Known::EventTime }
}
