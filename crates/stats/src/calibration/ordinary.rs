//! What windows ordinarily say, and how unusual the next one is: a forecast with an honest tail.
//!
//! Windows differ among themselves by more than sampling: days have their weather. So a window is to the reference's
//! windows what a new study is to a meta-analysis. Its statistic is forecast with a Student law whose variance is the
//! variation *among* windows plus the sampling variance of *this* window (Higgins, Thompson, Spiegelhalter, JRSS A 172,
//! 2009, section 5), which also makes it right for windows of another size.
//!
//! Windows also drift with the season, harmlessly. The forecast follows by exponential smoothing, as fast as it pays on
//! the reference itself: not at all if windows come in no particular order, quickly if neighbours are alike. It never
//! follows slower than the mean of all windows so far does. Errors of such a mean are independent of each other (recursive
//! residuals; Brown, Durbin, Evans, JRSS B 37, 1975), so that evidence may be multiplied over time although the same
//! reference serves every window.

use super::window::{Aspect, WindowValue};
use crate::detector::calibrate;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// How far the forecast may follow one window, tried on the reference. 0 stands for the mean of all windows.
const GAINS: [f64; 14] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0];
/// A faster gain must lower the mean squared error to this share.
const WORTH_FOLLOWING: f64 = 0.95;
/// Windows whose mean is the first forecast.
const FIRST: usize = 4;
/// Where the forecast follows, its errors were made small by the choice of the gain and depend on each other: they tell
/// about their variance what half as many would.
const FOLLOWED: f64 = 0.5;
/// Seasons are at most the hours of a leap year.
const MOST_SEASONS: usize = 8_784;
/// P-values stay above 0.
const LEAST_P: f64 = 1e-300;

/// What a statistic ordinarily is from window to window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ordinary {
    two_sided: bool,
    /// The mean of each season; empty for a season that the reference does not have.
    seasons: Vec<Option<f64>>,
    /// How far windows are now from the mean of their season.
    level: f64,
    gain: f64,
    /// Windows that made the level.
    count: u64,
    /// The variance of the error of a forecast beyond the sampling variance of the window.
    between: f64,
    freedom: f64,
    /// Standardised errors on the reference, rising.
    errors: Vec<f64>,
}

/// How far a forecast has followed: all that changes from window to window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// How far windows are now from the mean of their season.
    pub offset: f64,
    /// Windows that made it.
    pub windows: u64,
}

/// How unusual a window is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// What was forecast.
    pub forecast: f64,
    /// Lower end of the ordinary range: 5 % of windows of this size are below it.
    pub low: f64,
    /// Upper end of the ordinary range.
    pub high: f64,
    /// The error of the forecast in standard deviations.
    pub z: f64,
    /// The p-value.
    pub p_value: f64,
    /// Whether no window of the reference was as unusual, so that the p-value is that of the Student law.
    pub extrapolated: bool,
}

impl Judgement {
    /// The evidence, as the logarithm of an e-value.
    pub fn log_e(&self) -> f64 {
        calibrate(self.p_value).unwrap_or(0.0)
    }

    /// Whether a value is outside the ordinary range, on a side that counts.
    pub fn outside(&self, value: f64, aspect: Aspect) -> bool {
        value > self.high || (aspect.two_sided() && value < self.low)
    }
}

impl Ordinary {
    /// Learns from the reference's windows in order of time; at least three more than there are seasons.
    ///
    /// ```
    /// use steersman_stats::calibration::{Aspect, Ordinary, WindowValue};
    /// let means = [10.0, 12.0, 11.0, 9.0, 10.0, 11.0, 12.0, 9.0];
    /// let windows = means.map(|mean| WindowValue { value: mean, variance: 0.01, season: 0 });
    /// let ordinary = Ordinary::learn(&windows, Aspect::Location).unwrap();
    /// let judged = ordinary.judge(&WindowValue { value: 16.0, ..windows[0] }).unwrap();
    /// // Mean 10.5, standard deviation 1.195: a forecast error of 5.5 / (1.195 sqrt(1 + 1/8)), Student with 7 degrees.
    /// assert!((judged.z - 4.339).abs() < 0.01 && (judged.p_value - 0.003_4).abs() < 1e-4);
    /// assert!(judged.high > 12.0 && judged.high < 13.0);
    /// ```
    pub fn learn(windows: &[WindowValue], aspect: Aspect) -> Result<Self, StatsError> {
        let values: Vec<f64> = windows.iter().flat_map(|window| [window.value, window.variance]).collect();
        crate::error::finite(&values)?;
        if windows.iter().any(|window| window.season >= MOST_SEASONS) {
            return Err(StatsError::Domain("seasons are numbered from 0 to at most the hours of a year"));
        }
        let (seasons, sizes) = seasons(windows);
        let used = sizes.iter().filter(|&&size| size > 0).count();
        if windows.len() < used + 3 {
            return Err(StatsError::TooFew { needed: used + 3, got: windows.len() });
        }
        let centred: Vec<(f64, f64)> = windows
            .iter()
            .map(|window| {
                let mean = seasons[window.season].unwrap_or(0.0);
                // A mean follows each of its own values: its error on one that it has not seen is larger.
                let size = sizes[window.season] as f64;
                let unseen = if size > 1.0 { (size + 1.0) / (size - 1.0) } else { 1.0 };
                (window.value - mean, unseen.sqrt())
            })
            .collect();
        let gain = choose(&centred);
        let (level, errors) = follow(&centred, gain);
        let sampling = windows.iter().map(|window| window.variance).sum::<f64>() / windows.len() as f64;
        let total = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
        let between = (total - sampling).max(sampling / windows.len() as f64);
        let two_sided = aspect.two_sided();
        let most = (windows.len() - used) as f64 * if gain > 0.0 { FOLLOWED } else { 1.0 };
        let mut standardised: Vec<f64> = errors
            .iter()
            .zip(windows)
            .map(|(error, window)| standardise(*error, between + window.variance))
            .map(|z| if two_sided { z.abs() } else { z })
            .collect();
        standardised.sort_by(f64::total_cmp);
        Ok(Self {
            two_sided,
            seasons,
            level,
            gain,
            count: windows.len() as u64,
            between,
            freedom: freedom(&errors, total / (between + sampling), most),
            errors: standardised,
        })
    }

    /// How unusual a window is. Where windows of the reference were as unusual, the p-value is at least their share
    /// (conformal); beyond all of them it is that of the Student law. A season that the reference does not have is an
    /// error.
    pub fn judge(&self, window: &WindowValue) -> Result<Judgement, StatsError> {
        crate::error::finite(&[window.value, window.variance])?;
        let forecast = self.season(window.season)? + self.level;
        let variance = self.between + window.variance.max(0.0);
        let z = standardise(window.value - forecast, variance);
        let unusual = if self.two_sided { z.abs() } else { z };
        let law = StudentsT::new(0.0, 1.0, self.freedom)
            .map_err(|_| StatsError::Domain("degrees of freedom are positive"))?;
        let tail = if self.two_sided { (2.0 * law.sf(unusual)).min(1.0) } else { law.sf(unusual) };
        let as_unusual = self.errors.len() - self.errors.partition_point(|&own| own < unusual);
        let share = (1 + as_unusual) as f64 / (self.errors.len() + 1) as f64;
        let p_value = if as_unusual == 0 { tail } else { tail.max(share) };
        let half = law.inverse_cdf(0.95) * variance.sqrt();
        Ok(Judgement {
            forecast,
            low: forecast - half,
            high: forecast + half,
            z,
            p_value: p_value.clamp(LEAST_P, 1.0),
            extrapolated: as_unusual == 0,
        })
    }

    /// Takes note of a window that is over, so that the forecast of the next one can follow.
    pub fn follow(&mut self, window: &WindowValue) -> Result<(), StatsError> {
        crate::error::finite(&[window.value])?;
        let error = window.value - self.season(window.season)? - self.level;
        self.count += 1;
        self.level += self.gain.max(1.0 / self.count as f64) * error;
        Ok(())
    }

    /// How far the forecast follows one window, between 0 (windows come in no particular order) and 1 (each is like the
    /// one before).
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// How far the forecast has followed, to be kept until the next window.
    pub fn level(&self) -> Level {
        Level { offset: self.level, windows: self.count }
    }

    /// Goes on where a forecast that was learnt from the same windows had been.
    pub fn resume(&mut self, level: Level) {
        (self.level, self.count) = (level.offset, level.windows);
    }

    fn season(&self, season: usize) -> Result<f64, StatsError> {
        let known = self.seasons.get(season).copied().flatten();
        known.ok_or(StatsError::Domain("the reference has no window of this season"))
    }
}

/// Means and numbers of windows by season.
fn seasons(windows: &[WindowValue]) -> (Vec<Option<f64>>, Vec<usize>) {
    let most = windows.iter().map(|window| window.season + 1).max().unwrap_or(0);
    let (mut sums, mut sizes) = (vec![0.0; most], vec![0usize; most]);
    for window in windows {
        sums[window.season] += window.value;
        sizes[window.season] += 1;
    }
    let means = sums.iter().zip(&sizes).map(|(sum, &size)| (size > 0).then(|| sum / size as f64)).collect();
    (means, sizes)
}

/// The gain that pays: every forecast is made from the windows before alone, so that the mean of all has no hindsight.
fn choose(centred: &[(f64, f64)]) -> f64 {
    let (first, later) = centred.split_at(centred.len().min(FIRST));
    let start = first.iter().map(|(value, _)| value).sum::<f64>() / first.len().max(1) as f64;
    let mut best = (0.0, f64::INFINITY);
    for gain in GAINS {
        let (mut level, mut count, mut squares) = (start, first.len() as f64, 0.0);
        for (value, _) in later {
            let error = value - level;
            squares += error * error;
            count += 1.0;
            level += gain.max(1.0 / count) * error;
        }
        if best.1.is_infinite() || squares < WORTH_FOLLOWING * best.1 {
            best = (gain, squares);
        }
    }
    best.0
}

/// Where forecasts with this gain lead, and their errors.
fn follow(centred: &[(f64, f64)], gain: f64) -> (f64, Vec<f64>) {
    let mut level = 0.0;
    let errors = centred.iter().map(|&(value, unseen)| {
        let error = value - level;
        level += gain * error;
        error * unseen
    });
    let errors = errors.collect();
    (level, errors)
}

fn standardise(error: f64, variance: f64) -> f64 {
    match variance > 0.0 {
        true => error / variance.sqrt(),
        // Windows that never differ: any difference at all is beyond what was seen, by no known measure.
        false => 3.0 * error.signum() * f64::from(error != 0.0),
    }
}

/// Degrees of freedom: what the number of windows gives, or fewer if their errors have heavy tails. A Student law with
/// `f` degrees has excess kurtosis `6 / (f - 4)`. Errors make up `share` of the variance of a forecast (less than 1 where
/// they happened to be smaller than sampling makes them); the excess kurtosis of a sum counts with the square of it.
fn freedom(errors: &[f64], share: f64, most: f64) -> f64 {
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let moment = |power: i32| errors.iter().map(|error| (error - mean).powi(power)).sum::<f64>() / count;
    let excess = (moment(4) / moment(2).powi(2) - 3.0) * share.min(1.0).powi(2);
    // A share of 0, and errors that are all alike, give no number here and no reason for fewer.
    if excess > 0.0 { most.min(4.0 + 6.0 / excess) } else { most }
}
