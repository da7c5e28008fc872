//! What can go wrong on either side of the gateway, by name, and how often it did.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a model server gave no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Its address is none.
    BadAddress,
    /// Nobody listens there.
    Unreachable,
    /// It took too long to accept the connection.
    ConnectTimeout,
    /// No TLS connection came about: an unknown certificate, for example.
    Tls,
    /// As many requests as allowed are under way to it.
    Busy,
    /// It failed lately and is left alone for a moment.
    BreakerOpen,
    /// It ended the connection before its answer began.
    ClosedEarly,
    /// What it sent is not HTTP.
    Malformed,
    /// Its answer did not begin in time.
    FirstByteTimeout,
    /// It fell silent in the middle of its answer.
    IdleTimeout,
    /// Its answer is shorter than it said.
    CutShort,
    /// Its answer is larger than what is passed on.
    TooLarge,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BadAddress,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Busy,
        Self::BreakerOpen,
        Self::ClosedEarly,
        Self::Malformed,
        Self::FirstByteTimeout,
        Self::IdleTimeout,
        Self::CutShort,
        Self::TooLarge,
    ];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadAddress => "bad_address",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Busy => "busy",
            Self::BreakerOpen => "breaker_open",
            Self::ClosedEarly => "closed_early",
            Self::Malformed => "malformed",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::CutShort => "cut_short",
            Self::TooLarge => "too_large",
        }
    }

    /// What a caller is told.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::BadAddress => "its address is wrong",
            Self::Unreachable => "cannot be reached",
            Self::ConnectTimeout => "does not accept connections in time",
            Self::Tls => "does not agree on a TLS connection",
            Self::Busy => "as many requests as allowed are under way",
            Self::BreakerOpen => "failed lately; it is tried again in a moment",
            Self::ClosedEarly => "ended the connection",
            Self::Malformed => "sent something that is not HTTP",
            Self::FirstByteTimeout => "did not answer in time",
            Self::IdleTimeout => "fell silent in the middle of its answer",
            Self::CutShort => "its answer broke off",
            Self::TooLarge => "its answer is too large",
        }
    }

    /// Nothing of the request was sent, so another server may be asked.
    pub(crate) fn unreached(self) -> bool {
        matches!(
            self,
            Self::BadAddress
                | Self::Unreachable
                | Self::ConnectTimeout
                | Self::Tls
                | Self::Busy
                | Self::BreakerOpen
        )
    }

    /// The server itself was not asked: says nothing about how it is.
    pub(crate) fn own_decision(self) -> bool {
        matches!(self, Self::Busy | Self::BreakerOpen)
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Busy | Self::BreakerOpen => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::IdleTimeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// What a caller did wrong, or stopped doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientFault {
    /// What came is not HTTP.
    Malformed,
    /// It can be read in more than one way: two hosts, an unknown transfer encoding, a path that leads up.
    Ambiguous,
    /// More header than allowed.
    HeadTooLarge,
    /// A larger body than allowed.
    BodyTooLarge,
    /// Head or body came too slowly.
    TooSlow,
    /// It does not read its answer.
    Stalled,
    /// It went away before its answer was whole.
    Aborted,
    /// No TLS connection came about.
    Tls,
}

impl ClientFault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Ambiguous,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::TooSlow,
        Self::Stalled,
        Self::Aborted,
        Self::Tls,
    ];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::TooSlow => "too_slow",
            Self::Stalled => "stalled",
            Self::Aborted => "aborted",
            Self::Tls => "tls",
        }
    }
}

/// How often each of `N` things happened.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    fn add(&self, place: usize) {
        if let Some(count) = self.0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn each<K: Copy>(&self, all: [K; N]) -> impl Iterator<Item = (K, u64)> {
        all.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Faults of one model server.
pub(crate) type Faults = Tally<{ Fault::ALL.len() }>;
/// Faults of callers.
pub(crate) type ClientFaults = Tally<{ ClientFault::ALL.len() }>;

impl Faults {
    pub(crate) fn count(&self, fault: Fault) {
        self.add(fault as usize);
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (Fault, u64)> {
        self.each(Fault::ALL)
    }
}

impl ClientFaults {
    pub(crate) fn count_client(&self, fault: ClientFault) {
        self.add(fault as usize);
    }

    pub(crate) fn client_counts(&self) -> impl Iterator<Item = (ClientFault, u64)> {
        self.each(ClientFault::ALL)
    }
}
