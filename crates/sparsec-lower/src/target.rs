//! What the schedules need to know of the machine.

/// A CPU, as far as schedules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// `f32` lanes of a vector register: 4 (SSE, NEON), 8 (AVX2), 16 (AVX-512).
    pub lanes: u16,
    /// Number of vector registers.
    pub registers: u32,
    /// Bytes of the first-level data cache.
    pub l1_bytes: u32,
}

impl TargetInfo {
    /// x86-64 with 128-bit vectors.
    pub const SSE: TargetInfo = TargetInfo { lanes: 4, registers: 16, l1_bytes: 32 << 10 };
    /// x86-64-v3.
    pub const AVX2: TargetInfo = TargetInfo { lanes: 8, registers: 16, l1_bytes: 32 << 10 };
    /// x86-64-v4.
    pub const AVX512: TargetInfo = TargetInfo { lanes: 16, registers: 32, l1_bytes: 32 << 10 };
    /// 64-bit Arm.
    pub const NEON: TargetInfo = TargetInfo { lanes: 4, registers: 32, l1_bytes: 64 << 10 };
}
