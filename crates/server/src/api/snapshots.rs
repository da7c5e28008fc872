//! Snapshots for people: labelled rows as known at a time, as the file that a training program would get.

use super::ApiProblem;
use crate::Platform;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use steersman_domain::fact::SnapshotRequest;
use steersman_domain::spec::SnapshotFormat;
use steersman_domain::time::parse_time;
use steersman_domain::{ModelName, Problem};
use tokio_util::io::ReaderStream;

/// The digest of a snapshot's rows.
const DIGEST: HeaderName = HeaderName::from_static("x-steersman-digest");
/// The number of its rows.
const ROWS: HeaderName = HeaderName::from_static("x-steersman-rows");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    from: Option<String>,
    to: Option<String>,
    as_of: Option<String>,
    #[serde(default)]
    format: SnapshotFormat,
}

/// The labelled rows, those of the reference among them. Without times: all that is known now.
pub(super) async fn take(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, ApiProblem> {
    let time = |name: &str, text: &Option<String>| {
        text.as_deref().map(parse_time).transpose().map_err(|problem| problem.field(name))
    };
    let as_of = time("as_of", &wanted.as_of)?.unwrap_or_else(|| platform.now());
    let to = time("to", &wanted.to)?.unwrap_or(as_of);
    let from = time("from", &wanted.from)?;
    if from.is_some_and(|from| from >= to) {
        return Err(Problem::invalid("is not before `to`").field("from").into());
    }
    let request = SnapshotRequest { as_of, from, to };
    let (file, snapshot) = platform.export_snapshot(&model, &request, wanted.format).await?;
    let kind = match wanted.format {
        SnapshotFormat::Parquet => "application/vnd.apache.parquet",
        SnapshotFormat::Csv => "text/csv",
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (DIGEST, snapshot.digest.to_string()),
        (ROWS, snapshot.rows.to_string()),
    ];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    Ok((headers, body).into_response())
}
