//! The monitor of one series.

use super::config::{LARGEST_VALUE, Memory, SeriesConfig};
use super::evidence::{Carry, Evidence};
use super::recent::Recent;
use super::season::{Season, Seasons};
use super::views::Views;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// With fewer deviations the spread is no unit yet.
const LEAST_SPREAD_POINTS: usize = 30;
/// Points of which the level is the median, whatever the settling time.
const LEVEL_POINTS: (usize, usize) = (48, 2_000);
/// A change is over when the median of the last so many deviations is ordinary: below this quantile of those before.
const CALM: (usize, f64) = (12, 0.75);
/// The share of the last points that lay within the band around the level.
const LEVEL_BAND: f64 = 0.99;
/// The version of stored bytes.
const FORMAT: u8 = 1;
/// A median absolute deviation is this part of a normal distribution's standard deviation.
const MAD_OF_NORMAL: f64 = 0.674_489_750_196_081_7;

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
    /// What is usual at this time, whatever the point before was; none without history.
    pub level: Option<f64>,
    /// Lower end of the band around the level that held 99 % of the last points; none with little history.
    pub level_low: Option<f64>,
    /// Upper end of that band.
    pub level_high: Option<f64>,
    /// How much of a surprise the value is, in `[0, 1]`; 0 where the last points were as surprising, and always with
    /// [`Memory::Lean`].
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
/// ones, the p-value an e-value, and the e-values of successive points go into Shiryaev-Roberts detectors, one upwards
/// and one downwards: if distances are exchangeable once pattern, level and carried-over part are taken off, false
/// alarms are at least [`SeriesConfig::points_per_false_alarm`] points apart on average. The most that 2,000 others can
/// say of one point is an e-value of about 17 (of 1,000, of 12), so that it takes three in a row to alarm at the usual budget; for one
/// enormous point there is the score. A change is over when distances from the level are ordinary again; a change that
/// lasts [`SeriesConfig::settle_seconds`] is the new normal: level and spread are learnt afresh, the pattern is moved to the
/// new level.
///
/// The score is for ranking, without such a promise: it looks for jumps, distances, shifts and roughness and trusts a
/// fitted tail, so that one enormous value is more surprising than the largest of the last days. On normal noise it is
/// above 0.8 about once in 20,000 points, on heavy tails (Student's t, 3 degrees of freedom) 20 times in 10,000.
///
/// Missing points are unknown: nothing is learnt from them, and they are no evidence. The state serialises
/// ([`SeriesMonitor::to_bytes`]): about 180 kB at five-minute points and 115 kB at hourly ones, with [`Memory::Lean`]
/// 92 kB and 27 kB.
///
/// ```
/// use steersman_stats::series::{SeriesConfig, SeriesMonitor, SeriesState};
/// let mut monitor = SeriesMonitor::new(SeriesConfig::new(60)).unwrap();
/// for minute in 0..500 {
///     monitor.update(60 * minute, Some(100.0 + (minute * 7 % 11) as f64));
/// }
/// let point = monitor.update(60 * 500, Some(300.0));
/// assert_eq!(point.expected, Some(105.0));
/// assert!(point.score > 0.9 && point.log_e > 1.8 && point.state == SeriesState::Normal);
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
    evidence: Evidence,
    /// Sizes of the deviations since the change.
    changed: Recent,
    changed_at: Option<i64>,
    value_at: Option<i64>,
    started_at: Option<i64>,
    views: Option<Views>,
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
            deviations: Recent::new(config.memory.points()),
            last_deviation: None,
            carry: Carry::default(),
            evidence: Evidence::new(config.memory.points()),
            changed: Recent::new(CALM.0),
            changed_at: None,
            value_at: None,
            started_at: None,
            views: (config.memory == Memory::Full).then(Views::new),
            config,
        })
    }

    /// The pattern that the series is thought to follow.
    pub fn season(&self) -> Season {
        self.season
    }

    /// How it watches.
    pub fn config(&self) -> &SeriesConfig {
        &self.config
    }

    /// The logarithm of the evidence for a change; the alarm goes off at the logarithm of the budget.
    pub fn log_m(&self) -> f64 {
        self.evidence.log_m()
    }

    /// How many more values are needed, at least, before there is evidence.
    pub fn values_to_learn(&self) -> usize {
        LEAST_SPREAD_POINTS.saturating_sub(self.deviations.len()) + self.evidence.missing()
    }

    /// Goes on with another budget and settling time.
    pub fn retune(&mut self, points_per_false_alarm: f64, settle_seconds: u32) {
        if points_per_false_alarm > 1.0 && points_per_false_alarm.is_finite() {
            self.config.points_per_false_alarm = points_per_false_alarm;
        }
        self.config.settle_seconds = settle_seconds;
    }

    /// What is now is taken for normal: a change becomes the new normal at once, evidence is forgotten. `since` is when
    /// the level changed, if that is known from elsewhere.
    pub fn accept(&mut self, since: Option<i64>) {
        match (self.changed_at, since) {
            (Some(began), _) => self.learn_afresh(began),
            (None, Some(since)) => self.relevel(since),
            (None, None) => {}
        }
        self.evidence.reset();
    }

    /// Whether values are ordinary only because the level beside the pattern has followed them: it lies farther from where
    /// it was than values ordinarily do.
    pub fn follows(&self) -> bool {
        let moved = self.offsets.moved(CALM.0).filter(|_| self.season != Season::None);
        moved.zip(self.deviations.quantile(CALM.1)).is_some_and(|(moved, ordinary)| moved.abs() > ordinary)
    }

    /// What is usual at a time, as far as it is known now; none before the first value.
    pub fn level_at(&self, at_seconds: i64) -> Option<f64> {
        let level = self.level(at_seconds.saturating_add(i64::from(self.config.offset_seconds)));
        level.map(|level| self.config.scale.outer(level))
    }

    /// The state as bytes: a version, then the fields (postcard).
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatsError> {
        postcard::to_extend(self, vec![FORMAT])
            .map_err(|_| StatsError::Incompatible("the state of a series cannot be written"))
    }

    /// The state that these bytes hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatsError> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => postcard::from_bytes(rest)
                .map_err(|_| StatsError::Incompatible("the state of a series is damaged")),
            Some(_) => Err(StatsError::Incompatible("the state of a series has another version")),
            None => Err(StatsError::Incompatible("the state of a series is empty")),
        }
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
        let value = self.config.scale.inner(value);
        let (level, forecast) = (level.unwrap_or(value), forecast.unwrap_or(value));
        if let Some(views) = &mut self.views {
            point.score = views.surprise(value, level, self.config.scale.trifle(level));
        }
        let distance = ((value - forecast) / self.unit(level)).clamp(-LARGEST_VALUE, LARGEST_VALUE);
        point.log_e = self.evidence.weigh(distance);
        self.judge(at_seconds, (value - level).abs());
        self.learn(at_seconds, local, value, level, distance);
        point.state = match self.changed_at {
            Some(_) => SeriesState::Changed,
            None if self.evidence.is_learning() => SeriesState::Learning,
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
            (Some(last), Some(value_at)) if at.saturating_sub(value_at) < self.gap() => {
                self.carry.slope() * last
            }
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
        let unit = self.unit(level.unwrap_or(0.0));
        let band = forecast.zip(self.evidence.band());
        let outer = |value: f64| self.config.scale.outer(value);
        let reach =
            self.deviations.quantile(LEVEL_BAND).filter(|_| self.deviations.len() >= LEAST_SPREAD_POINTS);
        let around = level.zip(reach);
        SeriesPoint {
            level: level.map(outer),
            level_low: around.map(|(level, reach)| outer(level - reach)),
            level_high: around.map(|(level, reach)| outer(level + reach)),
            expected: forecast.map(outer),
            low: band.map(|(forecast, (low, _))| outer(forecast + low * unit)),
            high: band.map(|(forecast, (_, high))| outer(forecast + high * unit)),
            score: 0.0,
            log_e: 0.0,
            state: SeriesState::Learning,
        }
    }

    /// Whether a change begins, is over, or is the new normal.
    fn judge(&mut self, at: i64, deviation: f64) {
        let Some(since) = self.changed_at else {
            if self.evidence.alarms(self.config.points_per_false_alarm) {
                self.changed_at = Some(at);
                self.changed.keep_last(0);
            }
            return;
        };
        self.changed.push(deviation);
        let ordinary = self.deviations.quantile(CALM.1).zip(self.changed.median());
        if at.saturating_sub(since) >= i64::from(self.config.settle_seconds) {
            self.learn_afresh(since);
        } else if self.changed.is_full() && ordinary.is_some_and(|(before, now)| now <= before) {
            if self.follows() {
                return self.learn_afresh(since);
            }
            self.evidence.reset();
            self.changed_at = None;
        }
    }

    /// The new normal, and no memory of how far points used to lie from their levels: how far they do now is not known.
    fn learn_afresh(&mut self, since: i64) {
        self.relevel(since);
        self.forget_deviations();
    }

    /// Levels from the later half of a change, and the patterns from before on this level.
    fn relevel(&mut self, since: i64) {
        let half = (self.config.settle_seconds / self.config.step_seconds / 2).max(1) as usize;
        self.values.keep_last(half);
        self.offsets.keep_last(half);
        let by = self.seasons.relevel(since.saturating_add(i64::from(self.config.offset_seconds)));
        self.offsets.shift(-by);
    }

    fn forget_deviations(&mut self) {
        let points = self.config.memory.points();
        self.deviations = Recent::new(points);
        self.evidence = Evidence::new(points);
        self.changed_at = None;
        self.carry = Carry::default();
        self.last_deviation = None;
    }

    /// Takes the value into pattern, level and spread.
    fn learn(&mut self, at: i64, local: i64, value: f64, level: f64, distance: f64) {
        let deviation = value - level;
        // What a change looks like is not what points usually look like.
        if self.changed_at.is_none() {
            if self.deviations.len() >= LEAST_SPREAD_POINTS {
                self.evidence.learn(distance);
            }
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
        let without = self.values.median().unwrap_or(value);
        self.seasons.observe(local, value, without, self.changed_at.is_some());
        self.values.push(value);
        let season = self.seasons.chosen();
        if season != self.season {
            self.season = season;
            self.offsets.keep_last(0);
            self.forget_deviations();
            if let Some(views) = &mut self.views {
                views.forget_level();
            }
        }
    }
}
