//! One feature, row by row.

use super::table::{Table, age, texts};
use super::{Example, FeatureReport, Named, Options, Records, Spread, written};
use crate::asof::NONE;
use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::TimestampMicrosecondType;
use steersman_domain::Problem;
use steersman_domain::schema::DataKind;
use steersman_records::frame::FrameColumn;
use steersman_stats::interval::wilson;

/// The values of a feature on both sides in one form.
enum Values {
    Numbers(Vec<Option<f64>>, Vec<Option<f64>>),
    /// In microseconds.
    Times(Vec<Option<i64>>, Vec<Option<i64>>),
    Texts(ArrayRef, ArrayRef),
}

impl Values {
    fn new(own: &FrameColumn, other: &FrameColumn) -> Self {
        let number = |kind: DataKind| matches!(kind, DataKind::Numeric | DataKind::Boolean);
        match (own.kind, other.kind) {
            (one, two) if number(one) && number(two) => Self::Numbers(own.numbers(), other.numbers()),
            (DataKind::Datetime, DataKind::Datetime) => Self::Times(own.times(), other.times()),
            _ => Self::Texts(texts(own), texts(other)),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(..) => DataKind::Numeric.as_str(),
            Self::Times(..) => DataKind::Datetime.as_str(),
            Self::Texts(..) => DataKind::Categorical.as_str(),
        }
    }

    /// How the value of a record and that of a row of the table, if there is one, are to each other.
    fn relation(&self, record: usize, row: u32, tolerance: f64) -> Relation {
        let row = (row != NONE).then_some(row as usize);
        match self {
            Self::Numbers(own, other) => {
                let near = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs());
                Relation::of(own[record], row.and_then(|row| other[row]), near)
            }
            Self::Times(own, other) => {
                Relation::of(own[record], row.and_then(|row| other[row]), |a, b| a == b)
            }
            Self::Texts(own, other) => {
                let text = |column: &'_ ArrayRef, row: usize| column.is_valid(row).then_some(row);
                let (own_texts, other_texts) = (own.as_string::<i32>(), other.as_string::<i32>());
                Relation::of(text(own, record), row.and_then(|row| text(other, row)), |a, b| {
                    own_texts.value(a) == other_texts.value(b)
                })
            }
        }
    }

    /// What the record holds less what it should hold.
    fn difference(&self, record: usize, row: u32) -> Option<f64> {
        let row = (row != NONE).then_some(row as usize)?;
        match self {
            Self::Numbers(own, other) => Some(own[record]? - other[row]?),
            Self::Times(own, other) => Some((own[record]? as f64 - other[row]? as f64) / 1e6),
            Self::Texts(..) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    Different,
    MissingInRecord,
    MissingInTable,
}

impl Relation {
    fn of<T: Copy>(own: Option<T>, other: Option<T>, same: impl Fn(T, T) -> bool) -> Self {
        match (own, other) {
            (None, None) => Self::Same,
            (Some(own), Some(other)) if same(own, other) => Self::Same,
            (Some(_), Some(_)) => Self::Different,
            (None, Some(_)) => Self::MissingInRecord,
            (Some(_), None) => Self::MissingInTable,
        }
    }
}

/// Compares one feature.
pub(super) fn compare(
    records: &Records,
    table: &Table,
    named: &Named,
    options: &Options,
) -> Result<FeatureReport, Problem> {
    let (own, other) = (records.frame.require(&named.record)?, table.frame.require(&named.table)?);
    let values = Values::new(own, other);
    let at = records.time.values.as_primitive::<TimestampMicrosecondType>();
    let mut compared = 0;
    let mut wrong: Vec<(usize, Relation)> = Vec::new();
    for record in (0..table.rows.len()).filter(|record| table.usable[*record]) {
        compared += 1;
        let relation = values.relation(record, table.rows[record], options.tolerance);
        if relation != Relation::Same {
            wrong.push((record, relation));
        }
    }
    wrong.sort_by_key(|(record, _)| at.value(*record));
    let count = |wanted: Relation| wrong.iter().filter(|(_, relation)| *relation == wanted).count() as u64;
    // A value that is in the record and is that of the row before or after tells how it came there.
    let (mut earlier, mut later) = (0, 0);
    for (record, _) in wrong.iter().filter(|(_, relation)| *relation != Relation::MissingInRecord) {
        let (before, after) = table.history.neighbours(table.keys.left[*record], at.value(*record));
        let is = |row: u32| row != NONE && values.relation(*record, row, options.tolerance) == Relation::Same;
        earlier += u64::from(is(before));
        later += u64::from(!is(before) && is(after));
    }
    let mismatches = wrong.len() as u64;
    let share = wilson(mismatches, compared).ok();
    let differences = wrong.iter().filter_map(|(record, _)| values.difference(*record, table.rows[*record]));
    let matched = wrong.iter().filter(|(record, _)| table.rows[*record] != NONE);
    let ages = matched.map(|(record, _)| age(at, table.times, *record, table.rows[*record]));
    let time = |record: &(usize, Relation)| written(at.value(record.0));
    let example = |(record, relation): &(usize, Relation)| {
        let row = table.rows[*record];
        let found = (row != NONE).then_some(row as usize);
        Example {
            id: records.id(*record),
            time: time(&(*record, *relation)),
            record: own.category(*record),
            expected: found.and_then(|row| other.category(row)),
            feature_time: found.map(|row| written(table.times.value(row))),
        }
    };
    Ok(FeatureReport {
        name: named.record.clone(),
        table: table.frame.source.clone(),
        column: named.table.clone(),
        kind: values.kind(),
        skewed: share.is_some_and(|share| share.value > options.accept),
        compared,
        mismatches,
        share,
        different: count(Relation::Different),
        missing_in_record: count(Relation::MissingInRecord),
        missing_in_table: count(Relation::MissingInTable),
        earlier_value: earlier,
        later_value: later,
        difference: Spread::of(differences.collect()),
        staleness_seconds: Spread::of(ages.collect()),
        first_seen: wrong.first().map(time),
        last_seen: wrong.last().map(time),
        examples: wrong.iter().take(options.examples).map(example).collect(),
    })
}
