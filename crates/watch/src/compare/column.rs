//! What is found about one column: distances, evidence, ordinary range, words.

use super::pair::{Pair, Values};
use super::shape::{categories_shape, numeric_shape, summary_of_counts, summary_of_numbers};
use super::time::Blocks;
use super::words::{LEAST_DISTANCE, Words};
use std::collections::BTreeMap;
use steersman_domain::comparison::{Both, ColumnComparison, ColumnSummary, Shape, brief};
use steersman_domain::schema::DataKind;
use steersman_stats::calibration::{
    ColumnDecision, ColumnEvidence, ColumnTest, Floors, NullBand, TestEvidence, Why, largest_cell_p_value,
    shares_p_value,
};
use steersman_stats::distance::binning::{CELLS, Cells, categorical_cells, numeric_cells, quantile_edges};
use steersman_stats::distance::{
    Convention, Distances, Sorted, compare_categorical, compare_sorted, jensen_shannon, two_proportions,
};

/// Fewer values than this on a side say nothing about a distribution.
pub(super) const LEAST_VALUES: usize = 10;
/// Windows drawn to learn what is ordinary.
const RESAMPLES: usize = 200;
/// The same data always gets the same ordinary range.
const SEED: u64 = 7;
/// More categories than this are not drawn anew for the ordinary range; the rarest share a cell.
const BAND_CELLS: usize = 200;

/// Everything about a column but whether it drifted, which all columns decide together.
pub(super) struct Examined {
    pub(super) evidence: ColumnEvidence,
    /// Why there is no evidence, if there is none.
    nothing: Option<String>,
    found: ColumnComparison,
}

impl Examined {
    /// What is drawn of it.
    pub(super) fn shape(&self) -> &Shape {
        &self.found.shape
    }

    /// Adds what all columns together decided.
    pub(super) fn decided(self, decision: &ColumnDecision) -> ColumnComparison {
        let mut found = self.found;
        found.p_value = decision.p_value;
        found.drifted = decision.drifted || found.current_kind.is_some();
        found.why = match (&found.current_kind, &self.nothing, decision.why) {
            (Some(kind), ..) => {
                format!("it was {}, now it is {}", found.kind.as_str(), kind.as_str())
            }
            (None, _, Why::Changed(ColumnTest::Missing)) => {
                format!("its missing values changed, certainly (p {})", probability(decision.p_value))
            }
            (None, None, Why::Changed(ColumnTest::Words)) => {
                let distance = found.distances.get("mmd").copied().unwrap_or(0.0);
                format!(
                    "its words changed, certainly (p {}): their discrepancy (MMD) is {distance:.2}, {LEAST_DISTANCE:.2} matters",
                    probability(decision.p_value)
                )
            }
            (None, None, Why::Changed(_)) => {
                format!(
                    "the change is certain (p {}) and matters: {}",
                    probability(decision.p_value),
                    size(&found)
                )
            }
            (None, Some(reason), _) => reason.clone(),
            (None, None, Why::TooSmall)
                if found.effect.is_some_and(|effect| effect >= found.effect_floor) =>
            {
                format!("it moved ({}), but the reference's own periods differ as much", size(&found))
            }
            (None, None, Why::TooSmall) => {
                format!("the change is certain but too small to matter: {}", size(&found))
            }
            (None, None, Why::Ordinary) => "no more than chance makes of equal data of this size".to_owned(),
            (None, None, Why::NoData) => "there is nothing to compare".to_owned(),
        };
        found
    }
}

/// An effect with its unit and floor.
fn size(found: &ColumnComparison) -> String {
    let effect = found.effect.unwrap_or(0.0);
    match found.kind {
        DataKind::Numeric | DataKind::Text => {
            format!("{effect:.2} standard deviations, {:.2} matter", found.effect_floor)
        }
        _ => format!(
            "a share changed by {:.1} points, {:.0} matter",
            100.0 * effect,
            100.0 * found.effect_floor
        ),
    }
}

/// A p-value in few signs.
pub(super) fn probability(p: f64) -> String {
    if p < 1e-12 {
        "< 1e-12".to_owned()
    } else if p < 1e-3 {
        format!("{p:.0e}")
    } else {
        format!("{p:.3}")
    }
}

/// Examines a column; `blocks` are intervals of time in the reference, by row, where there are enough; `words` are what
/// was found in a column of text.
pub(super) fn examine(
    pair: &Pair,
    convention: Convention,
    floors: &Floors,
    blocks: Option<&Blocks<'_>>,
    words: Option<&Words>,
) -> Examined {
    let missing = Both {
        reference: share(pair.missing.reference, pair.rows.reference),
        current: share(pair.missing.current, pair.rows.current),
    };
    let mut part = match &pair.values {
        Values::Numbers(values) => numbers(pair, values, convention, floors, blocks),
        Values::Categories(counts) => categories(pair, counts, convention, floors, blocks),
    };
    let mut evidence = std::mem::take(&mut part.evidence);
    let mut nothing = part.nothing.take();
    let (n, m) = (pair.rows.reference, pair.rows.current);
    let test = two_proportions((pair.missing.reference, n), (pair.missing.current, m)).ok();
    if pair.missing != Both::default()
        && let Some(test) = test
    {
        let p_value = match blocks {
            Some(blocks) => blocks.missing(pair, test.statistic).unwrap_or(test.p_value),
            None => test.p_value,
        };
        let matters = floors.missing_matters(missing.reference, missing.current);
        evidence.tests.push(TestEvidence { test: ColumnTest::Missing, p_value, matters });
    }
    if let Some(words) = words.filter(|_| part.nothing.is_none() && nothing.is_none()) {
        part.found.distances.insert("mmd", words.distance);
        part.found.p_values.insert("mmd", words.p_value);
        evidence.tests.push(words.evidence());
    }
    if pair.identifier {
        evidence.tests.clear();
        nothing = Some("an identifier: nearly every value is different".to_owned());
        part = Part { summary: part.summary, effect_measure: part.effect_measure, ..Part::default() };
    }
    let mut moved = part.moved;
    if !pair.identifier && floors.missing_matters(missing.reference, missing.current) {
        let words =
            format!("missing {:.1} % \u{2192} {:.1} %", 100.0 * missing.reference, 100.0 * missing.current);
        moved = if moved.is_empty() { words } else { format!("{moved}, {words}") };
    }
    if let Some(words) = words.filter(|words| words.matters) {
        moved = if moved.is_empty() { words.moved.clone() } else { format!("{moved}, {}", words.moved) };
    }
    let found = ColumnComparison {
        name: pair.name.clone(),
        kind: pair.kind,
        current_kind: pair.changed_kind,
        missing,
        distances: part.found.distances.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        p_values: part.found.p_values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        effect: part.effect,
        effect_measure: part.effect_measure.to_owned(),
        effect_floor: part.effect_floor,
        ordinary: part.band.as_ref().map(NullBand::range),
        p_value: 1.0,
        drifted: false,
        why: String::new(),
        moved,
        harm: None,
        summary: part.summary,
        shape: part.shape,
        timeline: Vec::new(),
    };
    Examined { evidence, nothing, found }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What the two kinds of columns find in their own ways.
#[derive(Default)]
struct Part {
    evidence: ColumnEvidence,
    nothing: Option<String>,
    found: Distances,
    effect: Option<f64>,
    effect_measure: &'static str,
    effect_floor: f64,
    band: Option<NullBand>,
    moved: String,
    summary: Both<ColumnSummary>,
    shape: Shape,
}

/// Why there is nothing to compare, if a side has too few values.
fn too_few(reference: usize, current: usize) -> Option<String> {
    match (reference, current) {
        (0, 0) => Some("no data: neither side has a value".to_owned()),
        (0, _) => Some("no data: the reference has no value".to_owned()),
        (_, 0) => Some("no data: the current data has no value".to_owned()),
        (n, m) if n.min(m) < LEAST_VALUES => {
            let side = if n < m { "the reference" } else { "the current data" };
            Some(format!("too few: {side} has {} values, {LEAST_VALUES} are needed", n.min(m)))
        }
        _ => None,
    }
}

fn numbers(
    pair: &Pair,
    values: &Both<Vec<f64>>,
    convention: Convention,
    floors: &Floors,
    blocks: Option<&Blocks<'_>>,
) -> Part {
    let nothing = too_few(values.reference.len(), values.current.len());
    let sorted = |values: &Vec<f64>| Sorted::new(values.clone()).ok();
    let (reference, current) = (sorted(&values.reference), sorted(&values.current));
    let summary = Both {
        reference: summary_of_numbers(pair.missing.reference, pair.infinite.reference, reference.as_ref()),
        current: summary_of_numbers(pair.missing.current, pair.infinite.current, current.as_ref()),
    };
    let mut part = Part {
        evidence: ColumnEvidence::default(),
        nothing,
        found: Distances::default(),
        effect: None,
        effect_measure: "wasserstein_normed",
        effect_floor: floors.deviations,
        band: None,
        moved: moved_numbers(&summary),
        summary,
        shape: Shape::Empty,
    };
    let (Some(reference), Some(current)) = (reference, current) else { return part };
    part.shape = numeric_shape(&reference, &current);
    part.found = compare_sorted(&reference, &current, convention).unwrap_or_default();
    let own = match convention {
        Convention::Steersman => part.found.clone(),
        _ => compare_sorted(&reference, &current, Convention::Steersman).unwrap_or_default(),
    };
    let Ok(cells) = numeric_cells(&reference, &current, Convention::Steersman) else { return part };
    let edges = quantile_edges(&reference, CELLS);
    let by_block = blocks.and_then(|blocks| Some((blocks, blocks.numbers(pair, &edges)?)));
    part.band = band(&cells, by_block.as_ref().map(|(_, counts)| counts.as_slice()));
    part.effect = own.distances.get("wasserstein_normed").copied();
    if part.nothing.is_some() {
        return part;
    }
    let distance = own.distances.get("jensen_shannon").copied().unwrap_or(0.0);
    let beyond = part.band.as_ref().is_some_and(|band| floors.distance_matters(distance, band));
    let tails = ["tail_below", "tail_above"].map(|name| own.distances.get(name).copied().unwrap_or(0.0));
    let constant = part.effect.is_none() && floors.shares_matter(&cells.reference, &cells.current, distance);
    part.evidence.distance = distance;
    part.evidence.ordinary_high = part.band.as_ref().map(|band| band.range().1);
    let matters = beyond
        || constant
        || part.effect.is_some_and(|effect| effect >= floors.deviations)
        || tails.iter().sum::<f64>() >= floors.share;
    // What the reference's own blocks of time do among themselves is ordinary, whatever its size.
    let unusual = part.evidence.ordinary_high.is_none_or(|high| distance > high);
    part.evidence.tests = match by_block.and_then(|(blocks, counts)| blocks.p_value(&cells, &counts)) {
        Some(p_value) => {
            vec![TestEvidence { test: ColumnTest::Distribution, p_value, matters: matters && unusual }]
        }
        None => {
            let zeros = Both { reference: zeros(&values.reference), current: zeros(&values.current) };
            let zeros_p = shares_p_value(
                (zeros.reference, values.reference.len() as u64),
                (zeros.current, values.current.len() as u64),
            );
            let change = share(zeros.current, values.current.len() as u64)
                - share(zeros.reference, values.reference.len() as u64);
            let tests = [
                (ColumnTest::Distribution, own.p_values.get("kolmogorov_smirnov").copied(), matters),
                (ColumnTest::Cells, own.p_values.get("chi_square").copied(), matters),
                (ColumnTest::Zeros, zeros_p.ok(), change.abs() >= floors.share),
            ];
            let test = |(test, p, matters)| Some(TestEvidence { test, p_value: p?, matters });
            tests.into_iter().filter_map(test).collect()
        }
    };
    part
}

fn zeros(values: &[f64]) -> u64 {
    values.iter().filter(|value| **value == 0.0).count() as u64
}

fn moved_numbers(summary: &Both<ColumnSummary>) -> String {
    let (Some(before), Some(now)) = (summary.reference.quantiles, summary.current.quantiles) else {
        return String::new();
    };
    let (mean, mean_now) = (summary.reference.mean.unwrap_or(0.0), summary.current.mean.unwrap_or(0.0));
    let width = (before[4] - before[2]).abs().max(1e-12);
    // The mean tells more where both medians are the same, as with many zeros.
    let (word, from, to) = match (before[3] - now[3]).abs() > 0.02 * width {
        true => ("median", before[3], now[3]),
        false => ("mean", mean, mean_now),
    };
    let mut words = format!("{word} {} \u{2192} {}", brief(from), brief(to));
    let (spread, spread_now) = (before[4] - before[2], now[4] - now[2]);
    if spread > 0.0 && spread_now > 0.0 && (spread_now / spread).ln().abs() > 1.25f64.ln() {
        words.push_str(&format!(", spread \u{d7} {:.2}", spread_now / spread));
    }
    words
}

fn categories(
    pair: &Pair,
    counts: &Both<BTreeMap<String, u64>>,
    convention: Convention,
    floors: &Floors,
    blocks: Option<&Blocks<'_>>,
) -> Part {
    let total = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let (n, m) = (total(&counts.reference), total(&counts.current));
    let cells = categorical_cells(&counts.reference, &counts.current, Convention::Steersman);
    let mut part = Part {
        evidence: ColumnEvidence::default(),
        nothing: too_few(n as usize, m as usize),
        found: Distances::default(),
        effect: None,
        effect_measure: "l_infinity",
        effect_floor: floors.share,
        band: None,
        moved: String::new(),
        summary: Both {
            reference: summary_of_counts(pair.missing.reference, &counts.reference),
            current: summary_of_counts(pair.missing.current, &counts.current),
        },
        shape: categories_shape(&counts.reference, &counts.current),
    };
    if n == 0 || m == 0 || pair.identifier {
        return part;
    }
    part.found = compare_categorical(&counts.reference, &counts.current, convention).unwrap_or_default();
    let own = match convention {
        Convention::Steersman => part.found.clone(),
        _ => {
            compare_categorical(&counts.reference, &counts.current, Convention::Steersman).unwrap_or_default()
        }
    };
    let by_block = blocks.and_then(|blocks| Some((blocks, blocks.categories(pair, &counts.reference)?)));
    part.band = band(&cells, by_block.as_ref().map(|(_, counts)| counts.as_slice()));
    part.effect = own.distances.get("l_infinity").copied();
    part.moved = moved_categories(counts, n, m);
    if part.nothing.is_some() {
        return part;
    }
    let distance = own.distances.get("jensen_shannon").copied().unwrap_or(0.0);
    let beyond = part.band.as_ref().is_some_and(|band| floors.distance_matters(distance, band));
    part.evidence.distance = distance;
    part.evidence.ordinary_high = part.band.as_ref().map(|band| band.range().1);
    let matters = beyond || floors.shares_matter(&cells.reference, &cells.current, 0.0);
    // What the reference's own blocks of time do among themselves is ordinary, whatever its size.
    let unusual = part.evidence.ordinary_high.is_none_or(|high| distance > high);
    part.evidence.tests = match by_block.and_then(|(blocks, counts)| blocks.p_value(&cells, &counts)) {
        Some(p_value) => {
            vec![TestEvidence { test: ColumnTest::Distribution, p_value, matters: matters && unusual }]
        }
        None => {
            let tests = [
                (ColumnTest::Distribution, own.p_values.get("chi_square").copied()),
                (ColumnTest::Cells, largest_cell_p_value(&cells.reference, &cells.current).ok()),
            ];
            let test = |(test, p)| Some(TestEvidence { test, p_value: p?, matters });
            tests.into_iter().filter_map(test).collect()
        }
    };
    part
}

fn moved_categories(counts: &Both<BTreeMap<String, u64>>, n: u64, m: u64) -> String {
    let names = counts.reference.keys().chain(counts.current.keys());
    let share_of = |side: &BTreeMap<String, u64>, name: &String, whole: u64| {
        share(side.get(name).copied().unwrap_or(0), whole)
    };
    let change =
        |name: &&String| (share_of(&counts.current, name, m) - share_of(&counts.reference, name, n)).abs();
    let Some(name) = names.max_by(|a, b| change(a).total_cmp(&change(b))) else { return String::new() };
    let mut words = format!(
        "`{name}` {:.1} % \u{2192} {:.1} %",
        100.0 * share_of(&counts.reference, name, n),
        100.0 * share_of(&counts.current, name, m)
    );
    let fresh: Vec<u64> = counts
        .current
        .iter()
        .filter(|(name, _)| !counts.reference.contains_key(*name))
        .map(|(_, c)| *c)
        .collect();
    if !fresh.is_empty() {
        let part = 100.0 * share(fresh.iter().sum(), m);
        words.push_str(&format!(", {} unseen with {part:.1} %", fresh.len()));
    }
    words
}

/// The distances of equal data of these sizes: from blocks of time where there are some, else from independent rows.
fn band(cells: &Cells, blocks: Option<&[Vec<u64>]>) -> Option<NullBand> {
    let (n, m): (u64, u64) = (cells.reference.iter().sum(), cells.current.iter().sum());
    if let Some(blocks) = blocks
        // More current rows than half of the reference would leave nothing to compare with; smaller windows are farther
        // apart, so this only ever widens the range.
        && let Ok(band) = NullBand::from_blocks(blocks, m.min(n / 2), RESAMPLES, SEED, jensen_shannon)
    {
        return Some(band);
    }
    let mut reference = cells.reference.clone();
    if reference.len() > BAND_CELLS {
        reference.sort_unstable_by(|a, b| b.cmp(a));
        let rare = reference.drain(BAND_CELLS - 1..).sum();
        reference.push(rare);
    }
    NullBand::from_resamples(&reference, m, RESAMPLES, SEED, jensen_shannon).ok()
}
