//! Functions beside those of DataFusion.
//!
//! - `clock`: `now()` and its like.
//! - `distance`: how far two sides of a column are apart: `psi(x, is_current)`.
//! - `profile`: what a column looks like: `profile(x)`, and its mergeable bytes.
//! - `quantile(x, share)`: another name of DataFusion's `approx_percentile_cont`.

mod clock;
mod distance;
mod profile;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, plan_err};
use datafusion::functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf;
use datafusion::logical_expr::AggregateUDF;
use datafusion::prelude::SessionContext;
use jiff::Timestamp;

/// Makes the functions known, for a query that is asked at a time.
pub(super) fn register(context: &SessionContext, now: Timestamp) {
    clock::at(now).for_each(|function| context.register_udf(function));
    let quantile = approx_percentile_cont_udaf().as_ref().clone().with_aliases(["quantile"]);
    context.register_udaf(quantile);
    for distance in distance::Distance::all() {
        context.register_udaf(AggregateUDF::from(distance));
    }
    for profile in profile::Profile::all() {
        context.register_udaf(AggregateUDF::from(profile));
    }
}

/// What a column's values are to the functions: numbers, or categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Numbers,
    Categories,
}

impl Kind {
    fn of(function: &str, kind: &DataType) -> Result<Self> {
        match kind {
            kind if kind.is_numeric() || kind.is_null() => Ok(Self::Numbers),
            DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Ok(Self::Categories)
            }
            DataType::Dictionary(..) => Ok(Self::Categories),
            other => plan_err!("{function} is known of numbers, categories and flags, not of {other}"),
        }
    }

    /// The type that values are brought to.
    fn data_type(self) -> DataType {
        match self {
            Self::Numbers => DataType::Float64,
            Self::Categories => DataType::Utf8,
        }
    }
}

/// The values of a column of numbers.
fn numbers(values: &ArrayRef) -> impl Iterator<Item = Option<f64>> {
    values.as_primitive::<Float64Type>().iter()
}

/// The values of a column of bytes.
fn bytes(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::LargeBinary => values.clone(),
        _ => cast(values, &DataType::LargeBinary)?,
    })
}
