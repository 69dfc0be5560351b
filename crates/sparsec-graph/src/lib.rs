//! Graph IR: operators with exact meaning, symbolic shapes, text form, verifier, shape inference, interpreter.
//!
//! A [`Graph`] is what a frontend produces and what the passes change. Its text form is what `sparsec opt` reads.

mod builder;
mod control;
mod dim;
mod dtype;
mod graph;
pub mod infer;
pub mod interp;
mod loops;
mod op;
mod pages;
pub mod parse;
mod print;
mod random;
mod scalar;
mod small_float;
mod text;
mod types;
mod verify;

pub use control::{Direction, LoopSpec, Trip};
pub use dim::{Atom, Bindings, Dim, Symbol};
pub use dtype::DType;
pub use graph::{ConstId, Constant, Def, Epilogue, Graph, Node, NodeId, Value, ValueId};
pub use infer::{InferError, infer_node_types, infer_types};
pub use interp::{InterpError, Tensor, bind_symbols, interpret};
pub use loops::{BuiltKernel, Count, KernelContext, LoopsBuilder, LoopsSpec, scalar_of};
pub use op::{AttentionSpec, ContractSpec, ConvAttrs, Op, PoolAttrs, PoolKind, ReduceKind, SliceAxis};
pub use pages::Pages;
pub use parse::{ParseError, parse, parse_dim, parse_with};
pub use print::{PrintOptions, data_hash, print};
pub use random::random_data;
pub use scalar::{BinaryOp, ScalarExpr, UnaryOp};
pub use small_float::{SmallFloat, Specials};
pub use sparsec_sparse::Format;
pub use sparsec_tir::Precision;
pub use types::{TensorData, TensorType};
pub use verify::{VerifyError, verify};
