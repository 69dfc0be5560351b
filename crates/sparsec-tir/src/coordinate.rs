//! Stage I: kernels in coordinate space.
//!
//! Axes, buffers over coordinates, and sparse iterations, as in SparseTIR (Ye et al., ASPLOS 2023). An iteration says
//! *what* is computed for every coordinate; nothing here says in which order or from which arrays. A format
//! decomposition rewrites the axes of the weight into the levels of a format, with maps from positions back to
//! coordinates; it is still Stage I.

use crate::{Access, BufferId, Expr, ParamId, Scalar, VarId};

/// Index into [`CoordinateKernel::axes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisId(pub u32);

/// Index into [`CoordinateKernel::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u32);

/// An axis: a set of coordinates, for an axis with a parent one set per position of the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Unique in the kernel.
    pub name: String,
    /// Its kind.
    pub kind: AxisKind,
}

/// Kinds of axes, with SparseTIR's names.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisKind {
    /// `0..len`.
    DenseFixed {
        /// Extent over params.
        len: Expr,
    },
    /// `0..len(parent)`: a range whose length depends on the parent's position.
    DenseVariable {
        /// The axis whose positions own the ranges.
        parent: AxisId,
        /// Sum of the lengths.
        total: u64,
    },
    /// A fixed number of coordinates out of `0..len` per position of the parent (ELL, N:M).
    SparseFixed {
        /// The axis whose positions own the coordinates.
        parent: AxisId,
        /// Extent of the coordinate space.
        len: u64,
        /// Coordinates per position of the parent.
        width: u32,
    },
    /// Any number of coordinates out of `0..len` per position of the parent (CSR).
    SparseVariable {
        /// The axis whose positions own the coordinates.
        parent: AxisId,
        /// Extent of the coordinate space.
        len: u64,
        /// Number of stored coordinates.
        nnz: u64,
    },
}

/// Whether an iteration's axis keeps its results apart or sums over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IterKind {
    /// `S`: each coordinate has a result of its own.
    Spatial,
    /// `R`: results are summed over the axis.
    Reduction,
}

/// A map from positions of axes to a coordinate, made by a format decomposition: `row(g, r)`, `col(g, r, e)`.
///
/// A position whose coordinate is `len` is padding: iterations pass over it.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinateMap {
    /// Unique in the kernel.
    pub name: String,
    /// The axes whose positions it takes.
    pub axes: Vec<AxisId>,
    /// Extent of the coordinates.
    pub len: u64,
}

/// A buffer over coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinateBuffer {
    /// Unique in the kernel.
    pub name: String,
    /// Element type.
    pub elem: Scalar,
    /// Extents over params. For the weight after decomposition: empty, it is indexed by positions of `axes`.
    pub shape: Vec<Expr>,
    /// The sparse or format axes that index it, for the weight; empty for dense buffers.
    pub axes: Vec<AxisId>,
    /// Whether the kernel writes it.
    pub output: bool,
}

/// One sparse iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Iteration {
    /// Unique in the kernel.
    pub name: String,
    /// Axes with their variables, outermost first.
    pub axes: Vec<(AxisId, VarId, IterKind)>,
    /// Coordinates computed from positions by maps: `let i = row(g, r)`.
    pub coordinates: Vec<(VarId, MapId, Vec<VarId>)>,
    /// What the result starts from, in `target`; over the spatial axes only. An iteration that starts from its target
    /// adds to it, and may visit a result at several positions.
    pub init: Expr,
    /// Where the result goes.
    pub target: Access,
    /// What is summed into it.
    pub value: Expr,
    /// Applied to the sum before it is stored; the sum is `Expr::Load` of `target`. Over the spatial axes only.
    pub epilogue: Option<Expr>,
}

/// A kernel of Stage I.
#[derive(Clone, Debug, PartialEq)]
pub struct CoordinateKernel {
    /// Unique in its program.
    pub name: String,
    /// Names of the `i64` arguments.
    pub params: Vec<String>,
    /// Axes.
    pub axes: Vec<Axis>,
    /// Position-to-coordinate maps.
    pub maps: Vec<CoordinateMap>,
    /// Buffers; [`BufferId`] indexes them.
    pub buffers: Vec<CoordinateBuffer>,
    /// Names of the iterations' variables; [`VarId`] indexes them.
    pub vars: Vec<String>,
    /// What is computed, in order.
    pub iterations: Vec<Iteration>,
}

impl CoordinateKernel {
    /// A kernel without axes.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        CoordinateKernel {
            name: name.into(),
            params: Vec::new(),
            axes: Vec::new(),
            maps: Vec::new(),
            buffers: Vec::new(),
            vars: Vec::new(),
            iterations: Vec::new(),
        }
    }

    /// An axis.
    #[must_use]
    pub fn axis(&self, id: AxisId) -> &Axis {
        &self.axes[id.0 as usize]
    }

    /// A buffer.
    #[must_use]
    pub fn buffer(&self, id: BufferId) -> &CoordinateBuffer {
        &self.buffers[id.index()]
    }

    /// Adds a param and returns its id.
    pub fn add_param(&mut self, name: impl Into<String>) -> ParamId {
        self.params.push(name.into());
        ParamId(self.params.len() as u32 - 1)
    }
}
