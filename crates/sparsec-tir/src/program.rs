//! Programs: what is compiled to one library. Constants, memory, launches of kernels, and the steps of a run.

use crate::{Expr, Kernel, Scalar};

/// A whole model: kernels, the memory that they work on, and the order in which they run.
///
/// Expressions at this level are integer expressions whose [`Expr::Param`]s are the program's symbols.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The model's name, an identifier: prefix of every exported symbol.
    pub name: String,
    /// Names of the dimensions that are known only at run time.
    pub symbols: Vec<String>,
    /// Inputs in order.
    pub inputs: Vec<Port>,
    /// Outputs in order.
    pub outputs: Vec<Port>,
    /// Read-only data in order.
    pub constants: Vec<ConstantInfo>,
    /// Pieces of the arena in order.
    pub arena: Vec<ArenaSlot>,
    /// Bytes of arena that the slots need together.
    pub arena_bytes: Option<Expr>,
    /// Kernels of Stage III. Each is compiled once, however often it is launched.
    pub kernels: Vec<Kernel>,
    /// Calls of kernels, in the order of the text.
    pub launches: Vec<Launch>,
    /// What `run` does with them.
    pub steps: Vec<Step>,
    /// How many loops count: see [`LoopStep::counter`].
    pub counters: u32,
    /// Names of the extents that kernels find out. In params, offsets and [`Program::result_shapes`], extent `f` is
    /// `Param(symbols + counters + f)` once a [`FindStep`] has read it.
    pub found: Vec<String>,
    /// For each output the extents that it has after a run, where those of its port are only the largest that they can
    /// be. Empty where nothing is found out.
    pub result_shapes: Vec<Vec<Expr>>,
    /// What must hold of the symbols before anything is run.
    pub constraints: Vec<Constraint>,
}

/// A condition on the symbols, without which launches would reach outside their buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    /// Must be at least 0; over the symbols.
    pub expr: Expr,
    /// Why, as a sentence without its end: for people.
    pub message: String,
}

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// What an element is kept in.
    pub elem: Scalar,
    /// Name of the element type for callers: that of `elem`, or of a type whose codes are kept in it.
    pub dtype: &'static str,
    /// Extents over the symbols. An input's extent that is a symbol, or a multiple of one (`32 * s`), defines that symbol at run
    /// time.
    pub shape: Vec<Expr>,
}

/// Read-only data: its bytes are in a [`ConstantData`] beside the program, so that large weights are made when they are
/// written and not before.
#[derive(Clone, Debug, PartialEq)]
pub struct ConstantInfo {
    /// Name for reports and symbols, unique.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Alignment in bytes, a power of two.
    pub align: u32,
}

/// A piece of the arena.
#[derive(Clone, Debug, PartialEq)]
pub struct ArenaSlot {
    /// Byte offset over the symbols, a multiple of 64.
    pub offset: Expr,
    /// Size in bytes over the symbols.
    pub bytes: Expr,
}

/// Where a kernel's buffer argument lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Argument {
    /// Input of the model.
    Input(u32),
    /// Output of the model.
    Output(u32),
    /// Constant, by index.
    Constant(u32),
    /// Arena slot, by index.
    Arena(u32),
}

/// One call of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Index into [`Program::kernels`].
    pub kernel: u32,
    /// What is computed, for reports: the names of the graph's nodes.
    pub label: String,
    /// Values of the kernel's params, over the program's symbols and the counters of the loops around the launch.
    pub params: Vec<Expr>,
    /// One per input or output buffer of the kernel, in order (scratch buffers have none), with a byte offset.
    pub arguments: Vec<Location>,
}

/// A piece of what `run` does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// One call of a kernel, by index into [`Program::launches`]. Each launch stands in one step.
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
    Find(Box<FindStep>),
    /// The run ends here unless the constraint holds: what a branch demands, and the model does not.
    Require(Constraint),
}

/// The reading of an extent that depends on data.
#[derive(Clone, Debug, PartialEq)]
pub struct FindStep {
    /// Index into [`Program::found`].
    pub found: u32,
    /// Where it is, an `i64`.
    pub from: Location,
    /// What must hold for the run to go on.
    pub constraints: Vec<Constraint>,
}

/// A buffer, and a byte offset into it.
pub type Location = (Argument, Expr);

/// A loop of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopStep {
    /// The number of the loop. Within the loop, `Param(symbols + counter)` of offsets and of launches' params is the
    /// iteration, from 0.
    pub counter: u32,
    /// How many iterations there are at most.
    pub trip: TripCount,
    /// Where the condition is, a `bool`: before the first iteration, and after each. The loop ends where it is 0.
    pub condition: Option<(Location, Location)>,
    /// Where the iteration is stored, as an `i64`, before each.
    pub index: Option<Location>,
    /// What an iteration does.
    pub body: Vec<Step>,
}

/// How many iterations a loop has at most.
#[derive(Clone, Debug, PartialEq)]
pub enum TripCount {
    /// An expression over the symbols, and the counters of the loops around it.
    Expr(Expr),
    /// An `i64`, read before the loop.
    Load(Location),
    /// As many as its condition allows.
    Unbounded,
}

impl Step {
    /// Launches `0..count`, one after the other.
    #[must_use]
    pub fn sequence(count: usize) -> Vec<Step> {
        (0..count as u32).map(Step::Launch).collect()
    }
}

/// Gives the bytes of the program's constants.
pub trait ConstantData {
    /// The bytes of constant `index`, exactly [`ConstantInfo::bytes`] of them, written to `out`.
    ///
    /// # Errors
    /// When writing fails.
    fn write(&self, index: usize, out: &mut dyn std::io::Write) -> std::io::Result<()>;
}

impl Program {
    /// Bytes of scratch that one worker needs for the largest kernel, each buffer aligned to 64.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.kernels.iter().map(kernel_scratch_bytes).max().unwrap_or(0)
    }
}

/// Bytes of scratch that one worker needs for a kernel: its scratch buffers in order, each aligned to 64. What a team of warps
/// shares is not among them: workers of CPUs run no teams.
#[must_use]
pub fn kernel_scratch_bytes(kernel: &Kernel) -> u64 {
    kernel
        .buffers
        .iter()
        .filter(|b| b.kind == crate::BufferKind::Scratch)
        .map(|b| {
            let elements: i64 = b.shape.iter().map(|d| d.as_int().unwrap_or(0)).product();
            (elements.max(0) as u64 * b.elem.size() as u64).div_ceil(64) * 64
        })
        .sum()
}
