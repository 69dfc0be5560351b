//! GELU in `f32` as one polynomial.
//!
//! `gelu(x) = max(x, 0) - |x| q(|x|)` with `q(u) = erfc(u / sqrt 2) / 2`, which falls from 1/2 to nothing: no sign to put
//! back and no ranges to choose from, two thirds of the operations that the error function takes. The error is below
//! `4e-7` everywhere (that of a sum of 1 and an error function is as large where x is far below 0), and 0 stays 0.

use sparsec_tir::{Expr, Scalar, Type, UnaryOp};

use crate::context::Context;

/// From here on, `u q(u)` is below `3e-7`; it is taken to stay what it is here.
const LIMIT: f64 = 5.375;

/// `q` as a polynomial in `2 u / LIMIT - 1`, its error weighted by `u`; constant term first.
const Q: [f64; 17] = [
    0.003_599_463_26,
    -0.028_965_525_3,
    0.104_602_195,
    -0.216_959_327,
    0.265_881_598,
    -0.149_157_628,
    -0.076_881_122_6,
    0.208_616_57,
    -0.127_247_915,
    -0.048_467_401_4,
    0.113_274_321,
    -0.036_729_879_7,
    -0.036_293_905_2,
    0.027_757_480_7,
    0.001_804_463_8,
    -0.006_094_614_04,
    0.001_261_273_6,
];

/// `x/2 (1 + erf(x / sqrt 2))`. NaN stays NaN.
pub(crate) fn gelu(c: &mut Context, x: Expr) -> Expr {
    let mut bind = |name: &str, value: Expr| c.bind(name, Type::scalar(Scalar::F32), value);
    // The second operand is the result where either is NaN.
    let size = bind("size", Expr::f32(LIMIT).min(Expr::unary(UnaryOp::Abs, x.clone())));
    let t = bind("t", Expr::fma(size.clone(), Expr::f32(2.0 / LIMIT), Expr::f32(-1.0)));
    let [rest @ .., last] = Q;
    let q = rest.iter().rev().fold(Expr::f32(last), |sum, &c| Expr::fma(sum, t.clone(), Expr::f32(c)));
    let q = bind("q", q);
    Expr::fma(Expr::unary(UnaryOp::Neg, size), q, Expr::f32(0.0).max(x))
}

#[cfg(test)]
mod tests {
    use sparsec_tir::{BufferData, BufferKind, load, run_kernel};

    use super::*;

    #[test]
    fn is_close_everywhere() {
        let mut c = Context::new("gelu");
        let count = 40_001usize;
        let shape = || vec![Expr::int(count as i64)];
        let x = c.buffer("x", Scalar::F32, BufferKind::Input, shape(), vec![]);
        let y = c.buffer("y", Scalar::F32, BufferKind::Output, shape(), vec![]);
        c.serial("i", Expr::int(0), Expr::int(count as i64), 1, |c, i| {
            let value = gelu(c, load(x, vec![i.clone()]));
            c.store(y, vec![i], value);
        });
        let mut values: Vec<f32> = (0..count).map(|i| (i as f32 - 20_000.0) / 2000.0).collect();
        let last = count - 1;
        values[last] = f32::NAN;
        values[0] = f32::INFINITY;
        let bytes = bytemuck::cast_slice(&values).to_vec();
        let data = BufferData { elem: Scalar::F32, bytes };
        let mut buffers = [data, BufferData::zeros(Scalar::F32, count)];
        run_kernel(&c.finish().kernel, &[], &mut buffers).expect("the kernel runs");
        let found = buffers[1].to_f64();
        assert!(found[last].is_nan());
        assert_eq!(found[0], f64::INFINITY);
        assert_eq!(found[20_000], 0.0);
        for (&x, &found) in values.iter().zip(&found).skip(1).take(count - 2) {
            // The function by its definition, the error function by its power series, which converges everywhere.
            let z = f64::from(x) * std::f64::consts::FRAC_1_SQRT_2;
            let (mut term, mut erf) = (z, z);
            for n in 1..400 {
                term *= -z * z / f64::from(n);
                erf += term / f64::from(2 * n + 1);
            }
            let erf = if z.abs() > 4.0 { z.signum() } else { erf * std::f64::consts::FRAC_2_SQRT_PI };
            let wanted = 0.5 * f64::from(x) * (1.0 + erf);
            assert!((found - wanted).abs() <= 4e-7 + 1.2e-7 * wanted.abs(), "gelu({x}) = {found}, not {wanted}");
        }
    }
}
