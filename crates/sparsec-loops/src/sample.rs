//! Elements at places that are computed: `GridSample`, and the columns of `DeformConv`.
//!
//! Along each axis a coordinate becomes a few elements and their weights; a value is the sum over the product of the axes.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, TensorType, scalar_of};
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, RegisterId, Scalar, Type, UnaryOp, load};

use crate::read;

/// What a sample is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleMode {
    /// The nearest element, halves to even.
    Nearest,
    /// Two neighbours along each axis.
    Linear,
    /// Four neighbours along each axis.
    Cubic,
}

/// What lies outside of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Zeros.
    Zeros,
    /// The nearest element.
    Border,
    /// The tensor mirrored at its border.
    Reflection,
}

/// How a grid is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// What a sample is made of.
    pub mode: SampleMode,
    /// What lies outside.
    pub outside: Outside,
    /// Whether -1 and 1 are the centres of the outermost elements, or their outer edges.
    pub align_corners: bool,
}

impl Sampling {
    fn taps(self) -> (i64, u32) {
        match self.mode {
            SampleMode::Nearest => (0, 1),
            SampleMode::Linear => (0, 2),
            SampleMode::Cubic => (-1, 4),
        }
    }

    /// First and last coordinate of the tensor along an axis of `len` elements.
    fn borders(self, len: &Expr) -> (Expr, Expr) {
        let (f, len) = (Expr::f32, len.clone().convert(Scalar::F32));
        if self.align_corners { (f(0.0), len - f(1.0)) } else { (f(-0.5), len - f(0.5)) }
    }
}

/// The elements of each axis that count, in registers.
struct Taps {
    how: Sampling,
    axes: usize,
    index: RegisterId,
    weight: RegisterId,
}

impl Taps {
    fn declare(b: &mut LoopsBuilder, axes: usize, how: Sampling) -> Self {
        let dims = vec![axes as u32, how.taps().1];
        let index = b.register("index", Type::scalar(Scalar::I64), dims.clone());
        Taps { how, axes, index, weight: b.register("weight", Type::scalar(Scalar::F32), dims) }
    }

    /// Fills in one axis.
    fn set(&self, c: &mut KernelContext, axis: usize, at: Expr, len: &Expr) {
        let (first, last) = self.how.borders(len);
        let end = len.clone() - Expr::int(1);
        let at = if self.how.mode == SampleMode::Nearest { Expr::unary(UnaryOp::Round, at) } else { at };
        let at = c.bind("at", Type::scalar(Scalar::F32), at);
        let at = match self.how.outside {
            Outside::Zeros => at,
            Outside::Border => {
                let clamped = at.clone().max(Expr::f32(0.0)).min(end.clone().convert(Scalar::F32));
                Expr::select(within(&at, &first, &last), at, clamped)
            }
            Outside::Reflection => reflected(c, at, &first, &last),
        };
        let at = c.bind("at", Type::scalar(Scalar::F32), at);
        let before = Expr::unary(UnaryOp::Floor, at.clone());
        let before = c.bind("before", Type::scalar(Scalar::F32), before);
        let ratio = c.bind("ratio", Type::scalar(Scalar::F32), at - before.clone());
        let (start, taps) = self.how.taps();
        for t in 0..i64::from(taps) {
            let place = c.bind("place", Type::scalar(Scalar::F32), before.clone() + Expr::f32((start + t) as f64));
            let weight = self.weight(ratio.clone() - Expr::f32((start + t) as f64));
            let inside = within(&place, &Expr::f32(0.0), &end.clone().convert(Scalar::F32));
            let slot = vec![Expr::int(axis as i64), Expr::int(t)];
            let (place, weight) = match self.how.outside {
                Outside::Zeros => (place, Expr::select(inside, weight, Expr::f32(0.0))),
                Outside::Border => (place, weight),
                Outside::Reflection => (reflected(c, place, &first, &last), weight),
            };
            let place = place.convert(Scalar::I64).max(Expr::int(0)).min(end.clone());
            c.set(self.index, slot.clone(), place);
            c.set(self.weight, slot, weight);
        }
    }

    /// The weight of an element at this distance.
    fn weight(&self, distance: Expr) -> Expr {
        let (f, d) = (Expr::f32, Expr::unary(UnaryOp::Abs, distance));
        match self.how.mode {
            SampleMode::Nearest => f(1.0),
            SampleMode::Linear => f(1.0) - d,
            SampleMode::Cubic => {
                let a = -0.75;
                let near = ((f(a + 2.0) * d.clone() - f(a + 3.0)) * d.clone()) * d.clone() + f(1.0);
                let far = ((f(a) * d.clone() - f(5.0 * a)) * d.clone() + f(8.0 * a)) * d.clone() - f(4.0 * a);
                Expr::select(Expr::compare(CompareOp::Le, d, f(1.0)), near, far)
            }
        }
    }

    /// The sum over all taps of the buffer's elements, whose first indices are `lead`.
    fn sum(&self, c: &mut KernelContext, acc: RegisterId, x: (BufferId, Scalar), lead: &[Expr]) {
        c.set(acc, vec![], Expr::f32(0.0));
        self.add(c, acc, x, &mut lead.to_vec(), None, self.axes);
    }

    fn add(
        &self,
        c: &mut KernelContext,
        acc: RegisterId,
        x: (BufferId, Scalar),
        index: &mut Vec<Expr>,
        weight: Option<Expr>,
        left: usize,
    ) {
        let axis = self.axes - left;
        if left == 0 {
            let value = load(x.0, index.clone());
            let value = if x.1 == Scalar::F32 { value } else { value.convert(Scalar::F32) };
            c.set(acc, vec![], Expr::fma(weight.unwrap_or(Expr::f32(1.0)), value, read(acc)));
            return;
        }
        for t in 0..i64::from(self.how.taps().1) {
            let slot = vec![Expr::int(axis as i64), Expr::int(t)];
            index.push(Expr::Reg(self.index, slot.clone()));
            let own = Expr::Reg(self.weight, slot);
            let product = match &weight {
                Some(weight) => c.bind("w", Type::scalar(Scalar::F32), weight.clone() * own),
                None => own,
            };
            self.add(c, acc, x, index, Some(product), left - 1);
            index.pop();
        }
    }
}

fn within(at: &Expr, first: &Expr, last: &Expr) -> Expr {
    let above = Expr::compare(CompareOp::Ge, at.clone(), first.clone());
    Expr::binary(BinaryOp::And, above, Expr::compare(CompareOp::Le, at.clone(), last.clone()))
}

/// A coordinate mirrored at the borders until it lies between them.
fn reflected(c: &mut KernelContext, at: Expr, first: &Expr, last: &Expr) -> Expr {
    let float = Type::scalar(Scalar::F32);
    let range = c.bind("range", float, last.clone() - first.clone());
    let below = Expr::compare(CompareOp::Lt, at.clone(), first.clone());
    let beyond = Expr::select(below.clone(), first.clone() - at.clone(), at.clone() - last.clone());
    let beyond = c.bind("beyond", float, beyond);
    let safe = range.clone().max(Expr::f32(f64::from(f32::MIN_POSITIVE)));
    let times = c.bind("times", float, Expr::unary(UnaryOp::Floor, Expr::binary(BinaryOp::Div, beyond.clone(), safe)));
    let rest = c.bind("rest", float, beyond - times.clone() * range);
    let half = c.bind("half", float, times.clone() * Expr::f32(0.5));
    let even = Expr::compare(CompareOp::Eq, Expr::unary(UnaryOp::Floor, half.clone()), half);
    let even = c.bind("even", Type::scalar(Scalar::Bool), even);
    let (up, down) = (first.clone() + rest.clone(), last.clone() - rest);
    let low = Expr::select(even.clone(), up.clone(), down.clone());
    let high = Expr::select(even, down, up);
    Expr::select(within(&at, first, last), at, Expr::select(below, low, high))
}

/// `x` `[n, c, spatial...]` at the places that `grid` `[n, out..., axes]` holds, from -1 to 1, the last axis first. (ONNX
/// `GridSample`.)
#[must_use]
pub fn grid_sample(x: &TensorType, grid: &TensorType, how: Sampling) -> LoopsSpec {
    let axes = x.rank().saturating_sub(2);
    let points = grid.shape.get(1..=axes).unwrap_or_default().to_vec();
    let mut b = LoopsBuilder::new("grid_sample");
    let input = b.input("x", x);
    let count = Dim::product(&points);
    let (n, channels) = (x.shape[0].clone(), x.shape[1].clone());
    let place = b.input_as("grid", grid, &[n.clone(), count.clone(), Dim::constant(axes as i64)]);
    let shape = [&[n.clone(), channels.clone()], points.as_slice()].concat();
    let y = b.output_as("y", TensorType::new(x.dtype, shape), &[n.clone(), channels.clone(), count.clone()]);
    let taps = Taps::declare(&mut b, axes, how);
    let acc = b.variable("acc", DType::F32);
    let extents = b.dims(&x.shape);
    let elem = scalar_of(x.dtype);
    let tasks = b.dim(&(n * count.clone()));
    let (count, channels) = (b.dim(&count), b.dim(&channels));
    b.parallel("task", tasks, |c, task| {
        let image = c.bind_index("image", task.clone().floor_div(count.clone()));
        let point = c.bind_index("point", task.rem(count));
        for axis in 0..axes {
            let value = load(place, vec![image.clone(), point.clone(), Expr::int((axes - 1 - axis) as i64)]);
            let value = if grid.dtype == DType::F32 { value } else { value.convert(Scalar::F32) };
            let len = extents[2 + axis].clone();
            let (f, float) = (Expr::f32, len.clone().convert(Scalar::F32));
            let at = if how.align_corners {
                (value + f(1.0)) * f(0.5) * (float - f(1.0))
            } else {
                ((value + f(1.0)) * float - f(1.0)) * f(0.5)
            };
            taps.set(c, axis, at, &len);
        }
        c.serial("channel", Expr::int(0), channels, 1, |c, channel| {
            taps.sum(c, acc, (input, elem), &[image.clone(), channel.clone()]);
            let value = if elem == Scalar::F32 { read(acc) } else { read(acc).convert(elem) };
            c.store(y, vec![image, channel, point], value);
        });
    });
    b.finish()
}

/// The window of a deformable convolution; one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeformWindow {
    /// Kernel extents.
    pub kernel: Vec<i64>,
    /// Distance between windows.
    pub strides: Vec<i64>,
    /// Zeros before.
    pub pads: Vec<i64>,
    /// Distance between kernel elements.
    pub dilations: Vec<i64>,
    /// Groups of channels that share offsets.
    pub offset_groups: i64,
}

/// The columns that a deformable convolution multiplies: `[n, c * kernel elements, out...]` from x `[n, c, spatial...]`, offsets
/// `[n, groups * kernel elements * axes, out...]` and, where there is one, a mask `[n, groups * kernel elements, out...]`.
#[must_use]
pub fn deform_columns(x: &TensorType, offset: &TensorType, mask: Option<&TensorType>, w: &DeformWindow) -> LoopsSpec {
    let axes = w.kernel.len();
    let elements: i64 = w.kernel.iter().product();
    let how = Sampling { mode: SampleMode::Linear, outside: Outside::Zeros, align_corners: true };
    let (n, channels) = (x.shape[0].clone(), x.shape[1].clone());
    let out = offset.shape.get(2..).unwrap_or_default().to_vec();
    let c_dim = Dim::constant;
    let mut b = LoopsBuilder::new("deform_columns");
    let input = b.input("x", x);
    let split = |per: i64| [&[n.clone(), c_dim(w.offset_groups), c_dim(elements), c_dim(per)], out.as_slice()].concat();
    let moved = b.input_as("offset", offset, &split(axes as i64));
    let mask = mask.map(|m| (b.input_as("mask", m, &split(1)), scalar_of(m.dtype)));
    let mut shape = vec![n.clone(), channels.clone() * c_dim(elements)];
    shape.extend_from_slice(&out);
    let apart = [&[n.clone(), channels.clone(), c_dim(elements)], out.as_slice()].concat();
    let y = b.output_as("y", TensorType::new(x.dtype, shape), &apart);
    let taps = Taps::declare(&mut b, axes, how);
    let acc = b.variable("acc", DType::F32);
    let extents = b.dims(&x.shape);
    let outputs = b.dims(&out);
    let (elem, offset_elem) = (scalar_of(x.dtype), scalar_of(offset.dtype));
    let float = |e: Expr, from: Scalar| if from == Scalar::F32 { e } else { e.convert(Scalar::F32) };
    let per_group = channels.floor_div(&c_dim(w.offset_groups));
    let (tasks, per_image) = (b.dim(&(n * channels.clone())), b.dim(&channels));
    let per_group = b.dim(&per_group);
    let kernel: Vec<Expr> = w.kernel.iter().map(|&k| Expr::int(k)).collect();
    b.parallel("task", tasks, |c, task| {
        let image = c.bind_index("image", task.clone().floor_div(per_image.clone()));
        let channel = c.bind_index("channel", task.rem(per_image));
        let group = c.bind_index("group", channel.clone().floor_div(per_group));
        c.nest(&kernel, Vec::new(), &mut |c, element| {
            let number = element.iter().zip(&kernel).fold(Expr::int(0), |at, (e, k)| at * k.clone() + e.clone());
            let number = c.bind_index("element", number);
            c.nest(&outputs, Vec::new(), &mut |c, to| {
                let at = |lead: &[Expr]| [lead, to].concat();
                for axis in 0..axes {
                    let place = to[axis].clone() * Expr::int(w.strides[axis])
                        + element[axis].clone() * Expr::int(w.dilations[axis])
                        - Expr::int(w.pads[axis]);
                    let lead = [image.clone(), group.clone(), number.clone(), Expr::int(axis as i64)];
                    let by = float(load(moved, at(&lead)), offset_elem);
                    taps.set(c, axis, place.convert(Scalar::F32) + by, &extents[2 + axis]);
                }
                taps.sum(c, acc, (input, elem), &[image.clone(), channel.clone()]);
                let mut value = read(acc);
                if let Some((mask, of)) = mask {
                    let lead = [image.clone(), group.clone(), number.clone(), Expr::int(0)];
                    value = value * float(load(mask, at(&lead)), of);
                }
                let value = if elem == Scalar::F32 { value } else { value.convert(elem) };
                c.store(y, at(&[image.clone(), channel.clone(), number.clone()]), value);
            });
        });
    });
    b.finish()
}
