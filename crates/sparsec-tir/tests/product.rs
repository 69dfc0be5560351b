//! Products of matrices: values by hand, text, and what a sparse factor may be.

use sparsec_tir::{
    BufferData, InterpError, Scalar, lower_to_flat, parse_kernel, print_kernel, round_to_tf32, run_kernel,
};

const TEXT: &str = "kernel k position () {
  input a: f32[16, 8]
  input b: f32[8, 8]
  output y: f32[16, 8]
  reg c: f32x128[1]
  c[0] = 1.0
  product.tf32 c[0] += a[0, 0] by (8, 1) * b[0, 0] by (8, 1)
  save y[0, 0] by (8, 1) = c[0]
}
";

#[test]
fn a_dense_product() {
    let kernel = parse_kernel(TEXT).unwrap();
    assert_eq!(print_kernel(&kernel), TEXT);
    // 1 + 2^-11 lies half way: away from zero.
    let (a, b) = (1.0 + 2_f32.powi(-11), 3.0_f32);
    let at = |i: usize, j: usize, value: f32| {
        let mut values = vec![0.0; 128];
        values[i * 8 + j] = value;
        values
    };
    for kernel in [lower_to_flat(&kernel).unwrap(), kernel] {
        assert_eq!(print_kernel(&parse_kernel(&print_kernel(&kernel)).unwrap()), print_kernel(&kernel));
        let b = &at(3, 5, b)[..64];
        let mut data =
            [BufferData::from_f32(&at(9, 3, a)), BufferData::from_f32(b), BufferData::zeros(Scalar::F32, 128)];
        run_kernel(&kernel, &[], &mut data).unwrap();
        let mut expected = vec![1.0; 128];
        expected[9 * 8 + 5] = 1.0 + 3.0 * (1.0 + 2_f32.powi(-10));
        assert_eq!(data[2].to_f32(), expected);
    }
}

#[test]
fn rounding_to_tf32() {
    assert_eq!(round_to_tf32(1.0 + 2_f32.powi(-12)), 1.0);
    assert_eq!(round_to_tf32(-1.0 - 2_f32.powi(-11)), -1.0 - 2_f32.powi(-10));
    assert_eq!(round_to_tf32(f32::INFINITY), f32::INFINITY);
    assert!(round_to_tf32(f32::NAN).is_nan());
}

#[test]
fn a_factor_with_a_mask() {
    let text = "kernel k flat () {
  input a: f16[5]
  input b: f16[128]
  input mask: u32[8]
  output y: f32[128]
  reg c: f32x128
  c = splat.128(1.0)
  product.f16 c += a[1] by (0, 1) * b[0] by (8, 1) masked mask[0]
  save y[0] by (8, 1) = c
}
";
    let kernel = parse_kernel(text).unwrap();
    assert_eq!(print_kernel(&kernel), text);
    let halves = |values: &[f64]| {
        let bytes = values.iter().flat_map(|v| half::f16::from_f64(*v).to_le_bytes()).collect();
        BufferData { elem: Scalar::F16, bytes }
    };
    let b: Vec<f64> = (0..128).map(|i| f64::from(i / 8)).collect();
    // Row 0, columns 1 and 7; row 8, column 0; row 15, column 15. The buffer has no element more.
    let mut words = [0b1000_0010, 1, 0, 0, 0, 0, 0, 1 << 31];
    let mut data = [
        halves(&[9.0, 2.0, 3.0, 5.0, 7.0]),
        halves(&b),
        BufferData::from_ints(Scalar::U32, &words),
        BufferData::zeros(Scalar::F32, 128),
    ];
    run_kernel(&kernel, &[], &mut data).unwrap();
    let y = data[3].to_f32();
    assert_eq!((y[3], y[8 * 8], y[15 * 8 + 7], y[8]), (1.0 + 2.0 + 21.0, 1.0, 1.0 + 7.0 * 15.0, 1.0));
    words[2] = 1;
    data[2] = BufferData::from_ints(Scalar::U32, &words);
    assert!(run_kernel(&kernel, &[], &mut data).is_err(), "a fifth value is behind the buffer");
}

#[test]
fn a_sparse_factor() {
    let text = "kernel k flat () {
  input a: f16[256]
  input b: f16[256]
  input places: u32[16]
  output y: f32[128]
  reg c: f32x128
  c = splat.128(0.0)
  product.f16 c += a[0] by (16, 1) * b[0] by (8, 1) kept places[0]
  save y[0] by (1, 16) = c
}
";
    let kernel = parse_kernel(text).unwrap();
    assert_eq!(print_kernel(&kernel), text);
    let halves = |f: &dyn Fn(usize) -> i64| {
        let values: Vec<f64> = (0..256).map(|i| f(i) as f64).collect();
        let bytes = values.iter().flat_map(|v| half::f16::from_f64(*v).to_le_bytes()).collect();
        BufferData { elem: Scalar::F16, bytes }
    };
    // Row 2 keeps columns 1 and 3 of each four.
    let mut words = vec![0x4444_4444_i64; 16];
    words[2] = 0xdddd_dddd;
    let mut data = [
        halves(&|i| i64::from(i / 16 == 2)),
        halves(&|i| i as i64 / 8),
        BufferData::from_ints(Scalar::U32, &words),
        BufferData::zeros(Scalar::F32, 128),
    ];
    run_kernel(&kernel, &[], &mut data).unwrap();
    let y = data[3].to_f32();
    // 1 + 3 + 5 + ... + 31, in row 2 of a result that is stored by columns.
    assert_eq!((y[2], y[2 + 16 * 7], y[3]), (256.0, 256.0, 0.0));
    words[7] = 0x4444_4445;
    data[2] = BufferData::from_ints(Scalar::U32, &words);
    assert!(matches!(run_kernel(&kernel, &[], &mut data), Err(InterpError::Unsupported { .. })));
}
