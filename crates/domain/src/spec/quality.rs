//! `[watch.quality]`: what a user knows about the data better than the reference does.
//!
//! Everything here is optional: what is ordinary is learnt from the reference. Columns are named as in the reference;
//! [`QualitySection::check`] compares them with the schema once that is known.

use crate::measurement::MonitorKind;
use crate::problem::Problem;
use crate::schema::{ColumnKind, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// `[watch.quality]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySection {
    /// Columns whose quality is not watched. Their drift still is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Up to this share of a window's records may come under an id that is there already.
    #[schemars(with = "String")]
    pub duplicates: Portion,
    /// Up to this share of a window's records may be refused: for a value of a wrong type, for an unknown column, or because
    /// they are no records.
    #[schemars(with = "String")]
    pub refused: Portion,
    /// What is known of single columns.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnQuality>,
}

impl Default for QualitySection {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            duplicates: Portion(0.1),
            refused: Portion(0.01),
            columns: BTreeMap::new(),
        }
    }
}

/// `[watch.quality.columns.temp]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnQuality {
    /// Numbers below the first or above the second are out of range. How many of them are ordinary is learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// The categories there are; others count as unseen. How many of them are ordinary is learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// Up to this share of missing values is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub missing: Option<Portion>,
    /// Checks that are not made of this column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<QualityCheck>,
}

/// A check of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityCheck {
    /// Share of missing values.
    Missing,
    /// Categories that the reference does not have.
    Unseen,
    /// Numbers far outside the range of the reference.
    Range,
    /// One value all window long.
    Constant,
    /// One value for longer than ever.
    Stale,
    /// Values of a wrong type.
    Types,
    /// The column is there no longer.
    Schema,
}

impl QualityCheck {
    /// The monitor that makes it.
    pub fn monitor(self) -> MonitorKind {
        match self {
            Self::Missing => MonitorKind::Missing,
            Self::Unseen => MonitorKind::Unseen,
            Self::Range => MonitorKind::Range,
            Self::Constant => MonitorKind::Constant,
            Self::Stale => MonitorKind::Stale,
            Self::Types => MonitorKind::Types,
            Self::Schema => MonitorKind::Schema,
        }
    }
}

/// A share in `[0, 1)`, written `5%`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Portion(f64);

impl Portion {
    /// The share, in `[0, 1)`.
    ///
    /// ```
    /// use steersman_domain::spec::Portion;
    /// assert_eq!("2.5%".parse::<Portion>().unwrap().share(), 0.025);
    /// assert!("100%".parse::<Portion>().is_err() && "0.1".parse::<Portion>().is_err());
    /// ```
    pub fn share(self) -> f64 {
        self.0
    }
}

impl FromStr for Portion {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let percent = text.trim().strip_suffix('%').and_then(|digits| digits.trim_end().parse::<f64>().ok());
        percent
            .filter(|percent| (0.0..100.0).contains(percent))
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| {
                Problem::invalid(format!("`{text}` is not a share"))
                    .hint("write it as `5%`: at least 0 and less than 100")
            })
    }
}

impl TryFrom<String> for Portion {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<Portion> for String {
    fn from(portion: Portion) -> String {
        portion.to_string()
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded, so that `7%` is not written back as `7.000000000000001%`.
        write!(f, "{}%", (self.0 * 1e11).round() / 1e9)
    }
}

impl QualitySection {
    /// Whether a check of a column is made.
    pub fn watches(&self, column: &str, monitor: MonitorKind) -> bool {
        let ignored = |own: &ColumnQuality| own.ignore.iter().any(|check| check.monitor() == monitor);
        !self.ignore.iter().any(|name| name == column) && !self.columns.get(column).is_some_and(ignored)
    }

    /// Contradictions that show without the schema.
    pub(super) fn check_alone(&self) -> Result<(), Problem> {
        for (name, own) in &self.columns {
            if let Some([low, high]) = own.range
                && !(low.is_finite() && high.is_finite() && low < high)
            {
                return Err(Problem::invalid("not a lower and a higher finite number")
                    .field(key(name, "range"))
                    .hint("for example range = [-40, 50]"));
            }
            if own.categories.as_ref().is_some_and(Vec::is_empty) {
                return Err(Problem::invalid("empty")
                    .field(key(name, "categories"))
                    .hint("name the categories, or leave the key out"));
            }
        }
        Ok(())
    }

    /// Whether every column that is named is there, and of a kind that fits.
    pub fn check(&self, schema: &Schema) -> Result<(), Problem> {
        let watched = || schema.features.iter().chain(std::iter::once(&schema.prediction));
        let unknown = |name: &str, field: String| {
            let known: Vec<&str> = watched().map(|column| column.name.as_str()).take(20).collect();
            let hint = format!("columns are {}", known.join(", "));
            Problem::invalid(format!("the reference has no column `{name}`")).field(field).hint(hint)
        };
        let find = |name: &str| watched().find(|column| column.name == name);
        for (place, name) in self.ignore.iter().enumerate() {
            find(name).ok_or_else(|| unknown(name, format!("watch.quality.ignore[{place}]")))?;
        }
        for (name, own) in &self.columns {
            let column = find(name).ok_or_else(|| unknown(name, format!("watch.quality.columns.{name}")))?;
            let numeric = column.kind == ColumnKind::Numeric;
            if own.range.is_some() && !numeric {
                return Err(Problem::invalid(format!("`{name}` does not hold numbers"))
                    .field(key(name, "range"))
                    .hint("give `categories` instead"));
            }
            if own.categories.is_some() && numeric {
                return Err(Problem::invalid(format!("`{name}` holds numbers"))
                    .field(key(name, "categories"))
                    .hint("give `range` instead, or name the column under `data.categorical`"));
            }
        }
        Ok(())
    }
}

fn key(column: &str, key: &str) -> String {
    format!("watch.quality.columns.{column}.{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;
    use crate::schema::Column;

    fn section(text: &str) -> Result<QualitySection, String> {
        let spec = "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={column='y'}\n\
                    [data]\nreference='r.csv'\ntime='ts'\n";
        let spec = ModelSpec::parse(&format!("{spec}[watch.quality]\n{text}"));
        spec.map(|spec| spec.watch.quality).map_err(|problem| problem.to_string())
    }

    fn refusal(text: &str) -> String {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let schema = Schema {
            features: vec![column("temp", ColumnKind::Numeric), column("plan", ColumnKind::Categorical)],
            prediction: column("score", ColumnKind::Numeric),
            label: column("y", ColumnKind::Numeric),
        };
        section(text).and_then(|own| own.check(&schema).map_err(|problem| problem.to_string())).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        let text = "ignore = ['plan']\nduplicates = '7%'\n[watch.quality.columns.temp]\nrange = [-40, 50]\n\
                    missing = '5%'\nignore = ['constant', 'stale']\n";
        let read = section(text).unwrap();
        assert_eq!((read.duplicates.share(), read.refused.share()), (0.07, 0.01));
        assert!(!read.watches("temp", MonitorKind::Stale) && read.watches("temp", MonitorKind::Range));
        assert!(!read.watches("plan", MonitorKind::Unseen));
        let again: QualitySection = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn refusals_name_the_key() {
        let begins = |text: &str, expected: &str| {
            let refused = refusal(text);
            assert!(refused.starts_with(expected), "{refused}");
        };
        begins("ignore = ['tmp']", "watch.quality.ignore[0]: the reference has no column `tmp`");
        begins("columns.tmp = {}", "watch.quality.columns.tmp: the reference has no column `tmp`");
        begins(
            "columns.plan.range = [0, 1]",
            "watch.quality.columns.plan.range: `plan` does not hold numbers",
        );
        begins(
            "columns.temp.categories = ['a']",
            "watch.quality.columns.temp.categories: `temp` holds numbers",
        );
        begins("columns.temp.range = [5, 5]", "watch.quality.columns.temp.range: not a lower and a higher");
        begins(
            "columns.temp.missing = '5'",
            "watch.quality.columns.temp.missing (line 10): `5` is not a share",
        );
        begins("columns.temp.rnage = [0, 1]", "watch.quality.columns.temp.rnage (line 10): unknown field");
        begins(
            "columns.temp.ignore = ['dull']",
            "watch.quality.columns.temp.ignore[0] (line 10): unknown variant",
        );
    }
}
