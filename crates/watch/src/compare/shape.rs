//! Summaries of both sides, and what is drawn of them.

use std::collections::BTreeMap;
use steersman_domain::comparison::{Both, ColumnSummary, Shape};
use steersman_stats::distance::Sorted;

/// Bins of a drawn distribution.
const BINS: usize = 40;
/// Up to so many distinct values have a bin each.
const FEW_VALUES: usize = 25;
/// Categories that are drawn; the others share a bar.
const DRAWN: usize = 12;
/// The drawn range reaches from this quantile to the opposite one of both sides.
const OUTER: f64 = 0.005;

/// A side's summary of numbers.
pub(super) fn summary_of_numbers(missing: u64, infinite: u64, values: Option<&Sorted>) -> ColumnSummary {
    let Some(sorted) = values else { return ColumnSummary { missing, infinite, ..ColumnSummary::default() } };
    let values = sorted.values();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let quantile = |share: f64| sorted.quantile(share).unwrap_or(f64::NAN);
    ColumnSummary {
        count: values.len() as u64 + infinite,
        missing,
        infinite,
        distinct: values.chunk_by(|a, b| a == b).count() as u64,
        mean: Some(mean).filter(|mean| mean.is_finite()),
        deviation: (count > 1.0)
            .then(|| (squares / (count - 1.0)).sqrt())
            .filter(|deviation| deviation.is_finite()),
        quantiles: Some([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0].map(quantile)),
    }
}

/// A side's summary of categories.
pub(super) fn summary_of_counts(missing: u64, counts: &BTreeMap<String, u64>) -> ColumnSummary {
    ColumnSummary {
        count: counts.values().sum(),
        missing,
        distinct: counts.len() as u64,
        ..ColumnSummary::default()
    }
}

/// Bins and quantiles of numbers.
pub(super) fn numeric_shape(reference: &Sorted, current: &Sorted) -> Shape {
    let edges = edges(reference, current);
    let shares = |sorted: &Sorted| {
        let values = sorted.values();
        let below = |edge: f64| values.partition_point(|value| *value < edge);
        let last = edges.len() - 1;
        let places: Vec<usize> = (0..=last)
            .map(|place| match place {
                0 => 0,
                place if place == last => values.len(),
                place => below(edges[place]),
            })
            .collect();
        places.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / values.len() as f64).collect()
    };
    let quantile =
        |sorted: &Sorted, percent: u32| sorted.quantile(f64::from(percent) / 100.0).unwrap_or(f64::NAN);
    Shape::Numeric {
        shares: Both { reference: shares(reference), current: shares(current) },
        quantiles: (1..100)
            .map(|percent| (quantile(reference, percent), quantile(current, percent)))
            .collect(),
        edges,
    }
}

/// At least two edges: around each value where there are few, equal steps otherwise.
fn edges(reference: &Sorted, current: &Sorted) -> Vec<f64> {
    let mut distinct: Vec<f64> = Vec::new();
    for sorted in [reference, current] {
        distinct.extend(sorted.values().chunk_by(|a, b| a == b).map(|run| run[0]).take(FEW_VALUES + 1));
    }
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let steps: Vec<f64> = distinct.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let even = steps.iter().all(|step| (step - steps[0]).abs() <= 1e-9 * step.abs());
    if distinct.len() == 1 {
        return vec![distinct[0] - 0.5, distinct[0] + 0.5];
    }
    if distinct.len() <= FEW_VALUES && even {
        let half = steps[0] / 2.0;
        let mut edges: Vec<f64> = distinct.iter().map(|value| value - half).collect();
        edges.extend(distinct.last().map(|last| last + half));
        return edges;
    }
    let outer = |share: f64, pick: fn(f64, f64) -> f64| {
        let of = |sorted: &Sorted| sorted.quantile(share).unwrap_or(0.0);
        pick(of(reference), of(current))
    };
    let (low, high) = (outer(OUTER, f64::min), outer(1.0 - OUTER, f64::max));
    if low >= high {
        return vec![low - 0.5, low + 0.5];
    }
    (0..=BINS).map(|bin| low + (high - low) * bin as f64 / BINS as f64).collect()
}

/// Shares of categories, largest change first.
pub(super) fn categories_shape(reference: &BTreeMap<String, u64>, current: &BTreeMap<String, u64>) -> Shape {
    let total = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>().max(1) as f64;
    let (n, m) = (total(reference), total(current));
    let count = |counts: &BTreeMap<String, u64>, name: &String| counts.get(name).copied().unwrap_or(0) as f64;
    let mut names: Vec<&String> = reference.keys().chain(current.keys()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Shape::Empty;
    }
    let change = |name: &String| (count(current, name) / m - count(reference, name) / n).abs();
    let weight =
        |name: &String| change(name) + 1e-6 * (count(reference, name) / n + count(current, name) / m);
    names.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let (drawn, others) = names.split_at(names.len().min(DRAWN));
    let mut shares = Both {
        reference: drawn.iter().map(|name| count(reference, name) / n).collect::<Vec<f64>>(),
        current: drawn.iter().map(|name| count(current, name) / m).collect::<Vec<f64>>(),
    };
    if !others.is_empty() {
        shares.reference.push(others.iter().map(|name| count(reference, name)).sum::<f64>() / n);
        shares.current.push(others.iter().map(|name| count(current, name)).sum::<f64>() / m);
    }
    Shape::Categories {
        names: drawn.iter().map(|name| (*name).clone()).collect(),
        shares,
        others: others.len() as u64,
    }
}
