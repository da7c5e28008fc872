//! Evidence of all columns together, and when it becomes signals. Pure.
//!
//! One detector with one share of the budget serves all columns and all their aspects: what is found in one column is
//! weighed against all that was looked at. When it goes off, e-BH names the columns; those in which something matters become
//! one signal for each kind of finding, about the clearest of them and naming the others. Then the evidence is forgotten, so
//! that the next alarm needs evidence of its own.
//!
//! Forecasts follow the windows, but not those of a column whose signal is open: a change must not become ordinary while
//! it is being looked at. After `NEW_NORMAL` windows they follow again.

use crate::measure::{Evidence, Finding};
use crate::monitor::{another_serves, signal_id};
use crate::reference::{Holds, Levels};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{Fact, ModelName, MonitorKind, SignalId, Version, Window};
use steersman_stats::calibration::{AspectEvidence, JointDetector, JointVerdict};

/// A signal is cleared after so many quiet windows in a row.
pub(crate) const QUIET_WINDOWS: u32 = 3;
/// A change that has lasted so many windows is what forecasts follow from then on.
const NEW_NORMAL: u32 = 14;

/// What the monitors of all columns remember from window to window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JointMemory {
    /// The champion that the evidence is about.
    champion: Option<Version>,
    columns: Vec<String>,
    alpha: f64,
    detector: Option<JointDetector>,
    signals: Vec<Open>,
    /// How far forecasts have followed; none before the first window.
    pub(crate) levels: Option<Levels>,
    /// What the last windows held.
    #[serde(default)]
    pub(crate) holds: Holds,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    signal: SignalId,
    monitor: MonitorKind,
    columns: Vec<String>,
    /// Windows since it was raised.
    windows: u32,
    /// Windows in a row in which nothing mattered.
    quiet: u32,
}

impl Open {
    fn about(&self, found: &Finding) -> bool {
        self.monitor == found.measurement.monitor && self.columns.contains(&found.measurement.column)
    }
}

impl JointMemory {
    /// Monitors that have seen nothing of this champion.
    pub fn new(champion: Option<Version>) -> Self {
        Self { champion, ..Self::default() }
    }

    /// Begins anew with another champion; open signals are cleared.
    pub fn follow(&mut self, model: &ModelName, champion: Option<Version>, window: Window) -> Vec<Fact> {
        if self.champion == champion {
            return Vec::new();
        }
        self.restart(model, champion, window, &another_serves(champion))
    }

    /// Begins anew; open signals are cleared for this reason.
    pub(crate) fn restart(
        &mut self,
        model: &ModelName,
        champion: Option<Version>,
        window: Window,
        why: &str,
    ) -> Vec<Fact> {
        let signals = std::mem::take(&mut self.signals);
        *self = Self::new(champion);
        signals.into_iter().map(|open| cleared(model, open, window, why.to_owned())).collect()
    }

    /// Whether the forecasts of a column follow the window that is over.
    pub fn follows(&self, column: &str) -> bool {
        self.signals
            .iter()
            .all(|open| open.windows >= NEW_NORMAL || !open.columns.iter().any(|own| own == column))
    }

    /// Takes the findings of a window in: sets which are alarming, and says which signals go off or are over. `columns` are
    /// all that are watched, in the same order every time. Each column had so many `tests` at least: those that found nothing
    /// to speak of have no finding, but they were made, and count as a p-value of 1.
    pub fn observe(
        &mut self,
        model: &ModelName,
        findings: &mut [&mut Finding],
        columns: Vec<String>,
        tests: usize,
        alpha: f64,
        window: Window,
    ) -> Vec<Fact> {
        let Some(verdict) = self.weigh(findings, columns, tests, alpha) else { return Vec::new() };
        let mut facts = Vec::new();
        let named: Vec<&str> = verdict
            .columns
            .iter()
            .filter_map(|&column| self.columns.get(column))
            .map(String::as_str)
            .collect();
        let clearest = |name: &&str| {
            let own = findings.iter().map(|found| &**found);
            let own = own.filter(|found| found.matters && found.measurement.column == **name);
            own.min_by(|a, b| least(a).total_cmp(&least(b)))
        };
        let mut counting: Vec<&Finding> = named.iter().filter_map(clearest).collect();
        if !counting.is_empty()
            && let Some(detector) = &mut self.detector
        {
            detector.reset();
        }
        counting.retain(|found| !self.signals.iter().any(|open| open.about(found)));
        counting.sort_by(|a, b| least(a).total_cmp(&least(b)));
        while let Some(clearest) = counting.first() {
            let monitor = clearest.measurement.monitor;
            let (own, rest): (Vec<&Finding>, Vec<&Finding>) =
                counting.into_iter().partition(|found| found.measurement.monitor == monitor);
            let (open, fact) = raise(model, &own, &verdict, alpha);
            self.signals.push(open);
            facts.push(fact);
            counting = rest;
        }
        facts.extend(self.calm(model, findings, window));
        for found in findings.iter_mut() {
            let open = self.signals.iter().any(|open| open.about(found));
            found.measurement.alarming = found.matters && open;
            found.measurement.details.insert("evidence".to_owned(), verdict.log_m);
            found.measurement.details.insert("conclusive".to_owned(), -alpha.ln());
        }
        facts
    }

    fn weigh(
        &mut self,
        findings: &[&mut Finding],
        columns: Vec<String>,
        tests: usize,
        alpha: f64,
    ) -> Option<JointVerdict> {
        if self.columns != columns || self.alpha != alpha || self.detector.is_none() {
            self.detector = JointDetector::new(alpha, columns.len()).ok();
            (self.columns, self.alpha) = (columns, alpha);
        }
        let mut aspects: BTreeMap<&str, Vec<AspectEvidence>> = BTreeMap::new();
        for found in findings {
            if let Evidence::Aspects(own) = &found.evidence {
                aspects.entry(&found.measurement.column).or_default().extend(own);
            }
        }
        let of = |name: &String| {
            let mut own = aspects.remove(name.as_str()).unwrap_or_default();
            own.resize(own.len().max(tests), AspectEvidence::of_window(1.0, false));
            own
        };
        let evidence: Vec<Vec<AspectEvidence>> = self.columns.iter().map(of).collect();
        self.detector.as_mut()?.observe(&evidence).ok()
    }

    /// Clears signals that were quiet for some windows.
    fn calm(&mut self, model: &ModelName, findings: &[&mut Finding], window: Window) -> Vec<Fact> {
        let mut facts = Vec::new();
        for mut open in std::mem::take(&mut self.signals) {
            let loud = findings.iter().any(|found| found.matters && open.about(found));
            open.quiet = if loud { 0 } else { open.quiet + 1 };
            open.windows += 1;
            if open.quiet < QUIET_WINDOWS {
                self.signals.push(open);
                continue;
            }
            let explanation = format!("{QUIET_WINDOWS} windows in a row were in their ordinary range");
            facts.push(cleared(model, open, window, explanation));
        }
        facts
    }
}

/// The smallest p-value that counts.
fn least(found: &Finding) -> f64 {
    match &found.evidence {
        Evidence::Aspects(aspects) => {
            aspects.iter().filter(|aspect| aspect.matters).map(|aspect| aspect.p_value).fold(1.0, f64::min)
        }
        _ => 1.0,
    }
}

/// A signal of findings of one kind, the clearest first; there is at least one.
fn raise(model: &ModelName, found: &[&Finding], verdict: &JointVerdict, alpha: f64) -> (Open, Fact) {
    let mut measurement = found[0].measurement.clone();
    measurement.alarming = true;
    measurement.details.insert("evidence".to_owned(), verdict.log_m);
    measurement.details.insert("conclusive".to_owned(), -alpha.ln());
    let (monitor, signal) = (measurement.monitor, signal_id(model, &measurement));
    let columns: Vec<String> = found.iter().map(|found| found.measurement.column.clone()).collect();
    let together = match &columns[1..] {
        [] => String::new(),
        others => format!("; so it is with `{}`", others.join("`, `")),
    };
    let explanation = format!("{}{together}", measurement.explanation);
    let open = Open { signal: signal.clone(), monitor, columns, windows: 0, quiet: 0 };
    (
        open,
        Fact::SignalRaised { model: model.clone(), signal, explanation, measurement: Box::new(measurement) },
    )
}

fn cleared(model: &ModelName, open: Open, window: Window, explanation: String) -> Fact {
    Fact::SignalCleared { model: model.clone(), signal: open.signal, window, explanation }
}
