//! Null bands: how far windows are from the reference when nothing changed, and how unusual a distance is among them.
//!
//! A band comes from the reference's own windows where there are enough of the same season, otherwise from resamples of
//! the reference. Its distances must be of windows as long as the one that is judged: distances of samples shrink with
//! the number of rows ([`NullBand::scaled`], and [`super::limit`] for laws that know the number of rows).

use super::tail::ParetoTail;
use crate::error::{StatsError, finite};
use crate::random::Random;

/// Distances of windows in which nothing changed.
#[derive(Debug, Clone, PartialEq)]
pub struct NullBand {
    sorted: Vec<f64>,
}

/// A p-value, and whether it goes beyond what the band's own windows can show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TailProbability {
    /// The p-value.
    pub p_value: f64,
    /// Whether it is an extrapolation from the largest distances rather than a count of them.
    pub extrapolated: bool,
}

impl NullBand {
    /// A band of the distances of the reference's windows.
    pub fn from_windows(distances: &[f64]) -> Result<Self, StatsError> {
        if distances.is_empty() {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        finite(distances)?;
        let mut sorted = distances.to_vec();
        sorted.sort_by(f64::total_cmp);
        Ok(Self { sorted })
    }

    /// A band of `resamples` windows of `rows` independent rows, drawn from the shares of the reference's counts; the
    /// reference itself is drawn anew each time, because it is a sample too (parametric bootstrap).
    ///
    /// ```
    /// use steersman_stats::calibration::NullBand;
    /// use steersman_stats::distance::jensen_shannon;
    /// let band = NullBand::from_resamples(&[500; 10], 200, 500, 7, jensen_shannon).unwrap();
    /// let (low, high) = band.range();
    /// assert!(low > 0.05 && high < 0.13); // the limit at 5 % is 0.126: two samples of one law are that far apart
    /// ```
    pub fn from_resamples(
        reference: &[u64],
        rows: u64,
        resamples: usize,
        seed: u64,
        distance: impl Fn(&[u64], &[u64]) -> Result<f64, StatsError>,
    ) -> Result<Self, StatsError> {
        let total: u64 = reference.iter().sum();
        if total == 0 || rows == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        let shares: Vec<f64> = reference.iter().map(|&count| count as f64 / total as f64).collect();
        let mut random = Random::new(seed);
        let drawn = (0..resamples).map(|_| {
            let reference = random.multinomial(total, &shares);
            distance(&reference, &random.multinomial(rows, &shares))
        });
        Self::from_windows(&drawn.collect::<Result<Vec<f64>, StatsError>>()?)
    }

    /// A band of `resamples` windows that are runs of consecutive blocks (moving-block bootstrap: H. R. Künsch, Annals of
    /// Statistics 17, 1989), so that rows that are alike because they are close in time stay together. `blocks` are the
    /// counts of short intervals of the reference in order of time; a window is extended until it has `rows` rows, and is
    /// compared with the rest of the reference.
    pub fn from_blocks(
        blocks: &[Vec<u64>],
        rows: u64,
        resamples: usize,
        seed: u64,
        distance: impl Fn(&[u64], &[u64]) -> Result<f64, StatsError>,
    ) -> Result<Self, StatsError> {
        let total = sums(blocks)?;
        if total.iter().sum::<u64>() <= rows || rows == 0 {
            return Err(StatsError::Domain("a window has rows, but fewer than the reference"));
        }
        let mut random = Random::new(seed);
        let drawn = (0..resamples).map(|_| {
            let start = random.below(blocks.len());
            let mut own = vec![0u64; total.len()];
            // The end of the reference is followed by its beginning, so that every block is drawn equally often.
            for block in blocks.iter().cycle().skip(start).take(blocks.len()) {
                own.iter_mut().zip(block).for_each(|(own, count)| *own += count);
                if own.iter().sum::<u64>() >= rows {
                    break;
                }
            }
            let rest: Vec<u64> = total.iter().zip(&own).map(|(all, own)| all - own).collect();
            distance(&rest, &own)
        });
        Self::from_windows(&drawn.collect::<Result<Vec<f64>, StatsError>>()?)
    }

    /// How many windows it was made from.
    pub fn windows(&self) -> usize {
        self.sorted.len()
    }

    /// The ordinary range: from the 5 % to the 95 % quantile (linear interpolation).
    ///
    /// ```
    /// use steersman_stats::calibration::NullBand;
    /// let distances: Vec<f64> = (0..=20).map(f64::from).collect();
    /// assert_eq!(NullBand::from_windows(&distances).unwrap().range(), (1.0, 19.0));
    /// ```
    pub fn range(&self) -> (f64, f64) {
        (self.quantile(0.05), self.quantile(0.95))
    }

    fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.sorted.len() - 1) as f64;
        let (low, high) = (self.sorted[at.floor() as usize], self.sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }

    /// The root of the mean squared distance: what sampling and ordinary variation alone amount to.
    pub fn root_mean_square(&self) -> f64 {
        (self.sorted.iter().map(|distance| distance * distance).sum::<f64>() / self.sorted.len() as f64)
            .sqrt()
    }

    /// Windows that are at least as far away, and windows exactly as far away.
    fn as_far(&self, distance: f64) -> (usize, usize) {
        let below = self.sorted.partition_point(|&own| own < distance);
        let up_to = self.sorted.partition_point(|&own| own <= distance);
        (self.sorted.len() - below, up_to - below)
    }

    /// The conformal p-value `(1 + #{d_k >= d}) / (K + 1)`: valid for windows that are exchangeable with the band's (Vovk,
    /// Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2nd ed. 2022, section 2.2).
    ///
    /// ```
    /// use steersman_stats::calibration::NullBand;
    /// let band = NullBand::from_windows(&[0.1, 0.2, 0.3, 0.4]).unwrap();
    /// assert_eq!((band.p_value(0.35), band.p_value(0.5)), (0.4, 0.2));
    /// ```
    pub fn p_value(&self, distance: f64) -> f64 {
        (1 + self.as_far(distance).0) as f64 / (self.sorted.len() + 1) as f64
    }

    /// The smoothed conformal p-value, `(#{d_k > d} + u (#{d_k = d} + 1)) / (K + 1)` with `uniform` = u in `(0, 1]`: exactly
    /// uniform when nothing changed, also with ties.
    pub fn p_value_randomised(&self, distance: f64, uniform: f64) -> f64 {
        let (far, equal) = self.as_far(distance);
        ((far - equal) as f64 + uniform * (equal + 1) as f64) / (self.sorted.len() + 1) as f64
    }

    /// The p-value with a generalised Pareto law in place of the largest tenth of the distances: finer than
    /// `1 / (K + 1)`, but an extrapolation. Without 100 windows it is the conformal p-value.
    ///
    /// ```
    /// use steersman_stats::calibration::NullBand;
    /// let distances: Vec<f64> = (0..200).map(|k| -(1.0 - (f64::from(k) + 0.5) / 200.0).ln()).collect();
    /// let band = NullBand::from_windows(&distances).unwrap();
    /// let tail = band.tail_p_value(10.0); // an exponential law: the truth is e^-10 = 4.5e-5
    /// assert!(tail.extrapolated && tail.p_value > 2e-5 && tail.p_value < 4e-4);
    /// ```
    pub fn tail_p_value(&self, distance: f64) -> TailProbability {
        match ParetoTail::fit(&self.sorted) {
            Some(tail) if distance > tail.threshold => {
                TailProbability { p_value: tail.probability(distance), extrapolated: true }
            }
            _ => TailProbability { p_value: self.p_value(distance), extrapolated: false },
        }
    }

    /// The distance that a window exceeds with probability at most `alpha` when nothing changed: the
    /// `ceil((1 - alpha)(K + 1))`-th smallest. None if there are too few windows for this level.
    ///
    /// ```
    /// use steersman_stats::calibration::NullBand;
    /// let distances: Vec<f64> = (1..=19).map(f64::from).collect();
    /// let band = NullBand::from_windows(&distances).unwrap();
    /// assert_eq!((band.limit(0.05), band.limit(0.01)), (Some(19.0), None));
    /// ```
    pub fn limit(&self, alpha: f64) -> Option<f64> {
        // Rounding must not ask for one window more than there are.
        let rank = ((1.0 - alpha) * (self.sorted.len() + 1) as f64 - 1e-9).ceil().max(1.0) as usize;
        self.sorted.get(rank - 1).copied()
    }

    /// The band for windows of another length: distances that are roots of divergences, and Wasserstein distances, shrink
    /// with `sqrt(h)`, `h = 1/n + 1/m` for `n` rows of the reference and `m` of the window.
    pub fn scaled(&self, from: f64, to: f64) -> Result<Self, StatsError> {
        if !(from > 0.0 && to > 0.0 && from.is_finite() && to.is_finite()) {
            return Err(StatsError::Domain("sizes of windows are above 0"));
        }
        let factor = (to / from).sqrt();
        Ok(Self { sorted: self.sorted.iter().map(|distance| distance * factor).collect() })
    }
}

/// The sums of counts over blocks with the same cells.
pub(super) fn sums(blocks: &[Vec<u64>]) -> Result<Vec<u64>, StatsError> {
    let mut total = vec![0u64; blocks.first().map_or(0, Vec::len)];
    for block in blocks {
        if block.len() != total.len() {
            return Err(StatsError::Length { left: total.len(), right: block.len() });
        }
        total.iter_mut().zip(block).for_each(|(total, count)| *total += count);
    }
    Ok(total)
}
