//! The last values of a series, with exact ranks and quantiles.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The last values, at most `capacity` of them, in time order and sorted. No value is NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct Recent {
    capacity: usize,
    in_time: VecDeque<f64>,
    sorted: Vec<f64>,
}

/// What is kept of it: the sorted values follow from the others.
#[derive(Serialize, Deserialize)]
struct Stored {
    capacity: usize,
    values: Vec<f64>,
}

impl From<Recent> for Stored {
    fn from(recent: Recent) -> Self {
        Self { capacity: recent.capacity, values: recent.in_time.into() }
    }
}

impl From<Stored> for Recent {
    fn from(stored: Stored) -> Self {
        let mut recent = Self::new(stored.capacity);
        stored.values.into_iter().for_each(|value| recent.push(value));
        recent
    }
}

impl Recent {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), in_time: VecDeque::new(), sorted: Vec::new() }
    }

    /// Takes a value in and drops the oldest one if there are too many.
    pub(super) fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        if self.in_time.len() >= self.capacity {
            self.drop_oldest();
        }
        self.in_time.push_back(value);
        let place = self.sorted.partition_point(|known| *known < value);
        self.sorted.insert(place, value);
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.in_time.pop_front() {
            let place = self.sorted.partition_point(|known| *known < oldest);
            self.sorted.remove(place);
        }
    }

    /// Keeps the last `count` values only.
    pub(super) fn keep_last(&mut self, count: usize) {
        while self.in_time.len() > count {
            self.drop_oldest();
        }
    }

    /// Adds a number to all values.
    pub(super) fn shift(&mut self, by: f64) {
        self.in_time.iter_mut().chain(&mut self.sorted).for_each(|value| *value += by);
    }

    /// By how much the median of the last `count` values lies above that of the oldest quarter; none while these overlap.
    pub(super) fn moved(&self, count: usize) -> Option<f64> {
        let (length, quarter) = (self.in_time.len(), self.in_time.len() / 4);
        let median = |values: std::collections::vec_deque::Iter<'_, f64>| {
            let mut values: Vec<f64> = values.copied().collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        if quarter == 0 || quarter + count > length {
            return None;
        }
        let (first, last) = (self.in_time.range(..quarter), self.in_time.range(length - count..));
        Some(median(last)? - median(first)?)
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// The value of which a share `rank` lies below, without interpolation; none when empty.
    pub(super) fn quantile(&self, rank: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted.get((last as f64 * rank) as usize).copied()
    }

    pub(super) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (!self.in_time.is_empty()).then(|| self.in_time.iter().sum::<f64>() / self.in_time.len() as f64)
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// The conformal p-value of one more value: the share of values, itself among them, that are at least as large
    /// (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005, section 2.2; ties count in full). At
    /// most `p` with probability `p` as long as the new value is exchangeable with the last ones.
    pub(super) fn p_value(&self, value: f64) -> f64 {
        (1 + self.at_least(value)) as f64 / (self.len() + 1) as f64
    }

    /// The same for values that are at most as large.
    pub(super) fn lower_p_value(&self, value: f64) -> f64 {
        (1 + self.sorted.partition_point(|known| *known <= value)) as f64 / (self.len() + 1) as f64
    }

    fn at_least(&self, value: f64) -> usize {
        self.len() - self.sorted.partition_point(|known| *known < value)
    }

    /// The logarithm of the p-value, continued beyond the largest values along a Pareto tail, whose index is estimated
    /// from the largest `share` of them (Hill, Annals of Statistics 3, 1975) and at most `1/least_gamma`: a value far
    /// above all others is more surprising than one just above them. No guarantee comes with it.
    pub(super) fn tail_log_p(&self, value: f64, share: f64, least_gamma: f64) -> f64 {
        let top = ((self.len() as f64 * share) as usize).max(10);
        let (tail_from, at_least) = (self.len().saturating_sub(top), self.at_least(value));
        let threshold = tail_from.checked_sub(1).and_then(|index| self.sorted.get(index)).copied();
        match threshold {
            Some(threshold) if at_least < top && threshold > 0.0 => {
                let largest = self.sorted.iter().skip(tail_from);
                let gamma = largest.map(|known| (known / threshold).ln()).sum::<f64>() / top as f64;
                let share_above = (top + 1) as f64 / (self.len() + 1) as f64;
                share_above.ln() - (value / threshold).ln().max(0.0) / gamma.max(least_gamma)
            }
            _ => self.p_value(value).ln(),
        }
    }
}
