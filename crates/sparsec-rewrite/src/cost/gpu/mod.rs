//! Predicted time of a kernel on a GPU: a roofline, cut into whole blocks of warps.
//!
//! A kernel takes as long as its arithmetic or its memory takes, whichever is longer, and what a launch costs. Arithmetic is
//! done by the multiprocessors: the one with the most blocks ends last, and one on which few warps are at a time, for want of
//! blocks or of room for them, doesn't reach its peak. The same holds for memory: few warps don't ask for as many bytes as it could give.
//!
//! Peaks, bandwidths and numbers of multiprocessors are those of data sheets. The shares of a peak that kernels reach, and
//! the cost of a launch, are assumptions until they are measured; sources stand beside them.

use serde::{Deserialize, Serialize};
use sparsec_graph::{Op, Precision, TensorType};

use super::CostModel;
use super::scalar::expression_cost;
use super::work::Work;
use crate::lang::OpInfo;

mod product;

pub(crate) use product::takes_bitmap;

/// A GPU, as the cost model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Streaming multiprocessors.
    pub multiprocessors: f64,
    /// Single-precision peak in GFLOP/s, without tensor cores.
    pub f32_gflops: f64,
    /// Bandwidth of memory in GB/s.
    pub dram_gbs: f64,
    /// Peak of the tensor cores in GFLOP/s with dense factors of 16 bits; half of it with `tf32`, twice with 2:4 weights.
    pub tensor_gflops: f64,
    /// How often the rate of `mma.sync` the tensor cores have with `wgmma`; 0 without that instruction.
    pub group_rate: f64,
    /// Microseconds of a launch within a CUDA graph.
    pub launch_us: f64,
    /// What products with constant weights are computed in; `None`: in `f32`, without tensor cores.
    #[serde(skip)]
    pub precision: Option<Precision>,
}

/// Warps of a multiprocessor that hide its latencies: two on each of its four schedulers.
const BUSY_WARPS: f64 = 8.0;
/// Rows of a product that a warp has in flight.
const WARP_ROWS: f64 = 8.0;
/// Columns of a product that a warp has in flight: two a lane.
const WARP_COLUMNS: f64 = 64.0;
/// Instructions that stand for an exponential or the like.
const FUNCTION: f64 = 20.0;

impl Gpu {
    /// The GPU that an architecture is first made for: `sm_80` an A100, `sm_90a` an H100.
    pub(super) fn for_target(name: &str) -> Option<Gpu> {
        match name {
            // A100 SXM4 40 GB: 108 multiprocessors, 19.5 TFLOP/s, 312 by tensor cores, 1555 GB/s. NVIDIA A100 Tensor Core GPU data sheet, and
            // the white paper "NVIDIA A100 Tensor Core GPU Architecture", table 4.
            "sm_80" => Some(Gpu {
                multiprocessors: 108.0,
                f32_gflops: 19_500.0,
                dram_gbs: 1555.0,
                tensor_gflops: 312_000.0,
                group_rate: 0.0,
                launch_us: 2.0,
                precision: None,
            }),
            // H100 SXM5: 132 multiprocessors, 66.9 TFLOP/s, 989.4 by tensor cores, 3352 GB/s. NVIDIA H100 Tensor Core GPU data sheet, and the
            // white paper "NVIDIA H100 Tensor Core GPU Architecture", table 3.
            "sm_90a" => Some(Gpu {
                multiprocessors: 132.0,
                f32_gflops: 66_900.0,
                dram_gbs: 3352.0,
                tensor_gflops: 989_400.0,
                // `mma.sync` is reported at 62.9 % of the peak on average: "Benchmarking and Dissecting the Nvidia Hopper GPU
                // Architecture via Microbenchmarking" (Luo et al., 2024).
                group_rate: 1.6,
                launch_us: 2.0,
                precision: None,
            }),
            _ => None,
        }
    }

    /// Seconds of a kernel of so many operations and bytes of memory. `share` is what its inner loop reaches of the peak.
    fn seconds(&self, flops: f64, bytes: f64, grid: Grid, share: f64) -> f64 {
        let blocks = grid.blocks.max(1.0);
        let on_busiest = (blocks / self.multiprocessors).ceil();
        // Warps that a multiprocessor has at a time.
        let present = on_busiest.min(grid.resident) * grid.warps;
        let peak = self.f32_gflops * 1e9 / self.multiprocessors * share * (present / BUSY_WARPS).min(1.0);
        let arithmetic = flops / blocks * on_busiest / peak;
        let asking = (blocks.min(self.multiprocessors * grid.resident) * grid.warps
            / (self.multiprocessors * BUSY_WARPS))
            .min(1.0);
        let memory = bytes / (self.dram_gbs * 1e9 * asking);
        self.launch_us * 1e-6 + arithmetic.max(memory)
    }
}

/// How a kernel is cut.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Blocks, and the warps of each.
    blocks: f64,
    warps: f64,
    /// Blocks for which a multiprocessor has the registers and the shared memory.
    resident: f64,
}

impl Grid {
    /// Warps that don't know of each other.
    fn of_warps(warps: f64) -> Grid {
        Grid { blocks: warps.ceil(), warps: 1.0, resident: f64::INFINITY }
    }
}

/// Instructions on each element of a result.
fn epilogue_instructions(info: &OpInfo) -> f64 {
    info.epilogue.as_ref().map_or(0.0, |epilogue| expression_cost(&epilogue.expr))
}

impl CostModel<'_> {
    /// Any other operator.
    pub(super) fn gpu_operator(&self, gpu: &Gpu, info: &OpInfo, types: &[&TensorType], result: &TensorType) -> Work {
        let (op, instructions) = (&info.op, epilogue_instructions(info));
        let read: f64 = types.iter().map(|ty| self.bytes(ty)).sum();
        let (elements, written) = (self.elements(result), self.bytes(result));
        let first = types.first().map_or(0.0, |ty| self.elements(ty));
        // Operations of an element of the result, bytes, and warps.
        let (flops, bytes, warps) = match op {
            Op::Reshape(_) | Op::ShapeOf(_) | Op::If { .. } | Op::Loop(_) => return Work::default(),
            Op::Contract(spec) => {
                let summed: f64 = match types {
                    [lhs, _] => {
                        let pairs = spec.lhs.iter().zip(&lhs.shape).filter(|(label, _)| !spec.out.contains(label));
                        pairs.map(|(_, d)| self.extent(d)).product()
                    }
                    _ => 1.0,
                };
                (2.0 * summed, read + written, elements / (WARP_ROWS * WARP_COLUMNS))
            }
            Op::Attention(_) => {
                let keys = types.get(1).map_or(1.0, |k| self.elements(k)) / elements.max(1.0) * first;
                (4.0 * keys.sqrt() + FUNCTION, read + written, elements / WARP_COLUMNS)
            }
            Op::Conv(_) => {
                let taps = types
                    .get(1)
                    .map_or(1.0, |w| self.elements(w) / w.shape.first().map_or(1.0, |d| self.extent(d)).max(1.0));
                (2.0 * taps, read + written, elements / (WARP_ROWS * WARP_COLUMNS))
            }
            Op::Pool(attrs) => {
                let taps: f64 = attrs.kernel.iter().map(|&k| k as f64).product();
                (taps, read + written, elements / 32.0)
            }
            Op::Reduce { .. } => (first / elements.max(1.0), read + written, elements),
            Op::Softmax { .. } => (2.0 * FUNCTION, 2.0 * read + written, elements / 128.0),
            Op::LayerNorm { .. } => (8.0, 2.0 * read + written, elements / 128.0),
            Op::Gather { .. } => (1.0, 2.0 * written, elements / 32.0),
            Op::Map(expr) => (expression_cost(expr), read + written, elements / 32.0),
            _ => (1.0, read + written, elements / 32.0),
        };
        Work::whole(gpu.seconds((flops + instructions) * elements, bytes, Grid::of_warps(warps), 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::{Gpu, Grid};

    #[test]
    fn times_are_rooflines_of_whole_warps() {
        let a100 = Gpu::for_target("sm_80").expect("known");
        let of = |flops, bytes, warps| a100.seconds(flops, bytes, Grid::of_warps(warps), 1.0) - 2e-6;
        let many = 108.0 * 64.0;
        // All multiprocessors are busy: the peak, and the bandwidth.
        assert!((of(19.5e12, 0.0, many) - 1.0).abs() < 1e-9);
        assert!((of(0.0, 1555e9, many) - 1.0).abs() < 1e-9);
        assert!((of(19.5e12, 2.0 * 1555e9, many) - 2.0).abs() < 1e-9);
        // One warp more than fits evenly takes a whole round more.
        let round = of(1e12, 0.0, many + 1.0) / of(1e12, 0.0, many);
        assert!((round - 65.0 / 64.0).abs() < 1e-3, "{round}");
        // One warp has an eighth of one of 108 multiprocessors.
        assert!((of(1e12, 0.0, 1.0) / of(1e12, 0.0, many) - 864.0).abs() < 1e-6);
        assert!(Gpu::for_target("sm_70").is_none());
        let h100 = Gpu::for_target("sm_90a").expect("known");
        let grid = Grid::of_warps(many);
        assert!(h100.seconds(1e12, 1e9, grid, 0.5) < a100.seconds(1e12, 1e9, grid, 0.5));
        // A block more than fits evenly takes a round of blocks more; and blocks of which there is room for one have half of the warps
        // that hide latencies.
        let of = |blocks, resident| a100.seconds(1e12, 0.0, Grid { blocks, warps: 4.0, resident }, 1.0) - 2e-6;
        let round = of(109.0, 2.0) / of(216.0, 2.0) * 109.0 / 216.0;
        assert!((round - 1.0).abs() < 1e-9, "{round}");
        assert!((of(216.0, 1.0) / of(216.0, 2.0) - 2.0).abs() < 1e-9);
    }
}
