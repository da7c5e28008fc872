//! `personal = { customer = "hash", street = "drop" }`: columns whose values are about a person.

use super::ModelSpec;
use crate::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the values of a column that are about a person, before they reach a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Personal {
    /// A hash stands for each, made with a secret of the deployment: the same value always gives the same one, so they
    /// count as categories.
    Hash,
    /// They are left out; the column is no feature.
    Drop,
}

impl ModelSpec {
    /// What is wrong with what is declared personal, as far as the spec alone tells.
    pub(super) fn check_personal(&self) -> Result<(), Problem> {
        let (data, model, watch) = (&self.data, &self.model, &self.watch);
        for (name, treatment) in &data.personal {
            let wrong = |message: String, hint: &str| {
                Err(Problem::invalid(message).field(format!("data.personal.{name}")).hint(hint))
            };
            if data.id.as_ref() == Some(name) {
                let hint =
                    "send ids that say nothing about a person: they are in messages, snapshots and answers";
                return wrong("the record id cannot be hashed or dropped".to_owned(), hint);
            }
            let own = [&data.time, &model.prediction, &model.label.column];
            if own.into_iter().chain(&model.label.time).any(|own| own == name) {
                return wrong(
                    format!("`{name}` is no feature"),
                    "time, label and output are what is watched",
                );
            }
            if data.ignore.contains(name) {
                let hint =
                    "what is ignored stays in the kept copy of the reference; name it here alone to drop it";
                return wrong("also under `data.ignore`".to_owned(), hint);
            }
            let known = watch.quality.columns.get(name);
            let dropped = *treatment == Personal::Drop;
            if dropped && data.segments.contains(name) {
                return wrong("also under `data.segments`".to_owned(), "a hash can be a segment");
            }
            if dropped && data.categorical.contains(name) {
                return wrong("also under `data.categorical`".to_owned(), "what is dropped is no feature");
            }
            if watch.operation.cost.as_ref() == Some(name) {
                return wrong("also under `watch.operation.cost`".to_owned(), "a cost is a number");
            }
            if known.is_some_and(|known| dropped || known.range.is_some() || known.categories.is_some()) {
                let hint =
                    "what is hashed has neither a range nor known categories; what is dropped is not watched";
                return wrong("also under `watch.quality.columns`".to_owned(), hint);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(data: &str) -> Result<ModelSpec, String> {
        let text = format!(
            "[model]\nname='m'\ntask='binary'\nprediction='score'\nlabel={{column='late'}}\n\
             [data]\nreference='r.csv'\ntime='ts'\nid='key'\n{data}"
        );
        ModelSpec::parse(&text).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_is_personal_is_a_feature_and_nothing_else() {
        let spec = parse("personal = { customer = 'hash', street = 'drop' }").unwrap();
        assert_eq!(spec.data.personal["street"], Personal::Drop);
        for (data, wanted) in [
            ("personal = { key = 'hash' }", "data.personal.key: the record id cannot be"),
            ("personal = { ts = 'drop' }", "data.personal.ts: `ts` is no feature"),
            ("personal = { a = 'drop' }\nignore = ['a']", "data.personal.a: also under `data.ignore`"),
            ("personal = { a = 'drop' }\nsegments = ['a']", "data.personal.a: also under `data.segments`"),
            ("personal = { a = 'encrypt' }", "data.personal.a (line 10): unknown variant `encrypt`"),
        ] {
            let refusal = parse(data).unwrap_err();
            assert!(refusal.starts_with(wanted), "{refusal}");
        }
        assert!(parse("personal = { a = 'hash' }\nsegments = ['a']").is_ok());
    }
}
