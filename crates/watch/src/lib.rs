//! Windows, profiles, monitors and signals: what a model does, compared with what it was trained on.
//!
//! - [`reference::ReferenceProfile`]: what is ordinary, learnt from the reference.
//! - [`compare`]: two data sets, once, without a model.
//! - [`estimate`]: how good predictions are before their labels are there, once, without a model.
//! - [`measure`]: the findings of one window. Pure.
//! - [`monitor`]: evidence over windows of one monitor, and when it becomes a signal. Pure.
//! - [`joint`]: evidence over windows of all columns together. Pure.
//! - `monitors`: the monitors of all records, or of those of a segment. Pure.
//! - [`operation`]: traffic, failed calls, latency and cost. Pure.
//! - `together`: all features together, how they hang together. Pure.
//! - [`quality`]: what is wrong with the data themselves, and what did not get in. Pure.
//! - [`segments`]: the same within declared segments, and where the model is weak. Pure.
//! - [`silence`]: nothing comes any more. Pure.
//! - [`tune`]: monitor and retrain policies replayed on labelled history.
//! - [`watcher::Watcher`]: follows the record log, closes windows, and says what is to be written.

pub mod compare;
pub mod estimate;
mod expected;
pub mod joint;
mod maturity;
pub mod measure;
pub mod monitor;
mod monitors;
pub mod operation;
pub mod quality;
pub mod reference;
pub mod segments;
pub mod silence;
mod together;
pub mod tune;
pub mod watcher;

pub use reference::ReferenceProfile;
pub use watcher::Watcher;
