//! Evidence of whole windows, over time: one alarm with one budget for all columns.
//!
//! A change may be small in many columns, lasting in one, or gross. Each has an e-detector that is quick about it, and
//! their weighted mean is an e-detector too, with the same budget, however they depend on each other:
//!
//! - *together* (45 %): the e-values of a window's columns are averaged before they go into a detector;
//! - *each* (45 %): every column has its own detector, and these are averaged;
//! - *jump* (10 %): pays `10/alpha`, the alarm itself, if the smallest p-value of a window, times the number of tests, is at
//!   most `alpha/10`. So a gross change is found in its first window, although averages thin the evidence of one column.
//!
//! The first two multiply what windows say, so a p-value must be valid given the windows before. That of a *run* of windows
//! is not: in its tenth window a run is hardly more than it was in the ninth. Its p-value goes into the jump alone, whose
//! alarms are at most `alpha/10` of the windows if it is valid for each window by itself.
//!
//! *Only what matters counts.* The evidence of an aspect whose effect is not beyond its ordinary range and its floor is
//! cut to at most 1. Cutting an e-value leaves it one, so this costs nothing but attention for trifles.
//!
//! When the alarm goes off, e-BH says which columns.

use super::multiplicity::e_bh;
use crate::detector::{Detector, calibrate};
use crate::error::StatsError;
use crate::sequential::mean_of_logs;
use serde::{Deserialize, Serialize};

/// The weight of the detector of jumps; the others share the rest.
const JUMP: f64 = 0.1;
/// The evidence before the first window: a finite number, so that it can be stored.
const LEAST: f64 = -30.0;
/// The share of columns named in vain that is accepted.
const FALSELY_NAMED: f64 = 0.1;

/// What one aspect of a column says in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AspectEvidence {
    /// The p-value, in `(0, 1]`.
    pub p_value: f64,
    /// Whether the effect is beyond the ordinary range and the floor.
    pub matters: bool,
    /// Whether it is about a run of windows up to this one, so that the windows before have said the same.
    pub run: bool,
}

impl AspectEvidence {
    /// What this window says by itself.
    pub fn of_window(p_value: f64, matters: bool) -> Self {
        Self { p_value, matters, run: false }
    }
}

/// The evidence of one column in one window, as the logarithm of an e-value: the mean over its aspects, each cut to at
/// most 1 where it does not matter. Runs of windows do not count here. A column about which nothing is known says 0.
///
/// ```
/// use steersman_stats::calibration::{AspectEvidence, column_log_e};
/// let seen = AspectEvidence::of_window(0.001, true);
/// let trifle = AspectEvidence::of_window(0.001, false);
/// // (20.791 + 1) / 2
/// assert!((column_log_e(&[seen, trifle]).unwrap() - 10.895_6f64.ln()).abs() < 1e-4);
/// ```
pub fn column_log_e(aspects: &[AspectEvidence]) -> Result<f64, StatsError> {
    let log_e = |aspect: &AspectEvidence| {
        let log_e = calibrate(aspect.p_value)?;
        Ok(if aspect.matters { log_e } else { log_e.min(0.0) })
    };
    let own = aspects.iter().filter(|aspect| !aspect.run);
    let logs = own.map(log_e).collect::<Result<Vec<f64>, StatsError>>()?;
    Ok(if logs.is_empty() { 0.0 } else { mean_of_logs(&logs) })
}

/// What the detector says after a window.
#[derive(Debug, Clone, PartialEq)]
pub struct JointVerdict {
    /// The evidence of this window alone, as the logarithm of an e-value.
    pub log_e: f64,
    /// The evidence so far; the alarm level is `-ln(alpha)`.
    pub log_m: f64,
    /// Whether the alarm goes off.
    pub alarms: bool,
    /// The columns that are named, by position, when it does: those of a jump and those of e-BH, or the one with the most
    /// evidence.
    pub columns: Vec<usize>,
}

/// The detector of one model's inputs.
///
/// ```
/// use steersman_stats::calibration::{AspectEvidence, JointDetector};
/// let mut detector = JointDetector::new(1.0 / 30.0, 12).unwrap();
/// let calm = vec![AspectEvidence::of_window(0.4, false)];
/// let mut window = vec![calm; 12];
/// assert!(!detector.observe(&window).unwrap().alarms);
/// window[3] = vec![AspectEvidence::of_window(1e-7, true)];
/// let verdict = detector.observe(&window).unwrap();
/// assert!(verdict.alarms && verdict.columns == [3]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointDetector {
    alpha: f64,
    joint: Detector,
    columns: Vec<Detector>,
    windows: u64,
    log_m: f64,
}

impl JointDetector {
    /// A detector with one false alarm in `1/alpha` windows, of so many columns.
    pub fn new(alpha: f64, columns: usize) -> Result<Self, StatsError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(StatsError::Domain("a budget is between 0 and 1 alarms a window"));
        }
        if columns == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        Ok(Self {
            alpha,
            joint: Detector::new(),
            columns: vec![Detector::new(); columns],
            windows: 0,
            log_m: LEAST,
        })
    }

    /// Takes one window in: the aspects of each column, in the same order of columns every time.
    pub fn observe(&mut self, window: &[Vec<AspectEvidence>]) -> Result<JointVerdict, StatsError> {
        if window.len() != self.columns.len() {
            return Err(StatsError::Length { left: self.columns.len(), right: window.len() });
        }
        let logs =
            window.iter().map(|column| column_log_e(column)).collect::<Result<Vec<f64>, StatsError>>()?;
        let log_e = mean_of_logs(&logs);
        self.windows += 1;
        self.joint.observe(log_e);
        self.columns.iter_mut().zip(&logs).for_each(|(column, log_e)| column.observe(*log_e));
        let jumped = self.jumped(window);
        self.log_m = self.mixed(!jumped.is_empty());
        let alarms = self.log_m >= -self.alpha.ln();
        let columns = if alarms { self.named(jumped)? } else { Vec::new() };
        Ok(JointVerdict { log_e, log_m: self.log_m, alarms, columns })
    }

    /// The mean of the three detectors.
    fn mixed(&self, jumped: bool) -> f64 {
        let each: Vec<f64> = self.columns.iter().map(Detector::log_m).collect();
        let averages =
            ((1.0 - JUMP) / 2.0).ln() + 2f64.ln() + mean_of_logs(&[self.joint.log_m(), mean_of_logs(&each)]);
        match jumped {
            true => mean_of_logs(&[averages, -self.alpha.ln()]) + 2f64.ln(),
            false => averages,
        }
    }

    /// The columns with a p-value that matters and is small among all tests of the window.
    fn jumped(&self, window: &[Vec<AspectEvidence>]) -> Vec<usize> {
        let tests = window.iter().map(Vec::len).sum::<usize>() as f64;
        let small = |aspect: &AspectEvidence| aspect.matters && aspect.p_value * tests <= JUMP * self.alpha;
        (0..window.len()).filter(|&column| window[column].iter().any(small)).collect()
    }

    /// The evidence so far of each column, as the logarithm of an e-value: what its own detector has, which is at most the
    /// number of windows in the mean, over that number.
    pub fn column_evidence(&self) -> Vec<f64> {
        let windows = (self.windows.max(1) as f64).ln();
        self.columns.iter().map(|column| column.log_m() - windows).collect()
    }

    fn named(&self, jumped: Vec<usize>) -> Result<Vec<usize>, StatsError> {
        let evidence = self.column_evidence();
        let mut named = e_bh(&evidence, FALSELY_NAMED)?;
        named.extend(jumped);
        named.sort_unstable();
        named.dedup();
        if !named.is_empty() {
            return Ok(named);
        }
        Ok((0..evidence.len()).max_by(|&a, &b| evidence[a].total_cmp(&evidence[b])).into_iter().collect())
    }

    /// The evidence so far; the alarm level is `-ln(alpha)`.
    pub fn log_m(&self) -> f64 {
        self.log_m
    }

    /// Forgets the evidence, after an alarm.
    pub fn reset(&mut self) {
        self.joint.reset();
        self.columns.iter_mut().for_each(Detector::reset);
        self.windows = 0;
        self.log_m = LEAST;
    }
}
