//! How often a loop runs whose condition counts.
//!
//! A `while` of a framework becomes a loop with a limit, a counter that it carries, and the condition `counter + 1 < n`. Where `n` is
//! an extent, the number of iterations is known, so that its slices can be stacked and no truth value is read back. An extent is
//! below 2^31, so conversions between the types of integers lose nothing; conversions to `f32`, which some converters put before a
//! comparison, are taken to lose nothing, either.

use std::collections::BTreeMap;

use sparsec_graph::{BinaryOp, Dim, Graph, Op, ValueId};

use super::context::{Context, Operand};
use super::symbolic;
use crate::proto::GraphProto;

/// Limits of this size or more don't limit: no tensor has an extent like that.
const NO_LIMIT: i64 = 1 << 31;

/// An integer in the body of a loop: an expression over the symbols, and the number of the iteration where that is added.
#[derive(Clone)]
struct Count {
    counts: bool,
    offset: Dim,
}

/// What is known of the inputs of a body.
type Known = BTreeMap<ValueId, Count>;

/// Which carried values a body passes on as they are. They are values of the graph around.
pub(super) fn passed_on(body: &GraphProto) -> Vec<bool> {
    let pairs = body.input.iter().skip(2).zip(body.output.iter().skip(1));
    pairs.map(|(input, output)| !input.name().is_empty() && source(body, output.name()) == input.name()).collect()
}

/// What a value of a graph is the same as, through `Identity`; empty where a node computes it.
fn source<'a>(graph: &'a GraphProto, name: &'a str) -> &'a str {
    let mut name = name;
    // A graph that is no graph could go round in circles.
    for _ in 0..=graph.node.len() {
        match graph.node.iter().find(|n| n.output.iter().any(|o| o == name)) {
            Some(node) if node.op_type() == "Identity" => name = node.input.first().map_or("", String::as_str),
            Some(_) => return "",
            None => return name,
        }
    }
    ""
}

/// A loop whose body has been read, and is the graph under construction.
pub(super) struct Counted<'a> {
    /// The limit, where there is one that is known.
    pub(super) limit: Option<&'a Dim>,
    /// The condition of the first iteration, where it isn't known to hold.
    pub(super) starts: Option<Operand>,
    /// The condition of the next one.
    pub(super) goes_on: Operand,
    /// The number of the iteration in the body.
    pub(super) iteration: Operand,
    /// Before the loop, in the body, and what the body makes of it.
    pub(super) carried: Vec<(Operand, Operand, Operand)>,
}

impl Counted<'_> {
    /// The number of iterations, where the conditions say nothing else.
    pub(super) fn trip(&self, cx: &Context) -> Option<Dim> {
        let one = Dim::constant(1);
        let (body, iteration) = cx.graph_value(self.iteration)?;
        let mut known = Known::from([(iteration, Count { counts: true, offset: Dim::constant(0) })]);
        for &(before, here, next) in &self.carried {
            let ((_, here), Some((_, next))) = (cx.graph_value(here)?, cx.graph_value(next)) else { continue };
            let start = cx.ints(before).and_then(|v| v.first().cloned());
            if let (Some(start), true) = (start, is_next(body, here, next)) {
                known.insert(here, Count { counts: true, offset: start });
            }
        }
        // `iteration + 1 < n` for each of these `n`.
        let mut ends = Vec::new();
        for (a, b) in conditions(cx, self.goes_on, &known)? {
            if !a.counts || b.counts {
                return None;
            }
            ends.push(b.offset - a.offset + one.clone());
        }
        // `0 < n` for each of these.
        let mut starts = Vec::new();
        for (a, b) in self.starts.map_or_else(|| Some(Vec::new()), |x| conditions(cx, x, &Known::new()))? {
            starts.push(b.offset - a.offset);
        }
        let limit = self.limit.filter(|d| d.as_const().is_none_or(|n| n < NO_LIMIT)).cloned();
        let counted = ends.iter().filter(|n| starts.contains(n) || symbolic::is_at_most(&one, n)).cloned();
        let trip = limit.into_iter().chain(counted).reduce(|a, b| symbolic::min(&a, &b))?;
        ends.iter().chain(&starts).all(|n| symbolic::is_at_most(&trip, n)).then_some(trip)
    }
}

/// Whether a value is another one plus 1.
fn is_next(graph: &Graph, x: ValueId, next: ValueId) -> bool {
    let Some(node) = graph.producer(next).map(|n| graph.node(n)) else { return false };
    let is_one = |v: ValueId| graph.constant(v).and_then(|c| c.data.as_i64()).is_some_and(|v| v == [1]);
    match (&node.op, node.operands.as_slice()) {
        (Op::Binary(BinaryOp::Add), &[a, b]) => (a == x && is_one(b)) || (b == x && is_one(a)),
        _ => false,
    }
}

/// The comparisons `a < b` that hold together where a truth value does; `None` where it is anything else.
fn conditions(cx: &Context, x: Operand, known: &Known) -> Option<Vec<(Count, Count)>> {
    if let Some(ints) = cx.ints(x) {
        return ints.iter().all(|d| d.as_const() == Some(1)).then(Vec::new);
    }
    let (graph, value) = cx.graph_value(x)?;
    let (mut stack, mut found) = (vec![value], Vec::new());
    while let Some(value) = stack.pop() {
        let node = graph.node(graph.producer(value)?);
        let (op, &[a, b]) = (&node.op, node.operands.as_slice()) else {
            match (&node.op, node.operands.as_slice()) {
                (Op::Reshape(_), &[same]) => stack.push(same),
                _ => return None,
            }
            continue;
        };
        let Op::Binary(op) = op else { return None };
        let count = |v| count(cx, graph, v, known, 64);
        let above = |n: Count| Count { offset: n.offset + Dim::constant(1), ..n };
        match op {
            BinaryOp::And if found.len() + stack.len() < 64 => stack.extend([a, b]),
            BinaryOp::Less => found.push((count(a)?, count(b)?)),
            BinaryOp::LessEqual => found.push((count(a)?, above(count(b)?))),
            BinaryOp::Greater => found.push((count(b)?, count(a)?)),
            BinaryOp::GreaterEqual => found.push((count(b)?, above(count(a)?))),
            _ => return None,
        }
    }
    Some(found)
}

/// What an integer of one element is; `depth` bounds the search.
fn count(cx: &Context, graph: &Graph, value: ValueId, known: &Known, depth: u32) -> Option<Count> {
    let depth = depth.checked_sub(1)?;
    let fixed = |offset: Dim| Some(Count { counts: false, offset });
    if let Some(count) = known.get(&value) {
        return Some(count.clone());
    }
    if let Some(constant) = graph.constant(value) {
        let number = crate::tensor::scalar_value(&constant.data)?;
        return (number.fract() == 0.0 && number.abs() < NO_LIMIT as f64)
            .then(|| Count { counts: false, offset: Dim::constant(number as i64) });
    }
    let is_body = std::ptr::eq(graph, &raw const cx.graph);
    if let Some(outer) = cx.captured_as(value).filter(|_| is_body) {
        if let Some([only]) = cx.ints(outer).as_deref() {
            return fixed(only.clone());
        }
        let (graph, value) = cx.graph_value(outer)?;
        return count(cx, graph, value, &Known::new(), depth);
    }
    let node = graph.node(graph.producer(value)?);
    match (&node.op, node.operands.as_slice()) {
        (Op::ShapeOf(dims), _) => fixed(dims.iter().next().filter(|_| dims.len() == 1)?.clone()),
        (Op::Reshape(_) | Op::Cast(_), &[x]) => count(cx, graph, x, known, depth),
        (Op::Binary(op @ (BinaryOp::Add | BinaryOp::Sub)), &[a, b]) => {
            let (a, b) = (count(cx, graph, a, known, depth)?, count(cx, graph, b, known, depth)?);
            match op {
                BinaryOp::Add if !(a.counts && b.counts) => {
                    Some(Count { counts: a.counts || b.counts, offset: a.offset + b.offset })
                }
                BinaryOp::Sub if !b.counts => Some(Count { counts: a.counts, offset: a.offset - b.offset }),
                _ => None,
            }
        }
        _ => None,
    }
}
