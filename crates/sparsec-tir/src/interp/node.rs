//! Kernels with names resolved to slots.

use crate::{BinaryOp, CompareOp, Layout, Precision, ReduceOp, Scalar, Type, UnaryOp};

/// An expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ty: Type,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Const(u64),
    Param(usize),
    /// Lanes of a variable, from this slot on.
    Var(usize),
    /// The current lane of a variable that varies in a vector loop.
    LaneVar(usize),
    /// The variable of the vector loop.
    Lane,
    Reg(Place),
    Load(Box<Memory>),
    /// Stage I: an entry of a sparse buffer; 0 where there is none.
    Entry(usize, Vec<Node>),
    Gather(usize, Box<Node>),
    Unary(UnaryOp, Box<Node>),
    Binary(BinaryOp, Box<Node>, Box<Node>),
    Compare(CompareOp, Box<Node>, Box<Node>),
    Select(Box<Node>, Box<Node>, Box<Node>),
    Fma(Box<Node>, Box<Node>, Box<Node>),
    Dot4(Box<Node>, Box<Node>, Box<Node>),
    Convert(Box<Node>),
    Bitcast(Box<Node>),
    Splat(Box<Node>),
    Ramp(Box<Node>, i64),
    Shuffle(Box<Node>, Vec<u8>),
    Extract(Box<Node>, usize),
    Reduce(ReduceOp, Box<Node>),
}

/// A register.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) register: usize,
    pub(super) index: Vec<Node>,
    /// Whether this is only the current lane of it.
    pub(super) lane: bool,
}

/// A place in memory.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) buffer: usize,
    pub(super) index: Vec<Node>,
    pub(super) lanes: usize,
    pub(super) active: Option<Node>,
    pub(super) padded: bool,
    /// Whether it varies with the lane of a vector loop, so that inactive lanes touch nothing.
    pub(super) varies: bool,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Code {
    For {
        var: usize,
        start: Node,
        end: Node,
        step: i64,
        poison: bool,
        body: Vec<Code>,
    },
    /// A parallel loop whose iterations form groups of `size`.
    Groups {
        var: usize,
        until: usize,
        start: Node,
        end: Node,
        size: i64,
        poison: bool,
        body: Vec<Code>,
    },
    Vector {
        lanes: usize,
        active: Option<Node>,
        body: Vec<Code>,
    },
    /// Sets the lanes of a variable; the flag says to do it lane by lane of the vector loop.
    Let(usize, Node, bool),
    Set(Place, Node),
    Store(Memory, Node),
    Product(Box<Product>),
    SaveTile(Matrix, Place),
    /// The warps of a team, with the variable that numbers them.
    Warps {
        var: usize,
        count: usize,
        body: Vec<Code>,
    },
    /// A barrier, or a statement with one in it: all warps of a team do it together.
    Together(Box<Code>),
    Barrier,
    /// To and from.
    Copy(Memory, Memory),
    /// Pieces of so many elements, and their distance.
    Spread(Memory, Node, usize, i64),
    If(Node, Vec<Code>, Vec<Code>),
}

/// A matrix: its first element, and the distances of rows and columns.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) at: Memory,
    pub(super) strides: [Node; 2],
    pub(super) layout: Layout,
    /// Elements in 16 bytes.
    pub(super) piece: i64,
}

/// A product of matrices.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) precision: Precision,
    /// Of a group's product: how often 8 columns, and the variable that numbers the warps.
    pub(super) group: Option<(usize, usize)>,
    pub(super) sums: Place,
    pub(super) left: Matrix,
    pub(super) right: Matrix,
    pub(super) kept: Option<Memory>,
    pub(super) masked: Option<Memory>,
}

/// Where a register array lies.
#[derive(Debug)]
pub(super) struct RegisterSlots {
    pub(super) name: String,
    pub(super) scalar: Scalar,
    pub(super) lanes: usize,
    pub(super) dims: Vec<u32>,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// A kernel.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) body: Vec<Code>,
    /// Slots per variable: enough for all lanes of any.
    pub(super) var_slots: usize,
    pub(super) vars: usize,
    pub(super) registers: Vec<RegisterSlots>,
}
