//! Random small graphs keep their meaning, whatever is fused, moved and stored how.

mod common;

use common::{assert_equal, options};
use proptest::prelude::*;
use sparsec_graph::{
    BinaryOp, ContractSpec, DType, Dim, Graph, Op, ReduceKind, SliceAxis, TensorType, UnaryOp, ValueId, random_data,
};
use sparsec_rewrite::rewrite;

/// One step: which operator, on which values, with which attribute.
type Step = (u8, u8, u8, u8);

const PERMUTATIONS: [[usize; 3]; 5] = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Operators of steps, on values of three axes for the most part. Steps that don't type-check are left out.
fn operator(graph: &Graph, which: u8, attribute: usize, a: ValueId, b: ValueId) -> Option<(Op, Vec<ValueId>)> {
    let shape = graph.ty(a).shape.clone();
    let axis = attribute % shape.len().max(1);
    Some(match which % 14 {
        0 | 1 => (Op::Binary([BinaryOp::Add, BinaryOp::Mul, BinaryOp::Sub][attribute % 3]), vec![a, b]),
        2 => (Op::Unary([UnaryOp::Relu, UnaryOp::Tanh, UnaryOp::Neg][attribute % 3]), vec![a]),
        3 | 4 => (Op::Transpose(PERMUTATIONS[attribute % 5].to_vec()), vec![a]),
        5 => (Op::Softmax { axis }, vec![a]),
        6 => (Op::Reduce { kind: ReduceKind::Mean, axes: vec![axis], keep: attribute.is_multiple_of(2) }, vec![a]),
        7 => (Op::Concat { axis }, vec![a, b]),
        8 => {
            let merged = [vec![shape.first()?.clone() * shape.get(1)?.clone()], shape.get(2..)?.to_vec()].concat();
            let split = [shape.clone(), vec![Dim::constant(1)]].concat();
            let flat = vec![Dim::product(&shape)];
            (Op::Reshape([merged, split, flat][attribute % 3].clone()), vec![a])
        }
        9 => {
            let one = |d: &Dim| SliceAxis { start: Dim::constant(0), len: d.clone(), step: 1 };
            let mut ranges: Vec<SliceAxis> = shape.iter().map(one).collect();
            let extent = shape.get(axis)?.as_const()?;
            *ranges.get_mut(axis)? =
                SliceAxis { start: Dim::constant(extent - 1), len: Dim::constant(extent), step: -1 };
            (Op::Slice(ranges), vec![a])
        }
        10 => {
            let amounts = (0..shape.len()).map(|i| if i == axis { (1, 0) } else { (0, 0) }).collect();
            (Op::Pad { amounts, value: 0.5 }, vec![a])
        }
        11 => (Op::Clip { lo: -0.5, hi: 0.75 }, vec![a]),
        12 => {
            let spec = ["abc,abd->acd", "abc,adc->abd", "abc,bce->aeb"][attribute % 3];
            (Op::Contract(ContractSpec::parse(spec)?), vec![a, b])
        }
        _ => return None,
    })
}

fn build(steps: &[Step]) -> Graph {
    let mut graph = Graph::new("random");
    let mut values = vec![
        graph.add_input("x", TensorType::fixed(DType::F32, &[2, 3, 4])),
        graph.add_input("v", TensorType::fixed(DType::F32, &[4])),
        graph.add_constant("c", random_data(DType::F32, &[3, 1], 3, 1.0)),
    ];
    for (i, &(which, a, b, attribute)) in steps.iter().enumerate() {
        let pick = |n: u8| values[values.len() - 1 - n as usize % values.len().min(5)];
        let (a, b, attribute) = (pick(a), pick(b), attribute as usize);
        let added = if which % 14 == 13 {
            // A layer with a constant weight on whichever axis is last.
            let Some(k) = graph.ty(a).shape.last().and_then(Dim::as_const) else { continue };
            let labels: String = ('n'..).take(graph.ty(a).rank() - 1).collect();
            let spec = ContractSpec::parse(&format!("jk,{labels}k->{labels}j"));
            let weight = random_data(DType::F32, &[4, k as usize], i as u64, [0.1, 0.5, 1.0][attribute % 3]);
            let weight = graph.add_constant(format!("w{i}"), weight);
            spec.and_then(|spec| graph.append(Op::Contract(spec), &[weight, a], &format!("fc{i}")).ok())
        } else {
            operator(&graph, which, attribute, a, b)
                .and_then(|(op, operands)| graph.append(op, &operands, &format!("n{i}")).ok())
        };
        values.extend(added.filter(|&v| graph.ty(v).rank() <= 4 && !graph.ty(v).shape.is_empty()));
    }
    graph.add_output("last", values[values.len() - 1]);
    graph.add_output("middle", values[values.len() / 2]);
    graph
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_keep_their_meaning(steps in prop::collection::vec(any::<Step>(), 1..14)) {
        let graph = build(&steps);
        let rewritten = rewrite(&graph, &options()).expect("rewrites");
        assert_equal(&graph, &rewritten.graph);
        let again = rewrite(&graph, &options()).expect("rewrites");
        prop_assert_eq!(rewritten.graph.to_string(), again.graph.to_string());
    }
}

/// Transposes and paddings of extents of 1, of which one round of rules made more and more, past every limit.
#[test]
fn a_round_of_rules_ends() {
    let steps = [
        (180, 180, 58, 95),
        (244, 84, 77, 75),
        (252, 27, 203, 118),
        (211, 88, 150, 50),
        (106, 38, 78, 52),
        (59, 51, 59, 131),
        (165, 86, 181, 111),
        (106, 65, 209, 211),
        (199, 246, 1, 69),
        (197, 163, 181, 186),
        (178, 243, 84, 66),
        (1, 163, 107, 237),
    ];
    let graph = build(&steps);
    let rewritten = rewrite(&graph, &options()).expect("rewrites");
    assert_equal(&graph, &rewritten.graph);
}
