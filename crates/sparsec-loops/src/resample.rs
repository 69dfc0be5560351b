//! `Resize`: elements between elements, one axis after the other.
//!
//! Interpolation is separable, so each axis that changes is resampled by itself, in two kernels:
//!
//! ```text
//! table:     for each place of the result: which elements count, and how much     index, weight [taps, out]
//! resample:  y[o, j, i] = sum over t of weight[t, j] * x[o, index[t, j], i]
//! ```
//!
//! The table depends on extents alone, so the kernel that reads elements knows nothing of modes.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, TensorType, scalar_of};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp, load};

use crate::{Lines, read};

/// Lanes of vectors: any target splits or pads them.
const LANES: u16 = 8;

/// Where in the axis a place of the result lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// `j / scale`.
    Asymmetric,
    /// `(j + 0.5) / scale - 0.5`.
    HalfPixel,
    /// As half-pixel, about the centre of the axis where `out` is not exactly `len * scale`.
    HalfPixelSymmetric,
    /// As half-pixel, 0 where the result has one element.
    PytorchHalfPixel,
    /// `(j + 0.5) / scale`.
    TfHalfPixel,
    /// `j * (len - 1) / (out - 1)`.
    AlignCorners,
    /// The part from `start` to `end` of the axis, both as shares of it; outside of the axis stands `fill`.
    TfCropAndResize {
        /// First.
        start: f64,
        /// Last.
        end: f64,
        /// The value outside.
        fill: f64,
    },
}

/// Which element is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// Halves go down.
    RoundPreferFloor,
    /// Halves go up.
    RoundPreferCeil,
    /// The one before.
    Floor,
    /// The one behind.
    Ceil,
}

/// How elements make up a value between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// One element.
    Nearest(Nearest),
    /// Two neighbours.
    Linear,
    /// Four neighbours, by Keys' polynomials with this parameter.
    Cubic(f64),
}

/// How an axis is resampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Where.
    pub coordinates: Coordinates,
    /// How.
    pub interpolation: Interpolation,
    /// The scale, where it is given and not what the extents are to each other.
    pub scale: Option<f64>,
    /// The scale by which the filter is widened: below 1 where it has to suppress what the result can't hold.
    pub filter: Option<f64>,
    /// Whether elements outside count nothing, instead of as the nearest inside.
    pub exclude_outside: bool,
}

impl Resampling {
    /// The first element that counts, from the one before the coordinate, and how many do.
    fn taps(&self) -> (i64, i64) {
        let reach = match self.interpolation {
            Interpolation::Nearest(_) => return (0, 1),
            Interpolation::Linear => 1.0,
            Interpolation::Cubic(_) => 2.0,
        };
        let start = (-reach / self.filter.unwrap_or(1.0)).floor() as i64 + 1;
        (start, 2 - 2 * start)
    }

    /// Whether every element counts once: no weights are needed then.
    fn plain(&self) -> bool {
        matches!(self.interpolation, Interpolation::Nearest(_)) && !self.fills()
    }

    fn fills(&self) -> bool {
        matches!(self.coordinates, Coordinates::TfCropAndResize { .. })
    }

    fn weight(&self, distance: Expr) -> Expr {
        let d = Expr::unary(UnaryOp::Abs, distance);
        let f = Expr::f32;
        match self.interpolation {
            Interpolation::Nearest(_) => f(1.0),
            Interpolation::Linear => (f(1.0) - d).max(f(0.0)),
            Interpolation::Cubic(a) => {
                let near = ((f(a + 2.0) * d.clone() - f(a + 3.0)) * d.clone()) * d.clone() + f(1.0);
                let far = ((f(a) * d.clone() - f(5.0 * a)) * d.clone() + f(8.0 * a)) * d.clone() - f(4.0 * a);
                let is = |limit: f64| Expr::compare(CompareOp::Le, d.clone(), f(limit));
                Expr::select(is(1.0), near, Expr::select(is(2.0), far, f(0.0)))
            }
        }
    }
}

/// The table of an axis of `len` elements that becomes one of `out`: `i32 [taps, out]` elements, and unless every element counts
/// once, `f32 [taps, out]` weights and `f32 [out]` what is added.
#[must_use]
pub fn resample_table(len: &Dim, out: &Dim, how: &Resampling) -> LoopsSpec {
    let (start, taps) = how.taps();
    let mut b = LoopsBuilder::new("resample_table");
    let shape = vec![Dim::constant(taps), out.clone()];
    let index = b.output("index", TensorType::new(DType::I32, shape.clone()));
    let weights = (!how.plain()).then(|| {
        let weight = b.output("weight", TensorType::new(DType::F32, shape));
        (weight, b.output("added", TensorType::new(DType::F32, vec![out.clone()])))
    });
    let sum = b.variable("sum", DType::F32);
    let (len, count) = (b.dim(len), b.dim(out));
    b.serial("j", Expr::int(0), count.clone(), 1, |c, j| {
        let at = coordinate(how, j.clone(), &len, &count);
        let at = c.bind("at", Type::scalar(Scalar::F32), at);
        let last = len.clone() - Expr::int(1);
        let clamped = |place: Expr| place.max(Expr::int(0)).min(last.clone()).convert(Scalar::I32);
        if let Interpolation::Nearest(mode) = how.interpolation {
            let place = nearest(mode, at.clone()).convert(Scalar::I64);
            c.store(index, vec![Expr::int(0), j.clone()], clamped(place));
            let Some((weight, added)) = weights else { return };
            let (inside, fill) = inside(how, &at, &last);
            let one = Expr::select(inside.clone(), Expr::f32(1.0), Expr::f32(0.0));
            c.store(weight, vec![Expr::int(0), j.clone()], one);
            c.store(added, vec![j], Expr::select(inside, Expr::f32(0.0), fill));
            return;
        }
        let Some((weight, added)) = weights else { return };
        let before = c.bind("before", Type::scalar(Scalar::F32), Expr::unary(UnaryOp::Floor, at.clone()));
        let ratio = c.bind("ratio", Type::scalar(Scalar::F32), at.clone() - before.clone());
        let before = c.bind_index("before", before.convert(Scalar::I64));
        c.set(sum, vec![], Expr::f32(0.0));
        let (inside, fill) = inside(how, &at, &last);
        let inside = c.bind("inside", Type::scalar(Scalar::Bool), inside);
        c.serial("t", Expr::int(0), Expr::int(taps), 1, |c, t| {
            let offset = t.clone() + Expr::int(start);
            let place = c.bind_index("place", before + offset.clone());
            let distance = (offset.convert(Scalar::F32) - ratio) * Expr::f32(how.filter.unwrap_or(1.0));
            let mut counts = inside.clone();
            if how.exclude_outside {
                let low = Expr::compare(CompareOp::Ge, place.clone(), Expr::int(0));
                let high = Expr::compare(CompareOp::Le, place.clone(), last.clone());
                counts = Expr::binary(BinaryOp::And, counts, Expr::binary(BinaryOp::And, low, high));
            }
            let value = Expr::select(counts, how.weight(distance), Expr::f32(0.0));
            let value = c.bind("value", Type::scalar(Scalar::F32), value);
            c.set(sum, vec![], read(sum) + value.clone());
            c.store(index, vec![t.clone(), j.clone()], clamped(place));
            c.store(weight, vec![t, j.clone()], value);
        });
        if how.exclude_outside || how.filter.is_some() {
            c.serial("t", Expr::int(0), Expr::int(taps), 1, |c, t| {
                let value = load(weight, vec![t.clone(), j.clone()]);
                let share = Expr::binary(BinaryOp::Div, value.clone(), read(sum));
                c.store(weight, vec![t, j.clone()], Expr::select(inside.clone(), share, value));
            });
        }
        c.store(added, vec![j], Expr::select(inside, Expr::f32(0.0), fill));
    });
    b.finish()
}

/// Whether a coordinate lies in the axis, as far as that matters, and what stands there if not.
fn inside(how: &Resampling, at: &Expr, last: &Expr) -> (Expr, Expr) {
    let Coordinates::TfCropAndResize { fill, .. } = how.coordinates else {
        return (Expr::Int(1, Scalar::Bool), Expr::f32(0.0));
    };
    let low = Expr::compare(CompareOp::Ge, at.clone(), Expr::f32(0.0));
    let high = Expr::compare(CompareOp::Le, at.clone(), last.clone().convert(Scalar::F32));
    (Expr::binary(BinaryOp::And, low, high), Expr::f32(fill))
}

fn nearest(mode: Nearest, at: Expr) -> Expr {
    match mode {
        Nearest::RoundPreferFloor => Expr::unary(UnaryOp::Ceil, at - Expr::f32(0.5)),
        Nearest::RoundPreferCeil => Expr::unary(UnaryOp::Floor, at + Expr::f32(0.5)),
        Nearest::Floor => Expr::unary(UnaryOp::Floor, at),
        Nearest::Ceil => Expr::unary(UnaryOp::Ceil, at),
    }
}

fn coordinate(how: &Resampling, j: Expr, len: &Expr, out: &Expr) -> Expr {
    let f = Expr::f32;
    let float = |e: &Expr| e.clone().convert(Scalar::F32);
    let div = |a: Expr, b: Expr| Expr::binary(BinaryOp::Div, a, b);
    let (j, len, exact) = (j.convert(Scalar::F32), float(len), float(out));
    let scale = how.scale.map_or_else(|| div(exact.clone(), len.clone()), f);
    // What the result's extent would be if it could be fractional.
    let width = how.scale.map_or_else(|| exact.clone(), |s| f(s) * len.clone());
    let single = Expr::compare(CompareOp::Le, exact.clone(), f(1.0));
    let half_pixel = div(j.clone() + f(0.5), scale.clone()) - f(0.5);
    match how.coordinates {
        Coordinates::Asymmetric => div(j, scale),
        Coordinates::HalfPixel => half_pixel,
        Coordinates::HalfPixelSymmetric => len * f(0.5) * (f(1.0) - div(exact, width)) + half_pixel,
        Coordinates::PytorchHalfPixel => Expr::select(single, f(0.0), half_pixel),
        Coordinates::TfHalfPixel => div(j + f(0.5), scale),
        Coordinates::AlignCorners => {
            Expr::select(single, f(0.0), div(j * (len - f(1.0)), (width - f(1.0)).max(f(f64::from(f32::MIN_POSITIVE)))))
        }
        Coordinates::TfCropAndResize { start, end, .. } => {
            let last = len - f(1.0);
            let along = div(j * f(end - start) * last.clone(), (exact - f(1.0)).max(f(1.0)));
            Expr::select(single, f(0.5 * (start + end)) * last.clone(), along + f(start) * last)
        }
    }
}

/// `x` with `out` elements along `axis`, by the table of [`resample_table`]; operands: x and its results.
#[must_use]
pub fn resample(x: &TensorType, axis: usize, out: &Dim, how: &Resampling) -> LoopsSpec {
    let (_, taps) = how.taps();
    let lines = Lines::along(x, axis);
    let mut shape = x.shape.clone();
    if let Some(extent) = shape.get_mut(axis) {
        extent.clone_from(out);
    }
    let elem = scalar_of(x.dtype);
    let mut b = LoopsBuilder::new("resample");
    let input = b.input_as("x", x, &lines.shape());
    let table = [Dim::constant(taps), out.clone()];
    let index = b.input("index", &TensorType::new(DType::I32, table.to_vec()));
    let weights = (!how.plain()).then(|| {
        let weight = b.input("weight", &TensorType::new(DType::F32, table.to_vec()));
        (weight, b.input("added", &TensorType::new(DType::F32, vec![out.clone()])))
    });
    let y = b.output_as("y", TensorType::new(x.dtype, shape), &lines.shape_with(out.clone()));
    let sum = if elem == Scalar::F64 { Scalar::F64 } else { Scalar::F32 };
    let acc = weights.map(|_| b.register("acc", Type::vector(sum, LANES), vec![]));
    let (outer, count, inner) = (b.dim(&lines.outer), b.dim(out), b.dim(&lines.inner));
    let to = |e: Expr, from: Scalar, to: Scalar| if from == to { e } else { e.convert(to) };
    let lanes = i64::from(LANES);
    // One vector of results; `place` and `table` say where the lanes read.
    let vector = |c: &mut KernelContext, active: Expr, at: &dyn Fn(Expr) -> (Expr, [Expr; 3])| {
        let place = |t: Expr, j: Expr| load(index, vec![t, j]).convert(Scalar::I64);
        let Some(((weight, added), acc)) = weights.zip(acc) else {
            c.vector(LANES, Some(active), |c, l| {
                let (j, [o, to, i]) = at(l);
                c.store(y, vec![o.clone(), to, i.clone()], load(input, vec![o, place(Expr::int(0), j), i]));
            });
            return;
        };
        c.vector(LANES, Some(active.clone()), |c, l| {
            let (j, _) = at(l);
            c.set(acc, vec![], to(load(added, vec![j]), Scalar::F32, sum));
        });
        c.serial("t", Expr::int(0), Expr::int(taps), 1, |c, t| {
            c.vector(LANES, Some(active.clone()), |c, l| {
                let (j, [o, _, i]) = at(l);
                let value = to(load(input, vec![o, place(t.clone(), j.clone()), i]), elem, sum);
                let weight = to(load(weight, vec![t, j]), Scalar::F32, sum);
                c.set(acc, vec![], Expr::fma(weight, value, read(acc)));
            });
        });
        c.vector(LANES, Some(active), |c, l| {
            let (_, to_place) = at(l);
            c.store(y, to_place.to_vec(), to(read(acc), sum, elem));
        });
    };
    if lines.inner.is(1) {
        b.parallel("o", outer, |c, o| {
            c.serial("j", Expr::int(0), count.clone(), lanes, |c, j| {
                vector(c, count - j.clone(), &|l| (j.clone() + l.clone(), [o.clone(), j.clone() + l, Expr::int(0)]));
            });
        });
    } else {
        let tasks = b.dim(&(lines.outer.clone() * out.clone()));
        b.parallel("line", tasks, |c, line| {
            let o = c.bind_index("o", line.clone().floor_div(count.clone()));
            let j = c.bind_index("j", line.rem(count));
            c.serial("i", Expr::int(0), inner.clone(), lanes, |c, i| {
                vector(c, inner - i.clone(), &|l| (j.clone(), [o.clone(), j.clone(), i.clone() + l]));
            });
        });
    }
    b.finish()
}
