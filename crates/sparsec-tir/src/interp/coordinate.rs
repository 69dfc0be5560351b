//! Stage I: every coordinate, in order.

use std::collections::BTreeMap;

use super::{
    BufferData, InterpError,
    compile::Compiler,
    eval::{Machine, eval_int},
    lane,
    node::{Memory, Node},
};
use crate::{
    AxisId, AxisKind, BinaryOp, Buffer, BufferKind, CoordinateKernel, Expr, IterKind, Iteration, Kernel, MapId, Scalar,
    Stage, Type, Var,
};

/// The data of an axis with a parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AxisData {
    /// First position for each position of the parent, and the end of the last. Empty for `sparse_fixed`.
    pub indptr: Vec<u64>,
    /// Coordinates of the positions, ascending within a parent's. Empty for `dense_variable`.
    pub indices: Vec<u64>,
}

/// What the axes and maps of a kernel of Stage I hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoordinateData {
    /// Data of every axis with a parent.
    pub axes: BTreeMap<AxisId, AxisData>,
    /// Coordinates of every map, in the order of the positions of its axes.
    pub maps: BTreeMap<MapId, Vec<u64>>,
}

/// Runs a kernel of Stage I. `buffers` are its buffers in order; those over axes hold their entries by position.
///
/// Spatial axes may not depend on reduction axes.
///
/// # Errors
/// When arguments don't fit the kernel, an expression has no type, or an access is out of bounds.
pub fn run_coordinate(
    kernel: &CoordinateKernel,
    params: &[i64],
    data: &CoordinateData,
    buffers: &mut [BufferData],
) -> Result<(), InterpError> {
    if params.len() != kernel.params.len() || buffers.len() != kernel.buffers.len() {
        return Err(InterpError::Arguments {
            kernel: kernel.name.clone(),
            params: kernel.params.len(),
            buffers: kernel.buffers.len(),
        });
    }
    let entries = Entries { kernel, params, data };
    let loads = kernel_of_loads(kernel, buffers);
    for iteration in &kernel.iterations {
        let sparse = kernel.buffers.iter().map(|b| !b.axes.is_empty()).collect();
        let mut compiler = Compiler::new(&loads, sparse);
        let elem = Type::scalar(kernel.buffers.get(iteration.target.buffer.index()).map_or(Scalar::F32, |b| b.elem));
        let target = compiler.memory(&iteration.target)?;
        let value = compiler.expr_to(&iteration.value, elem)?;
        let init = compiler.expr_to(&iteration.init, elem)?;
        // The epilogue reads the sum by loading the target: the sum is stored first.
        let epilogue = iteration.epilogue.as_ref().map(|e| compiler.expr_to(e, elem)).transpose()?;
        let code = compiler.finish(Vec::new());
        let mut machine = Machine::new(&loads, &code, params, buffers)?;
        machine.entries = Some(entries);
        let run = Run { entries, iteration, elem: elem.scalar, init, target, value, epilogue, slots: code.var_slots };
        let result = run.axes(&mut machine, IterKind::Spatial, 0);
        machine.give_back(buffers);
        result?;
    }
    Ok(())
}

/// A kernel with the same params, buffers and variables, for compiling expressions.
fn kernel_of_loads(kernel: &CoordinateKernel, given: &[BufferData]) -> Kernel {
    let mut out = Kernel::new(kernel.name.clone(), Stage::Position);
    out.params = kernel.params.clone();
    for (b, data) in kernel.buffers.iter().zip(given) {
        // Entries of buffers over axes are found by position: one dimension.
        let shape = if b.axes.is_empty() { b.shape.clone() } else { vec![Expr::int(data.len() as i64); b.axes.len()] };
        let strides = if b.axes.len() > 1 {
            let mut strides = vec![Expr::int(0); b.axes.len()];
            strides[0] = Expr::int(1);
            strides
        } else {
            Vec::new()
        };
        out.buffers.push(Buffer { name: b.name.clone(), elem: b.elem, kind: BufferKind::Output, shape, strides });
    }
    out.vars = kernel.vars.iter().map(|v| Var { name: v.clone(), ty: Type::INDEX }).collect();
    out
}

/// One iteration that runs.
struct Run<'a> {
    entries: Entries<'a>,
    iteration: &'a Iteration,
    elem: Scalar,
    init: Node,
    target: Memory,
    value: Node,
    epilogue: Option<Node>,
    slots: usize,
}

impl Run<'_> {
    /// Loops over the axes of a kind from number `from` on; inside the last spatial one, sums over the others.
    fn axes(&self, m: &mut Machine<'_>, kind: IterKind, from: usize) -> Result<(), InterpError> {
        let next = (from..self.iteration.axes.len()).find(|i| self.iteration.axes[*i].2 == kind);
        let Some(i) = next else {
            return match kind {
                IterKind::Spatial => self.spatial_point(m),
                IterKind::Reduction => self.reduction_point(m),
            };
        };
        let (axis, var, _) = self.iteration.axes[i];
        for coordinate in self.entries.coordinates(axis, |a| self.position_of(m, a, kind))? {
            m.vars[var.index() * self.slots] = coordinate;
            self.axes(m, kind, i + 1)?;
        }
        Ok(())
    }

    fn spatial_point(&self, m: &mut Machine<'_>) -> Result<(), InterpError> {
        if !self.coordinates(m, IterKind::Spatial)? {
            return Ok(());
        }
        let init = m.scalar(&self.init)?;
        m.store(&self.target, init)?;
        self.axes(m, IterKind::Reduction, 0)?;
        if let Some(epilogue) = &self.epilogue {
            let value = m.scalar(epilogue)?;
            m.store(&self.target, value)?;
        }
        Ok(())
    }

    fn reduction_point(&self, m: &mut Machine<'_>) -> Result<(), InterpError> {
        if !self.coordinates(m, IterKind::Reduction)? {
            return Ok(());
        }
        let value = m.scalar(&self.value)?;
        let sum = m.load(&self.target)?;
        m.store(&self.target, lane::binary(BinaryOp::Add, self.elem, sum, value))
    }

    /// Computes the coordinates that maps give: those of spatial positions, or the others. Whether all positions have
    /// one; padding has none and is passed over.
    fn coordinates(&self, m: &mut Machine<'_>, kind: IterKind) -> Result<bool, InterpError> {
        for (var, map, positions) in &self.iteration.coordinates {
            let spatial =
                positions.iter().all(|p| self.iteration.axes.iter().any(|(_, v, k)| v == p && *k == IterKind::Spatial));
            if spatial != (kind == IterKind::Spatial) {
                continue;
            }
            let index: Vec<i64> = positions.iter().map(|p| m.vars[p.index() * self.slots] as i64).collect();
            let coordinate = self.entries.map(*map, &index)?;
            if self.entries.kernel.maps.get(map.0 as usize).is_none_or(|m| coordinate >= m.len) {
                return Ok(false);
            }
            m.vars[var.index() * self.slots] = coordinate;
        }
        Ok(true)
    }

    /// The coordinate that the iteration's variable of an axis has now.
    fn position_of(&self, m: &Machine<'_>, axis: AxisId, kind: IterKind) -> Option<i64> {
        let usable = |k: IterKind| k == IterKind::Spatial || kind == IterKind::Reduction;
        let (_, var, _) = self.iteration.axes.iter().find(|(a, _, k)| *a == axis && usable(*k))?;
        Some(m.vars[var.index() * self.slots] as i64)
    }
}

/// Where the entries of a kernel's axes lie.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    kernel: &'a CoordinateKernel,
    params: &'a [i64],
    data: &'a CoordinateData,
}

impl Entries<'_> {
    /// The position of an entry of a buffer over axes; none where there is no such entry.
    pub(super) fn find(&self, buffer: usize, index: &[i64]) -> Result<Option<u64>, InterpError> {
        let axes = self.kernel.buffers.get(buffer).map(|b| b.axes.as_slice()).unwrap_or_default();
        self.position(axes, index)
    }

    fn map(&self, map: MapId, index: &[i64]) -> Result<u64, InterpError> {
        let Some(m) = self.kernel.maps.get(map.0 as usize) else { return self.fail("a map that doesn't exist") };
        let position = self.position(&m.axes, index)?;
        let found = self.data.maps.get(&map).zip(position).and_then(|(d, p)| d.get(p as usize)).copied();
        found.map_or_else(|| self.fail(&format!("map `{}` has no position {index:?}", m.name)), Ok)
    }

    /// The position of a tuple of coordinates. Ranges that depend on an axis further out than the one just before
    /// are stored for each position of the axes between.
    fn position(&self, axes: &[AxisId], index: &[i64]) -> Result<Option<u64>, InterpError> {
        let mut positions: Vec<u64> = Vec::new();
        for (k, (axis, i)) in axes.iter().zip(index).enumerate() {
            let before = positions.last().copied().unwrap_or(0);
            let Ok(i) = u64::try_from(*i) else { return Ok(None) };
            let position = match self.parent(*axis) {
                None => {
                    let len = self.len(*axis)?;
                    if i >= len {
                        return Ok(None);
                    }
                    before * len + i
                }
                Some(parent) => {
                    let Some(p) = axes[..k].iter().position(|a| *a == parent) else {
                        return self.fail("an axis without its parent");
                    };
                    let between: u64 = axes[p + 1..k].iter().map(|a| self.len(*a)).product::<Result<u64, _>>()?;
                    let (start, end) = self.range(*axis, positions[p])?;
                    let Some(offset) = self.offset(*axis, start, end, i)? else { return Ok(None) };
                    let local = before - positions[p] * between;
                    start * between + local * (end - start) + offset
                }
            };
            positions.push(position);
        }
        Ok(positions.last().copied())
    }

    /// The coordinates of an axis, given those of the axes that it depends on.
    fn coordinates(&self, axis: AxisId, of: impl Fn(AxisId) -> Option<i64>) -> Result<Vec<u64>, InterpError> {
        let Some(parent) = self.parent(axis) else { return Ok((0..self.len(axis)?).collect()) };
        let mut chain = vec![parent];
        while let Some(p) = chain.last().and_then(|a| self.parent(*a)) {
            chain.push(p);
            if chain.len() > self.kernel.axes.len() {
                return self.fail("axes that are their own parents");
            }
        }
        chain.reverse();
        let Some(index) = chain.iter().map(|a| of(*a)).collect::<Option<Vec<i64>>>() else {
            return self.fail("an axis that depends on one further in, or on a reduction axis");
        };
        let Some(position) = self.position(&chain, &index)? else { return Ok(Vec::new()) };
        let (start, end) = self.range(axis, position)?;
        if matches!(self.kernel.axis(axis).kind, AxisKind::DenseVariable { .. }) {
            return Ok((0..end - start).collect());
        }
        let indices = self.data.axes.get(&axis).and_then(|d| d.indices.get(start as usize..end as usize));
        indices.map_or_else(|| self.fail("an axis without its indices"), |i| Ok(i.to_vec()))
    }

    fn parent(&self, axis: AxisId) -> Option<AxisId> {
        match self.kernel.axes.get(axis.0 as usize)?.kind {
            AxisKind::DenseFixed { .. } => None,
            AxisKind::DenseVariable { parent, .. }
            | AxisKind::SparseFixed { parent, .. }
            | AxisKind::SparseVariable { parent, .. } => Some(parent),
        }
    }

    fn len(&self, axis: AxisId) -> Result<u64, InterpError> {
        match self.kernel.axes.get(axis.0 as usize).map(|a| &a.kind) {
            Some(AxisKind::DenseFixed { len }) => match eval_int(len, self.params).map(u64::try_from) {
                Some(Ok(len)) => Ok(len),
                _ => self.fail("the length of an axis is no expression over params"),
            },
            _ => self.fail("a variable axis between an axis and its parent"),
        }
    }

    /// The positions of an axis that belong to a position of its parent.
    fn range(&self, axis: AxisId, parent: u64) -> Result<(u64, u64), InterpError> {
        if let AxisKind::SparseFixed { width, .. } = self.kernel.axis(axis).kind {
            return Ok((parent * u64::from(width), (parent + 1) * u64::from(width)));
        }
        let indptr = self.data.axes.get(&axis).map(|d| d.indptr.as_slice()).unwrap_or_default();
        match indptr.get(parent as usize..parent as usize + 2) {
            Some([start, end]) if start <= end => Ok((*start, *end)),
            _ => self.fail(&format!("axis `{}` has no range {parent}", self.kernel.axis(axis).name)),
        }
    }

    /// How far into its parent's positions a coordinate lies.
    fn offset(&self, axis: AxisId, start: u64, end: u64, i: u64) -> Result<Option<u64>, InterpError> {
        if matches!(self.kernel.axis(axis).kind, AxisKind::DenseVariable { .. }) {
            return Ok((i < end - start).then_some(i));
        }
        let indices = self.data.axes.get(&axis).and_then(|d| d.indices.get(start as usize..end as usize));
        match indices {
            Some(indices) => Ok(indices.iter().position(|c| *c == i).map(|p| p as u64)),
            None => self.fail("an axis without its indices"),
        }
    }

    fn fail<T>(&self, reason: &str) -> Result<T, InterpError> {
        Err(InterpError::Unsupported { kernel: self.kernel.name.clone(), reason: reason.to_owned() })
    }
}
