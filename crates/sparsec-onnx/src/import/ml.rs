//! Operators of the domain `ai.onnx.ml` on numbers.

use sparsec_graph::{BinaryOp, DType, Dim, Op, TensorData, UnaryOp};
use sparsec_loops::{Aggregate, Trees, tree_ensemble as tree_loops};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `ArrayFeatureExtractor`: columns by their numbers.
pub(super) fn array_feature_extractor(cx: &mut Context, node: &Node<'_>) -> Results {
    let (mut x, indices) = (node.input(0)?, node.input(1)?);
    if cx.rank(x) == 0 {
        return Err(Fault::invalid("the operand is a scalar"));
    }
    if cx.rank(x) == 1 {
        x = cx.insert_axes(x, &[0])?;
    }
    let count = Dim::product(&cx.shape(indices));
    let indices = cx.reshape(indices, vec![count])?;
    let axis = cx.rank(x) - 1;
    Ok(vec![cx.append(Op::Gather { axis }, &[x, indices])?])
}

/// `Binarizer`: 1 above the threshold, 0 elsewhere.
pub(super) fn binarizer(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let above = cx.with_number(BinaryOp::Greater, x, node.float_or("threshold", 0.0)?)?;
    Ok(vec![cx.cast(above, cx.dtype(x))?])
}

/// `TreeEnsemble`.
pub(super) fn tree_ensemble(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let dtype = cx.dtype(x);
    if !matches!(dtype, DType::F32 | DType::F64) || cx.rank(x) != 2 {
        return Err(Fault::unsupported(format!("trees for {}", cx.ty(x))));
    }
    let ensemble = Ensemble::read(cx, node, cx.shape(x)[1].as_const())?;
    let name = cx.node_name.clone();
    let Tables { nodes, members, targets, roots, sizes } = ensemble.tables()?;
    let of = |cx: &mut Context, data: TensorData| {
        let data = cx.add_data(&name, data);
        cx.cast(data, dtype)
    };
    let operands = [
        x,
        cx.add_data(&name, TensorData::i64(&[sizes.nodes, 8], nodes)),
        of(cx, ensemble.splits)?,
        of(cx, TensorData::from_vec(DType::F64, &[sizes.members], members))?,
        of(cx, ensemble.weights)?,
        cx.add_data(&name, TensorData::i64(&[sizes.leaves], targets)),
        cx.add_data(&name, TensorData::i64(&[sizes.trees], roots)),
    ];
    let limit = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    let (aggregate, initial) = match node.int_or("aggregate_function", 1)? {
        0 | 1 => (Aggregate::Sum, 0.0),
        2 => (Aggregate::Min, limit),
        3 => (Aggregate::Max, -limit),
        other => return Err(Fault::attribute("aggregate_function", format!("is {other}"))),
    };
    let spec = tree_loops(cx.ty(x), sizes, aggregate, initial);
    let mut y = cx.append_loops(spec, &operands)?.first().copied().ok_or(Fault::MissingInput(0))?;
    if node.int_or("aggregate_function", 1)? == 0 {
        y = cx.with_number(BinaryOp::Div, y, sizes.trees as f64)?;
    }
    match node.int_or("post_transform", 0)? {
        0 => Ok(vec![y]),
        1 => Ok(vec![cx.append(Op::Softmax { axis: 1 }, &[y])?]),
        2 => Ok(vec![cx.unary(UnaryOp::Sigmoid, y)?]),
        other => Err(Fault::unsupported(format!("the post_transform {other}"))),
    }
}

/// The attributes of an ensemble, checked one by one.
struct Ensemble<'a> {
    features: &'a [i64],
    modes: Vec<i64>,
    /// For either outcome, where to go, and whether that is a leaf.
    ways: [(&'a [i64], &'a [i64]); 2],
    missing: Option<&'a [i64]>,
    members: Vec<f64>,
    targets: &'a [i64],
    roots: &'a [i64],
    splits: TensorData,
    weights: TensorData,
    count: usize,
}

struct Tables {
    nodes: Vec<i64>,
    members: Vec<f64>,
    targets: Vec<i64>,
    roots: Vec<i64>,
    sizes: Trees,
}

impl<'a> Ensemble<'a> {
    fn read(cx: &mut Context, node: &Node<'a>, columns: Option<i64>) -> Result<Self, Fault> {
        let ints = |name: &str| node.ints(name)?.ok_or_else(|| Fault::attribute(name, "is missing"));
        let missing = |name: &'static str| move || Fault::attribute(name, "is missing");
        let splits = node.tensor("nodes_splits", cx)?.ok_or_else(missing("nodes_splits"))?;
        let weights = node.tensor("leaf_weights", cx)?.ok_or_else(missing("leaf_weights"))?;
        let modes = node.tensor("nodes_modes", cx)?.and_then(|modes| modes.as_i64());
        let members = node.tensor("membership_values", cx)?;
        let ensemble = Ensemble {
            features: ints("nodes_featureids")?,
            modes: modes.ok_or_else(missing("nodes_modes"))?,
            ways: [
                (ints("nodes_truenodeids")?, ints("nodes_trueleafs")?),
                (ints("nodes_falsenodeids")?, ints("nodes_falseleafs")?),
            ],
            missing: node.ints("nodes_missing_value_tracks_true")?.filter(|list| !list.is_empty()),
            members: members.as_ref().map_or(Some(Vec::new()), floats).ok_or_else(missing("membership_values"))?,
            targets: ints("leaf_targetids")?,
            roots: ints("tree_roots")?,
            count: node.int_or("n_targets", 1)?.try_into().unwrap_or(0),
            splits,
            weights,
        };
        let nodes = ensemble.modes.len();
        let lists = [Some(ensemble.features), ensemble.missing];
        let lists = lists.into_iter().flatten().chain(ensemble.ways.iter().flat_map(|&(to, leaf)| [to, leaf]));
        let in_range = |list: &[i64], end: i64| list.iter().all(|i| (0..end).contains(i));
        let is_valid = nodes > 0
            && ensemble.splits.shape == [nodes]
            && lists.into_iter().all(|list| list.len() == nodes)
            && !ensemble.targets.is_empty()
            && ensemble.weights.shape == [ensemble.targets.len()]
            && in_range(ensemble.targets, ensemble.count as i64)
            && in_range(&ensemble.modes, 7)
            && in_range(ensemble.features, columns.unwrap_or(i64::MAX))
            && in_range(ensemble.roots, nodes as i64)
            && !ensemble.roots.is_empty();
        if is_valid { Ok(ensemble) } else { Err(Fault::invalid("the trees' attributes do not fit together")) }
    }

    /// The tables that the kernel takes.
    fn tables(&self) -> Result<Tables, Fault> {
        let (count, leaves) = (self.modes.len(), self.targets.len());
        let mut nodes = Vec::with_capacity(count * 8);
        // Sets follow each other in the order of the nodes that ask for one, each up to a NaN.
        let (mut members, mut rest) = (Vec::new(), self.members.iter());
        for i in 0..count {
            let first = members.len() as i64;
            if self.modes[i] == 6 {
                members.extend(rest.by_ref().take_while(|v| !v.is_nan()));
            }
            let missing = self.missing.is_some_and(|list| list[i] != 0);
            let [holds, fails] = [self.way(0, i, leaves)?, self.way(1, i, leaves)?];
            let fields = [self.features[i], self.modes[i], holds, fails, missing.into(), first, members.len() as i64];
            nodes.extend(fields.into_iter().chain([0]));
        }
        if members.is_empty() {
            members.push(0.0);
        }
        let roots: Vec<i64> = self.roots.iter().map(|&root| self.root(root, &nodes)).collect();
        let depth = depth(&nodes, &roots)?;
        let sizes =
            Trees { nodes: count, leaves, members: members.len(), trees: roots.len(), depth, targets: self.count };
        Ok(Tables { nodes, members, targets: self.targets.to_vec(), roots, sizes })
    }

    /// Where node `i` leads: another node, or `-1 - leaf`.
    fn way(&self, outcome: usize, i: usize, leaves: usize) -> Result<i64, Fault> {
        let (to, is_leaf) = self.ways[outcome];
        let (to, is_leaf) = (to[i], is_leaf[i] != 0);
        let end = if is_leaf { leaves } else { self.modes.len() };
        if !(0..end as i64).contains(&to) {
            return Err(Fault::invalid(format!("node {i} of the trees leads nowhere")));
        }
        Ok(if is_leaf { -1 - to } else { to })
    }

    /// A tree that is a leaf is written as a node whose ways lead to the same one.
    fn root(&self, root: i64, nodes: &[i64]) -> i64 {
        match nodes.get(root as usize * 8 + 2..root as usize * 8 + 4) {
            Some(&[holds, fails]) if holds == fails && holds < 0 => holds,
            _ => root,
        }
    }
}

/// Most nodes on a way from a root to a leaf. Ways that run in circles are an error.
fn depth(nodes: &[i64], roots: &[i64]) -> Result<usize, Fault> {
    let count = nodes.len() / 8;
    let mut level: Vec<i64> = roots.to_vec();
    // Nodes level by level, each once in a level; a tree can't have more levels than nodes.
    for depth in 0..=count {
        level.retain(|&at| at >= 0);
        level.sort_unstable();
        level.dedup();
        if level.is_empty() {
            return Ok(depth);
        }
        level = level
            .iter()
            .flat_map(|&at| nodes.get(at as usize * 8 + 2..at as usize * 8 + 4))
            .flatten()
            .copied()
            .collect();
    }
    Err(Fault::invalid("a way through the trees has no end"))
}

fn floats(data: &TensorData) -> Option<Vec<f64>> {
    match data.dtype {
        DType::F32 => Some(data.as_f32()?.iter().map(|&v| f64::from(v)).collect()),
        DType::F64 => Some(data.values::<f64>()?.into_owned()),
        _ => None,
    }
}
