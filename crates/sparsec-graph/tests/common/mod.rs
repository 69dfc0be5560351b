//! Random graphs, and short ways to write and run graphs.

#![allow(dead_code, reason = "each test binary uses some of these")]

use sparsec_graph::{
    BinaryOp, ContractSpec, ConvAttrs, DType, Dim, Direction, Epilogue, Format, Graph, LoopSpec, Node, Op, PoolAttrs,
    PoolKind, PrintOptions, ReduceKind, ScalarExpr, SliceAxis, Tensor, TensorData, TensorType, Trip, UnaryOp, ValueId,
    interpret, parse, print, random_data,
};

/// A tensor as text: `f32[2] {1.0, 2.0}`.
pub(crate) fn show(tensor: &Tensor) -> String {
    let mut graph = Graph::new("g");
    let value = graph.add_constant("c", tensor.clone());
    graph.add_output("y", value);
    let text = print(&graph, &PrintOptions { max_inline_elements: usize::MAX });
    let line = text.lines().nth(1).unwrap_or_default();
    line.split_once(" = ").map(|(_, data)| data.to_owned()).unwrap_or_default()
}

/// Runs one operator, written in the text form with operands `%0, %1, ...`, on constants; gives the result as text, or
/// the error.
pub(crate) fn eval(op: &str, operands: &[&str]) -> String {
    let mut text = String::from("graph @g {\n");
    for (i, operand) in operands.iter().enumerate() {
        text += &format!("const %{i} \"c{i}\" = {operand}\n");
    }
    text += &format!("%{} = {op}\noutput \"y\" = %{}\n}}", operands.len(), operands.len());
    let graph = match parse(&text) {
        Ok(graph) => graph,
        Err(error) => return error.message,
    };
    match interpret(&graph, &[]) {
        Ok(results) => show(&results[0]),
        Err(error) => error.to_string(),
    }
}

/// A source of choices.
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes, at: 0 }
    }

    pub(crate) fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % n.max(1)
    }

    pub(crate) fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn scalar(&mut self, depth: usize, args: usize, acc: bool) -> ScalarExpr {
        let leaf = depth == 0 || self.below(3) == 0;
        match (leaf, self.below(4)) {
            (true, 0) if acc => ScalarExpr::Acc,
            (true, 1) => ScalarExpr::Const(self.of(&[0.5, -2.0, 1e-7, f64::INFINITY, 3.0])),
            (true, _) if args > 0 => ScalarExpr::Arg(self.below(args) as u32),
            (true, _) => ScalarExpr::Const(1.5),
            (false, 0) if self.below(4) == 0 => {
                let to = self.of(&[DType::F32, DType::I32, DType::U8, DType::I8]);
                ScalarExpr::Convert(to, Box::new(self.scalar(depth - 1, args, acc)))
            }
            (false, 0) => ScalarExpr::unary(self.of(UnaryOp::ALL), self.scalar(depth - 1, args, acc)),
            (false, 1) => ScalarExpr::Select(
                Box::new(ScalarExpr::binary(
                    BinaryOp::Less,
                    self.scalar(depth - 1, args, acc),
                    self.scalar(depth - 1, args, acc),
                )),
                Box::new(self.scalar(depth - 1, args, acc)),
                Box::new(self.scalar(depth - 1, args, acc)),
            ),
            (false, _) => ScalarExpr::binary(
                self.of(BinaryOp::ALL),
                self.scalar(depth - 1, args, acc),
                self.scalar(depth - 1, args, acc),
            ),
        }
    }
}

pub(crate) const NAMES: [&str; 6] = ["", "fc", "layer.1/weight", "a \"quoted\" \\ name", "line\nbreak \u{1}", "größe"];

fn dims(c: &mut Choices<'_>) -> Vec<Dim> {
    let choices = [
        Dim::constant(1),
        Dim::constant(2),
        Dim::constant(3),
        Dim::constant(4),
        Dim::sym("batch"),
        Dim::sym("seq"),
        Dim::sym("past + 1"),
    ];
    (0..c.below(4)).map(|_| c.of(&choices)).collect()
}

/// A well-formed graph that depends on nothing but the choices: every operator that suits the values there is appended.
pub(crate) fn random_graph(bytes: &[u8]) -> Graph {
    let c = &mut Choices::new(bytes);
    let mut graph = Graph::new(c.of(&["g", "my net", ""]));
    let mut values: Vec<ValueId> = Vec::new();
    for (i, symbol) in ["batch", "seq", "past + 1"].into_iter().enumerate() {
        let mut shape = vec![Dim::sym(symbol)];
        shape.extend(dims(c));
        let dtype = c.of(&[DType::F32, DType::F32, DType::F32, DType::I64, DType::F16]);
        values.push(graph.add_input(format!("x{i}"), TensorType::new(dtype, shape)));
    }
    values.push(graph.add_input("image", TensorType::fixed(DType::F32, &[1, 2, 5, 5])));
    for (i, shape) in [vec![4, 2, 3, 3], vec![3, 4], vec![2], vec![], vec![0, 2], vec![1]].iter().enumerate() {
        let dtype = if i < 3 { DType::F32 } else { c.of(&DType::ALL) };
        let seed = c.below(256) as u64;
        values.push(graph.add_constant(c.of(&NAMES), random_data(dtype, shape, seed, 0.5)));
    }
    let special = vec![f32::NAN, f32::INFINITY, -0.0, f32::from_bits(0x7fc0_0001), f32::MIN_POSITIVE / 2.0, 0.1];
    values.push(graph.add_constant("special", TensorData::f32(&[6], special)));
    while !c.done() {
        let node = random_node(c, &graph, &values);
        if let Ok(id) = graph.append_node(node) {
            values.extend(graph.node(id).results.iter().copied());
        }
    }
    for i in 0..=c.below(3) {
        let value = if i == 0 { values.last().copied() } else { Some(c.of(&values)) };
        if let Some(value) = value {
            graph.add_output(format!("y{i}"), value);
        }
    }
    graph
}

fn random_node(c: &mut Choices<'_>, graph: &Graph, values: &[ValueId]) -> Node {
    let x = c.of(values);
    let y = c.of(values);
    let ty = graph.ty(x).clone();
    let axis = c.below(ty.rank().max(1));
    let (op, operands) = match c.below(24) {
        0 => (Op::Unary(c.of(UnaryOp::ALL)), vec![x]),
        1 | 2 => (Op::Binary(c.of(BinaryOp::ALL)), vec![x, y]),
        3 => (Op::Where, vec![c.of(values), x, y]),
        4 => (Op::Clip { lo: c.of(&[f64::NEG_INFINITY, 0.0, -1.5]), hi: 6.0 }, vec![x]),
        5 => (Op::Cast(c.of(&DType::ALL)), vec![x]),
        6 | 7 => {
            let operands: Vec<ValueId> = (0..=c.below(3)).map(|_| c.of(values)).collect();
            (Op::Map(c.scalar(3, operands.len(), false)), operands)
        }
        8 => {
            let spec = c.of(&["mk,bk->bm", "ik,kj->ij", "bij,bjk->bik", "a,a->", "ab,b->a", "i,j->ij", "bik,k->ib"]);
            (Op::Contract(ContractSpec::parse(spec).expect("a valid contraction")), vec![x, y])
        }
        9 => (
            Op::Conv(ConvAttrs {
                strides: vec![1 + c.below(2) as i64, 1],
                pads: vec![(c.below(2) as i64, c.below(2) as i64), (1, 1)],
                dilations: vec![1, 1 + c.below(2) as i64],
                groups: 1,
            }),
            vec![values[3], values[4]],
        ),
        10 => (
            Op::Pool(PoolAttrs {
                kind: c.of(PoolKind::ALL),
                kernel: vec![2, 3],
                strides: vec![1 + c.below(3) as i64, 2],
                pads: vec![(c.below(2) as i64, 0), (1, 2)],
                dilations: vec![1, 1],
                ceil: c.below(2) == 1,
            }),
            vec![c.of(&[x, values[3]])],
        ),
        11 => (Op::Reduce { kind: c.of(ReduceKind::ALL), axes: vec![axis], keep: c.below(2) == 1 }, vec![x]),
        12 => (Op::Softmax { axis }, vec![x]),
        13 => (Op::LayerNorm { axis, axes: 1, epsilon: 1e-5 }, vec![x, y, y]),
        14 => (Op::BatchNorm { epsilon: 1e-3 }, vec![x, y, y, y, y]),
        15 => (Op::Reshape(vec![ty.elements()]), vec![x]),
        16 => (Op::Transpose((0..ty.rank()).rev().collect()), vec![x]),
        17 => (Op::Expand([&[Dim::sym("seq")], ty.shape.as_slice()].concat()), vec![x]),
        18 => {
            let whole = ty.shape.iter().map(|d| SliceAxis { start: 0.into(), len: d.clone(), step: 1 });
            let mut ranges: Vec<SliceAxis> = whole.collect();
            if let Some(range) = ranges.get_mut(axis) {
                // Backwards.
                range.start = range.len.clone() - 1.into();
                range.step = -1;
            }
            (Op::Slice(ranges), vec![x])
        }
        19 => (Op::Concat { axis }, vec![x, c.of(&[x, y])]),
        20 => (Op::Pad { amounts: vec![(1, 0); ty.rank()], value: c.of(&[0.0, f64::NEG_INFINITY]) }, vec![x]),
        21 => control(c, graph, x, y),
        22 => looped(c, graph, x, y),
        _ => (Op::ShapeOf(ty.shape.clone()), vec![]),
    };
    let mut node = Node::new(op, operands, c.of(&NAMES));
    if c.below(4) == 0 && !node.op.is_elementwise() {
        let first_operand = node.operands.len() as u32;
        let args = c.below(3);
        node.operands.extend((0..args).map(|_| c.of(values)));
        node.epilogue = Some(Epilogue { first_operand, expr: c.scalar(2, args, true) });
    }
    let weight = match node.op {
        Op::Contract(_) => node.operands.first(),
        Op::Conv(_) => node.operands.get(1),
        _ => None,
    };
    if weight.is_some_and(|&w| graph.constant(w).is_some()) {
        let formats = ["dense", "csr", "bsr<4,1>", "nm<2,4>", "hyb<256,4,2>", "pruned<csr>"];
        node.format = c.of(&formats).parse::<Format>().ok();
    }
    node
}

/// A graph of a few nodes on inputs of these types.
fn nested(c: &mut Choices<'_>, types: &[TensorType]) -> (Graph, Vec<ValueId>) {
    let mut graph = Graph::new("nested");
    let inputs: Vec<ValueId> =
        types.iter().enumerate().map(|(i, ty)| graph.add_input(format!("x{i}"), ty.clone())).collect();
    let mut values = inputs.clone();
    values.push(graph.add_constant("c", TensorData::f32(&[], vec![0.5])));
    for _ in 0..c.below(4) {
        let op = if c.below(2) == 0 { Op::Unary(c.of(UnaryOp::ALL)) } else { Op::Binary(c.of(BinaryOp::ALL)) };
        let operands = [c.of(&values), c.of(&values)];
        let count = if matches!(op, Op::Unary(_)) { 1 } else { 2 };
        if let Ok(value) = graph.append(op, &operands[..count], "") {
            values.push(value);
        }
    }
    (graph, values)
}

/// A value of this type; the first where there are several.
fn of_type(c: &mut Choices<'_>, graph: &Graph, values: &[ValueId], ty: &TensorType) -> Option<ValueId> {
    let found: Vec<ValueId> = values.iter().copied().filter(|&v| graph.ty(v) == ty).collect();
    if found.is_empty() { None } else { Some(c.of(&found)) }
}

/// A branch on whether there is anything but zeros, of which the condition is a constant here.
fn control(c: &mut Choices<'_>, graph: &Graph, x: ValueId, y: ValueId) -> (Op, Vec<ValueId>) {
    let types = [graph.ty(x).clone(), graph.ty(y).clone()];
    let [then, otherwise] = [0, 1].map(|_| {
        let (mut graph, values) = nested(c, &types);
        let value = of_type(c, &graph, &values, &types[0]).unwrap_or(values[0]);
        graph.add_output("y", value);
        Box::new(graph)
    });
    let condition = (0..graph.value_count() as u32)
        .map(ValueId::from_u32)
        .find(|&v| *graph.ty(v) == TensorType::fixed(DType::Bool, &[]));
    (Op::If { then, otherwise }, vec![condition.unwrap_or(x), x, y])
}

/// A loop over the slices of a value.
fn looped(c: &mut Choices<'_>, graph: &Graph, x: ValueId, y: ValueId) -> (Op, Vec<ValueId>) {
    let (whole, carried) = (graph.ty(x).clone(), graph.ty(y).clone());
    let Some((trip, rest)) = whole.shape.split_first() else { return (Op::Where, vec![]) };
    let slice = TensorType::new(whole.dtype, rest.to_vec());
    let types = [TensorType::fixed(DType::I64, &[]), carried.clone(), slice];
    let (mut body, values) = nested(c, &types);
    let next = of_type(c, &body, &values, &carried).unwrap_or(values[1]);
    body.add_output("next", next);
    let stacked = c.of(&values);
    body.add_output("slice", stacked);
    let ends = [Direction::Forward, Direction::Reverse];
    let spec = LoopSpec {
        trip: Trip::Known(trip.clone()),
        conditional: false,
        carried: 1,
        scanned: vec![c.of(&ends)],
        stacked: vec![c.of(&ends)],
        body,
    };
    (Op::Loop(Box::new(spec)), vec![y, x])
}
