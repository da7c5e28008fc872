//! Categories as numbers.

use crate::error::{StatsError, finite, paired};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A number for each category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoding {
    numbers: BTreeMap<String, f64>,
    unknown: Option<f64>,
}

impl Encoding {
    /// By the share of the rows that the category has; an unknown category has none.
    ///
    /// ```
    /// use steersman_stats::learn::Encoding;
    /// let encoding = Encoding::frequency(&[Some("a"), Some("b"), Some("a"), None]).unwrap();
    /// assert_eq!(encoding.column([Some("a"), Some("c")]), [0.5, 0.0]);
    /// ```
    pub fn frequency(categories: &[Option<&str>]) -> Result<Self, StatsError> {
        if categories.is_empty() {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for category in categories.iter().flatten() {
            *counts.entry(category).or_default() += 1;
        }
        let rows = categories.len() as f64;
        let numbers =
            counts.into_iter().map(|(category, count)| (category.to_owned(), count as f64 / rows)).collect();
        Ok(Self { numbers, unknown: Some(0.0) })
    }

    /// By the mean target of the category's rows, mixed with the overall mean as if that had been seen `prior_rows`
    /// times in it (Micci-Barreca, SIGKDD Explorations 3, 2001); an unknown category is missing.
    ///
    /// It knows the targets of its own rows: what is learnt from the same rows must be judged on others.
    ///
    /// ```
    /// use steersman_stats::learn::Encoding;
    /// let encoding = Encoding::target(&[Some("a"), Some("a"), Some("b")], &[1.0, 1.0, 0.0], 1.0).unwrap();
    /// assert!((encoding.column([Some("a")])[0] - (2.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    /// ```
    pub fn target(categories: &[Option<&str>], targets: &[f64], prior_rows: f64) -> Result<Self, StatsError> {
        paired(categories.len(), targets.len(), 1)?;
        finite(targets)?;
        if !(prior_rows >= 0.0 && prior_rows.is_finite()) {
            return Err(StatsError::Domain("rows of the prior are at least 0"));
        }
        let overall = targets.iter().sum::<f64>() / targets.len() as f64;
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (category, target) in categories.iter().zip(targets) {
            let Some(category) = category else { continue };
            let (sum, count) = sums.entry(category).or_default();
            *sum += target;
            *count += 1.0;
        }
        let mean = |(sum, count): (f64, f64)| (sum + prior_rows * overall) / (count + prior_rows);
        let numbers = sums.into_iter().map(|(category, sums)| (category.to_owned(), mean(sums))).collect();
        Ok(Self { numbers, unknown: None })
    }

    /// The numbers of a column of categories; NaN stands for missing.
    pub fn column<'a>(&self, categories: impl IntoIterator<Item = Option<&'a str>>) -> Vec<f64> {
        let number = |category: &str| self.numbers.get(category).copied().or(self.unknown);
        categories.into_iter().map(|category| category.and_then(number).unwrap_or(f64::NAN)).collect()
    }
}
