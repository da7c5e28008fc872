//! Profiles: `profile(x)` says what a column looks like, as JSON; `profile_bytes(x)` is the profile itself, as other
//! programs merge and read it ([`ColumnProfile::from_bytes`]); `merge_profiles(bytes)` describes several together.

use super::{Kind, bytes, numbers};
use datafusion::arrow::array::{ArrayRef, AsArray as _};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use steersman_stats::StatsError;
use steersman_stats::profile::{Bins, CategoricalProfile, ColumnProfile, NumericProfile};

/// Shares of the rows that a description gives quantiles of.
const SHARES: [(&str, f64); 7] =
    [("p01", 0.01), ("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95), ("p99", 0.99)];
/// Categories that a description names.
const NAMED: usize = 20;
/// What a profile is taken to need, for the memory limit.
const SIZE: usize = 64 << 10;

/// What is made of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Description,
    Bytes,
    Merged,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    form: Form,
    signature: Signature,
}

impl Profile {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let signature = Signature::user_defined(Volatility::Immutable);
        [Form::Description, Form::Bytes, Form::Merged]
            .into_iter()
            .map(move |form| Self { form, signature: signature.clone() })
    }
}

impl AggregateUDFImpl for Profile {
    fn name(&self) -> &str {
        match self.form {
            Form::Description => "profile",
            Form::Bytes => "profile_bytes",
            Form::Merged => "merge_profiles",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.form {
            Form::Bytes => DataType::LargeBinary,
            Form::Description | Form::Merged => DataType::Utf8,
        })
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        match (self.form, given) {
            (Form::Merged, [kind]) if kind.is_binary() => Ok(vec![DataType::LargeBinary]),
            (Form::Merged, _) => plan_err!("{name} takes the bytes that profile_bytes gave"),
            (_, [kind]) => Ok(vec![Kind::of(name, kind)?.data_type()]),
            _ => plan_err!("{name} takes one column"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.expr_fields.first().map(|field| field.data_type());
        let seen = match kind {
            _ if self.form == Form::Merged => None,
            Some(DataType::Utf8) => {
                Some(CategoricalProfile::new().map(ColumnProfile::Categorical).map_err(failed)?)
            }
            _ => Some(numeric().map_err(failed)?),
        };
        Ok(Box::new(Seen { form: self.form, seen }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "profile");
        Ok(vec![Arc::new(Field::new(name, DataType::LargeBinary, true))])
    }
}

/// Without a reference there are no cells but "up to zero" and "above": all profiles of numbers merge.
fn numeric() -> Result<ColumnProfile, StatsError> {
    NumericProfile::new(Bins::quantiles(&[0.0], 2)?).map(ColumnProfile::Numeric)
}

fn failed(error: StatsError) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("{error}")
}

#[derive(Debug)]
struct Seen {
    form: Form,
    seen: Option<ColumnProfile>,
}

impl Seen {
    fn merge(&mut self, stored: &ArrayRef) -> Result<()> {
        for stored in bytes(stored)?.as_binary::<i64>().iter().flatten() {
            let other = ColumnProfile::from_bytes(stored).map_err(failed)?;
            match &mut self.seen {
                Some(seen) => seen.merge(&other).map_err(failed)?,
                None => self.seen = Some(other),
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Option<Vec<u8>>> {
        self.seen.as_ref().map(|seen| seen.to_bytes().map_err(failed)).transpose()
    }
}

impl Accumulator for Seen {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return plan_err!("a profile takes one column") };
        match &mut self.seen {
            _ if self.form == Form::Merged => return self.merge(values),
            Some(ColumnProfile::Numeric(seen)) => seen.update(numbers(values)),
            Some(ColumnProfile::Categorical(seen)) => seen.update(values.as_string::<i32>().iter()),
            None => {}
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.form {
            Form::Bytes => ScalarValue::LargeBinary(self.bytes()?),
            Form::Description | Form::Merged => {
                ScalarValue::Utf8(self.seen.as_ref().map(|seen| describe(seen).to_string()))
            }
        })
    }

    fn size(&self) -> usize {
        SIZE
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::LargeBinary(self.bytes()?)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states.iter().take(1).try_for_each(|states| self.merge(states))
    }
}

/// A profile in words and numbers.
fn describe(profile: &ColumnProfile) -> Value {
    match profile {
        ColumnProfile::Numeric(seen) => {
            let quantiles: Map<String, Value> = SHARES
                .iter()
                .map(|(name, share)| ((*name).to_owned(), json!(seen.quantile(*share))))
                .collect();
            json!({
                "kind": "numeric", "count": seen.count, "missing": seen.missing, "infinite": seen.infinite,
                "zeros": seen.zeros, "min": seen.min, "max": seen.max,
                "mean": (seen.count > 0).then_some(seen.mean), "deviation": seen.deviation(),
                "distinct": seen.distinct().round(), "quantiles": quantiles,
            })
        }
        ColumnProfile::Categorical(seen) => {
            let mut most: Vec<(&String, &u64)> = seen.categories().iter().collect();
            most.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let most: Vec<Value> =
                most.iter().take(NAMED).map(|(name, count)| json!({"value": name, "count": count})).collect();
            json!({
                "kind": "categorical", "count": profile.rows() - profile.missing(), "missing": profile.missing(),
                "distinct": seen.distinct().round(), "most": most,
            })
        }
    }
}
