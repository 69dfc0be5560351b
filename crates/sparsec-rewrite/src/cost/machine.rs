//! What the cost model knows of a processor.
//!
//! One thread, single precision. Widths, caches and peaks are figures of typical members of a family; what kernels make
//! of them are the [`Constants`], which `sparsec calibrate` measures.

use serde::{Deserialize, Serialize};
use sparsec_graph::Precision;

use super::gpu::Gpu;
use super::work::{Constants, Work};

/// A processor, as the cost model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name of the family, as [`Machine::for_target`] takes it, or of the processor that was measured.
    pub name: String,
    /// Clock in GHz: the unit of [`Machine::constants`].
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
    /// What kinds of work cost.
    pub constants: Constants,
    /// Where it is a GPU: what times are then predicted by, instead of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

impl Machine {
    /// The machine of a target name: `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, `neoverse` (also `neoverse-n1`,
    /// `neoverse-n2`, `neoverse-v1`, `neoverse-v2`), or of a GPU: `sm_80`, `sm_90a`. `None` for any other name.
    ///
    /// The constants are those of the machine that `docs/tuning.md` names; on the other families they say how the
    /// kernels' parts compare, not how fast they are.
    #[must_use]
    pub fn for_target(name: &str) -> Option<Machine> {
        //                        GHz  lanes regs  flops/cycle  L1    L2     L3    GB/s: L2   L3   DRAM
        let (ghz, lanes, registers, flops, l1, l2, l3, l2_gbs, l3_gbs, dram_gbs) = match name {
            // Nehalem class: SSE 4.2, one multiply and one add of four lanes a cycle.
            "x86-64-v2" => (3.0, 4, 16, 8.0, 32.0, 256.0, 4e3, 40.0, 20.0, 10.0),
            // Zen 3: two 8-lane FMAs a cycle, about 100 GFLOP/s.
            "x86-64-v3" => (3.2, 8, 16, 32.0, 32.0, 512.0, 16e3, 80.0, 40.0, 18.0),
            // Zen 4: one 16-lane FMA a cycle.
            "x86-64-v4" => (3.6, 16, 32, 32.0, 32.0, 1024.0, 24e3, 100.0, 80.0, 22.0),
            // Neoverse N1: two 4-lane FMAs a cycle. The later cores have four such pipes and are faster throughout.
            "neoverse" | "neoverse-n1" | "neoverse-n2" => (2.6, 4, 32, 16.0, 64.0, 1024.0, 8e3, 60.0, 30.0, 16.0),
            // A warp as a machine with vectors of 32 lanes, for what asks about schedules: 4 bytes a lane and cycle and FMA.
            "sm_80" => (1.41, 32, 64, 64.0, 16.0, 40960.0, 40e3, 60.0, 30.0, 14.0),
            "sm_90a" => (1.83, 32, 64, 64.0, 16.0, 51200.0, 50e3, 90.0, 45.0, 25.0),
            "neoverse-v1" | "neoverse-v2" => (2.6, 4, 32, 32.0, 64.0, 1024.0, 16e3, 80.0, 40.0, 20.0),
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
            constants: Constants::default(),
            gpu: Gpu::for_target(name),
        })
    }

    /// The same machine; products with constant weights are computed by tensor cores, where it is a GPU.
    #[must_use]
    pub fn with_precision(mut self, precision: Option<Precision>) -> Machine {
        if let Some(gpu) = &mut self.gpu {
            gpu.precision = precision;
        }
        self
    }

    /// Seconds that work takes.
    #[must_use]
    pub fn seconds(&self, work: &Work) -> f64 {
        self.constants.cycles(work) / (self.ghz * 1e9) + work.whole_seconds()
    }

    /// Cycles between two vector multiply-adds at the peak.
    pub(crate) fn fma_cycles(&self) -> f64 {
        2.0 * self.lanes() * self.ghz / self.fma_gflops
    }

    /// Cycles to transfer so many bytes at a bandwidth in GB/s.
    pub(crate) fn transfer_cycles(&self, bytes: f64, gbs: f64) -> f64 {
        bytes / gbs * self.ghz
    }

    /// `f32` lanes of a vector.
    pub(crate) fn lanes(&self) -> f64 {
        f64::from(self.vector_lanes)
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

    #[test]
    fn machines_are_read_back() {
        let machine = Machine::for_target("neoverse").expect("a known target");
        let text = serde_json::to_string(&machine).expect("serialises");
        assert_eq!(serde_json::from_str::<Machine>(&text).expect("reads"), machine);
        assert!(serde_json::from_str::<Machine>(&text.replace("\"ghz\"", "\"mhz\"")).is_err());
    }
}
