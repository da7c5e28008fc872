//! The words of Steersman as types: ids, specs, records, measurements, facts and error kinds.
//!
//! Nothing here does I/O, reads a clock or spawns. Every other crate speaks in these types, so a word means the
//! same in a table, a route, a flag and a page.
//!
//! | word | type |
//! | --- | --- |
//! | model, version | [`ModelName`], [`Version`] |
//! | record, label | [`Record`], [`Label`] |
//! | schema of a record | [`Schema`] |
//! | window, measurement | [`Window`], [`Measurement`] |
//! | comparison of two data sets | [`comparison::Comparison`] |
//! | estimation of performance | [`estimation::Estimation`] |
//! | simulated rollouts | [`simulation::RolloutSimulation`] |
//! | replay of policies | [`tuning::Tuning`] |
//! | spec | [`ModelSpec`] |
//! | configuration of a server | [`config::ServerConfig`] |
//! | fact, entry of the ledger | [`Fact`], [`Entry`] |
//! | error kind | [`Problem`], [`ErrorKind`] |
//!
//! Start reading at [`fact`]: what can be in the ledger is what the platform can do.

pub mod comparison;
pub mod config;
pub mod estimation;
pub mod fact;
pub mod id;
pub mod measurement;
pub mod oip;
pub mod problem;
pub mod record;
pub mod schema;
pub mod simulation;
pub mod spec;
pub mod time;
pub mod tuning;

pub use fact::{Actor, Entry, Fact};
pub use id::{Digest, IncidentId, IntentId, ModelName, RecordId, RolloutId, RunId, SignalId, Version};
pub use measurement::{Measurement, MonitorKind, Reading};
pub use problem::{ErrorKind, Problem};
pub use record::{Arm, Label, Record, Value};
pub use schema::{ColumnKind, Schema};
pub use spec::{ModelSpec, Task};
pub use time::{Period, Window};
