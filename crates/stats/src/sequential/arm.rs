//! Which arm do bad events come from? Counts of events, and tests that are functions of nothing else.

use super::mean_of_logs;
use serde::{Deserialize, Serialize};

/// Rate ratios, times the null's, at which harm is looked for.
const HARM_RATIOS: [f64; 7] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// Rate ratios, times the margin, at which safety is looked for, beside "no different".
const SAFETY_RATIOS: [f64; 2] = [0.75, 0.5];
/// Rate ratios at which a candidate is looked for that is better than the champion.
const BETTER_RATIOS: [f64; 4] = [0.95, 0.85, 0.7, 0.5];
/// Rate ratios at which a broken split is looked for.
const SPLIT_RATIOS: [f64; 10] = [0.1, 0.25, 0.5, 0.75, 0.9, 1.0 / 0.9, 1.0 / 0.75, 2.0, 4.0, 10.0];
/// No test looks for more ratios than this.
const MOST_RATIOS: usize = 10;

/// Events of both arms whose requests were given to the candidate with one probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArmCount {
    /// The probability with which such a request went to the candidate.
    pub weight: f64,
    /// Events of the champion.
    pub champion: u64,
    /// Events of the candidate.
    pub candidate: u64,
}

/// Events by the weight of their requests. Whole numbers: the order of arrival leaves no trace, counts merge exactly,
/// and whatever is computed from them is the same to the last bit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmEvents(Vec<ArmCount>);

impl ArmEvents {
    /// So many events of each arm on requests with this weight. A weight of 0 or 1 leaves nothing to chance, and such
    /// events say nothing about the arms: they are passed over.
    pub fn add(&mut self, weight: f64, champion: u64, candidate: u64) {
        if !(weight > 0.0 && weight < 1.0) {
            return;
        }
        let at = self.0.partition_point(|cell| cell.weight < weight);
        match self.0.get_mut(at).filter(|cell| cell.weight == weight) {
            Some(cell) => {
                cell.champion += champion;
                cell.candidate += candidate;
            }
            None => self.0.insert(at, ArmCount { weight, champion, candidate }),
        }
    }

    /// One event of one arm.
    pub fn observe(&mut self, candidate: bool, weight: f64) {
        self.add(weight, u64::from(!candidate), u64::from(candidate));
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|cell| self.add(cell.weight, cell.champion, cell.candidate));
    }

    /// The counts, by rising weight.
    pub fn counts(&self) -> &[ArmCount] {
        &self.0
    }
}

impl FromIterator<ArmCount> for ArmEvents {
    fn from_iter<I: IntoIterator<Item = ArmCount>>(counts: I) -> Self {
        let mut events = Self::default();
        counts.into_iter().for_each(|cell| events.add(cell.weight, cell.champion, cell.candidate));
        events
    }
}

/// The probability that an event came from the candidate, which got the request with probability `weight` and has
/// `ratio` times the champion's rate of events.
fn candidate_share(ratio: f64, weight: f64) -> f64 {
    weight * ratio / (weight * ratio + 1.0 - weight)
}

/// A test of the ratio of the two arms' rates (Lindon, Sanden, Shirikian, *Rapid Regression Detection in Software
/// Deployments through Sequential Testing*, KDD 2022; as a mixture over a grid of ratios): an e-process.
///
/// `E = (1/K) sum_k prod_i (q(r_k, w_i) / q(r_0, w_i))^{c_i} ((1 - q(r_k, w_i)) / (1 - q(r_0, w_i)))^{1 - c_i}` over events
/// `i`, of the candidate where `c_i = 1`, with `q(r, w) = w r / (w r + 1 - w)`. The base rate cancels, so it may change at
/// will, and so may the weights.
///
/// ```
/// use steersman_stats::sequential::{ArmEvents, ArmTest};
/// let mut events = ArmEvents::default();
/// events.add(0.1, 0, 9); // nine events in a row from an arm with a tenth of the traffic
/// assert!(ArmTest::harm(1.0).log_e(&events) > 20f64.ln());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ArmTest {
    null: f64,
    ratios: Vec<f64>,
    /// The terms of weights that were announced.
    known: Vec<(f64, Terms)>,
}

/// What one event of the candidate and one of the champion add to the logarithm, by ratio.
type Terms = [[f64; 2]; MOST_RATIOS];

impl ArmTest {
    /// Evidence against "the candidate's rate is at most `null` times the champion's".
    pub fn harm(null: f64) -> Self {
        Self::new(null, HARM_RATIOS.iter().map(|ratio| null * ratio).collect())
    }

    /// Evidence against "the candidate's rate is at least `margin` times the champion's", for a margin above 1.
    pub fn safety(margin: f64) -> Self {
        let lower = SAFETY_RATIOS.iter().map(|ratio| margin * ratio);
        Self::new(margin, std::iter::once(1.0).chain(lower).collect())
    }

    /// Evidence against "the candidate's rate is at least the champion's".
    pub fn better() -> Self {
        Self::new(1.0, BETTER_RATIOS.to_vec())
    }

    /// Evidence against "requests are split as they were told": counts are requests, not events (Fabijan et al.,
    /// *Diagnosing Sample Ratio Mismatch in Online Controlled Experiments*, KDD 2019, as a sequential test).
    pub fn split() -> Self {
        Self::new(1.0, SPLIT_RATIOS.to_vec())
    }

    fn new(null: f64, ratios: Vec<f64>) -> Self {
        Self { null, ratios, known: Vec::new() }
    }

    /// Prepares for these weights; it gives the same for others, in more time.
    #[must_use]
    pub fn at_weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.known = weights.into_iter().map(|weight| (weight, self.terms(weight))).collect();
        self
    }

    fn terms(&self, weight: f64) -> Terms {
        let under_null = candidate_share(self.null, weight);
        let mut terms = [[0.0; 2]; MOST_RATIOS];
        for (slot, &ratio) in terms.iter_mut().zip(&self.ratios) {
            let share = candidate_share(ratio, weight);
            *slot = [((1.0 - share) / (1.0 - under_null)).ln(), (share / under_null).ln()];
        }
        terms
    }

    /// The evidence.
    pub fn log_e(&self, events: &ArmEvents) -> f64 {
        let mut logs = [0.0; MOST_RATIOS];
        for cell in events.counts() {
            let known = self.known.iter().find(|(weight, _)| *weight == cell.weight);
            let made;
            let terms = match known {
                Some((_, terms)) => terms,
                None => {
                    made = self.terms(cell.weight);
                    &made
                }
            };
            for (log, [champion, candidate]) in logs.iter_mut().zip(terms) {
                *log += cell.champion as f64 * champion + cell.candidate as f64 * candidate;
            }
        }
        mean_of_logs(&logs[..self.ratios.len()])
    }

    /// About how many events it takes to reach `level`, if the candidate's rate is `ratio` times the champion's and it
    /// gets the share `weight`: `(level + ln K) / KL(q(ratio) || q(null))` for the ratio of the grid that fits best; none
    /// where such events bring no evidence.
    ///
    /// ```
    /// use steersman_stats::sequential::ArmTest;
    /// let events = ArmTest::harm(1.0).events_to(20f64.ln(), 3.0, 0.1).unwrap();
    /// assert!((50.0..70.0).contains(&events), "{events}");
    /// ```
    pub fn events_to(&self, level: f64, ratio: f64, weight: f64) -> Option<f64> {
        if !(weight > 0.0 && weight < 1.0) {
            return None;
        }
        let share = candidate_share(ratio, weight);
        let gain = |[champion, candidate]: [f64; 2]| (1.0 - share) * champion + share * candidate;
        let best = self.terms(weight).into_iter().take(self.ratios.len()).map(gain).fold(0.0, f64::max);
        (best > 0.0).then(|| (level + (self.ratios.len() as f64).ln()) / best)
    }
}
