//! Intervals of mean losses, the front of policies that none beats, and the recommendation.

use std::ops::Range;
use steersman_domain::tuning::{BestSchedule, PolicyResult};

/// How the recommended policy is chosen.
pub(super) const RULE: &str = "of the policies that a spec can ask for, the one with the fewest trainings whose loss is within one standard error (of the difference, chunk by chunk) of the lowest";

/// 97.5 % quantile of the normal law.
const Z: f64 = 1.959_963_984_540_054;

/// Rows by chunk, as weights.
pub(super) struct Weights(Vec<f64>);

impl Weights {
    pub(super) fn new(chunks: &[Range<usize>]) -> Self {
        Self(chunks.iter().map(|rows| rows.len() as f64).collect())
    }

    /// The mean loss over rows.
    pub(super) fn mean(&self, losses: &[f64]) -> f64 {
        let total: f64 = self.0.iter().sum();
        self.0.iter().zip(losses).map(|(rows, loss)| rows * loss).sum::<f64>() / total.max(1.0)
    }

    /// The standard error of the mean: that of the circular block bootstrap (Politis and Romano, 1992), which needs no
    /// resamples. With `T` chunks and blocks of `b = ceil(T^(1/3)) + 1` it is the root mean square over all `T` circular
    /// blocks of the block's mean minus the mean, over `sqrt(T / b)`. Chunks with more rows weigh more.
    fn error(&self, losses: &[f64]) -> f64 {
        let count = losses.len();
        if count < 2 {
            return 0.0;
        }
        let mean = self.mean(losses);
        let weight = self.0.iter().sum::<f64>() / count as f64;
        let parts: Vec<f64> =
            self.0.iter().zip(losses).map(|(rows, loss)| rows / weight * (loss - mean)).collect();
        let length = ((count as f64).cbrt().ceil() as usize + 1).min(count);
        let block = |start: usize| {
            let sum: f64 = (start..start + length).map(|place| parts[place % count]).sum();
            (sum / length as f64).powi(2)
        };
        let variance = (0..count).map(block).sum::<f64>() / count as f64;
        (variance * length as f64 / count as f64).sqrt()
    }

    /// The mean's 95 % interval.
    pub(super) fn interval(&self, losses: &[f64]) -> (f64, f64) {
        let (mean, half) = (self.mean(losses), Z * self.error(losses));
        (mean - half, mean + half)
    }

    /// The standard error of the difference of two means of the same chunks.
    pub(super) fn error_of_difference(&self, own: &[f64], other: &[f64]) -> f64 {
        let differences: Vec<f64> = own.iter().zip(other).map(|(own, other)| own - other).collect();
        self.error(&differences)
    }
}

/// Marks the policies that no other beats: none has a lower loss with as few trainings, or as low a loss with fewer.
pub(super) fn mark_front(results: &mut [PolicyResult]) {
    let points: Vec<(usize, f64)> = results.iter().map(|result| (result.trainings, result.loss)).collect();
    for (place, result) in results.iter_mut().enumerate() {
        let (trainings, loss) = (result.trainings, result.loss);
        let beats = |(other, &(cost, lower)): (usize, &(usize, f64))| {
            let better = cost <= trainings && lower <= loss && (cost < trainings || lower < loss);
            better || (cost == trainings && lower == loss && other < place)
        };
        result.pareto = !points.iter().enumerate().any(beats);
    }
}

/// The place of the recommended policy, by [`RULE`].
pub(super) fn recommend(results: &[PolicyResult]) -> usize {
    let possible = || results.iter().enumerate().filter(|(_, result)| result.expressible);
    let lowest = possible().map(|(_, result)| result.loss).fold(f64::INFINITY, f64::min);
    let near = possible().filter(|(_, result)| result.loss - lowest <= result.error);
    let order = |a: &PolicyResult, b: &PolicyResult| {
        a.trainings.cmp(&b.trainings).then(a.loss.total_cmp(&b.loss)).then(a.promotions.cmp(&b.promotions))
    };
    near.min_by(|a, b| order(a.1, b.1)).map_or(0, |(place, _)| place)
}

/// The finding in one sentence.
pub(super) fn summary(results: &[PolicyResult], chosen: usize, best: &[BestSchedule]) -> String {
    let (Some(never), Some(found)) = (results.first(), results.get(chosen)) else { return String::new() };
    let percent = |loss: f64| 100.0 * (loss / never.loss - 1.0);
    let least = best.iter().map(|schedule| schedule.loss).fold(never.loss, f64::min);
    let hindsight = format!("the best schedule in hindsight {:+.1} %", percent(least));
    if found.trainings == 0 {
        return format!(
            "retraining is not worth its trainings here: no policy is clearly better than never ({hindsight})"
        );
    }
    format!(
        "`{}` changes the loss by {:+.1} % against never retraining, with {} and {} ({hindsight})",
        found.name,
        percent(found.loss),
        counted(found.trainings, "training"),
        counted(found.promotions, "promotion"),
    )
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A policy that is clearly better, although no spec can ask for it.
pub(super) fn better_but_not_expressible(results: &[PolicyResult], chosen: usize) -> Option<String> {
    let possible = results.iter().filter(|result| result.expressible);
    let lowest = possible.map(|result| result.loss).fold(f64::INFINITY, f64::min);
    let best = results.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    let found = results.get(chosen)?;
    let why = match (best.refit, best.gate) {
        (true, _) => {
            "trains again on all labels after a candidate won, which a spec cannot ask for: what the gate keeps from training is worth much here, so a shorter `holdout` may help"
        }
        (false, true) => "trains by the alarms of a detector that a spec cannot ask for",
        (false, false) => "lets candidates serve without a comparison, which a spec cannot ask for",
    };
    (!best.expressible && lowest - best.loss > 2.0 * best.error).then(|| {
        format!("`{}` has a lower loss ({:.4} against {:.4}) but {why}", best.name, best.loss, found.loss)
    })
}

/// Whether the drift alarm was a reason to retrain.
pub(super) fn about_drift(results: &[PolicyResult]) -> Option<String> {
    let drift = results.iter().find(|result| result.trigger.starts_with("drift"))?;
    (drift.alarms > 0).then(|| {
        format!(
            "changed inputs alarmed {}, {} of them while performance was ordinary: drift says that inputs changed, not that a new model would be better",
            counted(drift.alarms, "time"),
            drift.false_alarms
        )
    })
}
