//! Tests that come one after another for ever: online control of the share of false findings.
//!
//! Each test gets a level from what the findings before it earned. All three rules keep the share of false findings at
//! or below `alpha` at every time for independent p-values; where tests depend on each other, combine e-values instead.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// How levels are earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnlineRule {
    /// LORD++: every test wears wealth down (Ramdas, Yang, Wainwright, Jordan, *Online control of the false discovery
    /// rate with decaying memory*, NeurIPS 2017, section 3).
    LordPlusPlus,
    /// SAFFRON: only p-values above 0.5 do (Ramdas, Zrnic, Wainwright, Jordan, ICML 2018, section 2.3).
    Saffron,
    /// ADDIS: only p-values above 0.25 and up to 0.5 do; larger ones are discarded, so that conservative tests cost
    /// nothing (Tian and Ramdas, NeurIPS 2019, section 3).
    Addis,
}

impl OnlineRule {
    /// P-values up to the first are candidates; those above the second are discarded.
    fn thresholds(self) -> (f64, f64) {
        match self {
            Self::LordPlusPlus => (0.0, 1.0),
            Self::Saffron => (0.5, 1.0),
            Self::Addis => (0.25, 0.5),
        }
    }

    /// The share of wealth that goes to the `age`-th test after a finding, from 1; the shares of all ages add up to 1.
    fn share(self, age: u64) -> f64 {
        let age = age as f64;
        match self {
            Self::LordPlusPlus => 0.077_208_38 * age.max(2.0).ln() / (age * age.ln().sqrt().exp()),
            Self::Saffron | Self::Addis => 0.437_490_165_8 * age.powf(-1.6),
        }
    }
}

/// A stream of tests.
///
/// ```
/// use steersman_stats::calibration::{OnlineFdr, OnlineRule};
/// let mut stream = OnlineFdr::new(OnlineRule::LordPlusPlus, 0.05).unwrap();
/// assert!((stream.level() - 0.001_337_9).abs() < 1e-7); // 0.07720838 ln(2) * 0.025
/// assert!(stream.observe(1e-4).unwrap());
/// assert!((stream.level() - 0.001_628_9).abs() < 1e-7); // aged half of the start, and what the finding earned
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnlineFdr {
    rule: OnlineRule,
    alpha: f64,
    /// Tests that count since the start and since each finding.
    ages: Vec<u64>,
}

impl OnlineFdr {
    /// A stream of which a share of at most `alpha` in `(0, 1)` of the findings is false. Half of it is spent before the
    /// first finding.
    pub fn new(rule: OnlineRule, alpha: f64) -> Result<Self, StatsError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(StatsError::Domain("a level is between 0 and 1"));
        }
        Ok(Self { rule, alpha, ages: vec![0] })
    }

    /// The level of the next test.
    pub fn level(&self) -> f64 {
        let earned = |(finding, age): (usize, &u64)| {
            // The start and the first finding share one `alpha`.
            let wealth = if finding < 2 { self.alpha / 2.0 } else { self.alpha };
            wealth * self.rule.share(age + 1)
        };
        let (candidate, kept) = self.rule.thresholds();
        let level = (kept - candidate) * self.ages.iter().enumerate().map(earned).sum::<f64>();
        if candidate > 0.0 { level.min(candidate) } else { level }
    }

    /// Takes the next p-value in, and says whether it is a finding.
    pub fn observe(&mut self, p_value: f64) -> Result<bool, StatsError> {
        if !(0.0..=1.0).contains(&p_value) {
            return Err(StatsError::Domain("a p-value is between 0 and 1"));
        }
        let found = p_value <= self.level();
        let (candidate, kept) = self.rule.thresholds();
        if p_value <= kept && (candidate == 0.0 || p_value > candidate) {
            self.ages.iter_mut().for_each(|age| *age += 1);
        }
        if found {
            self.ages.push(0);
        }
        Ok(found)
    }
}
