//! The instructions that this crate knows: those that its kernels use, no more.
//!
//! Semantics are those of the PTX ISA, version 8.5, chapter "Instruction Set". Where PTX leaves a choice, one is made here:
//! `add`, `sub`, `mul`, `div`, `sqrt`, `rcp` and `fma` of floating-point types always round to nearest even and are printed
//! with `.rn`, so that `ptxas` contracts none of them; nothing flushes subnormal numbers to zero; atomics are relaxed.

use crate::types::named;
use crate::{Address, Hopper, Label, Operand, Reg, Space, Type};

/// An operation on two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BinaryOp {
    /// Sum; integers wrap.
    Add,
    /// Difference; integers wrap.
    Sub,
    /// Product; of integers the low half (`mul.lo`).
    Mul,
    /// The high half of the product of integers.
    MulHi,
    /// The whole product of integers of 16 or 32 bits, of twice the width.
    MulWide,
    /// Quotient; of integers truncated, undefined for a zero divisor.
    Div,
    /// Remainder of integers.
    Rem,
    /// The smaller; of floats the one that is no NaN.
    Min,
    /// The larger; of floats the one that is no NaN.
    Max,
    /// Bitwise and, of a `bN` type or `pred`.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left of a `bN` type by a `u32`, which is clamped to the width.
    Shl,
    /// Shift right, arithmetic for signed types, by a `u32`, which is clamped to the width.
    Shr,
}

named!(BinaryOp {
    Add = "add", Sub = "sub", Mul = "mul.lo", MulHi = "mul.hi", MulWide = "mul.wide", Div = "div", Rem = "rem",
    Min = "min", Max = "max", And = "and", Or = "or", Xor = "xor", Shl = "shl", Shr = "shr",
});

/// An operation on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnaryOp {
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// Bitwise complement, of a `bN` type or `pred`.
    Not,
    /// Square root, rounded to nearest.
    Sqrt,
    /// `1 / x`, rounded to nearest.
    Rcp,
    /// Number of bits that are set, as a `u32`.
    Popc,
    /// Number of leading zero bits, as a `u32`.
    Clz,
    /// The bits in reverse order.
    Brev,
}

named!(UnaryOp {
    Neg = "neg", Abs = "abs", Not = "not", Sqrt = "sqrt", Rcp = "rcp", Popc = "popc", Clz = "clz", Brev = "brev",
});

/// Which part of the product `mad` adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MadMode {
    /// The low half.
    Lo,
    /// The whole product, of twice the width, as are the addend and the result.
    Wide,
}

named!(MadMode { Lo = "lo", Wide = "wide", });

/// A comparison. Integers know the first six. Of floats, the first six are false where one is NaN; those that end in `u` are
/// true there. `ne` of floats is *false* for NaN in PTX: [`CompareOp::Neu`] is what other languages call `!=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the PTX ISA")]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

named!(CompareOp {
    Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge", Equ = "equ", Neu = "neu", Ltu = "ltu", Leu = "leu",
    Gtu = "gtu", Geu = "geu", Num = "num", Nan = "nan",
});

/// How a conversion rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// To nearest, halves to even.
    Rn,
    /// Toward zero.
    Rz,
    /// To nearest, halves away from zero: `cvt.rna.tf32.f32` only.
    Rna,
    /// To the nearest integer, halves to even.
    Rni,
    /// To an integer toward zero.
    Rzi,
    /// To the largest integer not above.
    Rmi,
    /// To the smallest integer not below.
    Rpi,
}

named!(Rounding { Rn = "rn", Rz = "rz", Rna = "rna", Rni = "rni", Rzi = "rzi", Rmi = "rmi", Rpi = "rpi", });

/// What a load or store tells the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheHint {
    /// Loads only: through the read-only cache. Nothing may write there while the kernel runs.
    Nc,
    /// At all levels.
    Ca,
    /// At the second level only.
    Cg,
    /// Likely used once.
    Cs,
}

named!(CacheHint { Nc = "nc", Ca = "ca", Cg = "cg", Cs = "cs", });

/// A level of cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CacheLevel {
    L1,
    L2,
}

named!(CacheLevel { L1 = "L1", L2 = "L2", });

/// From which lane `shfl` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShflMode {
    /// `lane - b`.
    Up,
    /// `lane + b`.
    Down,
    /// `lane ^ b`.
    Bfly,
    /// `b`.
    Idx,
}

named!(ShflMode { Up = "up", Down = "down", Bfly = "bfly", Idx = "idx", });

/// What a vote over the lanes of a warp asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteMode {
    /// Whether all hold: a predicate.
    All,
    /// Whether any holds: a predicate.
    Any,
    /// Which hold: a mask in a `b32`.
    Ballot,
}

named!(VoteMode { All = "all", Any = "any", Ballot = "ballot", });

/// An atomic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the PTX ISA")]
pub enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    /// `atom` only.
    Exch,
    /// `atom` only: the second source is written where memory equals the first.
    Cas,
}

named!(AtomOp {
    Add = "add", Min = "min", Max = "max", And = "and", Or = "or", Xor = "xor", Exch = "exch", Cas = "cas",
});

/// Who sees what was written before a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The threads of the block.
    Cta,
    /// The threads of the device.
    Gpu,
}

named!(Scope { Cta = "cta", Gpu = "gpu", });

/// Rows of A, columns of B and depth of one matrix product of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of the PTX ISA")]
pub enum MmaShape {
    M16N8K4,
    M16N8K8,
    M16N8K16,
    M16N8K32,
}

named!(MmaShape { M16N8K4 = "m16n8k4", M16N8K8 = "m16n8k8", M16N8K16 = "m16n8k16", M16N8K32 = "m16n8k32", });

impl MmaShape {
    /// The depth.
    #[must_use]
    pub fn k(self) -> u32 {
        match self {
            MmaShape::M16N8K4 => 4,
            MmaShape::M16N8K8 => 8,
            MmaShape::M16N8K16 => 16,
            MmaShape::M16N8K32 => 32,
        }
    }
}

/// The sparsity of A in a sparse matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SparseA {
    /// Which of the entries are kept: 2 bits for each kept one, in ascending order.
    pub metadata: Reg,
    /// Which threads of each four hold the metadata.
    pub selector: u32,
}

/// `d = a * b + c` of matrices whose fragments are in the registers of a warp. A lies row by row, B column by column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mma {
    /// The extents; the depth of a sparse product counts the zeros, too.
    pub shape: MmaShape,
    /// Type of A and B: `f16`, `bf16` or `tf32`.
    pub inputs: Type,
    /// Type of C and D: `f32`, or `f16` with `f16` inputs.
    pub accumulate: Type,
    /// Where A has two zeros in each four entries (one in two for `tf32`): `mma.sp::ordered_metadata`.
    pub sparse: Option<SparseA>,
    /// The result.
    pub d: Vec<Reg>,
    /// The left factor.
    pub a: Vec<Reg>,
    /// The right factor.
    pub b: Vec<Reg>,
    /// What is added.
    pub c: Vec<Reg>,
}

impl Mma {
    /// How many registers the fragments of D (and C), A and B have; `None` for a combination that does not exist.
    #[must_use]
    pub fn fragment_registers(&self) -> Option<(usize, usize, usize)> {
        let per_register = match self.inputs {
            Type::F16 | Type::Bf16 => 2,
            Type::Tf32 => 1,
            _ => return None,
        };
        // 32 lanes hold 16 x k entries of A and k x 8 entries of B.
        let k = self.shape.k() as usize;
        let (a, b) = (16 * k / 32 / per_register, k * 8 / 32 / per_register);
        let d = match self.accumulate {
            Type::F32 => 4,
            Type::F16 if self.inputs == Type::F16 => 2,
            _ => return None,
        };
        let depths: &[usize] = match (self.sparse.is_some(), per_register) {
            (false, 2) => &[8, 16],
            (false, _) => &[4, 8],
            (true, 2) => &[16, 32],
            (true, _) => &[8, 16],
        };
        let a = if self.sparse.is_some() { a / 2 } else { a };
        depths.contains(&k).then_some((d, a, b))
    }
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are documented; their fields are the operands and modifiers of the ISA")]
pub enum Instruction {
    /// `mov`: a copy of a value, a special register, or the address of a shared array.
    Mov { ty: Type, dst: Reg, src: Operand },
    /// `mov.bN d, {a, b}`: parts to one register, the first lowest.
    Pack { ty: Type, dst: Reg, src: Vec<Reg> },
    /// `mov.bN {a, b}, s`: one register to its parts, the lowest first.
    Unpack { ty: Type, dst: Vec<Reg>, src: Reg },
    /// An operation on one value.
    Unary { op: UnaryOp, ty: Type, dst: Reg, src: Operand },
    /// An operation on two values.
    Binary { op: BinaryOp, ty: Type, dst: Reg, a: Operand, b: Operand },
    /// `mad` of integers: `a * b + c`.
    Mad { mode: MadMode, ty: Type, dst: Reg, a: Operand, b: Operand, c: Operand },
    /// `fma.rn`: `a * b + c`, rounded once.
    Fma { ty: Type, dst: Reg, a: Operand, b: Operand, c: Operand },
    /// `dp4a`: the sum of `c` and the products of four bytes; `a` and `b` are signed or not, each (`u32` or `s32`).
    Dp4a { a_type: Type, b_type: Type, dst: Reg, a: Operand, b: Operand, c: Operand },
    /// `bfe.u32` and the like: `len` bits of `a` from bit `start`; signed types extend the sign.
    Bfe { ty: Type, dst: Reg, a: Operand, start: Operand, len: Operand },
    /// `bfi`: `into` with `len` bits from bit `start` replaced by those of `a`.
    Bfi { ty: Type, dst: Reg, a: Operand, into: Operand, start: Operand, len: Operand },
    /// `prmt.b32`: four bytes out of the eight of `b:a`, by the four low nibbles of the selector; bit 3 of a nibble
    /// spreads the byte's sign.
    Prmt { dst: Reg, a: Operand, b: Operand, selector: Operand },
    /// `cvt`: a conversion. With `saturate`, results are clamped to the range of an integer type, and to 0..1 for a float.
    Cvt { to: Type, from: Type, rounding: Option<Rounding>, saturate: bool, dst: Reg, src: Operand },
    /// `cvt.rn.f16x2.f32 d, hi, lo`: two `f32` to a pair of `f16` or `bf16`.
    CvtPair { to: Type, dst: Reg, hi: Operand, lo: Operand },
    /// `setp`: a comparison.
    Setp { op: CompareOp, ty: Type, dst: Reg, a: Operand, b: Operand },
    /// `selp`: `a` where the predicate holds, else `b`.
    Selp { ty: Type, dst: Reg, a: Operand, b: Operand, pred: Reg },
    /// `ld`: one, two or four neighbouring values. The address is aligned to all of them together.
    Ld { space: Space, hint: Option<CacheHint>, ty: Type, dst: Vec<Reg>, address: Address },
    /// `st`: one, two or four neighbouring values. The address is aligned to all of them together.
    St { space: Space, hint: Option<CacheHint>, ty: Type, address: Address, src: Vec<Operand> },
    /// `prefetch` of global memory.
    Prefetch { level: CacheLevel, address: Address },
    /// `cvta`: an address of a space as a generic one, or, with `to`, the other way.
    Cvta { to: bool, space: Space, dst: Reg, src: Reg },
    /// `bra`: a jump. `uniform`: all threads of the warp agree (`bra.uni`).
    Bra { uniform: bool, target: Label },
    /// `bar.sync`: all threads of the block, or so many of them, wait for each other.
    BarSync { barrier: u32, threads: Option<u32> },
    /// `bar.warp.sync`: the lanes of the mask wait for each other, and see what the others wrote.
    BarWarpSync { mask: Operand },
    /// `shfl.sync` of a `b32`: the value of another lane. `lane` and `clamp` are operands `b` and `c` of the ISA. `in_range`
    /// receives whether the lane exists.
    Shfl { mode: ShflMode, dst: Reg, in_range: Option<Reg>, src: Operand, lane: Operand, clamp: Operand, mask: Operand },
    /// `vote.sync`.
    Vote { mode: VoteMode, dst: Reg, src: Reg, mask: Operand },
    /// `atom`: changes memory and returns what was there. `second` belongs to `cas` only.
    Atom { space: Space, op: AtomOp, ty: Type, dst: Reg, address: Address, src: Operand, second: Option<Operand> },
    /// `red`: changes memory.
    Red { space: Space, op: AtomOp, ty: Type, address: Address, src: Operand },
    /// `fence.acq_rel`.
    Fence { scope: Scope },
    /// `cp.async`: 4, 8 or 16 bytes from global to shared memory. Of the source only `src_bytes` are read, the rest is 0.
    /// `bypass_l1` is `.cg`, for 16 bytes only.
    CpAsync { bypass_l1: bool, bytes: u32, dst: Address, src: Address, src_bytes: Option<Operand> },
    /// `cp.async.commit_group`.
    CpAsyncCommit,
    /// `cp.async.wait_group`: until at most so many of the thread's groups are under way.
    CpAsyncWait { pending: u32 },
    /// `ldmatrix`: 1, 2 or 4 matrices of 8 x 8 16-bit entries from shared memory. Lanes 0..8 hold the addresses of the rows of
    /// the first, the next eight those of the second, and so on.
    Ldmatrix { transpose: bool, dst: Vec<Reg>, address: Address },
    /// `mma.sync` and `mma.sp::ordered_metadata.sync`.
    Mma(Mma),
    /// What only `sm_90a` has.
    Hopper(Hopper),
    /// `ret`.
    Ret,
    /// `exit`.
    Exit,
    /// `trap`: the kernel is aborted.
    Trap,
}
