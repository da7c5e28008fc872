//! Windows, profiles, monitors and signals: what a model does, compared with what it was trained on.
//!
//! - [`reference::ReferenceProfile`]: what is ordinary, learnt from the reference.
//! - [`compare`]: two data sets, once, without a model.
//! - [`measure`]: the findings of one window. Pure.
//! - [`monitor`]: evidence over windows of one monitor, and when it becomes a signal. Pure.
//! - [`joint`]: evidence over windows of all columns together. Pure.
//! - [`watcher::Watcher`]: follows the record log, closes windows, and says what is to be written.

pub mod compare;
mod expected;
pub mod joint;
mod maturity;
pub mod measure;
pub mod monitor;
pub mod reference;
pub mod watcher;

pub use reference::ReferenceProfile;
pub use watcher::Watcher;
