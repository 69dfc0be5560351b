//! The rewrite of a kernel, given the levels of the format.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_sparse::{Storage, Stored};

use super::error::DecomposeError;
use super::levels::{Coordinate, Level, LevelKind, Levels, Table, TableAxis};
use crate::{
    Access, Axis, AxisId, AxisKind, BufferId, CoordinateData, CoordinateKernel, CoordinateMap, Expr, IterKind,
    Iteration, MapId, Scalar, VarId, is_identifier, verify_coordinate,
};

/// A kernel whose weight is in a format.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposed {
    /// The kernel, still Stage I.
    pub kernel: CoordinateKernel,
    /// What its axes and maps hold.
    pub data: CoordinateData,
    /// The stored values of the weight in the order of its positions, which is the order of the format in memory.
    pub values: Vec<f32>,
}

/// Rewrites a kernel of Stage I for a weight that is stored in a format. `weight` is its buffer, over an axis of rows
/// and an axis of columns; `data` is what the kernel's other axes and maps hold.
///
/// # Errors
/// [`DecomposeError`] when the kernel is invalid, the stored matrix has another shape, or the weight is used otherwise
/// than as `W[i, j]` by one iteration, `i` spatial and `j` summed over.
pub fn decompose_format(
    kernel: &CoordinateKernel,
    data: &CoordinateData,
    weight: BufferId,
    stored: &Stored<f32>,
) -> Result<Decomposed, DecomposeError> {
    verify_coordinate(kernel).map_err(DecomposeError::Invalid)?;
    let place = Place::find(kernel, weight)?;
    let found = (stored.rows() as u64, stored.cols() as u64);
    if place.shape != found {
        return Err(DecomposeError::Shape { kernel: kernel.name.clone(), expected: place.shape, found });
    }
    let reason = "the entries of the hyb matrix do not lie in steps of the length rounding";
    let levels = Levels::of(stored).ok_or_else(|| DecomposeError::Form { kernel: kernel.name.clone(), reason })?;
    let mut out = kernel.clone();
    let mut data = data.clone();
    let base = out.axes.len();
    for level in &levels.levels {
        let id = AxisId(out.axes.len() as u32);
        out.axes.push(Axis { name: level.name.to_owned(), kind: axis_kind(level.kind, base) });
        data.axes.extend(level.data.clone().map(|d| (id, d)));
    }
    out.buffers[weight.index()].axes = (base..out.axes.len()).map(|a| AxisId(a as u32)).collect();
    let original = kernel.iterations[place.iteration].clone();
    let mut sum = original.clone();
    let vars: Vec<VarId> = level_vars(&mut out, &levels, &place);
    sum.axes = place.axes(&original, &levels.levels, base, &vars);
    for (coordinate, var, name) in [(&levels.row, place.row, "row"), (&levels.col, place.col, "col")] {
        if let Coordinate::Map(table) = coordinate {
            let map = add_map(&mut out, name, table, base);
            data.maps.insert(map, table.data.clone());
            let positions = table.axes.iter().map(|a| vars[a.level()]).collect();
            sum.coordinates.push((var, map, positions));
        }
    }
    let index: Vec<Expr> = vars.iter().map(|v| Expr::Var(*v)).collect();
    sum.value = with_index(&sum.value, weight, &index);
    let parts = if levels.rows_once { vec![sum] } else { in_three(&out, &original, sum) };
    out.iterations.splice(place.iteration..=place.iteration, parts);
    arrange_axes(&mut out, &mut data, place.row_axis, base);
    make_names_unique(&mut out);
    number_vars_in_order(&mut out);
    Ok(Decomposed { kernel: out, data, values: levels.values })
}

/// Where a kernel uses its weight.
struct Place {
    iteration: usize,
    row_axis: AxisId,
    col_axis: AxisId,
    row: VarId,
    col: VarId,
    /// Rows and columns.
    shape: (u64, u64),
}

impl Place {
    fn find(kernel: &CoordinateKernel, weight: BufferId) -> Result<Self, DecomposeError> {
        let refuse = |reason| DecomposeError::Form { kernel: kernel.name.clone(), reason };
        let buffer = kernel.buffers.get(weight.index()).ok_or_else(|| refuse("the weight does not exist"))?;
        let (&[row_axis, col_axis], Scalar::F32) = (&buffer.axes[..], buffer.elem) else {
            return Err(refuse("the weight is not f32 over an axis of rows and one of columns"));
        };
        let extent = |axis: AxisId| match &kernel.axis(axis).kind {
            AxisKind::DenseFixed { len } => len.as_int().and_then(|len| u64::try_from(len).ok()),
            AxisKind::SparseVariable { parent, len, .. } if *parent == row_axis && axis != row_axis => Some(*len),
            _ => None,
        };
        let shape = extent(row_axis).zip(extent(col_axis));
        let shape = shape.ok_or_else(|| refuse("the weight is in a format, or its extents are not constant"))?;
        let mut users = kernel.iterations.iter().enumerate().filter(|(_, it)| reads(it, weight));
        let (Some((iteration, it)), None) = (users.next(), users.next()) else {
            return Err(refuse("the weight is not used by exactly one iteration"));
        };
        let var = |axis, kind| it.axes.iter().find(|(a, _, k)| *a == axis && *k == kind).map(|(_, v, _)| *v);
        let vars = var(row_axis, IterKind::Spatial).zip(var(col_axis, IterKind::Reduction));
        let (row, col) = vars.ok_or_else(|| refuse("the iteration does not sum over the columns for each row"))?;
        let index = [Expr::Var(row), Expr::Var(col)];
        let mut plain = it.coordinates.is_empty();
        it.value.walk(&mut |e| plain &= !matches!(e, Expr::Load(a) if a.buffer == weight && a.index != index));
        it.init.walk(&mut |e| plain &= !is_load(e, weight));
        it.epilogue.iter().for_each(|e| e.walk(&mut |e| plain &= !is_load(e, weight)));
        if !plain {
            return Err(refuse("the weight is not used as an element per row and column alone"));
        }
        Ok(Place { iteration, row_axis, col_axis, row, col, shape })
    }

    /// The iteration's axes with the levels in the place of the weight's.
    fn axes(&self, it: &Iteration, levels: &[Level], base: usize, vars: &[VarId]) -> Vec<(AxisId, VarId, IterKind)> {
        let of = |kind: IterKind| {
            let chosen = levels.iter().zip(vars).enumerate().filter(move |(_, (level, _))| level.iter == kind);
            chosen.map(move |(i, (level, var))| (AxisId((base + i) as u32), *var, level.iter))
        };
        let mut axes = Vec::new();
        for &(axis, var, kind) in &it.axes {
            match axis {
                a if a == self.row_axis => axes.extend(of(IterKind::Spatial)),
                a if a == self.col_axis => axes.extend(of(IterKind::Reduction)),
                _ => axes.push((axis, var, kind)),
            }
        }
        axes
    }
}

impl TableAxis {
    fn level(self) -> usize {
        match self {
            TableAxis::Positions(level) | TableAxis::Coordinates { level, .. } => level,
        }
    }
}

fn is_load(e: &Expr, buffer: BufferId) -> bool {
    matches!(e, Expr::Load(a) if a.buffer == buffer)
}

fn reads(it: &Iteration, buffer: BufferId) -> bool {
    let mut found = false;
    let target = Expr::Load(it.target.clone());
    let exprs = [Some(&it.init), Some(&it.value), it.epilogue.as_ref(), Some(&target)];
    exprs.into_iter().flatten().for_each(|e| e.walk(&mut |e| found |= is_load(e, buffer)));
    found
}

fn axis_kind(kind: LevelKind, base: usize) -> AxisKind {
    let id = |level: usize| AxisId((base + level) as u32);
    match kind {
        LevelKind::DenseFixed { len } => AxisKind::DenseFixed { len: Expr::int(len as i64) },
        LevelKind::DenseVariable { parent, total } => AxisKind::DenseVariable { parent: id(parent), total },
        LevelKind::SparseFixed { parent, len, width } => AxisKind::SparseFixed { parent: id(parent), len, width },
        LevelKind::SparseVariable { parent, len, nnz } => AxisKind::SparseVariable { parent: id(parent), len, nnz },
    }
}

/// A variable for each level: that of the row or column where the level is one, else a new one.
fn level_vars(kernel: &mut CoordinateKernel, levels: &Levels, place: &Place) -> Vec<VarId> {
    let of = |coordinate: &Coordinate, level| matches!(coordinate, Coordinate::Level(l) if *l == level);
    let mut vars = Vec::new();
    for (i, level) in levels.levels.iter().enumerate() {
        vars.push(if of(&levels.row, i) {
            place.row
        } else if of(&levels.col, i) {
            place.col
        } else {
            kernel.vars.push(level.var.to_owned());
            VarId(kernel.vars.len() as u32 - 1)
        });
    }
    vars
}

fn add_map(kernel: &mut CoordinateKernel, name: &str, table: &Table, base: usize) -> MapId {
    let axes = table.axes.iter().map(|axis| match *axis {
        TableAxis::Positions(level) => AxisId((base + level) as u32),
        TableAxis::Coordinates { level, len } => {
            let name = format!("{}_all", kernel.axes[base + level].name);
            kernel.axes.push(Axis { name, kind: AxisKind::DenseFixed { len: Expr::int(len as i64) } });
            AxisId(kernel.axes.len() as u32 - 1)
        }
    });
    let axes = axes.collect();
    kernel.maps.push(CoordinateMap { name: name.to_owned(), axes, len: table.len });
    MapId(kernel.maps.len() as u32 - 1)
}

fn with_index(e: &Expr, weight: BufferId, index: &[Expr]) -> Expr {
    match e {
        Expr::Load(a) if a.buffer == weight => Expr::Load(Access { index: index.to_vec(), ..a.clone() }),
        _ => e.map_children(&mut |e| with_index(e, weight, index)),
    }
}

/// Initial values for all rows, sums for the rows that are there, epilogue for all rows.
fn in_three(kernel: &CoordinateKernel, original: &Iteration, mut sum: Iteration) -> Vec<Iteration> {
    let elem = kernel.buffer(original.target.buffer).elem;
    let zero = if elem.is_float() { Expr::Float(0.0, elem) } else { Expr::Int(0, elem) };
    let result = Expr::Load(original.target.clone());
    let mut all = original.clone();
    all.axes.retain(|(_, _, kind)| *kind == IterKind::Spatial);
    all.value = zero;
    let name = |part: &str| format!("{}_{part}", original.name);
    let first = Iteration { name: name("init"), epilogue: None, ..all.clone() };
    sum.init = result.clone();
    let epilogue = sum.epilogue.take();
    let last = epilogue.map(|e| Iteration { name: name("epilogue"), init: result, epilogue: Some(e), ..all });
    [first, sum].into_iter().chain(last).collect()
}

/// Removes the axes that nothing needs any more and puts those from `base` on behind the axis of rows, so that a
/// kernel whose axes are the format's already stays as it is.
fn arrange_axes(kernel: &mut CoordinateKernel, data: &mut CoordinateData, rows: AxisId, base: usize) {
    let mut used: BTreeSet<AxisId> = BTreeSet::new();
    used.extend(kernel.buffers.iter().flat_map(|b| &b.axes));
    used.extend(kernel.maps.iter().flat_map(|m| &m.axes));
    used.extend(kernel.iterations.iter().flat_map(|it| it.axes.iter().map(|(a, _, _)| a)));
    // Parents come before their children.
    for (i, axis) in kernel.axes.iter().enumerate().rev() {
        if used.contains(&AxisId(i as u32)) {
            used.extend(parent(&axis.kind));
        }
    }
    let split = (rows.0 as usize + 1).min(base);
    let order = (0..split).chain(base..kernel.axes.len()).chain(split..base).map(|a| AxisId(a as u32));
    let order: Vec<AxisId> = order.filter(|a| used.contains(a)).collect();
    let ids: BTreeMap<AxisId, AxisId> = order.iter().enumerate().map(|(new, old)| (*old, AxisId(new as u32))).collect();
    kernel.axes = order.iter().map(|a| kernel.axis(*a).clone()).collect();
    let renew = |id: &mut AxisId| *id = ids.get(id).copied().unwrap_or(*id);
    for axis in &mut kernel.axes {
        match &mut axis.kind {
            AxisKind::DenseFixed { .. } => {}
            AxisKind::DenseVariable { parent, .. }
            | AxisKind::SparseFixed { parent, .. }
            | AxisKind::SparseVariable { parent, .. } => renew(parent),
        }
    }
    kernel.buffers.iter_mut().flat_map(|b| &mut b.axes).for_each(renew);
    kernel.maps.iter_mut().flat_map(|m| &mut m.axes).for_each(renew);
    kernel.iterations.iter_mut().flat_map(|it| &mut it.axes).for_each(|(a, _, _)| renew(a));
    let old = std::mem::take(&mut data.axes);
    data.axes = old.into_iter().filter_map(|(id, d)| Some((*ids.get(&id)?, d))).collect();
}

fn parent(kind: &AxisKind) -> Option<AxisId> {
    match kind {
        AxisKind::DenseFixed { .. } => None,
        AxisKind::DenseVariable { parent, .. }
        | AxisKind::SparseFixed { parent, .. }
        | AxisKind::SparseVariable { parent, .. } => Some(*parent),
    }
}

fn make_names_unique(kernel: &mut CoordinateKernel) {
    let named = kernel.params.iter().chain(kernel.buffers.iter().map(|b| &b.name));
    let mut taken: BTreeSet<String> = named.cloned().collect();
    kernel.vars.iter_mut().for_each(|name| make_unique(&mut taken, name));
    taken.clear();
    kernel.axes.iter_mut().for_each(|axis| make_unique(&mut taken, &mut axis.name));
    taken.clear();
    kernel.maps.iter_mut().for_each(|map| make_unique(&mut taken, &mut map.name));
    taken.clear();
    kernel.iterations.iter_mut().for_each(|it| make_unique(&mut taken, &mut it.name));
}

fn make_unique(taken: &mut BTreeSet<String>, name: &mut String) {
    let stem = name.clone();
    let mut number = 1;
    while !is_identifier(name) || !taken.insert(name.clone()) {
        *name = format!("{stem}{number}");
        number += 1;
    }
}

/// Numbers variables in the order in which iterations define them and drops those that none defines.
fn number_vars_in_order(kernel: &mut CoordinateKernel) {
    let mut ids: BTreeMap<VarId, VarId> = BTreeMap::new();
    for it in &kernel.iterations {
        let axes = it.axes.iter().map(|(_, v, _)| *v);
        for v in axes.chain(it.coordinates.iter().map(|(v, _, _)| *v)) {
            let next = VarId(ids.len() as u32);
            ids.entry(v).or_insert(next);
        }
    }
    let mut names = vec![String::new(); ids.len()];
    for (old, new) in &ids {
        names[new.index()].clone_from(&kernel.vars[old.index()]);
    }
    kernel.vars = names;
    let renew = |v: &mut VarId| *v = ids.get(v).copied().unwrap_or(*v);
    for it in &mut kernel.iterations {
        it.axes.iter_mut().for_each(|(_, v, _)| renew(v));
        for (v, _, positions) in &mut it.coordinates {
            renew(v);
            positions.iter_mut().for_each(renew);
        }
        it.init = renumbered(&it.init, &ids);
        it.value = renumbered(&it.value, &ids);
        it.epilogue = it.epilogue.as_ref().map(|e| renumbered(e, &ids));
        it.target = it.target.map_children(&mut |e| renumbered(e, &ids));
    }
}

fn renumbered(e: &Expr, ids: &BTreeMap<VarId, VarId>) -> Expr {
    match e {
        Expr::Var(v) => Expr::Var(ids.get(v).copied().unwrap_or(*v)),
        _ => e.map_children(&mut |e| renumbered(e, ids)),
    }
}
