//! Errors on the wire: RFC 9457 problem details.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use steersman_domain::{ErrorKind, Problem};

/// A problem as a response.
#[derive(Debug)]
pub struct ApiProblem(pub Problem);

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// The HTTP status of a kind of error.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = status(self.0.kind);
        respond(self.0, status)
    }
}

/// A problem with a status of its own.
pub(super) fn respond(problem: Problem, status: StatusCode) -> Response {
    let Problem { kind, message, field, hint } = problem;
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": message,
        "kind": kind,
        "field": field,
        "hint": hint,
    });
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if matches!(kind, ErrorKind::Unavailable | ErrorKind::NoSpace) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

pub(super) async fn no_route(uri: Uri) -> ApiProblem {
    ApiProblem(
        Problem::not_found(format!("there is nothing at `{}`", uri.path())).hint("the API is below /api/v1"),
    )
}
