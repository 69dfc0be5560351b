//! Depthwise convolutions: each channel has filters of its own, so there is nothing to share between outputs, and
//! memory decides.
//!
//! A task takes a band of one channel's image ([`Band`]). The elements of a filter stay in registers as broadcast values
//! while vectors run along the rows; several rows are computed at once, since they read the same rows of the input.
//!
//! ```text
//! parallel (channel, band):
//!   band = padded rows of the channel
//!   for each of the channel's outputs m:
//!     w[kh, kw] = values[m, kh, kw]
//!     for rows, R at once; for j in columns step L:
//!       acc[r] = sum over (kh, kw) of w[kh, kw] * band[r*sh + kh*dh, j + kw*dw]
//!       y[m, row + r, j] = f(acc[r])
//! ```
//!
//! Zeros of a filter are multiplied like any element: a multiply-add is cheaper than knowing where they are.

use sparsec_graph::Dim;
use sparsec_tir::{Expr, Scalar, Type, load};

use crate::context::Context;
use crate::kernels::band::Band;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{declare_activations, store_pixel};

/// Filters with more elements are none that a network has, and their code would be long.
const MAX_ELEMENTS: usize = 64;

/// Whether this kernel covers the problem: a group for each channel.
pub(crate) fn covers(p: &WeightProblem, weight: &WeightMatrix) -> bool {
    weight.is_grouped() && weight.group_cols() == p.kernel_size() && p.kernel_size() <= MAX_ELEMENTS
}

/// The kernel and its table.
pub(crate) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Multiplication {
    let [batch, _, rows, cols] = &p.y.shape;
    let band = Band::choose((p.rows, p.cols), [rows.clone(), cols.clone()], p.kernel_size(), target);
    let elements = p.kernel_size();
    let outputs = (p.m / p.channels) as i64;
    let mut c = Context::new("depthwise");
    c.describe(band.describe());
    let a = declare_activations(&mut c, p);
    let scratch = band.declare(&mut c, Scalar::F32);
    let tables = vec![Table::of("values", Scalar::F32, weight.stored().into_owned())];
    let values = declare_tables(&mut c, &tables)[0];
    let image = [p.x.shape[2].clone(), p.x.shape[3].clone()];
    let single = batch.is(1);
    let channels = Expr::int(p.channels as i64);
    band.for_each(&mut c, &(batch.clone() * Dim::constant(p.channels as i64)), |c, task| {
        let (image_of, channel) = if single {
            (Expr::int(0), task.plane.clone())
        } else {
            let image_of = c.bind_index("batch", task.plane.clone().floor_div(channels.clone()));
            (image_of, c.bind_index("channel", task.plane.clone().rem(channels)))
        };
        band.fill(c, task, (scratch, Scalar::F32, &Expr::f32(0.0)), &image, &|row, col| {
            load(a.x, vec![image_of.clone(), channel.clone(), row, col])
        });
        c.serial("i", Expr::int(0), Expr::int(outputs), 1, |c, i| {
            let m = c.bind_index("m", channel.clone() * Expr::int(outputs) + i);
            let filter: Vec<Expr> = (0..elements)
                .map(|e| {
                    let at = m.clone() * Expr::int(elements as i64) + Expr::int(e as i64);
                    c.bind("w", Type::scalar(Scalar::F32), load(values, vec![at]))
                })
                .collect();
            band.compute(
                c,
                task,
                (scratch, Scalar::F32),
                &Expr::f32(0.0),
                &|x, sum, (kh, kw)| Expr::fma(filter[kh * p.cols.kernel + kw].clone(), x, sum),
                &|c, [row, col], sum| store_pixel(c, p, &a, &[image_of.clone(), m.clone(), row, col], sum),
            );
        });
    });
    Multiplication::new(c.finish(), tables)
}
