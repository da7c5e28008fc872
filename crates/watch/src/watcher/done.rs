//! What is on disk of one model, and how it is read and written.

use crate::joint::JointMemory;
use crate::monitors::Monitors;
use crate::operation::Operation;
use crate::quality::Intake;
use crate::segments::Memories;
use crate::silence::Silence;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use steersman_domain::{ErrorKind, ModelName, MonitorKind, Period, Problem, Version, Window};
use steersman_store::{MeasurementQuery, MonitorState, Store};

/// Names of the memories of all records in the store.
const INPUTS: &str = "inputs";
const QUALITY: &str = "quality";
const PERFORMANCE: &str = "performance";
const ESTIMATE: &str = "estimate";
const TOGETHER: &str = "together";
const OPERATION: &str = "operation";
/// Name of what is remembered of how long nothing came.
pub(super) const SILENCE: &str = "silence";
/// Name of what did not get in.
pub(super) const INTAKE: &str = "intake";
/// How the names of segments' memories begin.
const SEGMENT: &str = "segment ";

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// Closed windows, with the records they were measured on and the revision.
    pub(super) closed: BTreeMap<Window, (u64, u32)>,
    /// Windows whose performance was measured, with the labels it rests on and the revision.
    pub(super) labelled: BTreeMap<Window, (u64, u32)>,
    /// Windows whose labels are not final, and when to look again.
    pub(super) waiting: BTreeMap<Window, Timestamp>,
    pub(super) revised_at: Option<Timestamp>,
    /// The last window of which it was said that nothing came.
    pub(super) silent: Option<Window>,
    /// The monitors of all records.
    pub(super) monitors: Monitors,
    /// All features together.
    pub(super) together: JointMemory,
    pub(super) operation: Option<Operation>,
    /// How long nothing came; it goes on while a batch is written.
    pub(super) silence: Silence,
    /// The monitors of each segment.
    pub(super) segments: Memories,
}

impl Done {
    /// What is in the store of a model with windows of this length, and what did not get in.
    pub(super) async fn load(
        store: &Store,
        name: &ModelName,
        champion: Option<Version>,
        window: Period,
    ) -> Result<(Self, Intake), Problem> {
        let (monitors, together) = (Monitors::new(champion), JointMemory::new(champion));
        let mut done = Self { monitors, together, ..Self::default() };
        let mut intake = Intake::default();
        for row in store.windows(name, Timestamp::MIN).await? {
            done.closed.insert(row.window, (row.rows, row.revision));
        }
        let query =
            MeasurementQuery { monitor: Some(MonitorKind::Performance), since: None, limit: u32::MAX };
        for measurement in store.measurements(name, &query).await? {
            done.labelled.insert(measurement.window, (measurement.rows, measurement.revision));
        }
        for row in store.monitor_states(name).await? {
            if let Some(segment) = row.name.strip_prefix(SEGMENT) {
                done.segments.insert(segment.to_owned(), remembered(&row)?);
                continue;
            }
            match row.name.as_str() {
                INPUTS => done.monitors.inputs = remembered(&row)?,
                QUALITY => done.monitors.quality = remembered(&row)?,
                PERFORMANCE => done.monitors.performance = remembered(&row)?,
                ESTIMATE => done.monitors.estimate = remembered(&row)?,
                TOGETHER => done.together = remembered(&row)?,
                OPERATION => done.operation = Some(remembered(&row)?),
                SILENCE => done.silence = remembered(&row)?,
                INTAKE => intake = remembered(&row)?,
                _ => {}
            }
        }
        // Windows of another length, from before the spec was changed, stay as they are.
        done.closed.retain(|closed, _| closed.next().start == window.after(closed.start));
        Ok((done, intake))
    }

    /// What is to be written of the monitors.
    pub(super) fn states(&self, name: &ModelName) -> Result<Vec<MonitorState>, Problem> {
        let monitors = &self.monitors;
        let mut states = vec![
            stored(name, INPUTS, &monitors.inputs)?,
            stored(name, QUALITY, &monitors.quality)?,
            stored(name, PERFORMANCE, &monitors.performance)?,
            stored(name, ESTIMATE, &monitors.estimate)?,
            stored(name, TOGETHER, &self.together)?,
            stored(name, SILENCE, &self.silence)?,
        ];
        if let Some(operation) = &self.operation {
            states.push(stored(name, OPERATION, operation)?);
        }
        for (segment, memory) in &self.segments {
            states.push(stored(name, &format!("{SEGMENT}{segment}"), memory)?);
        }
        Ok(states)
    }
}

/// What a monitor had in memory.
fn remembered<T: DeserializeOwned>(row: &MonitorState) -> Result<T, Problem> {
    serde_json::from_str(&row.state).map_err(|error| {
        let words = format!("the state of monitor `{}`: {error}", row.name);
        Problem::new(ErrorKind::Corrupt, words)
    })
}

/// A memory, to be kept under a name.
pub(super) fn stored(
    model: &ModelName,
    name: &str,
    memory: &impl Serialize,
) -> Result<MonitorState, Problem> {
    let state = serde_json::to_string(memory)
        .map_err(|error| Problem::internal(format!("a monitor's state cannot be written: {error}")))?;
    Ok(MonitorState { model: model.clone(), name: name.to_owned(), state })
}
