//! The end of the demo: what happened, what it cost, where to look.

use super::flights::Flight;
use super::replay::Outcome;
use crate::learner::Learned;
use anyhow::Result;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use steersman_domain::ModelName;
use steersman_domain::fact::{RolloutOutcome, RunTask};
use steersman_ledger::state::{ModelState, RunStatus};
use steersman_server::Platform;

pub(crate) async fn print(
    platform: &Platform,
    name: &ModelName,
    flights: &[Flight],
    outcome: &Outcome,
    took: Duration,
    report: &Path,
    page: SocketAddr,
) -> Result<()> {
    let state = platform.state();
    let model = state.model(name)?;
    let verified = steersman_store::verify_dir(platform.dir(), None).await?;
    let mut out = std::io::stdout();
    writeln!(out, "\nThe year in short")?;
    for reign in &model.champions {
        let day = reign.since.strftime("%-d %b");
        let version = model.versions.get(&reign.version);
        let why = version.map_or("", |version| version.note.as_str());
        writeln!(out, "  {day:>6}  {} serves: {why}", reign.version)?;
    }
    let count = |wanted: RolloutOutcome| {
        model
            .rollouts
            .iter()
            .filter(|rollout| rollout.finished.as_ref().is_some_and(|end| end.outcome == wanted))
            .count()
    };
    writeln!(
        out,
        "  signals {}, incidents {}, trainings {}, rollouts: {} promoted, {} rolled back, {} withdrawn without proof",
        model.signals.len(),
        model.incidents.len(),
        model.runs.iter().filter(|run| matches!(run.task, RunTask::Train { .. })).count(),
        count(RolloutOutcome::Promoted),
        count(RolloutOutcome::RolledBack),
        count(RolloutOutcome::Aborted),
    )?;
    drill(&mut out, model, outcome)?;
    accuracy(&mut out, platform, name, model, flights, outcome)?;
    let training: f64 = model
        .runs
        .iter()
        .filter_map(|run| match (&run.task, &run.status) {
            (RunTask::Train { .. }, RunStatus::Finished { seconds, .. }) => Some(*seconds),
            _ => None,
        })
        .sum();
    writeln!(
        out,
        "  requests {}, of them {} without an answer; {:.1} s of training; {:.0} s in all",
        outcome.requests,
        outcome.failures,
        training,
        took.as_secs_f64()
    )?;
    writeln!(out, "  ledger: {} facts, every byte verified", verified.size)?;
    writeln!(out, "\nreport   {}", report.display())?;
    writeln!(out, "page     http://{page}/")?;
    writeln!(out, "verify   steersman verify log --dir {}", platform.dir().display())?;
    Ok(())
}

/// What became of the bad version.
fn drill(out: &mut impl std::io::Write, model: &ModelState, outcome: &Outcome) -> Result<()> {
    let rollout = model.rollouts.iter().find(|rollout| Some(rollout.candidate) == outcome.drill);
    let Some((rollout, end)) = rollout.and_then(|rollout| Some((rollout, rollout.finished.as_ref()?))) else {
        return Ok(writeln!(out, "  the drill's bad version was not judged before the year ended")?);
    };
    let hours = (end.at.as_second() - rollout.started_at.as_second()) / 3_600;
    writeln!(
        out,
        "  the drill's bad version {} was {} after {:.1} days; {} requests were exposed to it",
        rollout.candidate,
        end.outcome.as_str(),
        hours as f64 / 24.0,
        end.exposed
    )?;
    Ok(())
}

/// The Brier score of what was served, next to that of the first version had it served all year.
fn accuracy(
    out: &mut impl std::io::Write,
    platform: &Platform,
    name: &ModelName,
    model: &ModelState,
    flights: &[Flight],
    outcome: &Outcome,
) -> Result<()> {
    let Some(first) = model.champions.first() else { return Ok(()) };
    let Some(run) = model.versions.get(&first.version).and_then(|version| version.run.as_ref()) else {
        return Ok(());
    };
    let learned = Learned::load(&platform.run_artifact(name, run))?;
    let changed = model.champions.get(1).map(|reign| reign.since);
    let (mut served, mut stayed, mut count) = (0.0, 0.0, 0.0);
    for flight in flights.iter().filter(|flight| changed.is_some_and(|changed| flight.time >= changed)) {
        let Some(score) = outcome.scores.get(&flight.id) else { continue };
        let truth = f64::from(u8::from(flight.late));
        served += (score - truth).powi(2);
        stayed += (learned.probability_of(&super::flights::cells(flight)) - truth).powi(2);
        count += 1.0;
    }
    if count > 0.0 {
        writeln!(
            out,
            "  Brier score since the first change: {:.4}; had {} stayed: {:.4} ({:+.1} %)",
            served / count,
            first.version,
            stayed / count,
            100.0 * (served - stayed) / stayed
        )?;
    }
    Ok(())
}
