//! `TopK`: the first elements of a line in sorted order.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{CompareOp, Expr, load};

use crate::{Lines, read};

/// The `k` largest (or smallest) elements along `axis`, sorted, and their places (`i64`); equal elements keep their
/// order. Insertion into the sorted result: `len * k` steps at worst, about `len` where few elements enter. (ONNX `TopK`.)
#[must_use]
pub fn top_k(x: &TensorType, axis: usize, k: &Dim, largest: bool) -> LoopsSpec {
    let better = if largest { CompareOp::Gt } else { CompareOp::Lt };
    let lines = Lines::along(x, axis);
    let mut shape = x.shape.clone();
    if let Some(extent) = shape.get_mut(axis) {
        extent.clone_from(k);
    }
    let mut b = LoopsBuilder::new("top_k");
    let input = b.input_as("x", x, &lines.shape());
    let kept = lines.shape_with(k.clone());
    let values = b.output_as("values", TensorType::new(x.dtype, shape.clone()), &kept);
    let places = b.output_as("places", TensorType::new(DType::I64, shape), &kept);
    let (at, moving) = (b.variable("at", DType::I64), b.variable("moving", DType::Bool));
    let (len, k) = (b.dim(&lines.len), b.dim(k));
    lines.for_each(&mut b, |c, o, i| {
        c.serial("j", Expr::int(0), len, 1, |c, j| {
            let value = load(input, vec![o.clone(), j.clone(), i.clone()]);
            // Where it is inserted if nothing has to move: behind all that are kept so far.
            let filled = c.bind_index("filled", j.clone().min(k.clone()));
            c.set(at, vec![], filled.clone());
            c.set(moving, vec![], Expr::Int(1, sparsec_tir::Scalar::Bool));
            c.serial("p", Expr::int(0), filled.clone(), 1, |c, p| {
                let from = c.bind_index("from", filled - Expr::int(1) - p);
                let kept = load(values, vec![o.clone(), from.clone(), i.clone()]);
                let passes = Expr::binary(
                    sparsec_tir::BinaryOp::And,
                    read(moving),
                    Expr::compare(better, value.clone(), kept.clone()),
                );
                c.branch(
                    passes,
                    |c| {
                        let to = c.bind_index("to", from.clone() + Expr::int(1));
                        c.branch(
                            Expr::compare(CompareOp::Lt, to.clone(), k.clone()),
                            |c| {
                                c.store(values, vec![o.clone(), to.clone(), i.clone()], kept);
                                let place = load(places, vec![o.clone(), from.clone(), i.clone()]);
                                c.store(places, vec![o.clone(), to, i.clone()], place);
                            },
                            |_| {},
                        );
                        c.set(at, vec![], from);
                    },
                    |c| c.set(moving, vec![], Expr::Int(0, sparsec_tir::Scalar::Bool)),
                );
            });
            c.branch(
                Expr::compare(CompareOp::Lt, read(at), k.clone()),
                |c| {
                    c.store(values, vec![o.clone(), read(at), i.clone()], value);
                    c.store(places, vec![o, read(at), i], j);
                },
                |_| {},
            );
        });
    });
    b.finish()
}
