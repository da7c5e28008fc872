//! Carries intents out on this machine: training programs, model servers, scoring. Each at least once and idempotent.
//!
//! - [`command`]: one program, in its own process group, with a time limit and a log.
//! - [`train`]: a training run from snapshot to artefact.
//! - [`server`]: model servers, kept running and restarted with care.
//! - [`infer`]: rows through a model server.
//! - [`artifact`]: digests and copies of artefacts.

pub mod artifact;
pub mod command;
pub mod infer;
pub mod server;
pub mod train;
