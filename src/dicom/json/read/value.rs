//! Values as JSON has them in the bytes of their VR, PS3.18 Table F.2.3-1 and PS3.5 section 6.2.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dicom_core::VR;
use serde_json::{Number, Value};

use crate::dicom::json::tag;

/// A decimal string has no more characters, PS3.5 Table 6.2-1.
const LONGEST_DECIMAL: usize = 16;

/// Why a value is none of its VR.
type Why = &'static str;

/// The value field, without padding.
pub(super) fn encode(vr: VR, values: &[Value]) -> Result<Vec<u8>, Why> {
    if values.is_empty() || matches!(values, [Value::Null]) {
        return Ok(Vec::new());
    }
    match vr {
        VR::AT => each(values, tag_of),
        VR::US => each(values, |value| Ok(whole::<u16>(value)?.to_le_bytes().to_vec())),
        VR::SS => each(values, |value| Ok(whole::<i16>(value)?.to_le_bytes().to_vec())),
        VR::UL => each(values, |value| Ok(whole::<u32>(value)?.to_le_bytes().to_vec())),
        VR::SL => each(values, |value| Ok(whole::<i32>(value)?.to_le_bytes().to_vec())),
        VR::UV => each(values, |value| Ok(whole::<u64>(value)?.to_le_bytes().to_vec())),
        VR::SV => each(values, |value| Ok(whole::<i64>(value)?.to_le_bytes().to_vec())),
        VR::FL => each(values, |value| Ok(single(value)?.to_le_bytes().to_vec())),
        VR::FD => each(values, |value| Ok(double(value)?.to_le_bytes().to_vec())),
        VR::PN => joined(values, person_name),
        VR::DS | VR::IS => joined(values, decimal),
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SQ | VR::UN => {
            Err("it is made of bytes, which cannot stand in Value")
        }
        _ => joined(values, text),
    }
}

/// The bytes of an InlineBinary.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Why> {
    STANDARD.decode(text.trim_ascii()).map_err(|_| "InlineBinary is not in base64")
}

fn each(values: &[Value], encode: impl Fn(&Value) -> Result<Vec<u8>, Why>) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::with_capacity(values.len().saturating_mul(4));
    for value in values {
        if value.is_null() {
            return Err("a binary value cannot be empty beside others");
        }
        bytes.extend(encode(value)?);
    }
    Ok(bytes)
}

/// Values as text with a backslash between them.
fn joined<'v>(
    values: &'v [Value],
    of: impl Fn(&'v Value) -> Result<Cow<'v, str>, Why>,
) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            bytes.push(b'\\');
        }
        if !value.is_null() {
            bytes.extend_from_slice(of(value)?.as_bytes());
        }
    }
    Ok(bytes)
}

fn text(value: &Value) -> Result<Cow<'_, str>, Why> {
    match value {
        Value::String(text) => Ok(text.into()),
        // An identifier of digits, from who is careless.
        Value::Number(number) => Ok(number.to_string().into()),
        _ => Err("a value is no text"),
    }
}

/// Component groups up to the last one that there is, PS3.5 section 6.2.1.
fn person_name(value: &Value) -> Result<Cow<'_, str>, Why> {
    let groups = match value {
        Value::String(text) => return Ok(text.into()),
        Value::Object(groups) => groups,
        _ => return Err("a value is no name"),
    };
    let mut name = String::new();
    let mut separators = 0;
    for group in ["Alphabetic", "Ideographic", "Phonetic"] {
        match groups.get(group) {
            Some(Value::String(text)) if !text.is_empty() => {
                name.extend(std::iter::repeat_n('=', separators));
                separators = 0;
                name.push_str(text);
            }
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err("a component group is no text"),
        }
        separators += 1;
    }
    Ok(name.into())
}

fn tag_of(value: &Value) -> Result<Vec<u8>, Why> {
    let tag = value.as_str().and_then(|text| tag(text).ok()).ok_or("a value is no tag")?;
    Ok([tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat())
}

/// A whole number that the VR can hold, as a number or as its digits.
fn whole<T: TryFrom<i128>>(value: &Value) -> Result<T, Why> {
    let text = match value {
        // All digits before the point, and of those behind it none if it is whole.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => number.to_string().into(),
            None => number.to_string().into(),
        },
        Value::String(text) => Cow::Borrowed(text.trim()),
        _ => return Err("a value is no number"),
    };
    let number: i128 = text.parse().map_err(|_| "a value is no whole number")?;
    T::try_from(number).map_err(|_| "a number is out of range")
}

fn double(value: &Value) -> Result<f64, Why> {
    let text = number_or_text(value)?;
    let number: f64 = text.parse().map_err(|_| "a value is no number")?;
    if number.is_finite() || !has_digits(&text) { Ok(number) } else { Err("a number is out of range") }
}

fn single(value: &Value) -> Result<f32, Why> {
    let text = number_or_text(value)?;
    let number: f32 = text.parse().map_err(|_| "a value is no number")?;
    if number.is_finite() || !has_digits(&text) { Ok(number) } else { Err("a number is out of range") }
}

/// A number, or what JSON has no number for: "NaN", "-Infinity".
fn number_or_text(value: &Value) -> Result<Cow<'_, str>, Why> {
    match value {
        Value::Number(number) => Ok(number.to_string().into()),
        Value::String(text) => Ok(text.trim().into()),
        _ => Err("a value is no number"),
    }
}

fn has_digits(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn decimal(value: &Value) -> Result<Cow<'_, str>, Why> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Number(number) => Ok(decimal_string(number).into()),
        _ => Err("a value is no number"),
    }
}

/// The number in as many characters as a decimal string may have; where that is not all of its digits, the nearest.
fn decimal_string(number: &Number) -> String {
    let whole = number.to_string();
    let Some(number) = number.as_f64().filter(|_| number.is_f64() || whole.len() > LONGEST_DECIMAL) else {
        return whole;
    };
    let shortest = format!("{number:?}");
    if shortest.len() <= LONGEST_DECIMAL {
        return shortest;
    }
    let rounded = (0..=LONGEST_DECIMAL).flat_map(|digits| {
        let fixed = format!("{number:.digits$}");
        // The point may come first.
        let fixed = fixed.replacen("0.", ".", usize::from(number.abs() < 1.0));
        [fixed, format!("{number:.digits$e}")]
    });
    let error = |text: &String| text.parse::<f64>().map_or(f64::INFINITY, |read| (read - number).abs());
    let fitting = rounded.filter(|text| text.len() <= LONGEST_DECIMAL && text != "." && text != "-.");
    fitting.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or(shortest)
}
