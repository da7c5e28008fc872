//! A small learner for the demo and for trying things out: it trains on a snapshot and serves over HTTP exactly as a
//! user's own programs would, started by the same commands with placeholders.
//!
//! Gradient-boosted trees (crate `forust-ml`) for one binary label, from numeric and text columns.

pub(crate) mod serve;
pub(crate) mod train;

use anyhow::{Context as _, Result};
use forust_ml::{GradientBooster, Matrix};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "model.json";

/// How one column becomes a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Feature {
    /// As it is.
    Number { name: String },
    /// By the share of positive labels that its category had in training; an unknown category is missing.
    Category { name: String, shares: BTreeMap<String, f64> },
}

impl Feature {
    fn name(&self) -> &str {
        match self {
            Self::Number { name } | Self::Category { name, .. } => name,
        }
    }

    /// The number of a cell; NaN stands for missing.
    fn encode(&self, cell: Option<&str>) -> f64 {
        let Some(cell) = cell.filter(|cell| !cell.is_empty()) else { return f64::NAN };
        match self {
            Self::Number { .. } => cell.parse().unwrap_or(f64::NAN),
            Self::Category { shares, .. } => shares.get(cell).copied().unwrap_or(f64::NAN),
        }
    }
}

/// A trained model.
pub(crate) struct Learned {
    features: Vec<Feature>,
    booster: GradientBooster,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    features: Vec<Feature>,
    booster: String,
}

impl Learned {
    fn save(&self, folder: &Path) -> Result<()> {
        let booster = self.booster.json_dump().context("the trees cannot be written")?;
        let text = serde_json::to_string(&Stored { features: self.features.clone(), booster })?;
        let path = folder.join(FILE);
        std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
    }

    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let stored: Stored = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not a model of this program", path.display()))?;
        let booster = GradientBooster::from_json(&stored.booster).context("the trees cannot be read")?;
        Ok(Self { features: stored.features, booster })
    }

    /// The probability for one row, given as cells by name.
    pub(crate) fn probability_of(&self, cells: &BTreeMap<&str, &str>) -> f64 {
        let row: Vec<f64> =
            self.features.iter().map(|feature| feature.encode(cells.get(feature.name()).copied())).collect();
        self.probabilities(&row, 1).first().copied().unwrap_or(f64::NAN)
    }

    /// Probabilities of the positive class for rows that are given column by column.
    fn probabilities(&self, columns: &[f64], rows: usize) -> Vec<f64> {
        let data = Matrix::new(columns, rows, self.features.len());
        self.booster
            .predict(&data, false)
            .into_iter()
            .map(|log_odds| 1.0 / (1.0 + (-log_odds).exp()))
            .collect()
    }
}
