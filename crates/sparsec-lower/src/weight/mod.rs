//! Linear layers and convolutions with constant weights.

mod bitmap;
mod blocks;
mod bytes;
mod columns;
mod dense;
mod depthwise;
mod geometry;
mod level;
mod matrix;
mod nm;
mod outputs;
mod pairs;
mod patches;
mod problem;
mod rows;
mod spmv;
mod spmv_nm;
mod sums;
pub(crate) mod tables;
mod team;
mod tensor;
mod tile;

pub(crate) use bytes::{ByteFilter, ByteMatrix, convolve_bytes, multiply_bytes};
pub(crate) use matrix::WeightMatrix;
pub(crate) use problem::{View, WeightProblem, Window};
pub(crate) use tables::Table;
pub(crate) use tile::{LINE, LINES_AHEAD, epilogue_value};

use sparsec_sparse::{Format, FormatError};

use crate::context::BuiltKernel;
use crate::schedule::Schedule;
use crate::target::TargetInfo;

/// A kernel, and the constants that follow the activations among its buffers: `x, y, args..., tables...`.
pub(crate) struct Multiplication {
    pub(crate) kernel: BuiltKernel,
    pub(crate) tables: Vec<Table>,
    /// The schedule, then others that are possible; empty where there is nothing to choose.
    pub(crate) schedules: Vec<Schedule>,
}

impl Multiplication {
    /// A kernel with nothing to choose.
    pub(crate) fn new(kernel: BuiltKernel, tables: Vec<Table>) -> Self {
        Multiplication { kernel, tables, schedules: Vec::new() }
    }

    /// The same, with its schedule and others.
    pub(crate) fn with_schedules(mut self, own: Schedule, others: impl IntoIterator<Item = Schedule>) -> Self {
        self.schedules = vec![own];
        for other in others {
            if !self.schedules.contains(&other) {
                self.schedules.push(other);
            }
        }
        self
    }
}

/// Whether a bitmap is in it somewhere.
fn holds_bitmap(format: &Format) -> bool {
    match format {
        Format::Pruned(inner) => holds_bitmap(inner),
        other => *other == Format::Bitmap,
    }
}

/// Why a weight has no kernel.
pub(crate) enum NoKernel {
    /// It does not fit its format.
    Format(FormatError),
    /// The format is not for this product.
    Unsupported(&'static str),
}

impl From<FormatError> for NoKernel {
    fn from(error: FormatError) -> Self {
        NoKernel::Format(error)
    }
}

/// The kernel of a weight in a format.
pub(crate) fn multiply(
    mut problem: WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Result<Multiplication, NoKernel> {
    problem.density = weight.density(format);
    problem.flatten();
    if holds_bitmap(format) {
        return bitmap::lower(&problem, weight, format, target).map_err(NoKernel::Unsupported);
    }
    if *format == Format::Dense && !weight.is_grouped() && outputs::covers(&problem, target) {
        return Ok(outputs::lower(&problem, weight, target));
    }
    let single = [0, 2, 3].iter().all(|&i| problem.y.shape[i].is(1));
    if single && problem.kernel_size() == 1 {
        return Ok(spmv::lower(&problem, weight, format, target)?);
    }
    if let Some(product) = team::lower(&problem, weight, format, target) {
        return Ok(product);
    }
    if let Some(product) = tensor::lower(&problem, weight, format, target) {
        return Ok(product);
    }
    if depthwise::covers(&problem, weight) {
        return Ok(depthwise::lower(&problem, weight, target));
    }
    if *format == Format::Dense
        && !weight.is_grouped()
        && let Some(product) = dense::lower(&problem, weight, target)
    {
        return Ok(product);
    }
    Ok(match format {
        Format::Hyb { .. } | Format::Bsr { r: 1, .. } => rows::lower(&problem, weight, target),
        Format::Nm { n, m } => nm::lower(&problem, weight, (*n as usize, *m as usize), target)?,
        _ => blocks::lower(&problem, weight, format, target)?,
    })
}
