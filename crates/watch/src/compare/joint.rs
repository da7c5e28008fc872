//! Can the sides be told apart from all columns together? Finds what no single column shows.

use super::Options;
use super::pair::{As, Cells, Pair, identifier};
use std::borrow::Cow;
use steersman_domain::comparison::{Both, JointComparison};
use steersman_domain::schema::DataKind;
use steersman_records::frame::FrameColumn;
use steersman_stats::multivariate::{Column, DomainDrift, DomainReference};

/// Rows of the reference that are used; evenly spaced where there are more.
const REFERENCE_ROWS: usize = 20_000;
/// Rows of the current data that are used.
const CURRENT_ROWS: usize = 10_000;
/// A classifier that is right in no more than this share of pairs more than ordinarily does not matter.
const LEAST_GAIN: f64 = 0.05;
/// More columns than this have too many pairs.
const MOST_COLUMNS: usize = 60;
const SEED: u64 = 7;

/// One side of a column, as the classifier reads it.
enum Owned<'a> {
    Numbers(Vec<f64>),
    Categories(Vec<Option<Cow<'a, str>>>),
}

/// Tells the sides apart, where there are at least two columns and enough rows. Where rows have a `time`, the two halves
/// of the reference say how far apart equal data are: weather changes from month to month.
pub(super) fn tell_apart(
    compared: &[(&FrameColumn, &FrameColumn)],
    time: Option<&FrameColumn>,
    options: &Options,
) -> Option<JointComparison> {
    let usable: Vec<(&FrameColumn, &FrameColumn, As)> = compared
        .iter()
        .map(|(own, other)| (*own, *other, Pair::way(own, other)))
        .filter(|(own, other, way)| {
            let known = |column: &FrameColumn| column.missing() < column.len();
            matches!(way, As::Numbers | As::Categories)
                && own.kind != DataKind::Datetime
                && known(own)
                && known(other)
                && !identifier(own, other, Pair::way(own, other))
        })
        .take(MOST_COLUMNS)
        .collect();
    let (first, second, _) = usable.get(1).and(usable.first())?;
    let (own_rows, other_rows) = (spaced(first.len(), REFERENCE_ROWS), spaced(second.len(), CURRENT_ROWS));
    let side = |rows: &[usize], reference: bool| -> Vec<Owned<'_>> {
        usable
            .iter()
            .map(|(own, other, way)| owned(if reference { own } else { other }, *way, rows))
            .collect()
    };
    let found = classify(&side(&own_rows, true), &side(&other_rows, false))?;
    let ordinary = time.and_then(|time| {
        let times = time.times();
        let mut order: Vec<usize> = (0..times.len()).filter(|&row| times[row].is_some()).collect();
        order.sort_by_key(|&row| times[row]);
        let (early, late) = order.split_at(order.len() / 2);
        let of = |half: &[usize], most: usize| -> Vec<usize> {
            spaced(half.len(), most).into_iter().map(|place| half[place]).collect()
        };
        let (early, late) = (of(early, REFERENCE_ROWS), of(late, CURRENT_ROWS));
        classify(&side(&early, true), &side(&late, true)).map(|halves| halves.auc)
    });
    let total: f64 = found.importance.iter().map(|part| part.max(0.0)).sum();
    let mut parts: Vec<(String, f64)> = usable
        .iter()
        .zip(&found.importance)
        .filter(|(_, part)| **part > 0.0)
        .map(|((own, ..), part)| (own.name.clone(), part / total.max(f64::MIN_POSITIVE)))
        .collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts.truncate(5);
    let (area, low, high) = (found.auc.value, found.auc.low, found.auc.high);
    let usual = ordinary.as_ref().map_or(0.5, |ordinary| ordinary.value.max(0.5));
    let certain =
        found.p_value <= options.level && ordinary.as_ref().is_none_or(|ordinary| low > ordinary.high);
    let drifted = certain && area >= usual + LEAST_GAIN;
    let named = || parts.iter().take(3).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let pairs = |area: f64| format!("{:.0} of 100", 100.0 * area);
    let chance = match &ordinary {
        Some(_) => format!("{} between the halves of the reference", pairs(usual)),
        None => "50 is chance".to_owned(),
    };
    let right = format!("a classifier names the side of {} pairs of rows rightly ({chance})", pairs(area));
    let why = match (drifted, certain) {
        (true, _) => format!("{right}, most by {}", named()),
        (false, true) => format!("{right}: too little to matter"),
        (false, false) => format!("{right}: no more than ordinary"),
    };
    Some(JointComparison {
        method: "domain_classifier".to_owned(),
        roc_auc: area,
        interval: (low, high),
        ordinary: ordinary.map(|ordinary| (ordinary.low, ordinary.high)),
        p_value: found.p_value,
        drifted,
        columns: parts,
        rows: Both { reference: own_rows.len() as u64, current: other_rows.len() as u64 },
        why,
    })
}

fn owned<'a>(column: &'a FrameColumn, way: As, rows: &[usize]) -> Owned<'a> {
    match way.cells(column) {
        Cells::Numbers(values) => {
            Owned::Numbers(rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect())
        }
        Cells::Categories(values) => Owned::Categories(rows.iter().map(|&row| values[row].clone()).collect()),
    }
}

fn classify(own: &[Owned<'_>], other: &[Owned<'_>]) -> Option<DomainDrift> {
    let (own_texts, other_texts) = (texts(own), texts(other));
    let (own, other) = (columns(own, &own_texts), columns(other, &other_texts));
    DomainReference::learn(&own, SEED).and_then(|reference| reference.compare(&other, SEED)).ok()
}

/// The categories of a side, borrowed; empty for columns of numbers.
fn texts<'a>(side: &'a [Owned<'_>]) -> Vec<Vec<Option<&'a str>>> {
    let column = |values: &'a Owned<'_>| match values {
        Owned::Categories(values) => values.iter().map(Option::as_deref).collect(),
        Owned::Numbers(_) => Vec::new(),
    };
    side.iter().map(column).collect()
}

fn columns<'a>(side: &'a [Owned<'_>], texts: &'a [Vec<Option<&'a str>>]) -> Vec<Column<'a>> {
    let column = |(values, texts): (&'a Owned<'_>, &'a Vec<Option<&'a str>>)| match values {
        Owned::Numbers(values) => Column::Numeric(values),
        Owned::Categories(_) => Column::Categorical(texts),
    };
    side.iter().zip(texts).map(column).collect()
}

/// At most `most` of the numbers `0..count`, evenly spaced, so that all times are among them.
pub(crate) fn spaced(count: usize, most: usize) -> Vec<usize> {
    match count <= most {
        true => (0..count).collect(),
        false => (0..most).map(|place| (place as u128 * count as u128 / most as u128) as usize).collect(),
    }
}
