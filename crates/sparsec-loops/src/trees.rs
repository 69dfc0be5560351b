//! `TreeEnsemble`: decision trees.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Type, load};

use crate::{in_range, read};

/// How the leaves that trees lead to are combined, for each target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// The extents of the tables of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trees {
    /// Number of nodes, at least 1.
    pub nodes: usize,
    /// Number of leaves, at least 1.
    pub leaves: usize,
    /// Number of elements of all sets, at least 1.
    pub members: usize,
    /// Number of trees.
    pub trees: usize,
    /// Most nodes on a way to a leaf.
    pub depth: usize,
    /// Number of columns of the result.
    pub targets: usize,
}

/// What the trees say about each row of `x` (`f32` or `f64`): `[rows, targets]`, from `initial` on. Operands:
///
/// - `x`;
/// - `i64 [nodes, 8]`: feature; comparison (`<=`, `<`, `>=`, `>`, `=`, `!=`, is in a set, as 0 to 6); where to go if it holds; where to go
///   if not; 1 if it holds for NaN; first and end of the set; 0. A leaf is `-1 - leaf`;
/// - numbers to compare with `[nodes]`, elements of sets `[members]`, weights of leaves `[leaves]`, all of the type of `x`;
/// - targets of leaves `i64 [leaves]`, and roots `i64 [trees]`, nodes or leaves.
///
/// All that tables refer to has to be there; features are brought into range. (ONNX `TreeEnsemble`.)
#[must_use]
pub fn tree_ensemble(x: &TensorType, trees: Trees, aggregate: Aggregate, initial: f64) -> LoopsSpec {
    let [rows, features] = x.shape.as_slice() else { return LoopsBuilder::new("tree_ensemble").finish() };
    let fixed = |dtype, shape: &[usize]| TensorType::fixed(dtype, &shape.iter().map(|&n| n as i64).collect::<Vec<_>>());
    let scalar = sparsec_graph::scalar_of(x.dtype);
    let mut b = LoopsBuilder::new("tree_ensemble");
    let input = b.input("x", x);
    let nodes = b.input("nodes", &fixed(DType::I64, &[trees.nodes, 8]));
    let splits = b.input("splits", &fixed(x.dtype, &[trees.nodes]));
    let members = b.input("members", &fixed(x.dtype, &[trees.members]));
    let weights = b.input("weights", &fixed(x.dtype, &[trees.leaves]));
    let leaf_targets = b.input("leaf_targets", &fixed(DType::I64, &[trees.leaves]));
    let roots = b.input("roots", &fixed(DType::I64, &[trees.trees]));
    let y = b.output("y", TensorType::new(x.dtype, vec![rows.clone(), Dim::constant(trees.targets as i64)]));
    let (at, holds) = (b.variable("at", DType::I64), b.variable("holds", DType::Bool));
    let (rows, features) = (b.dim(rows), b.dim(features));
    b.parallel("row", rows, |c, row| {
        c.serial("t", Expr::int(0), Expr::int(trees.targets as i64), 1, |c, t| {
            c.store(y, vec![row.clone(), t], Expr::Float(initial, scalar));
        });
        c.serial("tree", Expr::int(0), Expr::int(trees.trees as i64), 1, |c, tree| {
            c.set(at, vec![], load(roots, vec![tree]));
            c.serial("level", Expr::int(0), Expr::int(trees.depth as i64), 1, |c, _| {
                let inner = Expr::compare(CompareOp::Ge, read(at), Expr::int(0));
                c.branch(
                    inner,
                    |c| {
                        let node = c.bind_index("node", read(at));
                        let field = |k: i64| load(nodes, vec![node.clone(), Expr::int(k)]);
                        let feature = c.bind_index("feature", in_range(field(0), features));
                        let mode = c.bind_index("mode", field(1));
                        let value = c.bind("value", Type::scalar(scalar), load(input, vec![row.clone(), feature]));
                        let split = c.bind("split", Type::scalar(scalar), load(splits, vec![node.clone()]));
                        let is = |k: i64| Expr::compare(CompareOp::Eq, mode.clone(), Expr::int(k));
                        let both = |a, b| Expr::binary(BinaryOp::And, a, b);
                        let either = |a, b| Expr::binary(BinaryOp::Or, a, b);
                        let missing = both(
                            Expr::compare(CompareOp::Ne, field(4), Expr::int(0)),
                            Expr::compare(CompareOp::Ne, value.clone(), value.clone()),
                        );
                        let compares =
                            [CompareOp::Le, CompareOp::Lt, CompareOp::Ge, CompareOp::Gt, CompareOp::Eq, CompareOp::Ne];
                        let compared = compares.into_iter().enumerate().fold(missing, |any, (k, op)| {
                            either(any, both(is(k as i64), Expr::compare(op, value.clone(), split.clone())))
                        });
                        c.set(holds, vec![], compared);
                        c.serial("m", field(5), field(6), 1, |c, m| {
                            let same = Expr::compare(CompareOp::Eq, value, load(members, vec![m]));
                            c.set(holds, vec![], either(read(holds), both(is(6), same)));
                        });
                        let next = Expr::select(read(holds), field(2), field(3));
                        c.set(at, vec![], next);
                    },
                    |_| {},
                );
            });
            let leaf = c.bind_index("leaf", Expr::int(-1) - read(at));
            let target = c.bind_index("target", load(leaf_targets, vec![leaf.clone()]));
            let (old, new) = (load(y, vec![row.clone(), target.clone()]), load(weights, vec![leaf]));
            let combined = match aggregate {
                Aggregate::Sum => old + new,
                Aggregate::Min => old.min(new),
                Aggregate::Max => old.max(new),
            };
            c.store(y, vec![row, target], combined);
        });
    });
    b.finish()
}
