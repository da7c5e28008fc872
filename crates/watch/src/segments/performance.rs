//! The performance of each segment, against what the champion showed there.

use super::memory::{Memories, SegmentMemory, Told, Turn, label};
use super::{Segment, divide, split};
use crate::measure::{LossLimit, performance, tolerance};
use crate::monitor::share;
use steersman_domain::fact::Estimate;
use steersman_domain::{MonitorKind, Problem};
use steersman_ledger::state::ModelState;
use steersman_records::Table;
use steersman_stats::interval::normal_quantile;

/// Measures each segment on the labels of a window. Losses are weighed against the segment's own limit if `weighs`.
/// `whole` is the limit of all records, whose scale is that of the segments too.
pub(crate) fn weigh_performance(
    turn: Turn<'_>,
    segments: &[Segment],
    memories: &mut Memories,
    model: &ModelState,
    table: &Table,
    whole: Option<LossLimit>,
    weighs: bool,
) -> Result<Told, Problem> {
    let (mut measurements, mut facts) = (Vec::new(), Vec::new());
    let monitor = MonitorKind::Performance;
    let (_, alphas) = divide(share(turn.budget, monitor), monitor, segments);
    for ((segment, own), alpha) in segments.iter().zip(split(segments, table)?).zip(alphas) {
        let limit = limit(model, segment, segments.len(), whole);
        let mut found = performance(&model.spec, turn.window, &own, limit);
        label(&mut found.measurement, segment);
        found.measurement.revision = turn.revision;
        if weighs {
            let memory =
                memories.entry(segment.name.clone()).or_insert_with(|| SegmentMemory::new(turn.champion));
            let limit = limit.map(|limit| limit.limit / limit.scale);
            facts.extend(memory.performance.follow(turn.model, turn.champion, turn.window));
            facts.extend(memory.performance.observe(turn.model, &mut found, alpha, limit));
        }
        measurements.push(found.measurement);
    }
    Ok((measurements, facts))
}

/// The mean loss that is still acceptable in a segment: what the champion showed there at its evaluation (without one, what
/// the reference shows there) and the same drop as for all records. Where many segments have a limit, one of them is soon
/// too low by chance; so the upper end of each interval is that of the 95 % interval of all of them together (Bonferroni).
fn limit(model: &ModelState, segment: &Segment, count: usize, whole: Option<LossLimit>) -> Option<LossLimit> {
    let scale = whole?.scale;
    let champion = model.champion().and_then(|version| model.versions.get(&version));
    let evaluation = champion.and_then(|version| version.evaluation.as_ref());
    let shown = match evaluation {
        Some(evaluation) => evaluation.segments.get(&segment.name).copied(),
        None => {
            segment.profile.loss.map(|loss| Estimate { value: loss.value, low: loss.low, high: loss.high })
        }
    };
    let Estimate { value, high, .. } = shown?;
    let quantile = |share: f64| normal_quantile(1.0 - 0.025 / share).ok();
    let wider = quantile(count.max(1) as f64)? / quantile(1.0)?;
    let limit = value + wider * (high - value) + tolerance(&model.spec, value);
    (scale > 0.0).then(|| LossLimit { limit: limit.min(0.99 * scale), scale })
}
