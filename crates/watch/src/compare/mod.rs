//! Two data sets, once: what changed, certainly and by enough to matter.
//!
//! - `pair`: a column of both sides brought to one kind.
//! - `column`: its distances, evidence and words.
//! - `words`: what texts speak of.
//! - `time`: blocks of time, within which rows are alike, and the course of a column.
//! - `shape`: summaries, and what is drawn.
//! - `joint`: can the sides be told apart at all?
//! - `concept`: does the truth still follow the predictions as it did?
//! - `harm`: what it means for predictions.
//!
//! Columns are examined on all cores; the result does not depend on how many there are.

mod column;
mod concept;
mod harm;
mod joint;
pub(crate) mod pair;
mod shape;
mod time;
mod words;

pub(crate) use joint::spaced;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use steersman_domain::Problem;
use steersman_domain::comparison::{Both, ColumnComparison, Comparison, SegmentComparison, Side};
use steersman_domain::schema::DataKind;
use steersman_domain::time::from_micros;
use steersman_records::frame::{Frame, FrameColumn};
use steersman_stats::calibration::{CompareOptions, Floors, decide_columns};
use steersman_stats::distance::Convention;

/// Names that a column of times often has.
const TIME_NAMES: [&str; 8] =
    ["time", "ts", "timestamp", "datetime", "date", "event_time", "event_timestamp", "created_at"];
/// So many segments are compared, the largest ones.
const SEGMENTS: usize = 50;
/// Segments with fewer rows on a side are left out.
const SEGMENT_ROWS: usize = 50;

/// How to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose distances to give.
    pub convention: Convention,
    /// The probability of calling anything drifted when nothing changed.
    pub level: f64,
    /// How large a change matters.
    pub floors: Floors,
    /// The column of times; `None` looks for one.
    pub time: Option<String>,
    /// Whether to look for a column of times where none is named.
    pub find_time: bool,
    /// The column with the truth.
    pub target: Option<String>,
    /// The column with the predictions.
    pub prediction: Option<String>,
    /// Columns within whose values to compare again.
    pub segments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            convention: Convention::Steersman,
            level: CompareOptions::default().family_level,
            floors: Floors::default(),
            time: None,
            find_time: true,
            target: None,
            prediction: None,
            segments: Vec::new(),
        }
    }
}

/// Compares two frames. `progress` hears after each column how many are done, of how many.
pub fn compare(
    reference: &Frame,
    current: &Frame,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Comparison, Problem> {
    for (frame, side) in [(reference, "the reference"), (current, "the current data")] {
        if frame.rows == 0 {
            return Err(Problem::invalid(format!("{side} holds no rows"))
                .field(frame.source.clone())
                .hint("both sides need some rows; look at --where if there is one"));
        }
    }
    for name in options.time.iter().chain(&options.target).chain(&options.prediction).chain(&options.segments)
    {
        reference.require(name)?;
    }
    for name in options.time.iter().chain(&options.segments) {
        current.require(name)?;
    }
    if let Some(name) = &options.time {
        for frame in [reference, current] {
            let column = frame.require(name)?;
            if column.kind != DataKind::Datetime {
                return Err(Problem::invalid(format!(
                    "column `{name}` of `{}` holds no times but is {}",
                    frame.source.clone(),
                    column.kind.as_str()
                ))
                .hint("times look like 2026-01-31T12:00:00Z or 2026-01-31 12:00"));
            }
        }
    }
    let (both, removed, added) = pair::common(reference, current);
    if both.is_empty() {
        return Err(Problem::invalid("the two sides have no column in common").hint(format!(
            "`{}` has {}; `{}` has {}",
            reference.source,
            removed.join(", "),
            current.source,
            added.join(", ")
        )));
    }
    let time = options.time.clone().or_else(|| find_time(&both).filter(|_| options.find_time));
    let compared: Vec<(&FrameColumn, &FrameColumn)> =
        both.into_iter().filter(|(own, _)| Some(&own.name) != time.as_ref()).collect();
    if compared.is_empty() {
        return Err(Problem::invalid("the two sides have no column in common but the time"));
    }
    let blocks = time.as_deref().and_then(|time| time::Blocks::new(reference, current, time));
    let sides = [reference, current];
    let mut columns = examine_all(sides, &compared, time.as_deref(), blocks.as_ref(), options, progress)?;
    let times = time.as_deref().and_then(|time| reference.column(time));
    let joint = joint::tell_apart(&compared, times, options);
    let concept = concept::follows(reference, current, blocks.as_ref(), options)?;
    let harm = harm::expect(reference, current, &mut columns, options)?;
    let segments = within_segments(reference, current, options)?;
    let mut notes: Vec<String> = Vec::new();
    for (frame, side) in [(reference, "reference"), (current, "current")] {
        notes.extend(frame.notes.iter().map(|note| format!("{side}: {note}")));
    }
    notes.extend(blocks.as_ref().map(time::Blocks::note));
    notes.extend(
        compared.iter().filter_map(|(own, other)| {
            Some(format!("`{}`: {}", own.name, pair::Pair::way(own, other).note()?))
        }),
    );
    notes.extend(columns.iter().filter_map(infinite_note));
    let drifted = columns.iter().any(|column| column.drifted)
        || joint.as_ref().is_some_and(|joint| joint.drifted)
        || concept.as_ref().is_some_and(|concept| concept.drifted)
        || segments.iter().any(|segment| segment.drifted);
    let side = |frame: &Frame| side(frame, time.as_deref());
    let mut comparison = Comparison {
        drifted,
        summary: String::new(),
        reference: side(reference),
        current: side(current),
        convention: convention_name(options.convention).to_owned(),
        level: options.level,
        time,
        columns,
        joint,
        concept,
        harm,
        segments,
        removed,
        added,
        notes,
    };
    comparison.summary = summary(&comparison);
    Ok(comparison)
}

/// The word for a convention on the command line and in JSON.
pub fn convention_name(convention: Convention) -> &'static str {
    match convention {
        Convention::Steersman => "steersman",
        Convention::Evidently => "evidently",
        Convention::Nannyml => "nannyml",
        Convention::Scipy => "scipy",
    }
}

/// A column of times that both sides have: by its name, or the first.
pub(crate) fn find_time(both: &[(&FrameColumn, &FrameColumn)]) -> Option<String> {
    let times = || {
        both.iter()
            .filter(|(own, other)| own.kind == DataKind::Datetime && other.kind == DataKind::Datetime)
            .map(|(own, _)| own)
    };
    let named = TIME_NAMES.iter().find_map(|name| times().find(|own| own.name.eq_ignore_ascii_case(name)));
    named.or_else(|| times().next()).map(|own| own.name.clone())
}

fn side(frame: &Frame, time: Option<&str>) -> Side {
    let times: Vec<i64> = time
        .and_then(|time| frame.column(time))
        .map(|column| column.times().into_iter().flatten().collect())
        .unwrap_or_default();
    Side {
        source: frame.source.clone(),
        files: frame.files.len(),
        rows: frame.rows,
        from: times.iter().min().map(|at| from_micros(*at)),
        to: times.iter().max().map(|at| from_micros(*at)),
    }
}

/// Infinite values have no place in a distribution: that they were left out is said.
fn infinite_note(column: &ColumnComparison) -> Option<String> {
    let (own, other) = (column.summary.reference.infinite, column.summary.current.infinite);
    (own + other > 0).then(|| {
        format!(
            "`{}`: infinite values, {own} in the reference and {other} in the current data, are counted and left out",
            column.name
        )
    })
}

/// All columns, on all cores.
fn examine_all(
    sides: [&Frame; 2],
    compared: &[(&FrameColumn, &FrameColumn)],
    time: Option<&str>,
    blocks: Option<&time::Blocks<'_>>,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<ColumnComparison>, Problem> {
    let times = time.and_then(|time| sides[0].column(time)).map(FrameColumn::times);
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, column::Examined, Vec<_>)>> = Mutex::new(Vec::with_capacity(compared.len()));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((own, other)) = compared.get(place) else { return };
            let pair = pair::Pair::new(own, other);
            let words = (pair::Pair::way(own, other) == pair::As::Lengths)
                .then(|| words::Words::of(own, other, times.as_deref()))
                .flatten();
            let examined =
                column::examine(&pair, options.convention, &options.floors, blocks, words.as_ref());
            let timeline = match time {
                Some(time) if !pair.identifier => time::timeline(&pair, examined.shape(), sides, time),
                _ => Vec::new(),
            };
            found.lock().unwrap_or_else(PoisonError::into_inner).push((place, examined, timeline));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, compared.len());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(compared.len());
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(place, ..)| *place);
    let evidence: Vec<_> = found.iter().map(|(_, examined, _)| examined.evidence.clone()).collect();
    let decided = decide_columns(&evidence, &CompareOptions { family_level: options.level })
        .map_err(|error| Problem::invalid(error.to_string()).field("--level"))?;
    let with_decision = |((_, examined, timeline), decision): ((usize, column::Examined, Vec<_>), &_)| {
        let mut column = examined.decided(decision);
        column.timeline = timeline;
        column
    };
    Ok(found.into_iter().zip(&decided).map(with_decision).collect())
}

/// The comparison within each value of the named columns; the level is shared among all of them.
fn within_segments(
    reference: &Frame,
    current: &Frame,
    options: &Options,
) -> Result<Vec<SegmentComparison>, Problem> {
    let mut wanted: Vec<(&str, String, Both<usize>)> = Vec::new();
    for name in &options.segments {
        let own = counts(reference.require(name)?);
        let other = counts(current.require(name)?);
        for (value, rows) in own {
            let rows = Both { reference: rows, current: other.get(&value).copied().unwrap_or(0) };
            if rows.reference >= SEGMENT_ROWS && rows.current >= SEGMENT_ROWS {
                wanted.push((name, value, rows));
            }
        }
    }
    wanted.sort_by(|a, b| {
        (b.2.reference + b.2.current).cmp(&(a.2.reference + a.2.current)).then(a.1.cmp(&b.1))
    });
    wanted.truncate(SEGMENTS);
    let inner = Options {
        segments: Vec::new(),
        target: None,
        prediction: None,
        level: options.level / wanted.len().max(1) as f64,
        ..options.clone()
    };
    let mut segments = Vec::with_capacity(wanted.len());
    for (column, value, rows) in wanted {
        let (own, other) = (reference.segment(column, &value)?, current.segment(column, &value)?);
        let (both, ..) = pair::common(&own, &other);
        let time = inner.time.clone().or_else(|| find_time(&both).filter(|_| inner.find_time));
        let compared: Vec<(&FrameColumn, &FrameColumn)> = both
            .into_iter()
            .filter(|(found, _)| Some(&found.name) != time.as_ref() && found.name != column)
            .collect();
        let found = match compared.is_empty() {
            true => Vec::new(),
            false => {
                let blocks = time.as_deref().and_then(|time| time::Blocks::new(&own, &other, time));
                let sides = [&own, &other];
                examine_all(sides, &compared, time.as_deref(), blocks.as_ref(), &inner, &|_, _| {})?
            }
        };
        let columns: Vec<String> =
            found.into_iter().filter(|found| found.drifted).map(|found| found.name).collect();
        let drifted = !columns.is_empty();
        segments.push(SegmentComparison { column: column.to_owned(), value, rows, drifted, columns });
    }
    Ok(segments)
}

fn counts(column: &FrameColumn) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for row in 0..column.len() {
        if let Some(value) = column.category(row) {
            *counts.entry(value).or_default() += 1;
        }
    }
    counts
}

fn summary(comparison: &Comparison) -> String {
    let drifted: Vec<&str> = comparison
        .columns
        .iter()
        .filter(|column| column.drifted)
        .map(|column| column.name.as_str())
        .collect();
    let total = comparison.columns.len();
    let columns = if total == 1 { "column" } else { "columns" };
    let named = match drifted.len() {
        0 => format!("none of {total} {columns} drifted"),
        1..=5 => format!("{} of {total} {columns} drifted: {}", drifted.len(), drifted.join(", ")),
        many => format!("{many} of {total} {columns} drifted: {}, ...", drifted[..5].join(", ")),
    };
    let joint = match &comparison.joint {
        Some(joint) if joint.drifted && drifted.is_empty() => {
            "; but the columns together did: they depend on each other in another way"
        }
        _ => "",
    };
    let concept = match &comparison.concept {
        Some(concept) if concept.drifted => "; the truth follows the predictions in another way",
        _ => "",
    };
    let within: Vec<String> = comparison
        .segments
        .iter()
        .filter(|segment| segment.drifted)
        .map(|segment| format!("{} = {}", segment.column, segment.value))
        .collect();
    let segments = match within.len() {
        0 => String::new(),
        1..=3 => format!("; within {}", within.join(", ")),
        many => format!("; within {many} segments, {} first", within[0]),
    };
    format!("{named}{joint}{concept}{segments}")
}
