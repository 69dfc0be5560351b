//! Text of expressions.

use std::fmt::Write;

use crate::{
    Access, BinaryOp, BufferId, CompareOp, CoordinateKernel, Expr, Kernel, ParamId, RegisterId, Scalar, VarId,
};

/// Where the names of entities come from.
pub(crate) trait Names {
    fn var(&self, id: VarId) -> Option<&str>;
    fn param(&self, id: ParamId) -> Option<&str>;
    fn buffer(&self, id: BufferId) -> Option<(&str, Scalar)>;
    fn register(&self, id: RegisterId) -> Option<&str>;
}

impl Names for Kernel {
    fn var(&self, id: VarId) -> Option<&str> {
        self.vars.get(id.index()).map(|v| v.name.as_str())
    }

    fn param(&self, id: ParamId) -> Option<&str> {
        self.params.get(id.index()).map(String::as_str)
    }

    fn buffer(&self, id: BufferId) -> Option<(&str, Scalar)> {
        self.buffers.get(id.index()).map(|b| (b.name.as_str(), b.elem))
    }

    fn register(&self, id: RegisterId) -> Option<&str> {
        self.registers.get(id.index()).map(|r| r.name.as_str())
    }
}

impl Names for CoordinateKernel {
    fn var(&self, id: VarId) -> Option<&str> {
        self.vars.get(id.index()).map(String::as_str)
    }

    fn param(&self, id: ParamId) -> Option<&str> {
        self.params.get(id.index()).map(String::as_str)
    }

    fn buffer(&self, id: BufferId) -> Option<(&str, Scalar)> {
        self.buffers.get(id.index()).map(|b| (b.name.as_str(), b.elem))
    }

    fn register(&self, _: RegisterId) -> Option<&str> {
        None
    }
}

/// The text of an expression. Names that don't exist show as `?` with a number.
pub(crate) fn expr_text(names: &dyn Names, expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, names, expr, 0);
    out
}

/// The text of an access.
pub(crate) fn access_text(names: &dyn Names, access: &Access) -> String {
    let mut out = String::new();
    write_access(&mut out, names, access, "load");
    out
}

/// The text of a list in brackets.
pub(crate) fn list_text(names: &dyn Names, items: &[Expr]) -> String {
    let mut out = String::new();
    write_list(&mut out, names, items);
    out
}

/// `buf[i, j]` for an element; `keyword.f32x8 buf[i] active n padded` otherwise.
pub(crate) fn write_access(out: &mut String, names: &dyn Names, access: &Access, keyword: &str) {
    let (name, elem) = match names.buffer(access.buffer) {
        Some((name, elem)) => (name.to_owned(), elem),
        None => (format!("?buffer{}", access.buffer.0), Scalar::F32),
    };
    let plain = access.lanes == 1 && access.active.is_none();
    if !plain {
        push(out, format_args!("{keyword}.{} ", crate::Type::vector(elem, access.lanes)));
    }
    out.push_str(&name);
    write_list(out, names, &access.index);
    if let Some(active) = &access.active {
        out.push_str(" active ");
        write_expr(out, names, active, POSTFIX);
    }
    if access.padded {
        out.push_str(" padded");
    }
}

/// Binding strengths: comparison, sum, product, call.
const SUM: u8 = 1;
const PRODUCT: u8 = 2;
const POSTFIX: u8 = 3;

/// Writes an expression, in parentheses where it binds less than `min`.
fn write_expr(out: &mut String, names: &dyn Names, expr: &Expr, min: u8) {
    match expr {
        Expr::Int(0, Scalar::Bool) => out.push_str("false"),
        Expr::Int(1, Scalar::Bool) => out.push_str("true"),
        Expr::Int(v, Scalar::I64) => push(out, format_args!("{v}")),
        Expr::Int(v, s) => push(out, format_args!("{v}{s}")),
        Expr::Float(v, s) => write_float(out, *v, *s),
        Expr::Var(v) => match names.var(*v) {
            Some(name) => out.push_str(name),
            None => push(out, format_args!("?var{}", v.0)),
        },
        Expr::Param(p) => match names.param(*p) {
            Some(name) => out.push_str(name),
            None => push(out, format_args!("?param{}", p.0)),
        },
        Expr::Reg(r, index) => {
            match names.register(*r) {
                Some(name) => out.push_str(name),
                None => push(out, format_args!("?register{}", r.0)),
            }
            if !index.is_empty() {
                write_list(out, names, index);
            }
        }
        Expr::Load(access) => write_access(out, names, access, "load"),
        Expr::Gather(b, index) => {
            match names.buffer(*b) {
                Some((name, _)) => push(out, format_args!("gather({name}, ")),
                None => push(out, format_args!("gather(?buffer{}, ", b.0)),
            }
            write_expr(out, names, index, 0);
            out.push(')');
        }
        Expr::Unary(op, x) => write_call(out, names, op.name(), &[x]),
        Expr::Binary(op, x, y) => match infix(*op) {
            Some((symbol, strength)) => write_infix(out, names, symbol, x, y, strength, min),
            None => write_call(out, names, op.name(), &[x, y]),
        },
        Expr::Compare(op, x, y) => write_infix(out, names, compare_symbol(*op), x, y, 0, min),
        Expr::Select(c, x, y) => write_call(out, names, "select", &[c, x, y]),
        Expr::Fma(x, y, z) => write_call(out, names, "fma", &[x, y, z]),
        Expr::Dot4 { acc, a, b } => write_call(out, names, "dot4", &[acc, a, b]),
        Expr::Convert(to, x) => write_call(out, names, &format!("convert.{to}"), &[x]),
        Expr::Bitcast(to, x) => write_call(out, names, &format!("bitcast.{to}"), &[x]),
        Expr::Splat(x, lanes) => write_call(out, names, &format!("splat.{lanes}"), &[x]),
        Expr::Ramp { base, step, lanes } => {
            write_call(out, names, &format!("ramp.{lanes}"), &[base, &Expr::int(*step)]);
        }
        Expr::Shuffle(x, lanes) => {
            out.push_str("shuffle(");
            write_expr(out, names, x, 0);
            push(out, format_args!(", {lanes:?})"));
        }
        Expr::Extract(x, lane) => write_call(out, names, "extract", &[x, &Expr::int((*lane).into())]),
        Expr::Reduce(op, x) => write_call(out, names, op.name(), &[x]),
    }
}

fn write_call(out: &mut String, names: &dyn Names, name: &str, operands: &[&Expr]) {
    out.push_str(name);
    out.push('(');
    for (i, e) in operands.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_expr(out, names, e, 0);
    }
    out.push(')');
}

fn write_infix(out: &mut String, names: &dyn Names, symbol: &str, x: &Expr, y: &Expr, strength: u8, min: u8) {
    let parentheses = strength < min;
    if parentheses {
        out.push('(');
    }
    // Sums and products associate to the left, comparisons not at all.
    write_expr(out, names, x, strength.max(SUM));
    push(out, format_args!(" {symbol} "));
    write_expr(out, names, y, strength + 1);
    if parentheses {
        out.push(')');
    }
}

fn write_list(out: &mut String, names: &dyn Names, items: &[Expr]) {
    out.push('[');
    for (i, e) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_expr(out, names, e, 0);
    }
    out.push(']');
}

/// Shortest digits that read back as the same `f64`.
fn write_float(out: &mut String, v: f64, s: Scalar) {
    let special = if v.is_nan() {
        "nan"
    } else if v.is_infinite() {
        if v > 0.0 { "inf" } else { "-inf" }
    } else {
        ""
    };
    match (special, s) {
        ("", Scalar::F32) => push(out, format_args!("{v:?}")),
        ("", _) => push(out, format_args!("{v:?}{s}")),
        (_, Scalar::F32) => out.push_str(special),
        _ => push(out, format_args!("{special}_{s}")),
    }
}

fn infix(op: BinaryOp) -> Option<(&'static str, u8)> {
    match op {
        BinaryOp::Add => Some(("+", SUM)),
        BinaryOp::Sub => Some(("-", SUM)),
        BinaryOp::Mul => Some(("*", PRODUCT)),
        BinaryOp::Div => Some(("/", PRODUCT)),
        BinaryOp::Rem => Some(("%", PRODUCT)),
        _ => None,
    }
}

pub(crate) fn compare_symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = out.write_fmt(text);
}
