//! Keeps other sites' pages in a browser on this machine from using the API (DNS rebinding, cross-site requests).

use super::ApiProblem;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use steersman_domain::{ErrorKind, Problem};

/// Lets a request through if it names this machine, and, where it changes something, comes from no other site.
pub(super) async fn same_site(request: Request, next: Next) -> Result<Response, ApiProblem> {
    let forbidden = |message: &str| ApiProblem(Problem::new(ErrorKind::Forbidden, message));
    let host = text(request.headers(), header::HOST).unwrap_or_default();
    if !local(&host) {
        let problem = forbidden("requests must name this machine: localhost, 127.0.0.1 or [::1]");
        return Err(problem);
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let origin = text(request.headers(), header::ORIGIN);
    if !reads && origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host.as_str())) {
        return Err(forbidden("a page of another site may not change anything here"));
    }
    Ok(next.run(request).await)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    ["localhost", "127.0.0.1", "::1"].contains(&name)
}
