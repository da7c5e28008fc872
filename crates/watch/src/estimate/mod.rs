//! How good predictions are before their labels are there, once.
//!
//! - `input`: the columns, checked and in order of time.
//! - `learn`: what the labelled reference teaches: calibrations, models of losses.
//! - `metric`: metrics of a stretch of rows, expected, realised and corrected.
//! - `arrival`: how many labels have arrived, and whether they are a fair sample.
//! - `window`: windows of the reference, and stretches over time.
//!
//! The reference is judged by estimates of rows held out, so its windows show how far estimates are usually off.

mod arrival;
mod input;
mod learn;
mod metric;
mod window;

use crate::compare::find_time;
use jiff::Timestamp;
use metric::{Judge, Metric, Part};
use steersman_domain::estimation::{
    Adapted, Band, Basis, Better, Chunk, Estimation, EstimationTask, FromLabels, LabelledSide, Method,
    MetricEstimate,
};
use steersman_domain::time::from_micros;
use steersman_domain::{Period, Problem};
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::StatsError;
use steersman_stats::estimate::{Estimate, Past};
use steersman_stats::interval::Interval;
use steersman_stats::metric::Cells;
use window::Pasts;

/// Fewer labels than this correct nothing.
const LEAST_LABELS: usize = 30;
/// Fewer labels than this show no metric.
const LEAST_REALISED: usize = 10;
/// An adapted calibration is believed where at least so large a share of the reference speaks for it,
const LEAST_KNOWN: f64 = 0.05;
/// and so many rows: with fewer, isotonic regression on weighted rows is too sure of itself (on the car loans, accuracy
/// after the change was estimated 0.010 too high with 4,200 rows, and rightly with 12,700).
const LEAST_KNOWN_ROWS: f64 = 10_000.0;

/// What to estimate, and from which columns.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The column of predictions: a probability or a number.
    pub prediction: Option<String>,
    /// For several classes: each class and the column of its probability.
    pub probabilities: Vec<(String, String)>,
    /// The column of the truth.
    pub target: String,
    /// The column of decisions; otherwise the threshold decides, or the likeliest class.
    pub decision: Option<String>,
    /// Probabilities from here on are decided positive.
    pub threshold: f64,
    /// What is predicted; `None` infers it.
    pub task: Option<EstimationTask>,
    /// Columns that the rows are told apart by; empty for all that fit.
    pub features: Vec<String>,
    /// Names of metrics; empty for all.
    pub metrics: Vec<String>,
    /// Length of the stretches of time.
    pub window: Option<Period>,
    /// Rows of the stretches.
    pub chunk_rows: Option<usize>,
    /// The column of times; `None` looks for one.
    pub time: Option<String>,
    /// The column of times at which labels became known.
    pub label_time: Option<String>,
    /// Labels that became known later are taken not to be there.
    pub as_of: Option<Timestamp>,
    /// What a row of each cell is worth.
    pub value: Option<Cells>,
    /// Metrics and the value that they must not be worse than.
    pub floors: Vec<(String, f64)>,
}

/// Estimates how good the predictions of `current` are from what the labelled `reference` teaches. `progress` hears how
/// much is done, of how much.
pub fn estimate(
    reference: &Frame,
    current: &Frame,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Estimation, Problem> {
    for (frame, side) in [(reference, "reference"), (current, "current")] {
        if frame.rows == 0 {
            return Err(Problem::invalid(format!("the {side} data holds no rows"))
                .field(frame.source.clone())
                .hint("both sides need some rows; look at --where if there is one"));
        }
    }
    let task = match options.task {
        Some(task) => task,
        None => input::infer(reference, options)?,
    };
    let metrics = wanted(task, options)?;
    let floors = floors(task, options)?;
    let time = time_column(reference, current, options)?;
    let mut notes: Vec<String> = Vec::new();
    for (frame, side) in [(reference, "reference"), (current, "current")] {
        notes.extend(frame.notes.iter().map(|note| format!("{side}: {note}")));
    }
    let all_own = input::rows(reference, task, time.as_deref(), options, true, &mut notes)?;
    let other = input::rows(current, task, time.as_deref(), options, false, &mut notes)?;
    let own = all_own.with_label();
    if own.len() < all_own.len() {
        notes.push(format!("reference: {} rows without a label teach nothing", all_own.len() - own.len()));
    }
    let features = input::features(reference, current, time.as_deref(), options)?;
    let sides = [
        labelled_side(reference, &own),
        LabelledSide { labelled: other.labelled(), ..labelled_side(current, &other) },
    ];
    let mut arrivals = arrival::arrivals(&all_own, &other, task, options, &mut notes);
    let (maturity, fair) = (arrivals.maturity.take(), arrivals.fair);
    progress(1, 4);
    let learnt = learn::learn(own, other, task, &features, &metrics, arrivals, options, &mut notes)?;
    progress(2, 4);
    let judge = Judge { task, worth: options.value, losses: learnt.losses };
    let known = LEAST_KNOWN_ROWS.max(LEAST_KNOWN * learnt.reference.rows.len() as f64);
    let believed = learnt.effective_rows.filter(|rows| *rows >= known);
    if let (Some(rows), None) = (learnt.effective_rows, believed) {
        notes.push(format!(
            "the reference has as much to say of the current rows as {rows:.0} of its rows, where {known:.0} are needed: the adapted estimate is shown, and not relied on"
        ));
    }
    let view = View {
        judge: &judge,
        metrics: &metrics,
        floors: &floors,
        effective_rows: learnt.effective_rows,
        learnt_rows: learnt.reference.rows.len() as f64,
        adapt: believed.is_some(),
        fair,
        reference: metrics
            .iter()
            .map(|metric| band(learnt.reference.realised(*metric, &judge).ok()?))
            .collect(),
    };
    let pasts = Pasts::of(&learnt.reference, &judge, &metrics, learnt.current.rows.len());
    notes.extend(pasts.note(learnt.current.rows.len()));
    let whole = view.metrics_of(&learnt.current, &pasts, false);
    progress(3, 4);
    let chunks = chunks(&learnt.reference, &learnt.current, &view, options, &mut notes)?;
    progress(4, 4);
    for metric in whole.iter().filter(|metric| metric.estimated.is_none()) {
        if let Some(why) = &metric.why {
            notes.push(format!("{} cannot be estimated: {why}", metric.name));
        }
    }
    let mut seen = std::collections::HashSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let [reference, current] = sides;
    let mut found = Estimation {
        worse: whole.iter().any(|metric| metric.alarm),
        summary: String::new(),
        task,
        task_inferred: options.task.is_none(),
        method: if task == EstimationTask::Regression { Method::Dle } else { Method::Cbpe },
        reference,
        current,
        time,
        calibration: learnt.calibration,
        past: pasts.told(),
        metrics: whole,
        chunks,
        maturity,
        blind: blind(task, learnt.current.rows.labelled(), learnt.current.rows.len()),
        notes,
    };
    found.summary = summary(&found);
    Ok(found)
}

/// The metrics that are asked for, or all.
fn wanted(task: EstimationTask, options: &Options) -> Result<Vec<Metric>, Problem> {
    if options.value.is_some() && task != EstimationTask::Binary {
        return Err(
            Problem::invalid("only decisions of yes or no have a business value per cell").field("--value")
        );
    }
    if options.metrics.is_empty() {
        let all = Metric::all(task).into_iter();
        return Ok(all.filter(|metric| *metric != Metric::Value || options.value.is_some()).collect());
    }
    let mut metrics = Vec::new();
    for name in &options.metrics {
        let metric = Metric::named(name, task, "--metrics")?;
        if metric == Metric::Value && options.value.is_none() {
            return Err(Problem::invalid("what a row of each cell is worth is not given")
                .field("--value")
                .hint("write for example --value tp=100,fp=-40,fn=-200,tn=0"));
        }
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    for (name, _) in &options.floors {
        let metric = Metric::named(name, task, "--floor")?;
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    Ok(metrics)
}

fn floors(task: EstimationTask, options: &Options) -> Result<Vec<(Metric, f64)>, Problem> {
    options
        .floors
        .iter()
        .map(|(name, floor)| {
            let metric = Metric::named(name, task, "--floor")?;
            if metric.better() == Better::Neither {
                return Err(Problem::invalid(format!("more of `{name}` is neither better nor worse"))
                    .field("--floor"));
            }
            Ok((metric, *floor))
        })
        .collect()
}

fn time_column(reference: &Frame, current: &Frame, options: &Options) -> Result<Option<String>, Problem> {
    if let Some(name) = &options.time {
        reference.require(name)?;
        current.require(name)?;
        return Ok(Some(name.clone()));
    }
    let both: Vec<(&FrameColumn, &FrameColumn)> = reference
        .columns
        .iter()
        .filter(|own| Some(&own.name) != options.label_time.as_ref())
        .filter_map(|own| Some((own, current.column(&own.name)?)))
        .collect();
    let found = find_time(&both);
    if found.is_none() && options.window.is_some() {
        return Err(Problem::invalid(
            "stretches of time need a column of times, and no common one was found",
        )
        .field("--window")
        .hint("name it with --time, or cut by rows with --chunk-rows"));
    }
    Ok(found)
}

fn labelled_side(frame: &Frame, rows: &input::Rows) -> LabelledSide {
    LabelledSide {
        source: frame.source.clone(),
        rows: rows.len(),
        labelled: rows.labelled(),
        from: rows.times.first().map(|at| from_micros(*at)),
        to: rows.times.last().map(|at| from_micros(*at)),
    }
}

/// How stretches of rows are looked at.
struct View<'a> {
    judge: &'a Judge,
    metrics: &'a [Metric],
    floors: &'a [(Metric, f64)],
    effective_rows: Option<f64>,
    /// Rows that the estimator learnt from.
    learnt_rows: f64,
    /// Whether adapted estimates are believed.
    adapt: bool,
    /// Whether the labels that are there are a fair sample.
    fair: bool,
    /// The reference's value of each metric.
    reference: Vec<Option<Band>>,
}

impl View<'_> {
    fn metrics_of(&self, part: &Part, pasts: &Pasts, of_reference: bool) -> Vec<MetricEstimate> {
        let labelled = part.rows.labelled();
        let known = (labelled >= LEAST_REALISED).then(|| part.with_label());
        let mut found = Vec::with_capacity(self.metrics.len());
        for (place, metric) in self.metrics.iter().enumerate() {
            let mut why = None;
            let mut told = |result: Result<Interval, StatsError>| match result {
                Ok(interval) => band(interval),
                Err(error) => {
                    why.get_or_insert_with(|| error.to_string());
                    None
                }
            };
            let past: &[Past] = pasts.of_metric(place);
            let estimated = told(part.estimated(*metric, self.judge).and_then(|estimate| {
                let rows = (!of_reference).then_some(self.learnt_rows);
                learnt_from(rows, part, estimate).interval_after(past)
            }));
            let adapted = part.adapted(*metric, self.judge).and_then(|estimate| {
                let interval =
                    band(learnt_from(self.effective_rows, part, estimate.ok()?).interval_after(past).ok()?)?;
                Some(Adapted {
                    value: interval.value,
                    low: interval.low,
                    high: interval.high,
                    effective_rows: self.effective_rows?,
                })
            });
            let realised = known.as_ref().and_then(|known| told(known.realised(*metric, self.judge)));
            let partly = labelled >= LEAST_LABELS && labelled < part.rows.len();
            let corrected = match partly {
                true if metric.needs_fair_sample(self.judge.task) && !self.fair => {
                    why = why.or_else(|| {
                        Some("it cannot be corrected by labels that are no fair sample".to_owned())
                    });
                    None
                }
                true => told(part.corrected(*metric, self.judge)),
                false => None,
            };
            let from_labels = |band: Band| FromLabels {
                value: band.value,
                low: band.low,
                high: band.high,
                labels: labelled,
            };
            let shares = matches!(metric, Metric::Cell(_));
            let estimated = estimated.map(|band| if shares { share(band) } else { band });
            let adapted = adapted.map(|found| match shares {
                true => Adapted { low: found.low.max(0.0), high: found.high.min(1.0), ..found },
                false => found,
            });
            let basis = if labelled == part.rows.len() && realised.is_some() {
                Some(Basis::Realised)
            } else if corrected.is_some() {
                Some(Basis::Corrected)
            } else if adapted.is_some() && self.adapt {
                Some(Basis::Adapted)
            } else {
                estimated.map(|_| Basis::Estimated)
            };
            let mut one = MetricEstimate {
                name: metric.name().to_owned(),
                better: metric.better(),
                estimated,
                adapted,
                realised: realised.map(from_labels),
                corrected: corrected.map(from_labels),
                reference: self.reference.get(place).copied().flatten(),
                basis,
                change: None,
                floor: self.floors.iter().find(|(own, _)| own == metric).map(|(_, floor)| *floor),
                alarm: false,
                why,
            };
            one.change = one.best().zip(one.reference).map(|(best, reference)| best.value - reference.value);
            one.alarm = !of_reference && alarms(&one);
            found.push(one);
        }
        found
    }
}

/// Adds the error of what was learnt: labels of `rows` rows fell by the same chance as those that are expected, so they
/// add the variance of these times the ratio of the rows. Past windows do not show it, as they are part of those rows.
fn learnt_from(rows: Option<f64>, part: &Part, mut estimate: Estimate) -> Estimate {
    if let Some(rows) = rows.filter(|rows| *rows > 0.0) {
        estimate.deviation *= (1.0 + part.rows.len() as f64 / rows).sqrt();
    }
    estimate
}

fn share(band: Band) -> Band {
    Band { low: band.low.max(0.0), high: band.high.min(1.0), ..band }
}

fn band(interval: Interval) -> Option<Band> {
    let Interval { value, low, high } = interval;
    [value, low, high].iter().all(|number| number.is_finite()).then_some(Band { value, low, high })
}

/// Whether the whole interval is worse than the whole interval of the reference, or beyond the floor.
fn alarms(metric: &MetricEstimate) -> bool {
    let Some(best) = metric.best() else { return false };
    match metric.better {
        Better::Neither => false,
        Better::Higher => {
            metric.reference.is_some_and(|reference| best.high < reference.low)
                || metric.floor.is_some_and(|floor| best.high < floor)
        }
        Better::Lower => {
            metric.reference.is_some_and(|reference| best.low > reference.high)
                || metric.floor.is_some_and(|floor| best.low > floor)
        }
    }
}

/// Both sides over time, or by rows.
fn chunks(
    reference: &Part,
    current: &Part,
    view: &View<'_>,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<Chunk>, Problem> {
    let Some(cut) = window::Cut::of(&current.rows, options)? else { return Ok(Vec::new()) };
    let pasts = Pasts::of(reference, view.judge, view.metrics, cut.usual_rows(&current.rows));
    let mut chunks = Vec::new();
    for (part, of_reference) in [(reference, true), (current, false)] {
        let ranges = cut.ranges(&part.rows, of_reference, notes);
        for (index, range) in ranges.into_iter().enumerate() {
            let rows: Vec<usize> = range.collect();
            let own = part.pick(&rows);
            let metrics = view.metrics_of(&own, &pasts, of_reference);
            chunks.push(Chunk {
                reference: of_reference,
                index,
                from: own.rows.times.first().map(|at| from_micros(*at)),
                to: own.rows.times.last().map(|at| from_micros(*at)),
                rows: own.rows.len(),
                labelled: own.rows.labelled(),
                alarm: metrics.iter().any(|metric| metric.alarm),
                metrics,
            });
        }
    }
    Ok(chunks)
}

/// What cannot be seen without labels.
fn blind(task: EstimationTask, labelled: usize, rows: usize) -> String {
    let sees = match task {
        EstimationTask::Regression => "sees rows that are harder, by their features and predictions",
        _ => "sees changes of the scores, and of the mix of rows as far as features show it",
    };
    let labels = match labelled {
        0 => "only labels show that",
        _ if labelled == rows => "the labels, which are all here, show that, and they are what is judged",
        _ => "the labels that have arrived show that, as far as they reach",
    };
    format!(
        "an estimate without labels {sees}; it cannot see concept change, where the truth of equal rows becomes another: {labels}"
    )
}

fn summary(found: &Estimation) -> String {
    let number = |value: f64| match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    let basis = |metric: &MetricEstimate| match metric.basis {
        Some(Basis::Realised) => "is",
        Some(Basis::Corrected) => "is, with the labels so far,",
        _ => "is estimated at",
    };
    let words = |metric: &MetricEstimate| {
        let best = metric.best()?;
        let before = metric
            .reference
            .map_or(String::new(), |reference| format!(", {} in the reference", number(reference.value)));
        Some(format!(
            "{} {} {} ({} to {}{before})",
            metric.name,
            basis(metric),
            number(best.value),
            number(best.low),
            number(best.high)
        ))
    };
    let alarming: Vec<&MetricEstimate> = found.metrics.iter().filter(|metric| metric.alarm).collect();
    let windows = found.chunks.iter().filter(|chunk| !chunk.reference).count();
    let bad = found.chunks.iter().filter(|chunk| chunk.alarm).count();
    let over_time = match (bad, found.worse) {
        (0, _) => String::new(),
        (bad, _) => format!("; {bad} of {windows} stretches alarm"),
    };
    match alarming.as_slice() {
        [] => {
            let first =
                found.metrics.iter().find_map(words).unwrap_or_else(|| "nothing can be estimated".to_owned());
            format!("no metric is certainly worse: {first}{over_time}")
        }
        [first, others @ ..] => {
            let more = match others.len() {
                0 => String::new(),
                1..=4 => {
                    let names: Vec<&str> = others.iter().map(|metric| metric.name.as_str()).collect();
                    format!("; so are {}", names.join(", "))
                }
                many => format!("; so are {many} other metrics"),
            };
            format!("worse: {}{more}{over_time}", words(first).unwrap_or_default())
        }
    }
}
