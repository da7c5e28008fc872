//! One column, window after window: what is ordinary for it, and what each window says about a change.
//!
//! Only counts and moments of a window are needed, so profiles suffice and no rows are kept.

use super::band::{NullBand, sums};
use super::effect::Floors;
use super::joint::AspectEvidence;
use super::ordinary::{Judgement, Level, Ordinary};
use super::window::{Aspect, Dispersion, WindowValue};
use crate::distance::jensen_shannon;
use crate::error::StatsError;
use statrs::distribution::{Binomial, DiscreteCDF as _};
use std::collections::BTreeMap;

/// What one window says about one column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnWindow {
    /// Values in each cell or category, the same cells in every window.
    pub cells: Vec<u64>,
    /// Rows without a value.
    pub missing: u64,
    /// Mean and standard deviation, of a column of numbers with at least two values. See [`WindowValue::location`] about
    /// outliers.
    pub moments: Option<(f64, f64)>,
    /// The season of the window, from 0.
    pub season: usize,
}

impl ColumnWindow {
    fn values(&self) -> u64 {
        self.cells.iter().sum()
    }
}

/// What is ordinary for a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnOrdinary {
    total: Vec<u64>,
    floors: Floors,
    /// The reference's standard deviation and the variance within its windows.
    unit: Option<(f64, f64)>,
    distances: Option<Distances>,
    aspects: Vec<(Aspect, Ordinary)>,
}

/// Distances of the reference's windows.
#[derive(Debug, Clone, PartialEq)]
struct Distances {
    dispersion: Dispersion,
    band: NullBand,
    /// Mean size of the windows of the band, in units of what a squared distance grows with.
    size: f64,
}

/// What is said about one window.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnJudgement {
    /// The Jensen-Shannon distance (base 2) from the reference; none without values.
    pub distance: Option<f64>,
    /// The ordinary range of the distance, for windows of this size.
    pub ordinary: Option<(f64, f64)>,
    /// What each aspect says, and whether it matters.
    pub aspects: Vec<(Aspect, Judgement, bool)>,
}

impl ColumnJudgement {
    /// The evidence for a [`super::JointDetector`].
    pub fn evidence(&self) -> Vec<AspectEvidence> {
        let of = |(_, judged, matters): &(Aspect, Judgement, bool)| {
            AspectEvidence::of_window(judged.p_value, *matters)
        };
        self.aspects.iter().map(of).collect()
    }
}

impl ColumnOrdinary {
    /// Learns from the reference's windows in order of time. Aspects that cannot be learnt (a column of categories has no
    /// mean, a constant one no spread) are left out; too few windows are an error.
    pub fn learn(windows: &[ColumnWindow], floors: Floors) -> Result<Self, StatsError> {
        let cells: Vec<Vec<u64>> = windows.iter().map(|window| window.cells.clone()).collect();
        let total = sums(&cells)?;
        let mut learnt = Self {
            unit: unit(windows),
            distances: Distances::learn(&total, &cells).ok(),
            total,
            floors,
            aspects: Vec::new(),
        };
        for aspect in [Aspect::Distance, Aspect::Location, Aspect::Spread, Aspect::Missing] {
            let of = |window: &ColumnWindow| learnt.value(aspect, window, true).ok();
            let values: Vec<WindowValue> = windows.iter().filter_map(of).collect();
            if let Ok(ordinary) = Ordinary::learn(&values, aspect) {
                learnt.aspects.push((aspect, ordinary));
            }
        }
        match learnt.aspects.is_empty() {
            true => Err(StatsError::TooFew { needed: 4, got: windows.len() }),
            false => Ok(learnt),
        }
    }

    /// The statistic of an aspect. A window that is a part of the reference is compared with the rest of it.
    fn value(&self, aspect: Aspect, window: &ColumnWindow, part: bool) -> Result<WindowValue, StatsError> {
        let unknown = StatsError::TooFew { needed: 2, got: 0 };
        let rows = window.values();
        let value = match aspect {
            Aspect::Distance => {
                let distances = self.distances.as_ref().ok_or(unknown)?;
                match part {
                    true => distances.dispersion.distance(&rest(&self.total, &window.cells), &window.cells),
                    false => distances.dispersion.distance(&self.total, &window.cells),
                }?
            }
            Aspect::Location => {
                let (mean, _) = window.moments.ok_or(unknown.clone())?;
                WindowValue::location(mean, self.unit.ok_or(unknown)?.1, rows)?
            }
            Aspect::Spread => {
                let (_, deviation) = window.moments.ok_or(unknown.clone())?;
                WindowValue::spread(deviation, self.unit.ok_or(unknown)?.0, rows)?
            }
            Aspect::Missing => WindowValue::missing(window.missing, rows + window.missing)?,
        };
        Ok(value.in_season(window.season))
    }

    /// What a window says. A window without values says nothing but how much is missing.
    pub fn judge(&self, window: &ColumnWindow) -> Result<ColumnJudgement, StatsError> {
        if window.cells.len() != self.total.len() {
            return Err(StatsError::Length { left: self.total.len(), right: window.cells.len() });
        }
        let distance = jensen_shannon(&self.total, &window.cells).ok();
        let band = self.distances.as_ref().and_then(|distances| distances.band_for(&self.total, window).ok());
        let mut aspects = Vec::new();
        for (aspect, ordinary) in &self.aspects {
            let Ok(value) = self.value(*aspect, window, false) else { continue };
            let mut judged = ordinary.judge(&value)?;
            if *aspect == Aspect::Spread && judged.z < 0.0 {
                judged.p_value = judged.p_value.max(as_concentrated(&self.total, &window.cells));
            }
            let matters = match (aspect, distance, &band) {
                (Aspect::Distance, Some(distance), Some(band)) => {
                    self.floors.distance_matters(distance, band)
                }
                _ => {
                    let unit = self.unit.map_or(0.0, |(deviation, _)| deviation);
                    self.floors.window_matters(*aspect, &value, &judged, unit)
                }
            };
            aspects.push((*aspect, judged, matters));
        }
        Ok(ColumnJudgement { distance, ordinary: band.map(|band| band.range()), aspects })
    }

    /// Takes note of a window that is over, so that the forecasts of the next one can follow.
    pub fn follow(&mut self, window: &ColumnWindow) -> Result<(), StatsError> {
        let aspects: Vec<Aspect> = self.aspects.iter().map(|(aspect, _)| *aspect).collect();
        let values: Vec<Option<WindowValue>> =
            aspects.iter().map(|aspect| self.value(*aspect, window, false).ok()).collect();
        for ((_, ordinary), value) in self.aspects.iter_mut().zip(values) {
            value.map_or(Ok(()), |value| ordinary.follow(&value))?;
        }
        Ok(())
    }

    /// How far the forecasts have followed, to be kept until the next window.
    pub fn levels(&self) -> BTreeMap<Aspect, Level> {
        self.aspects.iter().map(|(aspect, ordinary)| (*aspect, ordinary.level())).collect()
    }

    /// Goes on where forecasts that were learnt from the same windows had been.
    ///
    /// ```
    /// use steersman_stats::calibration::{ColumnOrdinary, ColumnWindow, Floors};
    /// let window = |missing| ColumnWindow { cells: vec![40, 60], missing, ..ColumnWindow::default() };
    /// let reference: Vec<ColumnWindow> = (0..12).map(|day| window(day % 3)).collect();
    /// let learnt = ColumnOrdinary::learn(&reference, Floors::default()).unwrap();
    /// let (mut before, mut after) = (learnt.clone(), learnt);
    /// before.follow(&window(20)).unwrap();
    /// after.resume(&before.levels());
    /// assert_eq!(before, after);
    /// ```
    pub fn resume(&mut self, levels: &BTreeMap<Aspect, Level>) {
        for (aspect, ordinary) in &mut self.aspects {
            levels.get(aspect).into_iter().for_each(|level| ordinary.resume(*level));
        }
    }
}

impl Distances {
    fn learn(total: &[u64], windows: &[Vec<u64>]) -> Result<Self, StatsError> {
        let dispersion = Dispersion::learn(windows)?;
        let (mut distances, mut sizes) = (Vec::new(), Vec::new());
        for own in windows {
            let rest = rest(total, own);
            if let Ok(distance) = jensen_shannon(&rest, own) {
                distances.push(distance);
                sizes.push(size(dispersion, &rest, own));
            }
        }
        let band = NullBand::from_windows(&distances)?;
        Ok(Self { dispersion, band, size: sizes.iter().sum::<f64>() / sizes.len() as f64 })
    }

    fn band_for(&self, total: &[u64], window: &ColumnWindow) -> Result<NullBand, StatsError> {
        self.band.scaled(self.size, size(self.dispersion, total, &window.cells))
    }
}

/// What the mean square of a distance is proportional to: `h`, times the factor by which windows of this size disperse.
fn size(dispersion: Dispersion, reference: &[u64], own: &[u64]) -> f64 {
    let (n, m) = (reference.iter().sum::<u64>(), own.iter().sum::<u64>());
    super::limit::Sizes { reference: n, current: m }.h() * dispersion.factor(m)
}

/// How often a window of independent rows has as few of them outside its largest cell, where the reference has most of its
/// rows in one: the binomial probability. A column that is nearly always 0 (rain) has no spread at all in many a small
/// window, which the law of the other windows' spreads would call next to impossible. 0 where no cell has most rows.
fn as_concentrated(reference: &[u64], own: &[u64]) -> f64 {
    let largest = |cells: &[u64]| (cells.iter().copied().max().unwrap_or(0), cells.iter().sum::<u64>());
    let ((most, rows), (own_most, own_rows)) = (largest(reference), largest(own));
    let share = most as f64 / rows.max(1) as f64;
    if share <= 0.5 {
        return 0.0;
    }
    Binomial::new(1.0 - share, own_rows).map_or(0.0, |law| law.cdf(own_rows - own_most))
}

fn rest(total: &[u64], own: &[u64]) -> Vec<u64> {
    total.iter().zip(own).map(|(all, own)| all - own).collect()
}

/// The standard deviation of all windows together and the mean variance within one.
fn unit(windows: &[ColumnWindow]) -> Option<(f64, f64)> {
    let known: Vec<(f64, f64, f64)> = windows
        .iter()
        .filter_map(|window| {
            window.moments.map(|(mean, deviation)| (window.values() as f64, mean, deviation))
        })
        .collect();
    let rows: f64 = known.iter().map(|(rows, ..)| rows).sum();
    let weighed =
        |of: &dyn Fn(&(f64, f64, f64)) -> f64| known.iter().map(|own| own.0 * of(own)).sum::<f64>() / rows;
    let mean = weighed(&|own| own.1);
    let within = weighed(&|own| own.2 * own.2);
    let among = weighed(&|own| (own.1 - mean).powi(2));
    let deviation = (within + among).sqrt();
    (deviation > 0.0 && deviation.is_finite()).then_some((deviation, within))
}
