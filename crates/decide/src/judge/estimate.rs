//! Performance before the labels: what losses are to be expected of the candidate's and the champion's outputs, learnt
//! where both were evaluated, and corrected by the labels that have come.
//!
//! Where both answer the same requests, the expected difference of their losses goes by how much they disagree; otherwise
//! each arm's expected loss goes by its outputs. What came of the labels corrects the estimate (prediction-powered), so
//! how wrong it was on labelled requests widens its interval. Outputs unlike any seen at the evaluation are counted: of
//! them nothing is known. Such estimates see a change of what is asked, not a change of what the truth is for the same
//! question; so they are no evidence, and act only as far as the plan lets them.

use steersman_domain::fact::{
    Estimate, EstimateVerdict, ExpectedLosses, LossCell, LossTable, VerdictOutcome,
};
use steersman_stats::sequential::asymptotic_radius;

/// Fewer requests say nothing.
const LEAST_ROWS: u64 = 100;
/// Fewer labels correct nothing.
const LEAST_LABELS: f64 = 30.0;
/// With a larger share of outputs that are unlike any seen, the estimate decides nothing.
const MOST_UNKNOWN: f64 = 0.1;
/// Outputs may lie beyond those seen by so much of their span.
const BEYOND: f64 = 0.05;
/// Ranges of outputs with a mean of their own.
const RANGES: usize = 20;
/// Rows of a range, at least.
const LEAST_CELL: usize = 25;
/// The count at which the interval is made to be narrowest.
const BEST_COUNT: f64 = 2_000.0;
/// The level of the interval, at all times together.
const LEVEL: f64 = 0.01;

/// Learns mean losses by ranges of outputs from pairs of output and loss.
pub(crate) fn loss_table(pairs: &[(f64, f64)]) -> Option<LossTable> {
    let mut sorted: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranges = RANGES.min(sorted.len() / LEAST_CELL);
    let (first, last) = (sorted.first()?.0, sorted.last()?.0);
    if ranges == 0 {
        return None;
    }
    let mut edges: Vec<f64> = (1..ranges).map(|range| sorted[range * sorted.len() / ranges].0).collect();
    edges.dedup();
    edges.retain(|edge| *edge > first);
    let mut cells = vec![LossCell { rows: 0, mean: 0.0, variance: 0.0 }; edges.len() + 1];
    for (output, loss) in sorted {
        let cell = &mut cells[edges.partition_point(|edge| *edge <= output)];
        cell.rows += 1;
        let delta = loss - cell.mean;
        cell.mean += delta / cell.rows as f64;
        cell.variance += delta * (loss - cell.mean);
    }
    cells.iter_mut().for_each(|cell| cell.variance /= (cell.rows as f64 - 1.0).max(1.0));
    Some(LossTable { span: (first, last), edges, cells })
}

/// The range that an output lies in; none where it is unlike any seen.
fn cell(table: &LossTable, output: f64) -> Option<usize> {
    let (low, high) = table.span;
    let slack = BEYOND * (high - low);
    let known = output >= low - slack && output <= high + slack;
    known.then(|| table.edges.partition_point(|edge| *edge <= output))
}

/// Outputs of one kind as they come, and how far off their expectation was where labels came.
#[derive(Debug, Clone)]
struct Side {
    counts: Vec<u64>,
    unknown: u64,
    labels: f64,
    error: f64,
    squares: f64,
}

/// A mean and its interval's half width.
struct Expected {
    rows: u64,
    mean: f64,
    radius: f64,
    unknown: u64,
    labels: u64,
}

impl Side {
    fn new(table: &LossTable) -> Self {
        Self { counts: vec![0; table.cells.len()], unknown: 0, labels: 0.0, error: 0.0, squares: 0.0 }
    }

    fn see(&mut self, table: &LossTable, output: f64) {
        match cell(table, output).and_then(|place| self.counts.get_mut(place)) {
            Some(count) => *count += 1,
            None => self.unknown += 1,
        }
    }

    fn label(&mut self, table: &LossTable, output: f64, loss: f64) {
        let Some(expected) = cell(table, output).and_then(|place| table.cells.get(place)) else { return };
        self.labels += 1.0;
        let delta = loss - expected.mean - self.error;
        self.error += delta / self.labels;
        self.squares += delta * (loss - expected.mean - self.error);
    }

    fn expected(&self, table: &LossTable) -> Expected {
        let rows: u64 = self.counts.iter().sum();
        let n = (rows as f64).max(1.0);
        let cells = || table.cells.iter().zip(&self.counts).map(|(cell, count)| (cell, *count as f64 / n));
        let mean: f64 = cells().map(|(cell, share)| share * cell.mean).sum();
        let between: f64 = cells().map(|(cell, share)| share * (cell.mean - mean).powi(2)).sum();
        let within: f64 = cells().map(|(cell, share)| share * cell.variance).sum();
        let mut radius = asymptotic_radius(n, (between + within).max(1e-12), LEVEL, BEST_COUNT);
        if self.labels >= LEAST_LABELS {
            // What came of the labels speaks for the table's own error too.
            let variance = (self.squares / (self.labels - 1.0)).max(1e-12);
            radius += asymptotic_radius(self.labels, variance, LEVEL, BEST_COUNT);
            let (mean, labels) = (mean + self.error, self.labels as u64);
            return Expected { rows, mean, radius, unknown: self.unknown, labels };
        }
        let own: f64 =
            cells().map(|(cell, share)| share * share * cell.variance / cell.rows.max(1) as f64).sum();
        Expected { rows, mean, radius: radius + 3.0 * own.sqrt(), unknown: self.unknown, labels: 0 }
    }
}

/// What is to be expected of a rollout's requests.
#[derive(Debug, Clone)]
pub(super) struct Estimates {
    expected: ExpectedLosses,
    champion: Side,
    candidate: Side,
    between: Side,
}

impl Estimates {
    pub(super) fn new(expected: &ExpectedLosses) -> Self {
        Self {
            champion: Side::new(&expected.champion),
            candidate: Side::new(&expected.candidate),
            between: Side::new(&expected.between),
            expected: expected.clone(),
        }
    }

    /// An answer that chance gave to one arm.
    pub(super) fn answer(&mut self, candidate: bool, output: f64) {
        match candidate {
            true => self.candidate.see(&self.expected.candidate, output),
            false => self.champion.see(&self.expected.champion, output),
        }
    }

    /// The label of such an answer came.
    pub(super) fn answer_label(&mut self, candidate: bool, output: f64, loss: f64) {
        match candidate {
            true => self.candidate.label(&self.expected.candidate, output, loss),
            false => self.champion.label(&self.expected.champion, output, loss),
        }
    }

    /// Both answered the same request.
    pub(super) fn pair(&mut self, champion: f64, candidate: f64) {
        self.between.see(&self.expected.between, candidate - champion);
    }

    /// The label of such a request came.
    pub(super) fn pair_label(&mut self, champion: (f64, f64), candidate: (f64, f64)) {
        self.between.label(&self.expected.between, candidate.0 - champion.0, candidate.1 - champion.1);
    }

    /// What is estimated: worse is by more than `margin` times the champion's loss.
    pub(super) fn verdict(&self, margin: f64, must_win: bool) -> Option<EstimateVerdict> {
        let pairs = self.between.expected(&self.expected.between);
        let champion = self.champion.expected(&self.expected.champion);
        let candidate = self.candidate.expected(&self.expected.candidate);
        let (paired, found) = if pairs.rows + pairs.unknown >= LEAST_ROWS {
            (true, pairs)
        } else if champion.rows.min(candidate.rows) >= LEAST_ROWS {
            let both = Expected {
                rows: champion.rows.min(candidate.rows),
                mean: candidate.mean - champion.mean,
                radius: candidate.radius + champion.radius,
                unknown: candidate.unknown,
                labels: champion.labels.min(candidate.labels),
            };
            (false, both)
        } else {
            return None;
        };
        let usual = mean_loss(&self.expected.champion);
        let tolerance = (margin - 1.0) * usual;
        let (low, high) = (found.mean - found.radius, found.mean + found.radius);
        let unknown = found.unknown as f64 / (found.rows + found.unknown).max(1) as f64;
        let (outcome, words) = if unknown > MOST_UNKNOWN {
            let words = format!("{:.0} % of its answers are unlike any at the evaluation", 100.0 * unknown);
            (VerdictOutcome::Hold, words)
        } else if low > tolerance {
            (VerdictOutcome::Fail, "worse than allowed".to_owned())
        } else if high < if must_win { 0.0 } else { tolerance } {
            (VerdictOutcome::Pass, "not worse than allowed".to_owned())
        } else {
            (VerdictOutcome::Hold, "neither safe nor harmful".to_owned())
        };
        let basis = match (paired, found.labels) {
            (true, 0) => format!("{} copies", found.rows),
            (false, 0) => format!("{} requests of each arm", found.rows),
            (true, labels) => format!("{} copies, corrected by {labels} labels", found.rows),
            (false, labels) => format!("{} requests of each arm, corrected by {labels} labels", found.rows),
        };
        let explanation = format!(
            "loss is estimated to differ by {:+.4} [{low:+.4}, {high:+.4}] from {basis}: {words}",
            found.mean
        );
        let difference = Estimate { value: found.mean, low, high };
        Some(EstimateVerdict {
            difference,
            rows: found.rows,
            paired,
            labels: found.labels,
            unknown,
            outcome,
            explanation,
        })
    }
}

/// The mean loss of all rows that a table was learnt from.
fn mean_loss(table: &LossTable) -> f64 {
    let rows: u64 = table.cells.iter().map(|cell| cell.rows).sum();
    table.cells.iter().map(|cell| cell.rows as f64 * cell.mean).sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs spread over the unit interval; the truth is what the champion says, by chance.
    fn expected() -> ExpectedLosses {
        let rows: Vec<(f64, f64, f64)> = (0..2_000)
            .map(|row| {
                let champion = f64::from(row % 100) / 100.0;
                let candidate = (champion + f64::from(row % 7 - 3) * 0.01).clamp(0.0, 1.0);
                let label = f64::from(u8::from(f64::from(row * 37 % 100) / 100.0 < champion));
                (champion, candidate, label)
            })
            .collect();
        let table = |of: fn(f64, f64, f64) -> (f64, f64)| {
            let pairs: Vec<(f64, f64)> = rows.iter().map(|row| of(row.0, row.1, row.2)).collect();
            loss_table(&pairs).unwrap()
        };
        ExpectedLosses {
            against: steersman_domain::Version(1),
            candidate: table(|_, own, label| (own, (own - label).powi(2))),
            champion: table(|other, _, label| (other, (other - label).powi(2))),
            between: table(|other, own, label| {
                (own - other, (own - label).powi(2) - (other - label).powi(2))
            }),
            wrong: 0.0,
            differ: 0.0,
        }
    }

    fn judged(shift: impl Fn(f64) -> f64, label: bool) -> EstimateVerdict {
        let mut estimates = Estimates::new(&expected());
        for row in 0..3_000 {
            let champion = f64::from(row % 100) / 100.0;
            let candidate = shift(champion).clamp(0.0, 1.0);
            estimates.pair(champion, candidate);
            if label && row % 10 == 0 {
                let truth = f64::from(u8::from(f64::from(row / 10 * 37 % 100) / 100.0 < champion));
                let loss = |output: f64| (output - truth).powi(2);
                estimates.pair_label((champion, loss(champion)), (candidate, loss(candidate)));
            }
        }
        estimates.verdict(1.1, false).unwrap()
    }

    #[test]
    fn a_candidate_that_answers_as_at_the_evaluation_is_estimated_safe() {
        let same = judged(|output| output + 0.01, false);
        assert_eq!(
            (same.outcome, same.labels, same.unknown),
            (VerdictOutcome::Pass, 0, 0.0),
            "{}",
            same.explanation
        );
        let corrected = judged(|output| output + 0.01, true);
        assert_eq!(corrected.labels, 300);
        assert!(corrected.difference.value.abs() < 0.02, "{}", corrected.explanation);
    }

    #[test]
    fn answers_unlike_any_at_the_evaluation_decide_nothing_but_hold() {
        let broken = judged(|output| 1.0 - output, false);
        assert!(broken.unknown > 0.8 && broken.outcome == VerdictOutcome::Hold, "{}", broken.explanation);
        assert!(broken.explanation.ends_with("are unlike any at the evaluation"));
    }
}
