//! Fusion of element-wise chains: into one [`Op::Map`], and into the epilogue of a contraction or convolution.
//!
//! A producer is fused only when the consumer accounts for all of its uses, so nothing is computed twice; and only
//! when both have the same shape, so nothing is computed once per broadcast copy. Expressions keep their operands in
//! order, so fused and unfused graphs round alike.

use egg::Id;
use sparsec_graph::{BinaryOp, DType, Epilogue, Op, ScalarExpr};

use super::{Equal, Rule};
use crate::egraph::{EGraph, add_op, ops_of, shape};
use crate::lang::OpInfo;

pub(super) const RULES: [Rule; 2] = [
    Rule { name: "fuse-map", from: Op::is_elementwise, offer: fuse_map },
    Rule { name: "fuse-epilogue", from: Op::is_elementwise, offer: fuse_epilogue },
];

/// A fused chain holds at most this many scalar operations; longer ones would run out of vector registers.
const MAX_OPERATIONS: usize = 24;

/// Scalar operations of an epilogue that may be repeated, as in `mul(x, sigmoid(x))` with `x = add(acc, bias)`.
const MAX_REPEATED: usize = 2;

/// An expression over classes; argument `i` is `args[i]`, each class once.
#[derive(Clone, Default)]
struct Chain {
    args: Vec<Id>,
}

impl Chain {
    /// The expression that reads a class: a literal for a scalar constant, or else an argument.
    fn read(&mut self, egraph: &EGraph, class: Id) -> ScalarExpr {
        let class = egraph.find(class);
        if let Some(value) = scalar(egraph, class) {
            return ScalarExpr::Const(value);
        }
        let known = self.args.iter().position(|&a| a == class);
        let index = known.unwrap_or_else(|| {
            self.args.push(class);
            self.args.len() - 1
        });
        ScalarExpr::Arg(index as u32)
    }

    /// Another expression with its arguments renamed to those of this chain.
    fn adopt(&mut self, egraph: &EGraph, expr: &ScalarExpr, args: &[Id]) -> ScalarExpr {
        expr.substitute(&ScalarExpr::Acc, &mut |i| match args.get(i as usize) {
            Some(&class) => self.read(egraph, class),
            None => ScalarExpr::Arg(i),
        })
    }
}

fn scalar(egraph: &EGraph, class: Id) -> Option<f64> {
    egraph[class].data.constant.and_then(|leaf| egraph.analysis.leaf(leaf).scalar)
}

/// The scalar expression of an element-wise operator over its own operands; `None` where scalars can't express it.
pub(crate) fn scalar_body(op: &Op, is_float: bool) -> Option<ScalarExpr> {
    let arg = ScalarExpr::Arg;
    Some(match op {
        Op::Unary(op) => ScalarExpr::unary(*op, arg(0)),
        Op::Binary(op) => ScalarExpr::binary(*op, arg(0), arg(1)),
        Op::Where => ScalarExpr::Select(Box::new(arg(0)), Box::new(arg(1)), Box::new(arg(2))),
        &Op::Clip { lo, hi } if is_float => {
            let mut x = arg(0);
            if lo != f64::NEG_INFINITY {
                x = ScalarExpr::binary(BinaryOp::Max, x, ScalarExpr::Const(lo));
            }
            if hi != f64::INFINITY {
                x = ScalarExpr::binary(BinaryOp::Min, x, ScalarExpr::Const(hi));
            }
            x
        }
        Op::Map(expr) => expr.clone(),
        _ => return None,
    })
}

fn body_of(egraph: &EGraph, class: Id, op: &Op, operands: &[Id]) -> Option<ScalarExpr> {
    if let (&Op::Cast(to), &[x]) = (op, operands) {
        let from = egraph[x].data.ty.as_ref()?.dtype;
        let whole = |dtype: DType| dtype.is_number() && !dtype.is_narrow() && dtype.small_float().is_none();
        return (whole(from) && whole(to)).then(|| ScalarExpr::Convert(to, Box::new(ScalarExpr::Arg(0))));
    }
    let is_float = egraph[class].data.ty.as_ref().is_some_and(|ty| ty.dtype.is_float());
    scalar_body(op, is_float).filter(|body| body.operations() > 0)
}

/// How often each argument occurs.
fn occurrences(expr: &ScalarExpr, count: usize) -> Vec<u32> {
    fn visit(expr: &ScalarExpr, found: &mut [u32]) {
        match expr {
            ScalarExpr::Arg(i) => found.get_mut(*i as usize).into_iter().for_each(|n| *n += 1),
            ScalarExpr::Acc | ScalarExpr::Const(_) => {}
            ScalarExpr::Unary(_, x) | ScalarExpr::Convert(_, x) => visit(x, found),
            ScalarExpr::Binary(_, x, y) => [x, y].into_iter().for_each(|x| visit(x, found)),
            ScalarExpr::Select(a, b, c) => [a, b, c].into_iter().for_each(|x| visit(x, found)),
        }
    }
    let mut found = vec![0; count];
    visit(expr, &mut found);
    found
}

/// `f(g(x), y)` becomes one map, with all operands inlined that only `f` uses.
fn fuse_map(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let Some(body) = body_of(egraph, class, &info.op, operands) else { return Vec::new() };
    let used = occurrences(&body, operands.len());
    let mut chain = Chain::default();
    let mut inlined = false;
    let operations = body.operations();
    let fused = body.substitute(&ScalarExpr::Acc, &mut |i| {
        let Some(&x) = operands.get(i as usize) else { return ScalarExpr::Arg(i) };
        let sole = egraph[x].data.uses == 1 && used.get(i as usize) == Some(&1);
        if sole
            && shape(egraph, x) == shape(egraph, class)
            && let Some((inner, args)) = longest_chain(egraph, x)
            && inner.operations() + operations <= MAX_OPERATIONS
        {
            inlined = true;
            return chain.adopt(egraph, &inner, &args);
        }
        chain.read(egraph, x)
    });
    let literal = chain.args.len() < operands.len();
    if !(inlined || literal) || chain.args.is_empty() {
        return Vec::new();
    }
    let fused = add_op(egraph, OpInfo::plain(Op::Map(fused)), &chain.args);
    fused.map(|fused| (class, fused)).into_iter().collect()
}

/// The longest element-wise chain that computes a class; of equal ones the first.
fn longest_chain(egraph: &EGraph, class: Id) -> Option<(ScalarExpr, Vec<Id>)> {
    let mut best: Option<(ScalarExpr, Vec<Id>)> = None;
    for (_, info, operands) in ops_of(egraph, class).filter(|(_, info, _)| info.op.is_elementwise()) {
        let Some(body) = body_of(egraph, class, &info.op, operands) else { continue };
        if best.as_ref().is_none_or(|(known, _)| known.operations() < body.operations()) {
            best = Some((body, operands.to_vec()));
        }
    }
    best
}

/// `f(anchor(x), y)` becomes `anchor(x)` with `f` as its epilogue.
fn fuse_epilogue(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let Some(body) = body_of(egraph, class, &info.op, operands) else { return Vec::new() };
    let used = occurrences(&body, operands.len());
    let mut equal = Vec::new();
    for (index, &x) in operands.iter().enumerate() {
        let same_type = egraph[x].data.ty == egraph[class].data.ty;
        if shape(egraph, x) != shape(egraph, class) || used.get(index) != Some(&egraph[x].data.uses) {
            continue;
        }
        let anchors: Vec<(OpInfo, Vec<Id>)> = ops_of(egraph, x)
            .filter(|(_, info, _)| matches!(info.op, Op::Contract(_) | Op::Conv(_)) && info.format.is_none())
            .filter(|(_, info, operands)| {
                same_type || is_byte_weight(egraph, operands) || to_bytes(egraph, (class, info, operands))
            })
            .map(|(_, info, operands)| (info.clone(), operands.to_vec()))
            .collect();
        for (anchor, inputs) in anchors {
            let fused = append_epilogue(egraph, &anchor, &inputs, &body, operands, index);
            equal.extend(fused.map(|fused| (class, fused)));
        }
    }
    equal
}

/// Whether an anchor's weight is a constant that is multiplied with bytes: those kernels store what their epilogue gives, whatever
/// its type.
fn is_byte_weight(egraph: &EGraph, operands: &[Id]) -> bool {
    let is_constant = |i: usize| operands.get(i).is_some_and(|&v| egraph[v].data.constant.is_some());
    let dtype = |i: usize| operands.get(i).and_then(|&v| egraph[v].data.ty.as_ref()).map(|ty| ty.dtype);
    match (dtype(0), dtype(1)) {
        (Some(DType::I8), _) => is_constant(0),
        (Some(DType::U8), Some(DType::I8 | DType::I16)) => is_constant(1),
        _ => false,
    }
}

/// Whether this is a convolution of floats with a constant weight, and what follows makes bytes of its result: those kernels store
/// whatever comes out of their epilogue, too.
fn to_bytes(egraph: &EGraph, (class, info, operands): (Id, &OpInfo, &[Id])) -> bool {
    let dtype = |id: Id| egraph[id].data.ty.as_ref().map(|ty| ty.dtype);
    let (Op::Conv(attrs), &[x, w, ..]) = (&info.op, operands) else { return false };
    let floats = dtype(x) == Some(DType::F32) && dtype(w) == Some(DType::F32) && egraph[w].data.constant.is_some();
    floats && attrs.strides.len() <= 2 && matches!(dtype(class), Some(DType::U8 | DType::I8))
}

/// The anchor with `body` behind its epilogue, where operand `index` of the body is the anchor's result.
fn append_epilogue(
    egraph: &mut EGraph,
    anchor: &OpInfo,
    inputs: &[Id],
    body: &ScalarExpr,
    operands: &[Id],
    index: usize,
) -> Option<Id> {
    let first = anchor.epilogue.as_ref().map_or(inputs.len(), |e| e.first_operand as usize);
    let (own, args) = (inputs.get(..first)?, inputs.get(first..)?);
    let mut chain = Chain::default();
    let acc = match &anchor.epilogue {
        Some(epilogue) => chain.adopt(egraph, &epilogue.expr, args),
        None => ScalarExpr::Acc,
    };
    // A body that reads its operand several times repeats what is in the epilogue already: a bias, but not more.
    let times = occurrences(body, operands.len()).get(index).copied().unwrap_or(0) as usize;
    if times.saturating_sub(1) * acc.operations() > MAX_REPEATED {
        return None;
    }
    let expr = body.substitute(&ScalarExpr::Acc, &mut |i| match operands.get(i as usize) {
        Some(_) if i as usize == index => acc.clone(),
        Some(&x) => chain.read(egraph, x),
        None => ScalarExpr::Arg(i),
    });
    if expr.operations() > MAX_OPERATIONS {
        return None;
    }
    let operands: Vec<Id> = own.iter().chain(&chain.args).copied().collect();
    let epilogue = Some(Epilogue { first_operand: first as u32, expr });
    add_op(egraph, OpInfo { epilogue, ..anchor.clone() }, &operands)
}
