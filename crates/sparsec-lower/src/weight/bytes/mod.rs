//! Weights of 8 bits: products of `i8` weights and `u8` activations, added in `i32` without rounding.
//!
//! Four neighbours along K are a word, and one instruction multiplies and adds the bytes of a word ([`Expr::Dot4`]), so a
//! product of words is to these kernels what a product of elements is to those of `f32`. What is subtracted for zero
//! points and multiplied for scales is in the epilogue, which starts from the `i32` sums.
//!
//! | kernel | lanes run along | for |
//! |---|---|---|
//! | [`dense`] | the outputs | all words |
//! | [`rows`] | the tokens | words that are not zero, several tokens |
//! | [`vector`] | the words of a row | words that are not zero, one token |
//! | [`conv`] | the pixels | all words, convolutions |

mod conv;
mod dense;
mod filter;
mod pack;
mod rows;
mod vector;

pub(crate) use conv::convolve_bytes;
pub(crate) use filter::ByteFilter;

use std::borrow::Cow;
use std::sync::Arc;

use sparsec_graph::{DType, Pages, TensorData};
use sparsec_sparse::Format;
use sparsec_tir::{Expr, Scalar};

use crate::context::Context;
use crate::kernels::map::converted;
use crate::scalar::{Typed, emit_scalar};
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::problem::WeightProblem;
use crate::weight::tile::{Activations, arg_index};

/// Elements of K in a word.
const WORD: usize = 4;

/// A constant weight of `i8`, outputs x columns, row-major.
#[derive(Clone, Debug)]
pub(crate) struct ByteMatrix {
    data: TensorData,
    outputs: usize,
    cols: usize,
    pages: Option<Arc<dyn Pages>>,
}

impl ByteMatrix {
    /// `None` where the data is no matrix of `i8`.
    pub(crate) fn new(data: &TensorData, pages: Option<&Arc<dyn Pages>>) -> Option<Self> {
        let &[outputs, cols] = data.shape.as_slice() else { return None };
        let fits = data.dtype == DType::I8 && outputs > 0 && cols > 0 && data.bytes.len() == outputs * cols;
        fits.then(|| ByteMatrix { data: data.clone(), outputs, cols, pages: pages.cloned() })
    }

    /// Rows.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Words of a row; the last one is filled up with zeros.
    fn words(&self) -> usize {
        self.cols.div_ceil(WORD)
    }

    fn elements(&self) -> Cow<'_, [i8]> {
        match bytemuck::try_cast_slice(&self.data.bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(self.data.copy_values(self.pages.as_deref()).unwrap_or_default()),
        }
    }

    /// Word `at` of a row of elements.
    fn word(row: &[i8], at: usize) -> i32 {
        let byte = |i: usize| row.get(at * WORD + i).copied().unwrap_or(0) as u8;
        i32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }
}

/// The kernel of a weight of bytes. `dense` stores all words; every other format those that are not zero.
pub(crate) fn multiply_bytes(
    mut problem: WeightProblem,
    weight: &ByteMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Multiplication {
    problem.flatten();
    let single = [0, 2, 3].iter().all(|&i| problem.y.shape[i].is(1));
    match format {
        Format::Dense => dense::lower(&problem, weight, target),
        _ if single => vector::lower(&problem, weight, target),
        _ => rows::lower(&problem, weight, target),
    }
}

/// Applies the epilogue to an `i32` sum and stores what comes out at `(batch, output, row, column)`.
fn store_sum(c: &mut Context, p: &WeightProblem, b: &Activations, at: &[Expr; 4], sum: Expr) {
    let sum: Typed = (sum, Scalar::I32);
    let mut args = |_: &mut Context, i: u32| {
        let view = &p.args[i as usize];
        (sparsec_tir::load(b.args[i as usize], arg_index(view, at)), view.elem)
    };
    let value = match &p.epilogue {
        Some(expr) => emit_scalar(c, expr, Some(&sum), &mut args, Scalar::I32),
        None => sum,
    };
    let value = converted(value, p.y.elem);
    c.store(b.y, at.to_vec(), value);
}
