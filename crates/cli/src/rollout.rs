//! `steersman rollout`: how one goes, and what people may do to it.

use crate::client::{Server, text, whoami};
use crate::output::{Output, json, note, table};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json as object};
use steersman_domain::fact::RolloutCommand;
use steersman_domain::simulation::SimulatedStrategy;
use steersman_domain::{ModelName, RolloutId, Version};
use steersman_prove::simulation::summary;

/// How a rollout goes, and what you may do to it: start, pause, resume, skip, abort.
///
/// `steersman rollouts` lists them. Harm rolls a candidate back whatever else was asked for, also while it is paused.
///
/// Examples:
///   steersman rollout show flight-delay
///   steersman rollout start flight-delay v7
///   steersman rollout pause rol-0123456789ab --reason "holiday traffic"
///   steersman rollout abort rol-0123456789ab --reason "complaints from support"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(ShowArgs),
    Start(StartArgs),
    Pause(SteerArgs),
    /// Lets a paused rollout go on.
    ///
    /// Example:
    ///   steersman rollout resume rol-0123456789ab
    #[command(verbatim_doc_comment)]
    Resume(SteerArgs),
    /// Withdraws the candidate. After its promotion, as long as the old champion stands ready, brings that one back.
    ///
    /// Example:
    ///   steersman rollout abort rol-0123456789ab --reason "complaints from support"
    #[command(verbatim_doc_comment)]
    Abort(SteerArgs),
    /// Goes to the next stage without the proof that this one waits for. Where rollouts need approval, this does too.
    ///
    /// Example:
    ///   steersman rollout skip rol-0123456789ab --reason "a hot fix, checked by hand"
    #[command(verbatim_doc_comment)]
    Skip(SteerArgs),
}

/// The rollout of a model that is under way, or the time after a promotion; else how one would go.
///
/// Example:
///   steersman rollout show flight-delay
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct ShowArgs {
    /// The model.
    model: ModelName,
    #[command(flatten)]
    server: Server,
}

/// Asks for a rollout of a registered version.
///
/// Examples:
///   steersman rollout start flight-delay v7
///   steersman rollout start flight-delay v5 --skip fence --reason "the upstream that broke it is repaired"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct StartArgs {
    /// The model.
    model: ModelName,
    /// The version.
    version: Version,
    /// A safeguard to go without: evaluation, shadow or fence; can be given twice.
    #[arg(long, requires = "reason")]
    skip: Vec<String>,
    /// Why; is written to the ledger.
    #[arg(long)]
    reason: Option<String>,
    /// Who asks, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

/// Holds a rollout in its stage. Harm still rolls it back.
///
/// Example:
///   steersman rollout pause rol-0123456789ab --reason "holiday traffic"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct SteerArgs {
    /// The rollout, as `steersman rollouts` shows it.
    rollout: String,
    /// Why; is written to the ledger.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who wants it, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(args: &RolloutArgs) -> Result<()> {
    match &args.what {
        What::Show(args) => show(args).await,
        What::Start(args) => start(args).await,
        What::Pause(args) => steer(args, RolloutCommand::Pause).await,
        What::Resume(args) => steer(args, RolloutCommand::Resume).await,
        What::Abort(args) => steer(args, RolloutCommand::Abort).await,
        What::Skip(args) => steer(args, RolloutCommand::Skip).await,
    }
}

async fn steer(args: &SteerArgs, command: RolloutCommand) -> Result<()> {
    let rollout = RolloutId::parse(&args.rollout)?;
    let body = object!({"by": args.by, "reason": args.reason});
    let path = format!("/rollouts/{rollout}/{}", command.as_str());
    let answer = args.server.post(&path, &body).await?;
    if args.server.output == Output::Json {
        return json(&answer);
    }
    note(&match command {
        RolloutCommand::Pause => {
            format!("{rollout} stays where it is; `steersman rollout resume {rollout}` lets it go on")
        }
        RolloutCommand::Resume => format!("{rollout} goes on"),
        RolloutCommand::Abort => format!("{rollout} is aborted: the champion gets all requests"),
        RolloutCommand::Skip => {
            format!("{rollout} goes on without proof, once whoever must agree has agreed")
        }
    });
    Ok(())
}

async fn start(args: &StartArgs) -> Result<()> {
    let reason = args.reason.as_deref().unwrap_or_default();
    let body = object!({"by": args.by, "version": args.version, "skip": args.skip, "reason": reason});
    let answer = args.server.post(&format!("/models/{}/rollouts", args.model), &body).await?;
    match args.server.output {
        Output::Json => json(&answer),
        Output::Table => {
            note(&format!("a rollout of {} is asked for", args.version));
            Ok(())
        }
    }
}

async fn show(args: &ShowArgs) -> Result<()> {
    let path = format!("/models/{}", args.model);
    let rollouts = args.server.get(&format!("{path}/rollouts")).await?;
    let last = rollouts.as_array().and_then(|rollouts| rollouts.last()).cloned().unwrap_or_default();
    let guarded = last["guard"].is_object() && last["guard"]["ended"].is_null();
    let judged = last.is_object() && (last["finished"].is_null() || guarded);
    let verdict = match judged {
        true => args.server.get(&format!("{path}/verdict")).await?,
        false => Value::Null,
    };
    let waits = !judged || last["stages"].as_array().is_none_or(Vec::is_empty);
    let forecast = match waits {
        true => args.server.get(&format!("{path}/forecast")).await?,
        false => Value::Null,
    };
    if args.server.output == Output::Json {
        let rollout = if judged { last } else { Value::Null };
        return json(&object!({"rollout": rollout, "verdict": verdict, "forecast": forecast}));
    }
    if judged {
        course(&last, guarded);
        evidence(&verdict["detail"]);
    } else {
        note(&format!("no rollout of {} is under way", args.model));
    }
    if waits {
        note(&match serde_json::from_value::<Option<SimulatedStrategy>>(forecast)? {
            Some(forecast) => format!("if one started now: {}", summary(&forecast)),
            None => "how one would go cannot be said before a version serves and a window of traffic is over"
                .to_owned(),
        });
    }
    Ok(())
}

/// Where a rollout is.
fn course(rollout: &Value, guarded: bool) {
    let (id, candidate, champion) = (&rollout["rollout"], &rollout["candidate"], &rollout["champion"]);
    note(&format!("{}  {} against {}", text(id), text(candidate), text(champion)));
    let plan = &rollout["plan"];
    if guarded {
        let until = text(&rollout["guard"]["until"]);
        return note(&format!("{} serves; {} stands ready until {until}", text(candidate), text(champion)));
    }
    let entered = rollout["stages"].as_array().and_then(|stages| stages.last());
    let now = entered.and_then(|stage| stage["stage"].as_u64());
    let stages = plan["stages"].as_array().into_iter().flatten().enumerate().map(|(place, stage)| {
        let stage = text(stage);
        if now == Some(place as u64) { format!("[{stage}]") } else { stage }
    });
    let since =
        entered.map_or("not begun".to_owned(), |stage| format!("since {}", text(&stage["entered_at"])));
    note(&format!("{}: {} ({since})", text(&plan["strategy"]), stages.collect::<Vec<_>>().join(", ")));
    let holds = |steered: &&Value| steered["command"] == "pause" || steered["command"] == "resume";
    let last = rollout["steered"].as_array().into_iter().flatten().rfind(holds);
    if let Some(pause) = last.filter(|last| last["command"] == "pause") {
        note(&format!("paused at {}: {}", text(&pause["at"]), text(&pause["reason"])));
    }
    for asked in rollout["approvals"].as_array().into_iter().flatten().filter(|one| one["answer"].is_null()) {
        note(&format!("waits for an answer: {}", text(&asked["question"])));
    }
}

/// How far the proofs are.
fn evidence(verdict: &Value) {
    if verdict.is_null() {
        return;
    }
    let share = |evidence: &Value, conclusive: &Value| match (evidence.as_f64(), conclusive.as_f64()) {
        (Some(evidence), Some(conclusive)) if conclusive > 0.0 => {
            format!("{:.0} %", (100.0 * evidence / conclusive).clamp(0.0, 100.0))
        }
        _ => "-".to_owned(),
    };
    let row = |one: &Value| {
        let subject = one["subject"].as_str().map_or(String::new(), |subject| format!(", {subject}"));
        vec![
            text(&one["guardrail"]) + &subject,
            text(&one["outcome"]),
            share(&one["safety"], &one["proof"]),
            share(&one["harm"], &one["conclusive"]),
            format!("{}/{}", one["champion_events"], one["champion_trials"]),
            format!("{}/{}", one["candidate_events"], one["candidate_trials"]),
            text(&one["pairs"]),
        ]
    };
    let rows: Vec<Vec<String>> = verdict["guardrails"].as_array().into_iter().flatten().map(row).collect();
    note("");
    table(&["JUDGED", "VERDICT", "PROOF OF SAFETY", "OF HARM", "CHAMPION", "CANDIDATE", "PAIRS"], &rows);
    note(&format!("\n{}: {}", text(&verdict["outcome"]), text(&verdict["explanation"])));
}
