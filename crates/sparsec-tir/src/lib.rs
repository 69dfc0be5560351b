//! Sparse tensor IR in three stages: coordinate space, position space, flat.
//!
//! - Stage I, [`CoordinateKernel`]: what is computed per coordinate; formats as axes.
//! - Stage II, [`Kernel`] in [`Stage::Position`]: loops over stored entries, scheduled.
//! - Stage III, [`Kernel`] in [`Stage::Flat`]: flat buffers, vector values. Backends read this and nothing else.

mod builder;
mod coordinate;
mod expr;
mod kernel;
mod program;
mod types;

pub use builder::{KernelBuilder, load};
pub use coordinate::{
    Axis, AxisId, AxisKind, CoordinateBuffer, CoordinateKernel, CoordinateMap, IterKind, Iteration, MapId,
};
pub use expr::{Access, BinaryOp, CompareOp, Expr, ReduceOp, UnaryOp};
pub use kernel::{
    Buffer, BufferId, BufferKind, For, Kernel, LoopKind, ParamId, Register, RegisterId, Stage, Stmt, Var, VarId,
};
pub use program::{
    Argument, ArenaSlot, ConstantData, ConstantInfo, Launch, Port, Program, kernel_scratch_bytes,
};
pub use types::{Scalar, Type};
