//! `NonMaxSuppression`: the best of boxes that overlap.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, Symbol, TensorType};
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, Scalar, load};

use crate::read;

/// What there is beside boxes and scores; each is one element, `i64` the first, `f32` the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Suppression {
    /// Whether boxes are (x centre, y centre, width, height) and not two opposite corners (y, x, y, x).
    pub centred: bool,
    /// Boxes kept of a class at most; `None` where it is known only at run time.
    pub most: Option<i64>,
    /// Whether there is an operand below which scores don't count.
    pub score_threshold: bool,
}

/// The boxes that are kept, greedily by descending score, of each class of each image: `i64 [count, 3]`, rows of (image, class,
/// box). A box goes that overlaps a kept one by more than a share of their union. Operands: boxes `f32 [images, n, 4]`, scores `f32
/// [images, classes, n]`, the most of a class, the share, and the score above which boxes count, if there is one.
/// Results: the rows, working memory, and their number, which `count` becomes. (ONNX `NonMaxSuppression`.)
#[must_use]
pub fn suppress(boxes: &TensorType, scores: &TensorType, what: &Suppression, count: &Symbol) -> LoopsSpec {
    let extent = |ty: &TensorType, axis: usize| ty.shape.get(axis).cloned().unwrap_or_else(|| Dim::constant(1));
    let (images, classes, n) = (extent(boxes, 0), extent(scores, 1), extent(boxes, 1));
    let most = what.most.map_or_else(|| n.clone(), |most| n.minimum(&Dim::constant(most.max(0))));
    let scalar = |dtype: DType| TensorType::fixed(dtype, &[1]);
    let mut b = LoopsBuilder::new("non_max_suppression");
    b.count(count.clone(), images.clone() * classes.clone() * most);
    let input = b.input("boxes", boxes);
    let values = b.input("scores", scores);
    let limit = b.input("most", &scalar(DType::I64));
    let share = b.input("share", &scalar(DType::F32));
    let threshold = what.score_threshold.then(|| b.input("threshold", &scalar(DType::F32)));
    let rows = b.output_up_to("rows", TensorType::new(DType::I64, vec![Dim::sym(count.name()), Dim::constant(3)]));
    let alive = b.output("alive", TensorType::new(DType::Bool, vec![n.clone()]));
    let totals = b.count_results();
    let [found, best] = ["found", "best"].map(|name| b.variable(name, DType::I64));
    let [images, classes, n] = [&images, &classes, &n].map(|d| b.dim(d));
    let truth = |value: i64| Expr::Int(value, Scalar::Bool);
    let at = |row: Expr, column: i64| vec![row * Expr::int(3) + Expr::int(column)];
    b.set(found, vec![], Expr::int(0));
    let most = match what.most {
        Some(most) => Expr::int(most.max(0)),
        None => load(limit, vec![Expr::int(0)]).max(Expr::int(0)),
    };
    let most = b.bind_index("limit", most.min(n.clone()));
    b.serial("image", Expr::int(0), images, 1, |b, image| {
        b.serial("class", Expr::int(0), classes, 1, |b, class| {
            let score = |i: &Expr| load(values, vec![image.clone(), class.clone(), i.clone()]);
            b.serial("i", Expr::int(0), n.clone(), 1, |b, i| {
                let counts = threshold
                    .map_or_else(|| truth(1), |t| Expr::compare(CompareOp::Gt, score(&i), load(t, vec![Expr::int(0)])));
                b.store(alive, vec![i], counts);
            });
            b.set(best, vec![], Expr::int(0));
            b.serial("round", Expr::int(0), most, 1, |b, _| {
                // Once nothing is left, the other rounds have nothing to do.
                let open = Expr::compare(CompareOp::Ge, read(best), Expr::int(0));
                b.branch(
                    open,
                    |b| {
                        b.set(best, vec![], Expr::int(-1));
                        b.serial("i", Expr::int(0), n.clone(), 1, |b, i| {
                            let none = Expr::compare(CompareOp::Lt, read(best), Expr::int(0));
                            let known = read(best).max(Expr::int(0));
                            let better = Expr::compare(CompareOp::Gt, score(&i), score(&known));
                            let better = Expr::binary(BinaryOp::Or, none, better);
                            let takes = Expr::binary(BinaryOp::And, load(alive, vec![i.clone()]), better);
                            b.branch(takes, |b| b.set(best, vec![], i), |_| {});
                        });
                        let there = Expr::compare(CompareOp::Ge, read(best), Expr::int(0));
                        b.branch(
                            there,
                            |b| {
                                let kept = b.bind_index("kept", read(best));
                                b.store(rows, at(read(found), 0), image.clone());
                                b.store(rows, at(read(found), 1), class.clone());
                                b.store(rows, at(read(found), 2), kept.clone());
                                b.set(found, vec![], read(found) + Expr::int(1));
                                b.store(alive, vec![kept.clone()], truth(0));
                                let mine = corners(b, input, what.centred, &image, &kept);
                                b.serial("i", Expr::int(0), n, 1, |b, i| {
                                    b.branch(
                                        load(alive, vec![i.clone()]),
                                        |b| {
                                            let other = corners(b, input, what.centred, &image, &i);
                                            let much = overlaps(b, &mine, &other, load(share, vec![Expr::int(0)]));
                                            b.branch(much, |b| b.store(alive, vec![i], truth(0)), |_| {});
                                        },
                                        |_| {},
                                    );
                                });
                            },
                            |_| {},
                        );
                    },
                    |_| {},
                );
            });
        });
    });
    for &total in &totals {
        b.store(total, vec![], read(found));
    }
    b.finish()
}

/// Low y, low x, high y, high x of a box.
fn corners(b: &mut KernelContext, boxes: BufferId, centred: bool, image: &Expr, index: &Expr) -> [Expr; 4] {
    let part = |i: i64| load(boxes, vec![image.clone(), index.clone(), Expr::int(i)]);
    let sides = if centred {
        let half = |i: i64| part(i) * Expr::f32(0.5);
        [part(1) - half(3), part(0) - half(2), part(1) + half(3), part(0) + half(2)]
    } else {
        [part(0).min(part(2)), part(1).min(part(3)), part(0).max(part(2)), part(1).max(part(3))]
    };
    let ty = sparsec_tir::Type::scalar(Scalar::F32);
    sides.map(|side| b.bind("side", ty, side))
}

/// Whether two boxes overlap by more than a share of their union.
fn overlaps(b: &mut KernelContext, a: &[Expr; 4], c: &[Expr; 4], share: Expr) -> Expr {
    let ty = sparsec_tir::Type::scalar(Scalar::F32);
    let common = |low: usize, high: usize| {
        (a[high].clone().min(c[high].clone()) - a[low].clone().max(c[low].clone())).max(Expr::f32(0.0))
    };
    let area = |x: &[Expr; 4]| (x[2].clone() - x[0].clone()) * (x[3].clone() - x[1].clone());
    let both = b.bind("both", ty, common(0, 2) * common(1, 3));
    let either = b.bind("either", ty, area(a) + area(c) - both.clone());
    // A share of nothing is no overlap: both areas are 0.
    let some = Expr::compare(CompareOp::Gt, both.clone(), Expr::f32(0.0));
    let ratio = Expr::binary(BinaryOp::Div, both, either);
    Expr::binary(BinaryOp::And, some, Expr::compare(CompareOp::Gt, ratio, share))
}
