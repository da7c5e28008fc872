//! Values that whole windows hold, such as a rate of the day: each window alone is ordinary when they are not renewed any
//! more, but not so many in a row.
//!
//! How often windows of the reference have the value of the one before says how long a run is ordinary
//! ([`steersman_stats::quality::held`]). A value that nine tenths of a window have is what the window holds; a window without
//! one ends the run.

use crate::measure::LEAST_ROWS;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use steersman_stats::quality::Repeats;

/// The value that a window holds has so many tenths of its rows.
const TENTHS: u64 = 9;

/// The value that the last windows held, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    value: Option<u64>,
    /// So many windows in a row had the value of the one before.
    pub(super) repeats: u64,
}

impl Held {
    /// The run after one more window.
    pub(crate) fn after(self, steady: Option<u64>) -> Self {
        match steady.is_some() && steady == self.value {
            true => Self { repeats: self.repeats + 1, ..self },
            false => Self { value: steady, repeats: 0 },
        }
    }

    /// A row with the value.
    pub(super) fn row(self, codes: &[Option<u64>]) -> Option<usize> {
        codes.iter().position(|code| code.is_some() && *code == self.value)
    }
}

/// The value that a window holds, if it holds one; none of a window with too few values to say.
pub(crate) fn steady(codes: &[Option<u64>]) -> Option<Option<u64>> {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    codes.iter().flatten().for_each(|code| *counts.entry(*code).or_default() += 1);
    let known: u64 = counts.values().sum();
    let holds = |(_, count): &(u64, u64)| 10 * count >= TENTHS * known;
    (known >= LEAST_ROWS).then(|| counts.into_iter().find(holds).map(|(code, _)| code))
}

/// How often windows in order of time have the value of the one before. Windows without one are like no other.
pub(super) fn holding<'a>(windows: impl Iterator<Item = &'a Vec<Option<u64>>>) -> Repeats {
    let values = windows.map(|codes| steady(codes)).enumerate();
    Repeats::of(values.map(|(place, steady)| Some((steady?, steady?.is_none().then_some(place)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_without_a_value_are_like_no_other_and_small_ones_are_left_out() {
        let window = |values: [u64; 2]| (0..40).map(|row| Some(values[usize::from(row < 20)])).collect();
        let windows: Vec<Vec<Option<u64>>> =
            [[1, 1], [1, 1], [1, 2], [1, 2], [3, 3]].map(window).into_iter().chain([vec![Some(3)]]).collect();
        let repeats = holding(windows.iter());
        assert_eq!((repeats.pairs, repeats.repeats), (4, 1));
        let run = windows.iter().filter_map(|codes| steady(codes)).fold(Held::default(), Held::after);
        assert_eq!(run, Held { value: Some(3), repeats: 0 });
    }
}
