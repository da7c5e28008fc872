//! Columns of categories and of text.

use super::hitters::Hitters;
use super::sketch::Distinct;
use crate::error::StatsError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Up to so many distinct categories are counted exactly; of more, the most frequent.
pub const MOST_CATEGORIES: usize = 1_000;

/// The profile of a column of categories or text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CategoricalProfile {
    /// Values.
    pub count: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Letters of all values together.
    letters: u64,
    shortest: Option<u64>,
    longest: Option<u64>,
    hitters: Hitters,
    distinct: Distinct,
}

impl PartialEq for CategoricalProfile {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.missing, self.letters) == (other.count, other.missing, other.letters)
            && (self.shortest, self.longest) == (other.shortest, other.longest)
            && self.hitters == other.hitters
    }
}

impl CategoricalProfile {
    /// An empty profile.
    pub fn new() -> Result<Self, StatsError> {
        Ok(Self {
            count: 0,
            missing: 0,
            letters: 0,
            shortest: None,
            longest: None,
            hitters: Hitters::new(MOST_CATEGORIES),
            distinct: Distinct::new()?,
        })
    }

    /// Takes a column of values in.
    pub fn update<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a str>>) {
        for value in values {
            let Some(value) = value else {
                self.missing += 1;
                continue;
            };
            let length = value.chars().count() as u64;
            self.count += 1;
            self.letters += length;
            self.shortest = self.shortest.into_iter().chain([length]).min();
            self.longest = self.longest.into_iter().chain([length]).max();
            self.distinct.update_text(value);
            self.hitters.add(value);
        }
    }

    /// Adds what another profile has seen.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        self.count += other.count;
        self.missing += other.missing;
        self.letters += other.letters;
        self.shortest = self.shortest.into_iter().chain(other.shortest).min();
        self.longest = self.longest.into_iter().chain(other.longest).max();
        self.hitters.merge(&other.hitters);
        self.distinct.merge(&other.distinct)
    }

    /// Counts by category: exact for up to [`MOST_CATEGORIES`] of them, otherwise too low by at most
    /// [`CategoricalProfile::count_error`].
    pub fn categories(&self) -> &BTreeMap<String, u64> {
        self.hitters.counts()
    }

    /// By how much the count of a category may be too low.
    pub fn count_error(&self) -> u64 {
        self.hitters.error()
    }

    /// Counts of the reference's categories in this profile, and in the last cell of all others.
    pub fn cells(&self, reference: &Self) -> Vec<u64> {
        let own = self.categories();
        let mut cells: Vec<u64> =
            reference.categories().keys().map(|category| own.get(category).copied().unwrap_or(0)).collect();
        let known: u64 = cells.iter().sum();
        cells.push(self.count - known);
        cells
    }

    /// About how many distinct categories there are.
    pub fn distinct(&self) -> f64 {
        self.distinct.estimate()
    }

    /// The sketch of distinct values in the format of Apache DataSketches: `hll_sketch.deserialize` of the Python package
    /// `datasketches` reads it.
    pub fn distinct_sketch(&self) -> Vec<u8> {
        self.distinct.to_bytes()
    }

    /// Letters of the shortest and of the longest value, and the mean; none when empty.
    pub fn lengths(&self) -> Option<(u64, u64, f64)> {
        Some((self.shortest?, self.longest?, self.letters as f64 / self.count as f64))
    }

    /// How often values have which shape, of the categories that are kept: capitals are `A`, small letters `a`, digits `9`,
    /// runs of one kind are one, everything else is itself.
    ///
    /// ```
    /// use steersman_stats::profile::CategoricalProfile;
    /// let mut plates = CategoricalProfile::new().unwrap();
    /// plates.update([Some("BN-AB 123"), Some("K-X 7"), Some("unknown")]);
    /// assert_eq!(plates.shapes(), [("A-A 9".to_owned(), 2), ("a".to_owned(), 1)].into());
    /// ```
    pub fn shapes(&self) -> BTreeMap<String, u64> {
        let mut shapes = BTreeMap::new();
        for (value, count) in self.categories() {
            *shapes.entry(shape(value)).or_default() += count;
        }
        shapes
    }
}

fn shape(value: &str) -> String {
    let mut shape = String::new();
    for letter in value.chars() {
        let kind = match letter {
            letter if letter.is_numeric() => '9',
            letter if letter.is_uppercase() => 'A',
            letter if letter.is_alphabetic() => 'a',
            other => other,
        };
        if !(shape.ends_with(kind) && matches!(kind, '9' | 'A' | 'a')) {
            shape.push(kind);
        }
    }
    shape
}
