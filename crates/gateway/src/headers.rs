//! Headers: what a request may not say, what is about one connection alone, what a copy does not get.

use crate::fault::ClientFault;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const SHADOW: HeaderName = HeaderName::from_static("x-shadow");
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-steersman-version");
/// Names the model where the path does not.
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-steersman-model");
/// The length of the JSON before binary tensors.
pub(crate) const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Headers that are about one connection alone (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers that prove who somebody is. A copy has no business with them.
const CREDENTIALS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Why a request is refused by its head.
pub(crate) struct Refusal {
    pub(crate) fault: ClientFault,
    pub(crate) status: StatusCode,
    pub(crate) detail: &'static str,
}

/// Refuses what two servers in a row could read in two ways (RFC 9112, sections 3.2, 6.1 and 6.3). What the parser
/// refuses by itself is not asked again: folded lines, spaces before a colon, two lengths that differ.
pub(crate) fn check(parts: &Parts) -> Result<(), Refusal> {
    let ambiguous =
        |detail| Err(Refusal { fault: ClientFault::Ambiguous, status: StatusCode::BAD_REQUEST, detail });
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        let (fault, status) = (ClientFault::Malformed, StatusCode::METHOD_NOT_ALLOWED);
        return Err(Refusal { fault, status, detail: "this method is not passed on" });
    }
    if climbs(parts.uri.path()) {
        return ambiguous("a path must not have `.` or `..` between its slashes");
    }
    if parts.version >= Version::HTTP_2 {
        return Ok(());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, None) if parts.version == Version::HTTP_11 => {
            return ambiguous("a request must have a `Host` header");
        }
        (_, Some(_)) => return ambiguous("a request must have one `Host` header"),
        (Some(host), None) if host.as_bytes().iter().any(|byte| b" \t,/@".contains(byte)) => {
            return ambiguous("the `Host` header names no host");
        }
        _ => {}
    }
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => ambiguous("the only transfer encoding that is read is `chunked`"),
    }
}

/// Whether a path leads up again: below a server's own path it could leave it.
fn climbs(path: &str) -> bool {
    // Most paths have none of these.
    if !path.contains("/.") && !path.contains('%') {
        return false;
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    plain.split('/').any(|part| matches!(part, "." | ".."))
}

/// Whether the connection must end with this request: of a request in chunks it is not known whether it had a length
/// too, by which a server in front might have told its end.
pub(crate) fn ends_connection(parts: &Parts) -> bool {
    parts.version < Version::HTTP_2 && parts.headers.contains_key(header::TRANSFER_ENCODING)
}

/// Removes what must not be passed on: hop-by-hop headers and those that `Connection` names.
pub(crate) fn strip_hops(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Readies a caller's headers for a server. The length is set anew from the body.
pub(crate) fn ready_request(headers: &mut HeaderMap, version: Version) {
    strip_hops(headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    headers.remove(header::HOST);
    let via = if version >= Version::HTTP_2 { "2 steersman" } else { "1.1 steersman" };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// Takes away what proves who the caller is, and marks the request as a copy.
pub(crate) fn make_copy(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        headers.remove(name);
    }
    headers.insert(SHADOW, HeaderValue::from_static("1"));
}

/// A header as text, if it is there and is text.
pub(crate) fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
