//! The stages of kernels of constant weights: all of them compute the same, read back as they print, and look as the
//! snapshots say.

#[allow(dead_code, reason = "not every test uses every helper")]
mod common;

use common::Numbers;
use sparsec_graph::{Bindings, Graph, Symbol};
use sparsec_lower::{CoordinateDump, LowerOptions, Lowered, TargetInfo, lower_with};
use sparsec_tir::{
    Argument, BufferData, ConstantData, CoordinateData, CoordinateKernel, Kernel, Program, Scalar, lower_to_flat,
    parse_coordinate, parse_kernel, print_coordinate, print_kernel, run_coordinate, run_program, verify_coordinate,
    verify_flat, verify_position,
};

const FORMATS: &[&str] = &[
    "dense",
    "csr",
    "bsr<4,1>",
    "bsr<8,8>",
    "nm<2,4>",
    "hyb<64,4,2>",
    "hyb<8,1,4>",
    "pruned<dense>",
    "pruned<csr>",
    "pruned<bsr<2,2>>",
    "pruned<hyb<8,2,2>>",
];

/// A weight as text. At most two of four aligned columns are nonzero, so that it fits every format, unless the density
/// is 1; then there are no zeros. Else row 2 and column 3 are zero.
fn weight(m: usize, k: usize, density: f64) -> String {
    let mut numbers = Numbers(11);
    let mut text = Vec::new();
    for row in 0..m {
        let mut left = 0;
        for col in 0..k {
            left = if col % 4 == 0 { 2 } else { left };
            let value = numbers.signed();
            let wanted = f64::from(numbers.signed()) * 0.5 + 0.5 < density;
            let zero = density < 1.0 && (!wanted || left == 0 || row == 2 || col == 3);
            left -= usize::from(!zero && left > 0);
            text.push(if zero || value == 0.0 { "0.0".to_owned() } else { format!("{value:?}") });
        }
    }
    text.join(", ")
}

/// `Y = gelu(W X + b)`.
fn linear(format: &str, density: f64, (m, k): (usize, usize), n: &str) -> String {
    let values = weight(m, k, density);
    format!(
        r#"graph @g {{
  input %0 "x": f32[{k}, {n}]
  const %1 "w" = f32[{m}, {k}] {{{values}}}
  const %2 "b": f32[{m}, 1] random(seed=6, density=1.0)
  %3 = contract "mk,kn->mn" (%1, %0) epilogue gelu(add(acc, $0)) (%2) format {format}
  output "y" = %3
}}"#
    )
}

/// A 3x3 convolution with stride 2, padded.
fn conv(format: &str, density: f64) -> String {
    let values = weight(8, 27, density);
    format!(
        r#"graph @g {{
  input %0 "x": f32[n, 3, 9, 11]
  const %1 "w" = f32[8, 3, 3, 3] {{{values}}}
  const %2 "b": f32[8] random(seed=6, density=1.0)
  %3 = conv (%0, %1, %2) strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 epilogue relu(acc) () format {format}
  output "y" = %3
}}"#
    )
}

/// A lowered graph of one node with a constant weight.
struct Stages {
    graph: Graph,
    lowered: Lowered,
}

impl Stages {
    fn of(text: &str) -> Self {
        let graph = sparsec_graph::parse(text).expect("the text is a graph");
        sparsec_graph::verify(&graph).expect("the graph is valid");
        let options = LowerOptions { coordinates: true, ..LowerOptions::default() };
        let lowered = lower_with(&graph, &TargetInfo::AVX2, &options).expect("the graph lowers");
        assert_eq!(lowered.program.launches.len(), 1, "one kernel is launched");
        Stages { graph, lowered }
    }

    fn coordinates(&self) -> &CoordinateDump {
        self.lowered.dumps[0].coordinates.as_ref().expect("a constant weight has Stage I")
    }

    fn position(&self) -> &Kernel {
        &self.lowered.dumps[0].position
    }

    /// Stage III before mathematical functions are expanded, which is long and the same everywhere.
    fn flat(&self) -> Kernel {
        lower_to_flat(self.position()).expect("the kernel can be flattened")
    }

    fn text(&self) -> String {
        let c = self.coordinates();
        let stages = [
            ("Stage I", print_coordinate(&c.kernel)),
            ("Stage I, decomposed", print_coordinate(&c.decomposed.kernel)),
            ("Stage II", print_kernel(self.position())),
            ("Stage III", print_kernel(&self.flat())),
        ];
        stages.map(|(title, text)| format!("// {title}\n{text}")).join("\n")
    }

    /// The result of a program with these kernels.
    fn run_launches(&self, kernels: Vec<Kernel>, bindings: &Bindings, inputs: &[BufferData]) -> Vec<f64> {
        let program = Program { kernels, ..self.lowered.program.clone() };
        let symbols: Vec<i64> = program.symbols.iter().map(|s| bindings[&Symbol::new(s)]).collect();
        let outputs = run_program(&program, &self.lowered.data, &symbols, inputs).expect("the kernel runs");
        outputs[0].to_f64()
    }

    /// The result of a kernel of Stage I. X and Y must lie in memory in the order of their coordinates.
    fn run_coordinates(
        &self,
        (kernel, data, values): (&CoordinateKernel, &CoordinateData, &[f32]),
        bindings: &Bindings,
        (inputs, outputs): (&[BufferData], usize),
    ) -> Vec<f64> {
        let params: Vec<i64> = self.coordinates().params.iter().map(|d| d.eval(bindings).expect("bound")).collect();
        let mut buffers = vec![BufferData::from_f32(values), inputs[0].clone()];
        buffers.push(BufferData::poisoned(Scalar::F32, outputs));
        for (argument, _) in &self.lowered.program.launches[0].arguments[2..kernel.buffers.len() - 1] {
            let Argument::Constant(i) = argument else { panic!("{argument:?} is no constant") };
            let mut bytes = Vec::new();
            self.lowered.data.write(*i as usize, &mut bytes).expect("constants can be written");
            buffers.push(BufferData { elem: Scalar::F32, bytes });
        }
        run_coordinate(kernel, &params, data, &mut buffers).expect("the kernel runs");
        buffers[2].to_f64()
    }
}

/// Checks that each stage is valid, that its text reads back, and that all stages compute the same.
fn check(text: &str, symbols: &[(&str, i64)]) {
    let stages = Stages::of(text);
    let c = stages.coordinates();
    let bindings: Bindings = symbols.iter().map(|(n, v)| (Symbol::new(n), *v)).collect();
    for kernel in [&c.kernel, &c.decomposed.kernel] {
        verify_coordinate(kernel).expect("Stage I is valid");
        assert_eq!(&parse_coordinate(&print_coordinate(kernel)).expect("Stage I reads back"), kernel);
    }
    let flat = stages.flat();
    verify_position(stages.position()).expect("Stage II is valid");
    verify_flat(&flat).expect("Stage III is valid");
    for kernel in [stages.position(), &flat] {
        assert_eq!(&parse_kernel(&print_kernel(kernel)).expect("the kernel reads back"), kernel);
    }
    let tensors = common::inputs(&stages.graph, &bindings, 3);
    let inputs: Vec<BufferData> =
        tensors.iter().map(|t| BufferData { elem: Scalar::F32, bytes: t.bytes.to_vec() }).collect();
    let reference = sparsec_graph::interpret(&stages.graph, &tensors).expect("the reference runs");
    let expected = BufferData { elem: Scalar::F32, bytes: reference[0].bytes.to_vec() }.to_f64();
    let count = (inputs.as_slice(), expected.len());
    let d = &c.decomposed;
    let found = [
        ("Stage I", stages.run_coordinates((&c.kernel, &c.data, &c.values), &bindings, count)),
        ("Stage I, decomposed", stages.run_coordinates((&d.kernel, &d.data, &d.values), &bindings, count)),
        ("Stage II", stages.run_launches(vec![stages.position().clone()], &bindings, &inputs)),
        ("Stage III", stages.run_launches(vec![flat], &bindings, &inputs)),
        ("Stage III for a backend", stages.run_launches(stages.lowered.program.kernels.clone(), &bindings, &inputs)),
    ];
    let largest = expected.iter().fold(1e-6f64, |m, v| m.max(v.abs()));
    for (stage, found) in found {
        assert_eq!(found.len(), expected.len(), "{stage}");
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            assert!((f - e).abs() <= 1e-5 * largest, "{stage}, element {i}: {f}, expected {e}\n{text}");
        }
    }
}

#[test]
fn stages_of_linear_layers_agree() {
    for format in FORMATS {
        for density in [0.0, 0.2, 0.9] {
            check(&linear(format, density, (13, 33), "n"), &[("n", 11)]);
            check(&linear(format, density, (8, 80), "1"), &[]);
        }
    }
}

#[test]
fn stages_of_convolutions_agree() {
    for format in FORMATS {
        for density in [0.0, 0.3] {
            check(&conv(format, density), &[("n", 2)]);
        }
    }
}

#[test]
fn stages_of_weights_without_zeros_agree() {
    for format in ["dense", "csr", "bsr<4,1>", "hyb<8,1,4>", "pruned<dense>"] {
        check(&linear(format, 1.0, (5, 9), "n"), &[("n", 3)]);
        check(&conv(format, 1.0), &[("n", 1)]);
    }
}

#[test]
fn a_decomposition_stores_what_the_format_stores() {
    use sparsec_sparse::{Format, Storage, Stored};
    for format in FORMATS {
        let stages = Stages::of(&linear(format, 0.5, (13, 33), "n"));
        let weights: Vec<f32> = weight(13, 33, 0.5).split(", ").map(|v| v.parse().expect("a number")).collect();
        let format: Format = format.parse().expect("a format");
        let stored = Stored::encode(&format, 13, 33, &weights).expect("the weight fits");
        let d = &stages.coordinates().decomposed;
        assert_eq!(d.values.len(), stored.stored_entries(), "{format}");
        assert_eq!(d.values.iter().filter(|v| **v != 0.0).count(), stored.nnz(), "{format}");
    }
}

#[test]
fn the_first_stage_is_made_on_demand() {
    let graph = sparsec_graph::parse(&linear("csr", 0.5, (4, 8), "n")).expect("the text is a graph");
    let lowered = sparsec_lower::lower(&graph, &TargetInfo::AVX2).expect("the graph lowers");
    assert!(lowered.dumps.iter().all(|d| d.coordinates.is_none()));
}

#[test]
fn texts_of_linear_layers() {
    for format in FORMATS {
        let name: String = format.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("linear_{}", name.trim_end_matches('_'));
        insta::assert_snapshot!(name, Stages::of(&linear(format, 0.5, (6, 24), "n")).text());
    }
}

#[test]
fn texts_of_single_vectors() {
    for (name, format) in
        [("vector_dense", "dense"), ("vector_csr", "csr"), ("vector_bsr", "bsr<4,1>"), ("vector_nm", "nm<2,4>")]
    {
        insta::assert_snapshot!(name, Stages::of(&linear(format, 0.5, (8, 24), "1")).text());
    }
}

#[test]
fn texts_of_convolutions() {
    for (name, format) in [("conv_dense", "dense"), ("conv_hyb", "hyb<64,4,2>")] {
        insta::assert_snapshot!(name, Stages::of(&conv(format, 0.3)).text());
    }
}

/// The weight that the documentation of formats stores, too.
const EXAMPLE: &str = r#"graph @example {
  input %0 "x": f32[8, n]
  const %1 "w" = f32[4, 8] {1.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 6.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}
  %2 "fc" = contract "mk,kn->mn" (%1, %0) epilogue relu(acc) () format hyb<4,1,2> : f32[4, n]
  output "y" = %2
}
"#;

#[test]
fn the_documentation_shows_the_stages_as_they_are() {
    let stages = Stages::of(EXAMPLE);
    check(EXAMPLE, &[("n", 5)]);
    let d = &stages.coordinates().decomposed;
    let axes: Vec<_> = d.data.axes.values().map(|a| (a.indptr.as_slice(), a.indices.as_slice())).collect();
    assert_eq!(axes, [(&[0u64, 2, 3][..], &[][..]), (&[0, 1, 3, 4], &[])]);
    let maps: Vec<_> = d.data.maps.values().map(Vec::as_slice).collect();
    assert_eq!(maps, [&[3u64, 4, 0, 2, 0, 2][..], &[0, 0, 0, 0, 2, 2, 5, 7]]);
    assert_eq!(d.values, [7.0, 0.0, 1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let shown = format!("{EXAMPLE}\n{}", stages.text());
    insta::assert_snapshot!("example", shown);
    let page = include_str!("../../../docs/ir.md");
    let blocks: Vec<&str> = page.split("```ir\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 5, "the graph and four stages");
    for block in blocks {
        assert!(shown.contains(block), "docs/ir.md is out of date: {block}\nis not in\n{shown}");
    }
}
