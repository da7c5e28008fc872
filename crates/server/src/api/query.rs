//! SQL over the records: one statement in, rows out in the form that `Accept` asks for.

use super::ApiProblem;
use super::models::Body;
use super::problem::respond;
use crate::Platform;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use steersman_domain::time::parse_time;
use steersman_domain::{ErrorKind, Problem};
use steersman_query::sql::{Format, Query};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    sql: String,
    limit: Option<usize>,
    as_of: Option<String>,
}

pub(super) async fn query(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiProblem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept).ok_or_else(|| {
        Problem::invalid(format!("no answer can be written as `{accept}`"))
            .field("Accept")
            .hint("application/json, application/x-ndjson, text/csv and application/vnd.apache.arrow.stream are known")
    })?;
    let as_of =
        asked.as_of.as_deref().map(parse_time).transpose().map_err(|problem| problem.field("as_of"))?;
    let queries = platform.queries();
    let Some(slot) = queries.slot() else { return Ok(busy()) };
    let query = Query { sql: asked.sql, limit: asked.limit, as_of, now: platform.now() };
    let finish = move |answer: steersman_query::sql::Answer| {
        Ok((answer.write(format)?, answer.rows, answer.truncated))
    };
    let (bytes, rows, truncated) = queries.run(slot, query, finish).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert("steersman-rows", HeaderValue::from(rows));
    headers.insert("steersman-truncated", HeaderValue::from_static(if truncated { "true" } else { "false" }));
    Ok(response)
}

/// As many queries as may run are running.
fn busy() -> Response {
    let problem = Problem::new(ErrorKind::Unavailable, "as many queries as may run at once are running");
    respond(problem.hint("ask again in a few seconds"), StatusCode::TOO_MANY_REQUESTS)
}
