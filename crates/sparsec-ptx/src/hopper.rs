//! What only `sm_90a` has: matrix products of warp groups (`wgmma`), barriers in shared memory (`mbarrier`), bulk copies.
//!
//! A warp group is four neighbouring warps, the first of which has a number that is a multiple of four. Its matrix products are
//! asynchronous: they read shared memory through the *async proxy*, and their sums are in registers once
//! `wgmma.wait_group` has waited for them.

use crate::visit::{OperandType, Visit};
use crate::{Address, Operand, Reg, Space, SparseA, Type};

/// Rows of A and D of a product of a warp group.
pub const GROUP_ROWS: u32 = 64;

/// The left factor of a product of a warp group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupA {
    /// Fragments in registers, `b32` each.
    Registers(Vec<Reg>),
    /// In shared memory.
    Shared {
        /// A matrix descriptor, the same in all threads.
        descriptor: Reg,
        /// Whether rows, and not columns, are neighbours ("M-major"); 16-bit types only.
        transpose: bool,
    },
}

/// `d = a * b + d` of matrices of 64 x k and k x n, by the warps of a group together: `wgmma.mma_async`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupMma {
    /// Columns of B and D: a multiple of 8 up to 256.
    pub n: u32,
    /// Type of A and B: `f16`, `bf16` or `tf32`.
    pub inputs: Type,
    /// Where A has two zeros in each four entries: `wgmma.mma_async.sp`, 16-bit types only.
    pub sparse: Option<SparseA>,
    /// The sums, `n / 2` registers of `f32`, which are read and written.
    pub d: Vec<Reg>,
    /// The left factor.
    pub a: GroupA,
    /// The matrix descriptor of B, the same in all threads.
    pub b: Reg,
    /// Whether columns, and not rows, of B are neighbours ("N-major"); 16-bit types only.
    pub transpose_b: bool,
    /// A predicate; where it does not hold, the old sums are not added.
    pub add: Reg,
    /// Whether A and B are negated.
    pub negate: [bool; 2],
}

impl GroupMma {
    /// The depth; that of a sparse product counts the zeros, too.
    #[must_use]
    pub fn k(&self) -> u32 {
        let dense = if self.inputs == Type::Tf32 { 8 } else { 16 };
        if self.sparse.is_some() { 2 * dense } else { dense }
    }

    /// `m64n16k16`, as the ISA calls the extents.
    #[must_use]
    pub fn shape(&self) -> String {
        format!("m{GROUP_ROWS}n{}k{}", self.n, self.k())
    }
}

/// An instruction that `sm_90a` has and others lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are documented; their fields are the operands of the ISA")]
pub enum Hopper {
    /// `wgmma.fence.sync.aligned`: products that follow see what registers hold now.
    GroupFence,
    /// `wgmma.mma_async` and `wgmma.mma_async.sp`.
    GroupMma(GroupMma),
    /// `wgmma.commit_group.sync.aligned`.
    GroupCommit,
    /// `wgmma.wait_group.sync.aligned`: until at most so many groups of products are under way.
    GroupWait { pending: u32 },
    /// `fence.proxy.async.shared::cta`: products of warp groups and bulk copies that are ordered behind it see what the thread stored.
    FenceProxyAsync,
    /// `mbarrier.init`: 8 bytes of shared memory become a barrier of so many arrivals.
    BarrierInit { address: Address, count: u32 },
    /// `mbarrier.arrive.expect_tx`: arrives, and has the phase wait for so many more bytes of bulk copies.
    BarrierExpect { address: Address, bytes: Operand },
    /// `mbarrier.try_wait.parity`: whether the phase of this parity is complete; waits for a while.
    BarrierTryWait { dst: Reg, address: Address, parity: Operand },
    /// `cp.async.bulk`: a multiple of 16 bytes from global to shared memory, which `barrier` counts when they have come. One
    /// thread copies all of them.
    CopyBulk { dst: Address, src: Address, bytes: Operand, barrier: Address },
}

impl Hopper {
    /// Whether all threads of a warp group take part.
    #[must_use]
    pub fn is_of_a_group(&self) -> bool {
        matches!(self, Hopper::GroupFence | Hopper::GroupMma(_) | Hopper::GroupCommit | Hopper::GroupWait { .. })
    }

    /// The addresses, with their spaces and the bytes that they are aligned to.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Address, Space, u32)> {
        match self {
            Hopper::BarrierInit { address, .. }
            | Hopper::BarrierExpect { address, .. }
            | Hopper::BarrierTryWait { address, .. } => vec![(*address, Space::Shared, 8)],
            Hopper::CopyBulk { dst, src, barrier, .. } => {
                vec![(*dst, Space::Shared, 16), (*src, Space::Global, 16), (*barrier, Space::Shared, 8)]
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn visit(&self, v: &mut Visit<'_>) {
        use OperandType::Exact;
        match self {
            Hopper::GroupMma(m) => {
                m.d.iter().for_each(|r| v.def(*r, Exact(Type::F32)));
                m.d.iter().for_each(|r| v.read(*r, Exact(Type::F32)));
                match &m.a {
                    GroupA::Registers(a) => a.iter().for_each(|r| v.read(*r, Exact(Type::B32))),
                    GroupA::Shared { descriptor, .. } => v.read(*descriptor, Exact(Type::B64)),
                }
                v.read(m.b, Exact(Type::B64));
                if let Some(sparse) = m.sparse {
                    v.read(sparse.metadata, Exact(Type::B32));
                }
                v.read(m.add, Exact(Type::Pred));
            }
            Hopper::BarrierInit { address, .. } => v.address(*address, Space::Shared),
            Hopper::BarrierExpect { address, bytes } => {
                v.address(*address, Space::Shared);
                v.read(*bytes, Exact(Type::U32));
            }
            Hopper::BarrierTryWait { dst, address, parity } => {
                v.def(*dst, Exact(Type::Pred));
                v.address(*address, Space::Shared);
                v.read(*parity, Exact(Type::U32));
            }
            Hopper::CopyBulk { dst, src, bytes, barrier } => {
                v.address(*dst, Space::Shared);
                v.address(*src, Space::Global);
                v.read(*bytes, Exact(Type::U32));
                v.address(*barrier, Space::Shared);
            }
            Hopper::GroupFence | Hopper::GroupCommit | Hopper::GroupWait { .. } | Hopper::FenceProxyAsync => {}
        }
    }
}
