//! Labelled history in order of time, cut into chunks, with the moment at which each label counts.

use super::Options;
use std::ops::Range;
use steersman_domain::schema::DataKind;
use steersman_domain::tuning::LabelTiming;
use steersman_domain::{Period, Problem, Task};
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::labels::DelayModel;

/// Fewest chunks that tell anything.
const LEAST_CHUNKS: usize = 6;
/// Fewest labels from which a model is learnt.
pub(super) const LEAST_ROWS: usize = 50;
/// Lengths of chunks that are tried where none is asked for, longest first.
const LENGTHS: [i64; 5] = [7 * 86_400, 86_400, 6 * 3_600, 3_600, 300];
/// So many chunks are wanted where no length is asked for.
const WANTED_CHUNKS: i64 = 24;
/// The share of the time that is history where none is asked for.
const HISTORY_SHARE: f64 = 0.2;
/// More distinct categories than this are names of rows.
const MOST_CATEGORIES: usize = 1_000;
/// Candidates are judged on about so many labels, of at most [`MOST_HOLDOUT`] chunks.
const HOLDOUT_ROWS: usize = 400;
const MOST_HOLDOUT: usize = 4;
/// A cohort is mature when this share of its labels is there.
const MATURE: f64 = 0.95;
/// Cells of time into which the usual delay is cut.
const CELLS: i64 = 50;

/// How history is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// By a length that gives some two dozen chunks or more.
    #[default]
    Auto,
    /// By time.
    Length(Period),
    /// By rows.
    Rows(usize),
}

/// Which labels count, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Maturity {
    /// Each when it comes, unless the delay depends on the outcome.
    #[default]
    Auto,
    /// Each when it comes.
    SoFar,
    /// When its cohort is mature.
    Mature,
}

/// A column to learn from.
pub(super) enum Values {
    /// Numbers; NaN is missing.
    Numbers(Vec<f64>),
    /// Places in the list of names; `u32::MAX` is missing.
    Categories(Vec<u32>, Vec<String>),
}

/// A named column to learn from.
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) values: Values,
}

/// A stretch of rows over which no version changes.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) rows: Range<usize>,
}

/// Everything that is replayed. Times are microseconds.
pub(super) struct History {
    pub(super) task: Task,
    pub(super) times: Vec<i64>,
    /// When each label counts.
    pub(super) known: Vec<i64>,
    pub(super) targets: Vec<f64>,
    pub(super) features: Vec<Feature>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) holdout: usize,
    /// Moments at which a model can be trained: `holdout` of them before the first chunk, then the begin of each chunk,
    /// then the end of the last.
    pub(super) moments: Vec<i64>,
    pub(super) labels: LabelTiming,
    pub(super) notes: Vec<String>,
}

impl History {
    pub(super) fn read(frame: &Frame, options: &Options) -> Result<Self, Problem> {
        let mut notes = frame.notes.clone();
        let times = times(frame, &options.time)?;
        let arrived = match (&options.label_time, options.delay) {
            (Some(name), _) => self::times(frame, name)?,
            (None, Some(delay)) => {
                times.iter().map(|at| at.map(|at| at.saturating_add(delay.micros()))).collect()
            }
            (None, None) => {
                return Err(Problem::invalid("when labels became known is not said")
                    .hint("name the column with --label-time, or give --delay 3h"));
            }
        };
        let (task, targets) = targets(frame, options)?;
        let mut order: Vec<usize> = (0..frame.rows)
            .filter(|&row| times[row].is_some() && arrived[row].is_some() && targets[row].is_some())
            .collect();
        order.sort_by_key(|&row| times[row]);
        if order.len() < frame.rows {
            notes.push(format!("{} rows without time or label are left out", frame.rows - order.len()));
        }
        let time_of = |row: &usize| times[*row].unwrap_or_default();
        let sorted: Vec<i64> = order.iter().map(time_of).collect();
        let (chunks, span_note) = chunks(&sorted, options)?;
        notes.extend(span_note);
        // Chunks with more rows than are scored are thinned evenly.
        let mut kept = Vec::with_capacity(order.len());
        let mut cut = Vec::with_capacity(chunks.len());
        let before = chunks.first().map_or(0, |chunk| chunk.rows.start);
        kept.extend_from_slice(&order[..before]);
        for chunk in &chunks {
            let rows = &order[chunk.rows.clone()];
            let start = kept.len();
            kept.extend(spaced(rows.len(), options.rows).map(|place| rows[place]));
            cut.push(Chunk { rows: start..kept.len(), ..chunk.clone() });
        }
        if chunks.iter().any(|chunk| chunk.rows.len() > options.rows) {
            notes.push(format!("chunks are thinned evenly to {} rows (--rows)", options.rows));
        }
        let times: Vec<i64> = kept.iter().map(time_of).collect();
        let arrived: Vec<i64> =
            kept.iter().zip(&times).map(|(&row, &time)| arrived[row].unwrap_or(i64::MAX).max(time)).collect();
        let targets: Vec<f64> = kept.iter().map(|&row| targets[row].unwrap_or_default()).collect();
        let features = features(frame, options, &kept, &mut notes)?;
        let start = cut.first().map_or(0, |chunk| chunk.from);
        let (known, labels) = maturity(&times, &arrived, &targets, start, task, options.maturity)?;
        let sizes = middle(cut.iter().map(|chunk| chunk.rows.len() as i64).collect()).max(1) as usize;
        let holdout = HOLDOUT_ROWS.div_ceil(sizes).clamp(1, MOST_HOLDOUT);
        let moments = moments(&times, &cut, holdout, before);
        Ok(Self { task, times, known, targets, features, chunks: cut, holdout, moments, labels, notes })
    }

    /// Rows whose label counts at `moment`, in order of time.
    pub(super) fn labelled(&self, moment: i64) -> Vec<usize> {
        let end = self.times.partition_point(|&time| time < moment);
        (0..end).filter(|&row| self.known[row] <= moment).collect()
    }

    /// Median length of a chunk.
    pub(super) fn chunk_length(&self) -> Period {
        let micros = middle(self.chunks.iter().map(|chunk| chunk.to - chunk.from).collect());
        Period::from_seconds(micros / 1_000_000)
    }
}

/// At most `most` of the numbers `0..count`, evenly spaced.
pub(super) fn spaced(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most);
    (0..taken).map(move |place| (place as u128 * count as u128 / taken as u128) as usize)
}

/// The median; 0 of nothing.
pub(super) fn middle(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn times(frame: &Frame, name: &str) -> Result<Vec<Option<i64>>, Problem> {
    let column = frame.require(name)?;
    match column.kind {
        DataKind::Datetime => Ok(column.times()),
        other => Err(Problem::invalid(format!("column `{name}` holds no times but is {}", other.as_str()))
            .hint("times look like 2026-01-31T12:00:00Z or 2026-01-31 12:00")),
    }
}

fn targets(frame: &Frame, options: &Options) -> Result<(Task, Vec<Option<f64>>), Problem> {
    let name = &options.target;
    let column = frame.require(name)?;
    if !matches!(column.kind, DataKind::Numeric | DataKind::Boolean) {
        let message = format!("column `{name}` holds no numbers but is {}", column.kind.as_str());
        return Err(Problem::invalid(message).field("--target").hint("labels are 0 and 1, or numbers"));
    }
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    let targets: Vec<Option<f64>> = column.numbers().into_iter().map(finite).collect();
    let mut seen = targets.iter().flatten();
    let flags = seen.clone().all(|value| *value == 0.0 || *value == 1.0);
    let task = options.task.unwrap_or(if flags { Task::Binary } else { Task::Regression });
    if task == Task::Binary && !flags {
        return Err(Problem::invalid(format!("labels in `{name}` are not all 0 or 1"))
            .field("--target")
            .hint("say --task regression if it is a number that is predicted"));
    }
    match seen.next() {
        None => Err(Problem::invalid(format!("column `{name}` holds no label")).field("--target")),
        Some(first) if seen.all(|value| value == first) => {
            Err(Problem::invalid(format!("all labels in `{name}` are {first}: there is nothing to learn"))
                .field("--target"))
        }
        Some(_) => Ok((task, targets)),
    }
}

fn features(
    frame: &Frame,
    options: &Options,
    rows: &[usize],
    notes: &mut Vec<String>,
) -> Result<Vec<Feature>, Problem> {
    let taken = [Some(&options.target), Some(&options.time), options.label_time.as_ref()];
    let columns: Vec<&FrameColumn> = match options.features.is_empty() {
        false => {
            let named = options.features.iter().map(|name| frame.require(name));
            named.collect::<Result<_, Problem>>()?
        }
        true => frame
            .columns
            .iter()
            .filter(|column| !taken.contains(&Some(&column.name)) && !options.ignore.contains(&column.name))
            .collect(),
    };
    let mut found = Vec::with_capacity(columns.len());
    for column in columns {
        match feature(column, rows) {
            Ok(values) => found.push(Feature { name: column.name.clone(), values }),
            Err(why) if options.features.is_empty() => {
                notes.push(format!("`{}` is not learnt from: {why}", column.name));
            }
            Err(why) => {
                return Err(Problem::invalid(format!("`{}` cannot be learnt from: {why}", column.name))
                    .field("--features"));
            }
        }
    }
    if found.is_empty() {
        return Err(Problem::invalid("there is no column to learn from")
            .hint("name numbers or categories with --features"));
    }
    Ok(found)
}

fn feature(column: &FrameColumn, rows: &[usize]) -> Result<Values, String> {
    match column.kind {
        DataKind::Numeric | DataKind::Boolean => {
            let numbers = column.numbers();
            let values: Vec<f64> = rows.iter().map(|&row| numbers[row].unwrap_or(f64::NAN)).collect();
            let whole = values.iter().all(|value| value.fract() == 0.0);
            if rows.len() > 2 && whole && values.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err("it numbers the rows".to_owned());
            }
            match values.iter().all(|value| !value.is_finite()) {
                true => Err("it holds no value".to_owned()),
                false => Ok(Values::Numbers(values)),
            }
        }
        DataKind::Categorical => {
            let mut places = std::collections::HashMap::new();
            let mut names: Vec<String> = Vec::new();
            let mut codes = Vec::with_capacity(rows.len());
            for category in rows.iter().map(|&row| column.category(row)) {
                codes.push(match category {
                    None => u32::MAX,
                    Some(name) => *places.entry(name).or_insert_with_key(|name: &String| {
                        names.push(name.clone());
                        names.len() as u32 - 1
                    }),
                });
            }
            match names.len() {
                0 => Err("it holds no value".to_owned()),
                many if many > MOST_CATEGORIES => Err(format!("it has {many} categories")),
                _ => Ok(Values::Categories(codes, names)),
            }
        }
        DataKind::Datetime => Err("it holds times".to_owned()),
        DataKind::Text => Err("it holds text".to_owned()),
    }
}

/// The chunks, and what was chosen where nothing was asked for.
fn chunks(times: &[i64], options: &Options) -> Result<(Vec<Chunk>, Option<String>), Problem> {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Err(Problem::invalid("no row has a time and a label"));
    };
    let end = last.saturating_add(1);
    let history_end = match options.history {
        Some(history) => first.saturating_add(history.micros()),
        None => first + ((last - first) as f64 * HISTORY_SHARE) as i64,
    };
    let start = times.partition_point(|&time| time < history_end);
    let mut note = None;
    let found: Vec<Chunk> = match options.cut {
        Cut::Rows(0) => return Err(Problem::invalid("a chunk has at least one row").field("--chunk-rows")),
        Cut::Rows(rows) => {
            let starts: Vec<usize> = (start..times.len()).step_by(rows).collect();
            let chunk = |&from: &usize| {
                let until = (from + rows).min(times.len());
                let to = times.get(until).copied().unwrap_or(end);
                Chunk { from: times[from], to, rows: from..until }
            };
            let whole = |chunk: &Chunk| 2 * chunk.rows.len() >= rows;
            starts.iter().map(chunk).filter(whole).collect()
        }
        Cut::Auto | Cut::Length(_) => {
            let length = match options.cut {
                Cut::Length(length) => length.micros(),
                _ => {
                    let enough = |length: &i64| (end - history_end) / (length * 1_000_000) >= WANTED_CHUNKS;
                    let seconds = LENGTHS.into_iter().find(enough).unwrap_or(LENGTHS[4]);
                    note = Some(format!("chunks of {} (--chunk)", Period::from_seconds(seconds)));
                    seconds * 1_000_000
                }
            };
            let count = (end - history_end).max(0) / length + 1;
            if count > 5_000 {
                let message = format!("{count} chunks are too many to train a model at each");
                return Err(Problem::invalid(message).field("--chunk").hint("choose longer chunks"));
            }
            let chunk = |place: i64| {
                let (from, to) = (history_end + place * length, history_end + (place + 1) * length);
                let at = |moment: i64| times.partition_point(|&time| time < moment);
                Chunk { from, to, rows: at(from)..at(to) }
            };
            // The last one counts only if at least half of it is there.
            (0..count)
                .map(chunk)
                .filter(|chunk| !chunk.rows.is_empty() && end >= chunk.from + length / 2)
                .collect()
        }
    };
    if found.len() < LEAST_CHUNKS {
        let message =
            format!("{} chunks after the history are too few, {LEAST_CHUNKS} are needed", found.len());
        return Err(Problem::invalid(message).hint("shorten --chunk (or --chunk-rows) or --history"));
    }
    if found.len() > 1_000 {
        let message = format!("{} chunks are too many to train a model at each", found.len());
        return Err(Problem::invalid(message).hint("choose longer chunks, with at most 1000 of them"));
    }
    Ok((found, note))
}

/// When models can be trained.
fn moments(times: &[i64], chunks: &[Chunk], holdout: usize, before: usize) -> Vec<i64> {
    let rows = middle(chunks.iter().map(|chunk| chunk.rows.len() as i64).collect()) as usize;
    // As many rows earlier as chunks have, whether they are cut by time or by rows.
    let earlier = (1..=holdout).rev().map(|back| {
        let row = before.saturating_sub(back * rows);
        times.get(row).copied().unwrap_or_default()
    });
    let starts = chunks.iter().map(|chunk| chunk.from);
    earlier.chain(starts).chain(chunks.last().map(|chunk| chunk.to)).collect()
}

/// When each label counts: when it comes, or when its cohort is mature. What is mature is learnt from the history alone.
fn maturity(
    times: &[i64],
    arrived: &[i64],
    targets: &[f64],
    now: i64,
    task: Task,
    asked: Maturity,
) -> Result<(Vec<i64>, LabelTiming), Problem> {
    let seconds = |micros: &i64| micros.div_euclid(1_000_000);
    let delays: Vec<i64> =
        times.iter().zip(arrived).map(|(time, known)| (known - time) / 1_000_000).collect();
    let median = middle(delays);
    let failed = |error: steersman_stats::StatsError| Problem::invalid(format!("label delays: {error}"));
    let cut = match task {
        Task::Binary => 0.5,
        Task::Regression => {
            let mut sorted = targets.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or_default()
        }
    };
    let mut model = DelayModel::new((median / CELLS).max(1)).map_err(failed)?;
    let end = times.partition_point(|&time| time < now);
    let recorded: Vec<i64> = times[..end].iter().map(seconds).collect();
    let known: Vec<i64> = arrived[..end].iter().map(seconds).collect();
    let outcomes: Vec<bool> = targets[..end].iter().map(|&target| target > cut).collect();
    model.add_records("all", &recorded);
    model.add_labels("all", &recorded, &known, &outcomes).map_err(failed)?;
    let now = seconds(&now);
    let curve = model.curve(None, now).map_err(failed)?;
    let age = curve.age_of(MATURE);
    // Compared on cohorts of which all labels can be there; without any nothing can be said.
    let dependence = age.and_then(|age| model.dependence(age, now).ok());
    // Seconds of delay bias nothing that is decided chunk by chunk.
    let matters = dependence.as_ref().is_some_and(|found| found.matters() && found.early_age > 0);
    let waited = age.map_or(String::new(), |age| rounded(Period::from_seconds(age)).to_string());
    let early = dependence.as_ref().map_or(String::new(), |found| {
        format!(
            "of the first half of the labels {:.1} % are {}, of all {:.1} %",
            100.0 * found.early.value,
            if task == Task::Binary { "1" } else { "above the median" },
            100.0 * found.matured.value
        )
    });
    let biased = dependence
        .as_ref()
        .is_some_and(|found| found.bias.value.abs() >= 0.02 && found.bias_test.p_value < 0.01);
    let dependent = matters && biased;
    let wanted = match asked {
        Maturity::Auto => dependent,
        Maturity::SoFar => false,
        Maturity::Mature => true,
    };
    let mature_after = age.filter(|_| wanted);
    if wanted && mature_after.is_none() {
        return Err(Problem::invalid("the history is too short to know when labels are mature")
            .hint("lengthen --history, or use --labels so-far and mind that such labels may be biased"));
    }
    let why = match (dependent, mature_after) {
        (true, Some(_)) => format!(
            "the delay of a label depends on the outcome ({early}): models learn from and are judged on mature cohorts only, {waited} old or older"
        ),
        (true, None) => format!(
            "the delay of a label depends on the outcome ({early}), yet each label counts when it comes: losses and gates are biased"
        ),
        (false, Some(_)) => format!("only mature cohorts count, {waited} old or older, as asked"),
        (false, None) => {
            "each label counts when it comes; its delay does not depend on the outcome in a way that matters"
                .to_owned()
        }
    };
    let counts = |(&time, &known): (&i64, &i64)| match mature_after {
        Some(age) => known.max(time.saturating_add(age.saturating_mul(1_000_000))),
        None => known,
    };
    let known = times.iter().zip(arrived).map(counts).collect();
    let timing = LabelTiming {
        median_delay_seconds: median,
        outcome_dependent: dependent,
        mature_after_seconds: mature_after,
        why,
    };
    Ok((known, timing))
}

/// When a period was written by a person, or near it: whole days, hours or minutes.
pub(super) fn rounded(period: Period) -> Period {
    let seconds = period.seconds();
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= 2 * unit || seconds % unit == 0);
    let unit = unit.unwrap_or(1);
    Period::from_seconds(((seconds + unit / 2) / unit).max(1) * unit)
}
