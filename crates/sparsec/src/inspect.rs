//! What was found in each weight and what was chosen for it: the material of `sparsec inspect` and of reports.

use std::collections::BTreeMap;

use serde::Serialize;
use sparsec_graph::{Bindings, Graph, Op};
use sparsec_passes::{Arithmetic, Macs};
use sparsec_rewrite::{Decision, Report};
use sparsec_tir::{Expr, Program};

use crate::tuning::Tuning;

/// The account of one compilation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The model.
    pub model: String,
    /// Values that open dimensions were assumed to have where time was predicted.
    pub dims: BTreeMap<String, i64>,
    /// Multiply-adds of the model as it was read, zeros counted. Open dimensions count as 1 here and below.
    pub read_macs: u64,
    /// Multiply-adds once zero channels are removed, zeros counted.
    pub dense_macs: u64,
    /// Multiply-adds by weights that are not zero.
    pub kept_macs: u64,
    /// Predicted milliseconds of a run on one thread.
    pub predicted_ms: f64,
    /// One entry for each weight of a contraction or convolution, in graph order.
    pub weights: Vec<WeightReport>,
    /// How many contractions and convolutions are computed in which numbers, those of two activations included.
    pub arithmetic: BTreeMap<String, usize>,
    /// Element-wise operators that became part of another kernel.
    pub fused: usize,
    /// Transposes that move data, before and after.
    pub transposes: (usize, usize),
    /// Calls of kernels in a run.
    pub launches: usize,
    /// Different kernels.
    pub kernels: usize,
    /// Bytes of weights and tables in the library.
    pub constant_bytes: u64,
    /// Bytes of memory for intermediate results, where no dimension is open.
    pub arena_bytes: Option<u64>,
    /// The CPUs that the library chooses from, the lowest first; the rest of this account is that of the lowest. Empty where
    /// the library is for one CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelReport>,
}

/// What was chosen for one of several CPUs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelReport {
    /// The CPU.
    pub cpu: String,
    /// Predicted milliseconds of a run on one thread.
    pub predicted_ms: f64,
    /// The format of each weight.
    pub formats: BTreeMap<String, String>,
}

impl LevelReport {
    pub(crate) fn new(cpu: &str, inspection: &Inspection) -> Self {
        let formats = inspection.weights.iter().map(|w| (w.tensor.clone(), w.chosen.clone())).collect();
        LevelReport { cpu: cpu.to_owned(), predicted_ms: inspection.predicted_ms, formats }
    }
}

/// One weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightReport {
    /// Name of the weight in the model.
    pub tensor: String,
    /// Name of the node that multiplies by it.
    pub node: String,
    /// Outputs and inputs, in the model.
    pub shape: (usize, usize),
    /// Outputs and inputs once zero channels are removed.
    pub kept: (usize, usize),
    /// Columns of the product: tokens or pixels.
    pub columns: f64,
    /// The pattern that was found: `unstructured`, `nm<2,4>`, `block<4,1>`, `channel<rows kept,columns kept>`, ...
    pub pattern: String,
    /// Nonzeros / elements of what is kept.
    pub density: f64,
    /// The numbers that are multiplied and added up: `f32`, `i8 x u8 -> i32`, `integers in f32, exact`,
    /// `f16 on tensor cores`.
    pub arithmetic: String,
    /// The format.
    pub chosen: String,
    /// Why.
    pub reason: String,
    /// Predicted milliseconds in that format.
    pub predicted_ms: f64,
    /// Bytes in that format.
    pub bytes: u64,
    /// What the kernel made of the format for its target: tile, rows in flight, partitions.
    pub schedule: Option<String>,
    /// Measured milliseconds of the format and schedule that were chosen, where they come from tuning.
    pub measured_ms: Option<f64>,
    /// The formats that were compared, the fastest first.
    pub candidates: Vec<CandidateReport>,
}

/// A format that a weight could have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CandidateReport {
    /// The format.
    pub format: String,
    /// Predicted milliseconds.
    pub predicted_ms: f64,
    /// Measured milliseconds with its fastest schedule, where it was timed.
    pub measured_ms: Option<f64>,
    /// Bytes of the weight.
    pub bytes: u64,
    /// What speaks for or against it.
    pub why: String,
}

/// Outputs and inputs of each weight, by name.
pub(crate) type Shapes = BTreeMap<String, (usize, usize)>;

/// Outputs and inputs of the constant weights of a graph's contractions and convolutions.
pub(crate) fn weight_shapes(graph: &Graph) -> Shapes {
    let mut shapes = Shapes::new();
    for (_, node) in graph.nodes() {
        node.op.graphs().into_iter().for_each(|nested| shapes.extend(weight_shapes(nested)));
        let constant = |i: usize| node.operands.get(i).and_then(|&v| graph.constant(v));
        let (weight, is_output): (_, Vec<bool>) = match &node.op {
            // The first dimension of a convolution's weight is its outputs.
            Op::Conv(_) => (constant(1), vec![true]),
            Op::Contract(spec) => match constant(0) {
                Some(weight) => (Some(weight), spec.lhs.iter().map(|label| spec.out.contains(label)).collect()),
                None => (constant(1), spec.rhs.iter().map(|label| spec.out.contains(label)).collect()),
            },
            _ => continue,
        };
        if let Some(weight) = weight {
            let mut shape = (1usize, 1usize);
            for (i, &extent) in weight.data.shape.iter().enumerate() {
                let side = if is_output.get(i) == Some(&true) { &mut shape.0 } else { &mut shape.1 };
                *side = side.saturating_mul(extent);
            }
            shapes.insert(weight.name.clone(), shape);
        }
    }
    shapes
}

impl Inspection {
    /// The account of the stages that work on the graph. `macs` are those of the graph as read and after the passes,
    /// `shapes` those before channels were removed.
    pub(crate) fn new(label: &str, macs: [Macs; 2], nominal: &Bindings, shapes: &Shapes, report: &Report) -> Self {
        Inspection {
            model: label.to_owned(),
            dims: nominal.iter().map(|(symbol, &n)| (symbol.name().to_owned(), n)).collect(),
            read_macs: macs[0].dense,
            dense_macs: macs[1].dense,
            kept_macs: macs[1].nonzero,
            predicted_ms: report.seconds * 1e3,
            weights: report.decisions.iter().map(|d| WeightReport::new(d, shapes)).collect(),
            arithmetic: BTreeMap::new(),
            fused: report.fused,
            transposes: report.transposes,
            launches: 0,
            kernels: 0,
            constant_bytes: 0,
            arena_bytes: None,
            levels: Vec::new(),
        }
    }

    /// Adds what products are computed in; names are those of nodes.
    pub(crate) fn add_arithmetic(&mut self, products: &[(String, Arithmetic)]) {
        for (_, arithmetic) in products {
            *self.arithmetic.entry(arithmetic.to_string()).or_default() += 1;
        }
        for weight in &mut self.weights {
            let own = products.iter().find(|(node, _)| *node == weight.node);
            weight.arithmetic = own.map_or(String::new(), |(_, arithmetic)| arithmetic.to_string());
        }
    }

    /// Adds what was measured.
    pub(crate) fn add_tuning(&mut self, tuning: &Tuning) {
        for weight in &mut self.weights {
            let Some(layer) = tuning.layer(&weight.node).filter(|layer| layer.format == weight.chosen) else {
                continue;
            };
            weight.measured_ms = layer.us().map(|us| us / 1e3);
            let schedule = layer.schedule.as_ref().map_or(String::new(), |s| format!(" with {s}"));
            weight.reason = match (weight.measured_ms, layer.us_of("dense")) {
                (Some(own), Some(dense)) if weight.chosen != "dense" => {
                    format!("tuned: measured {:.2} times as fast as dense{schedule}", dense / 1e3 / own)
                }
                _ => format!("tuned: fastest of {} that were measured{schedule}", layer.timings.len()),
            };
            for candidate in &mut weight.candidates {
                candidate.measured_ms = layer.us_of(&candidate.format).map(|us| us / 1e3);
            }
        }
    }

    pub(crate) fn add_program(&mut self, program: &Program) {
        for weight in &mut self.weights {
            let launch = program.launches.iter().find(|l| l.label == weight.node);
            let kernel = launch.and_then(|l| program.kernels.get(l.kernel as usize));
            weight.schedule = kernel.map(|k| k.comments.join("; "));
            if let Some(precision) = kernel.and_then(sparsec_tir::Kernel::precision) {
                let (own, tensor) = (&weight.arithmetic, format!("{} on tensor cores", precision.name()));
                if let Some(count) = self.arithmetic.get_mut(own).filter(|count| **count > 0) {
                    *count -= 1;
                    *self.arithmetic.entry(tensor.clone()).or_default() += 1;
                }
                weight.arithmetic = tensor;
            }
        }
        self.arithmetic.retain(|_, count| *count > 0);
        self.launches = program.launches.len();
        self.kernels = program.kernels.len();
        self.constant_bytes = program.constants.iter().map(|c| c.bytes).sum();
        self.arena_bytes = program.arena_bytes.as_ref().and_then(Expr::as_int).and_then(|n| u64::try_from(n).ok());
    }
}

impl WeightReport {
    fn new(decision: &Decision, shapes: &Shapes) -> Self {
        let kept = decision.shape;
        let shape = shapes.get(&decision.tensor).copied().unwrap_or(kept);
        let candidates: Vec<CandidateReport> = decision
            .candidates
            .iter()
            .map(|c| CandidateReport {
                format: c.format.to_string(),
                predicted_ms: c.seconds * 1e3,
                measured_ms: None,
                bytes: c.bytes,
                why: c.why.clone(),
            })
            .collect();
        let chosen = decision.chosen.to_string();
        let candidate = candidates.iter().find(|c| c.format == chosen);
        // Removed channels were the pattern, where nothing else is left of it.
        let removed = kept.0 < shape.0 || kept.1 < shape.1;
        let pattern = match decision.pattern.to_string() {
            rest if removed && rest == "dense" => format!("channel<{},{}>", kept.0, kept.1),
            rest if removed => format!("channel<{},{}>+{rest}", kept.0, kept.1),
            pattern => pattern,
        };
        WeightReport {
            tensor: decision.tensor.clone(),
            node: decision.node.clone(),
            shape,
            kept,
            columns: decision.columns,
            pattern,
            density: decision.density,
            arithmetic: String::new(),
            reason: decision.reason.clone(),
            predicted_ms: candidate.map_or(0.0, |c| c.predicted_ms),
            bytes: candidate.map_or(0, |c| c.bytes),
            chosen,
            schedule: None,
            measured_ms: None,
            candidates,
        }
    }
}
