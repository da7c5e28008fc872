//! The table that all policies walk through: a model trained at every moment, by each kind of window, with its loss on
//! every row whose label it cannot have known.

use super::history::{Feature, History, LEAST_ROWS, Values, spaced};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use steersman_domain::{Problem, Task};
use steersman_stats::learn::{Boosted, Boosting, Encoding, Loss, Matrix};

/// A category's mean target is mixed with the overall mean as if that had been seen this often in it.
const PRIOR_ROWS: f64 = 50.0;
/// Models are trained side by side by so many threads: others want to work too.
const THREADS: usize = 2;

/// What a model learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Window {
    /// As many of the latest labelled rows as the history had.
    Rolling,
    /// All labelled rows.
    Expanding,
}

impl Window {
    pub(super) const ALL: [Self; 2] = [Self::Rolling, Self::Expanding];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Expanding => "expanding",
        }
    }
}

/// The losses of one model on the rows from `start` on.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    pub(super) start: usize,
    pub(super) values: Vec<f32>,
}

impl Losses {
    /// The loss on a row; none where the model was not scored.
    pub(super) fn of(&self, row: usize) -> Option<f64> {
        self.values.get(row.checked_sub(self.start)?).map(|loss| f64::from(*loss))
    }
}

/// A model of the table: the moment of its training and its window.
pub(super) type Model = (usize, Window);

/// Losses of all models, and what walks need of the history.
pub(super) struct Table {
    /// See [`History::moments`].
    pub(super) moments: Vec<i64>,
    /// Moments before the first chunk.
    pub(super) holdout: usize,
    /// Rows of each chunk.
    pub(super) chunks: Vec<std::ops::Range<usize>>,
    /// When the label of each row counts.
    pub(super) known: Vec<i64>,
    /// Losses by moment, rolling and expanding.
    pub(super) losses: [Vec<Losses>; 2],
    /// Whether losses are squared errors of probabilities, so that an error is a loss above 1/4.
    pub(super) probabilities: bool,
}

impl Table {
    /// Trains and scores all models. `progress` hears how many are done, of how many. Returns the most rows that one
    /// of them learnt from, too.
    pub(super) fn train(
        history: &History,
        most_rows: usize,
        trees: usize,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(Self, usize), Problem> {
        // The last moment is the end: nothing serves from there.
        let moments = history.moments.len() - 1;
        let start = history.moments[history.holdout];
        let rolling = history.labelled(start).len();
        let first = history.labelled(history.moments[0]).len();
        if first < LEAST_ROWS {
            let message = format!(
                "only {first} labels are known {} before the first chunk, {LEAST_ROWS} are needed",
                if history.holdout == 1 {
                    "one chunk".to_owned()
                } else {
                    format!("{} chunks", history.holdout)
                }
            );
            return Err(Problem::invalid(message)
                .field("--history")
                .hint("lengthen --history, or shorten --chunk: labels count when they were known"));
        }
        let tasks: Vec<Model> =
            (0..moments).flat_map(|moment| Window::ALL.map(|window| (moment, window))).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        type Trained = Vec<(Model, Result<(Losses, usize), Problem>)>;
        let found: Mutex<Trained> = Mutex::new(Vec::with_capacity(tasks.len()));
        let work = || {
            while let Some(&(moment, window)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut rows = history.labelled(history.moments[moment]);
                let skipped = if window == Window::Rolling { rows.len().saturating_sub(rolling) } else { 0 };
                rows.drain(..skipped);
                let rows: Vec<usize> = spaced(rows.len(), most_rows).map(|place| rows[place]).collect();
                let losses = losses(history, moment, &rows, trees).map(|losses| (losses, rows.len()));
                found.lock().unwrap_or_else(PoisonError::into_inner).push(((moment, window), losses));
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, tasks.len());
            }
        };
        std::thread::scope(|scope| {
            (1..THREADS).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|((moment, window), _)| (*window, *moment));
        let mut table = [Vec::with_capacity(moments), Vec::with_capacity(moments)];
        let mut most = 0;
        for ((_, window), losses) in found {
            let (losses, rows) = losses?;
            most = most.max(rows);
            table[window as usize].push(losses);
        }
        let table = Self {
            moments: history.moments.clone(),
            holdout: history.holdout,
            chunks: history.chunks.iter().map(|chunk| chunk.rows.clone()).collect(),
            known: history.known.clone(),
            losses: table,
            probabilities: history.task == Task::Binary,
        };
        Ok((table, most))
    }

    /// The losses of a model.
    pub(super) fn losses(&self, (moment, window): Model) -> Option<&Losses> {
        self.losses[window as usize].get(moment)
    }

    /// The loss of a model on a row, 0 where there is none.
    pub(super) fn loss(&self, model: Model, row: usize) -> f64 {
        self.losses(model).and_then(|losses| losses.of(row)).unwrap_or(0.0)
    }

    /// The mean loss of a model in a chunk.
    pub(super) fn chunk_loss(&self, model: Model, chunk: usize) -> f64 {
        let Some(rows) = self.chunks.get(chunk) else { return 0.0 };
        rows.clone().map(|row| self.loss(model, row)).sum::<f64>() / rows.len().max(1) as f64
    }

    /// Rows by the time at which their label counts.
    pub(super) fn arrivals(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        order.sort_by_key(|&row| self.known[row]);
        order
    }

    /// The model that serves the first chunk.
    pub(super) fn first(&self, window: Window) -> Model {
        (self.holdout, window)
    }
}

/// Trains one model at a moment on these rows and scores it on all rows whose label came later.
fn losses(history: &History, moment: usize, rows: &[usize], trees: usize) -> Result<Losses, Problem> {
    let failed = |error: steersman_stats::StatsError| Problem::invalid(format!("training failed: {error}"));
    let at = history.moments[moment];
    let later = history.times.partition_point(|&time| time < at);
    let start = history.known.iter().position(|&known| known > at).unwrap_or(later).min(later);
    let targets: Vec<f64> = rows.iter().map(|&row| history.targets[row]).collect();
    let scored: Vec<usize> = (start..history.times.len()).collect();
    let mut columns = [Vec::new(), Vec::new()];
    for feature in &history.features {
        let [learnt, scoring] = &mut columns;
        let (own, other) = encoded(feature, rows, &targets, &scored).map_err(failed)?;
        learnt.push(own);
        scoring.push(other);
    }
    let [learnt, scoring] = columns;
    let loss = if history.task == Task::Binary { Loss::Log } else { Loss::Squared };
    let settings = Boosting { trees, ..Boosting::new(loss) };
    let model = Matrix::new(learnt)
        .and_then(|features| Boosted::fit(&settings, &features, &targets, None))
        .map_err(failed)?;
    let outputs = Matrix::new(scoring).and_then(|features| model.predict(&features)).map_err(failed)?;
    let loss = |(output, &row): (f64, &usize)| row_loss(history.task, output, history.targets[row]) as f32;
    Ok(Losses { start, values: outputs.into_iter().zip(&scored).map(loss).collect() })
}

/// Brier score or absolute error.
pub(super) fn row_loss(task: Task, output: f64, target: f64) -> f64 {
    match task {
        Task::Binary => (output - target).powi(2),
        Task::Regression => (output - target).abs(),
    }
}

/// A feature of the rows that are learnt from and of those that are scored; categories by their mean target.
fn encoded(
    feature: &Feature,
    rows: &[usize],
    targets: &[f64],
    scored: &[usize],
) -> Result<(Vec<f64>, Vec<f64>), steersman_stats::StatsError> {
    match &feature.values {
        Values::Numbers(values) => {
            let of = |rows: &[usize]| rows.iter().map(|&row| values[row]).collect();
            Ok((of(rows), of(scored)))
        }
        Values::Categories(codes, names) => {
            let name = |row: usize| names.get(codes[row] as usize).map(String::as_str);
            let categories: Vec<Option<&str>> = rows.iter().map(|&row| name(row)).collect();
            let encoding = Encoding::target(&categories, targets, PRIOR_ROWS)?;
            // Each category is looked up once.
            let numbers = encoding.column(names.iter().map(|name| Some(name.as_str())));
            let of = |rows: &[usize]| {
                let number = |&row: &usize| numbers.get(codes[row] as usize).copied().unwrap_or(f64::NAN);
                rows.iter().map(number).collect()
            };
            Ok((of(rows), of(scored)))
        }
    }
}
