//! Types of instructions and registers, address spaces, targets.
//!
//! As in PTX, an instruction has a type (`add.s32`), and a register has a class: its width and whether it holds a
//! floating-point number. An instruction of type `s32` takes any register of class `b32`; so narrow integers live in `b32`
//! registers, `f16` and `bf16` in `b16`, pairs of them and `tf32` in `b32`.

use std::fmt;

macro_rules! named {
    ($type:ty { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Every variant, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in PTX.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The variant of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

/// The type of an instruction or of one of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F64,
}

named!(Type {
    Pred = "pred", B8 = "b8", B16 = "b16", B32 = "b32", B64 = "b64", U8 = "u8", U16 = "u16", U32 = "u32", U64 = "u64",
    S8 = "s8", S16 = "s16", S32 = "s32", S64 = "s64", F16 = "f16", F16x2 = "f16x2", Bf16 = "bf16", Bf16x2 = "bf16x2",
    Tf32 = "tf32", F32 = "f32", F64 = "f64",
});

impl Type {
    /// Width in bits; 1 for a predicate.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Type::Pred => 1,
            Type::B8 | Type::U8 | Type::S8 => 8,
            Type::B16 | Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 16,
            Type::B32 | Type::U32 | Type::S32 | Type::F16x2 | Type::Bf16x2 | Type::Tf32 | Type::F32 => 32,
            Type::B64 | Type::U64 | Type::S64 | Type::F64 => 64,
        }
    }

    /// Width in memory, in bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// Whether this is an untyped width.
    #[must_use]
    pub fn is_bits(self) -> bool {
        matches!(self, Type::B8 | Type::B16 | Type::B32 | Type::B64)
    }

    /// Whether this is a floating-point type, packed ones included.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::Tf32 | Type::F32 | Type::F64)
    }

    /// Whether this is an integer type, signed or unsigned.
    #[must_use]
    pub fn is_int(self) -> bool {
        self.is_signed() || self.is_unsigned()
    }

    /// Whether this is a signed integer type.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// Whether this is an unsigned integer type.
    #[must_use]
    pub fn is_unsigned(self) -> bool {
        matches!(self, Type::U8 | Type::U16 | Type::U32 | Type::U64)
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegClass {
    /// A predicate.
    Pred,
    /// 16 bits, `f16` and `bf16` included.
    B16,
    /// 32 bits that are no `f32`.
    B32,
    /// 64 bits that are no `f64`.
    B64,
    /// An `f32`.
    F32,
    /// An `f64`.
    F64,
}

named!(RegClass { Pred = "pred", B16 = "b16", B32 = "b32", B64 = "b64", F32 = "f32", F64 = "f64", });

impl RegClass {
    /// The prefix of the names of its registers, without `%`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            RegClass::Pred => "p",
            RegClass::B16 => "h",
            RegClass::B32 => "r",
            RegClass::B64 => "rd",
            RegClass::F32 => "f",
            RegClass::F64 => "fd",
        }
    }

    /// Width in bits; 1 for a predicate.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            RegClass::Pred => 1,
            RegClass::B16 => 16,
            RegClass::B32 | RegClass::F32 => 32,
            RegClass::B64 | RegClass::F64 => 64,
        }
    }

    /// The class of registers for values of a type.
    #[must_use]
    pub fn of(ty: Type) -> RegClass {
        match (ty, ty.bits()) {
            (Type::Pred, _) => RegClass::Pred,
            (Type::F32, _) => RegClass::F32,
            (Type::F64, _) => RegClass::F64,
            (_, 64) => RegClass::B64,
            (_, 16) => RegClass::B16,
            _ => RegClass::B32,
        }
    }

    /// Whether an operand of this type may be such a register: same width, and no integer in a floating-point register.
    #[must_use]
    pub fn takes(self, ty: Type) -> bool {
        match self {
            RegClass::Pred => ty == Type::Pred,
            RegClass::F32 => matches!(ty, Type::F32 | Type::B32),
            RegClass::F64 => matches!(ty, Type::F64 | Type::B64),
            RegClass::B16 | RegClass::B32 | RegClass::B64 => ty.bits() == self.bits() && ty != Type::Pred,
        }
    }

    /// Whether a value of this type may be loaded to, stored or converted from such a register: like [`RegClass::takes`], but
    /// the register may be wider, of which the low bits count.
    #[must_use]
    pub fn takes_low(self, ty: Type) -> bool {
        let wider = matches!(self, RegClass::B16 | RegClass::B32 | RegClass::B64) && ty.bits() < self.bits();
        self.takes(ty) || (wider && ty != Type::Pred && !ty.is_float())
    }
}

/// A virtual register: its class, and its number among the registers of that class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg {
    /// What it holds.
    pub class: RegClass,
    /// Below the function's count for the class.
    pub index: u32,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.class.prefix(), self.index)
    }
}

/// A place in a function that can be jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub u32);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$L{}", self.0)
    }
}

/// Where an address points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Memory of the device: 64-bit addresses.
    Global,
    /// Memory of a block: 32-bit addresses within it.
    Shared,
    /// Arguments of a kernel.
    Param,
    /// Constant arrays of the module.
    Const,
}

named!(Space { Global = "global", Shared = "shared", Param = "param", Const = "const", });

/// A family of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Compute capability 8.0 (A100) and later.
    Sm80,
    /// Compute capability 9.0 (H100, H200), with what only that one has.
    Sm90a,
}

named!(Target { Sm80 = "sm_80", Sm90a = "sm_90a", });

impl Target {
    /// Ten times the compute capability.
    #[must_use]
    pub fn capability(self) -> u32 {
        match self {
            Target::Sm80 => 80,
            Target::Sm90a => 90,
        }
    }
}
