//! The text form of a graph, which [`crate::parse()`] reads back.
//!
//! Values are numbered in the order of the text (inputs, constants, nodes), so the text of a graph depends on what the
//! graph computes and not on how it was built. Unused constants are left out.
//!
//! ```text
//! graph @mlp {
//!   input %0 "x": f32[batch, 2]
//!   const %1 "w" = f32[2, 2] {1.0, 0.0, 0.0, -1.0}
//!   %2 "fc" = contract "mk,bk->bm" (%1, %0) epilogue relu(acc) () format csr : f32[batch, 2]
//!   output "y" = %2
//! }
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use sparsec_tir::print_kernel;

use crate::text::{Name, Quoted, write_elements};
use crate::{Dim, Direction, Graph, Node, NodeId, Op, TensorData, Trip, ValueId};

/// What the printer may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Constants of more elements are not written out: `elided` and [`data_hash`] stand for them.
    pub max_inline_elements: usize,
}

impl Default for PrintOptions {
    fn default() -> Self {
        PrintOptions { max_inline_elements: 16 }
    }
}

/// The text of a graph. A graph that breaks invariants prints too, as far as possible (`%?7` is a value that is not
/// defined before it is used).
#[must_use]
pub fn print(graph: &Graph, options: &PrintOptions) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_graph(&mut text, graph, options);
    text
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_graph(f, self, &PrintOptions::default())
    }
}

/// A 64-bit hash of a constant's bytes (not of its type), the same on every machine. Words of eight bytes are mixed as
/// FNV-1a mixes bytes, with a shift that lets the upper half reach the lower.
#[must_use]
pub fn data_hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let h = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h ^ (h >> 32)
    };
    let mut hash = mix(0xCBF2_9CE4_8422_2325, bytes.len() as u64);
    let words = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    for word in words {
        let mut raw = [0; 8];
        raw.copy_from_slice(word);
        hash = mix(hash, u64::from_le_bytes(raw));
    }
    mix(hash, u64::from_le_bytes(last))
}

/// The numbers of the values that are printed so far.
#[derive(Default)]
struct Numbers(BTreeMap<ValueId, usize>);

impl Numbers {
    fn define(&mut self, value: ValueId) -> usize {
        let next = self.0.len();
        *self.0.entry(value).or_insert(next)
    }

    fn of(&self, value: ValueId) -> String {
        self.0.get(&value).map_or_else(|| format!("%?{}", value.as_u32()), |n| format!("%{n}"))
    }

    fn list(&self, values: &[ValueId]) -> String {
        comma_list(values.iter().map(|&v| self.of(v)))
    }
}

fn write_graph(out: &mut dyn Write, graph: &Graph, options: &PrintOptions) -> fmt::Result {
    let mut numbers = Numbers::default();
    writeln!(out, "graph @{} {{", Name(graph.name()))?;
    for &input in graph.inputs() {
        let value = graph.value(input);
        writeln!(out, "  input %{} {}: {}", numbers.define(input), Quoted(&value.name), value.ty)?;
    }
    for value in graph.use_counts().into_keys().filter(|v| v.index() < graph.value_count()) {
        if let Some(constant) = graph.constant(value) {
            let (number, name, data) = (numbers.define(value), Quoted(&constant.name), &constant.data);
            write!(out, "  const %{number} {name}")?;
            write_data(out, data, options)?;
        }
    }
    let mut order = graph.topological_order();
    let ordered: std::collections::BTreeSet<NodeId> = order.iter().copied().collect();
    order.extend(graph.nodes().map(|(id, _)| id).filter(|id| !ordered.contains(id)));
    for id in order {
        write_node(out, graph, graph.node(id), &mut numbers, options)?;
    }
    for (name, value) in graph.outputs() {
        writeln!(out, "  output {} = {}", Quoted(name), numbers.of(*value))?;
    }
    writeln!(out, "}}")
}

fn write_data(out: &mut dyn Write, data: &TensorData, options: &PrintOptions) -> fmt::Result {
    if data.elements() > options.max_inline_elements {
        return writeln!(out, ": {} elided {:#018x}", data.ty(), data_hash(&data.bytes));
    }
    write!(out, " = {} {{", data.ty())?;
    write_elements(out, data)?;
    writeln!(out, "}}")
}

fn write_node(
    out: &mut dyn Write,
    graph: &Graph,
    node: &Node,
    numbers: &mut Numbers,
    options: &PrintOptions,
) -> fmt::Result {
    let own = node.epilogue.as_ref().map_or(usize::MAX, |e| e.first_operand as usize).min(node.operands.len());
    let (operands, extra) = node.operands.split_at(own);
    let operands = numbers.list(operands);
    let extra = numbers.list(extra);
    let results = comma_list(node.results.iter().map(|&r| format!("%{}", numbers.define(r))));
    write!(out, "  {results} ")?;
    if !node.name.is_empty() {
        write!(out, "{} ", Quoted(&node.name))?;
    }
    write!(out, "= ")?;
    write_op(out, &node.op, &operands, options)?;
    if let Some(epilogue) = &node.epilogue {
        write!(out, " epilogue {} ({extra})", epilogue.expr)?;
    }
    if let Some(format) = &node.format {
        write!(out, " format {format}")?;
    }
    let types = node.results.iter().map(|&r| graph.get_value(r).map_or_else(|| "?".into(), |v| v.ty.to_string()));
    writeln!(out, " : {}", comma_list(types))
}

fn write_op(out: &mut dyn Write, op: &Op, operands: &str, options: &PrintOptions) -> fmt::Result {
    let name = op.name();
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Where => write!(out, "{name} ({operands})"),
        Op::Clip { lo, hi } => write!(out, "{name} ({operands}) lo {lo:?} hi {hi:?}"),
        Op::Cast(to) => write!(out, "{name} {to} ({operands})"),
        Op::Map(expr) => write!(out, "{name} {expr} ({operands})"),
        Op::Contract(spec) => write!(out, "{name} \"{spec}\" ({operands})"),
        Op::Attention(a) => {
            write!(out, "{name} \"{}\" \"{}\" keys \"{}\" scores {} ({operands})", a.scores, a.values, a.keys, a.expr)
        }
        Op::Conv(attrs) => {
            let (strides, dilations) = (dims(&attrs.strides), dims(&attrs.dilations));
            let pads = pairs(&attrs.pads);
            write!(out, "{name} ({operands}) strides {strides} pads {pads} dilations {dilations}")?;
            write!(out, " groups {}", attrs.groups)
        }
        Op::Pool(attrs) => {
            let (kernel, strides, dilations) = (dims(&attrs.kernel), dims(&attrs.strides), dims(&attrs.dilations));
            let pads = pairs(&attrs.pads);
            write!(out, "{name} {} ({operands}) kernel {kernel} strides {strides} pads {pads}", attrs.kind)?;
            write!(out, " dilations {dilations} ceil {}", attrs.ceil)
        }
        Op::Reduce { kind, axes, keep } => write!(out, "{name} {kind} ({operands}) axes {} keep {keep}", dims(axes)),
        Op::Softmax { axis } | Op::Concat { axis } | Op::Gather { axis } => {
            write!(out, "{name} ({operands}) axis {axis}")
        }
        Op::LayerNorm { axis, axes, epsilon } => {
            write!(out, "{name} ({operands}) axis {axis} axes {axes} epsilon {epsilon:?}")
        }
        Op::BatchNorm { epsilon } => write!(out, "{name} ({operands}) epsilon {epsilon:?}"),
        Op::Reshape(shape) | Op::Expand(shape) => write!(out, "{name} ({operands}) to {}", dims::<Dim>(shape)),
        Op::Transpose(perm) => write!(out, "{name} ({operands}) perm {}", dims(perm)),
        Op::Slice(axes) => {
            let ranges = axes.iter().map(|a| format!("({}, {}, {})", a.start, a.len, a.step));
            write!(out, "{name} ({operands}) ranges [{}]", comma_list(ranges))
        }
        Op::Pad { amounts, value } => {
            write!(out, "{name} ({operands}) amounts {} value {value:?}", pairs(amounts))
        }
        Op::Loops(spec) => {
            let results = comma_list(spec.results.iter().map(ToString::to_string));
            write!(out, "{name} ({operands}) params {} gives [{results}]", dims(&spec.params))?;
            if !spec.counts.is_empty() {
                let counts = spec.counts.iter().map(|c| format!("({}, {})", c.symbol, c.capacity));
                write!(out, " counts [{}]", comma_list(counts))?;
            }
            writeln!(out, " {{")?;
            for line in print_kernel(&spec.kernel).lines() {
                writeln!(out, "    {line}")?;
            }
            write!(out, "  }}")
        }
        Op::ShapeOf(shape) => write!(out, "{name} ({operands}) of {}", dims(shape)),
        Op::If { then, otherwise } => {
            write!(out, "{name} ({operands}) then ")?;
            write_nested(out, then, options)?;
            write!(out, " else ")?;
            write_nested(out, otherwise, options)
        }
        Op::Loop(spec) => {
            write!(out, "{name} ({operands})")?;
            match &spec.trip {
                Trip::Known(trip) => write!(out, " trip [{trip}]")?,
                Trip::Operand => write!(out, " counted")?,
                Trip::Unbounded => {}
            }
            if spec.conditional {
                write!(out, " conditional")?;
            }
            let ends = |ends: &[Direction]| comma_list(ends.iter().map(|d| d.name().to_owned()));
            let (scanned, stacked) = (ends(&spec.scanned), ends(&spec.stacked));
            write!(out, " carried {} scanned [{scanned}] stacked [{stacked}] body ", spec.carried)?;
            write_nested(out, &spec.body, options)
        }
    }
}

/// A graph within a node, indented as what stands in it.
fn write_nested(out: &mut dyn Write, graph: &Graph, options: &PrintOptions) -> fmt::Result {
    let text = print(graph, options);
    write!(out, "{}", text.trim_end().replace('\n', "\n  "))
}

fn comma_list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn dims<T: fmt::Display>(values: &[T]) -> String {
    format!("[{}]", comma_list(values.iter().map(T::to_string)))
}

fn pairs(values: &[(i64, i64)]) -> String {
    format!("[{}]", comma_list(values.iter().map(|(a, b)| format!("({a}, {b})"))))
}
