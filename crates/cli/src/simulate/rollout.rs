//! `steersman simulate rollout`: strategies side by side, through the judge and the rule that production goes by.

use super::print::print;
use super::traffic::{self, Columns, Figures};
use crate::output::Deliver;
use crate::progress::{Steps, steps};
use crate::up::read_spec;
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use steersman_decide::rollout::plan;
use steersman_decide::simulate::{Change, Simulator, Sizes};
use steersman_domain::fact::RolloutPlan;
use steersman_domain::simulation::{
    RolloutSimulation, SimulatedOutcome, SimulatedStrategy, SimulatedTraffic,
};
use steersman_domain::spec::{Guardrail, Strategy};
use steersman_domain::{ModelSpec, Problem};
use steersman_prove::simulation::summary;

/// The most rollouts of a kind.
const MOST: u64 = 1_000_000;
/// What stands in for a spec where none is given.
const NO_SPEC: &str = "[model]\nname='simulated'\ntask='binary'\nprediction='prediction'\nlabel={column='label'}\n\
                       [data]\nreference='none'\ntime='time'\n";
const STRATEGIES: [Strategy; 5] =
    [Strategy::Canary, Strategy::Shadow, Strategy::BlueGreen, Strategy::Ab, Strategy::ChampionChallenger];

/// Which rollout strategy suits your traffic? False rollbacks, times to a decision, requests exposed.
///
/// Thousands of rollouts of candidates that are as good as the champion, better, or worse by a known size go through the
/// judge and the rule that production goes by. The strategy of SPEC comes first, others stand beside it. Traffic is that of
/// `--traffic` (predictions with times, and if they are there with status, label and the time of the label), else that of
/// the spec's reference, else what the figures below say; a figure that is given goes before one that was measured.
///
/// Examples:
///   steersman simulate rollout model.toml
///   steersman simulate rollout model.toml --traffic 'records/churn/*.parquet' --html rollouts.html
///   steersman simulate rollout --per-day 200000 --errors 0.002 --wrong 0.08 --delay 2d
///   steersman simulate rollout model.toml --strategies canary,shadow --stages 'slow: shadow 1d, 1%, 10%, 50%, 100%'
///   steersman simulate rollout model.toml --worse 1.5,3 --rollouts 10000 --json - | jq .strategies
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RolloutArgs {
    /// A model's spec, whose `[rollout]` is tried first [default: a canary with the default guardrails].
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Predictions as they were asked for: a CSV, JSON lines, Parquet or Arrow file, a folder or a pattern.
    #[arg(long, value_name = "DATA")]
    traffic: Option<String>,
    /// Only rows for which this SQL condition holds.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    figures: Figures,
    /// Strategies beside that of the spec, with commas between them; `none` for none.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = strategies, default_value = "all")]
    strategies: Vec<Named>,
    /// A canary with these stages as well, such as `slow: 1%, 10%, 100%` (repeatable).
    #[arg(long = "stages", value_name = "NAME: STAGES", value_parser = staged)]
    staged: Vec<(String, Vec<String>)>,
    /// How many times the champion's failed, unanswered or slow calls a bad candidate has.
    #[arg(long, value_delimiter = ',', value_name = "RATIOS", value_parser = worse, default_value = "2,10")]
    worse: Vec<f64>,
    /// How many times the champion's wrong predictions a bad candidate has.
    #[arg(long, value_delimiter = ',', value_name = "RATIOS", value_parser = worse, default_value = "1.25,1.5")]
    worse_predictions: Vec<f64>,
    /// How many times the champion's wrong predictions a better candidate has.
    #[arg(long, value_name = "RATIO", value_parser = better, default_value = "0.8")]
    better_predictions: f64,
    /// Rollouts of each kind.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=MOST))]
    rollouts: u64,
    /// The same seed gives the same numbers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    deliver: Deliver,
}

/// The strategies that a word means.
#[derive(Debug, Clone)]
struct Named(Vec<Strategy>);

fn strategies(text: &str) -> Result<Named, String> {
    match text.trim() {
        "all" => Ok(Named(STRATEGIES.to_vec())),
        "none" => Ok(Named(Vec::new())),
        name => {
            let found = STRATEGIES.into_iter().find(|strategy| strategy.as_str() == name.replace('-', "_"));
            let names = STRATEGIES.map(Strategy::as_str).join(", ");
            Ok(Named(vec![found.ok_or_else(|| format!("there are {names}, and `all` and `none`"))?]))
        }
    }
}

fn staged(text: &str) -> Result<(String, Vec<String>), String> {
    let parts = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    let (name, stages) = parts.ok_or("write a name, `:` and the stages: `slow: 1%, 10%, 100%`")?;
    Ok((name.trim().to_owned(), stages.split(',').map(|stage| stage.trim().to_owned()).collect()))
}

fn ratio(text: &str, fits: impl Fn(f64) -> bool, hint: &str) -> Result<f64, String> {
    let ratio = text.trim().parse().ok().filter(|ratio| fits(*ratio));
    ratio.ok_or_else(|| format!("`{text}` is not {hint}"))
}

fn worse(text: &str) -> Result<f64, String> {
    ratio(text, |ratio| ratio > 1.0 && ratio <= 1_000.0, "a ratio above 1 and at most 1000")
}

fn better(text: &str) -> Result<f64, String> {
    ratio(text, |ratio| (0.0..1.0).contains(&ratio), "a ratio from 0 to below 1")
}

pub(crate) fn run(args: &RolloutArgs) -> Result<()> {
    let started = Instant::now();
    let (spec, folder) = match &args.spec {
        Some(path) => read_spec(path).map(|(spec, folder)| (spec, Some(folder)))?,
        None => (ModelSpec::parse(NO_SPEC)?, None),
    };
    let bar = steps("reading");
    let reference = folder.as_ref().map(|folder| folder.join(&spec.data.reference).display().to_string());
    let source = args.traffic.clone().or(reference.filter(|_| args.figures.per_day.is_none()));
    let (traffic, mut notes) =
        traffic::read(source.as_deref(), args.condition.as_deref(), &args.columns, &args.figures, &spec)?;
    if args.traffic.is_none() && source.is_some() {
        notes.insert(
            0,
            "Traffic is that of the spec's reference; give the real one with `--traffic`.".to_owned(),
        );
    }
    let tried = tried(args, &spec)?;
    bar.say("simulating");
    let strategies = simulate(args, &tried, &traffic, &bar)?;
    bar.finish();
    if !spec.rollout.means.is_empty() || !spec.rollout.segments.is_empty() {
        notes.push(
            "Means and segments of the spec are left out: nothing is known of their spread.".to_owned(),
        );
    }
    let found = RolloutSimulation {
        summary: strategies.first().map(summary).unwrap_or_default(),
        traffic,
        rollouts: args.rollouts,
        seed: args.seed,
        strategies,
        notes,
    };
    let page = || steersman_prove::simulation::html(&found, env!("CARGO_PKG_VERSION"));
    if args.deliver.write(&found, page)? {
        print(&found, started.elapsed().as_secs_f64());
        if let Some(path) = &args.deliver.html {
            crate::output::note(&format!("\nreport     {}", path.display()));
        }
    }
    Ok(())
}

/// A strategy that is tried.
struct Tried {
    name: String,
    spec: ModelSpec,
    plan: RolloutPlan,
}

/// The spec's own strategy, then the others; each must be one that a spec could have.
fn tried(args: &RolloutArgs, spec: &ModelSpec) -> Result<Vec<Tried>, Problem> {
    let of = |name: &str, spec: ModelSpec| {
        // Nothing is calibrated here: a wrong prediction is a loss of 1 at any scale.
        let plan = plan(&spec, (None, None), false);
        Tried { name: name.to_owned(), spec, plan }
    };
    let like = |strategy: Strategy, stages: Vec<String>, name: &str| -> Result<Tried, Problem> {
        let mut other = spec.clone();
        let rollout = &mut other.rollout;
        rollout.strategy = strategy;
        let at = |problem: Problem| problem.field(format!("--stages {name}"));
        rollout.stages = stages.iter().map(|stage| stage.parse()).collect::<Result<_, _>>().map_err(at)?;
        if strategy.must_win() && !rollout.guardrails.contains(&Guardrail::Performance) {
            rollout.guardrails.push(Guardrail::Performance);
        }
        // Who is told apart by what does not matter to the simulation.
        if strategy == Strategy::Ab && rollout.sticky.is_none() {
            rollout.sticky = Some("x-user-id".to_owned());
        }
        other.rollout.check().map_err(at)?;
        Ok(of(name, other))
    };
    let mut tried = Vec::new();
    if args.spec.is_some() {
        tried.push(of(&format!("spec: {}", spec.rollout.strategy.as_str()), spec.clone()));
    }
    for strategy in args.strategies.iter().flat_map(|named| &named.0) {
        let known = tried
            .iter()
            .any(|other: &Tried| other.plan.strategy == *strategy && other.plan.stages == strategy.stages());
        if !known {
            tried.push(like(*strategy, Vec::new(), strategy.as_str())?);
        }
    }
    for (name, stages) in &args.staged {
        tried.push(like(Strategy::Canary, stages.clone(), name)?);
    }
    if tried.is_empty() {
        return Err(Problem::invalid("no strategy is left to simulate")
            .field("--strategies")
            .hint("name a SPEC, a strategy, or stages"));
    }
    Ok(tried)
}

/// All kinds of rollouts of all strategies, on all processors.
fn simulate(
    args: &RolloutArgs,
    tried: &[Tried],
    traffic: &SimulatedTraffic,
    bar: &Steps,
) -> Result<Vec<SimulatedStrategy>> {
    let sizes = Sizes {
        calls: args.worse.clone(),
        predictions: args.worse_predictions.clone(),
        better: args.better_predictions,
    };
    let simulators: Vec<Simulator> =
        tried.iter().map(|one| Simulator::new(&one.spec, &one.plan, traffic)).collect();
    let changes: Vec<Vec<Change>> = tried.iter().map(|one| sizes.changes(&one.plan)).collect();
    let jobs: Vec<(&Simulator, Change)> = simulators
        .iter()
        .zip(&changes)
        .flat_map(|(simulator, changes)| changes.iter().map(move |change| (simulator, *change)))
        .collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let claim = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        jobs.get(at).map(|job| (at, job))
    };
    let work = || {
        let mut outcomes: Vec<(usize, SimulatedOutcome)> = Vec::new();
        while let Some((at, (simulator, change))) = claim() {
            outcomes.push((at, simulator.outcome(*change, args.rollouts, args.seed)));
            bar.at(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        }
        outcomes
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let mut outcomes: Vec<(usize, SimulatedOutcome)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work();
        for other in others {
            outcomes.extend(other.join().map_err(|_| anyhow!("a simulation ended early"))?);
        }
        anyhow::Ok(outcomes)
    })?;
    outcomes.sort_by_key(|(at, _)| *at);
    let mut outcomes = outcomes.into_iter().map(|(_, outcome)| outcome);
    let strategy = |((one, simulator), changes): ((&Tried, &Simulator), &Vec<Change>)| {
        simulator.strategy(&one.name, outcomes.by_ref().take(changes.len()).collect())
    };
    Ok(tried.iter().zip(&simulators).zip(&changes).map(strategy).collect())
}
