//! Small networks in text form, and the comparison of graphs by what they compute.
#![allow(dead_code, reason = "each test file uses a part")]

use sparsec_graph::{Bindings, Graph, Tensor, interpret, parse, random_data, verify};
use sparsec_rewrite::{Machine, RewriteOptions};

/// The networks, by name. Weights are random with a fixed seed.
pub(crate) const NETWORKS: [(&str, &str); 4] = [
    ("transformer", include_str!("../networks/transformer.graph")),
    ("residual", include_str!("../networks/residual.graph")),
    ("mlp", include_str!("../networks/mlp.graph")),
    ("decode", include_str!("../networks/decode.graph")),
];

/// A network by name.
pub(crate) fn network(name: &str) -> Graph {
    let (_, text) = NETWORKS.iter().find(|(n, _)| *n == name).expect("a network of this name");
    graph(text)
}

/// A graph from text, in which values may have names (`%q1`) for the sake of the reader; it must be well-formed.
pub(crate) fn graph(text: &str) -> Graph {
    let mut names: Vec<&str> = Vec::new();
    let mut numbered = String::new();
    for (i, part) in text.split('%').enumerate() {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (name, rest) = if i == 0 { ("", part) } else { part.split_at(end) };
        if i > 0 {
            let known = names.iter().position(|n| *n == name).unwrap_or(names.len());
            if known == names.len() {
                names.push(name);
            }
            numbered.push_str(&format!("%{known}"));
        }
        numbered.push_str(rest);
    }
    let graph = parse(&numbered).expect("a graph");
    verify(&graph).expect("well-formed");
    graph
}

/// Options for a machine that every test knows.
pub(crate) fn options() -> RewriteOptions {
    RewriteOptions::new(Machine::for_target("x86-64-v3").expect("a known target"))
}

/// Random inputs; symbols get small, distinct extents.
pub(crate) fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut dims = Bindings::new();
    let mut symbols = std::collections::BTreeSet::new();
    for &input in graph.inputs() {
        graph.ty(input).shape.iter().for_each(|d| d.collect_symbols(&mut symbols));
    }
    for (i, symbol) in symbols.into_iter().enumerate() {
        dims.insert(symbol, 2 + i as i64);
    }
    let tensor = |(i, input): (usize, &sparsec_graph::ValueId)| {
        let ty = graph.ty(*input);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(&dims).expect("bound") as usize).collect();
        random_data(ty.dtype, &shape, 1000 + i as u64, 0.9)
    };
    graph.inputs().iter().enumerate().map(tensor).collect()
}

/// Asserts that two graphs have the same signature and compute the same.
pub(crate) fn assert_equal(expected: &Graph, found: &Graph) {
    verify(found).unwrap_or_else(|e| panic!("not well-formed: {e:?}\n{found}"));
    let inputs = inputs(expected);
    let names = |g: &Graph| g.outputs().iter().map(|(n, v)| (n.clone(), g.ty(*v).clone())).collect::<Vec<_>>();
    assert_eq!(names(expected), names(found));
    let (a, b) = (interpret(expected, &inputs).expect("runs"), interpret(found, &inputs).expect("runs"));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!(a.shape, b.shape);
        let Some(a) = a.as_f32() else {
            assert_eq!(a.bytes, b.bytes);
            continue;
        };
        let b = b.as_f32().expect("one element type");
        for (i, (x, y)) in a.iter().zip(b.iter()).enumerate() {
            assert!((x - y).abs() <= 1e-5 * (1.0 + x.abs()), "element {i}: {x} and {y}\n{expected}\n{found}");
        }
    }
}
