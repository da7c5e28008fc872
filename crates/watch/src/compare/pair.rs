//! One column on both sides, brought to the same kind.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use steersman_domain::comparison::Both;
use steersman_domain::schema::DataKind;
use steersman_records::frame::{Frame, FrameColumn};

/// Nearly all values of an identifier are different,
const IDENTIFIER_SHARE: f64 = 0.99;
/// in at least so many rows,
const IDENTIFIER_ROWS: usize = 2_000;
/// or so many where its name says so.
const NAMED_IDENTIFIER_ROWS: usize = 10;
/// So much of a column of text must be numbers for it to be a column of codes.
const CODES: f64 = 0.9;
const HOUR: f64 = 3_600.0;

/// A column of both sides.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) kind: DataKind,
    /// The current data's kind, where it is another one.
    pub(crate) changed_kind: Option<DataKind>,
    pub(crate) values: Values,
    /// Rows without a value.
    pub(crate) missing: Both<u64>,
    /// Infinite values, which are in no list.
    pub(crate) infinite: Both<u64>,
    pub(crate) rows: Both<u64>,
    /// Nearly every value is different: there is nothing to compare.
    pub(crate) identifier: bool,
}

/// What is compared.
pub(crate) enum Values {
    /// Finite numbers, in the order of rows.
    Numbers(Both<Vec<f64>>),
    /// Counts of categories.
    Categories(Both<BTreeMap<String, u64>>),
}

/// One side's values row by row, as they are compared.
pub(crate) enum Cells<'a> {
    /// Finite numbers.
    Numbers(Vec<Option<f64>>),
    /// Categories.
    Categories(Vec<Option<Cow<'a, str>>>),
}

/// As what a column of both sides is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Numbers,
    Categories,
    /// Times, by the hour of the day.
    Hours,
    /// Times, by the day of the week.
    Weekdays,
    /// Text, by its length.
    Lengths,
}

impl As {
    /// Both sides of a column, their common kind, and the current one's where it changed.
    fn of(reference: &FrameColumn, current: &FrameColumn) -> (Self, DataKind, Option<DataKind>) {
        use DataKind::{Boolean, Categorical, Datetime, Numeric, Text};
        let nothing = |column: &FrameColumn| column.missing() == column.len();
        // A side without any value has the kind of the other.
        let (own, other) = match (nothing(reference), nothing(current)) {
            (true, false) => (current.kind, current.kind),
            (false, true) => (reference.kind, reference.kind),
            _ => (reference.kind, current.kind),
        };
        let clocked = |column: &FrameColumn| {
            column.times().into_iter().flatten().any(|at| at.rem_euclid(86_400_000_000) != 0)
        };
        match (own, other) {
            (Numeric, Numeric) => (Self::Numbers, Numeric, None),
            (Boolean, Boolean) => (Self::Categories, Boolean, None),
            (Boolean, Numeric) if flags(current) => (Self::Categories, Boolean, None),
            (Numeric, Boolean) if flags(reference) => (Self::Categories, Boolean, None),
            (Datetime, Datetime) if clocked(reference) || clocked(current) => (Self::Hours, Datetime, None),
            (Datetime, Datetime) => (Self::Weekdays, Datetime, None),
            (Text, Text) | (Text, Categorical) | (Categorical, Text) => (Self::Lengths, Text, None),
            (Categorical, Categorical) => (Self::Categories, Categorical, None),
            (Categorical, Numeric) if codes(reference) => (Self::Categories, Categorical, None),
            (Numeric, Categorical) if codes(current) => (Self::Categories, Categorical, None),
            (own, other) => (Self::Categories, own, (own != other).then_some(other)),
        }
    }

    /// What a reader should know of it.
    pub(crate) fn note(self) -> Option<&'static str> {
        match self {
            Self::Hours => Some("times move on; compared by the hour of the day"),
            Self::Weekdays => Some("dates move on; compared by the day of the week"),
            Self::Lengths => {
                Some("text is compared by its length and, in up to 400 rows of each side, by its words")
            }
            Self::Numbers | Self::Categories => None,
        }
    }

    /// The values of one side.
    pub(crate) fn cells(self, column: &FrameColumn) -> Cells<'_> {
        let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
        match self {
            Self::Numbers => Cells::Numbers(column.numbers().into_iter().map(finite).collect()),
            Self::Lengths => match column.texts() {
                Some(texts) => Cells::Numbers(texts.map(|text| Some(text?.chars().count() as f64)).collect()),
                None => Cells::Numbers(vec![None; column.len()]),
            },
            Self::Hours => cycle(column, HOUR, 24),
            Self::Weekdays => cycle(column, 24.0 * HOUR, 7),
            Self::Categories => match (column.texts(), column.kind) {
                (Some(texts), _) => Cells::Categories(texts.map(|text| text.map(Cow::Borrowed)).collect()),
                (None, DataKind::Boolean) => flag_names(column),
                (None, DataKind::Numeric) if flags(column) => flag_names(column),
                (None, _) => Cells::Categories(
                    (0..column.len()).map(|row| column.category(row).map(Cow::Owned)).collect(),
                ),
            },
        }
    }
}

fn flag_names(column: &FrameColumn) -> Cells<'_> {
    let name = |number: f64| Cow::Borrowed(if number == 0.0 { "false" } else { "true" });
    Cells::Categories(column.numbers().into_iter().map(|number| number.map(name)).collect())
}

/// Times as places in a cycle of `places` steps of `seconds`.
fn cycle(column: &FrameColumn, seconds: f64, places: i64) -> Cells<'_> {
    // 1 January 1970 was a Thursday.
    let place = |at: f64| match places {
        7 => {
            let days = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
            Cow::Borrowed(days[((at / seconds).floor() as i64).rem_euclid(7) as usize])
        }
        _ => Cow::Owned(format!("{:02}:00", ((at / seconds).floor() as i64).rem_euclid(places))),
    };
    Cells::Categories(column.numbers().into_iter().map(|at| at.map(place)).collect())
}

/// Whether all numbers are 0 and 1.
fn flags(column: &FrameColumn) -> bool {
    column.numbers().into_iter().flatten().all(|number| number == 0.0 || number == 1.0)
}

/// Whether text is mostly codes of digits, which look like numbers on another side.
fn codes(column: &FrameColumn) -> bool {
    let Some(texts) = column.texts() else { return false };
    let (mut digits, mut count) = (0usize, 0usize);
    for text in texts.flatten() {
        count += 1;
        digits += usize::from(text.parse::<f64>().is_ok());
    }
    count > 0 && digits as f64 >= CODES * count as f64
}

impl Pair {
    /// Brings a column of both sides together.
    pub(crate) fn new(reference: &FrameColumn, current: &FrameColumn) -> Self {
        let (way, kind, changed_kind) = As::of(reference, current);
        let identifier = identifier(reference, current, way);
        let values = match (way.cells(reference), way.cells(current)) {
            (Cells::Numbers(reference), Cells::Numbers(current)) => Values::Numbers(Both {
                reference: reference.into_iter().flatten().collect(),
                current: current.into_iter().flatten().collect(),
            }),
            (reference, current) => {
                Values::Categories(Both { reference: counts(reference), current: counts(current) })
            }
        };
        let missing = Both { reference: reference.missing() as u64, current: current.missing() as u64 };
        let rows = Both { reference: reference.len() as u64, current: current.len() as u64 };
        let rest = |rows: u64, missing: u64, finite: usize| rows.saturating_sub(missing + finite as u64);
        let infinite = match &values {
            Values::Numbers(finite) if way == As::Numbers => Both {
                reference: rest(rows.reference, missing.reference, finite.reference.len()),
                current: rest(rows.current, missing.current, finite.current.len()),
            },
            _ => Both::default(),
        };
        let name = reference.name.clone();
        Self { name, kind, changed_kind, values, missing, infinite, rows, identifier }
    }

    /// How the sides of the column are read.
    pub(crate) fn way(reference: &FrameColumn, current: &FrameColumn) -> As {
        As::of(reference, current).0
    }
}

fn counts(cells: Cells<'_>) -> BTreeMap<String, u64> {
    let Cells::Categories(cells) = cells else { return BTreeMap::new() };
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for cell in cells.iter().flatten() {
        *counts.entry(cell.as_ref()).or_default() += 1;
    }
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Whether a column names rows on both sides.
pub(crate) fn identifier(reference: &FrameColumn, current: &FrameColumn, way: As) -> bool {
    matches!(way, As::Numbers | As::Categories) && identifies(reference, way) && identifies(current, way)
}

/// Whether nearly every value is different: whole numbers or text, in many rows or under a name that says so.
fn identifies(column: &FrameColumn, way: As) -> bool {
    let known = column.len() - column.missing();
    let lower = column.name.to_lowercase();
    let named =
        ["id", "uuid", "guid"].iter().any(|word| lower == *word || lower.ends_with(&format!("_{word}")))
            || column.name.ends_with("Id");
    let enough = if named { NAMED_IDENTIFIER_ROWS } else { IDENTIFIER_ROWS };
    let fits =
        way == As::Categories || column.numbers().into_iter().flatten().all(|number| number.fract() == 0.0);
    known >= enough && fits && column.distinct() as f64 >= IDENTIFIER_SHARE * known as f64
}

/// The columns that both frames have, and those that one of them has.
pub(crate) fn common<'a>(
    reference: &'a Frame,
    current: &'a Frame,
) -> (Vec<(&'a FrameColumn, &'a FrameColumn)>, Vec<String>, Vec<String>) {
    let both = reference.columns.iter().filter_map(|own| Some((own, current.column(&own.name)?))).collect();
    let only = |own: &Frame, other: &Frame| {
        let absent = own.columns.iter().filter(|column| other.column(&column.name).is_none());
        absent.map(|column| column.name.clone()).collect()
    };
    (both, only(reference, current), only(current, reference))
}
