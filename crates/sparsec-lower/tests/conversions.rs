//! Conversions between all element types, against the graph interpreter.

mod common;

use std::fmt::Write;

use common::check;
use sparsec_graph::DType;

fn narrow() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|t| t.is_narrow())
}

/// A graph that converts a constant of these elements to every type of `to`.
fn graph(dtype: DType, elements: &[String], to: impl Iterator<Item = DType>) -> String {
    let mut text = format!("graph @g {{\n  const %0 \"x\" = {dtype}[{}] {{{}}}\n", elements.len(), elements.join(", "));
    let mut outputs = String::new();
    for (i, to) in to.enumerate().map(|(i, to)| (i + 1, to)) {
        let _ = writeln!(text, "  %{i} = cast {to} (%0)");
        let _ = writeln!(outputs, "  output \"y{i}\" = %{i}");
    }
    text + &outputs + "}"
}

#[test]
fn every_code_of_a_narrow_type() {
    for dtype in narrow() {
        let codes: Vec<u8> = match dtype {
            DType::I4 => (0..8).chain(0xf8..=0xff).collect(),
            DType::U4 | DType::F4E2M1 => (0..16).collect(),
            _ => (0..=255).collect(),
        };
        let elements: Vec<String> = codes.iter().map(|c| format!("{c:#x}")).collect();
        check(&graph(dtype, &elements, DType::ALL.into_iter().filter(|t| *t != dtype)), &[]);
    }
}

#[test]
fn numbers_to_narrow_types() {
    let mut numbers = vec![0.0, -0.0, 1e-9, -1e-9, 1e30, -1e30, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for code in 0..=255u8 {
        for format in narrow().filter_map(DType::small_float) {
            let value = format.decode(code);
            if value.is_finite() {
                // Halves between codes, and what is just beside them.
                numbers.extend([value, value * 1.0625, value * 1.0626, value * 1.0624, value * 1.125, value * 1.25]);
            }
        }
    }
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let elements: Vec<String> = numbers
            .iter()
            .map(|&x| match x {
                x if x.is_nan() => "nan".to_owned(),
                x if dtype == DType::F64 => format!("{x:?}"),
                x => format!("{:?}", x as f32),
            })
            .collect();
        check(&graph(dtype, &elements, narrow()), &[]);
    }
    let ints: Vec<String> = (-130..130).map(|i| (i * 97).to_string()).collect();
    check(&graph(DType::I32, &ints, narrow()), &[]);
    check(&graph(DType::I64, &ints, narrow()), &[]);
    let bytes: Vec<String> = (-128..128).map(|i| i.to_string()).collect();
    check(&graph(DType::I8, &bytes, narrow()), &[]);
    check(&graph(DType::Bool, &["true".into(), "false".into()], narrow()), &[]);
}
