//! The share of labels that have arrived by an age, and how mature a window is.

use super::DelayModel;
use crate::error::StatsError;
use crate::interval::{Interval, wilson_share};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A number is final when at least this share of its labels ought to be there.
pub const FINAL: f64 = 0.95;

/// A stratum with fewer labels than this is judged by the delays of all strata together.
const FEWEST_LABELS: u64 = 50;

/// The share of labels that have arrived by an age.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Arrived {
    /// The share, with its interval.
    Known(Interval),
    /// No record has reached this age. This share has arrived at the oldest age that was seen; how many more is not
    /// known.
    AtLeast(Interval),
}

impl Arrived {
    /// The share, or the least it can be.
    pub fn share(&self) -> f64 {
        match self {
            Self::Known(share) | Self::AtLeast(share) => share.value,
        }
    }
}

/// One step of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Age in seconds.
    pub age: i64,
    /// Records that had reached this age and had no label just before.
    pub waiting: u64,
    /// Labels that arrived at this age.
    pub arrived: u64,
    /// Share of labels that arrived up to here.
    pub share: f64,
    /// Greenwood's standard error of the share.
    pub error: f64,
}

/// Kaplan and Meier's estimate of the share of labels that have arrived by an age.
///
/// `F(k) = 1 - prod_{j <= k} (1 - d_j / n_j)` over cells of age, `d_j` labels arriving among `n_j` records that are that
/// old and have none; variance `(1 - F)^2 sum d_j / (n_j (n_j - d_j))` (Kaplan and Meier, JASA 53, 1958; Greenwood
/// 1926). The interval is Wilson's with the number of records that would have this variance (Rothman, Journal of
/// Chronic Diseases 31, 1978), so it stays in `[0, 1]` and has a width when no label, or every one, has arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    cell: i64,
    steps: Vec<Step>,
    longest: u32,
}

impl DelayModel {
    /// The curve of a stratum, or of all records together, as seen at `now`.
    ///
    /// ```
    /// use steersman_stats::labels::DelayModel;
    /// let mut model = DelayModel::new(1).unwrap();
    /// model.add_records("all", &[0, 4, 7, 7]);
    /// model.add_labels("all", &[0, 7], &[2, 8], &[true, false]).unwrap(); // after 2 s and after 1 s
    /// let curve = model.curve(None, 10).unwrap(); // the others have waited for 6 s and 3 s
    /// assert_eq!(curve.steps()[0].share, 0.25); // one of four
    /// assert_eq!(curve.steps()[1].share, 0.5); // one of the three left
    /// ```
    pub fn curve(&self, stratum: Option<&str>, now: i64) -> Result<Curve, StatsError> {
        let mut arrived: BTreeMap<u32, u64> = BTreeMap::new();
        let mut censored: BTreeMap<u32, u64> = BTreeMap::new();
        let mut records = 0;
        for cohort in self.seen(stratum, now) {
            for (cell, [negative, positive]) in cohort.arrivals() {
                *arrived.entry(cell).or_default() += negative + positive;
            }
            *censored.entry(cohort.age).or_default() += cohort.waiting();
            records += cohort.records();
        }
        let longest = censored.keys().last().copied();
        let longest = longest.ok_or(StatsError::TooFew { needed: 1, got: 0 })?;
        let (mut left, mut survival, mut spread) = (records, 1.0, 0.0);
        let mut leaving = censored.into_iter().peekable();
        let mut steps = Vec::with_capacity(arrived.len());
        for (cell, count) in arrived {
            while let Some((_, gone)) = leaving.next_if(|(age, _)| *age < cell) {
                left -= gone;
            }
            let (at_risk, events) = (left as f64, count as f64);
            survival *= 1.0 - events / at_risk;
            spread += if count < left { events / (at_risk * (at_risk - events)) } else { 0.0 };
            steps.push(Step {
                age: i64::from(cell).saturating_mul(self.cell()),
                waiting: left,
                arrived: count,
                share: 1.0 - survival,
                error: survival * f64::sqrt(spread),
            });
            left -= count;
        }
        Ok(Curve { cell: self.cell(), steps, longest })
    }

    /// The curve of a stratum; that of all strata where the stratum has too few labels to tell.
    fn curve_or_all(&self, stratum: &str, now: i64) -> Result<Curve, StatsError> {
        match self.curve(Some(stratum), now) {
            Ok(curve) if curve.labels() >= FEWEST_LABELS => Ok(curve),
            _ => self.curve(None, now),
        }
    }

    /// How mature the window `[start, end)` is at `now`; its records are weighed by the curves of their strata.
    ///
    /// ```
    /// use steersman_stats::labels::DelayModel;
    /// let mut model = DelayModel::new(1).unwrap();
    /// let (old, young) = ([0; 100], [100; 10]);
    /// model.add_records("all", &old);
    /// model.add_labels("all", &old[..50], &[10; 50], &[true; 50]).unwrap();
    /// model.add_labels("all", &old[..50], &[20; 50], &[false; 50]).unwrap();
    /// model.add_records("all", &young);
    /// let maturity = model.maturity(100..101, 115).unwrap(); // at an age at which half of the labels are there
    /// assert_eq!((maturity.records, maturity.arrived), (10, 0));
    /// assert!((maturity.share() - 50.0 / 110.0).abs() < 1e-12 && !maturity.is_final());
    /// ```
    pub fn maturity(&self, window: Range<i64>, now: i64) -> Result<Maturity, StatsError> {
        let within = self.cells(&window);
        let mut maturity = Maturity { records: 0, arrived: 0, expected: 0.0, at_least: false };
        for stratum in self.strata() {
            let cohorts = || self.seen(Some(stratum), now).filter(|cohort| within.contains(&cohort.index));
            if cohorts().next().is_none() {
                continue;
            }
            let curve = self.curve_or_all(stratum, now)?;
            for cohort in cohorts() {
                let arrived = curve.arrived_by_cell(cohort.age);
                maturity.records += cohort.records();
                maturity.arrived += cohort.records() - cohort.waiting();
                maturity.expected += arrived.share() * cohort.records() as f64;
                maturity.at_least |= matches!(arrived, Arrived::AtLeast(_));
            }
        }
        if maturity.records == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        Ok(maturity)
    }

    /// The latest window of `length` seconds, ending with a cohort before `now`, that is final: what to look at where a
    /// young window cannot be corrected. None when none is.
    pub fn latest_final(&self, length: i64, now: i64) -> Result<Option<Range<i64>>, StatsError> {
        if length < self.cell() {
            return Err(StatsError::Domain("a window lasts at least one cell of time"));
        }
        let curves: BTreeMap<&str, Curve> = self
            .strata()
            .filter_map(|stratum| Some((stratum, self.curve_or_all(stratum, now).ok()?)))
            .collect();
        // Records, and labels that ought to be there, of each cell.
        let mut cells: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for (stratum, curve) in &curves {
            for cohort in self.seen(Some(stratum), now) {
                let (records, expected) = cells.entry(cohort.index).or_default();
                *records += cohort.records() as f64;
                *expected += cohort.records() as f64 * curve.arrived_by_cell(cohort.age).share();
            }
        }
        let Some((&first, _)) = cells.first_key_value() else { return Ok(None) };
        for end in cells.keys().rev().map(|index| index + 1) {
            let start = end.saturating_sub(length / self.cell());
            let window = cells.range(start..end).map(|(_, counts)| counts);
            let (records, expected) = window.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
            if start >= first && records > 0.0 && expected >= FINAL * records {
                return Ok(Some(start * self.cell()..end * self.cell()));
            }
        }
        Ok(None)
    }
}

impl Curve {
    /// The steps by age.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Labels that arrived.
    pub fn labels(&self) -> u64 {
        self.steps.iter().map(|step| step.arrived).sum()
    }

    /// The age of the oldest record in seconds: nothing is known of labels that take longer.
    pub fn longest(&self) -> i64 {
        i64::from(self.longest).saturating_mul(self.cell)
    }

    /// The share of labels that have arrived by this age in seconds.
    pub fn arrived_by(&self, age: i64) -> Result<Arrived, StatsError> {
        if age < 0 {
            return Err(StatsError::Domain("an age is not negative"));
        }
        Ok(self.arrived_by_cell(u32::try_from(age / self.cell).unwrap_or(u32::MAX)))
    }

    fn arrived_by_cell(&self, cell: u32) -> Arrived {
        let age = i64::from(cell).saturating_mul(self.cell);
        let after = self.steps.partition_point(|step| step.age <= age);
        let last = after.checked_sub(1).and_then(|index| self.steps.get(index));
        let (share, error) = last.map_or((0.0, 0.0), |step| (step.share, step.error));
        // The number of records that would have Greenwood's variance if none were still waiting.
        let effective = if error > 0.0 {
            share * (1.0 - share) / (error * error)
        } else if last.is_some() {
            self.labels() as f64
        } else {
            self.steps.first().map_or(0.0, |step| step.waiting as f64)
        };
        let interval = wilson_share(share.clamp(0.0, 1.0), effective.max(1.0));
        if cell <= self.longest || share >= 1.0 {
            Arrived::Known(interval)
        } else {
            Arrived::AtLeast(interval)
        }
    }

    /// The age in seconds by which this share of labels has arrived; none if it was not seen yet.
    pub fn age_of(&self, share: f64) -> Option<i64> {
        self.steps.iter().find(|step| step.share >= share).map(|step| step.age)
    }
}

/// How many labels of a window are there, and how many ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Maturity {
    /// Records.
    pub records: u64,
    /// Labels that have arrived. Far fewer than `expected` means that the feed of labels has stalled.
    pub arrived: u64,
    /// Labels that ought to have arrived: the sum over records of the probability that the label is there.
    pub expected: f64,
    /// Whether some records are older than any before them, so that `expected` is the least it can be.
    pub at_least: bool,
}

impl Maturity {
    /// The maturity: the share of labels that ought to have arrived, in `[0, 1]`.
    pub fn share(&self) -> f64 {
        (self.expected / self.records.max(1) as f64).clamp(0.0, 1.0)
    }

    /// Whether a number about this window may be shown as final.
    pub fn is_final(&self) -> bool {
        self.share() >= FINAL
    }
}
