//! An offline table, matched with the records: for each record the row that it should have seen.

use super::{Named, Options, Records, Spread, TableReport, known};
use crate::asof::{History, Keys, NONE};
use arrow::array::{Array, ArrayRef, AsArray as _, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;
use steersman_domain::Problem;
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, FrameColumn};

/// A table and its rows for the records.
pub(super) struct Table<'a> {
    pub(super) frame: &'a Frame,
    pub(super) keys: Keys,
    pub(super) history: History<'a>,
    pub(super) times: &'a TimestampMicrosecondArray,
    /// The row of each record, or [`NONE`].
    pub(super) rows: Vec<u32>,
    /// Whether a record can be compared at all.
    pub(super) usable: Vec<bool>,
    pub(super) report: TableReport,
    own: Vec<String>,
}

fn moments(column: &FrameColumn) -> &TimestampMicrosecondArray {
    column.values.as_primitive::<TimestampMicrosecondType>()
}

impl<'a> Table<'a> {
    pub(super) fn new(
        records: &Records,
        frame: &'a Frame,
        options: &Options,
        notes: &mut Vec<String>,
    ) -> Result<Self, Problem> {
        let wrong =
            |what: String, field: &str| Problem::invalid(format!("`{}` {what}", frame.source)).field(field);
        let is_time = |column: &&FrameColumn| column.kind == DataKind::Datetime;
        let created = match &options.created {
            None => None,
            Some(name) => {
                let column = frame.require(name).map_err(|problem| problem.field("created"))?;
                Some(
                    Some(column)
                        .filter(is_time)
                        .ok_or_else(|| wrong(format!("has no times in `{name}`"), "created"))?,
                )
            }
        };
        let time = match &options.time {
            Some(name) => {
                frame.require(name).map(Some).map_err(|problem| problem.field("time"))?.filter(is_time)
            }
            None => frame
                .columns
                .iter()
                .filter(is_time)
                .find(|column| created.is_none_or(|created| created.name != column.name)),
        };
        let time = time.ok_or_else(|| {
            wrong("has no column of times to match by".to_owned(), "time").hint("name it with `--time NAME`")
        })?;
        let entities: Vec<&Named> =
            options.entities.iter().filter(|named| frame.column(&named.table).is_some()).collect();
        if entities.is_empty() {
            let wanted: Vec<&str> = options.entities.iter().map(|named| named.table.as_str()).collect();
            let has: Vec<&str> = frame.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(wrong(format!("has none of the entity columns {}", wanted.join(", ")), "entity")
                .hint(format!(
                    "its columns are {}; another name is given as `--entity record_name=table_name`",
                    has.join(", ")
                )));
        }
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for named in &entities {
            let own = records.frame.require(&named.record).map_err(|problem| problem.field("entity"))?;
            let other = frame.require(&named.table)?;
            let (own, other) = alike(own, other, frame, notes);
            left.push(own);
            right.push(other);
        }
        let keys = Keys::new(&left, &right)?;
        let history =
            History::new(&keys, moments(time), created.map(moments), known(options, created.is_some()));
        let (at, ttl) = (moments(records.time), options.ttl.map(|ttl| ttl.seconds() * 1_000_000));
        let rows = history.join(&keys, at, ttl);
        let present = |row: usize| at.is_valid(row) && left.iter().all(|column| column.is_valid(row));
        let usable: Vec<bool> = (0..rows.len()).map(present).collect();
        let count =
            |holds: &dyn Fn(usize) -> bool| (0..rows.len()).filter(|row| usable[*row] && holds(*row)).count();
        let times = moments(time);
        let ages = (0..rows.len())
            .filter(|row| rows[*row] != NONE)
            .map(|row| age(at, times, row, rows[row]))
            .collect();
        let report = TableReport {
            source: frame.source.clone(),
            rows: frame.rows,
            entities: entities.iter().map(|named| named.table.clone()).collect(),
            time: time.name.clone(),
            created: created.map(|created| created.name.clone()),
            ttl_seconds: options.ttl.map(|ttl| ttl.seconds()),
            matched: count(&|row| rows[row] != NONE),
            unknown_entity: count(&|row| keys.left[row] == NONE),
            no_row: count(&|row| keys.left[row] != NONE && rows[row] == NONE),
            without_key: usable.iter().filter(|usable| !**usable).count(),
            staleness_seconds: Spread::of(ages),
        };
        notes.extend(frame.notes.iter().map(|note| format!("{}: {note}", frame.source)));
        let own = [Some(time), created].into_iter().flatten().map(|column| column.name.clone());
        let own = own.chain(report.entities.iter().cloned()).collect();
        Ok(Self { frame, keys, history, times, rows, usable, report, own })
    }

    /// The features that records and table share.
    pub(super) fn features(&self, records: &Records, options: &Options) -> Vec<Named> {
        let of_records = |name: &str| {
            let key = records.time.name == name || records.id.is_some_and(|id| id.name == name);
            !key && !options.entities.iter().any(|named| named.record == name)
                && records.frame.column(name).is_some()
        };
        if options.features.is_empty() {
            let names = self.frame.columns.iter().map(|column| &column.name);
            let shared = names.filter(|name| !self.own.contains(name) && of_records(name));
            return shared.map(|name| Named { record: name.clone(), table: name.clone() }).collect();
        }
        let both = |named: &&Named| {
            self.frame.column(&named.table).is_some() && records.frame.column(&named.record).is_some()
        };
        options.features.iter().filter(both).cloned().collect()
    }
}

/// Age of a row at a record's time, in seconds.
pub(super) fn age(
    at: &TimestampMicrosecondArray,
    times: &TimestampMicrosecondArray,
    record: usize,
    row: u32,
) -> f64 {
    at.value(record).saturating_sub(times.value(row as usize)) as f64 / 1e6
}

/// Two key columns in one form: as text where one holds text and the other numbers.
fn alike(
    own: &FrameColumn,
    other: &FrameColumn,
    frame: &Frame,
    notes: &mut Vec<String>,
) -> (ArrayRef, ArrayRef) {
    if own.values.data_type() == other.values.data_type() {
        return (own.values.clone(), other.values.clone());
    }
    notes.push(format!(
        "`{}` is {} in the records and `{}` {} in {}: they are matched as texts",
        own.name,
        own.kind.as_str(),
        other.name,
        other.kind.as_str(),
        frame.source
    ));
    (texts(own), texts(other))
}

/// A column as text.
pub(super) fn texts(column: &FrameColumn) -> ArrayRef {
    match column.texts() {
        Some(_) => column.values.clone(),
        None => Arc::new((0..column.len()).map(|row| column.category(row)).collect::<StringArray>()),
    }
}
