//! Monitor and retrain policies replayed on labelled history: what each costs and what it is worth.
//!
//! - `history`: rows in order of time, chunks, and the moment at which each label counts.
//! - `table`: a model trained at every moment and scored once on every later row.
//! - `policy`: what is compared, and what a spec says for each.
//! - `walk`: one policy's walk through the table.
//! - `inputs`: the drift alarm, for comparison.
//! - `best`: the best schedules in hindsight.
//! - `weigh`: intervals, the front, the recommendation.
//!
//! A training decided at the end of a chunk serves from the next. Nothing is random: the same data give the same result,
//! however many threads there are.

mod best;
mod history;
mod inputs;
mod policy;
mod table;
mod walk;
mod weigh;

pub use history::{Cut, Maturity};

use history::{History, middle, rounded};
use policy::Policy;
use steersman_domain::time::from_micros;
use steersman_domain::tuning::{BestSchedule, PolicyResult, Replay, Tuning, TuningChunk};
use steersman_domain::{Period, Problem, Task};
use steersman_records::frame::Frame;
use table::{Table, Window, row_loss};
use walk::{Walk, Walks};
use weigh::Weights;

/// How to replay.
#[derive(Debug, Clone)]
pub struct Options {
    /// The column with the truth.
    pub target: String,
    /// The column with the time of the prediction.
    pub time: String,
    /// The column with the time at which the truth became known.
    pub label_time: Option<String>,
    /// How long after the prediction the truth is known, where no column says.
    pub delay: Option<Period>,
    /// The columns to learn from; all others when empty.
    pub features: Vec<String>,
    /// Columns that are not learnt from.
    pub ignore: Vec<String>,
    /// What is predicted; `binary` for labels 0 and 1 where it is not said.
    pub task: Option<Task>,
    /// How history is cut into chunks.
    pub cut: Cut,
    /// What the first model learns from; the first fifth of the time where it is not said.
    pub history: Option<Period>,
    /// Which labels count, and when.
    pub maturity: Maturity,
    /// Most rows that a model learns from, and of a chunk that are scored.
    pub rows: usize,
    /// Trees of a model.
    pub trees: usize,
    /// A loss is acceptable up to this many times what a version showed before it served.
    pub tolerance: f64,
}

impl Options {
    /// The defaults, with the columns that have none.
    pub fn new(target: &str, time: &str) -> Self {
        Self {
            target: target.to_owned(),
            time: time.to_owned(),
            label_time: None,
            delay: None,
            features: Vec::new(),
            ignore: Vec::new(),
            task: None,
            cut: Cut::Auto,
            history: None,
            maturity: Maturity::Auto,
            rows: 10_000,
            trees: 80,
            tolerance: 1.1,
        }
    }
}

/// Replays all policies. `progress` hears how many models are trained, of how many.
pub fn tune(
    frame: &Frame,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Tuning, Problem> {
    if !(options.tolerance > 1.0 && options.tolerance.is_finite()) {
        return Err(Problem::invalid("what is acceptable is more than 1 times the reference's loss")
            .field("--tolerance")
            .hint("1.1 accepts a loss that is 10 % higher"));
    }
    if options.rows < 100 || options.trees == 0 {
        return Err(Problem::invalid("a model needs at least 100 rows and one tree").field("--rows"));
    }
    let history = History::read(frame, options)?;
    let (table, training_rows) = Table::train(&history, options.rows, options.trees, progress)?;
    let inputs = inputs::Inputs::count(&history);
    let chunk = history.chunk_length();
    let delays = history.times.iter().zip(&history.known).map(|(time, known)| (known - time) / 1_000_000);
    let lag = (middle(delays.collect()) + chunk.seconds() - 1) / chunk.seconds();
    let walks = Walks {
        arrivals: table.arrivals(),
        table: &table,
        chunk,
        tolerance: options.tolerance,
        lag: usize::try_from(lag).unwrap_or(0),
        inputs: inputs.as_ref(),
    };
    let policies = Policy::all(table.probabilities, inputs.is_some());
    let walked: Vec<(Policy, Walk)> =
        policies.into_iter().map(|policy| (policy, walks.walk(&policy))).collect();
    let best = best::best(&table);
    let weights = Weights::new(&table.chunks);
    let span = rolling_span(&history, chunk);
    let spec = |policy: &Policy| policy.spec(chunk, span, history.holdout);
    let results = results(&walks, &walked, &weights, &best, &spec);
    let chosen = weigh::recommend(&results);
    let mut order: Vec<usize> = (0..results.len()).collect();
    order.sort_by(|&a, &b| {
        results[a].loss.total_cmp(&results[b].loss).then(results[a].trainings.cmp(&results[b].trainings))
    });
    let (policy, walk) = &walked[chosen];
    let never = &walked[0].1;
    let mut notes = history.notes.clone();
    if inputs.is_none() {
        notes.push(
            "no drift alarm is compared: the history has fewer than 8 windows of a chunk's size".to_owned(),
        );
    }
    let persistence_loss = persistence(&history);
    let recommended = &results[chosen];
    if persistence_loss < recommended.loss {
        notes.push(format!(
            "\"the same as the last label\" has a loss of {persistence_loss:.4}, lower than {:.4} of the recommended policy: labels follow each other, so give the model the last known label as a feature before tuning its retraining",
            recommended.loss
        ));
    }
    notes.extend(weigh::better_but_not_expressible(&results, chosen));
    notes.extend(weigh::about_drift(&results));
    let tuning = Tuning {
        summary: weigh::summary(&results, chosen, &best),
        source: frame.source.clone(),
        task: history.task,
        target: options.target.clone(),
        loss: if history.task == Task::Binary { "brier" } else { "absolute_error" }.to_owned(),
        features: history.features.iter().map(|feature| feature.name.clone()).collect(),
        learner: format!(
            "the built-in learner stands in for yours: {} boosted trees on the columns named; take differences among policies from here, not the level of the loss",
            options.trees
        ),
        replay: replay(&history, training_rows),
        labels: history.labels.clone(),
        reference_loss: walks.reference(table.first(Window::Rolling), 0),
        tolerance: options.tolerance,
        never_loss: results[0].loss,
        persistence_loss,
        recommended: recommended.name.clone(),
        rule: weigh::RULE.to_owned(),
        spec: spec(policy),
        timeline: timeline(&history, &table, never, walk, &best),
        policies: order.into_iter().map(|place| results[place].clone()).collect(),
        best,
        notes,
    };
    Ok(tuning)
}

fn results(
    walks: &Walks<'_>,
    walked: &[(Policy, Walk)],
    weights: &Weights,
    best: &[BestSchedule],
    spec: &dyn Fn(&Policy) -> String,
) -> Vec<PolicyResult> {
    let loss = |walk: &Walk| weights.mean(&walk.losses);
    let never = walked.first().map_or(0.0, |(_, walk)| loss(walk));
    let least = best.iter().map(|schedule| schedule.loss).fold(never, f64::min);
    let expressible = walked.iter().filter(|(policy, _)| policy.expressible());
    let compared = expressible.min_by(|a, b| loss(&a.1).total_cmp(&loss(&b.1))).map(|(_, walk)| walk);
    let of = |(policy, walk): &(Policy, Walk)| {
        let alarms = walks.alarms(walk);
        let own = loss(walk);
        let delays: Vec<i64> = alarms.delays.iter().map(|&delay| delay as i64).collect();
        let worth = walks.worth(walk);
        PolicyResult {
            name: policy.name(),
            trigger: policy.start.name(),
            gate: policy.gate,
            refit: policy.refit,
            window: policy.window.as_str().to_owned(),
            loss: own,
            interval: weights.interval(&walk.losses),
            gain: (never > least).then(|| (never - own) / (never - least)),
            error: compared
                .map_or(0.0, |compared| weights.error_of_difference(&walk.losses, &compared.losses)),
            trainings: walk.trainings.len(),
            promotions: walk.promotions.len(),
            better: worth.map(|(better, _)| better),
            worse: worth.map(|(_, worse)| worse),
            alarms: walk.alarms.len(),
            false_alarms: alarms.falsely,
            degradations: alarms.degradations,
            missed: alarms.missed,
            detection_delay: (!delays.is_empty()).then(|| middle(delays) as f64),
            pareto: false,
            expressible: policy.expressible(),
            spec: policy.expressible().then(|| spec(policy)),
        }
    };
    let mut results: Vec<PolicyResult> = walked.iter().map(of).collect();
    weigh::mark_front(&mut results);
    results
}

fn replay(history: &History, training_rows: usize) -> Replay {
    let at = |micros: Option<&i64>| from_micros(micros.copied().unwrap_or_default());
    let rows = history.chunks.iter().map(|chunk| chunk.rows.len() as i64).collect();
    Replay {
        rows: history.times.len(),
        history_rows: history.chunks.first().map_or(0, |chunk| chunk.rows.start),
        from: at(history.times.first()),
        start: at(history.moments.get(history.holdout)),
        to: at(history.moments.last()),
        chunks: history.chunks.len(),
        chunk_seconds: history.chunk_length().seconds(),
        chunk_rows: middle(rows) as usize,
        holdout_chunks: history.holdout,
        models: 2 * (history.moments.len() - 1),
        training_rows,
    }
}

/// The time that the rows of a rolling window usually span, rounded as a person would write it.
fn rolling_span(history: &History, chunk: Period) -> Period {
    let first = history.times.first().copied().unwrap_or_default();
    let start = history.moments.get(history.holdout).copied().unwrap_or_default();
    rounded(Period::from_seconds(((start - first) / 1_000_000).max(chunk.seconds())))
}

/// Mean loss of the last label that is known when a row is predicted; of the overall share or mean before there is one.
fn persistence(history: &History) -> f64 {
    let mut order: Vec<usize> = (0..history.known.len()).collect();
    order.sort_by_key(|&row| history.known[row]);
    let first = history.chunks.first().map_or(0, |chunk| chunk.rows.start);
    let last_row = history.chunks.last().map_or(0, |chunk| chunk.rows.end);
    let (mut next, mut last): (usize, Option<usize>) = (0, None);
    let mut sum = 0.0;
    let prior = history.targets[..first].iter().sum::<f64>() / first.max(1) as f64;
    for row in 0..last_row {
        while let Some(&known) = order.get(next).filter(|&&known| history.known[known] <= history.times[row])
        {
            // Of labels that came out of order the latest record counts.
            last = if known < row { last.max(Some(known)) } else { last };
            next += 1;
        }
        if row >= first {
            let guess = last.map_or(prior, |last| history.targets[last]);
            sum += row_loss(history.task, guess, history.targets[row]);
        }
    }
    sum / (last_row - first).max(1) as f64
}

fn timeline(
    history: &History,
    table: &Table,
    never: &Walk,
    recommended: &Walk,
    best: &[BestSchedule],
) -> Vec<TuningChunk> {
    let least = best.iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let at = least.map(|schedule| schedule.at.as_slice()).unwrap_or_default();
    let costs = best::costs(table);
    // The window of the schedule is the one that gives its loss.
    let window = costs.iter().min_by(|a, b| {
        let total = |costs: &[Vec<f64>]| {
            let mut from = 0;
            (0..costs.len())
                .map(|chunk| {
                    from = if at.contains(&chunk) { chunk } else { from };
                    costs[from][chunk]
                })
                .sum::<f64>()
        };
        total(a).total_cmp(&total(b))
    });
    let mut serving = 0;
    let point = |(place, chunk): (usize, &history::Chunk)| {
        serving = if at.contains(&place) { place } else { serving };
        let rows = chunk.rows.len();
        let cost = window.and_then(|costs| costs.get(serving)?.get(place)).copied().unwrap_or(0.0);
        let of = |walk: &Walk| walk.losses.get(place).copied().unwrap_or(0.0);
        TuningChunk {
            from: from_micros(chunk.from),
            to: from_micros(chunk.to),
            rows,
            never: of(never),
            recommended: of(recommended),
            best: cost / rows.max(1) as f64,
            promoted: recommended.promotions.iter().any(|(from, ..)| *from == place),
            alarm: recommended.alarms.contains(&place),
        }
    };
    history.chunks.iter().enumerate().map(point).collect()
}
