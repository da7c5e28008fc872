//! The performance of each segment, against what the champion showed there.

use super::memory::{self, Memories};
use super::{Segment, Told, Turn, label, members, split};
use crate::measure::{LossLimit, performance, tolerance};
use steersman_domain::Problem;
use steersman_domain::fact::Estimate;
use steersman_records::Table;
use steersman_stats::interval::normal_quantile;

/// Measures each segment on the labels of a window. Losses are weighed against the segment's own limit if `weighs`.
pub(crate) fn weigh_performance(
    turn: Turn<'_>,
    memories: &mut Memories,
    table: &Table,
    weighs: bool,
) -> Result<Told, Problem> {
    let (mut measurements, mut facts) = (Vec::new(), Vec::new());
    let tables = split(table, &members(turn.segments, table))?;
    for ((segment, own), budget) in turn.segments.iter().zip(tables).zip(turn.budgets()) {
        let limit = limit(turn, segment);
        let mut found = performance(&turn.model.spec, turn.window, &own, limit);
        label(&mut found.measurement, segment);
        found.measurement.revision = turn.revision;
        if weighs {
            let memory = memory::of(memories, segment, turn.champion());
            facts.extend(memory.monitors.follow(turn.name, turn.champion(), turn.window));
            let limit = limit.map(|limit| limit.limit / limit.scale);
            facts.extend(memory.monitors.weigh(turn.name, budget, &mut found, limit));
        }
        measurements.push(found.measurement);
    }
    Ok((measurements, facts))
}

/// The mean loss that is still acceptable in a segment: what the champion showed there at its evaluation (without one, what
/// the reference shows there) and the same drop as for all records, on the scale of these. Where many segments have a limit, one
/// of them is soon too low by chance; so the upper end of each interval is that of the 95 % interval of all of them together
/// (Bonferroni).
pub(super) fn limit(turn: Turn<'_>, segment: &Segment) -> Option<LossLimit> {
    let scale = turn.limit?.scale;
    let champion = turn.champion().and_then(|version| turn.model.versions.get(&version));
    let evaluation = champion.and_then(|version| version.evaluation.as_ref());
    let shown = match evaluation {
        Some(evaluation) => evaluation.segments.get(&segment.name).copied(),
        None => {
            segment.profile.loss.map(|loss| Estimate { value: loss.value, low: loss.low, high: loss.high })
        }
    };
    let Estimate { value, high, .. } = shown?;
    let quantile = |share: f64| normal_quantile(1.0 - 0.025 / share).ok();
    let wider = quantile(turn.segments.len().max(1) as f64)? / quantile(1.0)?;
    let limit = value + wider * (high - value) + tolerance(&turn.model.spec, value);
    (scale > 0.0).then(|| LossLimit { limit: limit.min(0.99 * scale), scale })
}
