//! Stage I.

use std::collections::BTreeSet;

use super::{Errors, VerifyErrors, types};
use crate::{
    AxisKind, Buffer, BufferKind, CoordinateKernel, Expr, IterKind, Iteration, Kernel, Stage, Type, Var, VarId,
    print::expr_text,
};

/// Verifies a kernel of Stage I.
///
/// # Errors
/// Everything in the module's list that doesn't hold.
pub fn verify_coordinate(kernel: &CoordinateKernel) -> Result<(), VerifyErrors> {
    let mut errors = Errors::new(&kernel.name);
    errors.check(crate::is_identifier(&kernel.name), &kernel.name, "is no identifier");
    let names = kernel.params.iter().chain(&kernel.vars).chain(kernel.buffers.iter().map(|b| &b.name));
    errors.names(names.map(String::as_str));
    errors.names(kernel.axes.iter().map(|a| a.name.as_str()));
    errors.names(kernel.maps.iter().map(|m| m.name.as_str()));
    errors.names(kernel.iterations.iter().map(|i| i.name.as_str()));
    let typed = as_kernel(kernel);
    for (i, axis) in kernel.axes.iter().enumerate() {
        match &axis.kind {
            AxisKind::DenseFixed { len } => over_params(&mut errors, &typed, &axis.name, len),
            AxisKind::DenseVariable { parent, .. }
            | AxisKind::SparseFixed { parent, .. }
            | AxisKind::SparseVariable { parent, .. } => {
                errors.check((parent.0 as usize) < i, &axis.name, "its parent does not come before it");
            }
        }
    }
    let exists = |axes: &[crate::AxisId]| axes.iter().all(|a| (a.0 as usize) < kernel.axes.len());
    for map in &kernel.maps {
        errors.check(exists(&map.axes), &map.name, "an axis does not exist");
    }
    for b in &kernel.buffers {
        errors.check(exists(&b.axes), &b.name, "an axis does not exist");
        errors.check(b.axes.is_empty() || b.shape.is_empty(), &b.name, "has both a shape and axes");
        for d in &b.shape {
            over_params(&mut errors, &typed, &b.name, d);
        }
    }
    for it in &kernel.iterations {
        iteration(&mut errors, kernel, &typed, it);
    }
    errors.finish()
}

/// The same names, for types of expressions.
fn as_kernel(kernel: &CoordinateKernel) -> Kernel {
    let mut out = Kernel::new(kernel.name.clone(), Stage::Position);
    out.params.clone_from(&kernel.params);
    for b in &kernel.buffers {
        let shape = if b.axes.is_empty() { b.shape.clone() } else { vec![Expr::int(0); b.axes.len()] };
        let kind = if b.output { BufferKind::Output } else { BufferKind::Input };
        out.buffers.push(Buffer { name: b.name.clone(), elem: b.elem, kind, shape, strides: Vec::new() });
    }
    out.vars = kernel.vars.iter().map(|v| Var { name: v.clone(), ty: Type::INDEX }).collect();
    out
}

fn over_params(errors: &mut Errors, typed: &Kernel, place: &str, e: &Expr) {
    let mut fits = true;
    e.walk(&mut |e| fits &= matches!(e, Expr::Int(..) | Expr::Param(_) | Expr::Binary(..)));
    errors.check(fits, place, "an extent is no expression over params");
    match types::type_of(typed, e) {
        Ok(ty) => errors.check(ty == Type::INDEX, place, "an extent is no i64"),
        Err(error) => errors.push(place, error),
    }
}

fn iteration(errors: &mut Errors, kernel: &CoordinateKernel, typed: &Kernel, it: &Iteration) {
    let place = it.name.as_str();
    let mut bound = BTreeSet::new();
    let mut spatial = BTreeSet::new();
    for (axis, var, kind) in &it.axes {
        errors.check((axis.0 as usize) < kernel.axes.len(), place, "an axis does not exist");
        errors.check(var.index() < kernel.vars.len(), place, "a variable does not exist");
        errors.check(bound.insert(*var), place, "a variable is bound twice");
        if *kind == IterKind::Spatial {
            spatial.insert(*var);
        }
    }
    for (var, map, positions) in &it.coordinates {
        let rank = kernel.maps.get(map.0 as usize).map(|m| m.axes.len());
        errors.check(rank == Some(positions.len()), place, "a map does not get one variable per axis");
        errors.check(positions.iter().all(|p| bound.contains(p)), place, "a map gets a variable that is not bound");
        errors.check(var.index() < kernel.vars.len(), place, "a variable does not exist");
        if positions.iter().all(|p| spatial.contains(p)) {
            spatial.insert(*var);
        }
        errors.check(bound.insert(*var), place, "a variable is bound twice");
    }
    let target = kernel.buffers.get(it.target.buffer.index());
    errors.check(target.is_some_and(|b| b.output), place, "the target is no output");
    errors.check(target.is_some_and(|b| b.axes.is_empty()), place, "the target has axes");
    let ty = Type::scalar(target.map_or(crate::Scalar::F32, |b| b.elem));
    let target = Expr::Load(it.target.clone());
    let exprs = [(Some(&it.init), true), (Some(&target), true), (Some(&it.value), false), (it.epilogue.as_ref(), true)];
    for (e, spatial_only) in exprs {
        let Some(e) = e else { continue };
        let allowed = if spatial_only { &spatial } else { &bound };
        value(errors, typed, place, e, ty, allowed);
    }
}

fn value(errors: &mut Errors, typed: &Kernel, place: &str, e: &Expr, ty: Type, allowed: &BTreeSet<VarId>) {
    let text = expr_text(typed, e);
    match types::type_of(typed, e) {
        Ok(found) => errors.check(found == ty, place, format!("`{text}` is {found}, {ty} expected")),
        Err(error) => errors.push(place, error),
    }
    let (mut one_element, mut known) = (true, true);
    e.walk(&mut |e| match e {
        Expr::Load(a) => one_element &= a.lanes == 1 && a.active.is_none(),
        Expr::Var(v) => known &= allowed.contains(v),
        Expr::Reg(..) | Expr::Gather(..) => one_element = false,
        _ => {}
    });
    errors.check(one_element, place, format!("`{text}` touches more than single elements"));
    errors.check(known, place, format!("`{text}` uses a variable that it may not"));
}
