//! Lowering: fused graph with formats to sparse tensor kernels, memory plan, launch plan.
//!
//! Each node becomes one or a few kernels, written in Stage II of the tensor IR and lowered to Stage III; equal kernels
//! are compiled once. Values get a place in one arena, weights become constant tables in the order in which the kernels
//! read them.

mod blocks;
mod constraint;
mod context;
mod convert;
mod coordinate;
mod error;
mod gelu;
mod kernels;
mod lowering;
mod node;
mod operand;
mod plan;
mod remainder;
mod scalar;
mod schedule;
mod target;
mod trig;
mod weight;

pub use coordinate::CoordinateDump;
pub use error::LowerError;
pub use lowering::{Constants, KernelDump, LowerOptions, Lowered, lower, lower_with};
pub use schedule::{Schedule, ScheduleError};
pub use target::TargetInfo;
