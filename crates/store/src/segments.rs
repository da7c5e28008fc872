//! The catalogue of segments of records: which there are, of all replicas.
//!
//! Any replica may change it, not the leader alone: each adds segments of its own log. Who removes one that is gone is
//! refused, so two that compact at once cannot both be right.

use crate::Store;
use crate::database::{on, problem};
use steersman_domain::{ModelName, Problem};

/// A segment of a model's records. Times are in microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// What its files are named after.
    pub object: String,
    /// Whose positions they are.
    pub replica: String,
    /// First position.
    pub from: u64,
    /// First position after.
    pub to: u64,
    /// Times of records, first and last; none without records.
    pub span: Option<(i64, i64)>,
    /// When the first and the last of it were taken in.
    pub received: (i64, i64),
    /// Records.
    pub records: u64,
    /// Labels.
    pub labels: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What the catalogue says of a model, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentList {
    /// Segments, by replica and position.
    pub segments: Vec<SegmentRow>,
    /// For each replica the first position that it has put into no segment yet.
    pub flushed: Vec<(String, u64)>,
}

/// What is to be different, all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentChange {
    /// Segments that come; one that is there already changes nothing.
    pub add: Vec<SegmentRow>,
    /// Objects of segments that go.
    pub remove: Vec<String>,
    /// A replica, and the first position that it has put into no segment yet.
    pub flushed: Option<(String, u64)>,
}

type Columns = (String, String, i64, i64, Option<i64>, Option<i64>, i64, i64, i64, i64, i64);

impl Store {
    /// The segments of a model.
    pub async fn segments(&self, model: &ModelName) -> Result<SegmentList, Problem> {
        let mut snapshot = self.inner.pool.snapshot().await?;
        let rows: Vec<Columns> = on!(&mut snapshot, snapshot => {
            sqlx::query_as(
                "SELECT object, replica, from_position, to_position, first_time, last_time,
                        received_from, received_until, records, labels, bytes
                 FROM record_segments WHERE model = $1 ORDER BY replica, from_position",
            )
            .bind(model.as_str().to_owned())
            .fetch_all(&mut **snapshot)
            .await
        })
        .map_err(problem)?;
        let flushed: Vec<(String, i64)> = on!(&mut snapshot, snapshot => {
            sqlx::query_as("SELECT replica, flushed FROM record_logs WHERE model = $1 ORDER BY replica")
                .bind(model.as_str().to_owned())
                .fetch_all(&mut **snapshot)
                .await
        })
        .map_err(problem)?;
        let segment = |(
            object,
            replica,
            from,
            to,
            first,
            last,
            received_from,
            received_until,
            records,
            labels,
            bytes,
        ): Columns| {
            SegmentRow {
                object,
                replica,
                from: from.cast_unsigned(),
                to: to.cast_unsigned(),
                span: first.zip(last),
                received: (received_from, received_until),
                records: records.cast_unsigned(),
                labels: labels.cast_unsigned(),
                bytes: bytes.cast_unsigned(),
            }
        };
        Ok(SegmentList {
            segments: rows.into_iter().map(segment).collect(),
            flushed: flushed.into_iter().map(|(replica, to)| (replica, to.cast_unsigned())).collect(),
        })
    }

    /// Changes the segments of a model in one transaction, which is on disk when this returns. Returns the object that
    /// should go and is not there, if there is one; nothing is changed then.
    pub async fn change_segments(
        &self,
        model: &ModelName,
        change: &SegmentChange,
    ) -> Result<Option<String>, Problem> {
        // On SQLite one transaction writes at a time; a commit of facts goes before or after.
        let _writer = self.inner.writer.lock().await;
        let mut transaction = self.inner.pool.begin().await?;
        for object in &change.remove {
            let gone = on!(&mut transaction, transaction => {
                sqlx::query("DELETE FROM record_segments WHERE object = $1")
                    .bind(object.clone())
                    .execute(&mut **transaction)
                    .await
                    .map(|done| done.rows_affected())
            })
            .map_err(problem)?;
            if gone == 0 {
                return Ok(Some(object.clone()));
            }
        }
        for row in &change.add {
            on!(&mut transaction, transaction => {
                sqlx::query(
                    "INSERT INTO record_segments (object, model, replica, from_position, to_position, first_time, last_time,
                                           received_from, received_until, records, labels, bytes)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (object) DO NOTHING",
                )
                .bind(row.object.clone())
                .bind(model.as_str().to_owned())
                .bind(row.replica.clone())
                .bind(row.from.cast_signed())
                .bind(row.to.cast_signed())
                .bind(row.span.map(|(first, _)| first))
                .bind(row.span.map(|(_, last)| last))
                .bind(row.received.0)
                .bind(row.received.1)
                .bind(row.records.cast_signed())
                .bind(row.labels.cast_signed())
                .bind(row.bytes.cast_signed())
                .execute(&mut **transaction)
                .await
                .map(drop)
            })
            .map_err(problem)?;
        }
        if let Some((replica, to)) = &change.flushed {
            on!(&mut transaction, transaction => {
                sqlx::query(
                    "INSERT INTO record_logs (model, replica, flushed) VALUES ($1, $2, $3)
                     ON CONFLICT (model, replica) DO UPDATE SET flushed = excluded.flushed",
                )
                .bind(model.as_str().to_owned())
                .bind(replica.clone())
                .bind(to.cast_signed())
                .execute(&mut **transaction)
                .await
                .map(drop)
            })
            .map_err(problem)?;
        }
        transaction.commit().await?;
        Ok(None)
    }
}
