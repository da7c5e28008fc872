//! A window cut into steps, and what each step holds.

use std::collections::BTreeMap;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Period, Window};
use steersman_records::Table;

const DAY: i64 = 86_400;
/// Lengths that a person reads easily; each divides a day, so that steps of all days are alike.
const ROUND: [i64; 21] = [
    1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200,
    DAY,
];
/// At most so many steps are in a window shorter than a day, and in a longer one.
const MOST_STEPS: (i64, i64) = (12, 31);
/// Fewer calls have no median, fewer no 99th percentile.
const LEAST_CALLS: (usize, usize) = (3, 5);

/// How windows are cut: hours of a day, five minutes of an hour.
///
/// ```
/// use steersman_domain::Period;
/// use steersman_watch::operation::Steps;
/// let steps = |window: &str| (Steps::of(window.parse::<Period>().unwrap()).seconds(), Steps::of(window.parse().unwrap()).count());
/// assert_eq!(steps("1d"), (3_600, 24));
/// assert_eq!(steps("1h"), (300, 12));
/// assert_eq!(steps("1w"), (21_600, 28));
/// assert_eq!(steps("7s"), (1, 7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    seconds: i64,
    count: usize,
}

impl Steps {
    /// The shortest round steps of which a window has few enough; a window that no round length divides is one step.
    pub fn of(window: Period) -> Self {
        let length = window.seconds();
        let most = if length < DAY { MOST_STEPS.0 } else { MOST_STEPS.1 };
        let fits = |step: &i64| length % step == 0 && length / step <= most;
        let seconds = ROUND.into_iter().find(fits).unwrap_or(length);
        Self { seconds, count: (length / seconds) as usize }
    }

    /// Length of a step.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Steps in a window.
    pub fn count(self) -> usize {
        self.count
    }

    /// The number of the step that holds a time, counted from the epoch.
    pub(crate) fn number(self, at: jiff::Timestamp) -> i64 {
        micros(at).div_euclid(self.seconds * 1_000_000)
    }

    /// When a step begins.
    pub(crate) fn start(self, number: i64) -> jiff::Timestamp {
        from_micros(number.saturating_mul(self.seconds * 1_000_000))
    }
}

/// What one step holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Step {
    /// Records.
    pub records: u64,
    /// Records that say how their call ended.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// The median latency, of enough calls.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of latency, of enough calls.
    pub p99_ms: Option<f64>,
    /// The mean cost of a record.
    pub cost: Option<f64>,
}

/// What records say about operation, in the order of the table.
struct Rows {
    steps: Vec<Option<usize>>,
    failed: Vec<Option<bool>>,
    latencies: Vec<Option<f64>>,
    costs: Vec<Option<f64>>,
}

/// What a window holds as a whole, and each of its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The window.
    pub window: Window,
    /// Its records together.
    pub whole: Step,
    /// The 90th percentile of latency.
    pub(crate) p90_ms: Option<f64>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

impl Load {
    /// What a table of a window's records holds; `cost` names the column of costs.
    pub fn of(window: Window, steps: Steps, table: &Table, cost: Option<&str>) -> Self {
        let first = steps.number(window.start);
        let place = |at: jiff::Timestamp| usize::try_from(steps.number(at) - first).ok();
        let rows = Rows {
            steps: table
                .times("time")
                .into_iter()
                .map(|at| at.and_then(place).filter(|&step| step < steps.count()))
                .collect(),
            failed: table
                .numbers("status")
                .into_iter()
                .map(|status| status.map(|status| status == 0.0 || status >= 500.0))
                .collect(),
            latencies: table.numbers("latency_ms"),
            costs: cost.map_or_else(Vec::new, |cost| table.numbers(cost)),
        };
        let mut by_step: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, step) in rows.steps.iter().enumerate() {
            if let Some(step) = step {
                by_step.entry(*step).or_default().push(row);
            }
        }
        let all: Vec<usize> = (0..table.len()).collect();
        let of_step = |step| by_step.get(&step).map_or_else(Step::default, |own| rows.step(own, LEAST_CALLS));
        Self {
            window,
            whole: rows.step(&all, (1, 1)),
            p90_ms: quantile(&sorted(&rows.latencies, &all), 0.9),
            steps: (0..steps.count()).map(of_step).collect(),
        }
    }

    /// A window of which only its steps are known: sums, and means of what cannot be summed.
    pub fn of_steps(window: Window, steps: Vec<Step>) -> Self {
        let mean = |of: fn(&Step) -> Option<f64>| {
            let known: Vec<f64> = steps.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let whole = Step {
            records: steps.iter().map(|step| step.records).sum(),
            calls: steps.iter().map(|step| step.calls).sum(),
            failed: steps.iter().map(|step| step.failed).sum(),
            p50_ms: mean(|step| step.p50_ms),
            p99_ms: mean(|step| step.p99_ms),
            cost: mean(|step| step.cost),
        };
        Self { window, whole, p90_ms: None, steps }
    }
}

impl Rows {
    fn step(&self, rows: &[usize], least: (usize, usize)) -> Step {
        let known = || rows.iter().filter_map(|&row| self.failed.get(row).copied().flatten());
        let latencies = sorted(&self.latencies, rows);
        let costs = sorted(&self.costs, rows);
        let of = |share, least| quantile(&latencies, share).filter(|_| latencies.len() >= least);
        Step {
            records: rows.len() as u64,
            calls: known().count() as u64,
            failed: known().filter(|failed| *failed).count() as u64,
            p50_ms: of(0.5, least.0),
            p99_ms: of(0.99, least.1),
            cost: (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64),
        }
    }
}

/// The known values of these rows, rising.
fn sorted(values: &[Option<f64>], rows: &[usize]) -> Vec<f64> {
    let known = rows.iter().filter_map(|&row| values.get(row).copied().flatten());
    let mut known: Vec<f64> = known.filter(|value| value.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    known
}

/// The smallest value that at least this share does not exceed.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}
