//! How many labels have arrived, and how probable it was for each row that its label is there.

use super::Options;
use super::input::Rows;
use steersman_domain::estimation::{EstimationTask, Maturity};
use steersman_domain::time::micros;
use steersman_stats::StatsError;
use steersman_stats::labels::DelayModel;
use steersman_stats::labels::powered::LEAST_ARRIVAL;

const SECOND: i64 = 1_000_000;
/// A cell of time is this part of the usual delay.
const CELLS: i64 = 50;
/// Stretches of rows within which labels are taken to be equally probable where their delay is not known.
const STRETCHES: usize = 10;
/// The age by which so many labels have arrived is the one at which delays are compared.
const NEARLY_ALL: f64 = 0.95;
const STRATUM: &str = "all";
const SEED: u64 = 7;

/// The labels of the current data.
pub(super) struct Arrivals {
    /// How probable it was that each row's label is there.
    pub(super) probabilities: Vec<f64>,
    /// The same if the corrected share of outcomes were as low, and as high, as its interval allows; empty where the
    /// labels are a fair sample.
    pub(super) bounds: Vec<Vec<f64>>,
    /// Whether the labels that are there are taken to be a fair sample.
    pub(super) fair: bool,
    /// What is told; none without labels.
    pub(super) maturity: Option<Maturity>,
}

/// Judges the labels of the current data. The reference's rows without label are among `reference`.
pub(super) fn arrivals(
    reference: &Rows,
    current: &Rows,
    task: EstimationTask,
    options: &Options,
    notes: &mut Vec<String>,
) -> Arrivals {
    let (rows, arrived) = (current.len(), current.labelled());
    let share = arrived as f64 / rows as f64;
    let told = |expected, depends_on_outcome, why: String| {
        Some(Maturity { arrived, share, expected, depends_on_outcome, why })
    };
    if arrived == 0 {
        return Arrivals { probabilities: vec![0.0; rows], bounds: Vec::new(), fair: true, maturity: None };
    }
    if arrived == rows {
        let maturity = told(None, None, "all labels have arrived: their metrics are the truth".to_owned());
        return Arrivals { probabilities: vec![1.0; rows], bounds: Vec::new(), fair: true, maturity };
    }
    if !current.label_times.is_empty() && !current.times.is_empty() {
        match delayed(reference, current, task, options) {
            Ok(found) => {
                let expected = found.expected;
                let depends = found.depends.is_some();
                let mut why = format!(
                    "{arrived} of {rows} labels have arrived, where {:.0} % ought to have by the delays of earlier ones",
                    100.0 * expected
                );
                if let Some(depends) = found.depends {
                    why.push_str("; ");
                    why.push_str(&depends);
                }
                return Arrivals {
                    probabilities: found.probabilities,
                    bounds: found.bounds,
                    fair: !depends,
                    maturity: told(Some(expected), Some(depends), why),
                };
            }
            Err(error) => notes.push(format!("the delays of labels cannot be learnt: {error}")),
        }
    }
    let hint = match options.label_time {
        Some(_) => "",
        None => {
            "; name the column with the time at which labels became known with --label-time to have that checked"
        }
    };
    notes.push(format!(
        "some labels are missing: they are taken to be missing at random among rows that are close in time{hint}"
    ));
    let why = format!(
        "{arrived} of {rows} labels have arrived; labels that come early are often unlike those that come late"
    );
    Arrivals {
        probabilities: by_stretch(current),
        bounds: Vec::new(),
        fair: true,
        maturity: told(None, None, why),
    }
}

/// The share of labels in each stretch of rows.
fn by_stretch(current: &Rows) -> Vec<f64> {
    let width = current.len().div_ceil(STRETCHES).max(1);
    let share = |labels: &[Option<f64>]| labels.iter().flatten().count() as f64 / labels.len() as f64;
    current.labels.chunks(width).flat_map(|labels| std::iter::repeat_n(share(labels), labels.len())).collect()
}

struct Delayed {
    probabilities: Vec<f64>,
    bounds: Vec<Vec<f64>>,
    /// Share of labels that ought to be there.
    expected: f64,
    /// In words, where the delay depends on the outcome.
    depends: Option<String>,
}

/// Learns the delays of both sides' labels.
fn delayed(
    reference: &Rows,
    current: &Rows,
    task: EstimationTask,
    options: &Options,
) -> Result<Delayed, StatsError> {
    let outcome = outcomes(reference, current, task);
    let seconds = |at: i64| at.div_euclid(SECOND);
    // A label without the time of its arrival says nothing of delays; its row is left out.
    let known = |rows: &Rows, row: usize| {
        let at = *rows.times.get(row)?;
        let label = rows.labels.get(row).copied().flatten();
        let arrived = rows.label_times.get(row).copied().flatten();
        match (label, arrived) {
            (None, _) => Some((seconds(at), None)),
            (Some(label), Some(arrived)) => {
                Some((seconds(at), Some((seconds(arrived), outcome(rows, row, label)))))
            }
            (Some(_), None) => None,
        }
    };
    let sides = [reference, current];
    let all: Vec<(i64, Option<(i64, bool)>)> =
        sides.iter().flat_map(|rows| (0..rows.len()).filter_map(move |row| known(rows, row))).collect();
    let mut delays: Vec<i64> =
        all.iter().filter_map(|(at, label)| Some((label.as_ref()?.0 - at).max(0))).collect();
    delays.sort_unstable();
    let usual = delays.get(delays.len() / 2).copied().ok_or(StatsError::TooFew { needed: 1, got: 0 })?;
    let mut model = DelayModel::new((usual / CELLS).max(1))?;
    model.add_records(STRATUM, &all.iter().map(|(at, _)| *at).collect::<Vec<i64>>());
    let labels: Vec<(i64, i64, bool)> =
        all.iter().filter_map(|(at, label)| label.map(|(arrived, flag)| (*at, arrived, flag))).collect();
    let column = |of: fn(&(i64, i64, bool)) -> i64| labels.iter().map(of).collect::<Vec<i64>>();
    let flags: Vec<bool> = labels.iter().map(|label| label.2).collect();
    model.add_labels(STRATUM, &column(|label| label.0), &column(|label| label.1), &flags)?;
    let latest = all.iter().map(|(at, label)| label.map_or(*at, |(arrived, _)| arrived.max(*at))).max();
    let now = match options.as_of {
        Some(at) => seconds(micros(at)),
        None => latest.unwrap_or_default(),
    };
    let curve = model.curve(None, now)?;
    let (Some(first), Some(last)) = (current.times.first(), current.times.last()) else {
        return Err(StatsError::TooFew { needed: 1, got: 0 });
    };
    let window = seconds(*first)..seconds(*last).saturating_add(1);
    let expected = model.maturity(window.clone(), now)?.share();
    let horizon = curve.age_of(NEARLY_ALL).unwrap_or_else(|| curve.longest());
    // Where delays cannot be compared there is no sign that they depend on anything.
    let dependence = model.dependence(horizon, now).ok().filter(|found| found.matters());
    let ages = || current.times.iter().map(|at| (now - seconds(*at)).max(0));
    let Some(dependence) = dependence else {
        let probabilities =
            ages().map(|age| Ok(curve.arrived_by(age)?.share())).collect::<Result<Vec<f64>, StatsError>>()?;
        return Ok(Delayed { probabilities, bounds: Vec::new(), expected, depends: None });
    };
    let half_life = 2.0 * (window.end - window.start) as f64;
    let correction = model.corrected(window, now, half_life, SEED)?;
    let by = |flag: bool, age: i64| correction.arrived_by(STRATUM, flag, age).unwrap_or(0.0);
    let outcomes: Vec<Option<bool>> = (0..current.len())
        .map(|row| Some(outcome(current, row, current.labels.get(row).copied().flatten()?)))
        .collect();
    let raw: Vec<f64> = ages()
        .zip(&outcomes)
        .map(|(age, found)| match found {
            Some(flag) => by(*flag, age),
            None => f64::midpoint(by(false, age), by(true, age)),
        })
        .collect();
    let [probabilities, low, high] = [correction.share.value, correction.share.low, correction.share.high]
        .map(|share| raked(&raw, &outcomes, share));
    let what = match task {
        EstimationTask::Binary => "label 1",
        EstimationTask::Multiclass => "right decisions",
        EstimationTask::Regression => "high values",
    };
    let (pace, times) = match dependence.rate_ratio >= 1.0 {
        true => ("fast", dependence.rate_ratio),
        false => ("slowly", 1.0 / dependence.rate_ratio.max(f64::MIN_POSITIVE)),
    };
    let depends = format!(
        "labels that came early are no fair sample ({what} comes {times:.1} times as {pace}): so far {:.1} % are such, all will be {:.1} % ({:.1} to {:.1} %), and rows are weighted for it",
        100.0 * correction.so_far.map_or(0.0, |share| share.value),
        100.0 * correction.share.value,
        100.0 * correction.share.low,
        100.0 * correction.share.high
    );
    Ok(Delayed { probabilities, bounds: vec![low, high], expected, depends: Some(depends) })
}

/// Arrival probabilities scaled within each outcome, so that the labelled rows, weighted by their inverses, have this
/// share of outcome 1 (raking: Deming and Stephan, Annals of Mathematical Statistics 11, 1940). The share was fitted to
/// all that is known of delays, while the weights of a few rows scatter.
fn raked(raw: &[f64], outcomes: &[Option<bool>], share: f64) -> Vec<f64> {
    let reached = raw.iter().filter(|arrival| **arrival >= LEAST_ARRIVAL).count() as f64;
    let factor = |flag: bool, share: f64| {
        let weights = raw
            .iter()
            .zip(outcomes)
            .filter(|(arrival, own)| **own == Some(flag) && **arrival >= LEAST_ARRIVAL);
        let sum: f64 = weights.map(|(arrival, _)| 1.0 / arrival).sum();
        if share > 0.0 && sum > 0.0 { sum / (reached * share) } else { 1.0 }
    };
    let (negative, positive) = (factor(false, 1.0 - share), factor(true, share));
    let scaled = |(arrival, own): (&f64, &Option<bool>)| match own {
        // What can be reached stays so.
        Some(flag) if *arrival >= LEAST_ARRIVAL => {
            (arrival * if *flag { positive } else { negative }).clamp(LEAST_ARRIVAL, 1.0)
        }
        _ => *arrival,
    };
    raw.iter().zip(outcomes).map(scaled).collect()
}

/// What of a label its delay may depend on: a positive one, a right decision, a value above the usual.
fn outcomes(
    reference: &Rows,
    current: &Rows,
    task: EstimationTask,
) -> impl Fn(&Rows, usize, f64) -> bool + use<> {
    let mut labels: Vec<f64> = reference.labels.iter().chain(&current.labels).flatten().copied().collect();
    labels.sort_unstable_by(f64::total_cmp);
    let usual = labels.get(labels.len() / 2).copied().unwrap_or_default();
    move |rows, row, label| match task {
        EstimationTask::Binary => label == 1.0,
        EstimationTask::Multiclass => {
            rows.decisions.get(row).is_some_and(|decision| *decision as f64 == label)
        }
        EstimationTask::Regression => label > usual,
    }
}
