//! Detectors by name.

use super::{Adwin, Cusum, Ddm, Eddm, HddmA, HddmW, Kswin, PageHinkley, StreamDetector, StreamState};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which detector, as a specification or a command line names it.
///
/// ```
/// use steersman_stats::stream::{StreamDetector, StreamDetectorKind};
/// let kind: StreamDetectorKind = "page_hinkley".parse().unwrap();
/// let mut detector = kind.build(0);
/// detector.update(1.5).unwrap();
/// assert_eq!(kind.to_string(), "page_hinkley");
/// assert!("page-hinkley".parse::<StreamDetectorKind>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamDetectorKind {
    /// [`Adwin`].
    Adwin,
    /// [`Ddm`].
    Ddm,
    /// [`Eddm`].
    Eddm,
    /// [`HddmA`].
    HddmA,
    /// [`HddmW`].
    HddmW,
    /// [`PageHinkley`].
    PageHinkley,
    /// [`Cusum`].
    Cusum,
    /// [`Kswin`].
    Kswin,
}

impl StreamDetectorKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Adwin,
        Self::Ddm,
        Self::Eddm,
        Self::HddmA,
        Self::HddmW,
        Self::PageHinkley,
        Self::Cusum,
        Self::Kswin,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adwin => "adwin",
            Self::Ddm => "ddm",
            Self::Eddm => "eddm",
            Self::HddmA => "hddm_a",
            Self::HddmW => "hddm_w",
            Self::PageHinkley => "page_hinkley",
            Self::Cusum => "cusum",
            Self::Kswin => "kswin",
        }
    }

    /// A detector of this kind with its default parameters; only [`Kswin`] makes use of the seed.
    pub fn build(self, seed: u64) -> AnyStreamDetector {
        match self {
            Self::Adwin => AnyStreamDetector::Adwin(Adwin::default()),
            Self::Ddm => AnyStreamDetector::Ddm(Ddm::default()),
            Self::Eddm => AnyStreamDetector::Eddm(Eddm::default()),
            Self::HddmA => AnyStreamDetector::HddmA(HddmA::default()),
            Self::HddmW => AnyStreamDetector::HddmW(HddmW::default()),
            Self::PageHinkley => AnyStreamDetector::PageHinkley(PageHinkley::default()),
            Self::Cusum => AnyStreamDetector::Cusum(Cusum::default()),
            Self::Kswin => AnyStreamDetector::Kswin(Kswin::seeded(seed)),
        }
    }
}

impl fmt::Display for StreamDetectorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for StreamDetectorKind {
    type Err = StatsError;

    fn from_str(name: &str) -> Result<Self, StatsError> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(StatsError::Domain(
            "a stream detector is adwin, ddm, eddm, hddm_a, hddm_w, page_hinkley, cusum or kswin",
        ))
    }
}

/// A detector of any kind, to be kept and stored beside others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnyStreamDetector {
    /// [`Adwin`].
    Adwin(Adwin),
    /// [`Ddm`].
    Ddm(Ddm),
    /// [`Eddm`].
    Eddm(Eddm),
    /// [`HddmA`].
    HddmA(HddmA),
    /// [`HddmW`].
    HddmW(HddmW),
    /// [`PageHinkley`].
    PageHinkley(PageHinkley),
    /// [`Cusum`].
    Cusum(Cusum),
    /// [`Kswin`].
    Kswin(Kswin),
}

impl AnyStreamDetector {
    fn inner(&mut self) -> &mut dyn StreamDetector {
        match self {
            Self::Adwin(detector) => detector,
            Self::Ddm(detector) => detector,
            Self::Eddm(detector) => detector,
            Self::HddmA(detector) => detector,
            Self::HddmW(detector) => detector,
            Self::PageHinkley(detector) => detector,
            Self::Cusum(detector) => detector,
            Self::Kswin(detector) => detector,
        }
    }
}

impl StreamDetector for AnyStreamDetector {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        self.inner().update(value)
    }

    fn reset(&mut self) {
        self.inner().reset();
    }
}
