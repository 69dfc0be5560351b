//! What was decided, and why: the material of `sparsec inspect`.

use serde::{Serialize, Serializer};
use sparsec_graph::Format;
use sparsec_sparse::{PatternKind, PatternStats};

use crate::cost::Work;

/// What a rewrite decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// One decision for each contraction or convolution with a constant weight, in graph order.
    pub decisions: Vec<Decision>,
    /// Nodes before and after.
    pub nodes: (usize, usize),
    /// Element-wise operators that became part of an epilogue or of a map.
    pub fused: usize,
    /// Transposes that move data, before and after.
    pub transposes: (usize, usize),
    /// Predicted seconds of the whole graph at nominal extents.
    pub seconds: f64,
    /// Predicted seconds of each node of the new graph, in order.
    pub operators: Vec<OperatorReport>,
    /// How the search went, region by region.
    pub regions: Vec<RegionReport>,
}

/// One node of the new graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperatorReport {
    /// Its name.
    pub node: String,
    /// Predicted seconds, with everything that is fused into it.
    pub seconds: f64,
    /// What the prediction is made of.
    #[serde(serialize_with = "named")]
    pub work: Work,
}

impl OperatorReport {
    /// The account of an operator that runs this many times.
    pub(crate) fn repeated(self, times: f64) -> Self {
        OperatorReport { node: self.node, seconds: self.seconds * times, work: self.work.repeated(times) }
    }
}

/// The search in one region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionReport {
    /// Nodes of the source graph.
    pub nodes: usize,
    /// Classes of equal values that were found.
    pub classes: usize,
    /// E-nodes that were found.
    pub alternatives: usize,
    /// Rounds of rewriting, for layouts and for fusion.
    pub rounds: Vec<usize>,
    /// Whether every family of rules ran until nothing was left to find.
    pub saturated: bool,
}

fn named<S: Serializer>(work: &Work, serializer: S) -> Result<S::Ok, S::Error> {
    work.named().serialize(serializer)
}

/// The choice for one weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Name of the contraction or convolution in the model.
    pub node: String,
    /// Name of the constant.
    pub tensor: String,
    /// Outputs M and inputs K of the weight as a matrix.
    pub shape: (usize, usize),
    /// Columns N of the product at nominal extents: tokens or pixels.
    pub columns: f64,
    /// The kind of pattern.
    pub pattern: PatternKind,
    /// Nonzeros / elements.
    pub density: f64,
    /// More about the pattern; none where it is dense.
    pub stats: Option<PatternStats>,
    /// The formats that were compared, fastest first.
    pub candidates: Vec<Candidate>,
    /// The choice.
    pub chosen: Format,
    /// Why.
    pub reason: String,
}

/// A format that was considered for a weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The format.
    pub format: Format,
    /// Predicted seconds of the layer in this format, with packing, storing and epilogue.
    pub seconds: f64,
    /// Bytes of the stored weight.
    pub bytes: u64,
    /// What speaks for or against it.
    pub why: String,
}
