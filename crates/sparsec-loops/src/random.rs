//! Random numbers.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{BinaryOp, Expr, Scalar};

/// Multipliers of the two products of a round.
const FACTORS: [i64; 2] = [0xd251_1f53, 0xcd9e_8d57];

/// What the two halves of the key grow by from round to round.
const STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

const ROUNDS: u32 = 10;

/// Uniform numbers of 0 or more and below 1, of type `dtype` (`f32`, of 24 bits; `f64`, of 53 bits). Number `i` follows from `i` and `seed`
/// alone: the words of block `i` of Philox 4x32-10 under the key `seed`, so every run gives the same numbers.
///
/// Source: Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#[must_use]
pub fn random_uniform(dtype: DType, shape: &[Dim], seed: u64) -> LoopsSpec {
    let count = Dim::product(shape);
    let mut b = LoopsBuilder::new("random_uniform");
    b.describe("random numbers, by a counter");
    let output = b.output_as("y", TensorType::new(dtype, shape), std::slice::from_ref(&count));
    let count = b.dim(&count);
    let word = |value: i64| Expr::Int(value, Scalar::U64);
    let op = |op, x, y| Expr::binary(op, x, y);
    let low = |x: Expr| op(BinaryOp::And, x, word(0xffff_ffff));
    let high = |x: Expr| op(BinaryOp::Shr, x, word(32));
    b.parallel("i", count, |c, i| {
        let bind =
            |c: &mut sparsec_graph::KernelContext, x: Expr| c.bind("word", sparsec_tir::Type::scalar(Scalar::U64), x);
        let index = bind(c, i.clone().convert(Scalar::U64));
        let mut words = [bind(c, low(index.clone())), bind(c, high(index)), word(0), word(0)];
        let mut key = [seed as u32, (seed >> 32) as u32];
        for _ in 0..ROUNDS {
            let [w0, w1, w2, w3] = words;
            let first = bind(c, op(BinaryOp::Mul, w0, word(FACTORS[0])));
            let second = bind(c, op(BinaryOp::Mul, w2, word(FACTORS[1])));
            let mix = |product: &Expr, x: Expr, key: u32| {
                op(BinaryOp::Xor, op(BinaryOp::Xor, high(product.clone()), x), word(i64::from(key)))
            };
            let (a, b) = (mix(&second, w1, key[0]), mix(&first, w3, key[1]));
            words = [bind(c, a), bind(c, low(second)), bind(c, b), bind(c, low(first))];
            key = [key[0].wrapping_add(STEPS[0]), key[1].wrapping_add(STEPS[1])];
        }
        let [first, second, ..] = words;
        let value = if dtype == DType::F64 {
            let bits = op(
                BinaryOp::Or,
                op(BinaryOp::Shl, op(BinaryOp::Shr, first, word(5)), word(26)),
                op(BinaryOp::Shr, second, word(6)),
            );
            let scale = Expr::Float(f64::from(2.0f32).powi(-53), Scalar::F64);
            op(BinaryOp::Mul, bits.convert(Scalar::I64).convert(Scalar::F64), scale)
        } else {
            let bits = op(BinaryOp::Shr, first, word(8)).convert(Scalar::I32);
            op(BinaryOp::Mul, bits.convert(Scalar::F32), Expr::f32(f64::from(2.0f32).powi(-24)))
        };
        c.store(output, vec![i], value);
    });
    b.finish()
}
