//! The record log: durable ingest, Parquet segments, label joins, snapshots
