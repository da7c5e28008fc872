//! How good alarms on series are, by the window score, on a file with the columns `series`, `ts`, `value` and `in_window`,
//! such as the metrics of the Numenta Anomaly Benchmark: the monitor of series beside simple rules.
//!
//! ```sh
//! cargo run --release -p steersman-watch --example series_score -- metrics.parquet
//! ```
//!
//! The threshold of each rule is the best one on the other half of the series.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use steersman_records::frame::{Frame, Selection};
use steersman_stats::series::{
    Scored, SeriesConfig, SeriesMonitor, Window, best_threshold, probation, window_score,
};

type Failure = Box<dyn std::error::Error>;
/// Points of a rolling mean and deviation, and the weight of a new value in an exponential one.
const ROLLING: usize = 288;
const WEIGHT: f64 = 0.02;

#[derive(Default)]
struct Series {
    points: Vec<(i64, Option<f64>)>,
    windows: Vec<Window>,
}

/// The half of a series: the lowest bit of the FNV-1a hash of its name. The constants of the monitor were chosen on half 0.
fn half(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step) % 2
}

fn read(path: &str) -> Result<BTreeMap<String, Series>, Failure> {
    let frame = Frame::read(path, &Selection::default())?;
    let (names, inside) = (frame.require("series")?, frame.require("in_window")?);
    let (times, values) = (frame.require("ts")?.times(), frame.require("value")?.numbers());
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for (row, (at, value)) in times.into_iter().zip(values).enumerate() {
        let (Some(name), Some(at)) = (names.category(row), at) else { continue };
        let series = all.entry(name).or_default();
        let position = series.points.len();
        series.points.push((at / 1_000_000, value.filter(|value| value.is_finite())));
        if inside.category(row).as_deref() == Some("true") {
            match series.windows.last_mut() {
                Some(window) if window.last + 1 == position => window.last = position,
                _ => series.windows.push(Window { first: position, last: position }),
            }
        }
    }
    Ok(all)
}

fn monitor(series: &Series) -> Result<Vec<f64>, Failure> {
    let mut monitor = SeriesMonitor::new(SeriesConfig::new(300))?;
    Ok(series.points.iter().map(|&(at, value)| monitor.update(at, value).score).collect())
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Distances from the mean of what does not count, in its deviations.
fn fixed(series: &Series) -> Result<Vec<f64>, Failure> {
    let first = series.points.iter().take(probation(series.points.len()));
    let (mean, deviation) = mean_and_deviation(&first.filter_map(|point| point.1).collect::<Vec<f64>>());
    let score = |value: Option<f64>| value.map_or(0.0, |value| (value - mean).abs() / deviation.max(1e-9));
    Ok(series.points.iter().map(|point| score(point.1)).collect())
}

/// Distances from the mean of the last day's values, in their deviations.
fn rolling(series: &Series) -> Result<Vec<f64>, Failure> {
    let mut last: VecDeque<f64> = VecDeque::new();
    let mut score = |value: Option<f64>| {
        let Some(value) = value else { return 0.0 };
        let (mean, deviation) = mean_and_deviation(last.make_contiguous());
        let score = if last.len() < 30 { 0.0 } else { (value - mean).abs() / deviation.max(1e-9) };
        last.push_back(value);
        if last.len() > ROLLING {
            last.pop_front();
        }
        score
    };
    Ok(series.points.iter().map(|point| score(point.1)).collect())
}

/// Distances from an exponentially weighted mean, in exponentially weighted deviations.
fn weighted(series: &Series) -> Result<Vec<f64>, Failure> {
    let mut state: Option<(f64, f64)> = None;
    let mut score = |value: Option<f64>| {
        let Some(value) = value else { return 0.0 };
        let (mean, variance) = *state.get_or_insert((value, 0.0));
        let step = value - mean;
        state = Some((mean + WEIGHT * step, (1.0 - WEIGHT) * (variance + WEIGHT * step * step)));
        if variance > 0.0 { step.abs() / variance.sqrt() } else { 0.0 }
    };
    Ok(series.points.iter().map(|point| score(point.1)).collect())
}

fn main() -> Result<(), Failure> {
    let path =
        std::env::args().nth(1).ok_or("the path of a file is missing: series, ts, value, in_window")?;
    let all = read(&path)?;
    let group = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    let groups: BTreeSet<String> =
        all.iter().filter(|(_, series)| !series.windows.is_empty()).map(|(name, _)| group(name)).collect();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| rule | half | threshold of the other half | score | {} |",
        Vec::from_iter(&groups).iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" | ")
    )?;
    writeln!(out, "| --- | ---: | ---: | ---: |{}", " ---: |".repeat(groups.len()))?;
    type Rule = fn(&Series) -> Result<Vec<f64>, Failure>;
    let rules: [(&str, Rule); 4] = [
        ("monitor of series", monitor),
        ("static mean and deviation", fixed),
        ("rolling mean and deviation", rolling),
        ("exponentially weighted", weighted),
    ];
    for (rule, of) in rules {
        let mut scores = BTreeMap::new();
        for (name, series) in &all {
            scores.insert(name.clone(), of(series)?);
        }
        let chosen = |wanted: &dyn Fn(&str) -> bool| -> Vec<Scored<'_>> {
            let pairs = all.iter().filter(|(name, _)| wanted(name));
            let scored = pairs.filter_map(|(name, series)| {
                Some(Scored { scores: scores.get(name)?, windows: &series.windows })
            });
            scored.collect()
        };
        for (other, own) in [(1, 0), (0, 1)] {
            let (threshold, _) = best_threshold(&chosen(&|name| half(name) == other))?;
            let score = window_score(&chosen(&|name| half(name) == own), threshold)?;
            write!(out, "| {rule} | {own} | {threshold:.4} | {score:.1} |")?;
            for wanted in &groups {
                let here = chosen(&|name| half(name) == own && group(name) == *wanted);
                match window_score(&here, threshold) {
                    Ok(score) => write!(out, " {score:.1} |")?,
                    Err(_) => write!(out, " - |")?,
                }
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
