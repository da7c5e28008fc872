//! What happened, in plain words: the important facts of the ledger as events that a person reads.

use jiff::Timestamp;
use serde::Serialize;
use steersman_domain::fact::{
    ApprovalStep, RolloutCommand, RolloutOutcome, RunTask, TripCause, VerdictOutcome,
};
use steersman_domain::{Entry, Fact, ModelName, Version};

/// How an event is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Things got better.
    Good,
    /// Things got worse.
    Bad,
    /// Something was done.
    Neutral,
}

impl Tone {
    /// The word in style sheets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Neutral => "neutral",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Position of the fact.
    pub seq: u64,
    /// The model.
    pub model: ModelName,
    /// What happened.
    pub title: String,
    /// Why, or how much.
    pub detail: String,
    /// How it is to be taken.
    pub tone: Tone,
}

/// Tells an entry, if it is one that people care about.
pub fn tell(entry: &Entry) -> Option<Event> {
    let model = entry.fact.model()?.clone();
    let (tone, title, detail) = words(&entry.fact)?;
    Some(Event { at: entry.time, seq: entry.seq, model, title, detail, tone })
}

/// Puts events of one moment together where they say the same of several columns, and leaves out what the end of an
/// incident says again. Events are in order.
pub fn gather(events: &[Event]) -> Vec<Event> {
    let mut gathered: Vec<Event> = Vec::new();
    let mut count = 1;
    for event in events {
        if let Some(last) = gathered.last_mut()
            && last.model == event.model
            && last.at == event.at
            && last.tone == event.tone
            && kind(&last.title) == kind(&event.title)
        {
            count += 1;
            if let (Some((kind, first)), Some((_, column))) =
                (last.title.split_once(SUBJECT), event.title.split_once(SUBJECT))
            {
                last.title = format!("{kind}{SUBJECT}{first}, {column}");
            } else if count == 2 {
                last.title = format!("{} (2)", last.title);
            } else {
                last.title = last.title.replace(&format!("({})", count - 1), &format!("({count})"));
            }
            continue;
        }
        if let Some(last) = gathered.last_mut()
            && (last.at, &last.model, &last.detail) == (event.at, &event.model, &event.detail)
        {
            // The same thing is told once: a signal, and the incident that it opened.
            last.title = format!("{}; {}", last.title, event.title.to_lowercase());
            continue;
        }
        count = 1;
        gathered.push(event.clone());
    }
    gathered
}

/// Stands between what a signal is about and its columns.
const SUBJECT: &str = " of ";

/// What a title says, without columns and counts.
fn kind(title: &str) -> &str {
    let signal = title.starts_with("Signal: ");
    let title = title.split(" (").next().unwrap_or(title);
    if signal { title.split(SUBJECT).next().unwrap_or(title) } else { title }
}

fn words(fact: &Fact) -> Option<(Tone, String, String)> {
    use Tone::{Bad, Good, Neutral};
    Some(match fact {
        Fact::ModelDeclared { spec, .. } => (
            Neutral,
            "Declared".to_owned(),
            format!("a {:?} model of team {}", spec.model.task, spec.model.team).to_lowercase(),
        ),
        Fact::ReferenceLearnt { rows, labelled, schema, .. } => (
            Neutral,
            "Reference learnt".to_owned(),
            format!("{rows} rows, {labelled} of them labelled, {} features", schema.features.len()),
        ),
        Fact::SignalRaised { measurement, explanation, .. } => {
            (Bad, format!("Signal: {}", subject(measurement)), explanation.clone())
        }
        Fact::SignalCleared { explanation, .. } => (Good, "Signal cleared".to_owned(), explanation.clone()),
        Fact::IncidentOpened { title, .. } => (Bad, "Incident opened".to_owned(), title.clone()),
        Fact::IncidentResolved { reason, .. } => (Good, "Incident resolved".to_owned(), reason.clone()),
        Fact::RunRequested { task, reason, .. } => match task {
            RunTask::Train { .. } => (Neutral, "Training asked for".to_owned(), reason.clone()),
            RunTask::Evaluate { .. } => return None,
        },
        Fact::RunFailed { reason, hint, .. } => (Bad, "Run failed".to_owned(), format!("{reason}; {hint}")),
        Fact::VersionRegistered { version, artifact, note, run, .. } => {
            let from = if run.is_some() { "trained: " } else { "brought by a person: " };
            (
                Neutral,
                format!("{version} registered"),
                format!("{from}{note} (artefact {})", artifact.short()),
            )
        }
        Fact::GateDecided { version, passed, reason, .. } => match passed {
            true => (Good, format!("{version} passed the evaluation gate"), reason.clone()),
            false => (Neutral, format!("{version} was refused at the evaluation gate"), reason.clone()),
        },
        Fact::RolloutRequested { version, skip, reason, .. } => {
            let without =
                if skip.is_empty() { String::new() } else { format!("without {}; ", skip.join(" and ")) };
            (Neutral, format!("A person asked for a rollout of {version}"), format!("{without}{reason}"))
        }
        Fact::RolloutStarted { candidate, champion, plan, .. } => {
            let stages: Vec<String> = plan.stages.iter().map(ToString::to_string).collect();
            (Neutral, format!("Rollout of {candidate} against {champion}"), stages.join(", "))
        }
        Fact::RolloutSteered { command, reason, .. } => {
            let (tone, title) = match command {
                RolloutCommand::Pause => (Neutral, "Rollout paused"),
                RolloutCommand::Resume => (Neutral, "Rollout goes on"),
                RolloutCommand::Abort => (Bad, "Rollout aborted"),
                RolloutCommand::Skip => (Neutral, "To go on without proof was asked for"),
            };
            (tone, title.to_owned(), reason.clone())
        }
        Fact::GuardEnded { kept, reason, .. } => match kept {
            true => (Good, "The new champion stays".to_owned(), reason.clone()),
            false => (Bad, "The old champion comes back".to_owned(), reason.clone()),
        },
        Fact::StageEntered { weight, mirror, stage, .. } => {
            let share = match mirror {
                _ if *weight == 0.0 && !mirror => "nothing yet, its server stands ready".to_owned(),
                true => "copies of all requests, its answers are not used".to_owned(),
                false => format!("{:.0} % of the requests", 100.0 * weight),
            };
            (Neutral, format!("Stage {}", stage + 1), format!("the candidate gets {share}"))
        }
        Fact::VerdictGiven { verdict, .. } => match verdict.outcome {
            VerdictOutcome::Pass => (Good, "Judged safe".to_owned(), verdict.explanation.clone()),
            VerdictOutcome::Fail => (Bad, "Judged harmful".to_owned(), verdict.explanation.clone()),
            VerdictOutcome::Hold => (Neutral, "Not decided".to_owned(), verdict.explanation.clone()),
            VerdictOutcome::Invalid => {
                (Bad, "Not judged: the split is broken".to_owned(), verdict.explanation.clone())
            }
        },
        Fact::RolloutFinished { outcome, exposed, reason, .. } => {
            let tone = if *outcome == RolloutOutcome::Promoted { Good } else { Bad };
            let exposed = format!("{exposed} requests were answered by the candidate");
            (tone, format!("Candidate {}", outcome.as_str()), format!("{reason}; {exposed}"))
        }
        Fact::ChampionChanged { version, previous, .. } => {
            (Good, format!("{version} serves"), after(*previous))
        }
        Fact::ServerFailed { version, reason, .. } => {
            (Bad, format!("Server of {version} failed"), reason.clone())
        }
        Fact::GatewayTripped { cause, exposed, .. } => {
            let why = match cause {
                TripCause::DeadMan => "the judge was silent for too long",
                TripCause::Budget => "its budget of exposed requests is used up",
            };
            (
                Bad,
                "The gateway took the candidate's traffic away".to_owned(),
                format!("{why}, after {exposed} requests"),
            )
        }
        Fact::ApprovalRequested { question, step, .. } => {
            (Neutral, format!("Approval needed {}", step_words(*step)), question.clone())
        }
        Fact::ApprovalDecided { approved, reason, .. } => {
            let (tone, title) = if *approved { (Good, "Approved") } else { (Bad, "Rejected") };
            (tone, title.to_owned(), reason.clone())
        }
        Fact::RecordsExpired { before, records, labels, .. } => {
            let what = format!("{records} records and {labels} labels from before {before}");
            (Neutral, "Old records dropped".to_owned(), what)
        }
        Fact::ErasureFinished { records, labels, .. } => {
            let what = format!(
                "{records} records and {labels} labels; snapshots that held them cannot be made again"
            );
            (Neutral, "Records erased".to_owned(), what)
        }
        Fact::PlatformStarted { .. }
        | Fact::LeadTaken { .. }
        | Fact::ErasureRequested { .. }
        | Fact::ReportIssued { .. }
        | Fact::SnapshotTaken { .. }
        | Fact::RunFinished { .. }
        | Fact::EvaluationFinished { .. }
        | Fact::BudgetGranted { .. }
        | Fact::RouteApplied { .. } => return None,
    })
}

fn subject(measurement: &steersman_domain::Measurement) -> String {
    let about = match measurement.column.is_empty() {
        true => measurement.monitor.to_string(),
        false => format!("{} of `{}`", measurement.monitor, measurement.column),
    };
    match &measurement.segment {
        Some(segment) => format!("{about} where {segment}"),
        None => about,
    }
}

fn after(previous: Option<Version>) -> String {
    previous.map_or("the first version".to_owned(), |previous| format!("in place of {previous}"))
}

fn step_words(step: ApprovalStep) -> &'static str {
    match step {
        ApprovalStep::BeforeStart => "before the start",
        ApprovalStep::BeforeFull => "before promotion",
        ApprovalStep::Hold => "to go on",
        ApprovalStep::Skip => "to go on without proof",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, title: &str) -> Event {
        let tone = Tone::Bad;
        let model = "m".parse().unwrap();
        Event {
            at: Timestamp::UNIX_EPOCH,
            seq,
            model,
            title: title.to_owned(),
            detail: seq.to_string(),
            tone,
        }
    }

    #[test]
    fn signals_of_one_moment_are_told_together() {
        let titles = [
            "Signal: missing of `a`",
            "Signal: missing of `b`",
            "Signal: drift of `a`",
            "Cleared",
            "Cleared",
            "Cleared",
        ];
        let events: Vec<Event> =
            titles.iter().enumerate().map(|(seq, title)| event(seq as u64, title)).collect();
        let told: Vec<String> = gather(&events).into_iter().map(|event| event.title).collect();
        assert_eq!(told, ["Signal: missing of `a`, `b`", "Signal: drift of `a`", "Cleared (3)"]);
    }
}
