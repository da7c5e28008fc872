//! Reading: entries, tiles, the checkpoint, windows, measurements, monitors' evidence.

use crate::database::{on, problem};
use crate::{MonitorState, Store, WindowRow};
use jiff::Timestamp;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Entry, ErrorKind, Measurement, ModelName, MonitorKind, Problem, Window};
use steersman_ledger::leaf::decode;

/// Which measurements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeasurementQuery {
    /// Of this monitor alone.
    pub monitor: Option<MonitorKind>,
    /// Of windows that start at this time or later.
    pub since: Option<Timestamp>,
    /// At most this many, newest first.
    pub limit: u32,
}

impl Store {
    /// Up to `limit` entries from position `from` on.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<Entry>, Problem> {
        let rows: Vec<(i64, Vec<u8>)> = on!(&self.inner.pool, pool => {
            sqlx::query_as("SELECT seq, leaf FROM ledger_entries WHERE seq >= $1 ORDER BY seq LIMIT $2")
                .bind(from.cast_signed())
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await
        })
        .map_err(problem)?;
        rows.iter().map(|(seq, leaf)| decode(seq.cast_unsigned(), leaf)).collect()
    }

    /// The signed root; none while the ledger is empty.
    pub async fn checkpoint(&self) -> Result<Option<String>, Problem> {
        on!(&self.inner.pool, pool => {
            sqlx::query_scalar("SELECT note FROM ledger_checkpoint").fetch_optional(pool).await
        })
        .map_err(problem)
    }

    /// The hashes of a tile.
    pub async fn tile(&self, level: u8, position: u64) -> Result<Option<Vec<u8>>, Problem> {
        on!(&self.inner.pool, pool => {
            sqlx::query_scalar("SELECT hashes FROM ledger_tiles WHERE level = $1 AND position = $2")
                .bind(i64::from(level))
                .bind(position.cast_signed())
                .fetch_optional(pool)
                .await
        })
        .map_err(problem)
    }

    /// Measurements of all records of a model, newest window first.
    pub async fn measurements(
        &self,
        model: &ModelName,
        query: &MeasurementQuery,
    ) -> Result<Vec<Measurement>, Problem> {
        self.measured(model, query, Some("")).await
    }

    /// Measurements of one segment of a model, or of all its segments, newest window first.
    pub async fn segment_measurements(
        &self,
        model: &ModelName,
        segment: Option<&str>,
        query: &MeasurementQuery,
    ) -> Result<Vec<Measurement>, Problem> {
        self.measured(model, query, segment).await
    }

    async fn measured(
        &self,
        model: &ModelName,
        query: &MeasurementQuery,
        segment: Option<&str>,
    ) -> Result<Vec<Measurement>, Problem> {
        let rows: Vec<String> = on!(&self.inner.pool, pool => {
            sqlx::query_scalar(
                "SELECT measurement FROM measurements
                 WHERE model = $1 AND ($2 IS NULL OR monitor = $2) AND start >= $3
                   AND COALESCE(segment = $5, segment <> '')
                 ORDER BY start DESC, monitor, segment, subject LIMIT $4",
            )
            .bind(model.as_str().to_owned())
            .bind(query.monitor.map(MonitorKind::as_str))
            .bind(query.since.map_or(i64::MIN, micros))
            .bind(i64::from(query.limit))
            .bind(segment.map(str::to_owned))
            .fetch_all(pool)
            .await
        })
        .map_err(problem)?;
        rows.iter().map(|json| parse(json, "a measurement")).collect()
    }

    /// Profiled windows of a model from `since` on, oldest first, without their profiles.
    pub async fn windows(&self, model: &ModelName, since: Timestamp) -> Result<Vec<WindowRow>, Problem> {
        let rows: Vec<(i64, i64, i64, i64)> = on!(&self.inner.pool, pool => {
            sqlx::query_as(
                "SELECT start, finish, revision, rows FROM windows WHERE model = $1 AND start >= $2 ORDER BY start",
            )
            .bind(model.as_str().to_owned())
            .bind(micros(since))
            .fetch_all(pool)
            .await
        })
        .map_err(problem)?;
        let row = |(start, finish, revision, rows): (i64, i64, i64, i64)| WindowRow {
            model: model.clone(),
            window: Window { start: from_micros(start), end: from_micros(finish) },
            revision: u32::try_from(revision).unwrap_or(u32::MAX),
            rows: rows.cast_unsigned(),
            profile: String::new(),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The profile of a window, as JSON.
    pub async fn profile(&self, model: &ModelName, start: Timestamp) -> Result<Option<String>, Problem> {
        on!(&self.inner.pool, pool => {
            sqlx::query_scalar("SELECT profile FROM windows WHERE model = $1 AND start = $2")
                .bind(model.as_str().to_owned())
                .bind(micros(start))
                .fetch_optional(pool)
                .await
        })
        .map_err(problem)
    }

    /// The evidence of a model's monitors.
    pub async fn monitor_states(&self, model: &ModelName) -> Result<Vec<MonitorState>, Problem> {
        let rows: Vec<(String, String)> = on!(&self.inner.pool, pool => {
            sqlx::query_as("SELECT name, state FROM monitor_states WHERE model = $1 ORDER BY name")
                .bind(model.as_str().to_owned())
                .fetch_all(pool)
                .await
        })
        .map_err(problem)?;
        let row = |(name, state)| MonitorState { model: model.clone(), name, state };
        Ok(rows.into_iter().map(row).collect())
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str, what: &str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| {
        Problem::new(ErrorKind::Corrupt, format!("{what} in the database cannot be read: {error}"))
    })
}
