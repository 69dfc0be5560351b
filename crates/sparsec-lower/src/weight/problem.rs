//! The one problem that linear layers and convolutions with constant weights come down to.
//!
//! `Y[b, m, oh, ow] = f(sum over (c, kh, kw) of W[m, (c, kh, kw)] * X[b, c, oh*sh + kh*dh - ph, ow*sw + kw*dw - pw])`,
//! X being zero outside. A linear layer is a 1x1 convolution of an image of one row whose pixels are the tokens. Where
//! the axes lie in memory is the strides' business, so `[tokens, features]` and `[features, tokens]` are both covered.

use sparsec_graph::{Dim, ScalarExpr};
use sparsec_tir::Scalar;

use crate::schedule::Schedule;

/// A tensor seen as (batch, channels, rows, columns).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) elem: Scalar,
    /// Extents of batch, channels, rows, columns.
    pub(crate) shape: [Dim; 4],
    /// Distances in elements; 0 along a broadcast axis.
    pub(crate) strides: [Dim; 4],
}

impl View {
    /// Whether equal indices lead to equal places.
    fn is_like(&self, other: &View) -> bool {
        let steps = self.strides.iter().zip(&other.strides).zip(&self.shape);
        self.elem == other.elem && self.shape == other.shape && steps.into_iter().all(|((a, b), n)| a == b || n.is(1))
    }
}

/// A sliding window in one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Kernel elements.
    pub(crate) kernel: usize,
    /// Distance between windows.
    pub(crate) stride: usize,
    /// Distance between kernel elements.
    pub(crate) dilation: usize,
    /// Zeros before.
    pub(crate) pad: i64,
}

impl Window {
    /// One element, moved one by one.
    pub(crate) const POINT: Window = Window { kernel: 1, stride: 1, dilation: 1, pad: 0 };

    /// The phase (position modulo stride) of a kernel element, and the whole strides before it.
    pub(crate) fn phase(&self, k: usize) -> (usize, usize) {
        ((k * self.dilation) % self.stride, (k * self.dilation) / self.stride)
    }

    /// The largest number of whole strides before a kernel element.
    pub(crate) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation / self.stride
    }
}

/// A contraction or convolution with a constant weight.
#[derive(Clone, Debug)]
pub(crate) struct WeightProblem {
    /// For names and comments.
    pub(crate) name: String,
    /// Outputs.
    pub(crate) m: usize,
    /// Input channels.
    pub(crate) channels: usize,
    /// Vertical window.
    pub(crate) rows: Window,
    /// Horizontal window.
    pub(crate) cols: Window,
    /// The input.
    pub(crate) x: View,
    /// The output.
    pub(crate) y: View,
    /// Operands of the epilogue.
    pub(crate) args: Vec<View>,
    /// The operand of the epilogue that the result takes the memory of, element by element.
    pub(crate) in_place: Option<usize>,
    /// What is stored, given the sum.
    pub(crate) epilogue: Option<ScalarExpr>,
    /// Fraction of the weight's elements that the kernel multiplies; for choosing tiles.
    pub(crate) density: f64,
    /// Tokens or pixels that are expected, open extents being nominal; where nothing is expected of one, none.
    pub(crate) tokens: Option<i64>,
    /// How the kernel is to be cut, where that is not its own choice.
    pub(crate) schedule: Option<Schedule>,
}

impl WeightProblem {
    /// Whether the result can lie where operand `arg` of the epilogue lies: each element is read where it is written, and just before.
    pub(crate) fn allows_in_place(&self, arg: usize) -> bool {
        self.args.get(arg).is_some_and(|arg| arg.is_like(&self.y))
    }

    /// Kernel elements per channel.
    pub(crate) fn kernel_size(&self) -> usize {
        self.rows.kernel * self.cols.kernel
    }

    /// Columns of the weight matrix.
    pub(crate) fn k(&self) -> usize {
        self.channels * self.kernel_size()
    }

    /// Merges rows and columns of the image where every window is one pixel and memory allows it, so that the kernel
    /// sees one long row.
    pub(crate) fn flatten(&mut self) {
        if self.rows != Window::POINT || self.cols != Window::POINT {
            return;
        }
        let width = self.y.shape[3].clone();
        let merges = |v: &View| v.strides[2] == v.strides[3].clone() * width.clone();
        if !merges(&self.x) || !merges(&self.y) || !self.args.iter().all(merges) {
            return;
        }
        for view in [&mut self.x, &mut self.y].into_iter().chain(&mut self.args) {
            view.shape[3] = view.shape[3].clone() * view.shape[2].clone();
            view.shape[2] = Dim::constant(1);
            view.strides[2] = Dim::default();
        }
    }
}
