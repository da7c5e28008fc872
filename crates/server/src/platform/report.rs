//! Reports: what `prove` makes of the state and of what was measured, as files whose digest is a fact.

use super::{Platform, blocking};
use std::collections::BTreeMap;
use std::path::PathBuf;
use steersman_domain::{Digest, Fact, ModelName, MonitorKind, Problem, RunId};
use steersman_prove::report::{ModelTelemetry, ReportInput, health_report};
use steersman_prove::story::{gather, tell};
use steersman_store::MeasurementQuery;

/// The most measurements of a model that a report shows: about four years of daily windows of 40 columns.
const MOST_MEASUREMENTS: u32 = 100_000;

/// And of its segments, by one monitor: two years of daily windows of two dozen segments.
const MOST_OF_SEGMENTS: u32 = 20_000;

/// What a report shows of segments; open signals of the other monitors are in the state.
const OF_SEGMENTS: [MonitorKind; 5] = [
    MonitorKind::Volume,
    MonitorKind::Performance,
    MonitorKind::Drift,
    MonitorKind::Estimate,
    MonitorKind::Weak,
];

impl Platform {
    /// What was measured and taken in of a model, and what happened to it.
    pub async fn telemetry(&self, model: &ModelName) -> Result<ModelTelemetry, Problem> {
        let query = MeasurementQuery { monitor: None, since: None, limit: MOST_MEASUREMENTS };
        let measurements = self.inner.store.measurements(model, &query).await?;
        let mut segments = Vec::new();
        for monitor in OF_SEGMENTS {
            let query = MeasurementQuery { monitor: Some(monitor), since: None, limit: MOST_OF_SEGMENTS };
            segments.extend(self.inner.store.segment_measurements(model, None, &query).await?);
        }
        let stats = self.inner.log.stats(model).unwrap_or_default();
        let mut events = Vec::new();
        let mut next = 0;
        loop {
            let entries = self.inner.store.entries(next, 1_000).await?;
            let Some(last) = entries.last() else { break };
            next = last.seq + 1;
            events.extend(entries.iter().filter_map(tell).filter(|event| event.model == *model));
        }
        let events = gather(&events);
        let forecast = self.forecast(model).await?;
        let verdict = self.verdict(model);
        let (records, labels) = (stats.records, stats.labels);
        Ok(ModelTelemetry { measurements, segments, records, labels, events, forecast, verdict })
    }

    /// Writes a report into the platform's folder and returns its path. There is one kind: `health`.
    pub async fn issue_report(&self, name: &str) -> Result<PathBuf, Problem> {
        if name != "health" {
            return Err(Problem::not_found(format!("there is no report `{name}`")).hint("there is `health`"));
        }
        self.must_lead()?;
        let state = self.state();
        let mut telemetry = BTreeMap::new();
        for model in state.models.keys() {
            telemetry.insert(model.clone(), self.telemetry(model).await?);
        }
        let checkpoint = self.inner.store.checkpoint().await?.unwrap_or_default();
        let (now, size) = (self.now(), state.size);
        let path = self.inner.dir.join("health.html");
        let target = path.clone();
        let digest = blocking(move || {
            let program = env!("CARGO_PKG_VERSION");
            let input =
                ReportInput { state: &state, telemetry: &telemetry, now, checkpoint: &checkpoint, program };
            let html = health_report(&input)?;
            let partial = target.with_added_extension("partial");
            std::fs::write(&partial, &html).map_err(|error| Problem::io("write", &partial, &error))?;
            std::fs::rename(&partial, &target).map_err(|error| Problem::io("rename", &partial, &error))?;
            Ok(Digest::of(html.as_bytes()))
        })
        .await?;
        self.write("prove", Fact::ReportIssued { name: name.to_owned(), digest, size }).await?;
        Ok(path)
    }

    /// The artefact that a training left.
    pub fn run_artifact(&self, model: &ModelName, run: &RunId) -> PathBuf {
        self.run_dir(model, run).join("artifact")
    }
}
