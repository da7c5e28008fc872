//! One series: its monitor, what it said of the steps of a window, and what windows ordinarily come to.

use crate::reference::range;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use steersman_stats::StatsError;
use steersman_stats::detector::{Detector, calibrate};
use steersman_stats::series::{
    Memory, Scale, Season, SeriesConfig, SeriesMonitor, SeriesPoint, SeriesState, stretch_p,
};

/// Windows that say what a window ordinarily comes to, and how many are needed.
const PAST_WINDOWS: (usize, usize) = (8, 60);
/// Differences below this share are none.
const TRIFLE: f64 = 0.02;
/// A window with a larger p-value is as ever.
const ORDINARY_P: f64 = 0.05;

/// A series that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Records.
    Traffic,
    /// Share of failed calls.
    Failures,
    /// Median of latency.
    Median,
    /// 99th percentile of latency.
    Tail,
    /// Mean cost of a record.
    Cost,
}

impl Kind {
    /// Counts, shares and latencies are compared by their ratio where they are large, by their difference where they are
    /// small: ten records, one failure in a hundred, five milliseconds. Costs, whose unit nobody knows, by their ratio.
    fn scale(self) -> Scale {
        match self {
            Self::Cost => Scale::Log { floor: 1e-9 },
            _ => Scale::Started { start: self.small() },
        }
    }

    fn small(self) -> f64 {
        match self {
            Self::Traffic => 10.0,
            Self::Failures => 0.01,
            Self::Median | Self::Tail => 5.0,
            Self::Cost => 0.0,
        }
    }

    /// Whether windows are also weighed as a whole; failures are counted call by call instead.
    fn whole(self) -> bool {
        self != Self::Failures
    }

    /// Whether what was found is enough to matter: traffic by a third more or a quarter less, latency and cost by a half
    /// more, latency by what a person could notice.
    fn matters(self, value: f64, usual: f64) -> bool {
        match self {
            Self::Traffic => value > 4.0 / 3.0 * usual + 1.0 || value < 0.75 * usual - 1.0,
            Self::Median | Self::Tail => value > 1.5 * usual && value > usual + 5.0,
            Self::Cost => value > 1.5 * usual,
            Self::Failures => value > usual + 0.01,
        }
    }
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// As before.
    Over,
    /// It has lasted so long that it is what is normal now.
    NewNormal,
}

/// A step of a window that changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strange {
    /// Its place in the window.
    pub(super) step: usize,
    pub(super) value: f64,
    pub(super) usual: f64,
    pub(super) ordinary: Option<(f64, f64)>,
}

/// What a series says of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Said {
    /// What the window was expected to come to, and between what it ordinarily lies.
    pub(super) expected: Option<f64>,
    pub(super) ordinary: Option<(f64, f64)>,
    /// The step of the change that is farthest from what is usual.
    pub(super) strangest: Option<Strange>,
    /// Whether the steps of the change together are enough to matter.
    pub(super) matters: bool,
    /// Whether the change goes on at the end of the window.
    pub(super) changed: bool,
    pub(super) end: Option<End>,
    /// How many values are still needed before there is evidence; 0 when there is.
    pub(super) to_learn: usize,
}

/// The budget of windows as a whole, and when a change has settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    pub(super) windows_per_false_alarm: f64,
    pub(super) window_seconds: i64,
    /// When the window ends, in seconds of the epoch.
    pub(super) window_end: i64,
    pub(super) settle_seconds: i64,
}

/// A monitor, and what windows came to beside what its levels say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    kind: Kind,
    #[serde(with = "compact")]
    monitor: SeriesMonitor,
    changed: bool,
    /// Logarithms of the ratio of window to level.
    ratios: VecDeque<f64>,
    /// The evidence of windows as a whole.
    windows: Detector,
    /// For so many seconds windows as a whole have been changed.
    shifted: Option<i64>,
    /// The steps of the window that is under way.
    #[serde(skip)]
    steps: Vec<(usize, f64, SeriesPoint)>,
    #[serde(skip)]
    end: Option<End>,
}

impl Series {
    /// A series of steps of so many seconds.
    pub(super) fn new(kind: Kind, seconds: i64, points: f64, settle: u32) -> Result<Self, StatsError> {
        let config = SeriesConfig {
            scale: kind.scale(),
            points_per_false_alarm: points,
            settle_seconds: settle,
            memory: Memory::Lean,
            ..SeriesConfig::new(seconds.clamp(1, 86_400) as u32)
        };
        let monitor = SeriesMonitor::new(config)?;
        let (ratios, windows, steps) = (VecDeque::new(), Detector::new(), Vec::new());
        Ok(Self { kind, monitor, changed: false, ratios, windows, shifted: None, steps, end: None })
    }

    /// Goes on with another budget and settling time.
    pub(super) fn retune(&mut self, points: f64, settle: u32) {
        self.monitor.retune(points, settle);
    }

    /// The evidence of steps, and of windows as a whole.
    pub(super) fn log_m(&self) -> (f64, f64) {
        (self.monitor.log_m(), self.windows.log_m())
    }

    /// The least that is usual at a time; none while learning.
    pub(super) fn least(&mut self, at: i64) -> Option<f64> {
        self.monitor.update(at, None).level_low
    }

    /// What is usual at a time; none before the first value.
    pub(super) fn level(&self, at: i64) -> Option<f64> {
        self.monitor.level_at(at)
    }

    /// The pattern that it follows.
    pub(super) fn season(&self) -> Season {
        self.monitor.season()
    }

    /// Takes the value of a step in; without a place it lies before the window.
    pub(super) fn observe(&mut self, step: Option<usize>, at: i64, value: Option<f64>) {
        let season = self.monitor.season();
        let point = self.monitor.update(at, value);
        if season != self.monitor.season() {
            // Levels are expected in another way from here on.
            self.ratios.clear();
        }
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let changed = point.state == SeriesState::Changed;
        if self.changed && !changed {
            let learning = point.state == SeriesState::Learning;
            self.end = Some(if learning { End::NewNormal } else { End::Over });
        }
        self.changed = changed;
        self.steps.extend(step.map(|step| (step, value, point)));
    }

    /// What is now is taken for normal, and what was found so far is no news.
    pub(super) fn accept(&mut self) {
        self.monitor.accept(None);
        self.windows.reset();
        (self.changed, self.shifted, self.end) = (false, None, None);
    }

    /// What is said of the window that is over: `whole` is what it comes to.
    pub(super) fn close(&mut self, whole: Option<f64>, settling: Settling) -> Said {
        let steps = std::mem::take(&mut self.steps);
        let levels: Vec<f64> = steps.iter().filter_map(|(_, _, point)| point.level).collect();
        let sum: f64 = levels.iter().sum();
        let base = match self.kind {
            Kind::Traffic => sum,
            _ => sum / levels.len().max(1) as f64,
        };
        let small = self.kind.small();
        let base = (!levels.is_empty() && levels.len() == steps.len()).then_some(base + small);
        let ratio = whole.zip(base).map(|(whole, base)| ((whole + small) / base).ln());
        let ratio = ratio.filter(|ratio| ratio.is_finite());
        let mut known: Vec<f64> = self.ratios.iter().copied().collect();
        let stepwise = steps.iter().any(|(.., point)| point.state == SeriesState::Changed);
        self.weigh(ratio, &known, stepwise, settling);
        known.sort_by(f64::total_cmp);
        let outer = |ratio: f64, base: f64| (base * ratio.exp() - small).max(0.0);
        let enough = base.filter(|_| known.len() >= PAST_WINDOWS.0);
        let middle = known.get(known.len() / 2).copied().unwrap_or(0.0);
        let counted = |point: &SeriesPoint| {
            point.state == SeriesState::Changed || (!stepwise && self.shifted.is_some())
        };
        let changed: Vec<&(usize, f64, SeriesPoint)> =
            steps.iter().filter(|(.., point)| counted(point)).collect();
        let (value, usual) = changed.iter().fold((0.0, 0.0), |sum, (_, value, point)| {
            (sum.0 + value, sum.1 + point.level.unwrap_or(*value))
        });
        let count = changed.len().max(1) as f64;
        Said {
            expected: enough.map(|base| outer(middle, base)),
            ordinary: enough
                .zip(range(&known))
                .map(|(base, (low, high))| (outer(low, base), outer(high, base))),
            strangest: changed
                .iter()
                .filter_map(|step| self.strange(step))
                .max_by(|a, b| self.distance(a.value, a.usual).total_cmp(&self.distance(b.value, b.usual))),
            matters: !changed.is_empty() && self.kind.matters(value / count, usual / count),
            changed: self.changed || self.shifted.is_some(),
            end: self.end.take(),
            to_learn: self.monitor.values_to_learn(),
        }
    }

    /// Weighs the window as a whole, and says whether a change of whole windows begins, is over or is the new normal.
    fn weigh(&mut self, ratio: Option<f64>, known: &[f64], stepwise: bool, settling: Settling) {
        let p_value = ratio.filter(|_| self.kind.whole()).and_then(|ratio| stretch_p(known, ratio, TRIFLE));
        if let Some(log_e) = p_value.and_then(|p_value| calibrate(p_value).ok()) {
            self.windows.observe(log_e);
        }
        let alarms = self.windows.log_m() >= settling.windows_per_false_alarm.ln();
        self.shifted = match self.shifted {
            Some(lasted) => Some(lasted + settling.window_seconds),
            None => (alarms && p_value.is_some()).then_some(settling.window_seconds),
        };
        // What steps say of the end of a change holds for the windows too.
        let ordinary = p_value.is_some_and(|p_value| p_value > ORDINARY_P);
        let end = match self.shifted {
            _ if self.changed => None,
            _ if self.end.is_some() => self.end,
            Some(_) if ordinary && self.monitor.follows() => Some(End::NewNormal),
            Some(_) if ordinary => Some(End::Over),
            Some(lasted) if lasted > settling.settle_seconds => Some(End::NewNormal),
            _ => None,
        };
        if let Some(end) = end {
            let since = self.shifted.map(|lasted| settling.window_end - lasted);
            (self.shifted, self.end) = (None, Some(end));
            self.windows.reset();
            if end == End::NewNormal {
                self.ratios.clear();
                self.monitor.accept(since);
            }
        }
        // While levels are learnt they say little of what a window comes to.
        let learnt = self.monitor.values_to_learn() == 0;
        if learnt && !stepwise && self.shifted.is_none() && end != Some(End::NewNormal) {
            self.ratios.extend(ratio.map(|ratio| within(known, ratio)));
            if self.ratios.len() > PAST_WINDOWS.1 {
                self.ratios.pop_front();
            }
        }
    }

    fn strange(&self, (step, value, point): &(usize, f64, SeriesPoint)) -> Option<Strange> {
        let ordinary = point.level_low.zip(point.level_high);
        Some(Strange { step: *step, value: *value, usual: point.level?, ordinary })
    }

    fn distance(&self, value: f64, usual: f64) -> f64 {
        let small = self.kind.small().max(f64::MIN_POSITIVE);
        ((value + small) / (usual + small)).ln().abs()
    }
}

/// A value, cut to three spreads around the mean of the last ones: one strange window must not hide the next.
fn within(known: &[f64], value: f64) -> f64 {
    let count = known.len() as f64;
    if known.len() < PAST_WINDOWS.0 {
        return value;
    }
    let mean = known.iter().sum::<f64>() / count;
    let spread = (known.iter().map(|known| (known - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let reach = 3.0 * spread.max(TRIFLE);
    value.clamp(mean - reach, mean + reach)
}

/// The state of a monitor as base64: a quarter of what numbers in text take.
mod compact {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};
    use steersman_stats::series::SeriesMonitor;

    pub(super) fn serialize<S: Serializer>(
        monitor: &SeriesMonitor,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bytes = monitor.to_bytes().map_err(ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeriesMonitor, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        SeriesMonitor::from_bytes(&bytes).map_err(de::Error::custom)
    }
}
