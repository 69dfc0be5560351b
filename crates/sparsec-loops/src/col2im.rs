//! `Col2Im`: columns of windows summed up to the image that they were taken from.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType, scalar_of};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, load};

use crate::{number, read};

/// Windows over an image; one entry per axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWindows {
    /// Extents of the image.
    pub image: Vec<i64>,
    /// Extents of a window.
    pub kernel: Vec<i64>,
    /// Distance between windows.
    pub strides: Vec<i64>,
    /// Padding before and after.
    pub pads: Vec<(i64, i64)>,
    /// Distance between elements of a window.
    pub dilations: Vec<i64>,
}

impl ImageWindows {
    /// Windows along each axis.
    #[must_use]
    pub fn counts(&self) -> Vec<i64> {
        let count = |i: usize| {
            let room = self.image[i] + self.pads[i].0 + self.pads[i].1 - self.dilations[i] * (self.kernel[i] - 1) - 1;
            room.div_euclid(self.strides[i]) + 1
        };
        (0..self.image.len()).map(count).collect()
    }
}

/// `[n, c, image...]` from columns `[n, c * kernel elements, windows]`. Each element of the image collects what windows hold of it,
/// so images can be computed apart. (ONNX `Col2Im`.)
#[must_use]
pub fn col2im(columns: &TensorType, w: &ImageWindows) -> LoopsSpec {
    let elements: i64 = w.kernel.iter().product();
    let counts = w.counts();
    let fixed = |v: &[i64]| v.iter().copied().map(Dim::constant).collect::<Vec<_>>();
    let channels = columns.shape[1].floor_div(&Dim::constant(elements));
    let planes = columns.shape[0].clone() * channels.clone();
    let apart = [std::slice::from_ref(&planes), fixed(&w.kernel).as_slice(), &fixed(&counts)].concat();
    let mut b = LoopsBuilder::new("col2im");
    let input = b.input_as("columns", columns, &apart);
    let shape = [&[columns.shape[0].clone(), channels], fixed(&w.image).as_slice()].concat();
    let whole = [std::slice::from_ref(&planes), fixed(&w.image).as_slice()].concat();
    let y = b.output_as("y", TensorType::new(columns.dtype, shape), &whole);
    let elem = scalar_of(columns.dtype);
    let narrow = elem.is_float() && elem.size() == 2;
    let sum = if narrow { Scalar::F32 } else { elem };
    let acc = b.variable("acc", if narrow { DType::F32 } else { columns.dtype });
    let ints = |v: &[i64]| v.iter().copied().map(Expr::int).collect::<Vec<_>>();
    let (image, kernel) = (ints(&w.image), ints(&w.kernel));
    let tasks = b.dim(&planes);
    b.parallel("plane", tasks, |c, plane| {
        c.nest(&image, vec![plane], &mut |c, to| {
            c.set(acc, vec![], if narrow { Expr::f32(0.0) } else { number(columns.dtype, 0) });
            c.nest(&kernel, Vec::new(), &mut |c, element| {
                let mut index = vec![to[0].clone()];
                index.extend_from_slice(element);
                let mut counts_here = Expr::Int(1, Scalar::Bool);
                for (axis, k) in element.iter().enumerate() {
                    let from =
                        to[1 + axis].clone() + Expr::int(w.pads[axis].0) - k.clone() * Expr::int(w.dilations[axis]);
                    let from = c.bind_index("from", from);
                    let at = c.bind_index("at", from.clone().floor_div(Expr::int(w.strides[axis])));
                    let tests = [
                        Expr::compare(CompareOp::Eq, at.clone() * Expr::int(w.strides[axis]), from),
                        Expr::compare(CompareOp::Ge, at.clone(), Expr::int(0)),
                        Expr::compare(CompareOp::Lt, at.clone(), Expr::int(counts[axis])),
                    ];
                    counts_here = tests.into_iter().fold(counts_here, |a, b| Expr::binary(BinaryOp::And, a, b));
                    index.push(at);
                }
                c.branch(
                    counts_here,
                    |c| {
                        let value = load(input, index.clone());
                        let value = if sum == elem { value } else { value.convert(sum) };
                        c.set(acc, vec![], read(acc) + value);
                    },
                    |_| {},
                );
            });
            c.store(y, to.to_vec(), if sum == elem { read(acc) } else { read(acc).convert(elem) });
        });
    });
    b.finish()
}
