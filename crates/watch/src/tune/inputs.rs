//! Changes of the inputs, chunk by chunk, as the platform's joint detector sees them: to be compared with losses, not
//! because they would be a reason to retrain.

use super::history::{History, Values, middle};
use std::ops::Range;
use steersman_stats::calibration::{ColumnOrdinary, ColumnWindow, Floors, JointDetector};

/// Fewest windows of history that tell what is ordinary.
const LEAST_WINDOWS: usize = 8;
/// Cells of a column of numbers, and categories that have one of their own.
const CELLS: usize = 20;
const CATEGORIES: usize = 50;

/// All windows of all columns: those of the history, then the chunks.
pub(super) struct Inputs {
    /// By column, then by window.
    columns: Vec<Vec<ColumnWindow>>,
    /// Windows before the first chunk.
    before: usize,
}

/// The inputs of one version: compared with as many windows as the history had, before it served.
pub(super) struct Watch {
    ordinary: Vec<(usize, ColumnOrdinary)>,
    detector: JointDetector,
}

impl Inputs {
    /// Counts all windows; none where the history has too few.
    pub(super) fn count(history: &History) -> Option<Self> {
        let size =
            middle(history.chunks.iter().map(|chunk| chunk.rows.len() as i64).collect()).max(1) as usize;
        let first = history.chunks.first()?.rows.start;
        let before = first / size;
        if before < LEAST_WINDOWS {
            return None;
        }
        let start = first - before * size;
        let windows: Vec<Range<usize>> = (0..before)
            .map(|place| start + place * size..start + (place + 1) * size)
            .chain(history.chunks.iter().map(|chunk| chunk.rows.clone()))
            .collect();
        let column = |values: &Values| match values {
            Values::Numbers(values) => {
                let mut sorted: Vec<f64> =
                    values[start..first].iter().copied().filter(|value| value.is_finite()).collect();
                sorted.sort_by(f64::total_cmp);
                let at = |cell: usize| sorted.get(cell * sorted.len() / CELLS).copied();
                let mut edges: Vec<f64> = (1..CELLS).filter_map(at).collect();
                edges.dedup();
                let (low, high) =
                    (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
                let (low, high) = (low - (high - low), high + (high - low));
                windows.iter().map(|rows| numbers(&values[rows.clone()], &edges, low, high)).collect()
            }
            Values::Categories(codes, names) => {
                let mut counts = vec![0u64; names.len()];
                codes[start..first].iter().for_each(|&code| {
                    if let Some(count) = counts.get_mut(code as usize) {
                        *count += 1;
                    }
                });
                let mut order: Vec<usize> = (0..names.len()).collect();
                order.sort_by_key(|&code| std::cmp::Reverse(counts[code]));
                let mut cells = vec![CATEGORIES.min(names.len()); names.len()];
                order.iter().take(CATEGORIES).enumerate().for_each(|(cell, &code)| cells[code] = cell);
                let size = CATEGORIES.min(names.len()) + 1;
                windows.iter().map(|rows| categories(&codes[rows.clone()], &cells, size)).collect()
            }
        };
        let columns = history.features.iter().map(|feature| column(&feature.values)).collect();
        Some(Self { columns, before })
    }

    /// Watches the inputs of a version that serves from this chunk on.
    pub(super) fn watch(&self, serves_from: usize, alpha: f64) -> Option<Watch> {
        let reference = serves_from..serves_from + self.before;
        let ordinary: Vec<(usize, ColumnOrdinary)> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(place, windows)| {
                Some((place, ColumnOrdinary::learn(windows.get(reference.clone())?, Floors::default()).ok()?))
            })
            .collect();
        let detector = JointDetector::new(alpha, ordinary.len()).ok()?;
        Some(Watch { ordinary, detector })
    }
}

impl Watch {
    /// Takes a chunk in; after an alarm the evidence starts anew.
    pub(super) fn observe(&mut self, inputs: &Inputs, chunk: usize) -> bool {
        let mut evidence = Vec::with_capacity(self.ordinary.len());
        for (place, ordinary) in &mut self.ordinary {
            let window = inputs.columns.get(*place).and_then(|windows| windows.get(inputs.before + chunk));
            let judged = window.and_then(|window| {
                let judged = ordinary.judge(window).ok()?;
                ordinary.follow(window).ok()?;
                Some(judged.evidence())
            });
            evidence.push(judged.unwrap_or_default());
        }
        let alarm = self.detector.observe(&evidence).is_ok_and(|verdict| verdict.alarms);
        if alarm {
            self.detector.reset();
        }
        alarm
    }
}

/// A window of numbers; outliers are cut at twice the range of the history.
fn numbers(values: &[f64], edges: &[f64], low: f64, high: f64) -> ColumnWindow {
    let mut cells = vec![0u64; edges.len() + 1];
    let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    for value in &known {
        cells[edges.partition_point(|edge| edge < value)] += 1;
    }
    let missing = (values.len() - known.len()) as u64;
    let count = known.len() as f64;
    let cut = || known.iter().map(|value| value.clamp(low, high));
    let mean = cut().sum::<f64>() / count;
    let variance = cut().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let moments = (known.len() >= 2).then(|| (mean, variance.sqrt()));
    ColumnWindow { cells, missing, moments, season: 0 }
}

/// A window of categories, each in its cell.
fn categories(codes: &[u32], cells: &[usize], size: usize) -> ColumnWindow {
    let mut counts = vec![0u64; size];
    let mut missing = 0;
    for &code in codes {
        match cells.get(code as usize) {
            Some(&cell) => counts[cell] += 1,
            None => missing += 1,
        }
    }
    ColumnWindow { cells: counts, missing, moments: None, season: 0 }
}
