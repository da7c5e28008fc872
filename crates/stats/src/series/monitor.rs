//! The monitor of one series.

use super::recent::Recent;
use super::season::{Season, Seasons};
use super::views::Views;
use crate::detector::{Detector, calibrate};
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// No evidence is drawn from fewer earlier points.
const LEAST_HISTORY: usize = 100;
/// Distances that a new one is compared with.
const HISTORY_POINTS: usize = 2_000;
/// Points of which the level is the median, whatever the settling time.
const LEVEL_POINTS: (usize, usize) = (48, 2_000);
/// A change is over when the last so many p-values are ordinary: their median above the second.
const CALM: (usize, f64) = (12, 0.25);
/// The share of earlier points that the band holds.
const BAND: f64 = 0.99;
/// Differences below this share of the level are trifles.
const TRIFLE: f64 = 0.01;
/// The correlation of neighbours is learnt with this memory, and never thought higher than the second.
const CARRY: (f64, f64) = (0.998, 0.98);
/// A median absolute deviation is this part of a normal distribution's standard deviation.
const MAD_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
/// Larger numbers count as so large, so that squares stay finite.
const LARGEST_VALUE: f64 = 1e100;

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// By their difference.
    Linear,
    /// By their ratio, for positive rates; smaller values count as `floor`.
    Log {
        /// The smallest rate that matters, above 0.
        floor: f64,
    },
}

impl Scale {
    fn inner(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log { floor } => value.max(floor).ln(),
        }
    }

    fn outer(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log { .. } => value.exp(),
        }
    }

    /// A difference from `level` that is none, above 0.
    fn trifle(self, level: f64) -> f64 {
        match self {
            Self::Linear => (TRIFLE * level.abs()).max(1e-100),
            Self::Log { .. } => TRIFLE,
        }
    }
}

/// How a series is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesConfig {
    /// Seconds from one point to the next, from 1 to a day.
    pub step_seconds: u32,
    /// What is added to a time before its time of day and day of week are taken.
    pub offset_seconds: i32,
    /// How values are compared.
    pub scale: Scale,
    /// The budget: this many points to a false alarm.
    pub points_per_false_alarm: f64,
    /// After so many seconds a changed level is the new normal.
    pub settle_seconds: u32,
    /// After so many seconds without a value there is no data.
    pub silence_seconds: u32,
}

impl SeriesConfig {
    /// Values compared by their difference, slots in UTC, one false alarm in 10,000 points, a new normal after a day, no
    /// data after ten missing points.
    pub fn new(step_seconds: u32) -> Self {
        Self {
            step_seconds,
            offset_seconds: 0,
            scale: Scale::Linear,
            points_per_false_alarm: 10_000.0,
            settle_seconds: 86_400,
            silence_seconds: step_seconds.saturating_mul(10),
        }
    }

    fn check(&self) -> Result<(), StatsError> {
        if !(1..=86_400).contains(&self.step_seconds) {
            return Err(StatsError::Domain("a step is from 1 second to a day"));
        }
        if !(self.points_per_false_alarm > 1.0 && self.points_per_false_alarm.is_finite()) {
            return Err(StatsError::Domain("a budget is more than 1 point to a false alarm"));
        }
        if matches!(self.scale, Scale::Log { floor } if !(floor > 0.0 && floor.is_finite())) {
            return Err(StatsError::Domain("the floor of a rate is above 0"));
        }
        Ok(())
    }
}

/// How a series is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesState {
    /// There is too little history for evidence.
    Learning,
    /// As ever.
    Normal,
    /// The alarm has gone off and the change is neither over nor the new normal yet.
    Changed,
    /// There is no value at this time: neither good nor bad.
    Missing,
    /// There has been no value for longer than the silence that is allowed.
    NoData,
}

/// What the monitor says of one point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// What was expected before the value was seen; none without history.
    pub expected: Option<f64>,
    /// Lower end of the band that held 99 % of the last points; none while learning.
    pub low: Option<f64>,
    /// Upper end of that band.
    pub high: Option<f64>,
    /// How much of a surprise the value is, in `[0, 1]`; 0 where the last points were as surprising.
    pub score: f64,
    /// The logarithm of the point's e-value.
    pub log_e: f64,
    /// How the series is doing.
    pub state: SeriesState,
}

/// Watches one series, point by point, in bounded memory.
///
/// *Expected* is the median of the last days' values at this time of day (or of week) where such a pattern explains
/// enough, plus the median of what lately lay beside it, plus the part of the last point's deviation that carries over
/// to its neighbour. The distance from it, in units of the median distance, gets a conformal p-value among the last
/// 2,000, the p-value an e-value ([`calibrate`]), and the e-values of successive points go into a Shiryaev-Roberts
/// [`Detector`]: if points are exchangeable once pattern, level and carried-over part are taken off, false alarms are
/// at least [`SeriesConfig::points_per_false_alarm`] points apart on average. A change is over when p-values are
/// ordinary again; a change that lasts [`SeriesConfig::settle_seconds`] is the new normal, and is learnt afresh.
///
/// The score is for ranking, without such a promise: it looks for jumps, distances, shifts and roughness and trusts a
/// fitted tail, so that one enormous value is more surprising than the largest of the last days.
///
/// ```
/// use steersman_stats::series::{SeriesConfig, SeriesMonitor, SeriesState};
/// let mut monitor = SeriesMonitor::new(SeriesConfig::new(60)).unwrap();
/// for minute in 0..500 {
///     monitor.update(60 * minute, Some(100.0 + (minute * 7 % 11) as f64));
/// }
/// let point = monitor.update(60 * 500, Some(300.0));
/// assert_eq!(point.expected, Some(105.0));
/// assert!(point.score > 0.9 && point.log_e > 2.0 && point.state == SeriesState::Normal);
/// assert_eq!(monitor.update(60 * 501, None).state, SeriesState::Missing);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesMonitor {
    config: SeriesConfig,
    seasons: Seasons,
    season: Season,
    /// Values, for the level without a pattern.
    values: Recent,
    /// Distances of values from the pattern.
    offsets: Recent,
    /// Deviations from pattern and level: their sizes, the last one, and how much of one carries over.
    deviations: Recent,
    last_deviation: Option<f64>,
    carry: Carry,
    /// Sizes of what is left, in units of the deviations' spread.
    distances: Recent,
    p_values: Recent,
    detector: Detector,
    changed_at: Option<i64>,
    value_at: Option<i64>,
    started_at: Option<i64>,
    views: Views,
}

impl SeriesMonitor {
    /// A monitor that has seen nothing.
    pub fn new(config: SeriesConfig) -> Result<Self, StatsError> {
        config.check()?;
        let settle_points = (config.settle_seconds / config.step_seconds) as usize;
        let level_points = settle_points.saturating_mul(2).clamp(LEVEL_POINTS.0, LEVEL_POINTS.1);
        Ok(Self {
            seasons: Seasons::new(i64::from(config.step_seconds)),
            season: Season::None,
            values: Recent::new(level_points),
            offsets: Recent::new(level_points),
            deviations: Recent::new(HISTORY_POINTS),
            last_deviation: None,
            carry: Carry::default(),
            distances: Recent::new(HISTORY_POINTS),
            p_values: Recent::new(CALM.0),
            detector: Detector::new(),
            changed_at: None,
            value_at: None,
            started_at: None,
            views: Views::new(),
            config,
        })
    }

    /// The pattern that the series is thought to follow.
    pub fn season(&self) -> Season {
        self.season
    }

    /// Takes the next point in; `None` and values that are not finite are missing. Times are seconds of the epoch and do
    /// not go back.
    pub fn update(&mut self, at_seconds: i64, value: Option<f64>) -> SeriesPoint {
        let started_at = *self.started_at.get_or_insert(at_seconds);
        let local = at_seconds.saturating_add(i64::from(self.config.offset_seconds));
        let level = self.level(local);
        let forecast = level.map(|level| level + self.carried(at_seconds));
        let mut point = self.forecast_point(level, forecast);
        let Some(value) = value.filter(|value| value.is_finite()) else {
            let silent = at_seconds.saturating_sub(self.value_at.unwrap_or(started_at));
            let no_data = silent > i64::from(self.config.silence_seconds);
            point.state = if no_data { SeriesState::NoData } else { SeriesState::Missing };
            return point;
        };
        let value = self.config.scale.inner(value.clamp(-LARGEST_VALUE, LARGEST_VALUE));
        let (level, forecast) = (level.unwrap_or(value), forecast.unwrap_or(value));
        let trifle = self.config.scale.trifle(level);
        point.score = self.views.surprise(value, level, trifle);
        point.log_e = self.weigh(at_seconds, (value - forecast).abs() / self.unit(level));
        self.learn(at_seconds, local, value, level);
        point.state = match self.changed_at {
            Some(_) => SeriesState::Changed,
            None if self.distances.len() < LEAST_HISTORY => SeriesState::Learning,
            None => SeriesState::Normal,
        };
        point
    }

    /// Pattern and level, without what carries over from the last point.
    fn level(&self, local: i64) -> Option<f64> {
        match self.seasons.expected(local) {
            Some(pattern) => Some(pattern + self.offsets.median().unwrap_or(0.0)),
            None => self.values.median(),
        }
    }

    /// What carries over from the last point, if that was the one before this.
    fn carried(&self, at: i64) -> f64 {
        match (self.last_deviation, self.value_at) {
            (Some(last), Some(value_at)) if at.saturating_sub(value_at) < self.gap() => self.carry.share() * last,
            _ => 0.0,
        }
    }

    fn gap(&self) -> i64 {
        2 * i64::from(self.config.step_seconds)
    }

    /// The unit of distances: the deviations' spread, and what is too little to matter.
    fn unit(&self, level: f64) -> f64 {
        self.deviations.median().unwrap_or(1.0) + self.config.scale.trifle(level)
    }

    fn forecast_point(&self, level: Option<f64>, forecast: Option<f64>) -> SeriesPoint {
        let enough = self.distances.len() >= LEAST_HISTORY;
        let reach = self.distances.quantile(BAND).filter(|_| enough);
        let half = level.zip(reach).map(|(level, reach)| reach * self.unit(level));
        let outer = |value: f64| self.config.scale.outer(value);
        SeriesPoint {
            expected: forecast.map(outer),
            low: forecast.zip(half).map(|(forecast, half)| outer(forecast - half)),
            high: forecast.zip(half).map(|(forecast, half)| outer(forecast + half)),
            score: 0.0,
            log_e: 0.0,
            state: SeriesState::Learning,
        }
    }

    /// The evidence of a distance, and what follows from it for the state.
    fn weigh(&mut self, at: i64, distance: f64) -> f64 {
        let distance = distance.min(LARGEST_VALUE);
        if self.distances.len() < LEAST_HISTORY {
            self.distances.push(distance);
            return 0.0;
        }
        let p_value = self.distances.p_value(distance);
        let log_e = calibrate(p_value).unwrap_or(0.0);
        self.detector.observe(log_e);
        self.p_values.push(p_value);
        if self.changed_at.is_none() && self.detector.alarms(1.0 / self.config.points_per_false_alarm) {
            self.changed_at = Some(at);
            self.p_values.keep_last(0);
        }
        match self.changed_at {
            // What a change looks like is not what points usually look like.
            Some(since) => {
                let calm = self.p_values.is_full() && self.p_values.median().is_some_and(|p| p > CALM.1);
                let settled = at.saturating_sub(since) >= i64::from(self.config.settle_seconds);
                if settled {
                    self.learn_afresh();
                }
                if calm || settled {
                    self.changed_at = None;
                    self.detector.reset();
                }
            }
            None => self.distances.push(distance),
        }
        log_e
    }

    /// The new normal: levels from the later half of the change, and no memory of how far points used to lie from them.
    fn learn_afresh(&mut self) {
        let half = (self.config.settle_seconds / self.config.step_seconds / 2).max(1) as usize;
        self.values.keep_last(half);
        self.offsets.keep_last(half);
        self.forget_distances();
    }

    fn forget_distances(&mut self) {
        self.deviations = Recent::new(HISTORY_POINTS);
        self.distances = Recent::new(HISTORY_POINTS);
        self.carry = Carry::default();
        self.last_deviation = None;
    }

    /// Takes the value into pattern, level and spread.
    fn learn(&mut self, at: i64, local: i64, value: f64, level: f64) {
        let deviation = value - level;
        if self.changed_at.is_none() {
            let largest = 3.0 / MAD_OF_NORMAL * self.unit(level);
            let neighbours = self.value_at.is_some_and(|value_at| at.saturating_sub(value_at) < self.gap());
            if let (Some(last), true) = (self.last_deviation, neighbours) {
                self.carry.observe(last.clamp(-largest, largest), deviation.clamp(-largest, largest));
            }
            self.deviations.push(deviation.abs());
        }
        self.last_deviation = Some(deviation);
        self.value_at = Some(at);
        if let Some(pattern) = self.seasons.expected(local) {
            self.offsets.push(value - pattern);
        }
        self.seasons.observe(local, value, self.values.median().unwrap_or(value));
        self.values.push(value);
        let season = self.seasons.chosen();
        if season != self.season {
            self.season = season;
            self.offsets.keep_last(0);
            self.forget_distances();
            self.views.forget_level();
        }
    }
}

/// How much of a deviation carries over to the next point: their correlation, between 0 and nearly 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Carry {
    products: f64,
    squares: f64,
}

impl Carry {
    fn observe(&mut self, last: f64, deviation: f64) {
        self.products = self.products * CARRY.0 + last * deviation;
        self.squares = self.squares * CARRY.0 + last * last;
    }

    fn share(&self) -> f64 {
        if self.squares > 0.0 { (self.products / self.squares).clamp(0.0, CARRY.1) } else { 0.0 }
    }
}
