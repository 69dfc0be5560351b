//! One case: read, interpreted, compiled, loaded, run, compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sparsec::graph::interp::interpret;
use sparsec::graph::{Node, Op, TensorData};
use sparsec::plan::{Plan, Session};
use sparsec::{Backend, CompileError, CompileOptions, Emit, ModelSource, Output, Silent, Simulated};
use sparsec_onnx::{Fault, OnnxError};
use sparsec_runtime::{DType, Model, Tensor};

use super::case::{self, Case, DataSet, Unreadable, Value};
use super::{Outcome, Report, compare, reason};

/// Runs a case in both ways, or in the interpreter alone. What is compiled for a GPU runs on a simulated one.
#[must_use]
pub fn run(data: &Path, name: &str, target: Option<&Backend>) -> Report {
    let mut subject = case::subject(data, name);
    let mut report = |native: Option<Outcome>, interpreted, becomes: BTreeSet<String>| {
        if let Some(subject) = &mut subject {
            subject.becomes = becomes.into_iter().collect();
        }
        Report { case: name.to_owned(), native, interpreted, subject: subject.take() }
    };
    match case::read(data, name) {
        Ok(case) => {
            let mut becomes = BTreeSet::new();
            let interpreted = settle(caught(|| interpreted(&case, &mut becomes)));
            let native = target.map(|target| settle(caught(|| compiled(&case, target))));
            let draws = becomes.contains("loops random_uniform");
            report(native.map(|outcome| drawn(outcome, draws)), drawn(interpreted, draws), becomes)
        }
        Err(unreadable) => {
            let outcome = match unreadable {
                Unreadable::Skipped(reason) => Outcome::Skipped { reason },
                Unreadable::Failed(message) => reason::failed(&format!("test data: {message}"), message),
            };
            report(target.map(|_| outcome.clone()), outcome, BTreeSet::new())
        }
    }
}

/// Names of inputs that were bound, or what went wrong.
type Run = Result<Vec<String>, Outcome>;

fn settle(run: Run) -> Outcome {
    run.map_or_else(|outcome| outcome, |bound| Outcome::Passed { bound })
}

/// Expected values of random numbers are those of NumPy's generator, which no standard names.
fn drawn(outcome: Outcome, draws: bool) -> Outcome {
    match outcome {
        Outcome::Failed { group, detail } if draws && group == "wrong values" => {
            Outcome::Failed { group: "random numbers of another generator".to_owned(), detail }
        }
        other => other,
    }
}

/// A panic is a failure with its message and place.
fn caught(run: impl FnOnce() -> Run) -> Run {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    result.unwrap_or_else(|_| {
        let message = super::worker::last_panic();
        Err(reason::failed(&format!("panic: {message}"), &message))
    })
}

fn interpreted(case: &Case, becomes: &mut BTreeSet<String>) -> Run {
    let mut names = Vec::new();
    for set in &case.sets {
        let read = |bind: &Constants| {
            let options = sparsec_onnx::Options { bind: bind.clone(), items: items(case, set), ..Default::default() };
            sparsec_onnx::read_bytes(case.model.clone(), Some(&case.folder), &options)
        };
        let (graph, bound) = binding(case, set, read, |e| Some(e), |e| reason::unread(&e))?;
        becomes.extend(graph.nodes().map(|(_, node)| operator_name(node)));
        let inputs: Vec<TensorData> = free(case, set, &bound).into_iter().cloned().collect();
        let outputs = interpret(&graph, &inputs).map_err(|e| reason::uninterpreted(&e))?;
        check(&outputs, set)?;
        names = bound.into_keys().collect();
    }
    Ok(names)
}

/// The name of a node's operator; that of its kernel where it is written as loops.
fn operator_name(node: &Node) -> String {
    match &node.op {
        Op::Loops(spec) => format!("loops {}", spec.kernel.name),
        Op::Reduce { kind, .. } => format!("reduce {kind}"),
        op => op.name().to_owned(),
    }
}

/// A compiled model that is ready to run.
enum Loaded {
    Native(Box<Model>),
    Simulated(Box<Session<Simulated>>),
}

impl Loaded {
    fn load(folder: &Path, target: &Backend) -> Result<Self, Outcome> {
        let failed = |e: &dyn std::fmt::Display| reason::failed(&format!("not loaded: {e}"), e);
        if let Backend::Cpu(_) = target {
            let model = Model::load(folder.join("libcase.so"), "case");
            return model.map(|model| Loaded::Native(Box::new(model))).map_err(|e| reason::failed("not loaded", e));
        }
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|e| failed(&e));
        let plan = Plan::from_json(&read("case.plan.json")?).map_err(|e| failed(&e))?;
        let mut weights = std::fs::File::open(folder.join("case.weights")).map_err(|e| failed(&e))?;
        let session = Session::new(plan, &read("case.ptx")?, &mut weights, Simulated::new());
        session.map(|session| Loaded::Simulated(Box::new(session))).map_err(|e| failed(&e))
    }

    fn run(&mut self, inputs: &[&TensorData]) -> Result<Vec<TensorData>, Outcome> {
        match self {
            Loaded::Native(model) => {
                let inputs = inputs.iter().map(|data| to_runtime(data)).collect::<Result<Vec<_>, _>>()?;
                let outputs = model.run(&inputs).map_err(|e| reason::failed(&format!("run: {e}"), &e))?;
                outputs.iter().map(from_runtime).collect()
            }
            Loaded::Simulated(session) => {
                let inputs: Vec<_> = inputs.iter().map(|data| to_plan(data)).collect();
                let inputs: Vec<_> = inputs.iter().map(sparsec::plan::Tensor::given).collect();
                let outputs = session.run(&inputs).map_err(|e| reason::unsimulated(&e))?;
                outputs.into_iter().map(from_plan).collect()
            }
        }
    }
}

fn compiled(case: &Case, target: &Backend) -> Run {
    let system = |e: std::io::Error| reason::failed("system", e);
    let folder = tempfile::TempDir::with_prefix("sparsec-node-").map_err(system)?;
    let mut names = Vec::new();
    let mut loaded: Option<(Loaded, Constants)> = None;
    for (i, set) in case.sets.iter().enumerate() {
        // One library serves all data, unless some of them are compiled into it.
        if loaded.as_ref().is_none_or(|(_, bound)| !bound.is_empty()) {
            let output = folder.path().join(i.to_string());
            let compile = |bind: &Constants| compile(case, set, target, bind, &output);
            let ((), bound) = binding(case, set, compile, unread, |e| reason::uncompiled(&e))?;
            names = bound.keys().cloned().collect();
            loaded = Some((Loaded::load(&output, target)?, bound));
        }
        let Some((model, bound)) = &mut loaded else { continue };
        let outputs = model.run(&free(case, set, bound))?;
        check(&outputs, set)?;
    }
    Ok(names)
}

fn compile(case: &Case, set: &DataSet, target: &Backend, bind: &Constants, output: &Path) -> Result<(), CompileError> {
    let source =
        ModelSource::Bytes { name: "case".to_owned(), bytes: case.model.clone(), folder: Some(case.folder.clone()) };
    let mut options = CompileOptions::new(target.clone());
    options.bind = bind.clone();
    options.items = items(case, set);
    let emit = if matches!(target, Backend::Cpu(_)) { [Emit::Shared].into() } else { [].into() };
    options.output = Some(Output { folder: output.to_path_buf(), emit });
    sparsec::compile(source, &options, &mut Silent).map(|_| ())
}

fn unread(error: &CompileError) -> Option<&OnnxError> {
    match error {
        CompileError::Read { source, .. } => Some(source),
        _ => None,
    }
}

/// Inputs that are constants.
type Constants = BTreeMap<String, TensorData>;

/// Reads or compiles a model; where that takes inputs to be known, these become constants, and it is tried again.
fn binding<T, E>(
    case: &Case,
    set: &DataSet,
    mut attempt: impl FnMut(&Constants) -> Result<T, E>,
    unread: fn(&E) -> Option<&OnnxError>,
    fail: impl Fn(E) -> Outcome,
) -> Result<(T, Constants), Outcome> {
    let mut bound = Constants::new();
    loop {
        let error = match attempt(&bound) {
            Ok(result) => return Ok((result, bound)),
            Err(error) => error,
        };
        let before = bound.len();
        for name in unread(&error).map(demanded).unwrap_or_default() {
            let value = case.inputs.iter().zip(&set.inputs).find(|(input, _)| **input == name);
            if let Some((_, Value::Tensor(data))) = value {
                bound.insert(name, data.clone());
            }
        }
        if bound.len() == before {
            return Err(fail(error));
        }
    }
}

/// Inputs that must be constants.
fn demanded(error: &OnnxError) -> Vec<String> {
    let OnnxError::Invalid { problems } = error else { return Vec::new() };
    let inputs = problems.iter().filter_map(|problem| match &problem.fault {
        Fault::Unresolved { inputs, .. } => Some(inputs.clone()),
        _ => None,
    });
    inputs.flatten().collect()
}

/// The inputs that are left.
fn free<'a>(case: &Case, set: &'a DataSet, bound: &Constants) -> Vec<&'a TensorData> {
    case.inputs
        .iter()
        .zip(&set.inputs)
        .filter(|(name, _)| !bound.contains_key(*name))
        .flat_map(|(_, value)| value.tensors())
        .collect()
}

/// The shapes of what is in sequences and optional values.
fn items(case: &Case, set: &DataSet) -> BTreeMap<String, Vec<Option<Vec<i64>>>> {
    let shape = |data: &TensorData| data.shape.iter().map(|&d| d as i64).collect();
    let values = case.inputs.iter().zip(&set.inputs);
    let items = values.filter_map(|(name, value)| match value {
        Value::Items(items) => Some((name.clone(), items.iter().map(|data| Some(shape(data))).collect())),
        Value::Tensor(_) => None,
    });
    items.collect()
}

fn check(found: &[TensorData], set: &DataSet) -> Result<(), Outcome> {
    if found.len() != set.outputs.len() {
        let detail = format!("{} outputs instead of {}", found.len(), set.outputs.len());
        return Err(reason::failed("wrong number of outputs", detail));
    }
    for (i, (found, expected)) in found.iter().zip(&set.outputs).enumerate() {
        compare::compare(i, found, expected).map_err(|(group, detail)| reason::failed(&group, detail))?;
    }
    Ok(())
}

fn to_runtime(data: &TensorData) -> Result<Tensor, Outcome> {
    let shape: Vec<i64> = data.shape.iter().map(|&d| d as i64).collect();
    let name = data.dtype.name();
    let dtype = DType::from_name(name).ok_or_else(|| reason::failed("run: element type", name))?;
    Tensor::from_bytes(dtype, &shape, &data.bytes).map_err(|e| reason::failed("run: input", e))
}

fn from_runtime(tensor: &Tensor) -> Result<TensorData, Outcome> {
    let dtype = tensor.dtype().name().parse().map_err(|e: String| reason::failed("run: element type", e))?;
    let shape = tensor.shape().iter().map(|&d| d as usize).collect();
    Ok(TensorData { dtype, shape, bytes: tensor.bytes().to_vec().into() })
}

fn to_plan(data: &TensorData) -> sparsec::plan::Tensor {
    let shape = data.shape.iter().map(|&d| d as i64).collect();
    sparsec::plan::Tensor { dtype: data.dtype.name().to_owned(), shape, bytes: data.bytes.to_vec() }
}

fn from_plan(tensor: sparsec::plan::Tensor) -> Result<TensorData, Outcome> {
    let dtype = tensor.dtype.parse().map_err(|e: String| reason::failed("run: element type", e))?;
    let shape = tensor.shape.iter().map(|&d| d as usize).collect();
    Ok(TensorData { dtype, shape, bytes: tensor.bytes.into() })
}
