//! Reading: entries, tiles, the checkpoint, windows, measurements, monitors' evidence.

use crate::{MonitorState, Store, WindowRow, problem};
use jiff::Timestamp;
use sqlx::Row as _;
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
        let rows = sqlx::query("SELECT seq, leaf FROM ledger_entries WHERE seq >= ? ORDER BY seq LIMIT ?")
            .bind(from.cast_signed())
            .bind(i64::from(limit))
            .fetch_all(&self.inner.pool)
            .await
            .map_err(problem)?;
        rows.iter()
            .map(|row| decode(row.get::<i64, _>(0).cast_unsigned(), &row.get::<Vec<u8>, _>(1)))
            .collect()
    }

    /// The signed root; none while the ledger is empty.
    pub async fn checkpoint(&self) -> Result<Option<String>, Problem> {
        sqlx::query_scalar("SELECT note FROM ledger_checkpoint")
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(problem)
    }

    /// The hashes of a tile.
    pub async fn tile(&self, level: u8, position: u64) -> Result<Option<Vec<u8>>, Problem> {
        sqlx::query_scalar("SELECT hashes FROM ledger_tiles WHERE level = ? AND position = ?")
            .bind(i64::from(level))
            .bind(position.cast_signed())
            .fetch_optional(&self.inner.pool)
            .await
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
        let rows = sqlx::query_scalar::<_, String>(
            "SELECT measurement FROM measurements
             WHERE model = ? AND (? IS NULL OR monitor = ?) AND start >= ? AND IFNULL(segment = ?, segment <> '')
             ORDER BY start DESC, monitor, segment, subject LIMIT ?",
        )
        .bind(model.as_str().to_owned())
        .bind(query.monitor.map(MonitorKind::as_str))
        .bind(query.monitor.map(MonitorKind::as_str))
        .bind(query.since.map_or(i64::MIN, micros))
        .bind(segment.map(str::to_owned))
        .bind(i64::from(query.limit))
        .fetch_all(&self.inner.pool)
        .await
        .map_err(problem)?;
        rows.iter().map(|json| parse(json, "a measurement")).collect()
    }

    /// Profiled windows of a model from `since` on, oldest first, without their profiles.
    pub async fn windows(&self, model: &ModelName, since: Timestamp) -> Result<Vec<WindowRow>, Problem> {
        let rows = sqlx::query(
            "SELECT start, finish, revision, rows FROM windows WHERE model = ? AND start >= ? ORDER BY start",
        )
        .bind(model.as_str().to_owned())
        .bind(micros(since))
        .fetch_all(&self.inner.pool)
        .await
        .map_err(problem)?;
        let row = |row: &sqlx::sqlite::SqliteRow| WindowRow {
            model: model.clone(),
            window: Window { start: from_micros(row.get(0)), end: from_micros(row.get(1)) },
            revision: u32::try_from(row.get::<i64, _>(2)).unwrap_or(u32::MAX),
            rows: row.get::<i64, _>(3).cast_unsigned(),
            profile: String::new(),
        };
        Ok(rows.iter().map(row).collect())
    }

    /// The profile of a window, as JSON.
    pub async fn profile(&self, model: &ModelName, start: Timestamp) -> Result<Option<String>, Problem> {
        sqlx::query_scalar("SELECT profile FROM windows WHERE model = ? AND start = ?")
            .bind(model.as_str().to_owned())
            .bind(micros(start))
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(problem)
    }

    /// The evidence of a model's monitors.
    pub async fn monitor_states(&self, model: &ModelName) -> Result<Vec<MonitorState>, Problem> {
        let rows = sqlx::query("SELECT name, state FROM monitor_states WHERE model = ? ORDER BY name")
            .bind(model.as_str().to_owned())
            .fetch_all(&self.inner.pool)
            .await
            .map_err(problem)?;
        let row = |row: &sqlx::sqlite::SqliteRow| MonitorState {
            model: model.clone(),
            name: row.get(0),
            state: row.get(1),
        };
        Ok(rows.iter().map(row).collect())
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str, what: &str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| {
        Problem::new(ErrorKind::Corrupt, format!("{what} in the database cannot be read: {error}"))
    })
}
