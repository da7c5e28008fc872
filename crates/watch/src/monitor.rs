//! Evidence over windows of one monitor, and when it becomes a signal. Pure.
//!
//! Each monitor has an e-detector whose alarm level is its share of the model's false-alarm budget: see [`share`]. A signal
//! is raised when the evidence is there *and* what was found matters; it is cleared after some windows in a row in which
//! it did not.

use crate::joint::QUIET_WINDOWS;
use crate::measure::{Evidence, Finding};
use serde::{Deserialize, Serialize};
use steersman_domain::{Fact, Measurement, ModelName, MonitorKind, SignalId, Version, Window};
use steersman_stats::detector::{Detector, HarmDetector};

/// What a monitor remembers from window to window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The champion that the evidence is about.
    pub champion: Option<Version>,
    detector: Detector,
    harm: Option<HarmDetector>,
    signal: Option<SignalId>,
    quiet: u32,
}

/// The share of a false-alarm budget `alpha` that one monitor may use. Performance has one half. Of the other half, one
/// half goes to the inputs: three quarters of it to drift and missing values of all columns, a quarter to how the features
/// hang together. A quarter goes to the quality of the data of all columns together, an eighth to the estimate before the
/// labels, and an eighth to operation, divided among its four monitors.
pub fn share(alpha: f64, monitor: MonitorKind) -> f64 {
    match monitor {
        MonitorKind::Performance => alpha / 2.0,
        MonitorKind::Drift | MonitorKind::Missing => 3.0 * alpha / 16.0,
        MonitorKind::Joint => alpha / 16.0,
        MonitorKind::Unseen
        | MonitorKind::Range
        | MonitorKind::Constant
        | MonitorKind::Stale
        | MonitorKind::Duplicates
        | MonitorKind::Types
        | MonitorKind::Schema => alpha / 8.0,
        MonitorKind::Estimate => alpha / 16.0,
        MonitorKind::Volume | MonitorKind::Errors | MonitorKind::Latency | MonitorKind::Cost => alpha / 64.0,
        MonitorKind::Weak => 0.0,
    }
}

/// Why signals are cleared when the champion changes.
pub(crate) fn another_serves(champion: Option<Version>) -> String {
    let serves = champion.map_or("another version".to_owned(), |version| version.to_string());
    format!("{serves} serves now, and windows are compared with what it was trained on")
}

/// The id of a signal about a measurement.
pub(crate) fn signal_id(model: &ModelName, measurement: &Measurement) -> SignalId {
    let start = measurement.window.start.to_string();
    let mut causes = vec![model.as_str(), measurement.monitor.as_str(), &measurement.column, &start];
    causes.extend(measurement.segment.as_deref());
    SignalId::derive(&causes)
}

impl Memory {
    /// A monitor that has seen nothing of this champion.
    pub fn new(champion: Option<Version>) -> Self {
        Self { champion, ..Self::default() }
    }

    /// The open signal.
    pub fn signal(&self) -> Option<&SignalId> {
        self.signal.as_ref()
    }

    /// Begins anew with another champion; an open signal is cleared.
    pub fn follow(&mut self, model: &ModelName, champion: Option<Version>, window: Window) -> Option<Fact> {
        if self.champion == champion {
            return None;
        }
        self.restart(model, champion, window, &another_serves(champion))
    }

    /// Begins anew; an open signal is cleared for this reason.
    pub(crate) fn restart(
        &mut self,
        model: &ModelName,
        champion: Option<Version>,
        window: Window,
        why: &str,
    ) -> Option<Fact> {
        let signal = self.signal.take();
        *self = Self::new(champion);
        signal.map(|signal| Fact::SignalCleared {
            model: model.clone(),
            signal,
            window,
            explanation: why.to_owned(),
        })
    }

    /// Takes a finding in: sets whether it is alarming, and says whether a signal goes off or is over. `limit` is the
    /// loss that is still acceptable, in units of its scale.
    pub fn observe(
        &mut self,
        model: &ModelName,
        finding: &mut Finding,
        alpha: f64,
        limit: Option<f64>,
    ) -> Option<Fact> {
        let (log_m, alarms) = match &finding.evidence {
            Evidence::None | Evidence::Aspects(_) => return None,
            Evidence::LogE(log_e) => {
                self.detector.observe(*log_e);
                (self.detector.log_m(), self.detector.alarms(alpha))
            }
            Evidence::Losses(losses) => {
                let harm = match (&mut self.harm, limit) {
                    (Some(harm), Some(limit)) if harm.limit() == limit => harm,
                    (slot, Some(limit)) => slot.insert(HarmDetector::new(limit).ok()?),
                    (_, None) => return None,
                };
                harm.observe(losses);
                (harm.log_m(), harm.alarms(alpha))
            }
        };
        finding.measurement.details.insert("evidence".to_owned(), log_m);
        finding.measurement.details.insert("conclusive".to_owned(), -alpha.ln());
        let on = self.signal.is_some() || alarms;
        finding.measurement.alarming = on && finding.matters;
        match (&self.signal, finding.matters) {
            (None, true) if alarms => Some(self.raise(model, finding)),
            (Some(_), false) => self.calm(model, finding.measurement.window),
            _ => {
                self.quiet = 0;
                None
            }
        }
    }

    fn raise(&mut self, model: &ModelName, finding: &Finding) -> Fact {
        let measurement = &finding.measurement;
        let signal = signal_id(model, measurement);
        self.signal = Some(signal.clone());
        self.quiet = 0;
        Fact::SignalRaised {
            model: model.clone(),
            signal,
            explanation: measurement.explanation.clone(),
            measurement: Box::new(measurement.clone()),
        }
    }

    fn calm(&mut self, model: &ModelName, window: Window) -> Option<Fact> {
        self.quiet += 1;
        if self.quiet < QUIET_WINDOWS {
            return None;
        }
        self.quiet = 0;
        self.detector.reset();
        if let Some(harm) = &mut self.harm {
            harm.reset();
        }
        self.signal.take().map(|signal| Fact::SignalCleared {
            model: model.clone(),
            signal,
            window,
            explanation: format!("{QUIET_WINDOWS} windows in a row were as they should be"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::Period;
    use steersman_domain::measurement::Reading;

    fn finding(day: i64, log_e: f64, matters: bool) -> Finding {
        let at = steersman_domain::time::from_micros(day * 86_400_000_000);
        let measurement = Measurement {
            monitor: MonitorKind::Drift,
            column: "temp".to_owned(),
            segment: None,
            metric: "jensen_shannon".to_owned(),
            window: Window::holding(at, Period::from_days(1)),
            revision: 0,
            reading: Reading::of(0.3),
            ordinary: None,
            rows: 100,
            maturity: None,
            details: Default::default(),
            alarming: false,
            explanation: "`temp` moved".to_owned(),
        };
        Finding { measurement, evidence: Evidence::LogE(log_e), matters }
    }

    #[test]
    fn a_signal_needs_evidence_and_effect_and_is_cleared_when_calm() {
        let model: ModelName = "m".parse().unwrap();
        let mut memory = Memory::new(None);
        let mut observe = |day, log_e, matters| {
            let fact = memory.observe(&model, &mut finding(day, log_e, matters), 1.0 / 30.0, None);
            fact.map(|fact| fact.kind())
        };
        assert_eq!(observe(0, 9.0, false), None); // certain, but too small to matter
        assert_eq!(observe(1, -9.0, true), None); // large, but no evidence is left
        assert_eq!(observe(2, 2.0, true), None);
        assert_eq!(observe(3, 2.0, true), Some("signal.raised"));
        assert_eq!(observe(4, 2.0, true), None);
        assert_eq!(observe(5, 0.0, false), None);
        assert_eq!(observe(6, 0.0, false), None);
        assert_eq!(observe(7, 0.0, false), Some("signal.cleared"));
    }
}
