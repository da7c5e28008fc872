//! Rows by falling score, ties together.

use std::ops::Range;

/// The order of rows by falling score, and where each group of equal scores ends.
pub(crate) struct Ranking {
    order: Vec<u32>,
    ends: Vec<u32>,
}

impl Ranking {
    /// Of scores that are not NaN, fewer than 2^32. Equal scores keep their order.
    pub(crate) fn new(scores: &[f64]) -> Self {
        // A whole number that falls where the score rises sorts faster than the score itself. -0 and 0 are one score.
        let key = |score: f64| {
            let bits = (score + 0.0).to_bits();
            if bits >> 63 == 0 { !(bits | 1 << 63) } else { bits }
        };
        let mut keyed: Vec<(u64, u32)> = scores.iter().map(|&score| key(score)).zip(0u32..).collect();
        keyed.sort_unstable();
        let mut ends = Vec::new();
        for place in 1..keyed.len() {
            if keyed[place].0 != keyed[place - 1].0 {
                ends.push(place as u32);
            }
        }
        ends.push(keyed.len() as u32);
        Self { order: keyed.into_iter().map(|(_, row)| row).collect(), ends }
    }

    /// The rows in order.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> {
        self.order.iter().map(|&row| row as usize)
    }

    /// The places in the order that each group of equal scores takes.
    pub(crate) fn groups(&self) -> impl DoubleEndedIterator<Item = Range<usize>> {
        (0..self.ends.len()).map(|group| {
            let start = if group == 0 { 0 } else { self.ends[group - 1] as usize };
            start..self.ends[group] as usize
        })
    }

    /// The row at a place.
    pub(crate) fn row(&self, place: usize) -> usize {
        self.order[place] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_from_infinity_and_joins_zeros() {
        let ranking = Ranking::new(&[0.5, -0.0, f64::NEG_INFINITY, 0.0, 0.5, -2.0, f64::INFINITY]);
        assert_eq!(ranking.order().collect::<Vec<_>>(), [6, 0, 4, 1, 3, 5, 2]);
        assert_eq!(ranking.groups().collect::<Vec<_>>(), [0..1, 1..3, 3..5, 5..6, 6..7]);
    }
}
