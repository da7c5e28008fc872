//! Counts of the most frequent values in bounded space.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exact counts of up to `limit` distinct values; beyond that the counts of the most frequent ones, each too low by at most
/// [`Hitters::error`], which is at most `n / (limit + 1)` for `n` values (Misra and Gries, Science of Computer Programming 2,
/// 1982). Summaries merge in any order with the same bound (Agarwal et al., *Mergeable Summaries*, PODS 2012).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hitters {
    limit: usize,
    counts: BTreeMap<String, u64>,
    error: u64,
}

impl Hitters {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, counts: BTreeMap::new(), error: 0 }
    }

    /// Counts a value.
    pub(super) fn add(&mut self, value: &str) {
        if let Some(known) = self.counts.get_mut(value) {
            *known += 1;
            return;
        }
        self.counts.insert(value.to_owned(), 1);
        // Twice the limit may be held, so that cutting down is paid for by as many values.
        if self.counts.len() >= 2 * self.limit {
            self.cut();
        }
    }

    /// Counts what another summary has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (value, count) in &other.counts {
            *self.counts.entry(value.clone()).or_default() += count;
        }
        self.error += other.error;
        self.cut();
    }

    /// Takes the `limit + 1`st largest count off all of them; what has none left is forgotten.
    fn cut(&mut self) {
        if self.counts.len() <= self.limit {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, cut, _) = counts.select_nth_unstable_by(self.limit, |a, b| b.cmp(a));
        let cut = *cut;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(cut);
            *count > 0
        });
        self.error += cut;
    }

    /// The counts that are kept.
    pub(super) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// By how much a count may be too low, and how often a value that is not kept may have occurred; 0 as long as there
    /// were few distinct values.
    pub(super) fn error(&self) -> u64 {
        self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_too_low_by_no_more_than_the_error(values in prop::collection::vec(0u32..40, 0..400), split in 0usize..400) {
            let of = |values: &[u32]| {
                let mut hitters = Hitters::new(5);
                values.iter().for_each(|value| hitters.add(&value.to_string()));
                hitters
            };
            let (first, second) = values.split_at(split.min(values.len()));
            let mut merged = of(second);
            merged.merge(&of(first));
            for hitters in [of(&values), merged] {
                prop_assert!(hitters.error() <= values.len() as u64 / 6);
                for value in 0..40u32 {
                    let truth = values.iter().filter(|own| **own == value).count() as u64;
                    let counted = hitters.counts().get(&value.to_string()).copied().unwrap_or(0);
                    prop_assert!(counted <= truth && truth <= counted + hitters.error());
                }
            }
        }
    }
}
