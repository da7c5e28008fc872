//! Delivery figures: how often, how fast and how safely versions got to production. All from facts.

use jiff::Timestamp;
use serde::Serialize;
use steersman_domain::fact::{RolloutOutcome, RunTask};
use steersman_ledger::state::{ModelState, RunStatus};

/// A figure, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it says.
    pub name: &'static str,
    /// The figure with its unit, or why it cannot be computed.
    pub value: String,
    /// What it counts.
    pub meaning: &'static str,
    /// Whether there is a figure.
    pub computable: bool,
}

fn figure(name: &'static str, meaning: &'static str, value: Result<String, &'static str>) -> Figure {
    let computable = value.is_ok();
    Figure { name, value: value.unwrap_or_else(str::to_owned), meaning, computable }
}

/// The figures of a model.
pub fn figures(model: &ModelState, now: Timestamp) -> Vec<Figure> {
    let ended = |outcome: RolloutOutcome| {
        model
            .rollouts
            .iter()
            .filter(move |rollout| rollout.finished.as_ref().is_some_and(|end| end.outcome == outcome))
    };
    let (promoted, back, aborted) = (
        ended(RolloutOutcome::Promoted).count(),
        ended(RolloutOutcome::RolledBack).count(),
        ended(RolloutOutcome::Aborted).count(),
    );
    let finished = promoted + back + aborted;
    let exposed: u64 = model
        .rollouts
        .iter()
        .filter_map(|rollout| rollout.finished.as_ref())
        .filter(|end| end.outcome != RolloutOutcome::Promoted)
        .map(|end| end.exposed)
        .sum();
    let leads: Vec<i64> = model
        .champions
        .iter()
        .filter_map(|reign| Some(seconds(model.versions.get(&reign.version)?.registered_at, reign.since)))
        .collect();
    let restored: Vec<i64> = model
        .incidents
        .iter()
        .filter_map(|incident| Some(seconds(incident.opened_at, incident.resolved.as_ref()?.0)))
        .collect();
    let weeks = seconds(model.declared_at, now) as f64 / 604_800.0;
    let changes = model.champions.len().saturating_sub(1) as f64;
    let trainings: Vec<f64> = model
        .runs
        .iter()
        .filter_map(|run| match (&run.task, &run.status) {
            (RunTask::Train { .. }, RunStatus::Finished { seconds, .. }) => Some(*seconds),
            _ => None,
        })
        .collect();
    vec![
        figure(
            "Changes",
            "how often another version came to serve",
            match weeks >= 1.0 {
                true => Ok(format!("{:.1} in 30 days", changes / weeks * 30.0 / 7.0)),
                false => Err("less than a week has passed"),
            },
        ),
        figure(
            "Lead time",
            "from a version's registration until it serves, median",
            median(leads).map(period).ok_or("no version has served yet"),
        ),
        figure(
            "Failed changes",
            "rollouts that ended with the candidate withdrawn, all before it served everybody",
            match finished {
                0 => Err("no rollout has ended yet"),
                _ => Ok(format!("{} of {finished}", back + aborted)),
            },
        ),
        figure(
            "Exposed requests",
            "requests that candidates answered which were then withdrawn",
            Ok(exposed.to_string()),
        ),
        figure(
            "Time to restore",
            "from an incident's opening to its end, median",
            median(restored).map(period).ok_or("no incident has ended yet"),
        ),
        figure(
            "Training",
            "trainings that ended well, and the time they took together",
            Ok(format!("{} in {:.1} s", trainings.len(), trainings.iter().sum::<f64>())),
        ),
    ]
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied().filter(|_| !values.is_empty())
}

/// A length of time for people.
pub fn period(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{:.1} h", seconds as f64 / 3_600.0),
        _ => format!("{:.1} days", seconds as f64 / 86_400.0),
    }
}
