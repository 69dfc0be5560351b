//! What the cost model knows of a processor.
//!
//! One thread, single precision. The figures are for typical members of a family; what decides between formats are
//! their ratios, and those are much the same for all members.

use serde::{Deserialize, Serialize};

/// A processor, as the cost model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the family, as [`Machine::for_target`] takes it.
    pub name: String,
    /// Clock in GHz.
    pub ghz: f64,
    /// `f32` lanes of a vector register.
    pub vector_lanes: u32,
    /// Vector registers.
    pub vector_registers: u32,
    /// Peak of one thread in GFLOP/s, a fused multiply-add counted as two.
    pub fma_gflops: f64,
    /// Bytes of the first-level data cache.
    pub l1_bytes: f64,
    /// Bytes of the second-level cache.
    pub l2_bytes: f64,
    /// Bytes of the last-level cache that one thread may count on.
    pub l3_bytes: f64,
    /// Bandwidth of the second-level cache in GB/s.
    pub l2_gbs: f64,
    /// Bandwidth of the last-level cache in GB/s.
    pub l3_gbs: f64,
    /// Bandwidth of memory in GB/s.
    pub dram_gbs: f64,
    /// Rate in GB/s, bytes read plus bytes written, at which elements are transposed.
    pub transpose_gbs: f64,
    /// Seconds to start one kernel.
    pub launch_seconds: f64,
    /// How much of the peak kernels reach.
    pub efficiency: Efficiency,
}

/// How much of a machine's peak each kind of kernel reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Packed dense product with many columns: share of the FMA peak.
    pub dense: f64,
    /// `csr` with many columns: share of the FMA peak.
    pub csr: f64,
    /// `hyb` on long segments: share of the FMA peak.
    pub hyb: f64,
    /// Nonzeros' worth of work that starting a segment of a `hyb` row costs.
    pub hyb_segment: f64,
    /// `bsr` blocks of one, two or three, and four or more outputs: share of the FMA peak.
    pub bsr: [f64; 3],
    /// `nm` with many columns: share of the FMA peak.
    pub nm: f64,
    /// Product of two activations: share of the FMA peak.
    pub batched: f64,
    /// Nonzeros a cycle of a sparse matrix-vector product that gathers.
    pub spmv_gather: f64,
    /// Share of the lanes that a matrix-vector product without gathers keeps busy.
    pub spmv_vector: f64,
}

impl Default for Efficiency {
    /// * `dense`: ONNX Runtime and OpenVINO reach 80-90 of 100 GFLOP/s; packing and edges take the rest.
    /// * `csr`: a naive loop over rows reaches 30-60 GFLOP/s of 100 in cache, less once X leaves it.
    /// * `hyb`, `hyb_segment`: the prototype reaches 67 % of the peak at 80 % sparsity of 768 columns (about 45
    ///   nonzeros a segment) and 60 % at 90 % (about 22): `0.72 L / (L + 4)` passes through both.
    /// * `bsr`: one load of x serves R outputs, so from four outputs on the loads no longer bound it; with one output
    ///   it is a `csr` with fewer indices.
    /// * `nm`: as `hyb` in endless segments: rows are of equal length, and selectors take a load for many entries.
    /// * `spmv_gather`: eight scalar loads inserted into a vector on Zen 3 (6 times dense at 90 % of 4096 x 4096).
    fn default() -> Self {
        Efficiency {
            dense: 0.75,
            csr: 0.30,
            hyb: 0.72,
            hyb_segment: 4.0,
            bsr: [0.40, 0.55, 0.70],
            nm: 0.72,
            batched: 0.60,
            spmv_gather: 0.8,
            spmv_vector: 0.5,
        }
    }
}

impl Machine {
    /// The machine of a target name: `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, `neoverse` (also `neoverse-n1`,
    /// `neoverse-n2`, `neoverse-v1`, `neoverse-v2`). `None` for any other name.
    #[must_use]
    pub fn for_target(name: &str) -> Option<Machine> {
        //                        GHz  lanes regs  flops/cycle  L1    L2     L3    GB/s: L2   L3   DRAM  transposing
        let (ghz, lanes, registers, flops, l1, l2, l3, l2_gbs, l3_gbs, dram_gbs, transpose_gbs) = match name {
            // Nehalem class: SSE 4.2, one multiply and one add of four lanes a cycle.
            "x86-64-v2" => (3.0, 4, 16, 8.0, 32.0, 256.0, 4e3, 40.0, 20.0, 10.0, 5.0),
            // Zen 3, where the prototypes ran: two 8-lane FMAs a cycle, about 100 GFLOP/s.
            "x86-64-v3" => (3.2, 8, 16, 32.0, 32.0, 512.0, 16e3, 80.0, 40.0, 18.0, 8.0),
            // Ice Lake server class: two 16-lane FMAs a cycle at a lower clock.
            "x86-64-v4" => (2.8, 16, 32, 64.0, 48.0, 1280.0, 16e3, 100.0, 30.0, 14.0, 9.0),
            // Neoverse N1: two 4-lane FMAs a cycle. The later cores have four such pipes and are faster throughout.
            "neoverse" | "neoverse-n1" | "neoverse-n2" => (2.6, 4, 32, 16.0, 64.0, 1024.0, 8e3, 60.0, 30.0, 16.0, 7.0),
            "neoverse-v1" | "neoverse-v2" => (2.6, 4, 32, 32.0, 64.0, 1024.0, 16e3, 80.0, 40.0, 20.0, 9.0),
            _ => return None,
        };
        Some(Machine {
            name: name.to_owned(),
            ghz,
            vector_lanes: lanes,
            vector_registers: registers,
            fma_gflops: ghz * flops,
            l1_bytes: l1 * 1024.0,
            l2_bytes: l2 * 1024.0,
            l3_bytes: l3 * 1024.0,
            l2_gbs,
            l3_gbs,
            dram_gbs,
            transpose_gbs,
            // A direct call and the set-up of pointers, about 300 cycles.
            launch_seconds: 1e-7,
            efficiency: Efficiency::default(),
        })
    }

    /// Seconds to read or write this many bytes that were touched last a working set of `set` bytes ago.
    #[must_use]
    pub fn seconds_for_bytes(&self, bytes: f64, set: f64) -> f64 {
        let gbs = if set <= self.l2_bytes {
            self.l2_gbs
        } else if set <= self.l3_bytes {
            self.l3_gbs
        } else {
            self.dram_gbs
        };
        bytes / (gbs * 1e9)
    }

    /// Seconds for this many floating-point operations at a share of the FMA peak.
    #[must_use]
    pub fn seconds_for_flops(&self, flops: f64, efficiency: f64) -> f64 {
        flops / (self.fma_gflops * 1e9 * efficiency)
    }

    /// Seconds to transpose `elements` elements of `size` bytes.
    #[must_use]
    pub fn seconds_to_transpose(&self, elements: f64, size: f64) -> f64 {
        2.0 * elements * size / (self.transpose_gbs * 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn every_documented_target_has_a_machine() {
        for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neoverse", "neoverse-v1"] {
            assert_eq!(Machine::for_target(name).map(|m| m.name), Some(name.to_owned()));
        }
        assert_eq!(Machine::for_target("z80"), None);
    }
}
