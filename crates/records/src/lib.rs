//! The record log: predictions and labels taken in durably, kept as Parquet segments, joined and cut into snapshots.
//!
//! Each model has its own log. [`intake`] reads bodies of any format into columns. An append goes to a write-ahead log and
//! is on disk before it is acknowledged (`wal`); from time to time the tail becomes a pair of Parquet files that a
//! catalogue names ([`archive`]), in a folder or a bucket, which several replicas may share. Every arrival has a position
//! in its replica's log, so readers follow from where they stopped ([`RecordLog::fresh`]).
//! [`RecordLog::view`] is everything at one moment, [`RecordLog::table`] joins records with the labels known at a time,
//! [`RecordLog::parts`] does so part by part and only for the columns that are asked for, and [`RecordLog::snapshot`] fixes
//! training data that can be made again to the same digest.
//!
//! [`calls`] makes records of calls that the gateway or others saw. [`frame::Frame`] reads the data files that people bring.

pub mod archive;
pub mod calls;
mod codec;
mod foreign;
pub mod frame;
pub mod history;
pub mod intake;
mod log;
pub mod personal;
mod quarantine;
pub mod reference;
mod rows;
pub mod secret;
mod snapshot;
mod table;
mod wal;

pub use log::{
    Appended, Batches, Compacted, Cursor, Detail, Dropped, Erase, Fresh, Limits, LogStats, Part, Parts,
    RecordLog, Recovery, SegmentFiles, View, Which,
};
pub use quarantine::Quarantined;
pub use rows::{Kind, Refusal, Refusals, Rows};
pub use snapshot::Snapshot;
pub use table::{Arms, Scan, Table};

use jiff::Timestamp;
use steersman_domain::{Label, Record};

/// Something that arrived, with its position in the model's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// Position, from 0 without gaps.
    pub seq: u64,
    /// When it was taken in, by the platform's clock.
    pub received_at: Timestamp,
    /// What it is.
    pub item: Item,
}

/// What arrives.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A prediction.
    Record(Record),
    /// The truth about one.
    Label(Label),
}
