//! What the schedules need to know of the machine.

use sparsec_tir::Precision;

/// A machine, as far as schedules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// `f32` lanes of a vector register: 4 (SSE, NEON), 8 (AVX2), 16 (AVX-512), 32 (a warp).
    pub lanes: u16,
    /// Number of vector registers.
    pub registers: u32,
    /// Bytes of the first-level data cache.
    pub l1_bytes: u32,
    /// What matrix products are computed in by tensor cores; `None`: in `f32`, without them.
    pub precision: Option<Precision>,
    /// Ten times the compute capability that a GPU has at least; 0 of others.
    pub capability: u32,
}

impl TargetInfo {
    /// x86-64 with 128-bit vectors.
    pub const SSE: TargetInfo =
        TargetInfo { lanes: 4, registers: 16, l1_bytes: 32 << 10, precision: None, capability: 0 };
    /// x86-64-v3.
    pub const AVX2: TargetInfo =
        TargetInfo { lanes: 8, registers: 16, l1_bytes: 32 << 10, precision: None, capability: 0 };
    /// x86-64-v4.
    pub const AVX512: TargetInfo =
        TargetInfo { lanes: 16, registers: 32, l1_bytes: 32 << 10, precision: None, capability: 0 };
    /// 64-bit Arm.
    pub const NEON: TargetInfo =
        TargetInfo { lanes: 4, registers: 32, l1_bytes: 64 << 10, precision: None, capability: 0 };
    /// A warp of an NVIDIA GPU, seen as a machine with vectors of 32 lanes. Of its 255 registers a lane, 64 hold vectors: the
    /// others hold what is the same in all lanes, of which addresses take two each. The cache is its share of shared memory.
    pub const WARP: TargetInfo =
        TargetInfo { lanes: 32, registers: 64, l1_bytes: 16 << 10, precision: None, capability: 80 };

    /// The same machine, with products of constant weights by its tensor cores.
    #[must_use]
    pub const fn with_precision(self, precision: Option<Precision>) -> TargetInfo {
        TargetInfo { precision, ..self }
    }

    /// The same machine, of this compute capability.
    #[must_use]
    pub const fn with_capability(self, capability: u32) -> TargetInfo {
        TargetInfo { capability, ..self }
    }

    /// Whether four warps can multiply together: `wgmma`, which is one of compute capability 9.0 alone.
    pub(crate) const fn has_groups(&self) -> bool {
        self.capability == 90
    }
}
