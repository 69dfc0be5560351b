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
