//! Columns that stopped moving.

use super::share::{Check, Floor, compared};
use crate::error::StatsError;
use crate::interval::{Interval, wilson};
use serde::{Deserialize, Serialize};

/// A run matters if it covers this share of the current values and is longer than twice the reference's
/// longest.
const LONG_RUN: f64 = 0.1;

/// How often a value is the same as the one before it, in the order of time. Windows merge as sequences of
/// their own.
///
/// ```
/// use steersman_stats::quality::Repeats;
/// let repeats = Repeats::of([1, 1, 1, 2, 3, 3].map(Some));
/// assert_eq!((repeats.pairs, repeats.repeats, repeats.runs, repeats.longest, repeats.cut), (5, 3, 2, 2, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repeats {
    /// Values with one before them.
    pub pairs: u64,
    /// Values that are the same as the one before.
    pub repeats: u64,
    /// Unbroken runs of repeats.
    pub runs: u64,
    /// Repeats in the longest run.
    pub longest: u64,
    /// Runs that reach the end of their sequence: how long they would have been is not known.
    #[serde(default)]
    pub cut: u64,
}

impl Repeats {
    /// Counts values in the order of time; missing ones are left out.
    pub fn of<T: PartialEq>(values: impl IntoIterator<Item = Option<T>>) -> Self {
        let mut found = Self::default();
        let (mut before, mut run) = (None, 0);
        for value in values.into_iter().flatten() {
            if let Some(before) = before {
                found.pairs += 1;
                run = if value == before { run + 1 } else { 0 };
                found.repeats += u64::from(run > 0);
                found.runs += u64::from(run == 1);
                found.longest = found.longest.max(run);
            }
            before = Some(value);
        }
        found.cut = u64::from(run > 0);
        found
    }

    /// Adds another sequence.
    pub fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.repeats += other.repeats;
        self.runs += other.runs;
        self.longest = self.longest.max(other.longest);
        self.cut += other.cut;
    }

    fn valid(&self) -> Result<(), StatsError> {
        let runs = self.cut <= self.runs && self.runs <= self.repeats;
        let ordered = runs && self.longest <= self.repeats && self.repeats <= self.pairs;
        if ordered {
            Ok(())
        } else {
            Err(StatsError::Domain("more repeats than values, or more runs than repeats"))
        }
    }

    /// After how many repeats came another one, and of how many it is known what came.
    fn going_on(&self) -> (u64, u64) {
        (self.repeats - self.runs, self.repeats - self.cut)
    }

    /// Whether no run ever ended by itself, as in a column that has one value in each sequence: how long runs are is then a
    /// matter of how long sequences are.
    fn endless(&self) -> bool {
        self.runs > 0 && self.cut == self.runs
    }

    /// By how much the variance of the share of repeats exceeds that of independent ones, if a repeat depends
    /// on the one before it: `(1 + r) / (1 - r)` with the autocorrelation `r` of a two-state chain; at least
    /// 1.
    fn inflation(&self) -> f64 {
        let others = self.pairs - self.repeats;
        let (goes_on, known) = self.going_on();
        if known == 0 || others == 0 {
            return 1.0;
        }
        let stays = goes_on as f64 / known as f64;
        let starts = self.runs as f64 / others as f64;
        let correlation = (stays - starts).clamp(0.0, 0.999);
        (1.0 + correlation) / (1.0 - correlation)
    }
}

/// Whether a column repeats itself more, or for longer, than the reference does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stale {
    /// The share of values that are the same as the one before.
    pub repeats: Check,
    /// Repeats in the longest run.
    pub longest: u64,
    /// Repeats in the reference's longest run.
    pub usual_longest: u64,
    /// How likely so many repeats, or so long a run, are if nothing changed.
    pub p_value: f64,
    /// Whether the share rose far enough, or the run is long enough, to matter.
    pub matters: bool,
}

/// Compares how often values repeat, and for how long, with what is usual for the column.
///
/// Repeats are taken for a two-state Markov chain, as they come in bursts: counts are divided by the
/// inflation of the variance of their mean before the shares are tested, and a run of `L` repeats or more in
/// `N` values has at most the probability `N s c^(L-1)`, with `s` the share at which runs start and `c` that
/// at which they go on in the reference, both at the upper end of their 95 % intervals. The p-value is twice
/// the smaller of the two. It matters if the share reaches the `floor` or if the longest run covers a tenth
/// of the values and is longer than twice the reference's longest, which says nothing where all runs of the reference are whole
/// sequences. Fails without a pair of values on a side.
///
/// ```
/// use steersman_stats::quality::{Floor, Repeats, stale};
/// let usual = Repeats::of((0..1_000).map(|row| Some(row % 10)));
/// let frozen = Repeats::of((0..200).map(|row| Some(if row < 160 { row % 10 } else { 7 })));
/// let check = stale(&usual, &frozen, Floor::default()).unwrap();
/// assert!(check.matters && check.p_value < 1e-20 && check.longest == 39);
/// ```
pub fn stale(reference: &Repeats, current: &Repeats, floor: Floor) -> Result<Stale, StatsError> {
    reference.valid()?;
    current.valid()?;
    let inflation = reference.inflation();
    let thinned = |side: &Repeats| {
        let pairs = (side.pairs as f64 / inflation).ceil() as u64;
        ((side.repeats as f64 / inflation).round().min(pairs as f64) as u64, pairs)
    };
    let thin = compared(thinned(reference), thinned(current), floor)?;
    let full = compared((reference.repeats, reference.pairs), (current.repeats, current.pairs), floor)?;
    // The shares as they are, with the wider intervals of the thinned counts.
    let around =
        |thin: Interval, value: f64| Interval { value, low: thin.low.min(value), high: thin.high.max(value) };
    let repeats = Check {
        share: around(thin.share, full.share.value),
        usual: around(thin.usual, full.usual.value),
        effect: around(thin.effect, full.effect.value),
        p_value: thin.p_value,
        matters: full.matters,
    };
    let of_run = run_probability(reference, current.pairs, current.longest)?;
    let long = !reference.endless()
        && current.longest as f64 >= LONG_RUN * current.pairs as f64
        && current.longest > 2 * reference.longest;
    Ok(Stale {
        repeats,
        longest: current.longest,
        usual_longest: reference.longest,
        p_value: (2.0 * repeats.p_value.min(of_run)).min(1.0),
        matters: repeats.matters || long,
    })
}

/// Whether a column that has one value in each window holds it for longer than the reference's windows do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// How likely it is that a window is the end of such a run if nothing changed. Windows of one run say the same thing:
    /// these p-values must not be multiplied.
    pub p_value: f64,
    /// Whether the run is longer than twice the reference's longest.
    pub matters: bool,
}

/// Compares a run of windows that hold one value with those of the reference: `repeats` windows in a row had the value of
/// the one before them. Runs are those of the two-state chain of [`stale`], so `P <= s c^(repeats - 1)`. Fails without a
/// pair of windows in the reference.
///
/// ```
/// use steersman_stats::quality::{Repeats, held};
/// // A rate of the day that was another on each of forty days.
/// let usual = Repeats::of((0..40).map(Some));
/// let check = held(&usual, 5).unwrap();
/// // 0 of 39 may be 9 % (Wilson): 0.08967^5.
/// assert!(check.matters && (check.p_value - 5.798e-6).abs() < 1e-8);
/// ```
pub fn held(reference: &Repeats, repeats: u64) -> Result<Held, StatsError> {
    reference.valid()?;
    Ok(Held {
        p_value: run_probability(reference, 1, repeats)?.max(f64::MIN_POSITIVE),
        matters: repeats > 2 * reference.longest,
    })
}

/// At most the probability that among so many pairs of values there is a run of so many repeats.
fn run_probability(reference: &Repeats, pairs: u64, longest: u64) -> Result<f64, StatsError> {
    if longest == 0 {
        return Ok(1.0);
    }
    let repeat = wilson(reference.repeats, reference.pairs)?.high;
    let starts = wilson(reference.runs, reference.pairs)?.high;
    let goes_on = match reference.going_on() {
        (_, 0) => repeat,
        (goes_on, known) => wilson(goes_on, known)?.high,
    };
    let log = (pairs as f64 * starts).ln() + (longest - 1) as f64 * goes_on.ln();
    Ok(log.exp().min(1.0))
}
