//! The platform in one process: its loop, its HTTP API and its pages.
//!
//! [`Platform`] joins the rooms: it takes telemetry in, lets `watch` measure, lets `decide` decide, writes facts, and
//! lets `act` carry them out. [`api`] is a thin layer of handlers over it; [`pages`] shows people what the API gives to
//! machines. Start reading at [`platform`].

pub mod api;
pub mod pages;
pub mod platform;

pub use platform::{Clock, IngestLimits, Offline, Options, Platform, Replica, open_archive};
