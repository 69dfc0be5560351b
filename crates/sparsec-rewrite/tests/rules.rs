//! Every rule alone: it applies to its example, and all that it offers computes the same.

mod common;

use common::{assert_equal, graph, options};
use sparsec_rewrite::{RULE_NAMES, apply_rules};

/// Rule (with others that it needs), and the statements of a graph to which it applies. `%x` is `f32[2, 3, 4]`, `%m` is `f32[4, n]` and `%y` is the
/// output.
const EXAMPLES: [(&str, &str); 23] = [
    // Alone it only leads in a circle.
    (
        "transpose-inverse contract-result",
        "%a = contract \"mk,bsk->bsm\" (%w, %x) %c = transpose (%a) perm [1, 2, 0] %y = tanh (%a)  output \"c\" = %c",
    ),
    ("transpose-compose", "%a = transpose (%x) perm [2, 0, 1] %y = transpose (%a) perm [0, 2, 1]"),
    ("transpose-view", "%a = reshape (%x) to [6, 1, 4] %y = transpose (%a) perm [1, 0, 2]"),
    ("transpose-constant", "%a = transpose (%w) perm [1, 0] %y = add (%a, %a)"),
    ("reshape-constant", "%a = reshape (%w) to [2, 10] %y = add (%a, %a)"),
    ("reshape-compose", "%a = reshape (%x) to [4, 6] %y = reshape (%a) to [24]"),
    ("transpose-reshape", "%a = reshape (%x) to [6, 2, 2] %y = transpose (%a) perm [1, 2, 0]"),
    ("reshape-transpose", "%a = transpose (%x) perm [2, 0, 1] %y = reshape (%a) to [2, 2, 6]"),
    ("transpose-elementwise", "%a = add (%x, %b) %y = transpose (%a) perm [2, 0, 1]"),
    ("elementwise-transpose transpose-inverse", "%a = transpose (%x) perm [0, 2, 1] %c = relu (%a) %y = mul (%c, %a)"),
    ("transpose-softmax", "%a = softmax (%x) axis 1 %y = transpose (%a) perm [1, 2, 0]"),
    (
        "transpose-layer-norm",
        "%a = layer_norm (%x, %b, %b) axis 2 axes 1 epsilon 0.01 %y = transpose (%a) perm [2, 0, 1]",
    ),
    ("transpose-reduce", "%a = reduce sum (%x) axes [1] keep false %y = transpose (%a) perm [1, 0]"),
    ("transpose-concat", "%a = concat (%x, %x) axis 1 %y = transpose (%a) perm [1, 2, 0]"),
    ("transpose-slice", "%a = slice (%x) ranges [(1, 1, 1), (2, 3, -1), (0, 2, 2)] %y = transpose (%a) perm [2, 1, 0]"),
    ("transpose-pad", "%a = pad (%x) amounts [(1, 0), (0, 2), (-1, 0)] value 7.0 %y = transpose (%a) perm [1, 2, 0]"),
    ("transpose-expand", "%a = expand (%b) to [3, 2, 4] %y = transpose (%a) perm [2, 0, 1]"),
    ("contract-operand", "%a = transpose (%x) perm [1, 2, 0] %y = contract \"mk,bks->bsm\" (%w, %a)"),
    ("contract-result", "%a = contract \"mk,bsk->bsm\" (%w, %x) %y = transpose (%a) perm [1, 2, 0]"),
    ("contract-feature-major transpose-inverse", "%y = contract \"mk,bsk->bsm\" (%w, %x)"),
    ("contract-vector-operand", "%y = contract \"kn,bsk->bns\" (%m, %x)"),
    ("fuse-map", "%a = add (%x, %b) %c = tanh (%a) %y = clip (%c) lo -0.5 hi inf"),
    ("fuse-epilogue", "%a = contract \"mk,bsk->bsm\" (%w, %x) %c = add (%a, %f) %d = relu (%c) %y = sub (%half, %d)"),
];

fn example(statements: &str) -> sparsec_graph::Graph {
    let lines = statements.replace(" %", "\n%").replace("(\n", "(").replace(",\n", ", ");
    graph(&format!(
        "graph @example {{
  input %x \"x\": f32[2, 3, 4]
  input %m \"m\": f32[4, n]
  const %w \"w\" : f32[5, 4] random(seed = 1, density = 0.5)
  const %b \"b\" : f32[4] random(seed = 2, density = 1.0)
  const %f \"f\" : f32[5] random(seed = 3, density = 1.0)
  const %half \"half\" = f32[] {{0.5}}
{lines}
  output \"y\" = %y
}}"
    ))
}

#[test]
fn every_rule_applies_and_keeps_the_meaning() {
    assert_eq!(EXAMPLES.map(|(names, _)| names.split(' ').next().expect("a name")), RULE_NAMES);
    for (name, statements) in EXAMPLES {
        let graph = example(statements);
        let names: Vec<&str> = name.split(' ').collect();
        let found = apply_rules(&graph, &names, &options().limits).expect("well-formed");
        assert!(!found.is_empty(), "{name} does not apply to\n{graph}");
        for other in &found {
            assert_equal(&graph, other);
        }
        assert!(found.iter().any(|other| other.to_string() != graph.to_string()), "{name} changes nothing");
    }
}

#[test]
fn a_producer_with_other_uses_is_not_fused() {
    let graph = example("%a = contract \"mk,bsk->bsm\" (%w, %x) %c = relu (%a) %y = add (%c, %a)");
    for other in apply_rules(&graph, &["fuse-epilogue"], &options().limits).expect("well-formed") {
        assert!(other.nodes().all(|(_, node)| node.epilogue.is_none()), "{other}");
    }
}

#[test]
fn a_broadcast_producer_is_not_fused() {
    let graph = example("%a = tanh (%b) %y = add (%x, %a)");
    assert!(apply_rules(&graph, &["fuse-map"], &options().limits).expect("well-formed").is_empty());
}
