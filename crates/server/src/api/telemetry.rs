//! Telemetry in: records and labels as NDJSON or a JSON array, also gzip. A 2xx means durable.

use super::{ApiProblem, LARGEST_BODY};
use crate::Platform;
use crate::platform::Ingested;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::io::Read as _;
use steersman_domain::{ErrorKind, ModelName, Problem};

type Reply = Result<(StatusCode, Json<Ingested>), ApiProblem>;

/// Takes records in.
pub(super) async fn records(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let rows = rows(&headers, &body)?;
    Ok(reply(platform.ingest_records(&model, &rows).await?))
}

/// Takes labels in.
pub(super) async fn labels(
    State(platform): State<Platform>,
    Path(model): Path<ModelName>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let rows = rows(&headers, &body)?;
    Ok(reply(platform.ingest_labels(&model, &rows).await?))
}

/// 200 where all rows are in; 207 where some were refused; 400 where all were.
fn reply(ingested: Ingested) -> (StatusCode, Json<Ingested>) {
    let status = match (ingested.rejected, ingested.accepted + ingested.duplicates) {
        (0, _) => StatusCode::OK,
        (_, 0) => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    (status, Json(ingested))
}

/// The rows of a body.
fn rows(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Value>, Problem> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unpacked = match header(header::CONTENT_ENCODING) {
        "" | "identity" => None,
        "gzip" => Some(gunzip(body)?),
        other => {
            let problem = Problem::invalid(format!("the encoding `{other}` is not read"));
            return Err(problem.field("Content-Encoding").hint("send it plain or with gzip"));
        }
    };
    let body = unpacked.as_deref().unwrap_or(body);
    let kind = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/json-lines" => lines(body),
        "application/json" | "" => array(body),
        other => Err(Problem::invalid(format!("the type `{other}` is not read"))
            .field("Content-Type")
            .hint("send application/x-ndjson (one object a line) or application/json (an array)")),
    }
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::new();
    let mut reader = MultiGzDecoder::new(body).take(LARGEST_BODY as u64 + 1);
    reader
        .read_to_end(&mut unpacked)
        .map_err(|error| Problem::invalid(format!("the body is not gzip: {error}")))?;
    if unpacked.len() > LARGEST_BODY {
        let message = format!("the body is larger than {LARGEST_BODY} bytes when unpacked");
        return Err(Problem::new(ErrorKind::TooLarge, message).hint("send smaller batches"));
    }
    Ok(unpacked)
}

/// One object a line; a broken line refuses the batch before anything is taken in.
fn lines(body: &[u8]) -> Result<Vec<Value>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::invalid(format!("the body is not UTF-8: {error}")))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                Problem::invalid(format!("not JSON: {error}"))
                    .field(format!("line {}", index + 1))
                    .hint("nothing of this batch was taken in; NaN is written null")
            })
        })
        .collect()
}

fn array(body: &[u8]) -> Result<Vec<Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(rows)) => Ok(rows),
        Ok(object @ Value::Object(_)) => Ok(vec![object]),
        Ok(_) => Err(Problem::invalid("the body is neither an array nor an object")),
        Err(error) => Err(Problem::invalid(format!("the body is not JSON: {error}"))
            .hint("nothing of this batch was taken in; NaN is written null")),
    }
}
