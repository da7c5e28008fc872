//! How long a rollout would take, before it starts: simulated on the traffic of the last windows.

use super::{Platform, blocking, lock};
use jiff::Timestamp;
use steersman_decide::rollout::plan;
use steersman_decide::simulate::{Simulator, Sizes, steady};
use steersman_domain::simulation::{SimulatedStrategy, SimulatedTraffic};
use steersman_domain::{Measurement, ModelName, MonitorKind, Period, Problem, Version};
use steersman_ledger::state::ModelState;
use steersman_store::MeasurementQuery;

/// Windows that the traffic is taken from.
const WINDOWS: u32 = 28;
/// Rollouts of each kind.
const ROLLOUTS: u64 = 200;
/// A forecast is made again after this time.
const FRESH: Period = Period::from_days(1);
/// With fewer records nobody knows how many labels come.
const LEAST_RECORDS: u64 = 100;

/// What a forecast was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Basis {
    declared: u64,
    champion: Version,
    at: Timestamp,
}

impl Platform {
    /// How rollouts would go if one started now; none before anything serves or was measured.
    pub async fn forecast(&self, name: &ModelName) -> Result<Option<SimulatedStrategy>, Problem> {
        let state = self.state();
        let model = state.model(name)?;
        let Some(champion) = model.champion().filter(|_| model.spec.serve.is_some()) else { return Ok(None) };
        let (declared, at) = (model.declared_seq, self.now());
        let known = lock(&self.inner.models).get(name).and_then(|live| live.forecast.clone());
        if let Some((basis, forecast)) = known {
            let fresh = FRESH.after(basis.at) > at && basis.declared == declared;
            if fresh && basis.champion == champion {
                return Ok(Some(forecast));
            }
        }
        let Some(traffic) = self.traffic(name, model).await? else { return Ok(None) };
        let spec = model.spec.clone();
        let versions = (None, model.versions.get(&champion));
        let planned = plan(&spec, versions, false);
        let forecast = blocking(move || {
            let simulator = Simulator::new(&spec, &planned, &traffic);
            let changes =
                Sizes { calls: vec![2.0], predictions: vec![1.5], ..Sizes::default() }.changes(&planned);
            let outcomes = changes.into_iter().map(|change| simulator.outcome(change, ROLLOUTS, 1)).collect();
            Ok(simulator.strategy(planned.strategy.as_str(), outcomes))
        })
        .await?;
        if let Some(live) = lock(&self.inner.models).get_mut(name) {
            live.forecast = Some((Basis { declared, champion, at }, forecast.clone()));
        }
        Ok(Some(forecast))
    }

    /// The traffic of the last windows.
    async fn traffic(
        &self,
        name: &ModelName,
        model: &ModelState,
    ) -> Result<Option<SimulatedTraffic>, Problem> {
        let of = async |kind: MonitorKind| -> Result<Vec<Measurement>, Problem> {
            let query = MeasurementQuery { monitor: Some(kind), since: None, limit: WINDOWS };
            self.inner.store.measurements(name, &query).await
        };
        let volumes = of(MonitorKind::Volume).await?;
        let seconds: i64 =
            volumes.iter().map(|one| one.window.end.as_second() - one.window.start.as_second()).sum();
        let records: f64 = volumes.iter().filter_map(|one| one.reading.value()).sum();
        if seconds <= 0 || records <= 0.0 {
            return Ok(None);
        }
        let mut traffic = steady(records / seconds as f64 * 86_400.0);
        let errors = of(MonitorKind::Errors).await?;
        let calls: u64 = errors.iter().map(|one| one.rows).sum();
        if calls > 0 {
            let failed = errors.iter().filter_map(|one| Some(one.reading.value()? * one.rows as f64));
            traffic.errors = failed.sum::<f64>() / calls as f64;
            traffic.timeouts = traffic.errors.min(traffic.timeouts);
        }
        let evaluated = model.versions.values().rev().find_map(|version| {
            version.evaluation.as_ref().and_then(|evaluation| evaluation.expected.as_ref())
        });
        if let Some(expected) = evaluated {
            (traffic.wrong, traffic.differ) = (expected.wrong, expected.differ);
        }
        traffic.label_delays = vec![model.spec.model.label.expected_delay.seconds() as f64];
        let stats = self.inner.log.stats(name).unwrap_or_default();
        if stats.records >= LEAST_RECORDS {
            traffic.labelled = (stats.labels as f64 / stats.records as f64).min(1.0);
        }
        Ok(Some(traffic))
    }
}
