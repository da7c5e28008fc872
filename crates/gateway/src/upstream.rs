//! A model server as the gateway knows it: where it is, how it is, what is under way to it.

use crate::breaker::{Breaker, Outcome, Pass};
use crate::fault::{Fault, Faults};
use crate::route::{ServerHealth, Target};
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Scheme and authority: connections to it may be used again for all that have the same.
    pub(crate) key: Arc<str>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The name that its certificate must have; none without TLS.
    pub(crate) tls: Option<ServerName<'static>>,
    /// The `Host` header.
    pub(crate) authority: HeaderValue,
    /// What goes before each path.
    pub(crate) prefix: String,
}

impl Origin {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, usual) = match scheme {
            "http" => (None, 80),
            "https" => (Some(ServerName::try_from(host.clone()).ok()?), 443),
            _ => return None,
        };
        // A user and a password in a URL are not sent.
        let authority = authority.as_str().rsplit('@').next()?;
        Some(Self {
            key: format!("{scheme}://{authority}").into(),
            port: uri.port_u16().unwrap_or(usual),
            tls,
            authority: authority.parse().ok()?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            host,
        })
    }
}

/// A model server.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) target: Target,
    /// None where the address is wrong.
    pub(crate) http: Option<Origin>,
    pub(crate) grpc: Option<Origin>,
    /// The header that tells callers who answered.
    pub(crate) version: HeaderValue,
    pub(crate) faults: Faults,
    breaker: Arc<Breaker>,
    in_flight: Arc<AtomicU64>,
}

/// One request's place at a server; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pass: Pass,
    in_flight: Arc<AtomicU64>,
}

impl Upstream {
    pub(crate) fn new(target: Target) -> Self {
        let grpc = target.grpc.as_deref().unwrap_or(&target.url);
        Self {
            http: Origin::parse(&target.url),
            grpc: Origin::parse(grpc),
            version: HeaderValue::try_from(target.version.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            faults: Faults::default(),
            breaker: Arc::default(),
            in_flight: Arc::default(),
            target,
        }
    }

    /// A place for one more request, if it is well and not too busy.
    pub(crate) fn seat(&self, most: u64, replaceable: bool) -> Result<Seat, Fault> {
        let one_more = |count: u64| (count < most).then(|| count + 1);
        let counted = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map_err(|_| Fault::Busy)?;
        match self.breaker.admit(Instant::now(), replaceable) {
            Some(pass) => Ok(Seat { pass, in_flight: self.in_flight.clone() }),
            None => {
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                Err(Fault::BreakerOpen)
            }
        }
    }

    pub(crate) fn health(&self) -> ServerHealth {
        ServerHealth {
            version: self.target.version,
            breaker: self.breaker.state(),
            breaker_opened: self.breaker.opened(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            faults: self.faults.counts().filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Seat {
    pub(crate) fn conclude(&mut self, outcome: Outcome) {
        self.pass.conclude(outcome, Instant::now());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_none_is_told() {
        let origin = Origin::parse("http://[::1]:9000/base/").unwrap();
        assert_eq!((origin.host.as_str(), origin.port, origin.prefix.as_str()), ("::1", 9000, "/base"));
        let origin = Origin::parse("https://u:p@models.example.org").unwrap();
        assert_eq!((origin.port, &*origin.key), (443, "https://models.example.org"));
        assert!(["ftp://x", "x:9", "", "http://"].iter().all(|url| Origin::parse(url).is_none()));
    }
}
