//! `now()`, `current_timestamp`, `current_date`, `today()` and `current_time` by the platform's clock: in a replay that is the
//! time of the replay, and a query that asks for the last hour finds it.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use steersman_domain::time::micros;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Instant,
    Date,
    Time,
}

/// One of the functions, at the time of one query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    part: Part,
    now: Timestamp,
    signature: Signature,
    aliases: Vec<String>,
}

/// The functions at a time.
pub(super) fn at(now: Timestamp) -> impl Iterator<Item = ScalarUDF> {
    let parts = [(Part::Instant, &["current_timestamp"][..]), (Part::Date, &["today"]), (Part::Time, &[])];
    parts.into_iter().map(move |(part, aliases)| {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        ScalarUDF::from(Clock { part, now, signature: Signature::nullary(Volatility::Stable), aliases })
    })
}

impl Clock {
    fn value(&self) -> ScalarValue {
        match self.part {
            Part::Instant => ScalarValue::TimestampMicrosecond(Some(micros(self.now)), Some("UTC".into())),
            Part::Date => {
                let days = self.now.as_second().div_euclid(86_400);
                ScalarValue::Date32(i32::try_from(days).ok())
            }
            Part::Time => {
                let midnight =
                    self.now.to_zoned(TimeZone::UTC).time().duration_since(jiff::civil::Time::midnight());
                ScalarValue::Time64Nanosecond(i64::try_from(midnight.as_nanos()).ok())
            }
        }
    }
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        match self.part {
            Part::Instant => "now",
            Part::Date => "current_date",
            Part::Time => "current_time",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Part::Date => DataType::Date32,
            Part::Time => DataType::Time64(TimeUnit::Nanosecond),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()))
    }

    /// A value that is written in the query chooses segments.
    fn simplify(&self, _: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(self.value(), None)))
    }
}
