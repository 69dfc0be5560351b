//! Error of expanded functions in units in the last place, against references in `f64` (for `f32`) and against `libm`
//! (for `f64`, whose own error is below one unit).

use sparsec_tir::{
    BinaryOp, BufferData, BufferKind, Expr, KernelBuilder, Scalar, UnaryOp, expand_math, load, lower_to_flat,
    run_kernel,
};

/// Applies a function to all values by an expanded Stage III kernel of 8 lanes.
fn apply(s: Scalar, f: impl Fn(Expr, Expr) -> Expr, x: &BufferData, y: &BufferData) -> BufferData {
    let mut b = KernelBuilder::new("apply");
    let n = b.param("n");
    let xs = b.buffer("x", s, BufferKind::Input, vec![n.clone()], vec![]);
    let ys = b.buffer("y", s, BufferKind::Input, vec![n.clone()], vec![]);
    let out = b.buffer("out", s, BufferKind::Output, vec![n.clone()], vec![]);
    b.serial("i", Expr::int(0), n.clone(), 8, |b, i| {
        b.vector("l", 8, Some(n.clone() - i.clone()), |b, l| {
            let at = vec![i.clone() + l];
            b.store(out, at.clone(), f(load(xs, at.clone()), load(ys, at)));
        });
    });
    let mut kernel = lower_to_flat(&b.finish()).unwrap();
    expand_math(&mut kernel).unwrap();
    sparsec_tir::verify_machine(&kernel).unwrap();
    let mut buffers = [x.clone(), y.clone(), BufferData::zeros(s, x.len())];
    run_kernel(&kernel, &[x.len() as i64], &mut buffers).unwrap();
    let [_, _, out] = buffers;
    out
}

/// Largest error in ulps of the `f32` nearest to the reference.
fn error_f32(out: &[f32], reference: &[f64], x: &[f32]) -> f64 {
    let mut worst = (0.0, 0.0);
    for ((&got, &want), &x) in out.iter().zip(reference).zip(x) {
        let rounded = want as f32;
        if rounded.is_nan() || rounded.is_infinite() || got.is_nan() || got.is_infinite() {
            let edge = want.abs() >= f64::from(f32::MAX) && got.abs() >= f32::MAX;
            assert!(got == rounded || (got.is_nan() && rounded.is_nan()) || edge, "f({x:e}) = {got}, not {rounded}");
            continue;
        }
        let ulp = f64::from(f32::from_bits(rounded.abs().to_bits().max(1)).next_up())
            - f64::from(f32::from_bits(rounded.abs().to_bits().max(1)));
        let error = (f64::from(got) - want).abs() / ulp;
        if error > worst.0 {
            worst = (error, x);
        }
    }
    eprintln!("worst {} at {:e}", worst.0, worst.1);
    worst.0
}

fn error_f64(out: &[f64], reference: &[f64], x: &[f64]) -> f64 {
    let mut worst = (0.0, 0.0);
    for ((&got, &want), &x) in out.iter().zip(reference).zip(x) {
        if want.is_nan() || want.is_infinite() || got.is_nan() || got.is_infinite() {
            assert!(got == want || (got.is_nan() && want.is_nan()), "f({x:e}) = {got}, not {want}");
            continue;
        }
        let a = want.abs().max(f64::from_bits(1));
        let error = (got - want).abs() / (a.next_up() - a);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    eprintln!("worst {} at {:e}", worst.0, worst.1);
    worst.0
}

/// Every 9973th bit pattern, and many values in a range: all sizes, signs, subnormals, infinities, NaN.
fn samples(lo: f64, hi: f64) -> Vec<f32> {
    let patterns = (0..=u32::MAX / 9973).map(|i| f32::from_bits(i * 9973));
    let range = (0..400_000).map(|i| (lo + (hi - lo) * f64::from(i) / 400_000.0) as f32);
    let special =
        [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 1e-45];
    patterns.chain(range).chain(special).collect()
}

fn samples_f64(lo: f64, hi: f64) -> Vec<f64> {
    let patterns = (0..100_000_u64).map(|i| f64::from_bits(i.wrapping_mul(0x0000_9E37_79B9_7F4A).wrapping_mul(7)));
    let range = (0..150_000).map(|i| lo + (hi - lo) * f64::from(i) / 150_000.0);
    let special =
        [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE, 5e-324];
    patterns.chain(range).chain(special).collect()
}

fn unary_error(op: UnaryOp, reference: impl Fn(f64) -> f64, x: Vec<f32>) -> f64 {
    let data = BufferData::from_f32(&x);
    let out = apply(Scalar::F32, |x, _| Expr::unary(op, x), &data, &data).to_f32();
    let want: Vec<f64> = x.iter().map(|x| reference(f64::from(*x))).collect();
    error_f32(&out, &want, &x)
}

fn unary_error_f64(op: UnaryOp, reference: impl Fn(f64) -> f64, x: Vec<f64>) -> f64 {
    let data = BufferData { elem: Scalar::F64, bytes: x.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let out = apply(Scalar::F64, |x, _| Expr::unary(op, x), &data, &data).to_f64();
    let want: Vec<f64> = x.iter().map(|x| reference(*x)).collect();
    error_f64(&out, &want, &x)
}

#[test]
fn exp() {
    assert!(unary_error(UnaryOp::Exp, libm::exp, samples(-110.0, 95.0)) <= 2.0);
    assert!(unary_error_f64(UnaryOp::Exp, libm::exp, samples_f64(-750.0, 712.0)) <= 2.0);
}

#[test]
fn tanh() {
    // A quotient whose terms are subnormal has fewer digits.
    let (tiny, rest): (Vec<f32>, _) = samples(-10.0, 10.0).into_iter().partition(|x| x.abs() < 1e-34);
    assert!(unary_error(UnaryOp::Tanh, libm::tanh, rest) <= 6.0);
    let data = BufferData::from_f32(&tiny);
    let out = apply(Scalar::F32, |x, _| Expr::unary(UnaryOp::Tanh, x), &data, &data).to_f32();
    assert!(out.iter().zip(&tiny).all(|(y, x)| (y - x).abs() < 1e-40));
    assert!(unary_error_f64(UnaryOp::Tanh, libm::tanh, samples_f64(-22.0, 22.0)) <= 3.0);
}

/// What ONNX Runtime 1.32 gives with fused multiply-add, bit by bit.
#[test]
fn tanh_has_the_bits_of_the_reference() {
    let cases = [
        (0.01_f32, 0x3c23_d5a3_u32),
        (-0.3, 0xbe95_26ed),
        (0.777, 0x3f26_a6b8),
        (1.5, 0x3f67_b7cb),
        (-2.25, 0xbf7a_5fec),
        (4.0, 0x3f7f_d40a),
        (-7.5, 0xbf7f_fff6),
        (9.5, 0x3f80_0000),
    ];
    let data = BufferData::from_f32(&cases.map(|(x, _)| x));
    let out = apply(Scalar::F32, |x, _| Expr::unary(UnaryOp::Tanh, x), &data, &data).to_f32();
    let bits: Vec<u32> = out.iter().map(|y| y.to_bits()).collect();
    assert_eq!(bits, cases.map(|(_, bits)| bits));
}

#[test]
fn erf() {
    assert!(unary_error(UnaryOp::Erf, libm::erf, samples(-4.5, 4.5)) <= 4.0);
    assert!(unary_error_f64(UnaryOp::Erf, libm::erf, samples_f64(-6.5, 6.5)) <= 4.0);
}

#[test]
fn erf_stays_within_one() {
    let x: Vec<f32> = (0..2_000_000).map(|i| f32::from_bits(4.5_f32.to_bits() - i)).filter(|x| *x > 2.0).collect();
    let data = BufferData::from_f32(&x);
    let out = apply(Scalar::F32, |x, _| Expr::unary(UnaryOp::Erf, x), &data, &data).to_f32();
    assert!(out.iter().all(|y| *y <= 1.0));
    assert_eq!(out[0], 1.0);
}

#[test]
fn log() {
    assert!(unary_error(UnaryOp::Log, libm::log, samples(0.5, 2.0)) <= 2.0);
    assert!(unary_error_f64(UnaryOp::Log, libm::log, samples_f64(0.0, 4.0)) <= 2.0);
}

#[test]
fn sin_and_cos() {
    let x: Vec<f32> = samples(-20.0, 20.0).into_iter().filter(|x| x.abs() < 1e5 || !x.is_finite()).collect();
    assert!(unary_error(UnaryOp::Sin, libm::sin, x.clone()) <= 2.0);
    assert!(unary_error(UnaryOp::Cos, libm::cos, x) <= 2.0);
    let mut x = samples_f64(-20.0, 20.0);
    x.extend((0..100_000).map(|i| f64::from(i) * 0.999_7 - 5e4));
    x.retain(|x| x.abs() < 1e5 || !x.is_finite());
    assert!(unary_error_f64(UnaryOp::Sin, libm::sin, x.clone()) <= 4.0);
    assert!(unary_error_f64(UnaryOp::Cos, libm::cos, x) <= 4.0);
}

#[test]
fn pow() {
    let special = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40];
    let mut pairs: Vec<(f32, f32)> = special.iter().flat_map(|x| special.map(|y| (*x, y))).collect();
    pairs.extend((1..200_000).map(|i| (i as f32 * 1e-3, (i % 997) as f32 * 0.03 - 15.0)));
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
    let f = |x: Expr, y: Expr| Expr::binary(BinaryOp::Pow, x, y);
    let out = apply(Scalar::F32, f, &BufferData::from_f32(&x), &BufferData::from_f32(&y)).to_f32();
    let want: Vec<f64> = x.iter().zip(&y).map(|(x, y)| libm::pow(f64::from(*x), f64::from(*y))).collect();
    assert!(error_f32(&out, &want, &x) <= 2.0);
}

#[test]
fn pow_in_f64() {
    let pairs = (1..100_000).map(|i| (f64::from(i) * 1e-3, f64::from(i % 997) * 0.03 - 15.0));
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let data = |v: &[f64]| BufferData { elem: Scalar::F64, bytes: v.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let f = |x: Expr, y: Expr| Expr::binary(BinaryOp::Pow, x, y);
    let out = apply(Scalar::F64, f, &data(&x), &data(&y)).to_f64();
    for ((x, y), got) in x.iter().zip(&y).zip(out) {
        let want = libm::pow(*x, *y);
        let bound = 2.0 + 2.0 * (y * x.ln()).abs();
        assert!((got - want).abs() <= bound * (want.next_up() - want), "{x}^{y} = {got}, not {want}");
    }
}

#[test]
fn halves_are_computed_in_f32() {
    let x = BufferData::from_f32(&[0.5, 1.0, -3.0, 10.0]);
    let convert = |x: Expr, _: Expr| Expr::unary(UnaryOp::Exp, x.convert(Scalar::F16)).convert(Scalar::F32);
    let out = apply(Scalar::F32, convert, &x, &x).to_f32();
    let want: Vec<f32> = x.to_f32().iter().map(|x| half::f16::from_f32(x.exp()).to_f32()).collect();
    assert_eq!(out, want);
}
