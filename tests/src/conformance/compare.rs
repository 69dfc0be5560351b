//! Whether a result is the expected one: as ONNX's own runner of these cases has it.
//!
//! Element types and shapes are equal. Integers and truth values are equal. Floating-point numbers of every width differ by
//! no more than `ATOL + RTOL * |expected|`; infinities are equal, and NaN is where NaN is expected.

use sparsec::graph::{DType, TensorData};

/// Relative tolerance.
const RTOL: f64 = 1e-3;

/// Absolute tolerance.
const ATOL: f64 = 1e-5;

/// Compares a result with what is expected; the error is a group of reasons and the details.
///
/// # Errors
/// Where they differ.
pub fn compare(index: usize, found: &TensorData, expected: &TensorData) -> Result<(), (String, String)> {
    if (found.dtype, expected.dtype) == (DType::String, DType::String) {
        return compare_texts(index, found, expected);
    }
    if found.dtype != expected.dtype || found.shape != expected.shape {
        let what = if found.dtype == expected.dtype { "wrong shape" } else { "wrong type" };
        let detail = format!("output {index} is {}, expected {}", found.ty(), expected.ty());
        return Err((what.to_owned(), detail));
    }
    let wrong = |detail: String| Err(("wrong values".to_owned(), detail));
    if !found.dtype.is_float() && found.dtype.small_float().is_none() {
        return match (found.bytes == expected.bytes, found.as_i64(), expected.as_i64()) {
            (true, ..) => Ok(()),
            (_, Some(a), Some(b)) => wrong(differences(index, &a, &b, |a, b| a == b)),
            _ => wrong(format!("output {index} differs")),
        };
    }
    let (Some(a), Some(b)) = (numbers(found), numbers(expected)) else {
        return wrong(format!("output {index} can't be read"));
    };
    let close = |a: &f64, b: &f64| {
        a == b || (a.is_nan() && b.is_nan()) || (b.is_finite() && (a - b).abs() <= ATOL + RTOL * b.abs())
    };
    if a.iter().zip(&b).all(|(a, b)| close(a, b)) { Ok(()) } else { wrong(differences(index, &a, &b, close)) }
}

/// Texts are equal, whatever room there is for them.
fn compare_texts(index: usize, found: &TensorData, expected: &TensorData) -> Result<(), (String, String)> {
    let texts = |data: &TensorData| -> (Vec<usize>, Vec<String>) {
        let shape = data.shape.split_last().map_or(&[][..], |(_, rest)| rest).to_vec();
        let texts = data.as_strings().unwrap_or_default();
        (shape, texts.into_iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    };
    let (found, expected) = (texts(found), texts(expected));
    if found == expected {
        return Ok(());
    }
    let what = if found.0 == expected.0 { "wrong values" } else { "wrong shape" };
    Err((what.to_owned(), format!("output {index} is {found:?}, expected {expected:?}")))
}

/// The elements of a tensor of floating-point numbers.
fn numbers(data: &TensorData) -> Option<Vec<f64>> {
    Some(match data.dtype {
        DType::F32 => data.values::<f32>()?.iter().map(|&v| f64::from(v)).collect(),
        DType::F64 => data.values::<f64>()?.to_vec(),
        DType::F16 => data.values::<u16>()?.iter().map(|&v| half::f16::from_bits(v).to_f64()).collect(),
        DType::BF16 => data.values::<u16>()?.iter().map(|&v| half::bf16::from_bits(v).to_f64()).collect(),
        dtype => {
            let format = dtype.small_float()?;
            data.bytes.iter().map(|&code| format.decode(code)).collect()
        }
    })
}

fn differences<T: std::fmt::Display>(index: usize, a: &[T], b: &[T], close: impl Fn(&T, &T) -> bool) -> String {
    let wrong: Vec<usize> = (0..a.len()).filter(|&i| !close(&a[i], &b[i])).collect();
    let some: Vec<String> = wrong.iter().take(4).map(|&i| format!("[{i}] {} instead of {}", a[i], b[i])).collect();
    format!("output {index}: {} of {} elements differ: {}", wrong.len(), a.len(), some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(found: &TensorData, expected: &TensorData) -> Option<String> {
        compare(0, found, expected).err().map(|(group, _)| group)
    }

    #[test]
    fn numbers_may_differ_a_little_and_nothing_else_may() {
        let row = |values: &[f32]| TensorData::f32(&[values.len()], values.to_vec());
        assert_eq!(group(&row(&[1000.5, f32::NAN]), &row(&[1000.0, f32::NAN])), None);
        assert_eq!(group(&row(&[1002.0]), &row(&[1000.0])).as_deref(), Some("wrong values"));
        assert_eq!(group(&row(&[0.0]), &row(&[f32::NAN])).as_deref(), Some("wrong values"));
        assert_eq!(group(&row(&[f32::INFINITY]), &row(&[f32::NEG_INFINITY])).as_deref(), Some("wrong values"));
        assert_eq!(group(&row(&[1.0]), &TensorData::f32(&[], vec![1.0])).as_deref(), Some("wrong shape"));
        assert_eq!(group(&row(&[1.0]), &TensorData::i64(&[1], vec![1])).as_deref(), Some("wrong type"));
        let ints = |v| TensorData::i64(&[1], vec![v]);
        assert_eq!(group(&ints(1_000_001), &ints(1_000_000)).as_deref(), Some("wrong values"));
        assert_eq!(group(&ints(7), &ints(7)), None);
        let text = |shape: &[usize], bytes: &'static [u8]| TensorData {
            dtype: DType::String,
            shape: shape.to_vec(),
            bytes: bytes.into(),
        };
        assert_eq!(group(&text(&[2, 2], b"a\0bc"), &text(&[2, 3], b"a\0\0bc\0")), None);
        assert_eq!(group(&text(&[1, 2], b"ab"), &text(&[1, 1], b"a")).as_deref(), Some("wrong values"));
        assert_eq!(group(&text(&[2, 1], b"ab"), &text(&[1, 2, 1], b"ab")).as_deref(), Some("wrong shape"));
    }
}
