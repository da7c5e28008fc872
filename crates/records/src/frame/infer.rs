//! From what a file holds to one of the five kinds.
//!
//! Types that a file states are kept. Text is read as flags, numbers or times when every value can be; numbers with
//! leading zeros are codes and stay text. What is left are categories, or text where nearly every value is another
//! sentence.

use super::source::Raw;
use super::{Frame, FrameColumn};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray,
    make_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use std::collections::HashSet;
use std::sync::Arc;
use steersman_domain::Problem;
use steersman_domain::schema::DataKind;
use steersman_domain::time::{micros, parse_time};

/// Cells that stand for "no value", besides the empty one.
const MISSING: [&str; 10] = ["NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "NONE", "<NA>"];
/// Rows that are looked at to tell text from categories.
const SAMPLE: usize = 20_000;
/// Text has at least this many letters a value on average,
const TEXT_LENGTH: usize = 24;
/// and more than this share of its values are distinct.
const TEXT_DISTINCT: f64 = 0.5;

/// Gives every column its kind.
pub(super) fn frame(raw: Raw) -> Result<Frame, Problem> {
    let mut notes = raw.notes;
    let mut columns = Vec::with_capacity(raw.columns.len());
    for (name, values) in raw.columns {
        match infer(&name, values, raw.first_line, &mut notes)? {
            Some(column) => columns.push(column),
            None => notes.push(format!("`{name}` was left out: its type is not read")),
        }
    }
    let (source, files, rows) = (raw.source, raw.files, raw.rows);
    let (digest, first_line) = (raw.digest, raw.first_line);
    Ok(Frame { source, files, columns, rows, notes, digest, first_line })
}

/// The column, or none where its type is not read.
fn infer(
    name: &str,
    values: ArrayRef,
    first_line: Option<usize>,
    notes: &mut Vec<String>,
) -> Result<Option<FrameColumn>, Problem> {
    let stored = values.data_type().clone();
    let wrong = |error: &ArrowError| Problem::invalid(format!("cannot read the column: {error}")).field(name);
    let to = |kind: &DataType| cast(&values, kind).map_err(|error| wrong(&error));
    let (kind, values) = match &stored {
        DataType::Boolean => (DataKind::Boolean, values),
        DataType::Null => (DataKind::Numeric, to(&DataType::Float64)?),
        kind if kind.is_numeric() => (DataKind::Numeric, without_nan(&to(&DataType::Float64)?)),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            (DataKind::Datetime, instants(&values).map_err(|error| wrong(&error))?)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = to(&DataType::Utf8)?;
            text(name, texts.as_string::<i32>(), first_line, notes)
        }
        DataType::Duration(_) => (
            DataKind::Numeric,
            cast(&to(&DataType::Int64)?, &DataType::Float64)
                .map_err(|error| Problem::invalid(error.to_string()).field(name))?,
        ),
        _ => return Ok(None),
    };
    let stored_as = match stored {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        other => other.to_string(),
    };
    Ok(Some(FrameColumn { name: name.to_owned(), kind, values, stored_as }))
}

/// Times as microseconds of UTC. A time without a zone is taken as UTC; one with a zone is stored as UTC anyway.
fn instants(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let zoneless = match values.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let data = values.to_data().into_builder().data_type(DataType::Timestamp(*unit, None));
            make_array(data.build()?)
        }
        _ => values.clone(),
    };
    let micros = cast(&zoneless, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    Ok(Arc::new(micros.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC")))
}

fn without_nan(values: &ArrayRef) -> ArrayRef {
    let numbers = values.as_primitive::<Float64Type>();
    if numbers.values().iter().any(|number| number.is_nan()) {
        let kept: Float64Array =
            numbers.iter().map(|number| number.filter(|number| !number.is_nan())).collect();
        Arc::new(kept)
    } else {
        values.clone()
    }
}

fn present(cell: Option<&str>) -> Option<&str> {
    cell.map(str::trim).filter(|cell| !cell.is_empty() && !MISSING.contains(cell))
}

/// A number; codes such as `007` are none.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let code =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if code {
        return None;
    }
    text.parse::<f64>().ok()
}

fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn moment(text: &str) -> Option<i64> {
    let likely =
        text.len() >= 8 && text.as_bytes().first().is_some_and(u8::is_ascii_digit) && text.contains('-');
    likely.then(|| parse_time(text).ok().map(micros)).flatten()
}

/// Every value read the same way, or the first row that cannot be.
fn all<T>(cells: &StringArray, read: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>, usize> {
    let mut values = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        match present(cell) {
            None => values.push(None),
            Some(cell) => values.push(Some(read(cell).ok_or(row)?)),
        }
    }
    Ok(values)
}

fn text(
    name: &str,
    cells: &StringArray,
    first_line: Option<usize>,
    notes: &mut Vec<String>,
) -> (DataKind, ArrayRef) {
    if cells.iter().all(|cell| present(cell).is_none()) {
        return (DataKind::Numeric, Arc::new(Float64Array::from(vec![None; cells.len()])));
    }
    if let Ok(flags) = all(cells, flag) {
        return (DataKind::Boolean, Arc::new(BooleanArray::from(flags)));
    }
    match all(cells, number) {
        Ok(numbers) => {
            let numbers: Float64Array =
                numbers.into_iter().map(|number| number.filter(|number| !number.is_nan())).collect();
            return (DataKind::Numeric, Arc::new(numbers));
        }
        Err(row) => notes.extend(almost_numeric(name, cells, row, first_line)),
    }
    if let Ok(moments) = all(cells, moment) {
        let moments = TimestampMicrosecondArray::from(moments).with_timezone("UTC");
        return (DataKind::Datetime, Arc::new(moments));
    }
    let kept: StringArray =
        cells.iter().map(|cell| cell.filter(|cell| present(Some(cell)).is_some())).collect();
    let kind = if sentences(&kept) { DataKind::Text } else { DataKind::Categorical };
    (kind, Arc::new(kept))
}

/// A note where a few cells keep a column from being numbers.
fn almost_numeric(name: &str, cells: &StringArray, row: usize, first_line: Option<usize>) -> Option<String> {
    let known = cells.iter().filter_map(present);
    let (numbers, count) = known.fold((0usize, 0usize), |(numbers, count), cell| {
        (numbers + usize::from(number(cell).is_some()), count + 1)
    });
    if count < 20 || numbers * 10 < count * 9 {
        return None;
    }
    let place = first_line.map_or_else(|| format!("row {row}"), |first| format!("line {}", row + first));
    Some(format!(
        "`{name}` is taken as categories because {} of {count} values are not numbers, the first `{}` in {place}",
        count - numbers,
        cells.value(row)
    ))
}

/// Whether values are sentences rather than categories.
fn sentences(cells: &StringArray) -> bool {
    let sample: Vec<&str> = cells.iter().flatten().take(SAMPLE).collect();
    let length: usize = sample.iter().map(|cell| cell.len()).sum();
    let words = sample.iter().filter(|cell| cell.contains(' ')).count();
    let distinct = sample.iter().collect::<HashSet<_>>().len();
    sample.len() >= 20
        && length >= TEXT_LENGTH * sample.len()
        && words * 2 > sample.len()
        && distinct as f64 > TEXT_DISTINCT * sample.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str]) -> DataKind {
        let cells: StringArray = cells.iter().map(|cell| Some(*cell)).collect();
        text("c", &cells, Some(2), &mut Vec::new()).0
    }

    #[test]
    fn kinds_of_text() {
        assert_eq!(kind(&["1", "2.5e3", "", "NA", "inf"]), DataKind::Numeric);
        assert_eq!(kind(&["True", "false", "null"]), DataKind::Boolean);
        assert_eq!(kind(&["2026-01-31", "2026-01-31T10:00:00Z", "2026-02-01 10:00"]), DataKind::Datetime);
        assert_eq!(kind(&["007", "120"]), DataKind::Categorical);
        assert_eq!(kind(&["", "NaN"]), DataKind::Numeric);
        let sentence: Vec<String> =
            (0..40).map(|i| format!("the customer called {i} times about it")).collect();
        assert_eq!(kind(&sentence.iter().map(String::as_str).collect::<Vec<_>>()), DataKind::Text);
    }

    #[test]
    fn a_stray_word_among_numbers_is_named_with_its_line() {
        let mut cells: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        cells[7] = "seven".to_owned();
        let cells: StringArray = cells.iter().map(|cell| Some(cell.as_str())).collect();
        let mut notes = Vec::new();
        assert_eq!(text("c", &cells, Some(2), &mut notes).0, DataKind::Categorical);
        assert!(
            notes[0].contains("1 of 100 values are not numbers, the first `seven` in line 9"),
            "{notes:?}"
        );
    }
}
