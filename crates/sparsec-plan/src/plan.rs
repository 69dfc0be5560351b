//! The file `NAME.plan.json`.

use serde::{Deserialize, Serialize};

use crate::Expression;

/// What [`Plan::format`] says.
pub const FORMAT: &str = "sparsec-plan";

/// Version of the format: raised by every change that a reader could notice.
pub const VERSION: u32 = 1;

/// A launch plan. Sizes and offsets are in bytes.
///
/// Expressions number values: symbols, then one for each loop (its iteration), then extents that are found out. Those of
/// ports, the arena and [`Plan::constraints`] know the symbols alone, those of a [`Kernel`] its params.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The model's name, an identifier.
    pub name: String,
    /// Version of the compiler.
    pub compiler_version: String,
    /// The GPU architecture that the functions need: `sm_80`, `sm_90a`.
    pub gpu: String,
    /// Names of the dimensions that are known only at run time.
    pub symbols: Vec<String>,
    /// How many loops count.
    pub loops: u32,
    /// Names of the extents that are found out by kernels.
    pub found: Vec<String>,
    /// Inputs in order.
    pub inputs: Vec<Port>,
    /// Outputs in order.
    pub outputs: Vec<Port>,
    /// What must hold of the symbols before anything is run.
    pub constraints: Vec<Constraint>,
    /// Size of the file of weights.
    pub weight_bytes: u64,
    /// Read-only data in order: pieces of the file of weights.
    pub constants: Vec<Constant>,
    /// Size of the memory for intermediate results.
    pub arena_bytes: Expression,
    /// Its pieces.
    pub arena: Vec<Slot>,
    /// Functions of the PTX.
    pub kernels: Vec<Kernel>,
    /// Calls of kernels.
    pub launches: Vec<Launch>,
    /// What a run does.
    pub steps: Vec<Step>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Element type: `f32`, `i64`, ...
    pub dtype: String,
    /// Extents over the symbols. For an output, the largest.
    pub shape: Vec<Expression>,
    /// An output's extents after the run, over all values, where they are found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Vec<Expression>>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// Must be at least 0.
    pub value: Expression,
    /// Why, as a sentence without its end.
    pub message: String,
}

/// A piece of the file of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Name for reports, unique.
    pub name: String,
    /// Where it starts, a multiple of 256.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

/// A piece of the arena.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Where it starts.
    pub offset: Expression,
    /// Its size.
    pub bytes: Expression,
}

/// A function of the PTX, and how it is launched. Expressions number the params.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its name in the PTX.
    pub function: String,
    /// How many params it takes.
    pub params: u32,
    /// The buffers that it takes, behind the params.
    pub buffers: Vec<Buffer>,
    /// Blocks of the grid; nothing is launched where it is 0 or less.
    pub blocks: Expression,
    /// Threads of a block, a multiple of 32.
    pub threads: u32,
    /// Shared memory of a block that the launch has to ask for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_bytes: u32,
    /// Global memory for each block, whose address is the last argument; none where 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch_bytes: u64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A buffer that a kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// Its name in the kernel.
    pub name: String,
    /// Size of what the kernel may touch.
    pub bytes: Expression,
    /// Whether it is written.
    pub written: bool,
}

/// Memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Input of the model.
    Input(u32),
    /// Output of the model.
    Output(u32),
    /// A constant.
    Constant(u32),
    /// A slot of the arena.
    Arena(u32),
}

/// A place in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// The memory.
    pub memory: Memory,
    /// Offset into it.
    #[serde(default = "zero", skip_serializing_if = "is_start")]
    pub offset: Expression,
}

fn zero() -> Expression {
    Expression::Int(0)
}

fn is_start(e: &Expression) -> bool {
    *e == zero()
}

/// A call of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Index into [`Plan::kernels`].
    pub kernel: u32,
    /// What is computed: names of the graph's nodes.
    pub label: String,
    /// Values of the kernel's params.
    pub params: Vec<Expression>,
    /// Where the kernel's buffers lie.
    pub buffers: Vec<Location>,
}

/// A piece of what a run does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A call, by index into [`Plan::launches`].
    Launch(u32),
    /// One of two sequences of steps.
    If {
        /// A `bool`, read here.
        condition: Location,
        /// Where it is not 0.
        then: Vec<Step>,
        /// Where it is 0.
        otherwise: Vec<Step>,
    },
    /// Steps again and again.
    Loop(Box<LoopStep>),
    /// An extent that a kernel has found out is read.
    Find {
        /// Index into [`Plan::found`].
        found: u32,
        /// Where it is, an `i64`.
        from: Location,
        /// What must hold for the run to go on.
        constraints: Vec<Constraint>,
    },
    /// The run ends here unless the constraint holds.
    Require(Constraint),
}

/// A loop of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopStep {
    /// The number of the loop: value `symbols + counter` is its iteration, from 0.
    pub counter: u32,
    /// How many iterations there are at most.
    pub trip: Trip,
    /// Where the condition is, a `bool`: before the first iteration, and after each. The loop ends where it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<(Location, Location)>,
    /// Where the iteration is stored, an `i64`, before each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Location>,
    /// What an iteration does.
    pub body: Vec<Step>,
}

/// How many iterations a loop has at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trip {
    /// So many.
    Count(Expression),
    /// An `i64`, read before the loop.
    Load(Location),
    /// As many as its condition allows.
    Unbounded,
}

impl Plan {
    /// How many values expressions of launches know.
    pub(crate) fn values(&self) -> usize {
        self.symbols.len() + self.loops as usize + self.found.len()
    }

    /// Whether a run is one sequence of launches, the same for the same symbols.
    #[must_use]
    pub fn is_straight(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Launch(_)))
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None that a plan can cause.
    pub fn to_json(&self) -> Result<String, crate::PlanError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| crate::PlanError::Json(e.to_string()))?;
        Ok(text + "\n")
    }

    /// Reads and checks a plan.
    ///
    /// # Errors
    /// Where the text is no plan, or one that this version does not know, or one that contradicts itself.
    pub fn from_json(text: &str) -> Result<Plan, crate::PlanError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let json = |e: serde_json::Error| crate::PlanError::Json(e.to_string());
        let head: Head = serde_json::from_str(text).map_err(json)?;
        if head.format != FORMAT {
            return Err(crate::PlanError::Format(head.format));
        }
        if head.version != VERSION {
            return Err(crate::PlanError::Version(head.version));
        }
        let plan: Plan = serde_json::from_str(text).map_err(json)?;
        plan.check()?;
        Ok(plan)
    }
}
