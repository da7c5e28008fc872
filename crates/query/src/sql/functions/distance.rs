//! Distances between two sides of a column, as one aggregate function each: `psi(x, is_current)` compares the rows for
//! which the condition is false (the reference) with those for which it is true. Rows where either is missing do not
//! count. The numbers are those of `steersman compare`; a distance that cannot be computed is null.

use super::{Kind, numbers};
use datafusion::arrow::array::{ArrayRef, AsArray as _};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_stats::distance::{Convention, compare_categorical, compare_numeric};

/// Distances that can be asked for, as [`steersman_stats::distance::Distances`] names them.
const OF_BOTH: [&str; 5] = ["jensen_shannon", "psi", "hellinger", "l_infinity", "chi_square"];
const OF_NUMBERS: [&str; 3] = ["kolmogorov_smirnov", "wasserstein", "wasserstein_normed"];

/// One distance.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Distance {
    name: &'static str,
    signature: Signature,
}

impl Distance {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let signature = Signature::user_defined(Volatility::Immutable);
        OF_BOTH.into_iter().chain(OF_NUMBERS).map(move |name| Self { name, signature: signature.clone() })
    }
}

impl AggregateUDFImpl for Distance {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name;
        let [values, side] = given else {
            return plan_err!(
                "{name}(column, is_current) takes a column and a condition, such as {name}(x, time >= '2026-01-01')"
            );
        };
        if !matches!(side, DataType::Boolean | DataType::Null) {
            return plan_err!(
                "the second argument of {name} is a condition, such as time >= '2026-01-01', not {side}"
            );
        }
        let kind = Kind::of(name, values)?;
        if kind == Kind::Categories && OF_NUMBERS.contains(&name) {
            return plan_err!(
                "{name} is known of numbers, not of {values}; jensen_shannon and psi are of categories too"
            );
        }
        Ok(vec![kind.data_type(), DataType::Boolean])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let numeric = args.expr_fields.first().is_none_or(|field| field.data_type() == &DataType::Float64);
        let sides = match numeric {
            true => Sides::Numbers([Vec::new(), Vec::new()]),
            false => Sides::Categories([BTreeMap::new(), BTreeMap::new()]),
        };
        Ok(Box::new(Compared { name: self.name, sides }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |side: &str| {
            Arc::new(Field::new(format_state_name(args.name, side), DataType::LargeBinary, true))
        };
        Ok(vec![field("reference"), field("current")])
    }
}

#[derive(Debug)]
struct Compared {
    name: &'static str,
    sides: Sides,
}

/// What was seen of the reference and of the current side.
#[derive(Debug)]
enum Sides {
    Numbers([Vec<f64>; 2]),
    Categories([BTreeMap<String, u64>; 2]),
}

impl Accumulator for Compared {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values, side] = values else { return plan_err!("{} takes two arguments", self.name) };
        let sides = side.as_boolean().iter();
        match &mut self.sides {
            Sides::Numbers(seen) => {
                for (value, side) in numbers(values).zip(sides) {
                    if let (Some(value), Some(side)) = (value.filter(|value| value.is_finite()), side) {
                        seen[usize::from(side)].push(value);
                    }
                }
            }
            Sides::Categories(seen) => {
                for (value, side) in values.as_string::<i32>().iter().zip(sides) {
                    if let (Some(value), Some(side)) = (value, side) {
                        let seen = &mut seen[usize::from(side)];
                        match seen.get_mut(value) {
                            Some(count) => *count += 1,
                            None => drop(seen.insert(value.to_owned(), 1)),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = match &self.sides {
            Sides::Numbers([reference, current]) => {
                compare_numeric(reference, current, Convention::Steersman)
            }
            Sides::Categories([reference, current]) => {
                compare_categorical(reference, current, Convention::Steersman)
            }
        };
        Ok(ScalarValue::Float64(found.ok().and_then(|found| found.distances.get(self.name).copied())))
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + match &self.sides {
                Sides::Numbers(seen) => seen.iter().map(|seen| 8 * seen.capacity()).sum::<usize>(),
                // A node of the tree costs about as much again as what it holds.
                Sides::Categories(seen) => {
                    seen.iter().flat_map(BTreeMap::keys).map(|name| 2 * (name.capacity() + 32)).sum()
                }
            }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state: [Vec<u8>; 2] = match &self.sides {
            Sides::Numbers(seen) => {
                seen.each_ref().map(|seen| seen.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Sides::Categories(seen) => {
                let write = |seen: &BTreeMap<String, u64>| {
                    serde_json::to_vec(seen).map_err(|error| exec_datafusion_err!("{error}"))
                };
                [write(&seen[0])?, write(&seen[1])?]
            }
        };
        Ok(state.into_iter().map(|side| ScalarValue::LargeBinary(Some(side))).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (side, states) in states.iter().enumerate().take(2) {
            for state in super::bytes(states)?.as_binary::<i64>().iter().flatten() {
                match &mut self.sides {
                    Sides::Numbers(seen) => {
                        let numbers = state.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok());
                        seen[side].extend(numbers.map(f64::from_le_bytes));
                    }
                    Sides::Categories(seen) => {
                        let counts: BTreeMap<String, u64> =
                            serde_json::from_slice(state).map_err(|error| exec_datafusion_err!("{error}"))?;
                        for (name, count) in counts {
                            *seen[side].entry(name).or_default() += count;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
