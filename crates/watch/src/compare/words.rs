//! Text by its words: do both sides speak of the same?
//!
//! Lengths alone do not show a change of topic. Texts become hashed words, pairs of words and letters
//! ([`TextFeatures`]), and the maximum mean discrepancy of a sample of both sides is tested by permutation ([`mmd`]). Where
//! rows have times, it must also lie beyond what is between the two halves of the reference.

use super::column::LEAST_VALUES;
use super::joint::spaced;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::comparison::Both;
use steersman_records::frame::FrameColumn;
use steersman_stats::calibration::{ColumnTest, TestEvidence};
use steersman_stats::multivariate::{KernelDrift, TextFeatures, mmd};

/// Texts of each side that are compared, evenly spaced.
pub(super) const MOST_TEXTS: usize = 400;
/// Of each so many letters from its beginning.
const MOST_LETTERS: usize = 4_000;
/// Columns of the hashed features.
const FEATURES: usize = 128;
const PERMUTATIONS: usize = 499;
/// A discrepancy below this does not matter.
pub(super) const LEAST_DISTANCE: f64 = 0.1;
/// The same data always gets the same p-value.
const SEED: u64 = 7;

/// What was found about the words of a column.
pub(super) struct Words {
    /// The discrepancy: the root of its unbiased square, 0 where that is negative.
    pub(super) distance: f64,
    /// Of the permutation test.
    pub(super) p_value: f64,
    /// Whether it is large enough.
    pub(super) matters: bool,
    /// The word whose share of the texts changed most, in words.
    pub(super) moved: String,
}

impl Words {
    /// Of a column of text, if both sides have enough of it; `times` are those of the reference, by row.
    pub(super) fn of(
        reference: &FrameColumn,
        current: &FrameColumn,
        times: Option<&[Option<i64>]>,
    ) -> Option<Self> {
        let (own, other) = (texts(reference)?, texts(current)?);
        if own.len().min(other.len()) < LEAST_VALUES {
            return None;
        }
        let sample = |texts: &[(usize, &str)], most: usize| -> Vec<String> {
            spaced(texts.len(), most).into_iter().filter_map(|place| texts.get(place)).map(cut).collect()
        };
        let (first, second) = (sample(&own, MOST_TEXTS), sample(&other, MOST_TEXTS));
        let drift = discrepancy(&first, &second)?;
        let usual = times.map_or(0.0, |times| {
            let time = |row: usize| times.get(row).copied().flatten();
            let mut ordered: Vec<(usize, &str)> =
                own.iter().copied().filter(|(row, _)| time(*row).is_some()).collect();
            ordered.sort_by_key(|(row, _)| time(*row));
            let (early, late) = ordered.split_at(ordered.len() / 2);
            let halves = discrepancy(&sample(early, MOST_TEXTS), &sample(late, MOST_TEXTS));
            halves.map_or(0.0, |drift| drift.statistic.max(0.0))
        });
        Some(Self {
            distance: drift.statistic.max(0.0).sqrt(),
            p_value: drift.tail_p_value,
            matters: drift.statistic - usual >= LEAST_DISTANCE * LEAST_DISTANCE,
            moved: moved(&first, &second),
        })
    }

    /// The evidence that it is.
    pub(super) fn evidence(&self) -> TestEvidence {
        TestEvidence { test: ColumnTest::Words, p_value: self.p_value, matters: self.matters }
    }
}

/// The texts of a column with their rows.
fn texts(column: &FrameColumn) -> Option<Vec<(usize, &str)>> {
    let texts = column.texts()?;
    Some(texts.enumerate().filter_map(|(row, text)| Some((row, text?))).collect())
}

fn cut((_, text): &(usize, &str)) -> String {
    text.chars().take(MOST_LETTERS).collect()
}

fn discrepancy(reference: &[String], current: &[String]) -> Option<KernelDrift> {
    let features = TextFeatures::new(FEATURES).ok()?;
    let columns = |texts: &[String]| features.columns(texts.iter().map(String::as_str));
    let (reference, current) = (columns(reference), columns(current));
    let reference: Vec<&[f64]> = reference.iter().map(Vec::as_slice).collect();
    let current: Vec<&[f64]> = current.iter().map(Vec::as_slice).collect();
    mmd(&reference, &current, PERMUTATIONS, SEED).ok()
}

/// The word whose share of the texts changed most.
fn moved(reference: &[String], current: &[String]) -> String {
    let mut counts: BTreeMap<String, Both<u64>> = BTreeMap::new();
    let words = |text: &String| -> BTreeSet<String> {
        let lower = text.to_lowercase();
        let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    reference.iter().flat_map(words).for_each(|word| counts.entry(word).or_default().reference += 1);
    current.iter().flat_map(words).for_each(|word| counts.entry(word).or_default().current += 1);
    let (n, m) = (reference.len().max(1) as f64, current.len().max(1) as f64);
    let shares = |counts: &Both<u64>| (counts.reference as f64 / n, counts.current as f64 / m);
    let change = |counts: &Both<u64>| {
        let (before, now) = shares(counts);
        (now - before).abs()
    };
    let most = counts.iter().max_by(|a, b| change(a.1).total_cmp(&change(b.1)));
    most.map_or(String::new(), |(word, counts)| {
        let (before, now) = shares(counts);
        format!("the word `{word}` is in {:.1} % \u{2192} {:.1} % of the texts", 100.0 * before, 100.0 * now)
    })
}
