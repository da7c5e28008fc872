//! Rows that are close in time are alike: blocks of time in the reference, and the course of a column.

use super::pair::{As, Cells as Rows, Pair};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use steersman_domain::Period;
use steersman_domain::comparison::{Shape, TimelinePoint};
use steersman_domain::time::from_micros;
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::calibration::{Dispersion, Inflation};
use steersman_stats::distance::binning::Cells;
use steersman_stats::distance::chi_square;
use steersman_stats::interval::{mean_interval, wilson};

const HOUR: i64 = 3_600_000_000;
/// Lengths of blocks; the longest of which the reference has enough is taken, so that blocks hardly depend on each other.
const LENGTHS: [i64; 5] = [7 * 24 * HOUR, 24 * HOUR, 6 * HOUR, HOUR, HOUR / 12];
/// Enough blocks to know how much they vary.
const LEAST_BLOCKS: usize = 12;
/// Points of a timeline, both sides together.
const POINTS: i64 = 60;

/// Blocks of time.
pub(super) struct Blocks<'a> {
    reference: &'a Frame,
    current: &'a Frame,
    /// The block of each row of the reference.
    places: Vec<Option<usize>>,
    count: usize,
    /// Blocks that the current data has rows in.
    current_count: usize,
    length: i64,
}

impl<'a> Blocks<'a> {
    /// The blocks of a column of times; none where the reference does not reach far enough.
    pub(super) fn new(reference: &'a Frame, current: &'a Frame, time: &str) -> Option<Self> {
        let (own, other) = (reference.column(time)?.times(), current.column(time)?.times());
        let ids = |times: &[Option<i64>], length: i64| {
            times.iter().flatten().map(|at| at.div_euclid(length)).collect::<BTreeSet<i64>>()
        };
        let length = LENGTHS.into_iter().find(|&length| ids(&own, length).len() >= LEAST_BLOCKS)?;
        let found = ids(&own, length);
        let place: HashMap<i64, usize> = found.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let places = own.iter().map(|at| place.get(&(*at)?.div_euclid(length)).copied()).collect();
        let current_count = ids(&other, length).len().max(1);
        Some(Self { reference, current, places, count: found.len(), current_count, length })
    }

    /// How they are told of.
    pub(super) fn note(&self) -> String {
        let length = Period::from_seconds(self.length / 1_000_000);
        format!(
            "rows that are close in time count as alike: blocks of {length}, {} in the reference",
            self.count
        )
    }

    /// The blocks of these rows of the reference.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Vec<Option<usize>> {
        rows.iter().map(|&row| self.places[row]).collect()
    }

    fn columns(&self, pair: &Pair) -> Option<(&FrameColumn, As)> {
        let (own, other) = (self.reference.column(&pair.name)?, self.current.column(&pair.name)?);
        Some((own, Pair::way(own, other)))
    }

    /// Counts of the cells between `edges` in each block.
    pub(super) fn numbers(&self, pair: &Pair, edges: &[f64]) -> Option<Vec<Vec<u64>>> {
        let (column, way) = self.columns(pair)?;
        let Rows::Numbers(values) = way.cells(column) else { return None };
        let mut counts = vec![vec![0u64; edges.len() + 1]; self.count];
        for (value, place) in values.iter().zip(&self.places) {
            if let (Some(value), Some(place)) = (value, place) {
                counts[*place][edges.partition_point(|edge| edge < value)] += 1;
            }
        }
        filled(counts)
    }

    /// Counts of the reference's categories in each block, and an empty cell for all others.
    pub(super) fn categories(&self, pair: &Pair, reference: &BTreeMap<String, u64>) -> Option<Vec<Vec<u64>>> {
        let (column, way) = self.columns(pair)?;
        let Rows::Categories(values) = way.cells(column) else { return None };
        let cells: HashMap<&str, usize> =
            reference.keys().enumerate().map(|(cell, name)| (name.as_str(), cell)).collect();
        let mut counts = vec![vec![0u64; reference.len() + 1]; self.count];
        for (value, place) in values.iter().zip(&self.places) {
            if let (Some(value), Some(place)) = (value, place)
                && let Some(cell) = cells.get(value.as_ref())
            {
                counts[*place][*cell] += 1;
            }
        }
        filled(counts)
    }

    /// The p-value of two rows of counts, when blocks vary as these do.
    pub(super) fn p_value(&self, cells: &Cells, blocks: &[Vec<u64>]) -> Option<f64> {
        let test = chi_square(&cells.reference, &cells.current).ok()?;
        let freedom = cells.filled().checked_sub(1).filter(|freedom| *freedom > 0)?;
        let rows: u64 = cells.current.iter().sum();
        self.inflation(blocks, rows)?.chi_square(test.statistic, freedom).ok()
    }

    /// The p-value of a difference of missing shares with this normal score.
    pub(super) fn missing(&self, pair: &Pair, z: f64) -> Option<f64> {
        let column = self.reference.column(&pair.name)?;
        let mut counts = vec![vec![0u64; 2]; self.count];
        let absent = column.absent();
        for (row, place) in self.places.iter().enumerate() {
            if let Some(place) = place {
                counts[*place][usize::from(absent(row))] += 1;
            }
        }
        self.inflation(&filled(counts)?, pair.rows.current)?.normal(z).ok()
    }

    /// How much more than independent rows the blocks vary, for as many rows as the current data has in a block.
    fn inflation(&self, blocks: &[Vec<u64>], rows: u64) -> Option<Inflation> {
        let dispersion = Dispersion::learn(blocks).ok()?;
        let factor = dispersion.factor(rows / self.current_count as u64);
        Some(Inflation { factor, blocks: dispersion.windows() })
    }
}

fn filled(counts: Vec<Vec<u64>>) -> Option<Vec<Vec<u64>>> {
    let counts: Vec<Vec<u64>> =
        counts.into_iter().filter(|block| block.iter().any(|count| *count > 0)).collect();
    (counts.len() >= LEAST_BLOCKS).then_some(counts)
}

/// The course of a column over the time of both sides: the mean of numbers, the share of the category that changed most.
pub(super) fn timeline(pair: &Pair, shape: &Shape, frames: [&Frame; 2], time: &str) -> Vec<TimelinePoint> {
    let (Some(own), Some(other)) = (frames[0].column(&pair.name), frames[1].column(&pair.name)) else {
        return Vec::new();
    };
    let way = Pair::way(own, other);
    let Some(times) = [frames[0], frames[1]]
        .into_iter()
        .map(|frame| Some(frame.column(time)?.times()))
        .collect::<Option<Vec<_>>>()
    else {
        return Vec::new();
    };
    let all = || times.iter().flatten().flatten().copied();
    let (Some(first), Some(last)) = (all().min(), all().max()) else { return Vec::new() };
    let step = nice((last - first) / POINTS + 1);
    let named: Option<&str> = match shape {
        Shape::Categories { names, .. } => names.first().map(String::as_str),
        _ => None,
    };
    let mut points = Vec::new();
    for (reference, (column, times)) in [(own, &times[0]), (other, &times[1])].into_iter().enumerate() {
        let mut buckets: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        let mut add = |at: Option<i64>, value: Option<f64>| {
            if let (Some(at), Some(value)) = (at, value) {
                buckets.entry(at.div_euclid(step)).or_default().push(value);
            }
        };
        match way.cells(column) {
            Rows::Numbers(values) => times.iter().zip(values).for_each(|(at, value)| add(*at, value)),
            Rows::Categories(values) => {
                let hit = |value: Cow<'_, str>| f64::from(u8::from(Some(value.as_ref()) == named));
                times.iter().zip(values).for_each(|(at, value)| add(*at, value.map(hit)));
            }
        }
        points.extend(buckets.into_iter().map(|(bucket, values)| {
            let interval = match named {
                Some(_) => {
                    wilson(values.iter().filter(|hit| **hit > 0.0).count() as u64, values.len() as u64)
                }
                None => mean_interval(&values),
            };
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            TimelinePoint {
                at: from_micros(bucket * step + step / 2),
                reference: reference == 0,
                rows: values.len() as u64,
                value: Some(mean).filter(|mean| mean.is_finite()),
                range: interval.ok().map(|interval| (interval.low, interval.high)),
            }
        }));
    }
    points
}

/// The next round length of time.
fn nice(micros: i64) -> i64 {
    let lengths = [
        HOUR / 60,
        HOUR / 12,
        HOUR / 4,
        HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        24 * HOUR,
        7 * 24 * HOUR,
        30 * 24 * HOUR,
    ];
    lengths.into_iter().find(|length| *length >= micros).unwrap_or(micros)
}
