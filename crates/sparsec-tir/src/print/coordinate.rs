//! Text of kernels of Stage I.

use super::expr::{Names, expr_text, list_text, write_access};
use super::kernel::line;
use crate::{AxisId, AxisKind, CoordinateKernel, IterKind, Iteration, MapId, VarId};

/// The text form of a kernel of Stage I.
#[must_use]
pub fn print_coordinate(kernel: &CoordinateKernel) -> String {
    let mut out = String::new();
    line(&mut out, 0, &format!("kernel {} coordinate ({}) {{", kernel.name, kernel.params.join(", ")));
    for axis in &kernel.axes {
        let kind = match &axis.kind {
            AxisKind::DenseFixed { len } => format!("dense_fixed({})", expr_text(kernel, len)),
            AxisKind::DenseVariable { parent, total } => {
                format!("dense_variable({}, total {total})", axis_name(kernel, *parent))
            }
            AxisKind::SparseFixed { parent, len, width } => {
                format!("sparse_fixed({}, {len}, width {width})", axis_name(kernel, *parent))
            }
            AxisKind::SparseVariable { parent, len, nnz } => {
                format!("sparse_variable({}, {len}, nnz {nnz})", axis_name(kernel, *parent))
            }
        };
        line(&mut out, 1, &format!("axis {} = {kind}", axis.name));
    }
    for map in &kernel.maps {
        line(&mut out, 1, &format!("map {}({}) < {}", map.name, axis_list(kernel, &map.axes), map.len));
    }
    for b in &kernel.buffers {
        let keyword = if b.output { "output" } else { "buffer" };
        let shape = if b.shape.is_empty() { String::new() } else { list_text(kernel, &b.shape) };
        let over = if b.axes.is_empty() { String::new() } else { format!(" over [{}]", axis_list(kernel, &b.axes)) };
        line(&mut out, 1, &format!("{keyword} {}: {}{shape}{over}", b.name, b.elem));
    }
    if !vars_in_order(kernel) {
        line(&mut out, 1, &format!("vars {}", kernel.vars.join(", ")));
    }
    for iteration in &kernel.iterations {
        print_iteration(&mut out, kernel, iteration);
    }
    line(&mut out, 0, "}");
    out
}

fn print_iteration(out: &mut String, kernel: &CoordinateKernel, it: &Iteration) {
    let axes: Vec<String> =
        it.axes.iter().map(|(a, v, _)| format!("{} {}", axis_name(kernel, *a), var_name(kernel, *v))).collect();
    let kinds: String = it.axes.iter().map(|(_, _, k)| if *k == IterKind::Spatial { 'S' } else { 'R' }).collect();
    line(out, 1, &format!("iterate {} [{}] as \"{kinds}\" {{", it.name, axes.join(", ")));
    for (v, m, positions) in &it.coordinates {
        let positions: Vec<String> = positions.iter().map(|v| var_name(kernel, *v)).collect();
        let name = var_name(kernel, *v);
        line(out, 2, &format!("let {name} = {}({})", map_name(kernel, *m), positions.join(", ")));
    }
    line(out, 2, &format!("init {}", expr_text(kernel, &it.init)));
    let mut target = String::new();
    write_access(&mut target, kernel, &it.target, "store");
    line(out, 2, &format!("{target} += {}", expr_text(kernel, &it.value)));
    if let Some(epilogue) = &it.epilogue {
        line(out, 2, &format!("epilogue {}", expr_text(kernel, epilogue)));
    }
    line(out, 1, "}");
}

/// Whether a reader who numbers variables where they are first defined arrives at the same numbers.
fn vars_in_order(kernel: &CoordinateKernel) -> bool {
    let mut next = 0;
    for it in &kernel.iterations {
        let axes = it.axes.iter().map(|(_, v, _)| *v);
        for v in axes.chain(it.coordinates.iter().map(|(v, _, _)| *v)) {
            if v.index() == next {
                next += 1;
            } else if v.index() > next {
                return false;
            }
        }
    }
    next == kernel.vars.len()
}

fn axis_list(kernel: &CoordinateKernel, axes: &[AxisId]) -> String {
    axes.iter().map(|a| axis_name(kernel, *a)).collect::<Vec<_>>().join(", ")
}

fn axis_name(kernel: &CoordinateKernel, id: AxisId) -> String {
    kernel.axes.get(id.0 as usize).map_or_else(|| format!("?axis{}", id.0), |a| a.name.clone())
}

fn map_name(kernel: &CoordinateKernel, id: MapId) -> String {
    kernel.maps.get(id.0 as usize).map_or_else(|| format!("?map{}", id.0), |m| m.name.clone())
}

fn var_name(kernel: &CoordinateKernel, id: VarId) -> String {
    kernel.var(id).map_or_else(|| format!("?var{}", id.0), str::to_owned)
}
