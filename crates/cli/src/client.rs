//! Commands that talk to a running platform.

use crate::output::{Output, json, note, table};
use crate::up::read_spec;
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use reqwest::StatusCode;
use serde_json::{Value, json as object};
use std::path::PathBuf;
use std::time::Duration;
use steersman_domain::{ModelName, RolloutId, Version};

/// A platform that takes nothing in for so many seconds is given up.
const LONGEST_WAIT: u64 = 600;
/// How long an answer is waited for; a query alone may take a minute.
const LONGEST: Duration = Duration::from_secs(90);
const NOT_JSON: &str = "the answer is not JSON; is this a Steersman platform?";

/// Where the platform is, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of the platform.
    #[arg(long, default_value = "http://127.0.0.1:7700", env = "STEERSMAN_SERVER", value_name = "URL")]
    pub(crate) server: String,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

impl Server {
    async fn call(
        &self,
        request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
        path: &str,
    ) -> Result<Value> {
        let (status, _, body) = self.answer(request, path).await?;
        if status.is_success() { Ok(body) } else { Err(refused(&body)) }
    }

    async fn answer(
        &self,
        request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
        path: &str,
    ) -> Result<(StatusCode, Option<u64>, Value)> {
        let response = call(&self.server, request, path).await?;
        let status = response.status();
        let again = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.json().await.context(NOT_JSON)?;
        Ok((status, again, body))
    }

    /// A good answer whose body is still to be read.
    pub(crate) async fn open(&self, path: &str, query: &[(&str, String)]) -> Result<reqwest::Response> {
        send(&self.server, |client, url| client.get(url).query(query), path).await
    }

    /// Sends rows, as often as it takes while the platform says that it has no room yet. The reply says which were
    /// refused.
    pub(crate) async fn send(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<Value> {
        let mut waited = 0;
        loop {
            let request = |client: &reqwest::Client, url: String| {
                client.post(url).header(reqwest::header::CONTENT_TYPE, kind).body(body.clone())
            };
            let (status, again, reply) = self.answer(request, path).await?;
            if status.is_success() || reply["rejections"].is_array() {
                return Ok(reply);
            }
            if !matches!(status.as_u16(), 429 | 503 | 507) || waited >= LONGEST_WAIT {
                return Err(refused(&reply));
            }
            let seconds = again.unwrap_or(1).clamp(1, 30);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            waited += seconds;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.call(|client, url| client.get(url), path).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(|client, url| client.post(url).json(body), path).await
    }
}

/// Sends a request to a platform.
async fn call(
    server: &str,
    request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
    path: &str,
) -> Result<reqwest::Response> {
    let client = reqwest::Client::builder().read_timeout(LONGEST).build()?;
    let url = format!("{}/api/v1{path}", server.trim_end_matches('/'));
    request(&client, url).send().await.map_err(|error| {
        if error.is_connect() {
            anyhow!("no platform answers at {server}; start one with `steersman up`, or name it with `--server URL`")
        } else {
            anyhow!("{server} does not answer: {error}")
        }
    })
}

/// Sends a request to a platform; what it refuses is an error.
pub(crate) async fn send(
    server: &str,
    request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
    path: &str,
) -> Result<reqwest::Response> {
    let response = call(server, request, path).await?;
    match response.status().is_success() {
        true => Ok(response),
        false => Err(refused(&response.json().await.context(NOT_JSON)?)),
    }
}

fn refused(body: &Value) -> anyhow::Error {
    let text = |name: &str| body[name].as_str();
    let place = text("field").map(|field| format!("{field}: ")).unwrap_or_default();
    let hint = text("hint").map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    anyhow!("{place}{}{hint}", text("detail").unwrap_or("refused"))
}

pub(crate) fn whoami() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Declares a model, or changes its spec.
///
/// Example:
///   steersman apply models/flight-delay.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ApplyArgs {
    /// Spec files.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Who does it, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn apply(args: &ApplyArgs) -> Result<()> {
    // All files are read before the first is applied.
    let specs = args
        .specs
        .iter()
        .map(|path| Ok((read_spec(path)?, std::fs::read_to_string(path)?)))
        .collect::<Result<Vec<_>>>()?;
    for ((spec, folder), source) in specs {
        let body = object!({"by": args.by, "spec": source, "folder": folder});
        let applied = args
            .server
            .post("/models", &body)
            .await
            .with_context(|| format!("`{}` was not applied", spec.model.name))?;
        match args.server.output {
            Output::Json => json(&applied)?,
            Output::Table if applied["changed"] == true => {
                note(&format!("applied {} ({} reference rows)", spec.model.name, applied["reference_rows"]));
            }
            Output::Table => note(&format!("{} is as it was", spec.model.name)),
        }
    }
    Ok(())
}

/// Is everything on course, and what waits for a person? Exit code 1 when a model is off course.
///
/// Examples:
///   steersman status
///   steersman status --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    server: Server,
}

/// Returns whether everything is on course.
pub(crate) async fn status(args: &StatusArgs) -> Result<bool> {
    let models = args.server.get("/models").await?;
    let replica = args.server.get("/replica").await?;
    let list = models.as_array().cloned().unwrap_or_default();
    let on_course = list.iter().all(|model| model["on_course"] == true);
    if args.server.output == Output::Json {
        json(&models)?;
        return Ok(on_course);
    }
    if replica["shared"] == true {
        let own = text(&replica["replica"]);
        match &replica["leader"] {
            _ if replica["leads"] == true => note(&format!("{own} leads")),
            Value::Null => note(&format!("{own} stands by, and nobody leads at the moment")),
            leader => {
                let (name, address) = (text(&leader["replica"]), text(&leader["address"]));
                note(&format!("{own} stands by; {name} leads: {address}"));
            }
        }
    }
    if list.is_empty() {
        note("no model is declared yet: `steersman apply SPEC`");
        return Ok(true);
    }
    let row = |model: &Value| {
        let course = if model["on_course"] == true { "on course" } else { "OFF COURSE" };
        let candidate = match model["candidate"].as_str() {
            Some(candidate) => {
                format!("{candidate} ({:.0} %)", 100.0 * model["weight"].as_f64().unwrap_or(0.0))
            }
            None => "-".to_owned(),
        };
        vec![
            text(&model["model"]),
            text(&model["team"]),
            course.to_owned(),
            text(&model["champion"]),
            candidate,
            text(&model["open_signals"]),
        ]
    };
    let rows: Vec<Vec<String>> = list.iter().map(row).collect();
    table(&["MODEL", "TEAM", "COURSE", "CHAMPION", "CANDIDATE", "SIGNALS"], &rows);
    for model in &list {
        if let Some(weakest) = model["weakest"].as_str() {
            note(&format!("\n{}: {weakest}", text(&model["model"])));
        }
        for waiting in model["waiting_approvals"].as_array().into_iter().flatten() {
            note(&format!("\n{}: {}", text(&model["model"]), text(&waiting["question"])));
            let rollout = text(&waiting["rollout"]);
            note(&format!("  steersman approve {rollout}   or   steersman reject {rollout}"));
        }
    }
    Ok(on_course)
}

/// Incidents of a model or of all. Exit code 1 when one is open.
///
/// Example:
///   steersman incidents flight-delay
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    /// The model; all without it.
    model: Option<ModelName>,
    #[command(flatten)]
    server: Server,
}

async fn names(args: &ListArgs) -> Result<Vec<String>> {
    if let Some(model) = &args.model {
        return Ok(vec![model.to_string()]);
    }
    let models = args.server.get("/models").await?;
    Ok(models.as_array().into_iter().flatten().map(|model| text(&model["model"])).collect())
}

/// Returns whether no incident is open.
pub(crate) async fn incidents(args: &ListArgs) -> Result<bool> {
    let mut found = Vec::new();
    for name in names(args).await? {
        for mut incident in args
            .server
            .get(&format!("/models/{name}/incidents"))
            .await?
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            incident["model"] = name.clone().into();
            found.push(incident);
        }
    }
    let calm = found.iter().all(|incident| !incident["resolved"].is_null());
    if args.server.output == Output::Json {
        json(&found)?;
        return Ok(calm);
    }
    let row = |incident: &Value| {
        let end =
            if incident["resolved"].is_null() { "open".to_owned() } else { text(&incident["resolved"][0]) };
        vec![
            text(&incident["model"]),
            text(&incident["incident"]),
            text(&incident["opened_at"]),
            end,
            text(&incident["title"]),
        ]
    };
    table(&["MODEL", "INCIDENT", "OPENED", "RESOLVED", "ABOUT"], &found.iter().map(row).collect::<Vec<_>>());
    Ok(calm)
}

pub(crate) async fn rollouts(args: &ListArgs) -> Result<()> {
    let mut found = Vec::new();
    for name in names(args).await? {
        for mut rollout in args
            .server
            .get(&format!("/models/{name}/rollouts"))
            .await?
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            rollout["model"] = name.clone().into();
            found.push(rollout);
        }
    }
    if args.server.output == Output::Json {
        return json(&found);
    }
    let row = |rollout: &Value| {
        let end = &rollout["finished"];
        let outcome = match (end["outcome"].as_str(), &rollout["guard"]["ended"]["kept"]) {
            (_, Value::Bool(false)) => "reverted",
            (outcome, _) => outcome.unwrap_or("under way"),
        };
        vec![
            text(&rollout["model"]),
            text(&rollout["rollout"]),
            text(&rollout["candidate"]),
            text(&rollout["started_at"]),
            outcome.to_owned(),
            text(&end["exposed"]),
        ]
    };
    table(
        &["MODEL", "ROLLOUT", "CANDIDATE", "STARTED", "OUTCOME", "EXPOSED"],
        &found.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(())
}

/// Answers a question about a rollout. A no withdraws the candidate, also when nothing was asked.
///
/// Examples:
///   steersman approve rol-0123456789ab --reason "checked with the team"
///   steersman reject rol-0123456789ab --reason "data of that week are wrong"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct AnswerArgs {
    /// The rollout, as `steersman status` shows it.
    rollout: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who answers, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn answer(args: &AnswerArgs, approved: bool) -> Result<()> {
    let rollout = RolloutId::parse(&args.rollout)?;
    let verb = if approved { "approve" } else { "reject" };
    let body = object!({"by": args.by, "reason": args.reason});
    let answer = args.server.post(&format!("/rollouts/{rollout}/{verb}"), &body).await?;
    match args.server.output {
        Output::Json => json(&answer),
        Output::Table => {
            note(&format!("{rollout} {}", if approved { "approved" } else { "rejected" }));
            Ok(())
        }
    }
}

/// Registers a version that was trained elsewhere. It goes through the evaluation gate like any other.
///
/// Examples:
///   steersman register flight-delay ./model --note "tuned by hand"
///   steersman register flight-delay ./model --note "hot fix" --roll-out --skip evaluation --reason "prod is down"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RegisterArgs {
    /// The model.
    model: ModelName,
    /// A file or folder with the artefact, on the platform's machine.
    artifact: PathBuf,
    /// Where it comes from.
    #[arg(long)]
    note: String,
    /// Ask for a rollout at once.
    #[arg(long, requires = "reason")]
    roll_out: bool,
    /// A safeguard to go without: evaluation, shadow or fence; can be given twice.
    #[arg(long, requires = "roll_out")]
    skip: Vec<String>,
    /// Why it goes without; is written to the ledger.
    #[arg(long)]
    reason: Option<String>,
    /// Who does it, for the ledger.
    #[arg(long, default_value_t = whoami())]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn register(args: &RegisterArgs) -> Result<()> {
    let artifact = std::fs::canonicalize(&args.artifact)
        .with_context(|| format!("cannot read `{}`", args.artifact.display()))?;
    let path = format!("/models/{}", args.model);
    let body = object!({"by": args.by, "artifact": artifact, "note": args.note});
    let registered = args.server.post(&format!("{path}/versions"), &body).await?;
    let version: Version = serde_json::from_value(registered["version"].clone())?;
    if args.roll_out {
        let body = object!({"by": args.by, "version": version, "skip": args.skip, "reason": args.reason});
        args.server.post(&format!("{path}/rollouts"), &body).await?;
    }
    match args.server.output {
        Output::Json => json(&registered),
        Output::Table => {
            note(&format!("{} {version} registered", args.model));
            Ok(())
        }
    }
}

/// Writes a report into the platform's folder and says where.
///
/// Example:
///   steersman report health
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReportArgs {
    /// Which report.
    #[arg(default_value = "health")]
    name: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn report(args: &ReportArgs) -> Result<()> {
    let written = args.server.post(&format!("/reports/{}", args.name), &object!({})).await?;
    match args.server.output {
        Output::Json => json(&written),
        Output::Table => {
            note(&text(&written["path"]));
            Ok(())
        }
    }
}
