//! Traffic to simulate on: how many requests come when, and what usually goes wrong with them.

use steersman_domain::simulation::SimulatedTraffic;

/// The champion's share of calls beyond its own 99th percentile.
const SLOW: f64 = 0.01;
const DAY: f64 = 86_400.0;

/// Requests over time, by their running sum over a season that repeats.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    sums: Vec<f64>,
    stretch: f64,
}

impl Flow {
    pub(super) fn new(traffic: &SimulatedTraffic) -> Self {
        let stretch = traffic.stretch_seconds;
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for rate in &traffic.rates {
            sum += rate * stretch;
            sums.push(sum);
        }
        Self { sums, stretch }
    }

    /// Requests expected from the begin of the season to this time.
    fn until(&self, time: f64) -> f64 {
        let season = self.stretch * (self.sums.len() - 1).max(1) as f64;
        let whole = (time / season).floor();
        let within = (time - whole * season) / self.stretch;
        let place = within as usize;
        let total = self.sums.last().copied().unwrap_or(0.0);
        let before = self.sums.get(place).copied().unwrap_or(total);
        let after = self.sums.get(place + 1).copied().unwrap_or(total);
        whole * total + before + (after - before) * (within - place as f64)
    }

    /// Requests expected between two times.
    pub(super) fn between(&self, from: f64, to: f64) -> f64 {
        (self.until(to) - self.until(from)).max(0.0)
    }

    /// Length of the season.
    pub(super) fn season(&self) -> f64 {
        self.stretch * (self.sums.len() - 1).max(1) as f64
    }
}

/// Traffic without a season, of which only rates are known.
pub fn steady(per_day: f64) -> SimulatedTraffic {
    SimulatedTraffic {
        source: String::new(),
        per_day,
        rates: vec![per_day / DAY],
        stretch_seconds: DAY,
        errors: 0.01,
        timeouts: 0.001,
        slow: SLOW,
        wrong: 0.1,
        differ: 0.05,
        labelled: 1.0,
        label_delays: vec![DAY],
    }
}
