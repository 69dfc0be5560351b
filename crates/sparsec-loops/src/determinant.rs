//! `Det`: determinants of matrices.

use sparsec_graph::{Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{CompareOp, Expr, Type, UnaryOp, load};

use crate::{number, read};

/// The determinants of the matrices that are the last two axes of `x`, floating-point numbers: Gaussian elimination with the largest
/// pivot of each column. The second result is what is left of the matrices, and of no use. (ONNX `Det`.)
#[must_use]
pub fn determinant(x: &TensorType) -> LoopsSpec {
    let (batch, matrix) = x.shape.split_at(x.rank().saturating_sub(2));
    let n = matrix.last().cloned().unwrap_or_else(|| Dim::constant(1));
    let count = Dim::product(batch);
    let shape = [count.clone(), n.clone(), n.clone()];
    let mut b = LoopsBuilder::new("determinant");
    let input = b.input_as("x", x, &shape);
    let y = b.output_as("y", TensorType::new(x.dtype, batch.to_vec()), std::slice::from_ref(&count));
    let work = b.output_as("work", x.clone(), &shape);
    let scalar = sparsec_graph::scalar_of(x.dtype);
    let (product, best) = (b.variable("product", x.dtype), b.variable("best", x.dtype));
    let at = b.variable("at", sparsec_graph::DType::I64);
    let (count, n) = (b.dim(&count), b.dim(&n));
    b.parallel("matrix", count, |c, m| {
        let element = |r: &Expr, j: &Expr| vec![m.clone(), r.clone(), j.clone()];
        c.serial("r", Expr::int(0), n.clone(), 1, |c, r| {
            c.serial("j", Expr::int(0), n.clone(), 1, |c, j| {
                c.store(work, element(&r, &j), load(input, element(&r, &j)))
            });
        });
        c.set(product, vec![], number(x.dtype, 1));
        c.serial("k", Expr::int(0), n.clone(), 1, |c, k| {
            let next = c.bind_index("next", k.clone() + Expr::int(1));
            c.set(best, vec![], Expr::unary(UnaryOp::Abs, load(work, element(&k, &k))));
            c.set(at, vec![], k.clone());
            c.serial("r", next.clone(), n.clone(), 1, |c, r| {
                let size = Expr::unary(UnaryOp::Abs, load(work, element(&r, &k)));
                c.branch(
                    Expr::compare(CompareOp::Gt, size.clone(), read(best)),
                    |c| {
                        c.set(best, vec![], size);
                        c.set(at, vec![], r);
                    },
                    |_| {},
                );
            });
            let row = c.bind_index("row", read(at));
            c.branch(
                Expr::compare(CompareOp::Ne, row.clone(), k.clone()),
                |c| {
                    c.set(product, vec![], Expr::unary(UnaryOp::Neg, read(product)));
                    c.serial("j", k.clone(), n.clone(), 1, |c, j| {
                        let held = c.bind("held", Type::scalar(scalar), load(work, element(&k, &j)));
                        c.store(work, element(&k, &j), load(work, element(&row, &j)));
                        c.store(work, element(&row, &j), held);
                    });
                },
                |_| {},
            );
            let pivot = c.bind("pivot", Type::scalar(scalar), load(work, element(&k, &k)));
            c.set(product, vec![], read(product) * pivot.clone());
            c.branch(
                Expr::compare(CompareOp::Ne, pivot.clone(), number(x.dtype, 0)),
                |c| {
                    c.serial("r", next.clone(), n.clone(), 1, |c, r| {
                        let quotient = Expr::binary(sparsec_tir::BinaryOp::Div, load(work, element(&r, &k)), pivot);
                        let quotient = c.bind("quotient", Type::scalar(scalar), quotient);
                        c.serial("j", next, n.clone(), 1, |c, j| {
                            let less = load(work, element(&r, &j)) - quotient * load(work, element(&k, &j));
                            c.store(work, element(&r, &j), less);
                        });
                    });
                },
                |_| {},
            );
        });
        c.store(y, vec![m.clone()], read(product));
    });
    b.finish()
}
