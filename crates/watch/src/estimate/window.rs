//! Windows of the reference that show how far estimates are off, and stretches over time.

use super::Options;
use super::input::Rows;
use super::metric::{Judge, Metric, Part};
use std::ops::Range;
use steersman_domain::Problem;
use steersman_domain::estimation::PastWindows;
use steersman_stats::estimate::Past;

/// So many windows of the reference are wanted at least, if need be smaller ones than the current data.
const LEAST_WINDOWS: usize = 5;
/// Then it is cut into so many: more would be so small that chance hides the estimator's own error, fewer tell little.
const SMALLER_WINDOWS: usize = 8;
/// No smaller ones than this.
const LEAST_ROWS: usize = 50;
/// More windows than this tell little more.
const MOST_WINDOWS: usize = 100;
/// The quantile of the standard normal distribution at 0.95.
const Z_95: f64 = 1.644_853_626_951_472_2;
/// Stretches that are shown of the current data where nobody says how long they are,
const STRETCHES: usize = 12;
/// each of at least so many rows.
const STRETCH_ROWS: usize = 200;
/// Most stretches of a side that are shown.
const MOST_STRETCHES: usize = 200;

/// Windows of the reference: what was estimated out of fold, and what came.
pub(super) struct Pasts {
    of_metrics: Vec<Vec<Past>>,
    told: PastWindows,
}

impl Pasts {
    /// Cuts the reference into windows of as many rows as are judged, or smaller ones where there are too few of these.
    pub(super) fn of(reference: &Part, judge: &Judge, metrics: &[Metric], rows: usize) -> Self {
        let all = reference.rows.len();
        let size = match all / rows.max(LEAST_ROWS) {
            enough if enough >= LEAST_WINDOWS => rows.max(LEAST_ROWS),
            _ => (all / SMALLER_WINDOWS).max(LEAST_ROWS),
        };
        let count = all / size;
        let chosen = crate::compare::spaced(count, MOST_WINDOWS);
        let mut of_metrics = vec![Vec::with_capacity(chosen.len()); metrics.len()];
        for window in &chosen {
            let rows: Vec<usize> = (window * size..(window + 1) * size).collect();
            let part = reference.pick(&rows);
            for (metric, past) in metrics.iter().zip(&mut of_metrics) {
                // A window without one of the classes has no such metric.
                if let (Ok(estimate), Ok(realised)) =
                    (part.estimated(*metric, judge), part.realised_value(*metric, judge))
                    && [estimate.value, estimate.deviation, realised].iter().all(|value| value.is_finite())
                {
                    past.push(Past { estimate, realised });
                }
            }
        }
        if size < rows {
            let ratio = (size as f64 / rows as f64).sqrt();
            of_metrics.iter_mut().for_each(|past| enlarge(past, ratio));
        }
        Self { of_metrics, told: PastWindows { windows: chosen.len(), rows: size } }
    }

    /// The windows in which this metric, by its place, could be computed.
    pub(super) fn of_metric(&self, place: usize) -> &[Past] {
        self.of_metrics.get(place).map_or(&[], Vec::as_slice)
    }

    pub(super) fn told(&self) -> PastWindows {
        self.told
    }

    /// A word where windows are smaller than what is judged, or missing.
    pub(super) fn note(&self, rows: usize) -> Option<String> {
        let PastWindows { windows, rows: size } = self.told;
        if windows == 0 {
            return Some(
                "the reference is too short for past windows: intervals know the chance of labels only"
                    .to_owned(),
            );
        }
        (size < rows).then(|| {
            format!(
                "the reference holds fewer than {LEAST_WINDOWS} windows of {rows} rows: the estimator's own error is taken from {windows} windows of {size} rows"
            )
        })
    }
}

/// Takes windows that are smaller than what is judged for windows of that size.
///
/// Errors that the chance of labels explains shrink with the root of the rows, and are scaled by `ratio`. Whether it does
/// is asked of `sum (e / s)^2`, which is then chi-square with as many degrees of freedom as there are windows; beyond its
/// 95 % point (Wilson and Hilferty, PNAS 17, 1931) the estimator errs by itself, and by as much in larger windows.
fn enlarge(past: &mut [Past], ratio: f64) {
    let windows = past.len() as f64;
    let unit =
        |past: &Past| (past.realised - past.estimate.value) / past.estimate.deviation.max(f64::MIN_POSITIVE);
    let sum: f64 = past.iter().map(|past| unit(past).powi(2)).sum();
    let spread = 2.0 / (9.0 * windows.max(1.0));
    let limit = windows * (1.0 - spread + Z_95 * spread.sqrt()).powi(3);
    if sum > limit {
        return;
    }
    for past in past {
        past.realised = past.estimate.value + ratio * (past.realised - past.estimate.value);
        past.estimate.deviation *= ratio;
    }
}

/// How sides are cut into stretches.
pub(super) enum Cut {
    /// Microseconds.
    Time(i64),
    Rows(usize),
}

impl Cut {
    /// As asked for; otherwise, where there are times, so that a dozen stretches of the current data can be shown.
    pub(super) fn of(current: &Rows, options: &Options) -> Result<Option<Self>, Problem> {
        match (options.window, options.chunk_rows) {
            (Some(window), _) => Ok(Some(Self::Time(window.micros()))),
            (None, Some(rows)) if rows < LEAST_ROWS => {
                Err(Problem::invalid(format!("stretches of {rows} rows are too short"))
                    .field("--chunk-rows")
                    .hint(format!("take at least {LEAST_ROWS} rows")))
            }
            (None, Some(rows)) => Ok(Some(Self::Rows(rows))),
            (None, None) if !current.times.is_empty() && current.len() >= 2 * STRETCH_ROWS => {
                Ok(Some(Self::Rows(current.len().div_ceil(STRETCHES).max(STRETCH_ROWS))))
            }
            (None, None) => Ok(None),
        }
    }

    /// The rows that a stretch usually has.
    pub(super) fn usual_rows(&self, current: &Rows) -> usize {
        match self {
            Self::Rows(rows) => *rows,
            Self::Time(_) => {
                let mut lengths: Vec<usize> = self.all(current).iter().map(Range::len).collect();
                lengths.sort_unstable();
                lengths.get(lengths.len() / 2).copied().unwrap_or(current.len())
            }
        }
    }

    /// The stretches of a side, the latest of the reference and the first of the current data where there are too many.
    pub(super) fn ranges(
        &self,
        rows: &Rows,
        of_reference: bool,
        notes: &mut Vec<String>,
    ) -> Vec<Range<usize>> {
        let mut ranges = self.all(rows);
        let count = ranges.len();
        if count > MOST_STRETCHES {
            let side = if of_reference { "reference" } else { "current" };
            let which = if of_reference { "latest" } else { "first" };
            notes.push(format!("{side}: the {which} {MOST_STRETCHES} of {count} stretches are shown"));
            match of_reference {
                true => drop(ranges.drain(..count - MOST_STRETCHES)),
                false => ranges.truncate(MOST_STRETCHES),
            }
        }
        let usual = ranges.len();
        ranges.retain(|range| range.len() >= LEAST_ROWS);
        if ranges.len() < usual {
            notes.push(format!(
                "{} stretches of fewer than {LEAST_ROWS} rows are left out",
                usual - ranges.len()
            ));
        }
        ranges
    }

    fn all(&self, rows: &Rows) -> Vec<Range<usize>> {
        let count = rows.len();
        match self {
            Self::Time(length) => {
                let mut start = 0;
                let stretches = rows.times.chunk_by(|a, b| a.div_euclid(*length) == b.div_euclid(*length));
                stretches
                    .map(|stretch| {
                        let range = start..start + stretch.len();
                        start = range.end;
                        range
                    })
                    .collect()
            }
            Self::Rows(size) => {
                let size = (*size).max(1);
                let mut ranges: Vec<Range<usize>> = (0..count.div_ceil(size))
                    .map(|part| part * size..((part + 1) * size).min(count))
                    .collect();
                // What is left over joins the last stretch where it is short.
                if ranges.len() > 1
                    && let Some(rest) = ranges.pop_if(|rest| 2 * rest.len() < size)
                    && let Some(last) = ranges.last_mut()
                {
                    last.end = rest.end;
                }
                ranges
            }
        }
    }
}
