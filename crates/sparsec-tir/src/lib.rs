//! Sparse tensor IR in three stages: coordinate space, position space, flat.
//!
//! - Stage I, [`CoordinateKernel`]: what is computed per coordinate; formats as axes.
//! - Stage II, [`Kernel`] in [`Stage::Position`]: loops over stored entries, scheduled.
//! - Stage III, [`Kernel`] in [`Stage::Flat`]: flat buffers, vector values. Backends read this and nothing else.

mod builder;
mod coordinate;
mod decompose;
mod expr;
mod flatten;
mod interp;
mod kernel;
mod math;
mod parse;
mod print;
mod program;
mod tile;
mod types;
mod verify;

pub use builder::{KernelBuilder, load};
pub use coordinate::{
    Axis, AxisId, AxisKind, CoordinateBuffer, CoordinateKernel, CoordinateMap, IterKind, Iteration, MapId,
};
pub use decompose::{DecomposeError, Decomposed, decompose_format};
pub use expr::{Access, BinaryOp, CompareOp, Expr, ReduceOp, UnaryOp};
pub use flatten::{LowerError, lower_to_flat};
pub use interp::{AxisData, BufferData, CoordinateData, InterpError, run_coordinate, run_kernel, run_program};
pub use kernel::{
    Buffer, BufferId, BufferKind, For, Kernel, LoopKind, ParamId, Register, RegisterId, Stage, Stmt, Var, VarId,
};
pub use math::expand_math;
pub use parse::{AnyKernel, ParseError, parse_coordinate, parse_kernel, parse_kernels};
pub use print::{is_identifier, print_coordinate, print_kernel};
pub use program::{
    ArenaSlot, Argument, ConstantData, ConstantInfo, Constraint, FindStep, Launch, Location, LoopStep, Port, Program,
    Step, TripCount, kernel_scratch_bytes,
};
pub use tile::{
    GROUP_ROWS, GROUP_WARPS, Layout, Precision, Product, TILE_COLUMNS, TILE_ROWS, TILE_SUMS, Tile, round_to_tf32,
};
pub use types::{Scalar, Type};
pub use verify::{
    MAX_LANES, TypeError, VerifyError, VerifyErrors, type_in_vector, type_of, verify_coordinate, verify_flat,
    verify_machine, verify_position,
};
