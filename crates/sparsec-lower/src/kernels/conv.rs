//! Convolutions of two activations, of any element type and any number of spatial axes: nothing is packed.
//!
//! ```text
//! parallel image, output, first spatial axis
//!   for the other axes, and vectors of the last one:
//!     for channel, kernel element:   acc += w[output, channel, element] * x[image, channel, position]
//! ```
//!
//! Constant `f32` weights have kernels of their own, in `weight`; this one is for what is left.

use sparsec_graph::{ConvAttrs, Dim, ScalarExpr};
use sparsec_tir::{BinaryOp, BufferId, BufferKind, CompareOp, Expr, Scalar, Type, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::gemm::multiply_add;
use crate::kernels::map::converted;
use crate::scalar::{constant, emit_scalar};
use crate::target::TargetInfo;

/// A tensor of a convolution: element type and extents.
pub(crate) type Shaped = (Scalar, Vec<Dim>);

/// A convolution.
pub(crate) struct PlainConv<'a> {
    pub(crate) attrs: &'a ConvAttrs,
    pub(crate) x: Shaped,
    pub(crate) w: Shaped,
    pub(crate) y: Shaped,
    /// What comes behind the weight: a bias, or the zero point of bytes.
    pub(crate) third: Option<Shaped>,
    /// Operands of the epilogue, which broadcast to y.
    pub(crate) args: Vec<Shaped>,
    pub(crate) epilogue: Option<&'a ScalarExpr>,
}

/// The kernel; its arguments are `x, w, third, args..., y`, without the third where there is none.
pub(crate) fn conv_kernel(p: &PlainConv<'_>, target: &TargetInfo) -> BuiltKernel {
    let mut c = Context::new("conv_plain");
    let mut declare = |name: &str, of: &Shaped, kind: BufferKind| {
        let shape = c.dims(&of.1);
        c.buffer(name, of.0, kind, shape, vec![])
    };
    let x = declare("x", &p.x, BufferKind::Input);
    let w = declare("w", &p.w, BufferKind::Input);
    let third = p.third.as_ref();
    let bias = third.filter(|of| !of.1.is_empty()).map(|of| declare("bias", of, BufferKind::Input));
    let zero = third.filter(|of| of.1.is_empty()).map(|of| declare("zero", of, BufferKind::Input));
    let args: Vec<BufferId> =
        p.args.iter().enumerate().map(|(i, a)| declare(&format!("arg{i}"), a, BufferKind::Input)).collect();
    let y = declare("y", &p.y, BufferKind::Output);
    // Sums of 16 bits would lose digits.
    let sum = if p.x.0.is_float() && p.x.0.size() == 2 { Scalar::F32 } else { own_type(p) };
    let lanes = target.lanes;
    let acc = c.register("acc", Type::vector(sum, lanes), vec![]);
    let outer = [p.y.1[0].clone(), p.y.1[1].clone(), p.y.1[2].clone()];
    // With one spatial axis, its vectors are the innermost loop.
    let first = if p.y.1.len() > 3 { outer[2].clone() } else { Dim::constant(1) };
    let per_image = outer[1].clone() * first.clone();
    let tasks = c.dim(&(outer[0].clone() * per_image.clone()));
    let (per_image, first) = (c.dim(&per_image), c.dim(&first));
    let group = Dim::constant(p.attrs.groups);
    let per_group = c.dim(&p.y.1[1].exact_div(&group).unwrap_or_else(|| Dim::constant(1)));
    let (x_shape, w_shape, y_shape) = (c.dims(&p.x.1), c.dims(&p.w.1), c.dims(&p.y.1));
    c.parallel("task", tasks, |c, task| {
        let image = c.bind_index("image", task.clone().floor_div(per_image.clone()));
        let rest = c.bind_index("rest", task.rem(per_image));
        let output = c.bind_index("output", rest.clone().floor_div(first.clone()));
        let row = c.bind_index("row", rest.rem(first));
        let first_channel = c.bind_index("first_channel", output.clone().floor_div(per_group) * w_shape[1].clone());
        let spatial = y_shape.len() - 2;
        let between = &y_shape[(spatial.min(2) + 1)..y_shape.len() - 1];
        let begin = if spatial > 1 { vec![row] } else { Vec::new() };
        let Some(last) = y_shape.last().cloned() else { return };
        c.nest(between, begin, &mut |c, outer| {
            c.serial("j", Expr::int(0), last.clone(), i64::from(lanes), |c, j| {
                let active = last.clone() - j.clone();
                let start = match bias {
                    Some(bias) => converted((load(bias, vec![output.clone()]), p.x.0), sum),
                    None => constant(0.0, sum).0,
                };
                c.vector(lanes, None, |c, _| c.set(acc, vec![], start));
                let mut kernel = vec![w_shape[1].clone()];
                kernel.extend_from_slice(&w_shape[2..]);
                c.nest(&kernel, Vec::new(), &mut |c, at| {
                    let from = Positions { p, x_shape: &x_shape, at, outer };
                    let weight_at: Vec<Expr> = std::iter::once(output.clone()).chain(at.iter().cloned()).collect();
                    let mut index = vec![image.clone(), first_channel.clone() + at[0].clone()];
                    let inside = from.rows(c, &mut index);
                    let accumulate = |c: &mut Context| {
                        let value = c.bind("value", Type::scalar(sum), converted((load(w, weight_at), p.w.0), sum));
                        c.vector(lanes, Some(active.clone()), |c, l| {
                            let (column, inside) = from.column(j.clone() + l);
                            index.push(column);
                            let mut element = converted((load(x, index), p.x.0), sum);
                            if let Some(zero) = zero {
                                element = element - converted((load(zero, vec![]), p.x.0), sum);
                            }
                            if let Some(inside) = inside {
                                element = Expr::select(inside, element, constant(0.0, sum).0);
                            }
                            c.set(acc, vec![], multiply_add(value, element, Expr::Reg(acc, vec![]), sum));
                        });
                    };
                    match inside {
                        Some(inside) => c.branch(inside, accumulate, |_| {}),
                        None => accumulate(c),
                    }
                });
                c.vector(lanes, Some(active.clone()), |c, l| {
                    let mut index = vec![image.clone(), output.clone()];
                    index.extend(outer.iter().cloned());
                    index.push(j.clone() + l);
                    let total = (Expr::Reg(acc, vec![]), sum);
                    let value = finished(c, p, &args, &index, total);
                    c.store(y, index, value);
                });
            });
        });
    });
    c.finish()
}

/// Where the kernel element `at` lies in x, for the outputs of a row.
struct Positions<'a> {
    p: &'a PlainConv<'a>,
    x_shape: &'a [Expr],
    /// Channel and kernel element.
    at: &'a [Expr],
    /// Place of the output along all spatial axes but the last.
    outer: &'a [Expr],
}

impl Positions<'_> {
    fn position(&self, axis: usize, output: Expr) -> Expr {
        let attrs = self.p.attrs;
        let offset = self.at[1 + axis].clone() * Expr::int(attrs.dilations[axis]) - Expr::int(attrs.pads[axis].0);
        output * Expr::int(attrs.strides[axis]) + offset
    }

    /// Whether a position can lie outside of x at all.
    fn padded(&self, axis: usize) -> bool {
        self.p.attrs.pads[axis] != (0, 0)
    }

    fn is_inside(&self, axis: usize, position: &Expr) -> Expr {
        let extent = self.x_shape[2 + axis].clone();
        let above = Expr::compare(CompareOp::Ge, position.clone(), Expr::int(0));
        let below = Expr::compare(CompareOp::Lt, position.clone(), extent);
        Expr::Binary(BinaryOp::And, Box::new(above), Box::new(below))
    }

    /// Appends the positions along all spatial axes but the last; whether they lie inside of x.
    fn rows(&self, c: &mut Context, index: &mut Vec<Expr>) -> Option<Expr> {
        let mut inside: Option<Expr> = None;
        for (axis, output) in self.outer.iter().enumerate() {
            let position = c.bind_index("position", self.position(axis, output.clone()));
            if self.padded(axis) {
                let here = self.is_inside(axis, &position);
                inside = Some(match inside {
                    Some(before) => Expr::Binary(BinaryOp::And, Box::new(before), Box::new(here)),
                    None => here,
                });
            }
            index.push(position);
        }
        inside
    }

    /// The position along the last axis, moved into x, and whether it was there.
    fn column(&self, output: Expr) -> (Expr, Option<Expr>) {
        let axis = self.outer.len();
        let position = self.position(axis, output);
        if !self.padded(axis) {
            return (position, None);
        }
        let last = self.x_shape[2 + axis].clone() - Expr::int(1);
        let inside = self.is_inside(axis, &position);
        (position.min(last).max(Expr::int(0)), Some(inside))
    }
}

/// The type of the convolution's own result, before the epilogue: bytes are added up in `i32`.
fn own_type(p: &PlainConv<'_>) -> Scalar {
    if p.x.0 == p.w.0 { p.x.0 } else { Scalar::I32 }
}

/// What is stored for a sum.
fn finished(c: &mut Context, p: &PlainConv<'_>, args: &[BufferId], index: &[Expr], sum: (Expr, Scalar)) -> Expr {
    let elem = p.y.0;
    let Some(expr) = p.epilogue else { return converted(sum, elem) };
    // The epilogue sees the result in its own type.
    let acc = (converted(sum, own_type(p)), own_type(p));
    let mut loads = |_: &mut Context, i: u32| {
        let (scalar, shape) = &p.args[i as usize];
        let aligned = index[index.len() - shape.len()..].iter().zip(shape);
        let index = aligned.map(|(e, extent)| if extent.is(1) { Expr::int(0) } else { e.clone() }).collect();
        (load(args[i as usize], index), *scalar)
    };
    let value = emit_scalar(c, expr, Some(&acc), &mut loads, elem);
    converted(value, elem)
}
