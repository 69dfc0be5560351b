//! Kernels of Stages II and III: buffers, registers, statements.
//!
//! Both stages share these types; what each allows is the verifier's business. In Stage II (position space) buffers have
//! several dimensions, and loops may be marked `vector`. In Stage III (flat) buffers have one dimension, there are no
//! vector loops, and values are vectors instead.

use std::fmt;

use crate::{Access, Expr, Scalar, Type};

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// Its number as an index.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

entity!(
    /// A loop variable or the value of a `let`: index into [`Kernel::vars`].
    VarId
);
entity!(
    /// An `i64` argument: index into [`Kernel::params`].
    ParamId
);
entity!(
    /// A buffer: index into [`Kernel::buffers`].
    BufferId
);
entity!(
    /// A register array: index into [`Kernel::registers`].
    RegisterId
);

/// Which stage a kernel is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Stage II: loops over stored entries, several dimensions, `vector` loops.
    Position,
    /// Stage III: flat indices, vector values.
    Flat,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Position => "position",
            Stage::Flat => "flat",
        })
    }
}

/// What a buffer is to its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BufferKind {
    /// Read only, given by the caller: activations, or constant tables of the model.
    Input,
    /// Written, and possibly read back, by this kernel; given by the caller.
    Output,
    /// Memory of one worker for the time of one kernel call; contents undefined at the start. In a `warps` loop each warp has its own.
    Scratch,
    /// Memory that the warps of a `warps` loop share for one iteration of the parallel loop; contents undefined at the start. What is
    /// written there may be read, also by the warp that wrote it, behind the next barrier.
    Team,
}

impl BufferKind {
    /// The name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BufferKind::Input => "input",
            BufferKind::Output => "output",
            BufferKind::Scratch => "scratch",
            BufferKind::Team => "team",
        }
    }

    /// Whether the caller gives it; the others are the kernel's own.
    #[must_use]
    pub fn is_given(self) -> bool {
        matches!(self, BufferKind::Input | BufferKind::Output)
    }
}

/// Memory that a kernel reads or writes. Buffers of one kernel do not overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Unique in the kernel.
    pub name: String,
    /// Element type.
    pub elem: Scalar,
    /// What it is to the kernel.
    pub kind: BufferKind,
    /// Extents over params, outermost first. One extent in Stage III: the number of elements. Constant for scratch.
    pub shape: Vec<Expr>,
    /// Distance of neighbours along each dimension, in elements; row-major where empty.
    pub strides: Vec<Expr>,
}

/// An array of mutable machine registers. Indices into it must be constant once `unroll` loops are expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    /// Unique in the kernel.
    pub name: String,
    /// Type of one register. Inside a `vector` loop (Stage II), a register of as many lanes stands for its lane of the
    /// current iteration.
    pub ty: Type,
    /// Extents of the array; empty for a single register.
    pub dims: Vec<u32>,
}

/// A named immutable value.
#[derive(Clone, Debug, PartialEq)]
pub struct Var {
    /// Unique in the kernel.
    pub name: String,
    /// Its type; `i64` for loop variables. The type of a `let` inside a `vector` loop is that of one lane.
    pub ty: Type,
}

/// How the iterations of a loop are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// In any order, on any worker. At most one per kernel: it is then the kernel's only top-level statement.
    Parallel,
    /// The team of warps that do an iteration of the parallel loop together, each with registers and scratch of its own. It stands
    /// in the parallel loop beside `let`s and comments only. GPUs only.
    Warps,
    /// Copied out for each value of the variable; bounds are constants (or variables of outer `unroll` loops).
    Unroll,
    /// Stage II only: the iterations are the lanes of vectors. Starts at 0, the end is a constant power of two.
    Vector,
}

impl LoopKind {
    /// The keyword in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LoopKind::Serial => "for",
            LoopKind::Parallel => "parallel",
            LoopKind::Warps => "warps",
            LoopKind::Unroll => "unroll",
            LoopKind::Vector => "vector",
        }
    }
}

/// A loop: `var` from `start` while below `end`, by `step`.
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    /// How iterations are run.
    pub kind: LoopKind,
    /// The loop variable.
    pub var: VarId,
    /// First value.
    pub start: Expr,
    /// Exclusive bound.
    pub end: Expr,
    /// Positive increment; 1 for unrolled and vector loops, and for parallel ones whose iterations stand alone.
    pub step: i64,
    /// Parallel loops of a larger step only: the body runs the iterations from `var` to this variable, which belong to one group of
    /// `step`, counted from `start`. In how many pieces a group is run is up to who runs the loop.
    pub until: Option<VarId>,
    /// Vector loops only: loads and stores that vary with the variable touch memory only in lanes below this count.
    pub active: Option<Expr>,
    /// The body.
    pub body: Vec<Stmt>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// A loop.
    For(For),
    /// Names a value for the rest of the block.
    Let(VarId, Expr),
    /// Assigns a register.
    Set(crate::RegisterId, Vec<Expr>, Expr),
    /// Writes memory. The value's lanes are the access's.
    Store(Access, Expr),
    /// Runs one of two blocks.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Adds the product of two small matrices to sums in registers: see [`Product`](crate::Product).
    Product(Box<crate::Product>),
    /// Writes such sums to memory.
    SaveTile(crate::Tile, crate::RegisterId, Vec<Expr>),
    /// All warps of a team wait here for each other; what they wrote to team buffers before can be read behind it.
    Barrier,
    /// Begins to copy 512 bytes of an input, 16 for each lane of the warp, to a team buffer: first where to, then where from. Lanes
    /// whose first element is not below the active count copy nothing. It is done once [`Stmt::AwaitCopies`] says so; others of the
    /// team see it behind the next barrier.
    CopyAsync(Access, Access),
    /// The copies that this warp began since the last one are a group.
    CommitCopies,
    /// Waits until at most so many of this warp's groups of copies are not done.
    AwaitCopies(u32),
    /// Writes a vector to a team buffer in pieces of 16 bytes, which lie this many elements from each other: rows of blocks.
    Spread(Access, Expr, i64),
    /// The products of this warp's group since the last one are a group of products.
    CommitProducts,
    /// Waits until at most so many groups of products are not done.
    AwaitProducts(u32),
    /// Hints that the memory there will be read soon. May lie outside the buffer.
    Prefetch(Access),
    /// A remark for the reader.
    Comment(String),
}

/// A kernel of Stage II or III.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Unique in its program.
    pub name: String,
    /// The stage.
    pub stage: Stage,
    /// What it computes, for readers of dumps: tensor, format, schedule.
    pub comments: Vec<String>,
    /// Names of the `i64` arguments.
    pub params: Vec<String>,
    /// Buffers. The caller passes inputs and outputs in this order.
    pub buffers: Vec<Buffer>,
    /// Register arrays.
    pub registers: Vec<Register>,
    /// Loop variables and `let`s.
    pub vars: Vec<Var>,
    /// The body.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// A kernel without a body.
    #[must_use]
    pub fn new(name: impl Into<String>, stage: Stage) -> Self {
        Kernel {
            name: name.into(),
            stage,
            comments: Vec::new(),
            params: Vec::new(),
            buffers: Vec::new(),
            registers: Vec::new(),
            vars: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The extent of the parallel loop, where the kernel is one.
    #[must_use]
    pub fn parallel_loop(&self) -> Option<&For> {
        match self.body.as_slice() {
            [Stmt::For(l)] if l.kind == LoopKind::Parallel => Some(l),
            _ => None,
        }
    }

    /// How many warps do an iteration of the parallel loop together, where it has a `warps` loop.
    #[must_use]
    pub fn team(&self) -> Option<u32> {
        let warps = |s: &Stmt| match s {
            Stmt::For(l) if l.kind == LoopKind::Warps => l.end.as_int().and_then(|n| u32::try_from(n).ok()),
            _ => None,
        };
        self.parallel_loop()?.body.iter().find_map(warps)
    }

    /// What the factors of its products of matrices are rounded to, where it has any.
    #[must_use]
    pub fn precision(&self) -> Option<crate::Precision> {
        fn of(block: &[Stmt]) -> Option<crate::Precision> {
            block.iter().find_map(|s| match s {
                Stmt::Product(product) => Some(product.precision),
                Stmt::For(l) => of(&l.body),
                Stmt::If(_, yes, no) => of(yes).or_else(|| of(no)),
                _ => None,
            })
        }
        of(&self.body)
    }

    /// Whether groups of warps multiply together.
    #[must_use]
    pub fn has_group_products(&self) -> bool {
        fn of(block: &[Stmt]) -> bool {
            block.iter().any(|s| match s {
                Stmt::Product(product) => product.group.is_some(),
                Stmt::For(l) => of(&l.body),
                Stmt::If(_, yes, no) => of(yes) || of(no),
                _ => false,
            })
        }
        of(&self.body)
    }

    /// A buffer.
    #[must_use]
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.index()]
    }
}
