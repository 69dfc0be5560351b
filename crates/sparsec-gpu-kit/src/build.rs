//! From an ONNX model in memory to what a device loads: the compiler's pipeline, without LLVM and without files.

use std::io::Write;
use std::ops::ControlFlow;

use sparsec_graph::{Format, Graph};
use sparsec_lower::{LowerOptions, TargetInfo};
use sparsec_onnx::proto::{self, ModelProto};
use sparsec_plan::{FunctionFacts, Plan, weights_layout};
use sparsec_ptx::{Target, emit_program, print_module};
use sparsec_rewrite::{Machine, Report, RewriteOptions};
use sparsec_tir::{ConstantData, Precision};

/// A compiled model.
pub(crate) struct Built {
    /// The graph as it was read, for the interpreter.
    pub(crate) graph: Graph,
    pub(crate) ptx: String,
    pub(crate) plan: Plan,
    pub(crate) weights: Vec<u8>,
    pub(crate) report: Report,
    /// Kernels by name, in the order of their functions.
    pub(crate) kernels: Vec<String>,
}

fn said(stage: &str) -> impl Fn(&dyn std::fmt::Display) -> String {
    let stage = stage.to_owned();
    move |e| format!("{stage}: {e}")
}

/// Compiles a model; `format` is for all of its weights, where it is given, and `compute` what tensor cores round factors to.
pub(crate) fn build(
    model: &ModelProto,
    format: Option<Format>,
    compute: Option<Precision>,
    gpu: Target,
) -> Result<Built, String> {
    let bytes = proto::encode(model);
    let read = sparsec_onnx::read_bytes(bytes.into(), None, &sparsec_onnx::Options::default());
    let graph = read.map_err(|e| said("read")(&e))?;
    let mut normal = graph.clone();
    sparsec_passes::run_pipeline(&mut normal, &mut |_| ControlFlow::Continue(())).map_err(|e| said("passes")(&e))?;
    let machine = Machine::for_target(gpu.name()).ok_or("no constants for this architecture")?.with_precision(compute);
    let mut options = RewriteOptions::new(machine);
    if let Some(format) = format {
        let weights = model.graph.iter().flat_map(|g| &g.initializer).map(|w| w.name().to_owned());
        options.forced = weights.map(|name| (name, format.clone())).collect();
    }
    let rewritten = sparsec_rewrite::rewrite(&normal, &options).map_err(|e| said("rewrite")(&e))?;
    let lowered = sparsec_lower::lower_with(
        &rewritten.graph,
        &TargetInfo::WARP.with_capability(gpu.capability()).with_precision(compute),
        &LowerOptions::default(),
    )
    .map_err(|e| said("lower")(&e))?;
    let mut program = lowered.program;
    program.name = "kit".to_owned();
    let emitted = emit_program(&program, gpu).map_err(|e| said("emit")(&e))?;
    let facts = |info: &sparsec_ptx::KernelInfo| FunctionFacts {
        name: info.name.clone(),
        threads: info.threads,
        iterations: info.iterations,
        shared_bytes: info.shared_bytes,
        scratch_bytes: info.scratch_bytes,
    };
    let functions: Vec<FunctionFacts> = emitted.kernels.iter().map(facts).collect();
    let plan = Plan::new(&program, gpu.name(), &functions).map_err(|e| said("plan")(&e))?;
    let (offsets, size) = weights_layout(&program).map_err(|e| said("weights")(&e))?;
    let mut weights = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    for (i, offset) in offsets.into_iter().enumerate() {
        weights.resize(usize::try_from(offset).unwrap_or(0), 0);
        lowered.data.write(i, &mut weights as &mut dyn Write).map_err(|e| said("weights")(&e))?;
    }
    weights.resize(usize::try_from(size).unwrap_or(0), 0);
    let kernels = program.kernels.iter().map(|k| k.name.clone()).collect();
    Ok(Built { graph, ptx: print_module(&emitted.module), plan, weights, report: rewritten.report, kernels })
}
