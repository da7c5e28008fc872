//! Raw tensors, as the binary extension and gRPC have them: little-endian, row by row.

use serde_json::{Number, Value as Json};
use steersman_domain::Problem;

/// The elements of a raw tensor. What is not finite is missing.
pub(super) fn elements(name: &str, datatype: &str, shape: &[i64], raw: &[u8]) -> Result<Vec<Json>, Problem> {
    let float = |value: f64| Number::from_f64(value).map_or(Json::Null, Json::Number);
    let values: Vec<Json> = match datatype {
        "BOOL" => fixed(raw, |[byte]: [u8; 1]| Json::Bool(byte != 0)),
        "UINT8" => fixed(raw, |[byte]: [u8; 1]| byte.into()),
        "UINT16" => fixed(raw, |bytes| u16::from_le_bytes(bytes).into()),
        "UINT32" => fixed(raw, |bytes| u32::from_le_bytes(bytes).into()),
        "UINT64" => fixed(raw, |bytes| u64::from_le_bytes(bytes).into()),
        "INT8" => fixed(raw, |bytes| i8::from_le_bytes(bytes).into()),
        "INT16" => fixed(raw, |bytes| i16::from_le_bytes(bytes).into()),
        "INT32" => fixed(raw, |bytes| i32::from_le_bytes(bytes).into()),
        "INT64" => fixed(raw, |bytes| i64::from_le_bytes(bytes).into()),
        "FP16" => fixed(raw, |bytes| float(half(u16::from_le_bytes(bytes)))),
        // The upper half of an FP32.
        "BF16" => {
            fixed(raw, |bytes| float(f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into()))
        }
        "FP32" => fixed(raw, |bytes| float(f32::from_le_bytes(bytes).into())),
        "FP64" => fixed(raw, |bytes| float(f64::from_le_bytes(bytes))),
        "BYTES" => texts(raw),
        other => {
            let problem = Problem::invalid(format!("the datatype `{other}` is not known"));
            return Err(problem.field(name.to_owned()));
        }
    }
    .ok_or_else(|| Problem::invalid("the last element is cut off").field(name.to_owned()))?;
    let count = shape.iter().try_fold(1i64, |count, dimension| count.checked_mul(*dimension));
    if count != i64::try_from(values.len()).ok() {
        let message = format!("shape {shape:?} does not fit {} elements", values.len());
        return Err(Problem::invalid(message).field(name.to_owned()));
    }
    Ok(values)
}

fn fixed<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> Json) -> Option<Vec<Json>> {
    let (elements, rest) = raw.as_chunks::<N>();
    rest.is_empty().then(|| elements.iter().map(|element| value(*element)).collect())
}

/// Each element is its length, four bytes, and so many bytes.
fn texts(mut raw: &[u8]) -> Option<Vec<Json>> {
    let mut values = Vec::new();
    while !raw.is_empty() {
        let (length, rest) = raw.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        values.push(Json::String(String::from_utf8_lossy(text).into_owned()));
        raw = rest;
    }
    Some(values)
}

/// IEEE 754 binary16: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from((bits >> 10) & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_datatypes_are_read_and_what_does_not_fit_is_refused() {
        let read =
            |datatype: &str, shape: &[i64], raw: &[u8]| elements("x", datatype, shape, raw).map(Json::from);
        assert_eq!(read("FP32", &[1, 2], &[0, 0, 192, 63, 0, 0, 192, 127]).unwrap(), json!([1.5, null]));
        assert_eq!(
            read("FP16", &[3], &[0, 0x3e, 1, 0, 0, 0xfc]).unwrap(),
            json!([1.5, 2f64.powi(-24), null])
        );
        assert_eq!(read("BF16", &[1], &[0xc0, 0xbf]).unwrap(), json!([-1.5]));
        assert_eq!(read("INT16", &[1], &[254, 255]).unwrap(), json!([-2]));
        assert_eq!(read("UINT64", &[1], &[255; 8]).unwrap(), json!([u64::MAX]));
        assert_eq!(read("BOOL", &[2], &[0, 1]).unwrap(), json!([false, true]));
        assert_eq!(read("BYTES", &[2], b"\x02\0\0\0ab\0\0\0\0").unwrap(), json!(["ab", ""]));
        let refusal =
            |datatype: &str, shape: &[i64], raw: &[u8]| read(datatype, shape, raw).unwrap_err().to_string();
        assert_eq!(refusal("FP64", &[1], &[0; 7]), "x: the last element is cut off");
        assert_eq!(refusal("BYTES", &[1], b"\xff\xff\xff\xffa"), "x: the last element is cut off");
        assert_eq!(refusal("INT8", &[3], &[0; 2]), "x: shape [3] does not fit 2 elements");
        assert_eq!(
            refusal("INT8", &[i64::MAX, 9], &[]),
            "x: shape [9223372036854775807, 9] does not fit 0 elements"
        );
        assert!(refusal("TEXT", &[0], &[]).contains("`TEXT` is not known"));
    }
}
