//! The command as a person uses it: outputs, messages, exit codes.

use std::path::Path;
use std::process::{Command, Output};

use sparsec_demo::{Attribute, Extent, ModelBuilder, Random};
use sparsec_onnx::proto;
use sparsec_tests::models;

fn sparsec(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sparsec")).current_dir(folder).args(arguments).output();
    output.expect("the command starts")
}

/// Runs the command, which must succeed; returns what it printed.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = sparsec(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs the command, which must fail with this code; returns its message.
fn message(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = sparsec(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

/// A folder with `p.onnx`, a perceptron from [batch, 4, 6] to [batch, 10].
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    proto::write(&models::perceptron(), &folder.path().join("p.onnx")).expect("written");
    folder
}

/// Writes an input for the perceptron.
fn write_input(file: &Path, batch: usize) {
    let values = (0..batch * 24).map(|i| (i % 7) as f32 - 3.0).collect();
    sparsec::npy::write(file, &sparsec::graph::TensorData::f32(&[batch, 4, 6], values)).expect("written");
}

#[test]
fn compile_writes_what_is_asked_for() {
    let folder = folder();
    let listed = printed(folder.path(), &["compile", "p.onnx", "-o", "out", "--name", "mlp"]);
    for file in ["libmlp.a", "libmlp.so", "mlp.h", "mlp.json", "mlp.pc"] {
        assert!(folder.path().join("out").join(file).is_file() && listed.contains(file), "{file}: {listed}");
    }
    let emit = "graph,tir,llvm-ir,asm,report,object";
    printed(folder.path(), &["compile", "p.onnx", "-o", "all", "--emit", emit]);
    for file in ["p.graph", "p.tir", "p.ll", "p.s", "p.report.json", "p.o", "p_weights.o"] {
        assert!(folder.path().join("all").join(file).is_file(), "{file}");
    }
    assert!(!folder.path().join("all/libp.so").exists());
}

#[test]
fn run_agrees_with_the_interpreter() {
    let folder = folder();
    write_input(&folder.path().join("x.npy"), 3);
    let run = |more: &[&str]| {
        let mut arguments = vec!["run", "p.onnx", "--input", "x=x.npy", "--output-dir", "out"];
        arguments.extend(more);
        printed(folder.path(), &arguments);
        sparsec::npy::read(&folder.path().join("out/y.npy")).expect("the output")
    };
    let (compiled, threaded, interpreted) = (run(&[]), run(&["--threads", "2"]), run(&["--interpret"]));
    assert_eq!(compiled.shape, [3, 10]);
    assert_eq!(compiled, threaded);
    let (compiled, interpreted) = (compiled.as_f32().expect("f32"), interpreted.as_f32().expect("f32"));
    for (a, b) in compiled.iter().zip(interpreted.iter()) {
        assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    }
}

#[test]
fn bench_measures() {
    let folder = folder();
    let text = printed(folder.path(), &["bench", "p.onnx", "--seconds", "0.05", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for key in ["median_ms", "min_ms", "fma_peak_gflops", "copy_gbs"] {
        assert!(json[key].as_f64().is_some_and(|v| v >= 0.0), "{key}: {text}");
    }
    assert!(json["fma_peak_gflops"].as_f64() > Some(0.5) && json["runs"].as_u64() >= Some(5), "{text}");
    assert_eq!(json["layers"][0]["tensor"], "sparse");
}

#[test]
fn bench_times_layers() {
    let folder = folder();
    let text = printed(folder.path(), &["bench", "p.onnx", "--seconds", "0.05", "--layers", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let layers = json["profile"]["layers"].as_array().expect("layers");
    let launches = json["launches"].as_u64().expect("launches") as usize;
    assert!(!layers.is_empty() && layers.len() <= launches, "{text}");
    for layer in layers {
        assert!(layer["predicted_us"].as_f64() > Some(0.0) && layer["median_us"].as_f64() >= Some(0.0), "{layer}");
    }
    assert!(layers.iter().any(|l| l["kept_macs"].as_f64() > Some(0.0) && l["shape"] != ""), "{text}");
    let table = printed(folder.path(), &["bench", "p.onnx", "--seconds", "0.05", "--layers"]);
    assert!(table.contains("median error of a prediction") && table.contains("FMA peak"), "{table}");
}

#[test]
fn machine_files_are_read_and_checked() {
    let folder = folder();
    let target = sparsec::Target::new(None, "x86-64-v3").expect("a target");
    let mut machine = sparsec::Machine::for_target("x86-64-v3").expect("a family");
    machine.constants.set(sparsec::Term::Launch, 1e9);
    let file = sparsec::machine_file::MachineFile {
        sparsec_machine: sparsec::machine_file::VERSION,
        compiler_version: "0".to_owned(),
        cpu: target.cpu().to_owned(),
        family: "x86-64-v3".to_owned(),
        median_error: 0.0,
        machine,
    };
    file.write(&folder.path().join("slow.json")).expect("written");
    let predicted = |more: &[&str]| {
        let mut arguments =
            vec!["inspect", "p.onnx", "--triple", "x86_64-unknown-linux-gnu", "--cpu", "x86-64-v3", "--json"];
        arguments.extend(more);
        let json: serde_json::Value = serde_json::from_str(&printed(folder.path(), &arguments)).expect("JSON");
        json["predicted_ms"].as_f64().expect("a number")
    };
    assert!(predicted(&["--machine", "slow.json"]) > 1e3 * predicted(&[]));
    let other =
        ["inspect", "p.onnx", "--triple", "x86_64-unknown-linux-gnu", "--cpu", "x86-64-v4", "--machine", "slow.json"];
    let refused = message(folder.path(), 1, &other);
    assert!(refused.contains("not for") && refused.contains("x86-64-v4"), "{refused}");
    std::fs::write(folder.path().join("broken.json"), "{\"sparsec_machine\": 1, \"cpu\"").expect("written");
    let refused = message(folder.path(), 1, &["inspect", "p.onnx", "--machine", "broken.json"]);
    assert!(refused.contains("broken.json") && refused.contains("describes"), "{refused}");
    let refused = message(folder.path(), 1, &["compile", "p.onnx", "-o", "out", "--machine", "none.json"]);
    assert!(refused.contains("none.json"), "{refused}");
}

#[test]
fn only_profiling_libraries_tell_times() {
    let folder = folder();
    let read = |file: &str| std::fs::read(folder.path().join(file)).expect("written");
    printed(folder.path(), &["compile", "p.onnx", "-o", "plain"]);
    printed(folder.path(), &["compile", "p.onnx", "-o", "timed", "--profile"]);
    let contains = |file: &str, text: &str| read(file).windows(text.len()).any(|w| w == text.as_bytes());
    for file in ["libp.a", "libp.so", "p.h", "p.json"] {
        assert!(!contains(&format!("plain/{file}"), "profile"), "{file}");
        assert!(contains(&format!("timed/{file}"), "profile"), "{file}");
    }
    assert!(!contains("plain/libp.so", "clock_gettime") && contains("timed/libp.so", "clock_gettime"));
}

#[test]
fn inspect_recognises_patterns() {
    let folder = folder();
    let mut m = ModelBuilder::new("wide");
    let x = m.input("x", &[Extent::Fixed(32), Extent::Fixed(64)]);
    let w = m.weight(&[64, 64], &Random::new(5).normal(1.0, 64 * 64));
    let bias = m.weight(&[64], &[0.5; 64]);
    m.node_named("Gemm", &[&x, &w, &bias], &[("transB", Attribute::Int(1))], "y");
    m.output("y", &[Extent::Fixed(32), Extent::Fixed(64)]);
    proto::write(&m.finish(), &folder.path().join("wide.onnx")).expect("written");
    let patterns = [
        ("un:0.9", "unstructured"),
        ("nm:2:4", "nm<2,4>"),
        ("block:4:1:0.8", "block<4,1>"),
        ("channel:0.5", "channel"),
    ];
    for (pattern, found) in patterns {
        printed(folder.path(), &["prune", "wide.onnx", "-o", "pruned.onnx", "--pattern", pattern]);
        let text = printed(folder.path(), &["inspect", "pruned.onnx", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let weight = &json["weights"][0];
        assert!(weight["pattern"].as_str().is_some_and(|p| p.starts_with(found)), "{pattern}: {weight}");
        assert!(weight["candidates"].as_array().is_some_and(|c| !c.is_empty()), "{pattern}: {weight}");
        let table = printed(folder.path(), &["inspect", "pruned.onnx"]);
        assert!(table.contains(found) && table.contains("predicted"), "{table}");
    }
}

#[test]
fn ir_can_be_printed_and_read_again() {
    let folder = folder();
    let graph = printed(folder.path(), &["compile", "p.onnx", "-o", "out", "--stop-after", "read"]);
    assert!(graph.starts_with("graph @perceptron"), "{graph}");
    assert!(!folder.path().join("out").exists());
    let both = printed(
        folder.path(),
        &["compile", "p.onnx", "-o", "out", "--print-after", "rewrite", "--print-after", "lower", "--emit", "tir"],
    );
    assert!(both.contains("// after rewrite\ngraph @") && both.contains("// after lower\n"), "{both}");

    let mut m = ModelBuilder::new("small");
    let x = m.input("x", &[Extent::Symbol("n"), Extent::Fixed(2)]);
    let w = m.weight(&[2, 2], &[1.0, 0.0, 0.5, -2.0]);
    let y = m.node("MatMul", &[&x, &w], &[]);
    m.node_named("Relu", &[&y], &[], "y");
    m.output("y", &[Extent::Symbol("n"), Extent::Fixed(2)]);
    proto::write(&m.finish(), &folder.path().join("small.onnx")).expect("written");
    let read = printed(folder.path(), &["compile", "small.onnx", "-o", "out", "--stop-after", "read"]);
    std::fs::write(folder.path().join("small.graph"), &read).expect("written");
    assert_eq!(printed(folder.path(), &["opt", "small.graph", "--verify"]), read);
    let optimised = printed(folder.path(), &["opt", "small.graph"]);
    assert_ne!(optimised, read);
    assert!(message(folder.path(), 2, &["opt", "small.graph", "--passes", "nope"]).contains("canonicalise"));
    std::fs::write(folder.path().join("bad.graph"), "graph @g { input }").expect("written");
    assert!(message(folder.path(), 1, &["opt", "bad.graph"]).contains("bad.graph:1:"));

    let kernels = folder.path().join("out/p.tir");
    let kernels = kernels.to_str().expect("UTF-8");
    let verified = printed(folder.path(), &["opt", kernels, "--verify"]);
    assert!(verified.contains(" position ") && verified.contains(" flat "), "{verified}");
    let lowered = printed(folder.path(), &["opt", kernels, "--passes", "lower_to_flat,expand_math"]);
    assert!(!lowered.contains(" position "), "{lowered}");
}

#[test]
fn failures_say_what_to_do() {
    let folder = folder();
    let path = folder.path();
    write_input(&path.join("x.npy"), 1);
    assert!(message(path, 1, &["compile", "none.onnx", "-o", "o"]).contains("none.onnx"));
    std::fs::write(path.join("text.onnx"), "not a model").expect("written");
    assert!(message(path, 1, &["compile", "text.onnx", "-o", "o"]).contains("not an ONNX model"));
    assert!(message(path, 1, &["run", "p.onnx", "--output-dir", "o"]).contains("--input x=FILE.npy"));
    assert!(message(path, 1, &["run", "p.onnx", "--output-dir", "o", "--input", "z=x.npy"]).contains("inputs are: x"));
    assert!(message(path, 1, &["inspect", "p.onnx", "--dim", "seq=3"]).contains("batch"));
    assert!(message(path, 1, &["inspect", "p.onnx", "--bind", "z=x.npy"]).contains("inputs are: x"));
    assert!(message(path, 2, &["compile", "p.onnx", "-o", "o", "--cpu", "z80"]).contains("z80"));
    let cuda =
        |more: &[&str]| message(path, 2, &[&["compile", "p.onnx", "-o", "o", "--target", "cuda"], more].concat());
    assert!(cuda(&["--emit", "shared"]).contains("`--emit shared` is for `--target cpu`"));
    assert!(cuda(&["--cpu", "native"]).contains("`--cpu` is for `--target cpu`"));
    assert!(cuda(&["--profile"]).contains("`--profile` is for `--target cpu`"));
    assert!(cuda(&["--gpu", "sm_70"]).contains("sm_80 and sm_90a"));
    assert!(message(path, 2, &["compile", "p.onnx", "-o", "o", "--gpu", "sm_80"]).contains("`--target cuda`"));
    assert!(message(path, 2, &["compile", "p.onnx", "-o", "o", "--emit", "ptx"]).contains("`--target cuda`"));
    assert!(message(path, 2, &["bench", "p.onnx", "--target", "cuda"]).contains("no `--target cuda`"));
    assert!(message(path, 2, &["compile", "p.onnx", "-o", "o", "--print-after", "nope"]).contains("rewrite"));
    assert!(message(path, 2, &["compile", "p.onnx", "-o", "o", "--format", "sparse=no"]).contains("no"));
    assert!(message(path, 2, &["prune", "p.onnx", "-o", "o.onnx", "--pattern", "un:7"]).contains("un:0.9"));
    assert!(message(path, 2, &["bench"]).contains("MODEL"));
    assert!(!path.join("o").exists());
}

#[test]
fn models_for_gpus_are_ptx_a_plan_and_weights() {
    let folder = folder();
    let path = folder.path();
    let text = printed(path, &["compile", "p.onnx", "-o", "o", "--target", "cuda", "--gpu", "sm_90a"]);
    for file in ["p.ptx", "p.plan.json", "p.weights", "p.json"] {
        assert!(text.contains(file) && path.join("o").join(file).exists(), "{text}");
    }
    let ptx = std::fs::read_to_string(path.join("o/p.ptx")).expect("written");
    assert!(ptx.contains(".target sm_90a"), "{ptx}");
    let plan = std::fs::read_to_string(path.join("o/p.plan.json")).expect("written");
    let plan = sparsec::plan::Plan::from_json(&plan).expect("a plan");
    assert!(plan.kernels.iter().all(|kernel| ptx.contains(&format!(".entry {}(", kernel.function))));
    let size = std::fs::metadata(path.join("o/p.weights")).expect("written").len();
    assert_eq!((plan.gpu.as_str(), plan.weight_bytes), ("sm_90a", size));
    assert!(printed(path, &["inspect", "p.onnx", "--target", "cuda"]).contains("predicted"));
}

#[test]
fn measurements_are_kept_and_obeyed() {
    let folder = folder();
    let library = |out: &str| std::fs::read(folder.path().join(out).join("libp.a")).expect("a library");
    let compile = |out: &str, more: &[&str]| {
        let mut arguments = vec!["compile", "p.onnx", "-o", out, "--emit", "static"];
        arguments.extend(more);
        printed(folder.path(), &arguments);
        library(out)
    };
    let timed = ["--tune", "--tune-cache", "cache.redb", "--tune-budget", "0"];
    let first = compile("a", &timed);
    assert_eq!(compile("b", &timed), first, "the cache decides");
    let told = printed(folder.path(), &["tune", "p.onnx", "-o", "t.json", "--tune-cache", "cache.redb"]);
    assert!(told.contains("untuned us") && told.contains("t.json"), "{told}");
    assert_eq!(compile("c", &["--tuning", "t.json"]), first, "the file decides");
    let shown = printed(folder.path(), &["inspect", "p.onnx", "--tuning", "t.json", "--candidates"]);
    assert!(shown.contains("measured") && shown.contains("tuned: "), "{shown}");
    let refused = message(folder.path(), 2, &["compile", "p.onnx", "-o", "d", "--tune", "--tuning", "t.json"]);
    assert!(refused.contains("--tuning"), "{refused}");
    std::fs::write(folder.path().join("cache.redb"), "no database").expect("written");
    let refused = message(folder.path(), 1, &["compile", "p.onnx", "-o", "d", "--tune", "--tune-cache", "cache.redb"]);
    assert!(refused.contains("cache.redb") && refused.contains("--tune-cache"), "{refused}");
    std::fs::write(folder.path().join("t.json"), "{}").expect("written");
    let refused = message(folder.path(), 1, &["compile", "p.onnx", "-o", "d", "--tuning", "t.json"]);
    assert!(refused.contains("t.json") && refused.contains("sparsec_tuning"), "{refused}");
}

#[test]
fn lists_of_cpus() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::perceptron();
    proto::write(&model, &folder.path().join("p.onnx")).expect("written");
    let compile = |arguments: &[&'static str]| -> Vec<&'static str> {
        ["compile", "p.onnx", "-o", "d"].into_iter().chain(arguments.iter().copied()).collect()
    };
    let triple = "x86_64-unknown-linux-gnu";
    for (arguments, why) in [
        (&["--cpu", "x86-64-v3,native"][..], "this machine alone"),
        (&["--cpu", "x86-64-v3,x86-64-v3"], "twice"),
        (&["--cpu", "x86-64-v3,cortex-a53"], "no level"),
        (&["--cpu", "x86-64-v2,x86-64-v3", "--triple", "aarch64-unknown-linux-gnu"], "not of aarch64"),
        (&["--cpu", "x86-64-v2,x86-64-v3", "--triple", triple, "--tuning", "t.json"], "--tuning"),
        (&["--cpu", "x86-64-v2,x86-64-v3", "--tune"], "list"),
    ] {
        let said = message(folder.path(), 2, &compile(arguments));
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let list = ["--cpu", "x86-64-v3,x86-64-v2", "--triple", triple];
    printed(folder.path(), &compile(&[&list[..], &["--emit", "static,header"]].concat()));
    let header = std::fs::read_to_string(folder.path().join("d/p.h")).expect("written");
    assert!(header.contains("x86-64-v2, x86-64-v3") && header.contains("p_cpu("), "{header}");
    let shown = printed(folder.path(), &[&["inspect", "p.onnx"][..], &list].concat());
    assert!(shown.contains("x86-64-v2") && shown.contains("x86-64-v3"), "{shown}");
}

#[test]
fn microcontrollers_have_no_shared_libraries() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::perceptron();
    proto::write(&model, &folder.path().join("p.onnx")).expect("written");
    let arguments = ["compile", "p.onnx", "-o", "d", "--triple", "thumbv7em-none-eabihf", "--dim", "batch=1"];
    printed(folder.path(), &arguments);
    let header = std::fs::read_to_string(folder.path().join("d/p.h")).expect("written");
    assert!(header.contains("#define p_ARENA_BYTES") && !header.contains("p_create("), "{header}");
    assert!(!folder.path().join("d/libp.so").exists());
    let said = message(folder.path(), 1, &[&arguments[..], &["--emit", "shared"]].concat());
    assert!(said.contains("no shared libraries"), "{said}");
}

#[test]
fn versions_and_what_other_tools_need() {
    let folder = tempfile::tempdir().expect("a folder");
    let version = printed(folder.path(), &["--version"]);
    assert!(
        version.contains("LLVM 19.") && version.contains("x86_64, aarch64, riscv64, wasm32, thumbv7em"),
        "{version}"
    );
    let listed = printed(folder.path(), &["integrate", "prefix"]);
    let read = |file: &str| {
        assert!(listed.contains(file), "{file}: {listed}");
        std::fs::read_to_string(folder.path().join("prefix").join(file)).expect(file)
    };
    assert!(read("lib/cmake/sparsec/sparsecConfig.cmake").contains("function(sparsec_add_model"));
    assert!(read("lib/cmake/sparsec/sparsecConfigVersion.cmake").contains(env!("CARGO_PKG_VERSION")));
    assert!(read("include/sparsec/sparsec.hpp").contains("namespace sparsec"));
    assert!(
        read("share/man/man1/sparsec.1").contains("sparsec")
            && read("share/man/man1/sparsec-compile.1").contains("cpu")
    );
    for shell in [
        "share/bash-completion/completions/sparsec",
        "share/zsh/site-functions/_sparsec",
        "share/fish/vendor_completions.d/sparsec.fish",
    ] {
        assert!(read(shell).contains("calibrate"), "{shell}");
    }
}

/// An input or output of vectors of this element type; a sequence of them where it is to be one.
fn port(name: &str, elem_type: i32, is_sequence: bool) -> proto::ValueInfoProto {
    use proto::tensor_shape_proto::dimension::Value as Extent;
    use proto::type_proto::{Sequence, Tensor, Value};
    let extent = Extent::DimParam(if is_sequence { "m" } else { "n" }.to_owned());
    let dim = proto::tensor_shape_proto::Dimension { value: Some(extent), ..Default::default() };
    let shape = proto::TensorShapeProto { dim: vec![dim] };
    let tensor = Value::TensorType(Tensor { elem_type: Some(elem_type), shape: Some(shape) });
    let ty = |value| proto::TypeProto { value: Some(value), ..Default::default() };
    let value = match is_sequence {
        true => Value::SequenceType(Box::new(Sequence { elem_type: Some(Box::new(ty(tensor))) })),
        false => tensor,
    };
    proto::ValueInfoProto { name: Some(name.to_owned()), r#type: Some(ty(value)), ..Default::default() }
}

#[test]
fn texts_and_sequences_go_in_and_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = |op: &str, inputs: &[&str], output: &str| proto::NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    };
    let graph = proto::GraphProto {
        input: vec![port("x", 8, false), port("y", 8, false), port("s", 1, true)],
        node: vec![node("StringConcat", &["x", "y"], "z"), node("SequenceInsert", &["s", "s0"], "t")],
        output: vec![port("z", 8, false), port("t", 1, true)],
        initializer: vec![proto::TensorProto {
            name: Some("s0".to_owned()),
            dims: vec![1],
            data_type: Some(1),
            float_data: vec![9.0],
            ..Default::default()
        }],
        ..Default::default()
    };
    let model = proto::ModelProto {
        ir_version: Some(9),
        opset_import: vec![proto::OperatorSetIdProto { domain: None, version: Some(20) }],
        graph: Some(graph),
        ..Default::default()
    };
    proto::write(&model, &folder.path().join("t.onnx")).expect("written");
    let write = |name: &str, data: &sparsec::graph::TensorData| {
        sparsec::npy::write(&folder.path().join(name), data).expect("written");
    };
    write("x.npy", &sparsec::graph::TensorData::strings(&[2], &[b"a", b"bcd"]));
    write("y.npy", &sparsec::graph::TensorData::strings(&[2], &["\u{e9}".as_bytes(), b""]));
    write("s.npy", &sparsec::graph::TensorData::f32(&[2], vec![1.0, 2.0]));
    let run = ["run", "t.onnx", "--input", "x=x.npy", "--input", "y=y.npy", "--output-dir", "out"];
    let error = message(folder.path(), 1, &run);
    assert!(error.contains("--items s=N"), "{error}");
    let items = ["--items", "s=1", "--input", "s.0=s.npy"];
    printed(folder.path(), &[&run[..], &items[..]].concat());
    let read = |name: &str| sparsec::npy::read(&folder.path().join("out").join(name)).expect("an array");
    assert_eq!(read("z.npy").as_strings(), Some(vec!["a\u{e9}".as_bytes(), b"bcd"]));
    assert_eq!(read("t.1.npy"), sparsec::graph::TensorData::f32(&[1], vec![9.0]));
}
