//! What the windows of the reference say about the quality of a column.
//!
//! A share (of strange values, of the most frequent value, of repeats) is forecast from the reference's windows as all shares
//! are, by a Student law ([`Ordinary`]).

use super::held::{Held, holding};
use crate::measure::LEAST_ROWS;
use crate::reference::Cells;
use std::collections::HashSet;
use steersman_domain::spec::ColumnQuality;
use steersman_stats::calibration::{Aspect, ColumnWindow, Judgement, Ordinary, WindowValue};
use steersman_stats::quality::Repeats;

/// The least variance that the logarithm of a longest run has from window to window by chance.
const RUN_VARIANCE: f64 = 0.25;

/// What is ordinary about the quality of a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Usual {
    /// What the spec says.
    pub(super) rules: ColumnQuality,
    /// The share of a window's values that nothing else in the reference is like: categories that no other window has,
    /// numbers far outside the range of all others; or that the spec does not have.
    pub(super) strange: Option<Ordinary>,
    /// The share of a window's most frequent value.
    pub(super) top: Option<Ordinary>,
    /// Rows with the most frequent value, and all rows.
    pub(super) top_rows: (u64, u64),
    pub(super) repeats: Repeats,
    /// The share of values that are the same as the one before, and the logarithm of the longest run.
    pub(super) repeating: Option<(Ordinary, Ordinary)>,
    /// How often a window holds the value of the one before.
    pub(super) holding: Repeats,
    /// What the last windows held.
    pub(crate) held: Held,
}

impl Usual {
    /// Learns from all values, and from the windows that they fall into. `pieces` of a reference that has too few windows
    /// do not say what whole windows hold.
    pub(crate) fn learn(
        cells: &Cells,
        windows: &[ColumnWindow],
        rows: &[(usize, Vec<usize>)],
        rules: Option<&ColumnQuality>,
        pieces: bool,
    ) -> Self {
        let rules = rules.cloned().unwrap_or_default();
        let strange = match cells {
            Cells::Texts(values) => match &rules.categories {
                Some(known) => beyond_categories(values, known, rows),
                None => only_here(windows),
            },
            Cells::Numbers(values) => match rules.range {
                Some(range) => {
                    rows.iter().map(|(_, rows)| outside(&finite(values, rows), range.into())).collect()
                }
                None => beyond_others(values, rows),
            },
        };
        let codes = codes(cells);
        let own = |rows: &Vec<usize>| rows.iter().map(|&row| codes.get(row).copied().flatten()).collect();
        let sequences: Vec<Vec<Option<u64>>> = rows.iter().map(|(_, rows)| own(rows)).collect();
        let tops: Vec<(u64, u64)> = sequences.iter().map(|sequence| most_frequent(sequence)).collect();
        let holding = if pieces { Repeats::default() } else { holding(sequences.iter()) };
        let runs: Vec<Repeats> = sequences.into_iter().map(Repeats::of).collect();
        let mut repeats = Repeats::default();
        runs.iter().for_each(|own| repeats.merge(own));
        let longest = runs.iter().filter(|own| own.pairs > 0).map(longest_value).collect::<Vec<_>>();
        let repeating = shares(runs.iter().map(|own| (own.repeats, own.pairs)))
            .zip(Ordinary::learn(&longest, Aspect::Distance).ok());
        Self {
            rules,
            strange: shares(strange.into_iter()),
            top: shares(tops.into_iter()),
            top_rows: most_frequent(&codes),
            repeats,
            repeating,
            holding,
            held: Held::default(),
        }
    }
}

/// What is ordinary of shares, `hits` of `count`.
fn shares(counts: impl Iterator<Item = (u64, u64)>) -> Option<Ordinary> {
    let values = counts.filter_map(|(hits, count)| WindowValue::missing(hits, count).ok());
    Ordinary::learn(&values.collect::<Vec<_>>(), Aspect::Missing).ok()
}

pub(super) fn longest_value(own: &Repeats) -> WindowValue {
    WindowValue { value: (own.longest as f64).ln_1p(), variance: RUN_VARIANCE, season: 0 }
}

/// A range, extended by its own width on both sides: seasons and storms go beyond the edge, other units far beyond.
pub(crate) fn wide(low: f64, high: f64) -> (f64, f64) {
    (2.0 * low - high, 2.0 * high - low)
}

/// In each window, values of categories that no other window has, and all values.
fn only_here(windows: &[ColumnWindow]) -> Vec<(u64, u64)> {
    let places = windows.first().map_or(0, |window| window.cells.len());
    let alone: Vec<bool> =
        (0..places).map(|place| windows.iter().filter(|own| own.cells[place] > 0).count() == 1).collect();
    let of = |window: &ColumnWindow| {
        let counts = window.cells.iter().zip(&alone).filter(|(_, alone)| **alone);
        (counts.map(|(count, _)| count).sum(), window.cells.iter().sum())
    };
    windows.iter().map(of).collect()
}

/// In each window, values of categories that the spec does not have, and all values.
fn beyond_categories(
    values: &[Option<String>],
    known: &[String],
    rows: &[(usize, Vec<usize>)],
) -> Vec<(u64, u64)> {
    let of = |(_, rows): &(usize, Vec<usize>)| {
        undeclared(rows.iter().filter_map(|&row| values.get(row)?.as_deref()), known)
    };
    rows.iter().map(of).collect()
}

/// Values that are not among the `known`, and all values.
pub(super) fn undeclared<'a>(values: impl Iterator<Item = &'a str>, known: &[String]) -> (u64, u64) {
    let known: HashSet<&str> = known.iter().map(String::as_str).collect();
    values.fold((0, 0), |(hits, count), value| (hits + u64::from(!known.contains(value)), count + 1))
}

fn finite(values: &[Option<f64>], rows: &[usize]) -> Vec<f64> {
    let known = rows.iter().filter_map(|&row| values.get(row).copied().flatten());
    known.filter(|value| value.is_finite()).collect()
}

/// Numbers outside a range, and all numbers.
pub(super) fn outside(values: &[f64], (low, high): (f64, f64)) -> (u64, u64) {
    (values.iter().filter(|value| **value < low || **value > high).count() as u64, values.len() as u64)
}

/// In each window, numbers far outside the range of all other windows, and all numbers.
fn beyond_others(values: &[Option<f64>], windows: &[(usize, Vec<usize>)]) -> Vec<(u64, u64)> {
    const NOTHING: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
    let widened = |own: (f64, f64), other: (f64, f64)| (own.0.min(other.0), own.1.max(other.1));
    let windows: Vec<Vec<f64>> = windows.iter().map(|(_, rows)| finite(values, rows)).collect();
    let ends =
        |window: &Vec<f64>| window.iter().fold(NOTHING, |range, &value| widened(range, (value, value)));
    let ranges: Vec<(f64, f64)> = windows.iter().map(ends).collect();
    let of = |(own, window): (usize, &Vec<f64>)| {
        let others = ranges.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, range)| *range);
        let (low, high) = others.fold(NOTHING, widened);
        outside(window, wide(low, high))
    };
    windows.iter().enumerate().map(of).collect()
}

/// A number for each value, the same for equal ones, in whatever window (FNV-1a of a text).
pub(crate) fn codes(cells: &Cells) -> Vec<Option<u64>> {
    match cells {
        // Adding 0 makes the two zeros one.
        Cells::Numbers(values) => values
            .iter()
            .map(|value| value.filter(|value| value.is_finite()).map(|value| (value + 0.0).to_bits()))
            .collect(),
        Cells::Texts(values) => {
            let code = |text: &str| {
                text.bytes().fold(0xcbf2_9ce4_8422_2325, |code: u64, byte| {
                    (code ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                })
            };
            values.iter().map(|value| value.as_deref().map(code)).collect()
        }
    }
}

/// Rows with the most frequent value, and rows with any.
fn most_frequent(codes: &[Option<u64>]) -> (u64, u64) {
    let mut known: Vec<u64> = codes.iter().flatten().copied().collect();
    known.sort_unstable();
    let most = known.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
    (most as u64, known.len() as u64)
}

/// What is said about a share of a window that is large enough.
pub(super) fn judge(ordinary: Option<&Ordinary>, hits: u64, count: u64) -> Option<(WindowValue, Judgement)> {
    let value = WindowValue::missing(hits, count).ok().filter(|_| count >= LEAST_ROWS)?;
    Some((value, ordinary?.judge(&value).ok()?))
}

/// The ordinary range of a share.
pub(super) fn range(judged: &Judgement) -> (f64, f64) {
    let share = |value: f64| value.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2);
    (share(judged.low), share(judged.high))
}
