//! What the monitors of each segment remember, and how they come to stand where they are.

use super::operation::Operation;
use super::{Segment, members, split};
use crate::measure::measure;
use crate::monitors::Monitors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{Fact, ModelName, Problem, Schema, Version, Window};
use steersman_records::Table;

/// What the monitors of a segment remember from window to window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SegmentMemory {
    #[serde(flatten)]
    pub(super) monitors: Monitors,
    #[serde(default)]
    pub(super) operation: Operation,
}

/// The memories of all segments, by name.
pub(crate) type Memories = BTreeMap<String, SegmentMemory>;

/// The memory of a segment; a new one has seen nothing of this champion.
pub(super) fn of<'a>(
    memories: &'a mut Memories,
    segment: &Segment,
    champion: Option<Version>,
) -> &'a mut SegmentMemory {
    memories.entry(segment.name.clone()).or_insert_with(|| SegmentMemory {
        monitors: Monitors::new(champion),
        operation: Operation::default(),
    })
}

/// Lets all memories be about this champion. Signals of segments that are not watched any more are cleared, and what was
/// remembered of them is forgotten.
pub(crate) fn follow(
    segments: &[Segment],
    memories: &mut Memories,
    model: &ModelName,
    champion: Option<Version>,
    window: Window,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, memory) in memories.iter_mut() {
        if segments.iter().any(|segment| segment.name == *name) {
            facts.extend(memory.monitors.follow(model, champion, window));
        } else {
            let why = "this segment is not watched any more";
            facts.extend(memory.monitors.restart(model, champion, window, why));
            facts.extend(memory.operation.restart(model, window, why));
        }
    }
    facts
}

/// The segments whose forecasts stand where the reference ends.
pub(crate) fn behind(segments: &[Segment], memories: &Memories) -> Vec<String> {
    let known = |name: &String| memories.get(name).is_some_and(|memory| memory.monitors.has_followed());
    segments.iter().map(|segment| segment.name.clone()).filter(|name| !known(name)).collect()
}

/// Leads the forecasts of these segments through the windows between the reference and now.
pub(crate) fn catch_up(
    segments: &[Segment],
    behind: &[String],
    memories: &mut Memories,
    champion: Option<Version>,
    schema: &Schema,
    windows: impl Iterator<Item = Result<(Window, Table), Problem>>,
) -> Result<(), Problem> {
    let own: Vec<Segment> =
        segments.iter().filter(|segment| behind.contains(&segment.name)).cloned().collect();
    let mut profiles: Vec<_> = own.iter().map(|segment| segment.profile.clone()).collect();
    for missed in windows {
        let (window, table) = missed?;
        for (profile, rows) in profiles.iter_mut().zip(split(&table, &members(&own, &table))?) {
            let measured = measure(profile, schema, window, &rows);
            profile.follow(&measured, |_| true);
        }
    }
    for (segment, profile) in own.iter().zip(&profiles) {
        of(memories, segment, champion).monitors.has_come_to(profile);
    }
    Ok(())
}
