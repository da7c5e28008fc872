//! The cells into which values are counted before shares are compared: Steersman's own, and those of other tools.

use super::sorted::{Sorted, walk};
use crate::error::StatsError;
use std::collections::{BTreeMap, BTreeSet};

/// Cells of Steersman's own convention.
pub const CELLS: usize = 20;
/// Up to this many distinct values in the reference, Evidently counts values instead of bins.
const EVIDENTLY_VALUES: usize = 20;

/// Whose cells and formulas are used. [`compare_numeric`](super::compare_numeric) says which distances each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// Quantile bins of the reference with open ends; the reference's categories and one for all others.
    Steersman,
    /// As Evidently 0.7.23: Sturges' equal-width bins over both samples, or the values themselves where the reference has
    /// at most 20; all categories.
    Evidently,
    /// As NannyML 0.13.1: Doane's equal-width bins over the reference, and one for what is outside; the reference's
    /// categories and one for all others.
    Nannyml,
    /// As the functions of SciPy 1.17, which count numbers in no cells; all categories.
    Scipy,
}

/// Counts of the same cells in reference and current data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cells {
    /// Of the reference.
    pub reference: Vec<u64>,
    /// Of the current data.
    pub current: Vec<u64>,
}

impl Cells {
    fn push(&mut self, reference: u64, current: u64) {
        self.reference.push(reference);
        self.current.push(current);
    }

    /// How many cells are not empty on both sides.
    pub fn filled(&self) -> usize {
        super::shares::filled(&self.reference, &self.current)
    }
}

/// The cells of two samples of numbers. Fails for [`Convention::Scipy`], which has none.
///
/// - [`Convention::Steersman`]: [`quantile_edges`] of the reference with [`CELLS`] cells. An outlier moves nothing.
/// - [`Convention::Nannyml`]: NumPy's `doane` bins of the reference, of equal width, closed on the left and the last one on
///   both sides; the last cell holds what is outside, none of the reference. One outlier in the reference stretches them
///   until all else shares a cell.
/// - [`Convention::Evidently`]: if the reference has more than 20 distinct values NumPy's `sturges` bins of both samples
///   together, likewise; otherwise one cell for each distinct value of either sample. An outlier in either stretches them.
///
/// ```
/// use steersman_stats::distance::{Convention, Sorted, binning::numeric_cells};
/// let reference = Sorted::new((0..40).map(f64::from).collect()).unwrap();
/// let current = Sorted::new(vec![-5.0, 0.0, 39.0, 1e9]).unwrap();
/// let cells = numeric_cells(&reference, &current, Convention::Nannyml).unwrap();
/// assert_eq!(cells.reference, [6, 6, 5, 6, 5, 6, 6, 0]);
/// assert_eq!(cells.current, [1, 0, 0, 0, 0, 0, 1, 2]);
/// ```
pub fn numeric_cells(
    reference: &Sorted,
    current: &Sorted,
    convention: Convention,
) -> Result<Cells, StatsError> {
    match convention {
        Convention::Steersman => {
            let edges = quantile_edges(reference, CELLS);
            Ok(Cells { reference: closed_right(reference, &edges), current: closed_right(current, &edges) })
        }
        Convention::Nannyml => {
            let edges = equal_edges(reference.range(), doane(reference))?;
            let mut cells = equal_cells(reference, current, &edges);
            let inside: u64 = cells.current.iter().sum();
            cells.push(0, current.values().len() as u64 - inside);
            Ok(cells)
        }
        Convention::Evidently if reference.distinct() > EVIDENTLY_VALUES => {
            let count = reference.count() + current.count();
            let edges = equal_edges(both_ranges(reference, current), sturges(count))?;
            Ok(equal_cells(reference, current, &edges))
        }
        Convention::Evidently => {
            let mut cells = Cells::default();
            walk(reference, current, |step| cells.push(step.here.0 as u64, step.here.1 as u64));
            Ok(cells)
        }
        Convention::Scipy => Err(StatsError::Domain("SciPy counts numbers in no cells")),
    }
}

/// The cells in which Evidently takes the Hellinger distance of numbers: Sturges' bins of the distinct values of both
/// samples, however few.
pub(super) fn evidently_hellinger_cells(reference: &Sorted, current: &Sorted) -> Result<Cells, StatsError> {
    let mut distinct = 0.0;
    walk(reference, current, |_| distinct += 1.0);
    let edges = equal_edges(both_ranges(reference, current), sturges(distinct))?;
    Ok(equal_cells(reference, current, &edges))
}

/// The cells of two columns of categories, by name: the reference's categories in order, and all others in a last one
/// ([`Convention::Steersman`], [`Convention::Nannyml`]), or every category of either side ([`Convention::Evidently`],
/// [`Convention::Scipy`]).
///
/// ```
/// use std::collections::BTreeMap;
/// use steersman_stats::distance::{Convention, binning::categorical_cells};
/// let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| (name.to_string(), *count)).collect();
/// let reference: BTreeMap<String, u64> = counts(&[("AA", 5), ("UA", 3)]);
/// let current: BTreeMap<String, u64> = counts(&[("AA", 1), ("DL", 2), ("WN", 1)]);
/// let cells = categorical_cells(&reference, &current, Convention::Steersman);
/// assert_eq!((cells.reference, cells.current), (vec![5, 3, 0], vec![1, 0, 3]));
/// ```
pub fn categorical_cells(
    reference: &BTreeMap<String, u64>,
    current: &BTreeMap<String, u64>,
    convention: Convention,
) -> Cells {
    let count = |side: &BTreeMap<String, u64>, name: &str| side.get(name).copied().unwrap_or(0);
    let mut cells = Cells::default();
    match convention {
        Convention::Steersman | Convention::Nannyml => {
            let known = reference.iter().filter(|(_, own)| **own > 0);
            known.for_each(|(name, &own)| cells.push(own, count(current, name)));
            let others = current.iter().filter(|(name, _)| count(reference, name) == 0);
            cells.push(0, others.fold(0, |sum: u64, (_, own)| sum.saturating_add(*own)));
        }
        Convention::Evidently | Convention::Scipy => {
            let names: BTreeSet<&String> = reference.keys().chain(current.keys()).collect();
            names.into_iter().for_each(|name| cells.push(count(reference, name), count(current, name)));
        }
    }
    cells
}

/// Edges of at most `2 cells + 1` cells that hold about the same number of reference values each; cell `i` holds
/// `edges[i-1] < x <= edges[i]`, the first and last are open. A value that repeats and by itself makes up a cell's share
/// gets a cell of its own, with nothing but it: so a column that is mostly zero shows both a change of the zeros and of the
/// rest.
///
/// ```
/// use steersman_stats::distance::{Sorted, binning::quantile_edges};
/// let even = Sorted::new((1..=100).map(f64::from).collect()).unwrap();
/// assert_eq!(quantile_edges(&even, 4), [25.0, 50.0, 75.0]);
/// let zeros = Sorted::new(vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
/// assert_eq!(quantile_edges(&zeros, 4), [0f64.next_down(), 0.0, 2.0]);
/// ```
pub fn quantile_edges(reference: &Sorted, cells: usize) -> Vec<f64> {
    let values = reference.values();
    let mut edges: Vec<f64> = Vec::new();
    let (mut seen, mut closed) = (0, 0);
    for group in values.chunk_by(|a, b| a == b) {
        let value = group[0];
        seen += group.len();
        let heavy = group.len() > 1 && group.len() * cells >= values.len();
        if heavy && edges.last().is_none_or(|edge| *edge < value.next_down()) {
            edges.push(value.next_down());
        }
        // An ordinary edge at the largest value would leave the last cell empty for ever.
        if heavy || (seen * cells / values.len() > closed && seen < values.len()) {
            edges.push(value);
            closed = seen * cells / values.len();
        }
    }
    edges
}

/// Counts of a sample between edges: above one, up to the next; the ends are open.
fn closed_right(sample: &Sorted, edges: &[f64]) -> Vec<u64> {
    let ends = edges.iter().map(|edge| sample.up_to(*edge)).chain([sample.values().len()]);
    differences(ends)
}

/// Counts of a sample between edges: from one to below the next; the last edge belongs to the last cell.
pub(super) fn closed_left(sample: &Sorted, edges: &[f64]) -> Vec<u64> {
    let Some((last, others)) = edges.split_last() else { return Vec::new() };
    let mut ends = others.iter().map(|edge| sample.below(*edge)).chain([sample.up_to(*last)]);
    let start = ends.next().unwrap_or(0);
    differences(ends.map(|end| end - start))
}

fn differences(ends: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut before = 0;
    ends.map(|end| (end - std::mem::replace(&mut before, end)) as u64).collect()
}

fn equal_cells(reference: &Sorted, current: &Sorted, edges: &[f64]) -> Cells {
    Cells { reference: closed_left(reference, edges), current: closed_left(current, edges) }
}

fn both_ranges(reference: &Sorted, current: &Sorted) -> (f64, f64) {
    let (own, other) = (reference.range(), current.range());
    (own.0.min(other.0), own.1.max(other.1))
}

/// Edges of cells of equal width, as NumPy's `histogram_bin_edges`: the range divided by a rule's number of cells, which
/// is rounded up after the division; one cell half a unit to both sides of a single value.
fn equal_edges((low, high): (f64, f64), cells: f64) -> Result<Vec<f64>, StatsError> {
    let range = high - low;
    if !range.is_finite() {
        return Err(StatsError::Domain("the range of the values is beyond what a number holds"));
    }
    if range == 0.0 {
        return Ok(vec![low - 0.5, high + 0.5]);
    }
    let width = range / cells;
    Ok(spaced(low, high, if width > 0.0 { (range / width).ceil() as usize } else { 1 }))
}

/// The edges of so many equal cells, to the bit as NumPy's `linspace`.
pub(super) fn spaced(low: f64, high: f64, cells: usize) -> Vec<f64> {
    let step = (high - low) / cells as f64;
    (0..cells).map(|place| place as f64 * step + low).chain([high]).collect()
}

/// `log2(n) + 1` cells (H. A. Sturges, JASA 21, 1926).
fn sturges(count: f64) -> f64 {
    count.log2() + 1.0
}

/// Sturges' number with the skewness `g` taken into account: `1 + log2(n) + log2(1 + |g| / sd(g))` (D. P. Doane, The
/// American Statistician 30, 1976); one cell for fewer than three values.
fn doane(sample: &Sorted) -> f64 {
    let count = sample.count();
    let moments = super::means::Moments::of(sample.values());
    let deviation = moments.population_deviation();
    if count < 3.0 || deviation == 0.0 {
        return 1.0;
    }
    let cubes: f64 = sample.values().iter().map(|value| ((value - moments.mean) / deviation).powi(3)).sum();
    let spread = (6.0 * (count - 2.0) / ((count + 1.0) * (count + 3.0))).sqrt();
    1.0 + count.log2() + (1.0 + (cubes / count).abs() / spread).log2()
}
