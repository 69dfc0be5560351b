//! Stage I of the kernels of constant weights: what they compute, before a schedule says how.
//!
//! Kernels are scheduled in Stage II by hand, a family of formats at a time (`weight/`). Stage I is the statement that
//! they must agree with: dumps show it, and tests interpret all three stages and compare. It is made on demand; a
//! compilation that asks for no dumps does not pay for it.

mod problem;

use sparsec_graph::Dim;
use sparsec_sparse::{Format, FormatError, Stored};
use sparsec_tir::{CoordinateData, CoordinateKernel, Decomposed, Scalar, decompose_format};

use crate::error::LowerError;
use crate::weight::{WeightMatrix, WeightProblem};

pub(crate) use problem::{Coordinates, WEIGHT, coordinate_kernel};

/// Stage I of a launch.
#[derive(Clone, Debug)]
pub struct CoordinateDump {
    /// What is computed: `weight`, `x`, `y` and the epilogue's operands over coordinates, wherever they lie in memory.
    pub kernel: CoordinateKernel,
    /// The pattern of the weight.
    pub data: CoordinateData,
    /// The weight's entries in the order of the pattern.
    pub values: Vec<f32>,
    /// The same kernel with the weight in its format, and what the format's axes hold.
    pub decomposed: Decomposed,
    /// The values of both kernels' params.
    pub params: Vec<Dim>,
}

impl CoordinateDump {
    /// Stage I of the weight `tensor` in a format; none where the result is not `f32`, since a sum has its target's
    /// type.
    pub(crate) fn of(
        problem: &WeightProblem,
        weight: &WeightMatrix,
        format: &Format,
        tensor: &str,
    ) -> Result<Option<CoordinateDump>, LowerError> {
        if problem.y.elem != Scalar::F32 {
            return Ok(None);
        }
        let refuse = |source: FormatError| LowerError::Format { tensor: tensor.to_owned(), source };
        let Coordinates { kernel, data, values, params } = coordinate_kernel(problem, weight).map_err(refuse)?;
        let stored = Stored::encode(format, weight.outputs(), weight.cols(), &weight.dense()).map_err(refuse)?;
        let decomposed = decompose_format(&kernel, &data, WEIGHT, &stored)
            .map_err(|e| LowerError::Invalid { kernel: problem.name.clone(), reason: e.to_string() })?;
        Ok(Some(CoordinateDump { kernel, data, values, decomposed, params }))
    }
}
