//! KSWIN: the newest values of a window against a sample of the older ones.

use super::{StreamDetector, StreamState, any_value};
use crate::distance::kolmogorov_smirnov;
use crate::error::StatsError;
use crate::random::Random;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A smaller difference of the distribution functions is no alarm, whatever its p-value.
const LEAST_STATISTIC: f64 = 0.1;

/// Parameters of [`Kswin`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KswinConfig {
    /// The level of the test, between 0 and 1. Default 0.005.
    pub alpha: f64,
    /// Values in the window. Default 100.
    pub window_size: usize,
    /// The newest values that are tested, and how many of the others are drawn; at most half of the window. Default 30.
    pub stat_size: usize,
    /// Where the random draws start. Default 0.
    pub seed: u64,
}

impl Default for KswinConfig {
    fn default() -> Self {
        Self { alpha: 0.005, window_size: 100, stat_size: 30, seed: 0 }
    }
}

/// Kolmogorov-Smirnov windowing: at every value of a full window the newest `stat_size` are compared with as many drawn
/// without replacement from the rest; an alarm when the exact p-value is at most `alpha` and the statistic above 0.1
/// (Raab, Heusinger, Schleif, *Reactive soft prototype computing for concept drift streams*, Neurocomputing 416, 2020).
///
/// The draws come from `seed` and differ from River's, so alarms come about as often and as early, not at the same
/// positions; as there, draws start again from the seed after an alarm. Memory: `window_size` values.
///
/// ```
/// use steersman_stats::stream::{Kswin, StreamDetector, StreamState};
/// let mut detector = Kswin::default();
/// let values = (0..400).map(|row| f64::from(row * 7 % 10) + if row < 200 { 0.0 } else { 20.0 });
/// let alarm = values.map(|value| detector.update(value).unwrap()).position(|state| state == StreamState::Drift);
/// // 14 higher values among the newest 30, at the latest, make the statistic 14/30 with p = 0.0025.
/// assert!(alarm.is_some_and(|row| (205..=213).contains(&row)), "{alarm:?}");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kswin {
    config: KswinConfig,
    window: VecDeque<f64>,
    random: Random,
    state: StreamState,
}

impl Kswin {
    /// A detector that has seen nothing.
    pub fn new(config: KswinConfig) -> Result<Self, StatsError> {
        if !(config.alpha > 0.0 && config.alpha < 1.0) {
            return Err(StatsError::Domain("alpha is a probability between 0 and 1"));
        }
        if config.stat_size == 0 || config.stat_size > config.window_size / 2 {
            return Err(StatsError::Domain("stat_size is at least 1 and at most half of window_size"));
        }
        Ok(Self::empty(config))
    }

    /// A detector with default parameters whose draws start from `seed`.
    pub(super) fn seeded(seed: u64) -> Self {
        Self::empty(KswinConfig { seed, ..KswinConfig::default() })
    }

    fn empty(config: KswinConfig) -> Self {
        let random = Random::new(config.seed);
        Self { config, window: VecDeque::new(), random, state: StreamState::Steady }
    }

    /// So many of the values before the newest, drawn without replacement: each with the probability of those still
    /// needed among those still left (D. E. Knuth, *The Art of Computer Programming* 2, 3.4.2, algorithm S).
    fn draw(&mut self, older: usize) -> Vec<f64> {
        let mut sample = Vec::with_capacity(self.config.stat_size.min(older));
        for (row, value) in self.window.iter().take(older).enumerate() {
            let needed = self.config.stat_size.saturating_sub(sample.len());
            if self.random.uniform() * ((older - row) as f64) < needed as f64 {
                sample.push(*value);
            }
        }
        sample
    }
}

/// `P(D >= statistic)` for two samples of `n` values each from one continuous distribution, exactly: with
/// `h = n * statistic`, `2 sum_j (-1)^(j-1) C(2n, n - jh) / C(2n, n)` (B. V. Gnedenko and V. S. Korolyuk, 1951; J. L.
/// Hodges, *The significance probability of the Smirnov two-sample test*, Arkiv för Matematik 3, 1958).
fn exact_p_value(statistic: f64, n: usize) -> f64 {
    let n = n as f64;
    let step = (statistic * n).round();
    if step < 1.0 {
        return 1.0;
    }
    let (mut sum, mut sign, mut ratio, mut lag) = (0.0, 1.0, 1.0, 0.0);
    while lag + step <= n {
        let next = lag + step;
        while lag < next {
            ratio *= (n - lag) / (n + lag + 1.0);
            lag += 1.0;
        }
        sum += sign * ratio;
        sign = -sign;
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

impl Default for Kswin {
    fn default() -> Self {
        Self::empty(KswinConfig::default())
    }
}

impl StreamDetector for Kswin {
    fn update(&mut self, value: f64) -> Result<StreamState, StatsError> {
        any_value(value)?;
        if self.state == StreamState::Drift {
            self.reset();
        }
        self.window.push_back(value);
        if self.window.len() > self.config.window_size {
            self.window.pop_front();
        }
        if self.window.len() < self.config.window_size {
            return Ok(self.state);
        }
        let older = self.config.window_size.saturating_sub(self.config.stat_size);
        let drawn = self.draw(older);
        let newest: Vec<f64> = self.window.iter().skip(older).copied().collect();
        let statistic = kolmogorov_smirnov(&drawn, &newest)?.statistic;
        if statistic > LEAST_STATISTIC && exact_p_value(statistic, newest.len()) <= self.config.alpha {
            self.state = StreamState::Drift;
        }
        Ok(self.state)
    }

    fn reset(&mut self) {
        *self = Self::empty(self.config);
    }
}

#[cfg(test)]
mod tests {
    use super::exact_p_value;

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.ks_2samp(method="exact") of two samples of 30 (the last one: of 4) that are h/n apart.
        let known = [
            (5.0, 30, 0.807_963_154_090_164_3),
            (10.0, 30, 0.070_887_987_871_144_39),
            (14.0, 30, 0.002_530_062_236_269_839_7),
            (3.0, 4, 0.228_571_428_571_428_62),
        ];
        for (h, n, p) in known {
            assert!((exact_p_value(h / n as f64, n) - p).abs() < 1e-12, "{h} of {n}");
        }
    }
}
