//! Sparse attention: the keys that a constant mask leaves to the queries of a tile.
//!
//! Scores are products of dense operands sampled at a constant pattern (SDDMM), and the values are weighted by a matrix of that pattern
//! (SpMM). The vectors of the kernel hold neighbouring queries, so the pattern is taken by tiles of queries: a key is computed for a tile
//! where one of its queries has it. What the others don't have is masked as before, and adds an exact zero.
//!
//! ```text
//!            queries ->             tile 0   tile 1   tile 2          keys of the tiles
//!   keys     x x . . . . . . .      [x x .]  [. . .]  [. . .]         0: 0 1 2
//!     |      x x x . . . . . .      [x x x]  [. . .]  [. . .]         1: 3 4 5
//!     v      . x x x . . . . .      [. x x]  [x . .]  [. . .]   ->    ...
//!            . . . x x x . . .      [. . .]  [x x x]  [. . .]
//! ```

use sparsec_graph::{BinaryOp, ScalarExpr, TensorData, UnaryOp};
use sparsec_tir::Scalar;

use crate::kernels::gemm::Matrices;
use crate::weight::tables::Table;

/// Scores of this or less have no weight beside any other: exporters write minus infinity or the least `f32`.
const MASKED: f64 = -1e30;

/// Which keys each tile of queries has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampled {
    /// Extents of the batches that have patterns of their own: 1 where all have the same.
    pub(crate) batches: [i64; 2],
    /// The first key of each tile, batch after batch, and the end.
    starts: Vec<i32>,
    keys: Vec<i32>,
    /// The most keys of a tile.
    pub(crate) longest: i64,
}

/// A constant operand of the expression: its elements, and how they are indexed by (batch, batch, key, query).
pub(crate) struct Mask {
    elements: Vec<f64>,
    shape: [i64; 4],
    strides: [i64; 4],
}

impl Mask {
    /// `None` where an extent is not known, or the elements are no numbers.
    pub(crate) fn of(data: &TensorData, view: &Matrices) -> Option<Self> {
        let elements = match data.as_f32() {
            Some(values) => values.iter().map(|&v| f64::from(v)).collect(),
            None => data.as_i64()?.into_iter().map(|v| v as f64).collect(),
        };
        let known = |dims: &[sparsec_graph::Dim; 4]| {
            let [a, b, c, d] = dims.each_ref().map(sparsec_graph::Dim::as_const);
            Some([a?, b?, c?, d?])
        };
        Some(Mask { elements, shape: known(&view.shape)?, strides: known(&view.strides)? })
    }

    fn at(&self, index: [i64; 4]) -> Option<f64> {
        let place = |i: usize| if self.shape[i] == 1 { 0 } else { index[i] * self.strides[i] };
        let at = usize::try_from((0..4).map(place).sum::<i64>()).ok()?;
        self.elements.get(at).copied()
    }
}

impl Sampled {
    /// The pattern of `expr` for `keys` x `queries` scores in tiles of `tile` queries, where it leaves out a quarter of the work or more.
    /// `masks` has the operands of the expression that are constant.
    ///
    /// A query whose keys are all masked has all of them: its weights are what the softmax of equal scores makes of them.
    pub(crate) fn of(
        expr: &ScalarExpr,
        masks: &[Option<Mask>],
        (keys, queries): (i64, i64),
        tile: i64,
    ) -> Option<Self> {
        if masks.iter().all(Option::is_none) || keys == 0 || queries == 0 {
            return None;
        }
        let extent = |i: usize| masks.iter().flatten().map(|mask| mask.shape[i]).max().unwrap_or(1);
        let batches = [extent(0), extent(1)];
        let mut sampled = Sampled { batches, starts: vec![0], keys: Vec::new(), longest: 0 };
        let mut all = 0;
        for batch in 0..batches[0] * batches[1] {
            let of_batch = [batch / batches[1], batch % batches[1]];
            for first in (0..queries).step_by(usize::try_from(tile).ok()?) {
                let mut kept = vec![false; usize::try_from(keys).ok()?];
                for query in first..queries.min(first + tile) {
                    let is_masked = |key: i64| masked(expr, masks, [of_batch[0], of_batch[1], key, query]);
                    let own: Vec<bool> = (0..keys).map(|key| !is_masked(key)).collect();
                    let none = !own.contains(&true);
                    kept.iter_mut().zip(own).for_each(|(kept, own)| *kept |= own || none);
                }
                sampled.keys.extend((0i32..).zip(&kept).filter(|(_, kept)| **kept).map(|(key, _)| key));
                let end = i32::try_from(sampled.keys.len()).ok()?;
                sampled.longest = sampled.longest.max(i64::from(end - sampled.starts.last()?));
                sampled.starts.push(end);
                all += keys;
            }
        }
        (4 * sampled.keys.len() as i64 <= 3 * all).then_some(sampled)
    }

    /// `starts` and `keys`, in the order in which the kernel declares them.
    pub(crate) fn tables(&self) -> Vec<Table> {
        vec![Table::of("starts", Scalar::I32, self.starts.clone()), Table::of("keys", Scalar::I32, self.keys.clone())]
    }

    /// For the comments of kernels.
    pub(crate) fn describe(&self) -> String {
        format!("{} keys for {} tiles of queries", self.keys.len(), self.starts.len() - 1)
    }
}

/// Whether the expression is a masked score at an index, whatever the score is.
fn masked(expr: &ScalarExpr, masks: &[Option<Mask>], at: [i64; 4]) -> bool {
    if let Some(value) = value(expr, masks, at) {
        return value <= MASKED;
    }
    match expr {
        ScalarExpr::Binary(BinaryOp::Add, a, b) => masked(a, masks, at) || masked(b, masks, at),
        ScalarExpr::Binary(BinaryOp::Sub, a, b) => {
            masked(a, masks, at) || value(b, masks, at).is_some_and(|v| v >= -MASKED)
        }
        ScalarExpr::Select(condition, a, b) => match value(condition, masks, at) {
            Some(condition) => masked(if condition != 0.0 { a } else { b }, masks, at),
            None => masked(a, masks, at) && masked(b, masks, at),
        },
        _ => false,
    }
}

/// The value of an expression that does not depend on the score.
fn value(expr: &ScalarExpr, masks: &[Option<Mask>], at: [i64; 4]) -> Option<f64> {
    Some(match expr {
        ScalarExpr::Const(v) => *v,
        ScalarExpr::Arg(i) => masks.get(*i as usize)?.as_ref()?.at(at)?,
        ScalarExpr::Convert(_, x) => value(x, masks, at)?,
        ScalarExpr::Unary(UnaryOp::Neg, x) => -value(x, masks, at)?,
        ScalarExpr::Binary(op, x, y) => {
            let (x, y) = (value(x, masks, at)?, value(y, masks, at)?);
            match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                _ => return None,
            }
        }
        _ => return None,
    })
}
