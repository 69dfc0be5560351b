//! `RNN`, `GRU` and `LSTM`: what depends on the input alone is computed for all steps at once, before a loop over the steps.
//!
//! Each gate is a weight of its own, so that its activation is the epilogue of its product and each gets the format that suits
//! it; the slices of the model's weights are not copied.

use sparsec_graph::{
    BinaryOp, ContractSpec, DType, Dim, Direction, LoopSpec, Op, SliceAxis, TensorData, TensorType, Trip,
};

use super::activation::Activation;
use super::cast::cast_to;
use super::context::{Context, Operand};
use super::elementwise::apply_scalar;
use super::node::Node;
use super::quantize::dynamic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// What distinguishes the three operators.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    /// Letters of the gates, in the order of the weights.
    fn gates(self) -> &'static str {
        match self {
            Cell::Rnn => "i",
            Cell::Gru => "zrh",
            Cell::Lstm => "iofc",
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// `RNN`.
pub(super) fn rnn(cx: &mut Context, node: &Node<'_>) -> Results {
    recurrent(cx, node, Cell::Rnn)
}

/// `GRU`.
pub(super) fn gru(cx: &mut Context, node: &Node<'_>) -> Results {
    recurrent(cx, node, Cell::Gru)
}

/// `LSTM`.
pub(super) fn lstm(cx: &mut Context, node: &Node<'_>) -> Results {
    recurrent(cx, node, Cell::Lstm)
}

/// `com.microsoft.DynamicQuantizeLSTM`: weights of 8 bits, (inputs, gates) for each direction. What they are multiplied with is
/// quantised as `DynamicQuantizeLinear` does it: the input as a whole, the state in each step. The sums are those of integers.
pub(super) fn dynamic_quantize_lstm(cx: &mut Context, node: &Node<'_>) -> Results {
    recurrent(cx, node, Cell::Lstm)
}

/// The position of the scales of quantised weights among the inputs; zero points follow.
const W_SCALE: usize = 8;
const R_SCALE: usize = 10;

/// The weight of a gate, (units, inputs), and what products with it are multiplied by.
#[derive(Clone, Copy)]
struct Weight {
    rows: Operand,
    scale: Option<Operand>,
}

/// What weights are multiplied with, and its scale where it is quantised.
#[derive(Clone, Copy)]
struct Factor {
    x: Operand,
    scale: Option<Operand>,
}

impl Factor {
    /// An operand, quantised where the weights are.
    fn new(cx: &mut Context, x: Operand, quantised: bool) -> Result<Self, Fault> {
        if !quantised {
            return Ok(Factor { x, scale: None });
        }
        let (rounded, scale, zero) = dynamic(cx, x)?;
        let rounded = cast_to(cx, rounded, DType::I32)?;
        let zero = cast_to(cx, zero, DType::I32)?;
        Ok(Factor { x: binary(cx, BinaryOp::Sub, rounded, zero)?, scale: Some(scale) })
    }
}

/// A node's attributes and operands, the same for every direction.
struct Recurrent<'n> {
    node: &'n Node<'n>,
    cell: Cell,
    /// The name of the node.
    name: String,
    /// Steps, batch, inputs.
    x: Operand,
    factor: Factor,
    quantised: bool,
    steps: Dim,
    batch: Dim,
    hidden: i64,
    clip: Option<f64>,
    /// Whether the reset gate is applied behind the product (GRU).
    late_reset: bool,
    /// Whether the forget gate is what the input gate leaves (LSTM).
    coupled: bool,
    /// Lengths as `i64`, where they are not all the number of steps.
    lengths: Option<Operand>,
}

fn recurrent(cx: &mut Context, node: &Node<'_>, cell: Cell) -> Results {
    let (x, w, r) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let batch_first = node.int_or("layout", 0)? != 0;
    for (what, operand, rank) in [("X", x, 3), ("W", w, 3), ("R", r, 3)] {
        if cx.rank(operand) != rank {
            return Err(Fault::invalid(format!("{what} has {} dimensions instead of {rank}", cx.rank(operand))));
        }
    }
    let x = if batch_first { cx.append(Op::Transpose(vec![1, 0, 2]), &[x])? } else { x };
    let ends = match node.string("direction")?.unwrap_or("forward") {
        "forward" => vec![Direction::Forward],
        "reverse" => vec![Direction::Reverse],
        "bidirectional" => vec![Direction::Forward, Direction::Reverse],
        other => return Err(Fault::attribute("direction", format!("is `{other}`"))),
    };
    let quantised = node.proto.op_type() == "DynamicQuantizeLSTM";
    let r_shape = cx.shape(r);
    // The axes of the gates and of what they are multiplied with.
    let (rows, columns) = if quantised { (2, 1) } else { (1, 2) };
    let (gates, hidden) = (cell.gates().len() as i64, r_shape[columns].as_const());
    let is_whole = |h: i64| r_shape[rows].is(h.saturating_mul(gates)) && cx.shape(w)[rows] == r_shape[rows];
    let hidden = hidden.filter(|&h| h > 0 && is_whole(h));
    let fits = cx.shape(w)[0].is(ends.len() as i64) && r_shape[0].is(ends.len() as i64);
    let Some(hidden) = hidden.filter(|_| fits) else {
        let (w, r) = (cx.ty(w), cx.ty(r));
        return Err(Fault::invalid(format!("weights of {w} and {r} are not those of {} directions", ends.len())));
    };
    if let Some(stated) = node.int("hidden_size")?.filter(|&h| h != hidden) {
        return Err(Fault::attribute(
            "hidden_size",
            format!("is {stated}, while the weights are those of {hidden} units"),
        ));
    }
    let shape = cx.shape(x);
    let name = cx.node_name.clone();
    cx.node_name = format!("{name}.input");
    let factor = Factor::new(cx, x, quantised)?;
    cx.node_name.clone_from(&name);
    let all = Recurrent {
        node,
        cell,
        name,
        x,
        factor,
        quantised,
        steps: shape[0].clone(),
        batch: shape[1].clone(),
        hidden,
        clip: node.float("clip")?.map(f64::from),
        late_reset: node.int_or("linear_before_reset", 0)? != 0,
        coupled: node.int_or("input_forget", 0)? != 0,
        lengths: lengths(cx, node, &shape[0])?,
    };
    let activations = activations(node, cell, ends.len())?;
    let (mut wholes, mut lasts) = (Vec::new(), vec![Vec::new(); if cell == Cell::Lstm { 2 } else { 1 }]);
    for (d, (&end, activations)) in ends.iter().zip(&activations).enumerate() {
        let mut results = all.direction(cx, d, ends.len(), end, activations, batch_first)?.into_iter();
        for last in &mut lasts {
            last.extend(results.next());
        }
        wholes.extend(results.next());
    }
    cx.node_name.clone_from(&all.name);
    // Directions are an axis of every result.
    let one = Dim::constant(1);
    let hidden = Dim::constant(hidden);
    let mut results = Vec::new();
    let whole = vec![all.steps.clone(), one.clone(), all.batch.clone(), hidden.clone()];
    let mut y = joined(cx, &wholes, &whole, 1)?;
    if batch_first {
        y = cx.append(Op::Transpose(vec![2, 0, 1, 3]), &[y])?;
    }
    results.push(y);
    for last in lasts {
        let mut state = joined(cx, &last, &[one.clone(), all.batch.clone(), hidden.clone()], 0)?;
        if batch_first {
            state = cx.append(Op::Transpose(vec![1, 0, 2]), &[state])?;
        }
        results.push(state);
    }
    Ok(results)
}

/// Results of the directions, each reshaped, behind each other.
fn joined(cx: &mut Context, parts: &[Operand], shape: &[Dim], axis: usize) -> Result<Operand, Fault> {
    let mut all = Vec::with_capacity(parts.len());
    for &part in parts {
        all.push(cx.append(Op::Reshape(shape.to_vec()), &[part])?);
    }
    match all.as_slice() {
        &[only] => Ok(only),
        _ => cx.append(Op::Concat { axis }, &all),
    }
}

/// The lengths of the sequences, where some may be shorter than the number of steps.
fn lengths(cx: &mut Context, node: &Node<'_>, steps: &Dim) -> Result<Option<Operand>, Fault> {
    let Some(lengths) = node.optional(4) else { return Ok(None) };
    if cx.ints(lengths).is_some_and(|all| all.iter().all(|n| n == steps)) {
        return Ok(None);
    }
    Ok(Some(cx.append(Op::Cast(DType::I64), &[lengths])?))
}

/// The activation functions of each direction.
fn activations(node: &Node<'_>, cell: Cell, directions: usize) -> Result<Vec<Vec<Activation>>, Fault> {
    let defaults = cell.activations();
    let names = match node.strings("activations")? {
        Some(names) if !names.is_empty() => names,
        _ => defaults.repeat(directions),
    };
    if names.len() != defaults.len() * directions {
        return Err(Fault::attribute("activations", format!("names {} functions", names.len())));
    }
    let mut alphas = node.floats("activation_alpha")?.unwrap_or_default().iter().copied();
    let mut betas = node.floats("activation_beta")?.unwrap_or_default().iter().copied();
    let all: Vec<Activation> =
        names.iter().map(|name| Activation::new(name, &mut alphas, &mut betas)).collect::<Result<_, _>>()?;
    Ok(all.chunks(defaults.len()).map(<[Activation]>::to_vec).collect())
}

fn binary(cx: &mut Context, op: BinaryOp, x: Operand, y: Operand) -> Result<Operand, Fault> {
    cx.append(Op::Binary(op), &[x, y])
}

fn add(cx: &mut Context, x: Operand, y: Operand) -> Result<Operand, Fault> {
    binary(cx, BinaryOp::Add, x, y)
}

fn mul(cx: &mut Context, x: Operand, y: Operand) -> Result<Operand, Fault> {
    binary(cx, BinaryOp::Mul, x, y)
}

/// A matrix of differences of bytes. Most of them zeros, it gets `f32`, as long as sums of products with such differences are exact
/// in that: kernels of every sparse format are there.
fn integers(shape: &[usize; 2], rows: Vec<i32>) -> TensorData {
    const EXACT: usize = (1 << 24) / (255 * 255);
    let nonzeros = |row: &[i32]| row.iter().filter(|&&v| v != 0).count();
    let exact = rows.chunks(shape[1].max(1)).all(|row| nonzeros(row) <= EXACT);
    match exact && 2 * nonzeros(&rows) < rows.len() {
        true => TensorData::f32(shape, rows.into_iter().map(|v| v as f32).collect()),
        false => TensorData::from_vec(DType::I32, shape, rows),
    }
}

fn product(cx: &mut Context, spec: &str, weight: Weight, factor: Factor) -> Result<Operand, Fault> {
    let spec = ContractSpec::parse(spec).ok_or_else(|| Fault::invalid("labels of a product"))?;
    let x = cast_to(cx, factor.x, cx.dtype(weight.rows))?;
    let product = cx.append(Op::Contract(spec), &[weight.rows, x])?;
    match (weight.scale, factor.scale) {
        (Some(w), Some(x)) => {
            let scale = mul(cx, x, w)?;
            let sums = cast_to(cx, product, DType::F32)?;
            mul(cx, sums, scale)
        }
        _ => Ok(product),
    }
}

impl Recurrent<'_> {
    /// Rows `from .. from + count` of a tensor's axis 1, in direction `d`, without the axis of directions.
    fn rows(
        &self,
        cx: &mut Context,
        x: Operand,
        d: usize,
        (from, count): (i64, i64),
        what: &str,
    ) -> Result<Operand, Fault> {
        let ty = cx.ty(x).clone();
        let shape: Vec<Dim> = std::iter::once(Dim::constant(count)).chain(ty.shape.iter().skip(2).cloned()).collect();
        let part = TensorType::new(ty.dtype, shape.clone());
        if ty.shape.get(1).and_then(Dim::as_const).is_none_or(|rows| rows < from.saturating_add(count)) {
            return Err(Fault::invalid(format!("{what} is {ty}")));
        }
        if let (Some(data), Some(extents)) = (cx.constant(x), part.const_shape()) {
            let per_row: usize = data.shape.iter().skip(2).product::<usize>() * data.dtype.size();
            let start = (d * data.shape[1] + from as usize) * per_row;
            let range = start..start + count as usize * per_row;
            if data.bytes.len() >= range.end {
                let shape = extents.into_iter().map(|e| e as usize).collect();
                let data = TensorData { dtype: ty.dtype, shape, bytes: data.bytes.slice(range) };
                return Ok(cx.add_data(&format!("{}.{what}", self.name), data));
            }
        }
        let whole = |len: &Dim| SliceAxis { start: Dim::constant(0), len: len.clone(), step: 1 };
        let mut ranges: Vec<SliceAxis> = ty.shape.iter().map(whole).collect();
        ranges[0] = SliceAxis { start: Dim::constant(d as i64), len: Dim::constant(1), step: 1 };
        ranges[1] = SliceAxis { start: Dim::constant(from), len: Dim::constant(count), step: 1 };
        let rows = cx.append(Op::Slice(ranges), &[x])?;
        cx.append(Op::Reshape(shape), &[rows])
    }

    /// The weight of gate `g` in direction `d`, of input `input` of the node.
    fn weight(&self, cx: &mut Context, input: usize, d: usize, g: usize, what: &str) -> Result<Weight, Fault> {
        let x = self.node.input(input)?;
        if !self.quantised {
            let rows = self.rows(cx, x, d, (g as i64 * self.hidden, self.hidden), what)?;
            return Ok(Weight { rows, scale: None });
        }
        let at = if input == 1 { W_SCALE } else { R_SCALE };
        let (scale, zero) = (self.node.input(at)?, self.node.optional(at + 1));
        let missing = || Fault::unsupported(format!("{what} that is no constant of 8 bits"));
        let data = cx.constant(x).ok_or_else(missing)?;
        let (values, shape) = (data.as_i64().ok_or_else(missing)?, data.shape.clone());
        let zeros = match zero {
            Some(zero) => cx.constant(zero).and_then(TensorData::as_i64).ok_or_else(missing)?,
            None => vec![0],
        };
        let scales = cx.constant(scale).and_then(TensorData::as_f32).ok_or_else(missing)?.into_owned();
        let (hidden, columns, gates) = (self.hidden as usize, shape[1], shape[2]);
        // One for each direction, or one for each unit of each gate.
        let of = |count: usize, unit: usize| match count {
            n if n == shape[0] => d,
            n if n == shape[0] * gates => d * gates + g * hidden + unit,
            _ => 0,
        };
        let element = |unit: usize, column: usize| {
            let value = values.get((d * columns + column) * gates + g * hidden + unit)?;
            i32::try_from(value - zeros.get(of(zeros.len(), unit))?).ok()
        };
        let rows = (0..hidden).flat_map(|unit| (0..columns).map(move |column| (unit, column)));
        let rows: Option<Vec<i32>> = rows.map(|(unit, column)| element(unit, column)).collect();
        let rows = integers(&[hidden, columns], rows.ok_or_else(missing)?);
        let per_unit = scales.len() > shape[0];
        let units = if per_unit { hidden } else { 1 };
        let scales: Option<Vec<f32>> = (0..units).map(|unit| scales.get(of(scales.len(), unit)).copied()).collect();
        let extents: &[usize] = if per_unit { &[hidden] } else { &[] };
        let scale = TensorData::f32(extents, scales.ok_or_else(missing)?);
        cx.budget.take((rows.bytes.len() + scale.bytes.len()) as u64)?;
        let name = format!("{}.{what}", self.name);
        Ok(Weight { rows: cx.add_data(&name, rows), scale: Some(cx.add_data(&format!("{name}.scale"), scale)) })
    }

    /// The initial state of a direction: zeros where the model gives none.
    fn initial(&self, cx: &mut Context, input: usize, d: usize, batch_first: bool) -> Result<Operand, Fault> {
        let shape = vec![self.batch.clone(), Dim::constant(self.hidden)];
        let Some(state) = self.node.optional(input) else {
            let zero = cx.scalar(cx.dtype(self.x), 0.0);
            return cx.append(Op::Expand(shape), &[zero]);
        };
        let ty = cx.ty(state).clone();
        if ty.rank() != 3 {
            return Err(Fault::invalid(format!("the initial state is {ty}")));
        }
        let axis = usize::from(batch_first);
        let whole = |len: &Dim| SliceAxis { start: Dim::constant(0), len: len.clone(), step: 1 };
        let mut ranges: Vec<SliceAxis> = ty.shape.iter().map(whole).collect();
        ranges[axis] = SliceAxis { start: Dim::constant(d as i64), len: Dim::constant(1), step: 1 };
        let part = cx.append(Op::Slice(ranges), &[state])?;
        cx.append(Op::Reshape(shape), &[part])
    }

    /// The final states of a direction, then the states of all steps.
    fn direction(
        &self,
        cx: &mut Context,
        d: usize,
        directions: usize,
        end: Direction,
        activations: &[Activation],
        batch_first: bool,
    ) -> Results {
        let side = match (directions, end) {
            (1, _) => "",
            (_, Direction::Forward) => ".forward",
            (_, Direction::Reverse) => ".reverse",
        };
        let b = self.node.optional(3);
        let gates = self.cell.gates().len() as i64;
        let mut scanned = Vec::new();
        let mut weights = Vec::new();
        let (mut late_bias, mut biases) = (None, Vec::new());
        for (g, letter) in self.cell.gates().chars().enumerate() {
            let rows = (g as i64 * self.hidden, self.hidden);
            let weight = self.weight(cx, 1, d, g, &format!("W{side}.{letter}"))?;
            cx.node_name = format!("{}{side}.{letter}.input", self.name);
            let mut gate = product(cx, "hi,tbi->tbh", weight, self.factor)?;
            if let Some(b) = b {
                let input_bias = self.rows(cx, b, d, rows, &format!("Wb{side}.{letter}"))?;
                let own =
                    self.rows(cx, b, d, (rows.0 + gates * self.hidden, self.hidden), &format!("Rb{side}.{letter}"))?;
                let bias = if self.cell == Cell::Gru && self.late_reset && letter == 'h' {
                    late_bias = Some(own);
                    input_bias
                } else {
                    add(cx, input_bias, own)?
                };
                if self.quantised {
                    biases.push(bias);
                } else {
                    gate = add(cx, gate, bias)?;
                }
            }
            scanned.push(gate);
            weights.push(self.weight(cx, 2, d, g, &format!("R{side}.{letter}"))?);
        }
        let mut peepholes = Vec::new();
        if let (Cell::Lstm, Some(p)) = (self.cell, self.node.optional(7)) {
            if cx.rank(p) != 2 {
                return Err(Fault::invalid(format!("the peepholes are {}", cx.ty(p))));
            }
            for (g, letter) in "iof".chars().enumerate() {
                let rows = (g as i64 * self.hidden, self.hidden);
                peepholes.push(self.rows(cx, p, d, rows, &format!("P{side}.{letter}"))?);
            }
        }
        let mut operands = vec![self.initial(cx, 5, d, batch_first)?];
        if self.cell == Cell::Lstm {
            operands.push(self.initial(cx, 6, d, batch_first)?);
        }
        let carried = operands.len();
        operands.extend(&scanned);
        cx.node_name = format!("{}{side}", self.name);
        cx.begin_nested("step");
        let step = Step { all: self, weights, late_bias, biases, peepholes, activations, end, carried };
        let nested = match step.outputs(cx, side) {
            Ok(outputs) => cx.end_nested(&outputs)?,
            Err(fault) => {
                cx.abandon_nested();
                return Err(fault);
            }
        };
        operands.extend(&nested.captured);
        let spec = LoopSpec {
            trip: Trip::Known(self.steps.clone()),
            conditional: false,
            carried,
            scanned: vec![end; scanned.len()],
            stacked: vec![end],
            body: nested.graph,
        };
        cx.node_name = format!("{}{side}", self.name);
        cx.append_all(Op::Loop(Box::new(spec)), &operands)
    }
}

/// One step of one direction.
struct Step<'a> {
    all: &'a Recurrent<'a>,
    /// Recurrent weights by gate.
    weights: Vec<Weight>,
    /// The recurrent bias of the last gate, where it is not part of the input's.
    late_bias: Option<Operand>,
    /// Biases that come behind both products of a gate: of quantised weights, whose rounding errors the next step quantises, so
    /// that the order of the sum is ONNX Runtime's.
    biases: Vec<Operand>,
    peepholes: Vec<Operand>,
    activations: &'a [Activation],
    end: Direction,
    carried: usize,
}

impl Step<'_> {
    /// Appends what a step computes: the next states, and the slice of the result.
    fn outputs(&self, cx: &mut Context, side: &str) -> Results {
        let all = self.all;
        let state = TensorType::new(cx.dtype(all.x), vec![all.batch.clone(), Dim::constant(all.hidden)]);
        let iteration = cx.nested_input("iteration", TensorType::fixed(DType::I64, &[]))?;
        let mut states = Vec::new();
        for i in 0..self.carried {
            states.push(cx.nested_input(["h", "c"][i.min(1)], state.clone())?);
        }
        let mut gates = Vec::new();
        for letter in all.cell.gates().chars() {
            gates.push(cx.nested_input(&format!("gate.{letter}"), state.clone())?);
        }
        let name = |what: &str| format!("{}{side}.{what}", all.name);
        cx.node_name = name("h");
        let (f, h) = (self.activations[0], Factor::new(cx, states[0], all.quantised)?);
        let mut next = match all.cell {
            Cell::Rnn => {
                cx.node_name = name("i");
                let sum = self.gate(cx, 0, gates[0], h)?;
                vec![f.apply(cx, sum)?]
            }
            Cell::Gru => vec![self.gru(cx, &gates, h, &name)?],
            Cell::Lstm => self.lstm(cx, &gates, (h, states[1]), &name)?,
        };
        let mut slice = next[0];
        cx.node_name = name("length");
        if let Some(lengths) = all.lengths {
            let time = match self.end {
                Direction::Forward => iteration,
                Direction::Reverse => {
                    let last = cx.add_ints(TensorType::fixed(DType::I64, &[]), vec![all.steps.clone() - 1.into()])?;
                    binary(cx, BinaryOp::Sub, last, iteration)?
                }
            };
            let within = binary(cx, BinaryOp::Less, time, lengths)?;
            let within = cx.append(Op::Reshape(vec![all.batch.clone(), Dim::constant(1)]), &[within])?;
            let zero = cx.scalar(state.dtype, 0.0);
            slice = cx.append(Op::Where, &[within, slice, zero])?;
            for (next, &old) in next.iter_mut().zip(&states) {
                *next = cx.append(Op::Where, &[within, *next, old])?;
            }
        }
        next.push(slice);
        Ok(next)
    }

    /// What goes into a gate's activation: the input's part, and the product with the state.
    fn gate(&self, cx: &mut Context, gate: usize, input: Operand, h: Factor) -> Result<Operand, Fault> {
        let product = product(cx, "hk,bk->bh", self.weights[gate], h)?;
        let sum = add(cx, product, input)?;
        self.clipped(cx, sum)
    }

    fn clipped(&self, cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
        match self.all.clip {
            Some(limit) => cx.append(Op::Clip { lo: -limit, hi: limit }, &[x]),
            None => Ok(x),
        }
    }

    fn gru(
        &self,
        cx: &mut Context,
        gates: &[Operand],
        h: Factor,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Operand, Fault> {
        let (f, g) = (self.activations[0], self.activations[1]);
        cx.node_name = name("z");
        let update = self.gate(cx, 0, gates[0], h)?;
        let update = f.apply(cx, update)?;
        cx.node_name = name("r");
        let reset = self.gate(cx, 1, gates[1], h)?;
        let reset = f.apply(cx, reset)?;
        cx.node_name = name("h");
        let sum = if self.all.late_reset {
            let mut inner = product(cx, "hk,bk->bh", self.weights[2], h)?;
            if let Some(bias) = self.late_bias {
                inner = add(cx, inner, bias)?;
            }
            let inner = mul(cx, inner, reset)?;
            let sum = add(cx, inner, gates[2])?;
            self.clipped(cx, sum)?
        } else {
            cx.node_name = name("reset");
            let kept = mul(cx, reset, h.x)?;
            cx.node_name = name("h");
            self.gate(cx, 2, gates[2], Factor { x: kept, scale: None })?
        };
        let new = g.apply(cx, sum)?;
        cx.node_name = name("state");
        let negated = apply_scalar(cx, BinaryOp::Mul, update, -1.0)?;
        let rest = apply_scalar(cx, BinaryOp::Add, negated, 1.0)?;
        let new = mul(cx, rest, new)?;
        let old = mul(cx, update, h.x)?;
        add(cx, new, old)
    }

    fn lstm(
        &self,
        cx: &mut Context,
        gates: &[Operand],
        (h, c): (Factor, Operand),
        name: &dyn Fn(&str) -> String,
    ) -> Results {
        let [f, g, last] = [0, 1, 2].map(|i| self.activations[i]);
        let gate = |cx: &mut Context, i: usize, letter: &str, cell: Option<Operand>| {
            cx.node_name = name(letter);
            let product = product(cx, "hk,bk->bh", self.weights[i], h)?;
            let mut sum = add(cx, product, gates[i])?;
            if let Some(&bias) = self.biases.get(i) {
                sum = add(cx, sum, bias)?;
            }
            if let (Some(cell), Some(&peephole)) = (cell, self.peepholes.get(i)) {
                let seen = mul(cx, cell, peephole)?;
                sum = add(cx, sum, seen)?;
            }
            self.clipped(cx, sum)
        };
        let input = gate(cx, 0, "i", Some(c))?;
        let input = f.apply(cx, input)?;
        let forget = if self.all.coupled {
            cx.node_name = name("f");
            let negated = apply_scalar(cx, BinaryOp::Mul, input, -1.0)?;
            apply_scalar(cx, BinaryOp::Add, negated, 1.0)?
        } else {
            let forget = gate(cx, 2, "f", Some(c))?;
            f.apply(cx, forget)?
        };
        let new = gate(cx, 3, "c", None)?;
        let new = g.apply(cx, new)?;
        cx.node_name = name("cell");
        let kept = mul(cx, forget, c)?;
        let new = mul(cx, input, new)?;
        let cell = add(cx, kept, new)?;
        let output = gate(cx, 1, "o", Some(cell))?;
        let output = f.apply(cx, output)?;
        cx.node_name = name("state");
        let shown = last.apply(cx, cell)?;
        Ok(vec![mul(cx, output, shown)?, cell])
    }
}
