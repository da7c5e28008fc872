//! How good alarms on a series are when the anomalous windows are known: the score of the Numenta Anomaly Benchmark.
//!
//! Earliness counts, one false alarm costs little, many cost a lot. What counts is where a score reaches a threshold,
//! and one threshold must do for all series; find it with [`best_threshold`] on some series and report
//! [`window_score`] on others, or the result flatters.
//!
//! Source: Lavin and Ahmad, *Evaluating Real-Time Anomaly Detection Algorithms, the Numenta Anomaly Benchmark*, ICMLA
//! 2015 (arXiv 1510.03336), section 2, with the standard profile: detection 1, miss 1, false alarm 0.11.

use crate::error::{StatsError, finite, paired};

/// What one false alarm costs at most.
const FALSE_ALARM: f64 = 0.11;
/// This share of a series, and at most this many rows of it, is for learning and does not count.
const PROBATION: (f64, usize) = (0.15, 750);

/// An anomalous stretch of a series: its first and last row, counted from 0, both inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub first: usize,
    /// Last row.
    pub last: usize,
}

/// A series' scores, one a row in time order, and its windows, in time order and apart from each other.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// How anomalous each row looks; higher is more so.
    pub scores: &'a [f64],
    /// Where anomalies are.
    pub windows: &'a [Window],
}

/// How many of the first rows of a series do not count.
pub fn probation(rows: usize) -> usize {
    ((PROBATION.0 * rows as f64) as usize).min(PROBATION.1)
}

/// The benchmark's score of all `series` at one `threshold`: 100 for a detection in the first row of each window and
/// none outside, 0 for no detection at all, below 0 for worse than none.
///
/// With `s(x) = 2 / (1 + e^(5x)) - 1`, the earliest row `i` of a window at or above the threshold earns
/// `s(-(last - i + 1) / width) / s(-1)`, a window without one costs 1, and each such row outside costs
/// `0.11 |s((i - last) / (width - 1))|`, by the distance from the window before it, or 0.11 where there is none. The
/// sum `S` is put between that of no detection (`-windows`) and of perfect ones (`windows`).
///
/// Worked example: 20 rows, of which the first 3 do not count, and a window of the rows 10 to 14. Detections at row 5
/// (no window before: -0.11), row 12 (`s(-0.6) / s(-1)` = 0.917429) and row 16 (`0.11 s(0.5)` = -0.093311) sum to
/// 0.714117, so that the score is `100 (0.714117 + 1) / 2`:
///
/// ```
/// use steersman_stats::series::{Scored, Window, window_score};
/// let mut scores = [0.0; 20];
/// (scores[1], scores[5], scores[12], scores[13], scores[16]) = (0.9, 0.9, 0.9, 0.9, 0.9);
/// let series = [Scored { scores: &scores, windows: &[Window { first: 10, last: 14 }] }];
/// assert!((window_score(&series, 0.5).unwrap() - 85.705_87).abs() < 1e-4);
/// assert_eq!(window_score(&series, 1.0).unwrap(), 0.0);
/// ```
///
/// Fails on scores that are not finite, on windows out of order or place, and without any window.
pub fn window_score(series: &[Scored<'_>], threshold: f64) -> Result<f64, StatsError> {
    let curve = curve(series)?;
    let above = curve.points.iter().take_while(|(at, _)| *at >= threshold);
    Ok(curve.normed(above.last().map_or(curve.none(), |(_, sum)| *sum)))
}

/// The threshold with the highest [`window_score`], and that score; the higher threshold of two equally good ones.
///
/// Where no detection at all is best, the threshold is infinite and the score 0.
///
/// ```
/// use steersman_stats::series::{Scored, Window, best_threshold};
/// let mut scores = [0.1; 20];
/// (scores[5], scores[10]) = (0.4, 0.6);
/// let series = [Scored { scores: &scores, windows: &[Window { first: 10, last: 14 }] }];
/// assert_eq!(best_threshold(&series).unwrap(), (0.6, 100.0));
/// ```
pub fn best_threshold(series: &[Scored<'_>]) -> Result<(f64, f64), StatsError> {
    let curve = curve(series)?;
    let mut best = (f64::INFINITY, curve.none());
    for &(threshold, sum) in &curve.points {
        if sum > best.1 {
            best = (threshold, sum);
        }
    }
    Ok((best.0, curve.normed(best.1)))
}

/// The unscaled sum at every threshold that makes a difference, from the highest down.
struct Curve {
    windows: usize,
    points: Vec<(f64, f64)>,
}

impl Curve {
    fn none(&self) -> f64 {
        -(self.windows as f64)
    }

    fn normed(&self, sum: f64) -> f64 {
        100.0 * (sum - self.none()) / (2.0 * self.windows as f64)
    }
}

/// What a row brings once the threshold is down at its score.
struct Row {
    score: f64,
    /// The window that it lies in, counted over all series; the gain then counts if it is the window's best.
    window: Option<usize>,
    gain: f64,
}

fn curve(series: &[Scored<'_>]) -> Result<Curve, StatsError> {
    let mut rows = Vec::new();
    let mut windows = 0;
    for scored in series {
        finite(scored.scores)?;
        check(scored)?;
        rows.extend(gains(scored, windows));
        windows += scored.windows.len();
    }
    paired(windows, windows, 1)?;
    rows.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut earned = vec![-1.0; windows];
    let mut sum = -(windows as f64);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for row in rows {
        match row.window {
            Some(window) if row.gain > earned[window] => {
                sum += row.gain - earned[window];
                earned[window] = row.gain;
            }
            Some(_) => {}
            None => sum += row.gain,
        }
        match points.last_mut() {
            Some(last) if last.0 == row.score => last.1 = sum,
            _ => points.push((row.score, sum)),
        }
    }
    Ok(Curve { windows, points })
}

fn check(scored: &Scored<'_>) -> Result<(), StatsError> {
    let mut free = 0;
    for window in scored.windows {
        if window.first < free || window.last < window.first || window.last >= scored.scores.len() {
            return Err(StatsError::Domain("windows lie inside their series, in time order and apart"));
        }
        if window.last < probation(scored.scores.len()) {
            return Err(StatsError::Domain("a window ends before the rows that count begin"));
        }
        free = window.last + 1;
    }
    Ok(())
}

fn gains<'a>(scored: &'a Scored<'_>, windows_before: usize) -> impl Iterator<Item = Row> + 'a {
    let counted = scored.scores.iter().enumerate().skip(probation(scored.scores.len()));
    counted.map(move |(row, &score)| {
        let begun = scored.windows.partition_point(|window| window.first <= row);
        let last_begun = begun.checked_sub(1).and_then(|index| scored.windows.get(index));
        match last_begun {
            Some(window) if row <= window.last => {
                let width = (window.last - window.first + 1) as f64;
                let gain = sigmoid(-((window.last - row + 1) as f64) / width) / sigmoid(-1.0);
                Row { score, window: Some(windows_before + begun - 1), gain }
            }
            Some(window) => {
                // Of a window of one row everything is infinitely far away.
                let widths = (row - window.last) as f64 / (window.last - window.first) as f64;
                Row { score, window: None, gain: FALSE_ALARM * sigmoid(widths) }
            }
            None => Row { score, window: None, gain: -FALSE_ALARM },
        }
    })
}

/// From 1 far before the end of a window through 0 at it to -1 far behind, and all of it beyond three widths, as in the
/// benchmark's program.
fn sigmoid(widths: f64) -> f64 {
    if widths > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * widths).exp()) - 1.0 }
}
