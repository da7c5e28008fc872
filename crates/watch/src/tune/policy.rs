//! The policies that are compared, and what a spec says for each.

use super::history::rounded;
use super::table::Window;
use steersman_domain::Period;
use steersman_domain::spec::{FalseAlarms, Trigger};

/// What starts a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Start {
    /// Nothing.
    Never,
    /// So many chunks after the last.
    Every(usize),
    /// The e-detector of realised loss at a budget.
    Harm(FalseAlarms),
    /// So many chunks in which the loss was clearly worse than acceptable.
    Violations(Trigger),
    /// ADWIN on losses.
    Adwin,
    /// DDM on errors.
    Ddm,
    /// Page-Hinkley on standardised losses.
    PageHinkley,
    /// The joint detector of changed inputs at a budget.
    Drift(FalseAlarms),
}

impl Start {
    pub(super) fn name(self) -> String {
        match self {
            Self::Never => "never".to_owned(),
            Self::Every(1) => "every chunk".to_owned(),
            Self::Every(chunks) => format!("every {chunks} chunks"),
            Self::Harm(budget) => format!("harm {budget}"),
            Self::Violations(trigger) => trigger.to_string(),
            Self::Adwin => "adwin".to_owned(),
            Self::Ddm => "ddm".to_owned(),
            Self::PageHinkley => "page_hinkley".to_owned(),
            Self::Drift(budget) => format!("drift {budget}"),
        }
    }
}

/// A policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Policy {
    pub(super) start: Start,
    /// Whether a candidate must win first.
    pub(super) gate: bool,
    /// Whether what serves is trained again on all labels, those that the gate kept back among them.
    pub(super) refit: bool,
    pub(super) window: Window,
}

/// The budget at which policies with a schedule are watched.
pub(super) const WATCH: FalseAlarms = FalseAlarms { count: 1, per: Period::from_days(30) };

impl Policy {
    /// The policy that never trains.
    pub(super) const NEVER: Self =
        Self { start: Start::Never, gate: false, refit: false, window: Window::Rolling };

    pub(super) fn name(&self) -> String {
        match self.start {
            Start::Never => "never".to_owned(),
            start => {
                let gate = match (self.gate, self.refit) {
                    (true, true) => ", gate and refit",
                    (true, false) => ", gate",
                    (false, _) => "",
                };
                format!("{}{gate}, {}", start.name(), self.window.as_str())
            }
        }
    }

    /// All policies. Detectors of inputs need a few windows of history.
    pub(super) fn all(probabilities: bool, with_drift: bool) -> Vec<Self> {
        let harm =
            [7, 30, 90].map(|days| Start::Harm(FalseAlarms { count: 1, per: Period::from_days(days) }));
        let violations = [(1, 1), (2, 3), (2, 5)];
        let violations = violations.map(|(violated, of)| Start::Violations(Trigger { violated, of }));
        let errors = if probabilities { Start::Ddm } else { Start::PageHinkley };
        let mut starts: Vec<Start> = [1, 2, 4, 8].map(Start::Every).to_vec();
        starts.extend(harm);
        starts.extend(violations);
        starts.extend([Start::Adwin, errors]);
        starts.extend(with_drift.then_some(Start::Drift(WATCH)));
        let of = |start: Start| {
            let gates = [(true, false), (false, false), (true, true)];
            // Where a gate costs too much of the training data, refitting is what to compare with.
            let compared = matches!(start, Start::Every(_) | Start::Harm(_));
            gates.into_iter().filter(move |(_, refit)| compared || !refit).flat_map(move |(gate, refit)| {
                Window::ALL.map(move |window| Self { start, gate, refit, window })
            })
        };
        std::iter::once(Self::NEVER).chain(starts.into_iter().flat_map(of)).collect()
    }

    /// Whether a spec can ask for it: candidates are always judged before they serve, and alarms are the platform's own.
    pub(super) fn expressible(&self) -> bool {
        match self.start {
            Start::Never => true,
            Start::Every(_) | Start::Harm(_) | Start::Violations(_) => self.gate && !self.refit,
            Start::Adwin | Start::Ddm | Start::PageHinkley | Start::Drift(_) => false,
        }
    }

    /// The lines of a spec, for chunks of this length; `history` is the time that a rolling window spans.
    pub(super) fn spec(&self, chunk: Period, history: Period, holdout: usize) -> String {
        let times = |count: usize| rounded(Period::from_seconds(chunk.seconds() * count as i64));
        let chunk = times(1);
        let budget = match self.start {
            Start::Harm(budget) => budget,
            _ => WATCH,
        };
        let mut lines = format!("[watch]\nwindow = \"{chunk}\"\nfalse_alarms = \"{budget}\"\n");
        if self.start == Start::Never {
            return lines + "# No [retrain]: the first version stays, and alarms tell a person.\n";
        }
        lines.push_str("\n[retrain]\ncommand = [\"./train\", \"{snapshot}\", \"{artifact}\"]  # yours\n");
        let trigger = match self.start {
            Start::Every(chunks) => {
                lines.push_str(&format!("schedule = \"{}\"\n", times(chunks)));
                "\"100 of 100\"  # alarms tell a person, the schedule trains".to_owned()
            }
            Start::Violations(trigger) => format!("\"{trigger}\""),
            _ => "\"1 of 1\"".to_owned(),
        };
        lines.push_str(&format!("trigger = {trigger}\ncooldown = \"{chunk}\"\n"));
        let weekly = (7 * 86_400 / chunk.seconds()).clamp(3, 1_000);
        lines.push_str(&format!("max_per_week = {weekly}\n"));
        match self.window {
            Window::Rolling => lines.push_str(&format!("history = \"{}\"\n", rounded(history))),
            Window::Expanding => lines.push_str("# No history: all labelled records are learnt from.\n"),
        }
        lines + &format!("holdout = \"{}\"\n", times(holdout))
    }
}
