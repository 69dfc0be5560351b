//! `If`, `Loop` and `Scan`: graphs within the graph.
//!
//! A branch that is known to be taken is read as if it stood there. A loop becomes a `loop` of the graph where its carried
//! values keep their types; where they don't, or where its body computes shapes from the iteration, it is written out iteration
//! by iteration, if it is known when it ends.

use std::collections::BTreeMap;

use sparsec_graph::{DType, Dim, Direction, LoopSpec, Op, TensorType, Trip};

use super::context::{Context, Nested, Operand};
use super::node::{Node, axis};
use super::trip::{Counted, passed_on};
use super::{Import, Opsets};
use crate::error::{Fault, Place, Problem};
use crate::proto::GraphProto;

/// A loop is written out only where that makes at most this many nodes.
const MAX_UNROLLED: usize = 20_000;

/// Nodes of nested graphs that are read at most, counted as often as they are: loops that are tried and then written out, within
/// each other, would otherwise take time that the file does not justify.
const MAX_NESTED: usize = 200_000;

type Results = Result<Vec<Operand>, Fault>;

/// What a nested graph gives, or that what is wrong with it is reported already.
type Inlined = Option<Vec<Operand>>;

/// A graph of a branch, and how many tensors each of its results is; `None` where that is one tensor.
type Branch = (Nested, Vec<Option<usize>>);

impl Import {
    /// Reads a node that holds graphs.
    pub(super) fn control(&mut self, node: &Node<'_>, opsets: &Opsets) -> Results {
        let name = self.cx.node_name.clone();
        let results = match node.proto.op_type() {
            "If" => self.conditional(node, opsets),
            "Loop" => self.looped(node, opsets),
            "SequenceMap" => self.sequence_map(node, opsets),
            "Gradient" => self.gradient(node),
            _ => self.scan(node, opsets),
        };
        self.cx.node_name = name;
        results
    }

    /// Reads a nested graph whose inputs are these operands, into the graph under construction.
    fn inline(&mut self, graph: &GraphProto, inputs: &[Operand], opsets: &Opsets) -> Result<Inlined, Fault> {
        if graph.input.len() > inputs.len() {
            let (takes, found) = (graph.input.len(), inputs.len());
            return Err(Fault::invalid(format!("the graph within takes {takes} inputs, not {found}")));
        }
        self.nested_nodes += graph.node.len() + 1;
        if self.nested_nodes > MAX_NESTED {
            return Err(Fault::unsupported(format!("reading more than {MAX_NESTED} nodes within control flow")));
        }
        self.outer_names.push(std::mem::take(&mut self.names));
        let bound = graph.input.iter().zip(inputs).map(|(input, &x)| (input.name().to_owned(), Some(x)));
        self.names = bound.collect::<BTreeMap<_, _>>();
        let mut own = graph.clone();
        self.initializers(&mut own);
        for proto in &graph.node {
            self.node(proto, opsets);
        }
        let mut outputs = Some(Vec::new());
        for output in &graph.output {
            match self.find(output.name()) {
                Some(Some(operand)) => {
                    let operand = *operand;
                    outputs.iter_mut().for_each(|all| all.push(operand));
                }
                Some(None) => outputs = None,
                None => {
                    let fault = Fault::Undefined(output.name().to_owned());
                    self.report(Place::Output(output.name().to_owned()), fault);
                    outputs = None;
                }
            }
        }
        self.names = self.outer_names.pop().unwrap_or_default();
        Ok(outputs)
    }

    /// The first element of an integer or truth value, as far as it is known.
    fn known(&self, x: Operand) -> Option<Dim> {
        let folded = || self.cx.folded_ints(x).and_then(|ints| ints.first().copied().map(Dim::constant));
        self.cx.ints(x).and_then(|ints| ints.first().cloned()).or_else(folded)
    }

    /// Whether something is wrong that was not before; takes it out.
    fn problems_since(&mut self, before: usize) -> Vec<Problem> {
        self.problems.split_off(before.min(self.problems.len()))
    }

    fn conditional(&mut self, node: &Node<'_>, opsets: &Opsets) -> Results {
        let condition = node.input(0)?;
        let (then, otherwise) = (node.graph("then_branch")?, node.graph("else_branch")?);
        let known = self.known(condition).and_then(|c| c.as_const());
        if let Some(holds) = known {
            let taken = if holds != 0 { then } else { otherwise };
            return Ok(self.inline(&taken, &[], opsets)?.unwrap_or_default());
        }
        if squeezes_if_it_can(&then, &otherwise) {
            return Ok(self.inline(&then, &[], opsets)?.unwrap_or_default());
        }
        let condition = scalar(&mut self.cx, condition)?;
        self.cx.begin_nested("then");
        let Some((mut then, shape)) = self.branch(&then, opsets)? else { return Ok(Vec::new()) };
        self.cx.begin_nested("else");
        // Both graphs take the same values, in the same order.
        for &x in &then.captured {
            self.cx.capture(x);
        }
        let Some((otherwise, other_shape)) = self.branch(&otherwise, opsets)? else { return Ok(Vec::new()) };
        for (i, &x) in otherwise.captured.iter().enumerate().skip(then.captured.len()) {
            let ty = self.cx.ty(x).clone();
            then.graph.add_input(format!("captured.{i}"), ty);
        }
        if shape != other_shape {
            return Err(self.cx.unresolved(node.input(0)?, "a condition that decides how long a sequence is"));
        }
        let mut operands = vec![condition];
        operands.extend(&otherwise.captured);
        let op = Op::If { then: Box::new(then.graph), otherwise: Box::new(otherwise.graph) };
        let flat = self.cx.append_all(op, &operands)?;
        Ok(grouped(&mut self.cx, flat, &shape))
    }

    /// Reads a branch into a graph of its own, which has begun. Sequences among its outputs become their items; the numbers
    /// say how many.
    fn branch(&mut self, graph: &GraphProto, opsets: &Opsets) -> Result<Option<Branch>, Fault> {
        let outputs = self.inline(graph, &[], opsets);
        let outputs = match outputs {
            Ok(Some(outputs)) => outputs,
            other => {
                self.cx.abandon_nested();
                return other.map(|_| None);
            }
        };
        let shape: Vec<Option<usize>> = outputs.iter().map(|&x| self.cx.sequence(x).map(<[Operand]>::len)).collect();
        let flat: Vec<Operand> =
            outputs.iter().flat_map(|&x| self.cx.sequence(x).map_or_else(|| vec![x], <[Operand]>::to_vec)).collect();
        Ok(Some((self.cx.end_nested(&flat)?, shape)))
    }

    /// `SequenceMap`: a graph for the tensors of sequences, written out for each.
    fn sequence_map(&mut self, node: &Node<'_>, opsets: &Opsets) -> Results {
        let body = node.graph("body")?;
        let inputs = node.all_inputs()?;
        let rows: Vec<Option<Vec<Operand>>> =
            inputs.iter().map(|&x| self.cx.sequence(x).map(<[Operand]>::to_vec)).collect();
        let Some(Some(first)) = rows.first() else { return Err(Fault::invalid("the first operand is no sequence")) };
        let mut results: Vec<Vec<Operand>> = vec![Vec::new(); body.output.len()];
        for i in 0..first.len() {
            let mut items = Vec::new();
            for (&x, row) in inputs.iter().zip(&rows) {
                let item = row.as_ref().map_or(Some(x), |row| row.get(i).copied());
                items.push(item.ok_or_else(|| Fault::invalid("the sequences are of different lengths"))?);
            }
            let Some(outputs) = self.inline(&body, &items, opsets)? else { return Ok(Vec::new()) };
            results.iter_mut().zip(outputs).for_each(|(all, output)| all.push(output));
        }
        Ok(results.into_iter().map(|items| self.cx.add_sequence(items)).collect())
    }

    fn looped(&mut self, node: &Node<'_>, opsets: &Opsets) -> Results {
        let body = node.graph("body")?;
        let (trip, condition) = (node.optional(0), node.optional(1));
        let carried: Vec<Operand> = (2..node.inputs.len()).map(|i| node.input(i)).collect::<Result<_, _>>()?;
        let known_trip = trip.and_then(|x| self.known(x));
        let known_trip = known_trip.map(|t| t.as_const().map_or(t, |n| Dim::constant(n.max(0))));
        let starts = condition.map_or(Some(true), |c| self.known(c).and_then(|c| c.as_const()).map(|c| c != 0));
        let before = self.problems.len();
        let looped = Looped { body: &body, trip, known_trip, condition, starts, carried: &carried };
        let level = self.cx.level();
        let as_loop = match carried.iter().any(|&x| self.cx.sequence(x).is_some()) {
            true => {
                let unknown = trip.filter(|_| looped.known_trip.as_ref().and_then(Dim::as_const).is_none());
                match unknown.or(condition.filter(|_| starts.is_none())) {
                    Some(x) => Err(self.cx.unresolved(x, "how often a loop runs that makes a sequence")),
                    None => Err(Fault::unsupported("a sequence that a loop makes")),
                }
            }
            false => self.as_loop(&looped, opsets),
        };
        while self.cx.level() > level {
            self.cx.abandon_nested();
        }
        let found = self.problems_since(before);
        match as_loop {
            Ok(results) if found.is_empty() => return Ok(results),
            _ => {}
        }
        if let Some(results) = self.unrolled(&looped, opsets) {
            return Ok(results);
        }
        self.problems_since(before);
        self.problems.extend(found);
        let unknown = trip.filter(|_| looped.known_trip.is_none()).or(condition.filter(|_| starts.is_none()));
        match (as_loop, unknown) {
            (Err(fault), _) => Err(fault),
            // Iteration by iteration more would be known.
            (Ok(_), Some(x)) => Err(self.cx.unresolved(x, "how often this loop runs")),
            (Ok(results), None) => Ok(results),
        }
    }

    fn as_loop(&mut self, looped: &Looped<'_>, opsets: &Opsets) -> Results {
        let &Looped { body, trip, condition, starts, carried, .. } = looped;
        let truth = || TensorType::fixed(DType::Bool, &[]);
        self.cx.begin_nested("body");
        let iteration = self.cx.nested_input("iteration", TensorType::fixed(DType::I64, &[]))?;
        // Where the body runs, the condition holds.
        let mut inputs = vec![iteration, self.cx.add_ints(truth(), vec![Dim::constant(1)])?];
        let mut passed = passed_on(body);
        passed.resize(carried.len(), false);
        for (i, (&x, &passed)) in carried.iter().zip(&passed).enumerate() {
            let ty = self.cx.ty(x).clone();
            inputs.push(if passed { x } else { self.cx.nested_input(&format!("carried.{i}"), ty)? });
        }
        // What is broken is reported already.
        let Some(mut outputs) = self.inline(body, &inputs, opsets)? else { return Ok(Vec::new()) };
        if outputs.len() < 1 + carried.len() {
            let (gives, takes) = (outputs.len(), 1 + carried.len());
            return Err(Fault::invalid(format!("the body gives {gives} outputs, where at least {takes} are wanted")));
        }
        let slices = outputs.split_off(1 + carried.len());
        let states = carried.iter().zip(&inputs[2..]).zip(&outputs[1..]).zip(&passed);
        let states: Vec<_> =
            states.filter(|(_, passed)| !**passed).map(|(((&x, &here), &next), _)| (x, here, next)).collect();
        for (i, &(x, _, next)) in states.iter().enumerate() {
            let (from, to) = (self.cx.ty(x), self.cx.ty(next));
            if from != to {
                let what =
                    format!("how often a loop runs whose carried value {i} changes its type from {from} to {to}");
                return Err(trip.map_or_else(|| Fault::unsupported(&what), |x| self.cx.unresolved(x, &what)));
            }
        }
        let goes_on = self.cx.ints(outputs[0]).and_then(|c| c.first().and_then(Dim::as_const));
        let ends = goes_on == Some(0);
        let mut conditional = starts != Some(true) || goes_on.is_none();
        let mut known_trip = looped.known_trip.clone();
        if conditional && starts != Some(false) && !ends {
            let counted = Counted {
                limit: known_trip.as_ref(),
                starts: condition.filter(|_| starts.is_none()),
                goes_on: outputs[0],
                iteration,
                carried: states.clone(),
            };
            if let Some(trip) = counted.trip(&self.cx) {
                (conditional, known_trip) = (false, Some(trip));
            }
        }
        let mut results = Vec::new();
        if conditional {
            results.push(scalar(&mut self.cx, outputs[0])?);
        }
        results.extend(states.iter().map(|&(_, _, next)| next));
        results.extend(&slices);
        let nested = self.cx.end_nested(&results)?;
        let mut operands = Vec::new();
        let trip = match (&known_trip, trip) {
            (Some(trip), _) if starts == Some(false) => Trip::Known(Dim::constant(0).minimum(trip)),
            (Some(trip), _) if ends => Trip::Known(Dim::constant(1).minimum(trip)),
            (Some(trip), _) => Trip::Known(trip.clone()),
            (None, Some(trip)) => {
                let trip = scalar(&mut self.cx, trip)?;
                operands.push(self.cx.append(Op::Cast(DType::I64), &[trip])?);
                Trip::Operand
            }
            (None, None) => Trip::Unbounded,
        };
        if !slices.is_empty() && (conditional || !matches!(trip, Trip::Known(_))) {
            let x = looped.trip.or(condition);
            let what = "how often a loop runs whose slices are stacked";
            return Err(x.map_or_else(|| Fault::unsupported(what), |x| self.cx.unresolved(x, what)));
        }
        if conditional {
            let starts = match condition {
                Some(condition) => scalar(&mut self.cx, condition)?,
                None => self.cx.add_ints(truth(), vec![Dim::constant(1)])?,
            };
            operands.push(starts);
        }
        operands.extend(states.iter().map(|&(x, _, _)| x));
        operands.extend(&nested.captured);
        let spec = LoopSpec {
            trip,
            conditional,
            carried: states.len(),
            scanned: Vec::new(),
            stacked: vec![Direction::Forward; slices.len()],
            body: nested.graph,
        };
        let mut given = self.cx.append_all(Op::Loop(Box::new(spec)), &operands)?;
        for (i, &x) in carried.iter().enumerate().filter(|&(i, _)| passed[i]) {
            given.insert(i, x);
        }
        Ok(given)
    }

    /// Writes a loop out, as long as it is known whether it goes on. `None` where that can't be done.
    fn unrolled(&mut self, looped: &Looped<'_>, opsets: &Opsets) -> Option<Vec<Operand>> {
        let trip = match (&looped.known_trip, looped.trip) {
            (Some(trip), _) => trip.as_const()?,
            (None, Some(_)) => return None,
            (None, None) => i64::MAX,
        };
        let limit = (MAX_UNROLLED / (looped.body.node.len() + 1)) as i64;
        let before = self.problems.len();
        let mut state = looped.carried.to_vec();
        let mut stacks: Vec<Vec<Operand>> = Vec::new();
        let mut goes_on = looped.starts?;
        let mut iteration = 0;
        let name = self.cx.node_name.clone();
        while goes_on && iteration < trip {
            if iteration >= limit {
                return None;
            }
            let index = self.cx.add_ints(TensorType::fixed(DType::I64, &[]), vec![Dim::constant(iteration)]).ok()?;
            let truth = self.cx.add_ints(TensorType::fixed(DType::Bool, &[]), vec![Dim::constant(1)]).ok()?;
            let inputs: Vec<Operand> = [index, truth].into_iter().chain(state).collect();
            let mut outputs = self.inline(looped.body, &inputs, opsets).ok()??;
            self.cx.node_name.clone_from(&name);
            if self.problems.len() > before || outputs.len() < 1 + looped.carried.len() {
                return None;
            }
            let slices = outputs.split_off(1 + looped.carried.len());
            goes_on = self.cx.ints(outputs.remove(0))?.first()?.as_const()? != 0;
            state = outputs;
            stacks.resize(slices.len(), Vec::new());
            stacks.iter_mut().zip(slices).for_each(|(stack, slice)| stack.push(slice));
            iteration += 1;
        }
        // Of slices that no iteration gave the shape is not known.
        if iteration == 0 && looped.body.output.len() > 1 + looped.carried.len() {
            return None;
        }
        for stack in stacks {
            state.push(stacked(&mut self.cx, &stack).ok()?);
        }
        Some(state)
    }

    fn scan(&mut self, node: &Node<'_>, opsets: &Opsets) -> Results {
        let body = node.graph("body")?;
        let count = node.int("num_scan_inputs")?.ok_or_else(|| Fault::attribute("num_scan_inputs", "is missing"))?;
        if node.opset < 9 {
            return self.batched_scan(node, &body, count, opsets);
        }
        let inputs = node.all_inputs()?;
        let (carried, scanned) = split_scan(&inputs, count)?;
        let number = |name: &str, i: usize| -> Result<i64, Fault> {
            Ok(node.ints(name)?.and_then(|v| v.get(i).copied()).unwrap_or(0))
        };
        let direction = |name: &str, i: usize| -> Result<Direction, Fault> {
            Ok(if number(name, i)? == 0 { Direction::Forward } else { Direction::Reverse })
        };
        let mut slices = Vec::new();
        for (i, &x) in scanned.iter().enumerate() {
            let from = axis(number("scan_input_axes", i)?, self.cx.rank(x))?;
            slices.push((moved(&mut self.cx, x, from, 0)?, direction("scan_input_directions", i)?));
        }
        let stacked: Vec<Direction> = (carried.len()..body.output.len())
            .map(|i| direction("scan_output_directions", i - carried.len()))
            .collect::<Result<_, _>>()?;
        let mut results = self.scan_loop(&body, carried, &slices, stacked, opsets)?;
        for (i, result) in results.iter_mut().skip(carried.len()).enumerate() {
            let to = axis(number("scan_output_axes", i)?, self.cx.rank(*result))?;
            *result = moved(&mut self.cx, *result, 0, to)?;
        }
        Ok(results)
    }

    /// `Scan` of operator set 8: of each element of a batch, which is the first axis of everything.
    fn batched_scan(&mut self, node: &Node<'_>, body: &GraphProto, count: i64, opsets: &Opsets) -> Results {
        if node.optional(0).is_some() {
            return Err(Fault::unsupported("Scan with lengths of sequences"));
        }
        let inputs: Vec<Operand> = (1..node.inputs.len()).map(|i| node.input(i)).collect::<Result<_, _>>()?;
        let (carried, _) = split_scan(&inputs, count)?;
        let carried = carried.len();
        let batch = inputs.first().and_then(|&x| self.cx.shape(x).first().cloned());
        let batch = batch.ok_or_else(|| Fault::invalid("a batch of scalars"))?;
        let directions = node.ints("directions")?.unwrap_or_default();
        let end = |i: usize| match directions.get(i) {
            Some(1) => Direction::Reverse,
            _ => Direction::Forward,
        };
        self.cx.begin_nested("element");
        let nested = self.scan_element(body, &inputs, carried, &end, opsets);
        let nested = nested.inspect_err(|_| drop(self.cx.abandon_nested()))?;
        let operands: Vec<Operand> = inputs.iter().chain(&nested.captured).copied().collect();
        let spec = LoopSpec {
            trip: Trip::Known(batch),
            conditional: false,
            carried: 0,
            scanned: vec![Direction::Forward; inputs.len()],
            stacked: vec![Direction::Forward; nested.graph.outputs().len()],
            body: nested.graph,
        };
        self.cx.append_all(Op::Loop(Box::new(spec)), &operands)
    }

    fn scan_element(
        &mut self,
        body: &GraphProto,
        inputs: &[Operand],
        carried: usize,
        end: &dyn Fn(usize) -> Direction,
        opsets: &Opsets,
    ) -> Result<Nested, Fault> {
        self.cx.nested_input("element", TensorType::fixed(DType::I64, &[]))?;
        let mut slices = Vec::new();
        for (i, &x) in inputs.iter().enumerate() {
            let shape = self.cx.shape(x);
            let rest = shape.get(1..).ok_or_else(|| Fault::invalid("a batch of scalars"))?;
            let ty = TensorType::new(self.cx.dtype(x), rest.to_vec());
            slices.push(self.cx.nested_input(&format!("slice.{i}"), ty)?);
        }
        let (states, scanned) = slices.split_at(carried);
        let scanned: Vec<_> = scanned.iter().enumerate().map(|(i, &x)| (x, end(i))).collect();
        let stacked = vec![Direction::Forward; body.output.len().saturating_sub(carried)];
        let results = self.scan_loop(body, states, &scanned, stacked, opsets)?;
        self.cx.end_nested(&results)
    }

    /// The loop over slices along axis 0.
    fn scan_loop(
        &mut self,
        body: &GraphProto,
        carried: &[Operand],
        scanned: &[(Operand, Direction)],
        stacked: Vec<Direction>,
        opsets: &Opsets,
    ) -> Results {
        let slices: Vec<Operand> = scanned.iter().map(|(x, _)| *x).collect();
        let trip = slices.first().and_then(|&x| self.cx.shape(x).first().cloned());
        let trip = trip.ok_or_else(|| Fault::invalid("a scalar can't be scanned"))?;
        self.cx.begin_nested("body");
        let nested = self.scan_body(body, carried, &slices, opsets);
        let Some(nested) = nested.inspect_err(|_| drop(self.cx.abandon_nested()))? else { return Ok(Vec::new()) };
        let operands: Vec<Operand> = carried.iter().chain(&slices).chain(&nested.captured).copied().collect();
        let spec = LoopSpec {
            trip: Trip::Known(trip),
            conditional: false,
            carried: carried.len(),
            scanned: scanned.iter().map(|(_, end)| *end).collect(),
            stacked,
            body: nested.graph,
        };
        self.cx.append_all(Op::Loop(Box::new(spec)), &operands)
    }

    fn scan_body(
        &mut self,
        body: &GraphProto,
        carried: &[Operand],
        scanned: &[Operand],
        opsets: &Opsets,
    ) -> Result<Option<Nested>, Fault> {
        self.cx.nested_input("iteration", TensorType::fixed(DType::I64, &[]))?;
        let mut inputs = Vec::new();
        for (i, &x) in carried.iter().enumerate() {
            let ty = self.cx.ty(x).clone();
            inputs.push(self.cx.nested_input(&format!("carried.{i}"), ty)?);
        }
        for (i, &x) in scanned.iter().enumerate() {
            let shape = self.cx.shape(x);
            let rest = shape.get(1..).ok_or_else(|| Fault::invalid("a scalar can't be scanned"))?;
            let ty = TensorType::new(self.cx.dtype(x), rest.to_vec());
            inputs.push(self.cx.nested_input(&format!("slice.{i}"), ty)?);
        }
        match self.inline(body, &inputs, opsets)? {
            Some(outputs) => self.cx.end_nested(&outputs).map(Some),
            None => {
                self.cx.abandon_nested();
                Ok(None)
            }
        }
    }
}

/// Whether a branch removes an axis and the other one leaves the tensor alone: how PyTorch exports `squeeze` of an axis whose
/// extent it does not know. What follows takes one of the ranks only, so the axis is taken to be there to be removed; a run checks it.
fn squeezes_if_it_can(then: &GraphProto, otherwise: &GraphProto) -> bool {
    let is = |node: &crate::proto::NodeProto, name: &str| node.op_type() == name;
    let squeezed = then.node.iter().filter(|n| is(n, "Squeeze")).count() == 1;
    squeezed
        && then.node.iter().all(|n| is(n, "Squeeze") || is(n, "Constant"))
        && matches!(otherwise.node.as_slice(), [only] if is(only, "Identity"))
}

/// A loop as the model has it.
struct Looped<'a> {
    body: &'a GraphProto,
    trip: Option<Operand>,
    known_trip: Option<Dim>,
    condition: Option<Operand>,
    /// Whether the first iteration runs, where that is known.
    starts: Option<bool>,
    carried: &'a [Operand],
}

/// Carried and scanned inputs.
fn split_scan(inputs: &[Operand], scans: i64) -> Result<(&[Operand], &[Operand]), Fault> {
    let carried = usize::try_from(scans).ok().filter(|&n| n > 0).and_then(|n| inputs.len().checked_sub(n));
    let carried = carried.ok_or_else(|| Fault::attribute("num_scan_inputs", format!("is {scans}")))?;
    Ok(inputs.split_at(carried))
}

/// A tensor of one element as a scalar.
fn scalar(cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
    if cx.rank(x) == 0 {
        return Ok(x);
    }
    cx.append(Op::Reshape(Vec::new()), &[x])
}

/// Slices, one behind the other along a new first axis.
fn stacked(cx: &mut Context, slices: &[Operand]) -> Result<Operand, Fault> {
    let mut rows = Vec::with_capacity(slices.len());
    for &slice in slices {
        let shape = [&[Dim::constant(1)], cx.shape(slice).as_slice()].concat();
        rows.push(cx.append(Op::Reshape(shape), &[slice])?);
    }
    cx.append(Op::Concat { axis: 0 }, &rows)
}

/// A tensor with one of its axes at another place.
fn moved(cx: &mut Context, x: Operand, from: usize, to: usize) -> Result<Operand, Fault> {
    if from == to {
        return Ok(x);
    }
    let mut perm: Vec<usize> = (0..cx.rank(x)).collect();
    let axis = perm.remove(from);
    perm.insert(to, axis);
    cx.append(Op::Transpose(perm), &[x])
}

/// Puts items of sequences together again.
fn grouped(cx: &mut Context, flat: Vec<Operand>, shape: &[Option<usize>]) -> Vec<Operand> {
    let mut flat = flat.into_iter();
    let mut results = Vec::new();
    for count in shape {
        match count {
            None => results.extend(flat.next()),
            Some(count) => {
                let items = flat.by_ref().take(*count).collect();
                results.push(cx.add_sequence(items));
            }
        }
    }
    results
}
