//! Can the sides be told apart from all columns together? Finds what no single column shows.

use super::Options;
use super::column::probability;
use super::pair::{As, Cells, Pair};
use std::borrow::Cow;
use steersman_domain::comparison::{Both, JointComparison};
use steersman_domain::schema::DataKind;
use steersman_records::frame::FrameColumn;
use steersman_stats::multivariate::{Column, DomainReference};

/// Rows of the reference that are used; evenly spaced where there are more.
const REFERENCE_ROWS: usize = 20_000;
/// Rows of the current data that are used.
const CURRENT_ROWS: usize = 10_000;
/// A classifier that is right in less than this share of pairs does not matter.
const LEAST_AREA: f64 = 0.55;
/// More columns than this have too many pairs.
const MOST_COLUMNS: usize = 60;
const SEED: u64 = 7;

/// One side of a column, as the classifier reads it.
enum Owned<'a> {
    Numbers(Vec<f64>),
    Categories(Vec<Option<Cow<'a, str>>>),
}

/// Tells the sides apart, where there are at least two columns and enough rows.
pub(super) fn tell_apart(
    compared: &[(&FrameColumn, &FrameColumn)],
    options: &Options,
) -> Option<JointComparison> {
    let usable: Vec<_> = compared
        .iter()
        .filter(|(own, other)| {
            let way = Pair::way(own, other);
            let known = |column: &FrameColumn| column.missing() < column.len();
            matches!(way, As::Numbers | As::Categories)
                && own.kind != DataKind::Datetime
                && known(own)
                && known(other)
                && !Pair::new(own, other).identifier
        })
        .take(MOST_COLUMNS)
        .collect();
    if usable.len() < 2 {
        return None;
    }
    let rows = |column: &FrameColumn, most: usize| spaced(column.len(), most);
    let (own_rows, other_rows) = (rows(usable[0].0, REFERENCE_ROWS), rows(usable[0].1, CURRENT_ROWS));
    let take = |column, way: As, rows: &[usize]| match way.cells(column) {
        Cells::Numbers(values) => {
            Owned::Numbers(rows.iter().map(|&row| values[row].unwrap_or(f64::NAN)).collect())
        }
        Cells::Categories(values) => Owned::Categories(rows.iter().map(|&row| values[row].clone()).collect()),
    };
    let own: Vec<Owned<'_>> =
        usable.iter().map(|(own, other)| take(own, Pair::way(own, other), &own_rows)).collect();
    let other: Vec<Owned<'_>> =
        usable.iter().map(|(own, other)| take(other, Pair::way(own, other), &other_rows)).collect();
    let (own_texts, other_texts) = (texts(&own), texts(&other));
    let (own, other) = (columns(&own, &own_texts), columns(&other, &other_texts));
    let found =
        DomainReference::learn(&own, SEED).and_then(|reference| reference.compare(&other, SEED)).ok()?;
    let total: f64 = found.importance.iter().map(|part| part.max(0.0)).sum();
    let mut parts: Vec<(String, f64)> = usable
        .iter()
        .zip(&found.importance)
        .filter(|(_, part)| **part > 0.0)
        .map(|((own, _), part)| (own.name.clone(), part / total.max(f64::MIN_POSITIVE)))
        .collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts.truncate(5);
    let (area, low, high) = (found.auc.value, found.auc.low, found.auc.high);
    let certain = found.p_value <= options.level;
    let drifted = certain && area >= LEAST_AREA;
    let percent = 100.0 * area;
    let why = match (drifted, certain) {
        (true, _) => format!(
            "a classifier names the side of {percent:.0} of 100 pairs of rows rightly where chance is 50 (p {}), most by {}",
            probability(found.p_value),
            parts.iter().take(3).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        (false, true) => format!("a classifier tells the sides apart, but hardly: {percent:.1} of 100 pairs"),
        (false, false) => "no classifier tells the sides apart".to_owned(),
    };
    Some(JointComparison {
        method: "domain_classifier".to_owned(),
        roc_auc: area,
        interval: (low, high),
        p_value: found.p_value,
        drifted,
        columns: parts,
        rows: Both { reference: own_rows.len() as u64, current: other_rows.len() as u64 },
        why,
    })
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
