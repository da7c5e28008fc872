//! Pages: the same state as the API, for people. Server-rendered; a small script loads the body again to keep it live.

use crate::Platform;
use crate::api::ApiProblem;
use crate::platform::Replica;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use steersman_domain::{Entry, ModelName, Problem};
use steersman_prove::report::{headline, model_section};
use steersman_prove::story::{Event, gather, tell};
use steersman_records::LogStats;

/// How many events the first page shows.
const LATELY: usize = 30;
/// How many entries the ledger's page shows.
const ENTRIES: u64 = 200;

/// The pages' routes. Nothing is loaded from elsewhere, and no other site may show them in a frame.
pub fn router() -> Router<Platform> {
    let policy = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    let guard = async move |request: axum::extract::Request, next: axum::middleware::Next| {
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    };
    Router::new()
        .route("/", get(overview))
        .route("/fragments/overview", get(overview_fragment))
        .route("/models/{model}", get(model))
        .route("/fragments/models/{model}", get(model_fragment))
        .route("/ledger", get(ledger))
        .route("/fragments/ledger", get(ledger_fragment))
        .route("/style.css", get(async || asset("text/css", steersman_prove::STYLE)))
        .route("/live.js", get(async || asset("text/javascript", include_str!("live.js"))))
        .route("/favicon.ico", get(async || axum::http::StatusCode::NO_CONTENT))
        .layer(axum::middleware::from_fn(guard))
}

fn asset(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=60")];
    (headers, content)
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    title: String,
    fragment: String,
    body: String,
}

type Shown = Result<Html<String>, ApiProblem>;

fn render(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|error| Problem::internal(format!("a page cannot be made: {error}")))
}

fn page(title: &str, fragment: &str, body: String) -> Shown {
    let page = Page { title: format!("{title} - Steersman"), fragment: fragment.to_owned(), body };
    Ok(Html(render(&page)?))
}

struct Card {
    name: String,
    team: String,
    tone: &'static str,
    course: &'static str,
    sentence: String,
    waiting: usize,
    traffic: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    headline: String,
    clock: String,
    size: u64,
    lead: String,
    ingest: String,
    cards: Vec<Card>,
    events: Vec<Event>,
}

/// How full the room for telemetry under way is.
fn ingest(platform: &Platform) -> String {
    let admission = platform.admission();
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    format!(
        "{} of {} MiB of telemetry under way",
        mib(admission.in_flight()),
        mib(admission.limits().in_flight)
    )
}

/// What of a model's records came in, in a sentence.
fn traffic(stats: &LogStats) -> String {
    let mut text = format!("{} calls recorded, {} labelled", stats.records, stats.labels);
    if stats.refused > 0 {
        text.push_str(&format!("; {} rows refused since the start", stats.refused));
    }
    let unknown: Vec<&str> = stats.unknown_columns.keys().map(String::as_str).collect();
    if !unknown.is_empty() {
        text.push_str(&format!("; not in the schema: {}", unknown.join(", ")));
    }
    text
}

async fn overview_body(platform: &Platform) -> Result<String, Problem> {
    let state = platform.state();
    let cards = state.models.iter().map(|(name, model)| {
        let rollout = model.active_rollout().map_or(String::new(), |rollout| {
            let share = rollout.current_stage().map_or(0.0, |stage| 100.0 * stage.weight);
            format!("; {} is being rolled out at {share:.0} %", rollout.candidate)
        });
        let serves = model
            .champion()
            .map_or("no version serves yet".to_owned(), |version| format!("{version} serves"));
        let stats = platform.log().stats(name).unwrap_or_default();
        Card {
            name: name.to_string(),
            team: model.spec.model.team.clone(),
            tone: if model.open_incident().is_some() { "bad" } else { "good" },
            course: if model.open_incident().is_some() { "off course" } else { "on course" },
            sentence: format!("{serves}{rollout}"),
            waiting: model.open_approvals().count(),
            traffic: traffic(&stats),
        }
    });
    // The latest facts that people care about are among the last few hundred.
    let from = state.size.saturating_sub(400);
    let told: Vec<Event> = platform.store().entries(from, 400).await?.iter().filter_map(tell).collect();
    let mut events = gather(&told);
    events.reverse();
    events.truncate(LATELY);
    render(&Overview {
        headline: headline(&state),
        clock: platform.now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        size: state.size,
        lead: lead(&platform.replica()),
        ingest: ingest(platform),
        cards: cards.collect(),
        events,
    })
}

/// Who decides, in a few words; nothing where there is only one.
fn lead(replica: &Replica) -> String {
    match &replica.leader {
        _ if !replica.shared => String::new(),
        _ if replica.leads => format!("{} leads", replica.replica),
        Some(leader) => {
            format!("{} stands by, {} leads: {}", replica.replica, leader.replica, leader.address)
        }
        None => format!("{} stands by, and nobody leads", replica.replica),
    }
}

async fn overview(State(platform): State<Platform>) -> Shown {
    page("Models", "/fragments/overview", overview_body(&platform).await?)
}

async fn overview_fragment(State(platform): State<Platform>) -> Shown {
    Ok(Html(overview_body(&platform).await?))
}

async fn model_body(platform: &Platform, name: &ModelName) -> Result<String, Problem> {
    let state = platform.state();
    let shown = state.model(name)?;
    let telemetry = platform.telemetry(name).await?;
    model_section(name, shown, &telemetry, platform.now(), true)
}

async fn model(State(platform): State<Platform>, Path(name): Path<ModelName>) -> Shown {
    page(name.as_str(), &format!("/fragments/models/{name}"), model_body(&platform, &name).await?)
}

async fn model_fragment(State(platform): State<Platform>, Path(name): Path<ModelName>) -> Shown {
    Ok(Html(model_body(&platform, &name).await?))
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct Ledger {
    size: u64,
    checkpoint: String,
    dir: String,
    entries: Vec<Entry>,
}

async fn ledger_body(platform: &Platform) -> Result<String, Problem> {
    let size = platform.state().size;
    let mut entries = platform.store().entries(size.saturating_sub(ENTRIES), 1_000).await?;
    entries.reverse();
    render(&Ledger {
        size,
        checkpoint: platform.store().checkpoint().await?.unwrap_or_default(),
        dir: platform.dir().display().to_string(),
        entries,
    })
}

async fn ledger(State(platform): State<Platform>) -> Shown {
    page("Ledger", "/fragments/ledger", ledger_body(&platform).await?)
}

async fn ledger_fragment(State(platform): State<Platform>) -> Shown {
    Ok(Html(ledger_body(&platform).await?))
}
