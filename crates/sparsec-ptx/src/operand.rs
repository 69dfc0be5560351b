//! Operands: registers, numbers, special registers, addresses.

use crate::types::named;
use crate::{Reg, RegClass};

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
    /// A parameter of a function: index into [`crate::Function::params`].
    ParamId
);
entity!(
    /// A shared array: index into [`crate::Module::shared`].
    SharedId
);
entity!(
    /// A constant array: index into [`crate::Module::constants`].
    ConstId
);

/// A read-only register with a meaning of its own; all are 32 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the PTX ISA")]
pub enum Special {
    TidX,
    TidY,
    TidZ,
    NtidX,
    NtidY,
    NtidZ,
    CtaidX,
    CtaidY,
    CtaidZ,
    NctaidX,
    NctaidY,
    NctaidZ,
    LaneId,
}

named!(Special {
    TidX = "%tid.x", TidY = "%tid.y", TidZ = "%tid.z", NtidX = "%ntid.x", NtidY = "%ntid.y", NtidZ = "%ntid.z",
    CtaidX = "%ctaid.x", CtaidY = "%ctaid.y", CtaidZ = "%ctaid.z", NctaidX = "%nctaid.x", NctaidY = "%nctaid.y",
    NctaidZ = "%nctaid.z", LaneId = "%laneid",
});

/// A source operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// An integer, truncated to the width of the operand's type.
    Int(i64),
    /// The bits of an `f32`, printed as `0fXXXXXXXX`.
    F32(u32),
    /// The bits of an `f64`, printed as `0dXXXXXXXXXXXXXXXX`.
    F64(u64),
    /// A special register; `mov` only.
    Special(Special),
    /// The address of a shared array, within shared memory; `mov` only.
    Shared(SharedId),
}

impl Operand {
    /// An `f32`.
    #[must_use]
    pub fn f32(value: f32) -> Operand {
        Operand::F32(value.to_bits())
    }

    /// An `f64`.
    #[must_use]
    pub fn f64(value: f64) -> Operand {
        Operand::F64(value.to_bits())
    }

    /// The register, where it is one.
    #[must_use]
    pub fn reg(self) -> Option<Reg> {
        match self {
            Operand::Reg(r) => Some(r),
            _ => None,
        }
    }
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Operand {
        Operand::Reg(reg)
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Operand {
        Operand::Int(value)
    }
}

/// What an address counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// A register: `b64` for global and constant memory, `b32` for shared memory.
    Reg(Reg),
    /// A parameter of the function.
    Param(ParamId),
    /// A shared array.
    Shared(SharedId),
    /// A constant array.
    Const(ConstId),
}

/// An address: a base and a distance in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What it counts from.
    pub base: Base,
    /// Bytes from there.
    pub offset: i32,
}

impl Address {
    /// What a register points to.
    #[must_use]
    pub fn reg(reg: Reg, offset: i32) -> Address {
        Address { base: Base::Reg(reg), offset }
    }

    /// The register in it.
    #[must_use]
    pub fn register(self) -> Option<Reg> {
        match self.base {
            Base::Reg(r) => Some(r),
            _ => None,
        }
    }
}

/// A condition on an instruction: it acts only in threads where the predicate holds, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guard {
    /// A predicate.
    pub reg: Reg,
    /// Whether it must not hold.
    pub negate: bool,
}

impl Guard {
    /// Where the predicate holds.
    #[must_use]
    pub fn when(reg: Reg) -> Guard {
        debug_assert_eq!(reg.class, RegClass::Pred);
        Guard { reg, negate: false }
    }

    /// Where the predicate does not hold.
    #[must_use]
    pub fn unless(reg: Reg) -> Guard {
        Guard { reg, negate: true }
    }
}
