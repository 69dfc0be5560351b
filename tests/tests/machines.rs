//! Code for other machines, run by emulators: the kernels of every format against the interpreter, networks against this
//! machine's code.
//!
//! It needs `qemu-user`, `qemu-system-arm` and C compilers for the machines. `cargo xtask test` installs them and sets `SPARSEC_TOOLS=required`,
//! so that a machine without them fails there; elsewhere a test says that it was skipped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use sparsec::graph::{Graph, TensorData};
use sparsec::{CompileOptions, Emit, Format, ModelSource, Output, Silent, Target};
use sparsec_demo::{Attribute, Extent, ModelBuilder, Random};
use sparsec_onnx::proto::{self, ModelProto};
use sparsec_runtime::{Model, Tensor};
use sparsec_tests::cortex_m::{self, Board, Memory};
use sparsec_tests::models::digits;
use sparsec_tests::tools::succeed;
use sparsec_tests::{models, tools};

/// A machine that tests emulate.
struct Machine {
    triple: &'static str,
    cpu: &'static str,
    compiler: &'static str,
    /// The emulator with its arguments; nothing where this machine is of the same kind.
    emulator: &'static [&'static str],
    what: &'static str,
}

const ARM: Machine = Machine {
    triple: "aarch64-unknown-linux-gnu",
    cpu: "neoverse-n1",
    compiler: if cfg!(target_arch = "aarch64") { "cc" } else { "aarch64-linux-gnu-gcc" },
    emulator: if cfg!(target_arch = "aarch64") { &[] } else { &["qemu-aarch64", "-cpu", "neoverse-n1"] },
    what: "NEON code",
};

const RISCV: Machine = Machine {
    triple: "riscv64gc-unknown-linux-gnu",
    cpu: "generic",
    compiler: if cfg!(target_arch = "riscv64") { "cc" } else { "riscv64-linux-gnu-gcc" },
    emulator: if cfg!(target_arch = "riscv64") { &[] } else { &["qemu-riscv64"] },
    what: "code for RISC-V",
};

/// WebAssembly in Node.js; there is no libc, so the driver brings all memory.
const WASM: Machine = Machine {
    triple: "wasm32-unknown-unknown",
    cpu: "generic",
    compiler: "wasm-ld-19",
    emulator: &["node"],
    what: "WebAssembly",
};

/// A microcontroller, which is a whole machine to emulate: `cortex_m` builds the program and runs it.
const fn microcontroller(board: &Board) -> Machine {
    Machine {
        triple: cortex_m::TRIPLE,
        cpu: board.cpu,
        compiler: "clang-19",
        emulator: &["qemu-system-arm"],
        what: "code for microcontrollers",
    }
}

/// What a Cortex-M4 of the smaller kind has.
const SMALL: Memory = Memory { ram: 128 << 10, stack: 16 << 10 };
/// For test models, which nobody made small.
const LARGE: Memory = Memory { ram: 1 << 20, stack: 64 << 10 };

/// This machine's architecture with another libc.
#[cfg(target_arch = "x86_64")]
const MUSL: Machine = Machine {
    triple: "x86_64-unknown-linux-musl",
    cpu: "x86-64-v2",
    compiler: "musl-gcc",
    emulator: &[],
    what: "code for musl",
};

impl Machine {
    /// Whether the tools are there.
    fn is_here(&self) -> bool {
        let tools: Vec<&str> = std::iter::once(self.compiler).chain(self.emulator.first().copied()).collect();
        tools::present(&tools, self.what)
    }

    fn run(&self, program: &Path) -> Command {
        let mut words = self.emulator.iter();
        let Some(emulator) = words.next() else { return Command::new(program) };
        let mut command = Command::new(emulator);
        command.args(words).arg(program);
        command
    }
}

/// Convolutions of 3x3, strided and 1x1, and a linear layer, all large enough to be pruned.
fn layers() -> ModelProto {
    let mut random = Random::new(14);
    let mut m = ModelBuilder::new("layers");
    let mut x = m.input("x", &[1, 8, 13, 11].map(Extent::Fixed));
    for (inputs, outputs, kernel, stride) in [(8, 32, 3, 1), (32, 32, 3, 1), (32, 48, 3, 2), (48, 64, 1, 1)] {
        let count = outputs * inputs * kernel * kernel;
        let spread = (2.0 / (inputs * kernel * kernel) as f32).sqrt();
        let weight = m.weight(&[outputs, inputs, kernel, kernel], &random.normal(spread, count as usize));
        let bias = m.weight(&[outputs], &random.normal(0.1, outputs as usize));
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel; 2])),
            ("strides", Attribute::Ints(&[stride; 2])),
            ("pads", Attribute::Ints(&[kernel / 2; 4])),
        ];
        let y = m.node("Conv", &[&x, &weight, &bias], &attributes);
        x = m.node("Relu", &[&y], &[]);
    }
    let shape = m.integers(&[2], &[56, 48]);
    let x = m.node("Reshape", &[&x, &shape], &[]);
    let weight = m.weight(&[48, 40], &random.normal(0.2, 48 * 40));
    let y = m.node("MatMul", &[&x, &weight], &[]);
    let vector = m.weight(&[40, 32], &random.normal(0.2, 40 * 32));
    let mean = m.node("ReduceMean", &[&y], &[("axes", Attribute::Ints(&[0])), ("keepdims", Attribute::Int(1))]);
    m.node_named("MatMul", &[&mean, &vector], &[], "y");
    m.output("y", &[1, 32].map(Extent::Fixed));
    m.finish()
}

/// A C program that runs a model on the numbers of one file and writes its result to another: alone, and with a pool whose
/// pieces come in reverse order, which must give the same bytes.
fn program(name: &str, input: &[usize], symbols: &[i64], output: usize) -> String {
    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    let shape = list(&mut input.iter().map(ToString::to_string));
    let dims = list(&mut symbols.iter().chain(&[0]).map(ToString::to_string));
    let (count, rank) = (input.iter().product::<usize>(), input.len());
    let mut text = format!("#include \"{name}.h\"\n#include <stdio.h>\n#include <string.h>\n");
    text += "#define CHECK(call) if ((status = (call)) != SPARSEC_OK) { fprintf(stderr, #call \": %d\\n\", status); return 1; }\n";
    text +=
        "static void backwards(void *self, int64_t n, void (*body)(void *, int64_t, int64_t, int32_t), void *arg) {\n";
    text += "    (void)self;\n    while (n-- > 0) body(arg, n, n + 1, (int32_t)(n % 3));\n}\n";
    let _ = write!(
        text,
        "static float in[{count}], out[{output}], again[{output}];
int main(int argc, char **argv) {{
    const int64_t in_shape[] = {{{shape}}}, dims[] = {{{dims}}};
    int64_t out_shape[16];
    sparsec_parallel pool = {{NULL, 3, backwards}};
    {name}_context *context = NULL;
    int32_t status;
    FILE *file = argc == 3 ? fopen(argv[1], \"rb\") : NULL;
    if (!file || fread(in, 4, {count}, file) != {count}) return 2;
    fclose(file);
    CHECK({name}_output_shape(dims, 0, out_shape))
    sparsec_tensor input = {{in, in_shape, NULL, {rank}, SPARSEC_F32}};
    sparsec_tensor output = {{out, out_shape, NULL, {name}_output_rank(0), SPARSEC_F32}};
    CHECK({name}_create(&context, SPARSEC_ABI_VERSION))
    CHECK({name}_reserve(context, dims))
    CHECK({name}_run(context, &input, &output))
    output.data = again;
    CHECK({name}_set_parallel(context, &pool))
    CHECK({name}_reserve(context, dims))
    CHECK({name}_run(context, &input, &output))
    {name}_destroy(context);
    if (memcmp(out, again, sizeof out) != 0) {{ fputs(\"the pool changes the result\\n\", stderr); return 3; }}
    file = fopen(argv[2], \"wb\");
    return !file || fwrite(out, 4, {output}, file) != {output} || fclose(file) != 0;
}}
"
    );
    text
}

/// A model and what it is run with.
struct Case<'a> {
    name: &'a str,
    model: &'a ModelProto,
    shape: &'a [usize],
    /// Values of the symbolic dimensions.
    symbols: &'a [i64],
    /// Formats of weights.
    formats: BTreeMap<String, Format>,
}

/// The outputs of the compiled model on the emulator.
fn emulate(machine: &Machine, case: &Case<'_>, bytes: &[u8], values: &[f32], output: usize) -> Vec<f32> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |file: &str| folder.path().join(file);
    let mut options = CompileOptions::new(Target::new(Some(machine.triple), machine.cpu).expect("known"));
    options.formats.clone_from(&case.formats);
    if machine.triple == cortex_m::TRIPLE {
        let names = ["batch", "seq"].map(String::from);
        options.dims = names.into_iter().zip(case.symbols.iter().copied()).collect();
    }
    let library = if machine.triple == WASM.triple { Emit::Shared } else { Emit::Static };
    options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [library, Emit::Header].into() });
    let name = case.name;
    let source = ModelSource::Bytes { name: name.into(), bytes: bytes.to_vec().into(), folder: None };
    sparsec::compile(source, &options, &mut Silent).expect("compiles");
    if machine.triple == cortex_m::TRIPLE {
        let board = [cortex_m::M4, cortex_m::M7].into_iter().find(|b| b.cpu == machine.cpu).expect("a board");
        let memory = if name == "digits" { SMALL } else { LARGE };
        return cortex_m::run(board, memory, folder.path(), name, (case.shape, values), output);
    }
    std::fs::write(at("in"), values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).expect("written");
    if machine.triple == WASM.triple {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("js/run.mjs");
        let mut node = machine.run(&script);
        node.arg(at(&format!("{name}.wasm"))).arg(name).arg(at("in")).arg(at("out"));
        succeed(node.args(case.shape.iter().map(ToString::to_string)));
        return read(&at("out"));
    }
    std::fs::write(at("main.c"), program(name, case.shape, case.symbols, output)).expect("written");
    let library = at(&format!("lib{name}.a"));
    let mut cc = Command::new(machine.compiler);
    cc.args(["-O1", "-Wall", "-Werror", "-static", "-o"]).arg(at("main")).arg(at("main.c")).arg(library);
    succeed(&mut cc);
    succeed(machine.run(&at("main")).arg(at("in")).arg(at("out")));
    read(&at("out"))
}

/// The numbers of a file.
fn read(file: &Path) -> Vec<f32> {
    let written = std::fs::read(file).expect("written");
    written.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Compares a model's results on the emulator with the interpreter's.
fn check(machine: &Machine, case: &Case<'_>) {
    let bytes = proto::encode(case.model);
    let graph: Graph = sparsec_onnx::read_bytes(bytes.clone().into(), None, &Default::default()).expect("reads");
    let values = Random::new(7).normal(1.0, case.shape.iter().product());
    let expected =
        sparsec::graph::interpret(&graph, &[TensorData::f32(case.shape, values.clone())]).expect("interprets");
    let expected = expected[0].as_f32().expect("f32");
    compare(machine, case, &bytes, &values, &expected);
}

/// Compares a model's results on the emulator with what compiled code gives here.
fn check_with_host(machine: &Machine, case: &Case<'_>) {
    let bytes = proto::encode(case.model);
    let values = Random::new(7).normal(1.0, case.shape.iter().product());
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = CompileOptions::new(Target::host().expect("this machine"));
    options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [Emit::Shared].into() });
    let source = ModelSource::Bytes { name: case.name.into(), bytes: bytes.clone().into(), folder: None };
    sparsec::compile(source, &options, &mut Silent).expect("compiles");
    let mut model = Model::load(folder.path().join(format!("lib{}.so", case.name)), case.name).expect("loads");
    let shape: Vec<i64> = case.shape.iter().map(|&d| d as i64).collect();
    let outputs = model.run(&[Tensor::from_slice(&shape, &values)]).expect("runs");
    compare(machine, case, &bytes, &values, outputs[0].as_slice().expect("f32"));
}

fn compare(machine: &Machine, case: &Case<'_>, bytes: &[u8], values: &[f32], expected: &[f32]) {
    let got = emulate(machine, case, bytes, values, expected.len());
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0, "{}: nothing was computed", case.name);
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let good = (got - expected).abs() <= 1e-5 * largest;
        let (triple, name, shape) = (machine.triple, case.name, case.shape);
        assert!(good, "{triple}: {name} {shape:?} {:?}: {got} is not {expected} at {i}", case.formats);
    }
}

fn small_models(machine: &Machine) {
    let shapes: [(&[usize], &[i64]); 4] =
        [(&[1, 4, 8, 6], &[]), (&[1, 1, 16], &[1, 1]), (&[3, 17, 16], &[3, 17]), (&[5, 4, 6], &[5])];
    for (number, (shape, symbols)) in shapes.into_iter().enumerate() {
        let (name, model) = &models::all()[[0, 1, 1, 2][number]];
        check(machine, &Case { name, model, shape, symbols, formats: BTreeMap::new() });
    }
}

fn every_format(machine: &Machine) {
    for (pattern, format) in [
        ("un:0.0", "dense"),
        ("un:0.5", "hyb<64,4,2>"),
        ("un:0.9", "hyb<256,1,4>"),
        ("un:0.9", "csr"),
        ("nm:2:4", "nm<2,4>"),
        ("block:4:1:0.8", "bsr<4,1>"),
        ("channel:0.5", "pruned<dense>"),
    ] {
        let mut model = layers();
        let report = sparsec_onnx::prune(&mut model, None, &pattern.parse().expect("a pattern")).expect("prunes");
        assert_eq!(report.tensors.len(), 5, "{pattern}");
        let format: Format = format.parse().expect("a format");
        let formats = report.tensors.into_iter().map(|tensor| (tensor.name, format.clone())).collect();
        check(machine, &Case { name: "layers", model: &model, shape: &[1, 8, 13, 11], symbols: &[], formats });
    }
}

/// The digits network, and the first two residual blocks of ResNet-50 with a tenth of its weights.
fn networks(machine: &Machine) {
    let file = digits().join("digits_pruned.onnx");
    let model = proto::read(&file).expect("reads");
    let shape = &[2, 1, 8, 8];
    check_with_host(machine, &Case { name: "digits", model: &model, shape, symbols: &[2], formats: BTreeMap::new() });

    let mut model = sparsec_demo::resnet50();
    cut_behind_second_block(&mut model);
    sparsec_onnx::prune(&mut model, None, &"un:0.9".parse().expect("a pattern")).expect("prunes");
    let shape = &[1, 3, 224, 224];
    check_with_host(machine, &Case { name: "blocks", model: &model, shape, symbols: &[], formats: BTreeMap::new() });
}

/// Ends a residual network with its second block: an addition and what follows it.
fn cut_behind_second_block(model: &mut ModelProto) {
    let graph = model.graph.as_mut().expect("a graph");
    let (mut additions, mut end) = (0, 0);
    for (i, node) in graph.node.iter().enumerate() {
        additions += usize::from(node.op_type() == "Add");
        if additions == 2 {
            end = i + 2;
            break;
        }
    }
    graph.node.truncate(end);
    let last = graph.node.last().and_then(|node| node.output.first()).expect("an output").clone();
    let used: Vec<String> = graph.node.iter().flat_map(|node| node.input.clone()).collect();
    graph.initializer.retain(|tensor| used.iter().any(|name| name == tensor.name()));
    graph.output.truncate(1);
    graph.output[0].name = Some(last);
    graph.output[0].r#type = None;
}

#[test]
fn small_models_on_arm() {
    if ARM.is_here() {
        small_models(&ARM);
    }
}

#[test]
fn every_format_on_arm() {
    if ARM.is_here() {
        every_format(&ARM);
    }
}

#[test]
fn networks_on_arm() {
    if ARM.is_here() {
        networks(&ARM);
    }
}

#[test]
fn small_models_on_riscv() {
    if RISCV.is_here() {
        small_models(&RISCV);
    }
}

#[test]
fn every_format_on_riscv() {
    if RISCV.is_here() {
        every_format(&RISCV);
    }
}

#[test]
fn networks_on_riscv() {
    if RISCV.is_here() {
        networks(&RISCV);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn small_models_with_musl() {
    if MUSL.is_here() {
        small_models(&MUSL);
    }
}

#[test]
fn small_models_on_microcontrollers() {
    if cortex_m::is_here() {
        small_models(&microcontroller(&cortex_m::M4));
        small_models(&microcontroller(&cortex_m::M7));
    }
}

#[test]
fn every_format_on_microcontrollers() {
    if cortex_m::is_here() {
        every_format(&microcontroller(&cortex_m::M4));
    }
}

/// What a Cortex-M4 has no instructions for: roundings, 64-bit integers from and to floats, their division.
#[test]
fn functions_of_a_support_library_on_microcontrollers() {
    if !cortex_m::is_here() {
        return;
    }
    let shape = [3, 8];
    let mut m = ModelBuilder::new("support");
    let x = m.input("x", &[Extent::Fixed(3), Extent::Fixed(8)]);
    let mut parts = vec![m.node("Floor", &[&x], &[]), m.node("Ceil", &[&x], &[]), m.node("Round", &[&x], &[])];
    let far = m.weight(&[], &[3.0e13]);
    let wide = m.node("Mul", &[&x, &far], &[]);
    let wide = m.node("Cast", &[&wide], &[("to", Attribute::Int(7))]);
    let divisors = m.integers(&[8], &[3, -7, 1 << 33, (1 << 40) + 1, -5_000_000_000, 10, 1, 123_456_789]);
    let one = m.integers(&[3, 1], &[1, -1, 2]);
    // A product that is not known when the model is compiled divides, so that nothing is folded.
    let small = m.node("Cast", &[&x], &[("to", Attribute::Int(7))]);
    let nothing = m.node("Sub", &[&small, &small], &[]);
    let divisors = m.node("Mul", &[&divisors, &one], &[]);
    let divisors = m.node("Add", &[&divisors, &nothing], &[]);
    for value in [m.node("Div", &[&wide, &divisors], &[]), m.node("Mod", &[&wide, &divisors], &[])] {
        let value = m.node("Cast", &[&value], &[("to", Attribute::Int(1))]);
        // Each part gets about the same weight.
        let size = m.node("Abs", &[&value], &[]);
        let unit = m.weight(&[], &[1.0]);
        let size = m.node("Max", &[&size, &unit], &[]);
        let root = m.node("Sqrt", &[&size], &[]);
        let root = m.node("Sqrt", &[&root], &[]);
        let root = m.node("Sqrt", &[&root], &[]);
        let sign = m.node("Sign", &[&value], &[]);
        parts.push(m.node("Mul", &[&sign, &root], &[]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    m.node_named("Concat", &parts, &[("axis", Attribute::Int(0))], "y");
    m.output("y", &[Extent::Fixed(15), Extent::Fixed(8)]);
    let model = m.finish();
    let case = Case { name: "support", model: &model, shape: &shape, symbols: &[], formats: BTreeMap::new() };
    check(&microcontroller(&cortex_m::M4), &case);
    check(&microcontroller(&cortex_m::M7), &case);
}

/// The digits network, in 128 KB of memory with the stack; the weights are read where they lie.
#[test]
fn digits_on_microcontrollers() {
    if !cortex_m::is_here() {
        return;
    }
    let model = proto::read(&digits().join("digits_pruned.onnx")).expect("reads");
    for board in [cortex_m::M4, cortex_m::M7] {
        let machine = microcontroller(&board);
        let shape = &[1, 1, 8, 8];
        let case = Case { name: "digits", model: &model, shape, symbols: &[1], formats: BTreeMap::new() };
        check_with_host(&machine, &case);
    }
}

#[test]
fn small_models_in_webassembly() {
    if WASM.is_here() {
        small_models(&WASM);
    }
}

#[test]
fn every_format_in_webassembly() {
    if WASM.is_here() {
        every_format(&WASM);
    }
}

#[test]
fn networks_in_webassembly() {
    if WASM.is_here() {
        networks(&WASM);
    }
}
