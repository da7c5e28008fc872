//! Replays the year: requests through the gateway, labels when they became known, and the clock.

use super::flights::{self, Flight};
use crate::progress::Teller;
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use steersman_domain::{ModelName, ModelSpec, Period, RunId, Version};
use steersman_records::Kind;
use steersman_records::intake::{Format, Packing};
use steersman_server::Platform;
use steersman_server::platform::{Body, Registration};

/// How far the clock goes in one step.
const STEP: Period = Period::from_seconds(4 * 3_600);

/// What the replay saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Requests without a good answer.
    pub(crate) failures: u64,
    /// The answer that each flight got.
    pub(crate) scores: HashMap<String, f64>,
    /// The bad version.
    pub(crate) drill: Option<Version>,
}

#[expect(clippy::too_many_arguments, reason = "called once; each is a thing of its own")]
pub(crate) async fn run(
    platform: &Platform,
    name: &ModelName,
    spec: ModelSpec,
    work: &Path,
    flights: &[Flight],
    pace: Option<Duration>,
    seed: u64,
    teller: &mut Teller,
) -> Result<Outcome> {
    platform.apply("demo", spec, work).await?;
    platform.settle().await?;
    teller.tell(platform).await?;
    let state = platform.state();
    ensure!(
        state.model(name)?.champion().is_some(),
        "the first version does not serve; see `{}` for what went wrong",
        platform.dir().join("models").join(name.as_str()).join("runs").display()
    );
    let url = format!("http://{}/v2/models/{name}/infer", platform.gateway().address());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let year: Vec<&Flight> = flights.iter().filter(|flight| flight.time >= flights::start()).collect();
    let mut unlabelled: Vec<&Flight> =
        flights.iter().filter(|flight| flight.known >= flights::start()).collect();
    unlabelled.sort_by_key(|flight| flight.known);
    let end = unlabelled.last().map_or(flights::start(), |flight| flight.known);
    let total = steps(end);
    let drill_at = Period::from_seconds(STEP.seconds() * (total as i64 / 2)).after(flights::start());
    let mut outcome = Outcome::default();
    let (mut next_flight, mut next_label) = (0, 0);
    let begun = Instant::now();
    for step in 1..=total {
        let now = Period::from_seconds(STEP.seconds() * step as i64).after(flights::start());
        platform.clock().advance_to(now);
        while let Some(flight) = year.get(next_flight).filter(|flight| flight.time < now) {
            ask(&client, &url, flight, &mut outcome).await?;
            next_flight += 1;
        }
        platform.drain_captures().await;
        let due = unlabelled[next_label..].iter().take_while(|flight| flight.known <= now).count();
        let labels: Vec<serde_json::Value> =
            unlabelled[next_label..next_label + due].iter().map(|flight| label(flight)).collect();
        if !labels.is_empty() {
            let bytes = serde_json::to_vec(&labels)?;
            let ticket = platform.admit(name, bytes.len() as u64)?;
            let body = Body { format: Format::Array, packing: Packing::Plain, bytes: bytes.into(), ticket };
            let ingested = platform.ingest(name, Kind::Labels, body).await?;
            ensure!(ingested.rejected == 0, "a label was refused: {:?}", ingested.rejections);
        }
        next_label += due;
        platform.settle().await?;
        if outcome.drill.is_none()
            && now >= drill_at
            && platform.state().model(name)?.active_rollout().is_none()
        {
            outcome.drill = Some(drill(platform, name, work, seed).await?);
            platform.settle().await?;
        }
        teller.tell(platform).await?;
        teller.step(step, total, now, platform);
        if let Some(pace) = pace {
            let planned = pace.mul_f64(step as f64 / total as f64);
            tokio::time::sleep(planned.saturating_sub(begun.elapsed())).await;
        }
    }
    Ok(outcome)
}

fn steps(end: Timestamp) -> u64 {
    let seconds = (end.as_second() - flights::start().as_second()).max(0).unsigned_abs();
    seconds.div_ceil(STEP.seconds().unsigned_abs())
}

async fn ask(client: &reqwest::Client, url: &str, flight: &Flight, outcome: &mut Outcome) -> Result<()> {
    outcome.requests += 1;
    let response = client
        .post(url)
        .json(&flights::request(flight))
        .send()
        .await
        .context("the gateway does not answer")?;
    let good = response.status().is_success();
    let answer: serde_json::Value = response.json().await.unwrap_or_default();
    match answer.pointer("/outputs/0/data/0").and_then(serde_json::Value::as_f64).filter(|_| good) {
        Some(score) => {
            outcome.scores.insert(flight.id.clone(), score);
        }
        None => outcome.failures += 1,
    }
    Ok(())
}

fn label(flight: &Flight) -> serde_json::Value {
    serde_json::json!({"id": flight.id, "label": u8::from(flight.late), "time": flight.known.to_string()})
}

/// Trains a version on turned labels, registers it, and asks for its rollout without evaluation and shadow.
async fn drill(platform: &Platform, name: &ModelName, work: &Path, seed: u64) -> Result<Version> {
    let folder = work.join("drill");
    std::fs::create_dir_all(&folder)?;
    let spec = &platform.state().model(name)?.spec.clone();
    let mut retrain = spec.retrain.clone().context("the demo's spec trains")?;
    retrain.command = flights::train_command(seed)?;
    retrain.command.extend(["--flip-labels", "1"].map(str::to_owned));
    let training = steersman_act::train::Training {
        model: name.clone(),
        run: RunId::derive(&["drill"]),
        retrain,
        folder: work.to_owned(),
        snapshot: drill_data(work)?,
        artifact: folder.join("artifact"),
        log: folder.join("log.txt"),
    };
    let trained = steersman_act::train::train(&training).await;
    trained.map_err(|failure| {
        anyhow::anyhow!("the drill's training failed: {}; {}", failure.reason, failure.hint)
    })?;
    let registration = Registration {
        artifact: folder.join("artifact"),
        note: "a drill: trained on labels that were turned around".to_owned(),
    };
    let version = platform.register("drill", name, registration).await?;
    let skip = vec!["evaluation".to_owned(), "shadow".to_owned()];
    let reason = "a drill: does the judge catch it on live traffic?".to_owned();
    platform.request_rollout("drill", name, version, skip, reason).await?;
    Ok(version)
}

/// The reference without the column that says when a label was known, which no model may see.
fn drill_data(work: &Path) -> Result<std::path::PathBuf> {
    let path = work.join("drill").join("data.csv");
    let mut reader = csv::Reader::from_path(work.join("reference.csv"))?;
    let mut writer = csv::Writer::from_path(&path)?;
    let header = reader.headers()?.clone();
    let keep: Vec<usize> = (0..header.len()).filter(|&place| &header[place] != "late_ts").collect();
    let renamed = |place: usize| if &header[place] == "ts" { "time" } else { &header[place] };
    writer.write_record(keep.iter().map(|&place| renamed(place)))?;
    for record in reader.records() {
        let record = record?;
        writer.write_record(keep.iter().map(|&place| &record[place]))?;
    }
    writer.flush()?;
    Ok(path)
}
