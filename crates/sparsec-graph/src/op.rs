//! The internal operators: few, with exact meaning.
//!
//! Every frontend operator is decomposed into these. Shapes that a frontend computes at run time (`Shape`, `Gather`,
//! `Concat`, `Reshape`) are resolved to [`Dim`] expressions by the reader, so operators here carry them as attributes.

use std::fmt;

use crate::scalar::named;
use crate::{BinaryOp, DType, Dim, Graph, LoopSpec, LoopsSpec, ScalarExpr, Trip, UnaryOp};

/// An operator with its attributes. Axes are non-negative.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Element-wise. Operands: x.
    Unary(UnaryOp),
    /// Element-wise with broadcasting. Operands: x, y of one element type.
    Binary(BinaryOp),
    /// Element-wise `if c { x } else { y }` with broadcasting. Operands: c (`bool`), x, y.
    Where,
    /// `min(max(x, lo), hi)`. Operands: x.
    Clip {
        /// Lower bound; negative infinity for none.
        lo: f64,
        /// Upper bound; infinity for none.
        hi: f64,
    },
    /// Conversion of the element type, as C converts (floats to integers truncate toward zero). Integers of 4 bits keep
    /// the lowest 4. Small floats are rounded to nearest, halves to even, and what is beyond the largest becomes
    /// infinity or NaN, as the type has it: see [`crate::SmallFloat`]. To saturate is to clip first.
    Cast(DType),
    /// A fused chain of element-wise operators with broadcasting. Operands: those that the expression names.
    Map(ScalarExpr),
    /// Sum of products over labelled axes (an einsum of two operands). Operands: lhs, rhs. A constant weight is the
    /// lhs, `mk`, once normalised. An lhs of `i8` and an rhs of `u8` have a result of `i32`; else all types are equal.
    Contract(ContractSpec),
    /// `softmax(f(q k)) v`: a contraction of queries and keys, a scalar expression of its results, softmax along the keys,
    /// and a contraction with the values. Operands: q, k, v, and those that the expression names, which broadcast to the
    /// scores.
    Attention(Box<AttentionSpec>),
    /// Cross-correlation. Operands: x `[n, c, spatial...]`, w `[m, c/groups, kernel...]`, and optionally bias `[m]`. With x of
    /// `u8`, w of `i8` or `i16` and a scalar of `u8` in place of a bias, the sums are of `w * (x - that scalar)`, in `i32`.
    Conv(ConvAttrs),
    /// Sliding window reduction. Operands: x `[n, c, spatial...]`.
    Pool(PoolAttrs),
    /// Reduction over axes. Operands: x.
    Reduce {
        /// What is computed.
        kind: ReduceKind,
        /// Ascending axes.
        axes: Vec<usize>,
        /// Whether reduced axes stay with extent 1.
        keep: bool,
    },
    /// `exp(x - max) / sum(exp(x - max))` along an axis. Operands: x.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the axes `axis .. axis + axes`: several trailing ones,
    /// or one anywhere. The variance divides by the number of elements.
    /// Operands: x, scale, bias (each of the normalised axes' shape).
    LayerNorm {
        /// First normalised axis.
        axis: usize,
        /// Number of normalised axes.
        axes: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias` per channel (axis 1).
    /// Operands: x, scale, bias, mean, variance.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// Another shape of the same elements in row-major order. Operands: x.
    Reshape(Vec<Dim>),
    /// Result axis `i` is operand axis `perm[i]`. Operands: x.
    Transpose(Vec<usize>),
    /// Broadcast to this shape. Operands: x.
    Expand(Vec<Dim>),
    /// `x[start : end : step]` on every axis. Operands: x.
    Slice(Vec<SliceAxis>),
    /// Joins operands along an axis. Operands: one or more.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// `result[..a, i.., b..] = x[..a, index[i..], b..]`, negative indices counted from the end.
    /// Operands: x, index (integers).
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Surrounds by a constant; negative amounts crop. Operands: x.
    Pad {
        /// Elements before and after, per axis.
        amounts: Vec<(i64, i64)>,
        /// The constant.
        value: f64,
    },
    /// An operator that carries its own kernel. Operands: the kernel's input buffers, in order. Results: its output buffers.
    Loops(Box<LoopsSpec>),
    /// The extents of a shape as an `i64` vector whose values are known expressions. No operands.
    ShapeOf(Vec<Dim>),
    /// The results of one of two graphs, which both take the captured values as inputs. Operands: condition (`bool`
    /// scalar), captured.
    If {
        /// Where the condition holds.
        then: Box<Graph>,
        /// Where it does not.
        otherwise: Box<Graph>,
    },
    /// A graph again and again. Operands and results: see [`LoopSpec`].
    Loop(Box<LoopSpec>),
}

/// One axis of a slice; `0 <= start`, and `end` is exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceAxis {
    /// First index.
    pub start: Dim,
    /// Number of elements taken.
    pub len: Dim,
    /// Distance between indices; may be negative, not 0.
    pub step: i64,
}

/// Labels of the axes of a contraction: single letters, each at most once per operand.
///
/// A label in both operands and the result is a batch axis, in both operands only is summed, in one operand and the
/// result is free. `mk,bsk->bsm` is a linear layer on `[batch, seq, features]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContractSpec {
    /// Labels of the lhs axes.
    pub lhs: Vec<char>,
    /// Labels of the rhs axes.
    pub rhs: Vec<char>,
    /// Labels of the result axes.
    pub out: Vec<char>,
}

impl ContractSpec {
    /// Parses `mk,bsk->bsm`. `None` where a label repeats within an operand, a result label is in no operand, or a
    /// label of one operand only is missing in the result.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ins, out) = text.split_once("->")?;
        let (lhs, rhs) = ins.split_once(',')?;
        let spec = ContractSpec { lhs: lhs.chars().collect(), rhs: rhs.chars().collect(), out: out.chars().collect() };
        spec.is_valid().then_some(spec)
    }

    /// Whether the labels obey the rules of [`ContractSpec::parse`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let unique = |l: &[char]| l.iter().enumerate().all(|(i, c)| c.is_ascii_alphabetic() && !l[..i].contains(c));
        unique(&self.lhs)
            && unique(&self.rhs)
            && unique(&self.out)
            && self.out.iter().all(|c| self.lhs.contains(c) || self.rhs.contains(c))
            && self.lhs.iter().all(|c| self.rhs.contains(c) || self.out.contains(c))
            && self.rhs.iter().all(|c| self.lhs.contains(c) || self.out.contains(c))
    }

    /// The labels that are summed, in lhs order.
    #[must_use]
    pub fn summed(&self) -> Vec<char> {
        self.lhs.iter().copied().filter(|c| !self.out.contains(c)).collect()
    }
}

impl fmt::Display for ContractSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |l: &[char]| l.iter().collect::<String>();
        write!(f, "{},{}->{}", text(&self.lhs), text(&self.rhs), text(&self.out))
    }
}

/// Attributes of an attention. Both contractions use the same letters for the axes of the scores.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Queries and keys to scores.
    pub scores: ContractSpec,
    /// What the softmax is taken of; `acc` is the score.
    pub expr: ScalarExpr,
    /// The axis of the scores along which it is taken.
    pub keys: char,
    /// Scores and values to the result.
    pub values: ContractSpec,
}

/// Attributes of a convolution; one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvAttrs {
    /// Distance between windows.
    pub strides: Vec<i64>,
    /// Zeros before and after.
    pub pads: Vec<(i64, i64)>,
    /// Distance between kernel elements.
    pub dilations: Vec<i64>,
    /// Channel groups.
    pub groups: i64,
}

/// Attributes of a sliding window reduction; one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolAttrs {
    /// What is computed.
    pub kind: PoolKind,
    /// Window extents.
    pub kernel: Vec<i64>,
    /// Distance between windows.
    pub strides: Vec<i64>,
    /// Padding before and after.
    pub pads: Vec<(i64, i64)>,
    /// Distance between window elements.
    pub dilations: Vec<i64>,
    /// Round the result's extent up rather than down.
    pub ceil: bool,
}

/// What a pooling window computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolKind {
    /// Largest element; padding counts as negative infinity.
    Max,
    /// Mean of the elements inside the input.
    Average,
    /// Mean over the window, padding counted as zeros.
    AverageWithPad,
}

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReduceKind {
    /// Sum.
    Sum,
    /// Mean.
    Mean,
    /// Largest.
    Max,
    /// Smallest.
    Min,
    /// Product.
    Prod,
    /// Sum of squares.
    SumSquare,
    /// Euclidean norm.
    L2,
    /// Sum of magnitudes.
    L1,
}

named!(PoolKind { Max = "max", Average = "average", AverageWithPad = "average_with_pad", });
named!(ReduceKind {
    Sum = "sum", Mean = "mean", Max = "max", Min = "min", Prod = "prod", SumSquare = "sum_square", L2 = "l2",
    L1 = "l1",
});

impl Op {
    /// The operator's name in the text form.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Where => "where",
            Op::Clip { .. } => "clip",
            Op::Cast(_) => "cast",
            Op::Map(_) => "map",
            Op::Contract(_) => "contract",
            Op::Attention(_) => "attention",
            Op::Conv(_) => "conv",
            Op::Pool(_) => "pool",
            Op::Reduce { .. } => "reduce",
            Op::Softmax { .. } => "softmax",
            Op::LayerNorm { .. } => "layer_norm",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Reshape(_) => "reshape",
            Op::Transpose(_) => "transpose",
            Op::Expand(_) => "expand",
            Op::Slice(_) => "slice",
            Op::Concat { .. } => "concat",
            Op::Gather { .. } => "gather",
            Op::Pad { .. } => "pad",
            Op::Loops(_) => "loops",
            Op::ShapeOf(_) => "shape_of",
            Op::If { .. } => "if",
            Op::Loop(_) => "loop",
        }
    }

    /// The operator with every dimension expression among its attributes replaced.
    ///
    /// # Errors
    /// What `value` returns.
    pub fn try_map_dims<E>(&self, mut value: impl FnMut(&Dim) -> Result<Dim, E>) -> Result<Op, E> {
        self.map_dims(&mut value)
    }

    pub(crate) fn map_dims<E>(&self, mut value: &mut dyn FnMut(&Dim) -> Result<Dim, E>) -> Result<Op, E> {
        match self {
            Op::If { then, otherwise } => {
                let (then, otherwise) = (then.map_dims(value)?, otherwise.map_dims(value)?);
                return Ok(Op::If { then: Box::new(then), otherwise: Box::new(otherwise) });
            }
            Op::Loop(spec) => {
                let trip = match &spec.trip {
                    Trip::Known(trip) => Trip::Known(value(trip)?),
                    other => other.clone(),
                };
                let body = spec.body.map_dims(value)?;
                return Ok(Op::Loop(Box::new(LoopSpec { trip, body, ..LoopSpec::clone(spec) })));
            }
            _ => {}
        }
        let mut values = |dims: &[Dim]| dims.iter().map(&mut value).collect::<Result<Vec<_>, E>>();
        Ok(match self {
            Op::Reshape(shape) => Op::Reshape(values(shape)?),
            Op::Expand(shape) => Op::Expand(values(shape)?),
            Op::ShapeOf(shape) => Op::ShapeOf(values(shape)?),
            Op::Loops(spec) => {
                let mut spec = spec.clone();
                spec.params = values(&spec.params)?;
                for ty in &mut spec.results {
                    ty.shape = values(&ty.shape)?;
                }
                for count in &mut spec.counts {
                    count.capacity =
                        values(std::slice::from_ref(&count.capacity))?.into_iter().next().unwrap_or_default();
                }
                Op::Loops(spec)
            }
            Op::Slice(axes) => Op::Slice(
                axes.iter()
                    .map(|a| Ok(SliceAxis { start: value(&a.start)?, len: value(&a.len)?, step: a.step }))
                    .collect::<Result<_, E>>()?,
            ),
            _ => self.clone(),
        })
    }

    /// The graphs within the operator.
    #[must_use]
    pub fn graphs(&self) -> Vec<&Graph> {
        match self {
            Op::If { then, otherwise } => vec![then, otherwise],
            Op::Loop(spec) => vec![&spec.body],
            _ => Vec::new(),
        }
    }

    /// The graphs within the operator, to change them. Their inputs and outputs must keep their number and types.
    pub fn graphs_mut(&mut self) -> Vec<&mut Graph> {
        match self {
            Op::If { then, otherwise } => vec![then, otherwise],
            Op::Loop(spec) => vec![&mut spec.body],
            _ => Vec::new(),
        }
    }

    /// Whether there are graphs within the operator.
    #[must_use]
    pub fn is_control(&self) -> bool {
        matches!(self, Op::If { .. } | Op::Loop(_))
    }

    /// Whether the operator computes each result element from the operand elements at the same (broadcast) place.
    #[must_use]
    pub fn is_elementwise(&self) -> bool {
        matches!(self, Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Clip { .. } | Op::Cast(_) | Op::Map(_))
    }
}
