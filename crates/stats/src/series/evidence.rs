//! From distances to evidence: what is ordinary, how surprising a distance is, and whether they have changed.

use super::recent::Recent;
use crate::detector::{Detector, calibrate};
use crate::sequential::mean_of_logs;
use serde::{Deserialize, Serialize};

/// No evidence is drawn from fewer earlier distances.
const LEAST_HISTORY: usize = 100;
/// The shares of distances below the band and up to its upper end.
const BAND: (f64, f64) = (0.005, 0.995);
/// How fast a burst of large distances builds up and fades, and the largest distance in it.
const BURST: (f64, f64) = (0.2, 10.0);
/// The usual distance is the mean of about so many.
const USUAL_POINTS: u32 = 500;
/// A regression forgets with this factor at each point, and its slope is no higher than the second.
const CARRY: (f64, f64) = (0.998, 0.98);

/// The evidence of one distance after the other, upwards and downwards.
///
/// A distance gets a conformal p-value in each direction among the last ones, each p-value an e-value ([`calibrate`]),
/// and each direction has its Shiryaev-Roberts detector. Means of e-values and of e-detectors are such again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    history: Recent,
    bursts: Bursts,
    up: Detector,
    down: Detector,
}

impl Evidence {
    /// No evidence yet; distances will be compared with the last `points`.
    pub(super) fn new(points: usize) -> Self {
        Self {
            history: Recent::new(points),
            bursts: Bursts::default(),
            up: Detector::new(),
            down: Detector::new(),
        }
    }

    /// Whether there is too little history for evidence.
    pub(super) fn is_learning(&self) -> bool {
        self.missing() > 0
    }

    /// How many distances are missing before there is evidence.
    pub(super) fn missing(&self) -> usize {
        LEAST_HISTORY.saturating_sub(self.history.len())
    }

    /// The distances, below and above, between which 99 % of the last ones lay.
    pub(super) fn band(&self) -> Option<(f64, f64)> {
        let unit = self.bursts.unit();
        let ends = self.history.quantile(BAND.0).zip(self.history.quantile(BAND.1));
        ends.filter(|_| !self.is_learning()).map(|(low, high)| (low * unit, high * unit))
    }

    /// Takes the evidence of a distance in and returns the logarithm of its e-value; 0 while learning.
    pub(super) fn weigh(&mut self, distance: f64) -> f64 {
        if self.is_learning() {
            return 0.0;
        }
        let distance = distance / self.bursts.unit();
        let [up, down] = [self.history.p_value(distance), self.history.lower_p_value(distance)]
            .map(|p_value| calibrate(p_value).unwrap_or(0.0));
        self.up.observe(up);
        self.down.observe(down);
        mean_of_logs(&[up, down])
    }

    /// Takes a distance into what is ordinary.
    pub(super) fn learn(&mut self, distance: f64) {
        self.history.push(distance / self.bursts.unit());
        self.bursts.observe(distance.abs());
    }

    /// The logarithm of the evidence for a change.
    pub(super) fn log_m(&self) -> f64 {
        mean_of_logs(&[self.up.log_m(), self.down.log_m()])
    }

    /// Whether the alarm goes off at one false alarm in so many points.
    pub(super) fn alarms(&self, points_per_false_alarm: f64) -> bool {
        self.log_m() >= points_per_false_alarm.ln()
    }

    /// Forgets the evidence, not what is ordinary.
    pub(super) fn reset(&mut self) {
        self.up.reset();
        self.down.reset();
    }
}

/// Large distances come in bursts: the unit of the next distance grows with the last ones as far as it used to (as in
/// autoregressive conditional heteroscedasticity; Engle, Econometrica 50, 1982).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bursts {
    usual: f64,
    lately: f64,
    points: u32,
    carry: Carry,
}

impl Default for Bursts {
    fn default() -> Self {
        Self { usual: 1.0, lately: 1.0, points: 0, carry: Carry::default() }
    }
}

impl Bursts {
    fn unit(&self) -> f64 {
        let excess = self.lately / self.usual.max(f64::MIN_POSITIVE) - 1.0;
        (1.0 + self.carry.slope() * excess.min(BURST.1)).max(0.5)
    }

    fn observe(&mut self, size: f64) {
        let size = size.min(BURST.1);
        self.points = self.points.saturating_add(1).min(USUAL_POINTS);
        self.carry.observe(self.lately - self.usual, size - self.usual);
        self.usual += (size - self.usual) / f64::from(self.points);
        self.lately += BURST.0 * (size - self.lately);
    }
}

/// How much of one number carries over to the next: the slope of a regression through 0, between 0 and nearly 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Carry {
    products: f64,
    squares: f64,
}

impl Carry {
    pub(super) fn observe(&mut self, last: f64, next: f64) {
        self.products = self.products * CARRY.0 + last * next;
        self.squares = self.squares * CARRY.0 + last * last;
    }

    pub(super) fn slope(&self) -> f64 {
        if self.squares > 0.0 { (self.products / self.squares).clamp(0.0, CARRY.1) } else { 0.0 }
    }
}
