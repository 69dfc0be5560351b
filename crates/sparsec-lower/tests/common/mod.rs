//! A graph, lowered and interpreted kernel by kernel, against the graph interpreter.

use sparsec_graph::{Bindings, DType, Graph, Symbol, TensorData, interpret, parse};
use sparsec_lower::{LowerOptions, TargetInfo, lower_with};
use sparsec_tir::{BufferData, Scalar, run_program};

/// A small generator of reproducible numbers (SplitMix64; Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Random inputs of a graph for these values of its symbols.
pub(crate) fn inputs(graph: &Graph, bindings: &Bindings, seed: u64) -> Vec<TensorData> {
    let mut numbers = Numbers(seed);
    let input = |&v: &sparsec_graph::ValueId| {
        let ty = graph.ty(v);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(bindings).expect("bound") as usize).collect();
        let count = shape.iter().product();
        match ty.dtype {
            DType::F32 => TensorData::f32(&shape, (0..count).map(|_| numbers.signed()).collect()),
            DType::I64 => TensorData::i64(&shape, (0..count).map(|_| (numbers.next() % 4) as i64).collect()),
            DType::Bool => {
                let bits: Vec<u8> = (0..count).map(|_| (numbers.next() & 1) as u8).collect();
                TensorData::from_vec(DType::Bool, &shape, bits)
            }
            other => sparsec_graph::random_data(other, &shape, numbers.next(), 0.9),
        }
    };
    graph.inputs().iter().map(input).collect()
}

/// What elements are kept in: narrow ones are bytes.
fn scalar(dtype: DType) -> Scalar {
    let narrow = if dtype == DType::I4 { Scalar::I8 } else { Scalar::U8 };
    Scalar::from_name(dtype.name()).unwrap_or(narrow)
}

/// Checks a graph on every target for these values of its symbols. The result is the names of all kernels.
pub(crate) fn check(text: &str, symbols: &[(&str, i64)]) -> Vec<String> {
    let graph = parse(text).expect("the text is a graph");
    sparsec_graph::verify(&graph).expect("the graph is valid");
    check_graph(&graph, symbols)
}

pub(crate) fn check_graph(graph: &Graph, symbols: &[(&str, i64)]) -> Vec<String> {
    check_with(graph, symbols, &LowerOptions::default())
}

/// The same, lowered with options.
pub(crate) fn check_with(graph: &Graph, symbols: &[(&str, i64)], options: &LowerOptions) -> Vec<String> {
    let mut names = Vec::new();
    let bindings: Bindings = symbols.iter().map(|(n, v)| (Symbol::new(n), *v)).collect();
    let inputs = inputs(graph, &bindings, 7);
    let expected = interpret(graph, &inputs).expect("the reference runs");
    for target in [TargetInfo::SSE, TargetInfo::AVX2, TargetInfo::AVX512, TargetInfo::NEON, TargetInfo::WARP] {
        let lowered = lower_with(graph, &target, options).expect("the graph lowers");
        names.extend(lowered.program.kernels.iter().map(|k| k.name.clone()));
        let values: Vec<i64> = lowered.program.symbols.iter().map(|s| bindings[&Symbol::new(s)]).collect();
        let buffers: Vec<BufferData> =
            inputs.iter().map(|t| BufferData { elem: scalar(t.dtype), bytes: t.bytes.to_vec() }).collect();
        let found = run_program(&lowered.program, &lowered.data, &values, &buffers).expect("the kernels run");
        for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
            let e = BufferData { elem: scalar(e.dtype), bytes: e.bytes.to_vec() }.to_f64();
            let f = f.to_f64();
            assert_eq!(e.len(), f.len(), "output {i}");
            let largest = e.iter().fold(1e-6f64, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
            for (j, (a, b)) in e.iter().zip(&f).enumerate() {
                let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * largest;
                assert!(same, "output {i} element {j} on {target:?}: {b}, expected {a}");
            }
        }
    }
    names
}
