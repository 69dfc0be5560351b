//! Control flow that is known in advance, and what goes into nested graphs.
//!
//! | before | after |
//! |---|---|
//! | an `if` whose condition is constant | the branch that is taken |
//! | a loop of one iteration without a condition | its body |
//! | a captured value that is constant | a constant of the nested graph, where it is folded and stored in a format |
//! | a captured value that nothing within uses | nothing |
//! | a carried value that the body passes on as it is | a captured value |
//! | a stacked result that nothing uses | nothing |

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::{Graph, LoopSpec, Node, NodeId, Op, TensorData, Trip, ValueId};

use crate::{PassError, PassStats};

/// Simplifies control flow as the table in `simplify_control.rs` says. The bytes of constants that move are shared.
///
/// # Errors
/// None on a verified graph.
pub fn simplify_control(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    loop {
        let changed = simplify_nodes(graph)?;
        if changed == 0 {
            return Ok(stats);
        }
        stats.changed += changed;
    }
}

fn simplify_nodes(graph: &mut Graph) -> Result<usize, PassError> {
    let mut count = 0;
    for id in graph.control_nodes() {
        let changed = match graph.node(id).op.clone() {
            Op::If { then, otherwise } => match constant_condition(graph, id) {
                Some(holds) => {
                    let captured = graph.node(id).operands.get(1..).unwrap_or_default().to_vec();
                    let outputs = copy_into(graph, if holds { &then } else { &otherwise }, &captured);
                    replace_results(graph, id, &outputs);
                    true
                }
                None => simplify_if(graph, id, &then, &otherwise)?,
            },
            Op::Loop(spec) if spec.trip == Trip::Known(1.into()) && !spec.conditional => {
                inline_once(graph, id, &spec)?;
                true
            }
            Op::Loop(spec) => simplify_loop(graph, id, &spec)?,
            _ => false,
        };
        count += usize::from(changed);
    }
    Ok(count)
}

fn constant_condition(graph: &Graph, id: NodeId) -> Option<bool> {
    let constant = graph.constant(*graph.node(id).operands.first()?)?;
    constant.data.bytes.first().map(|&b| b != 0)
}

fn replace_results(graph: &mut Graph, id: NodeId, by: &[ValueId]) {
    let results = graph.node(id).results.clone();
    for (&result, &by) in results.iter().zip(by) {
        graph.replace_uses(result, by);
    }
    graph.remove_node(id);
}

/// Appends the nodes of a graph to another one, in which `inputs` stand for its inputs. Returns its outputs.
fn copy_into(graph: &mut Graph, from: &Graph, inputs: &[ValueId]) -> Vec<ValueId> {
    let mut values: BTreeMap<ValueId, ValueId> = from.inputs().iter().copied().zip(inputs.iter().copied()).collect();
    let of = |graph: &mut Graph, values: &mut BTreeMap<ValueId, ValueId>, value: ValueId| {
        if let Some(&known) = values.get(&value) {
            return known;
        }
        let Some(constant) = from.constant(value) else { return value };
        let new = graph.add_constant(constant.name.clone(), constant.data.clone());
        values.insert(value, new);
        new
    };
    for id in from.topological_order() {
        let mut node = from.node(id).clone();
        let results = std::mem::take(&mut node.results);
        node.operands = node.operands.iter().map(|&v| of(graph, &mut values, v)).collect();
        let types = results.iter().map(|&r| from.ty(r).clone()).collect();
        let new = graph.add_node(node, types);
        for (i, old) in results.into_iter().enumerate() {
            let result = graph.node(new).results[i];
            graph.value_mut(result).name.clone_from(&from.value(old).name);
            values.insert(old, result);
        }
    }
    from.outputs().iter().map(|(_, v)| of(graph, &mut values, *v)).collect()
}

/// What becomes of an input of a nested graph.
enum Fate {
    Keep,
    Drop,
    Constant(String, TensorData),
}

/// The graph with some inputs gone, and some outputs.
fn without(graph: &Graph, fates: &[Fate], keep_output: impl Fn(usize) -> bool) -> Graph {
    let mut fresh = Graph::new(graph.name());
    fresh.set_pages(graph.pages().cloned());
    let mut inputs = Vec::new();
    for (&input, fate) in graph.inputs().iter().zip(fates) {
        let value = graph.value(input);
        inputs.push(match fate {
            Fate::Keep => fresh.add_input(value.name.clone(), value.ty.clone()),
            // Nothing uses it.
            Fate::Drop => ValueId::from_u32(u32::MAX),
            Fate::Constant(name, data) => fresh.add_constant(name.clone(), data.clone()),
        });
    }
    let outputs = copy_into(&mut fresh, graph, &inputs);
    for (i, ((name, _), value)) in graph.outputs().iter().zip(outputs).enumerate() {
        if keep_output(i) {
            fresh.add_output(name.clone(), value);
        }
    }
    fresh
}

/// What becomes of each captured value: operand `first + i` is input `first_input + i` of each nested graph.
fn captured_fates(graph: &Graph, operands: &[ValueId], nested: &[&Graph], first_input: usize) -> Vec<Fate> {
    let used: Vec<_> = nested.iter().map(|g| g.use_counts()).collect();
    let is_used = |i: usize| {
        nested.iter().zip(&used).any(|(g, used)| g.inputs().get(first_input + i).is_some_and(|v| used.contains_key(v)))
    };
    let fate = |(i, &operand): (usize, &ValueId)| match graph.constant(operand) {
        _ if !is_used(i) => Fate::Drop,
        Some(constant) => Fate::Constant(constant.name.clone(), constant.data.clone()),
        None => Fate::Keep,
    };
    operands.iter().enumerate().map(fate).collect()
}

fn is_kept(fate: &Fate) -> bool {
    matches!(fate, Fate::Keep)
}

fn simplify_if(graph: &mut Graph, id: NodeId, then: &Graph, otherwise: &Graph) -> Result<bool, PassError> {
    let operands = graph.node(id).operands.clone();
    let Some((&condition, captured)) = operands.split_first() else { return Ok(false) };
    let fates = captured_fates(graph, captured, &[then, otherwise], 0);
    if fates.iter().all(is_kept) {
        return Ok(false);
    }
    let kept = captured.iter().zip(&fates).filter(|(_, fate)| is_kept(fate)).map(|(&v, _)| v);
    let operands = std::iter::once(condition).chain(kept).collect();
    let [then, otherwise] = [then, otherwise].map(|g| Box::new(without(g, &fates, |_| true)));
    let node = Node::new(Op::If { then, otherwise }, operands, graph.node(id).name.clone());
    replace_control(graph, id, node, Some)?;
    Ok(true)
}

/// Puts a control node in the place of another; `result` says which of its results stands for which.
fn replace_control(
    graph: &mut Graph,
    id: NodeId,
    node: Node,
    result: impl Fn(usize) -> Option<usize>,
) -> Result<(), PassError> {
    let new = graph.append_node(node)?;
    let old = graph.node(id).results.clone();
    for (i, &old) in old.iter().enumerate() {
        if let Some(&by) = result(i).and_then(|i| graph.node(new).results.get(i)) {
            let name = graph.value(old).name.clone();
            graph.value_mut(by).name = name;
            graph.replace_uses(old, by);
        }
    }
    graph.remove_node(id);
    Ok(())
}

fn simplify_loop(graph: &mut Graph, id: NodeId, spec: &LoopSpec) -> Result<bool, PassError> {
    let node = graph.node(id);
    let (operands, results) = (node.operands.clone(), node.results.clone());
    let body = &spec.body;
    let (first, carried, own) = (spec.first_carried(), spec.carried, usize::from(spec.conditional));
    // Carried values that never change become captured ones first.
    let constant = |i: &usize| body.outputs()[own + i].1 == body.inputs()[1 + i];
    let unchanged: BTreeSet<usize> = (0..carried).filter(constant).collect();
    let used = graph.use_counts();
    let unused = |i: usize| i >= carried && !used.contains_key(&results[i]);
    let captured = &operands[spec.first_captured()..];
    let fates = captured_fates(graph, captured, &[body], spec.first_captured_input());
    if unchanged.is_empty() && !(carried..results.len()).any(unused) && fates.iter().all(is_kept) {
        return Ok(false);
    }
    for &i in &unchanged {
        graph.replace_uses(results[i], operands[first + i]);
    }
    // The body anew: the inputs that change their place are added in their new order.
    let mut fresh = Graph::new(body.name());
    fresh.set_pages(body.pages().cloned());
    let mut inputs: Vec<Option<ValueId>> = vec![None; body.inputs().len()];
    let mut new_operands: Vec<ValueId> = operands[..first].to_vec();
    let add = |fresh: &mut Graph, i: usize| {
        let value = body.value(body.inputs()[i]);
        Some(fresh.add_input(value.name.clone(), value.ty.clone()))
    };
    inputs[0] = add(&mut fresh, 0);
    let scanned = 1 + carried..1 + carried + spec.scanned.len();
    let kept = (1..=carried).filter(|i| !unchanged.contains(&(i - 1))).chain(scanned);
    let late = unchanged.iter().map(|i| i + 1);
    for i in kept.chain(late) {
        inputs[i] = add(&mut fresh, i);
        new_operands.push(operands[first + i - 1]);
    }
    for (i, fate) in fates.into_iter().enumerate() {
        let at = spec.first_captured_input() + i;
        match fate {
            Fate::Drop => {}
            Fate::Keep => {
                inputs[at] = add(&mut fresh, at);
                new_operands.push(captured[i]);
            }
            Fate::Constant(name, data) => inputs[at] = Some(fresh.add_constant(name, data)),
        }
    }
    let inputs: Vec<ValueId> = inputs.into_iter().map(|v| v.unwrap_or(ValueId::from_u32(u32::MAX))).collect();
    let outputs = copy_into(&mut fresh, body, &inputs);
    let kept_result = |i: usize| !unchanged.contains(&i) && !unused(i);
    for (i, ((name, _), value)) in body.outputs().iter().zip(outputs).enumerate() {
        if i < own || kept_result(i - own) {
            fresh.add_output(name.clone(), value);
        }
    }
    let stacked = spec.stacked.iter().enumerate().filter(|(i, _)| !unused(carried + i)).map(|(_, &d)| d).collect();
    let new = LoopSpec {
        trip: spec.trip.clone(),
        conditional: spec.conditional,
        carried: carried - unchanged.len(),
        scanned: spec.scanned.clone(),
        stacked,
        body: fresh,
    };
    if new.carried + new.stacked.len() == 0 {
        graph.remove_node(id);
        return Ok(true);
    }
    let node = Node::new(Op::Loop(Box::new(new)), new_operands, graph.node(id).name.clone());
    let position = |i: usize| kept_result(i).then(|| (0..i).filter(|&j| kept_result(j)).count());
    replace_control(graph, id, node, position)?;
    Ok(true)
}

/// A loop of one iteration.
fn inline_once(graph: &mut Graph, id: NodeId, spec: &LoopSpec) -> Result<(), PassError> {
    let node = graph.node(id);
    let (operands, results, name) = (node.operands.clone(), node.results.clone(), node.name.clone());
    let (first, carried) = (spec.first_carried(), spec.carried);
    let mut inputs = vec![graph.add_constant("iteration", TensorData::i64(&[], vec![0]))];
    inputs.extend(&operands[first..first + carried]);
    for i in 0..spec.scanned.len() {
        let slice = spec.body.ty(spec.body.inputs()[1 + carried + i]).shape.clone();
        inputs.push(graph.append(Op::Reshape(slice), &[operands[first + carried + i]], &name)?);
    }
    inputs.extend(&operands[spec.first_captured()..]);
    let mut outputs = copy_into(graph, &spec.body, &inputs);
    for (output, &result) in outputs.iter_mut().zip(&results).skip(carried) {
        *output = graph.append(Op::Reshape(graph.ty(result).shape.clone()), &[*output], &name)?;
    }
    replace_results(graph, id, &outputs);
    Ok(())
}
