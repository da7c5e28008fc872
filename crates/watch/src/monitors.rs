//! The monitors of one part of a model's records, all of them or a segment: what they remember, and how they weigh a window.
//! Pure.
//!
//! Findings about columns are weighed together, those of drift and missing values and those of quality each with one share of
//! the budget ([`crate::joint`]); what is about no column has evidence of its own ([`crate::monitor`]).

use crate::joint::JointMemory;
use crate::measure::{Finding, Measured};
use crate::monitor::{Memory, share};
use crate::quality;
use crate::reference::ReferenceProfile;
use serde::{Deserialize, Serialize};
use steersman_domain::{Fact, ModelName, MonitorKind, Schema, Version, Window};

/// What these monitors remember from window to window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Monitors {
    /// Drift and missing values of all columns, and how far the reference was followed.
    pub(crate) inputs: JointMemory,
    /// The quality of the data of all columns.
    #[serde(default)]
    pub(crate) quality: JointMemory,
    pub(crate) performance: Memory,
    /// Performance before the labels.
    #[serde(default)]
    pub(crate) estimate: Memory,
}

impl Monitors {
    /// Monitors that have seen nothing of this champion.
    pub(crate) fn new(champion: Option<Version>) -> Self {
        let (joint, alone) = (JointMemory::new(champion), Memory::new(champion));
        Self { inputs: joint.clone(), quality: joint, performance: alone.clone(), estimate: alone }
    }

    /// Begins anew with another champion; open signals are cleared.
    pub(crate) fn follow(
        &mut self,
        model: &ModelName,
        champion: Option<Version>,
        window: Window,
    ) -> Vec<Fact> {
        let joint = [&mut self.inputs, &mut self.quality].into_iter();
        let alone = [&mut self.performance, &mut self.estimate].into_iter();
        let facts = joint.flat_map(|memory| memory.follow(model, champion, window));
        facts.chain(alone.filter_map(|memory| memory.follow(model, champion, window))).collect()
    }

    /// Begins anew; open signals are cleared for this reason.
    pub(crate) fn restart(
        &mut self,
        model: &ModelName,
        champion: Option<Version>,
        window: Window,
        why: &str,
    ) -> Vec<Fact> {
        let joint = [&mut self.inputs, &mut self.quality].into_iter();
        let alone = [&mut self.performance, &mut self.estimate].into_iter();
        let facts = joint.flat_map(|memory| memory.restart(model, champion, window, why));
        facts.chain(alone.filter_map(|memory| memory.restart(model, champion, window, why))).collect()
    }

    /// Whether the reference was followed to a window yet.
    pub(crate) fn has_followed(&self) -> bool {
        self.inputs.levels.is_some()
    }

    /// Lets what was learnt from the reference go on where it had been.
    pub(crate) fn resume(&self, learnt: &mut ReferenceProfile) {
        if let Some(levels) = &self.inputs.levels {
            learnt.resume(levels, &self.inputs.holds);
        }
    }

    /// Remembers how far the reference was followed.
    pub(crate) fn has_come_to(&mut self, learnt: &ReferenceProfile) {
        self.inputs.levels = Some(learnt.levels());
        self.inputs.holds = learnt.holds();
    }

    /// Weighs what was found in the columns of a window, and lets the reference follow it. `budget` is what all these monitors
    /// may spend.
    pub(crate) fn weigh_columns(
        &mut self,
        model: &ModelName,
        budget: f64,
        schema: &Schema,
        learnt: &mut ReferenceProfile,
        measured: &mut Measured,
        window: Window,
    ) -> Vec<Fact> {
        let inputs = [MonitorKind::Drift, MonitorKind::Missing].as_slice();
        let columns = learnt.columns.keys().cloned().collect();
        let mut facts = Vec::new();
        for (memory, monitors, columns, tests) in [
            (&mut self.inputs, inputs, columns, 0),
            (&mut self.quality, &quality::MONITORS, quality::columns(schema), quality::TESTS),
        ] {
            let own = |found: &&mut Finding| monitors.contains(&found.measurement.monitor);
            let mut findings: Vec<&mut Finding> = measured.findings.iter_mut().filter(own).collect();
            let alpha = monitors.first().map_or(0.0, |monitor| share(budget, *monitor));
            facts.extend(memory.observe(model, &mut findings, columns, tests, alpha, window));
        }
        learnt.follow(measured, |column| self.inputs.follows(column) && self.quality.follows(column));
        self.has_come_to(learnt);
        facts
    }

    /// Weighs a finding about performance, as it was or as it is expected. `limit` is the loss that is still acceptable, in
    /// units of its scale.
    pub(crate) fn weigh(
        &mut self,
        model: &ModelName,
        budget: f64,
        finding: &mut Finding,
        limit: Option<f64>,
    ) -> Option<Fact> {
        let monitor = finding.measurement.monitor;
        let memory = match monitor {
            MonitorKind::Estimate => &mut self.estimate,
            _ => &mut self.performance,
        };
        memory.observe(model, finding, share(budget, monitor), limit)
    }
}
