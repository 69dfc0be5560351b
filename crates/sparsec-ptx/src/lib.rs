//! PTX: typed instructions, verifier, printer, parser; and the backend that makes them of Stage III kernels.
//!
//! A [`Module`] holds [`Function`]s of [`Instruction`]s over typed virtual registers ([`Reg`]). [`verify_module`] says what
//! is wrong with one, [`print_module`] writes it, [`parse_module`] reads what was written: `parse(print(m)) == m`. The
//! simulator (`sparsec-ptxsim`) runs exactly these types.

mod emit;
mod hopper;
mod instruction;
mod module;
mod operand;
mod parse;
mod print;
mod types;
mod verify;
mod visit;

pub use emit::{EmitError, Emitted, KernelInfo, emit_program};
pub use hopper::{GROUP_ROWS, GroupA, GroupMma, Hopper};
pub use instruction::{
    AtomOp, BinaryOp, CacheHint, CacheLevel, CompareOp, Instruction, MadMode, Mma, MmaShape, Rounding, Scope, ShflMode,
    SparseA, UnaryOp, VoteMode,
};
pub use module::{ConstArray, Function, Module, Param, RegCounts, SharedArray, Statement};
pub use operand::{Address, Base, ConstId, Guard, Operand, ParamId, SharedId, Special};
pub use parse::{ParseError, parse_module};
pub use print::{print_instruction, print_module};
pub use types::{Label, Reg, RegClass, Space, Target, Type};
pub use verify::{VerifyError, VerifyErrors, verify_module};
pub use visit::{OperandType, Role};
