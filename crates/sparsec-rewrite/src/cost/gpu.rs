//! Predicted time of a kernel on a GPU: a roofline, cut into whole warps.
//!
//! A kernel takes as long as its arithmetic or its memory takes, whichever is longer, and what a launch costs. Arithmetic is
//! done by the multiprocessors: the one with the most warps ends last, and one with few warps doesn't reach its peak. The
//! same holds for memory: few warps don't ask for as many bytes as it could give.
//!
//! Peaks, bandwidths and numbers of multiprocessors are those of data sheets. The shares of a peak that kernels reach, and
//! the cost of a launch, are assumptions until they are measured; sources stand beside them.

use serde::{Deserialize, Serialize};
use sparsec_graph::{Format, Op, Precision, TensorType};

use super::scalar::expression_cost;
use super::work::Work;
use super::{CostModel, Product, StoredFacts};
use crate::lang::OpInfo;

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
                launch_us: 2.0,
                precision: None,
            }),
            _ => None,
        }
    }

    /// Seconds of a kernel of so many operations, bytes of memory and warps. `share` is what its inner loop reaches of the
    /// peak.
    pub(super) fn seconds(&self, flops: f64, bytes: f64, warps: f64, share: f64) -> f64 {
        let warps = warps.max(1.0);
        let on_busiest = (warps / self.multiprocessors).ceil();
        let peak = self.f32_gflops * 1e9 / self.multiprocessors * share;
        let arithmetic = flops / warps * on_busiest.max(BUSY_WARPS) / peak;
        let asking = (warps / (self.multiprocessors * BUSY_WARPS)).min(1.0);
        let memory = bytes / (self.dram_gbs * 1e9 * asking);
        self.launch_us * 1e-6 + arithmetic.max(memory)
    }
}

/// Columns of a product that a warp has in flight with tensor cores.
const TENSOR_COLUMNS: f64 = 32.0;
/// Rows that it may have, and the warps from which on it has as many: as `weight/tensor.rs` in `sparsec-lower`.
const TENSOR_ROWS: [f64; 3] = [64.0, 32.0, 16.0];
const TENSOR_WARPS: f64 = 1056.0;
/// What its kernels reach of the peak of tensor cores. Without asynchronous copies they wait for memory; a guess.
const TENSOR_SHARE: f64 = 0.2;

/// Operations that stand for loading, rounding and storing an element of X, beside tensor cores.
const PACKING: f64 = 8.0;

/// Columns that a team of `gemm_bitmap` may have, its warps where the weight has the columns for them, and its rows: as
/// `weight/bitmap.rs` in `sparsec-lower`.
const BITMAP_COLUMNS: [f64; 3] = [8.0, 16.0, 32.0];
const BITMAP_WARPS: [(f64, f64); 2] = [(512.0, 8.0), (0.0, 4.0)];
const BITMAP_ROWS: f64 = 32.0;
/// Operations that stand for finding an entry of a bitmap: about 70 instructions of a warp for 256 of them, two operations each.
const FINDING: f64 = 16.0;

/// Whether there is a kernel for bitmaps.
pub(crate) fn takes_bitmap(gpu: &Gpu) -> bool {
    gpu.precision.is_some_and(|precision| precision != Precision::TF32)
}

/// How often the peak of dense 16-bit factors a format reaches with tensor cores; `None` where they don't serve it.
fn tensor_rate(format: &Format, precision: Precision) -> Option<f64> {
    let rate = if precision == Precision::TF32 { 0.5 } else { 1.0 };
    match format {
        Format::Dense => Some(rate),
        Format::Pruned(kept) if **kept == Format::Dense => Some(rate),
        Format::Bsr { r, .. } if r.is_multiple_of(16) => Some(rate),
        // Stored entries: twice as many columns are done in the same time.
        Format::Nm { n: 2, m: 4 } if precision != Precision::TF32 => Some(rate),
        _ => None,
    }
}

/// Entries that tensor cores multiply: they leave out steps of 16 rows and some columns, and nothing smaller.
fn tensor_entries(facts: &StoredFacts, all: f64, precision: Precision) -> f64 {
    match facts.format {
        Format::Bsr { c, .. } => {
            // A step is zero where all blocks in it are, which are taken to be independent.
            let step = if precision == Precision::TF32 { 8 } else { 16 };
            let zero = 1.0 - (facts.entries / all.max(1.0)).min(1.0);
            all * (1.0 - (0..u32::div_ceil(step, c.max(1))).map(|_| zero).product::<f64>())
        }
        Format::Nm { .. } => facts.entries,
        // Rows and columns of zeros are rarely neighbours.
        _ => all,
    }
}

/// What a kernel of this format reaches of the peak.
fn share(format: &Format) -> f64 {
    match format {
        Format::Dense => 0.6,
        Format::Pruned(kept) => share(kept),
        Format::Bsr { r, .. } if *r >= 4 => 0.5,
        Format::Nm { .. } => 0.3,
        // "Sparse GPU Kernels for Deep Learning" (Gale, Zaharia, Young, Elsen, SC 2020) reports up to 27 % of the peak.
        _ => 0.25,
    }
}

/// Instructions on each element of a result.
fn epilogue_instructions(info: &OpInfo) -> f64 {
    info.epilogue.as_ref().map_or(0.0, |epilogue| expression_cost(&epilogue.expr))
}

impl CostModel<'_> {
    /// A product with a stored weight.
    pub(super) fn gpu_product(
        &self,
        gpu: &Gpu,
        info: &OpInfo,
        (facts, product): (&StoredFacts, &Product),
        types: &[&TensorType],
        result: &TensorType,
    ) -> Work {
        let instructions = epilogue_instructions(info);
        let entries = match facts.format {
            Format::Dense => facts.entries / product.groups.max(1) as f64,
            _ => facts.entries,
        };
        let flops = (2.0 * entries + product.image.outputs as f64 * instructions) * product.n;
        // The weight is among the operands as the dense tensor that it was.
        let weight = usize::from(!matches!(info.op, Op::Contract(_)));
        let others = types.iter().enumerate().filter(|(i, _)| *i != weight).map(|(_, ty)| self.bytes(ty)).sum::<f64>();
        let bytes = facts.bytes + others + self.bytes(result);
        // The kernel of tensor cores is for products and windows of one pixel.
        let (vertical, horizontal) = product.image.windows;
        let point = [vertical, horizontal].iter().all(|w| w.kernel == 1 && w.stride == 1);
        let rate = gpu.precision.and_then(|precision| tensor_rate(&facts.format, precision));
        let tensor = gpu.precision.zip(rate).filter(|_| product.groups == 1 && point && !product.is_vector);
        if facts.format == Format::Bitmap && takes_bitmap(gpu) && product.groups == 1 && point {
            return self.gpu_bitmap(gpu, (facts, product), instructions, others + self.bytes(result));
        }
        if let Some((precision, rate)) = tensor {
            let outputs = product.image.outputs as f64;
            let all = outputs * product.image.channels as f64;
            let flops = flops + 2.0 * (tensor_entries(facts, all, precision) - entries) * product.n;
            let warps = |rows: f64| (outputs / rows).ceil() * (product.n / TENSOR_COLUMNS).ceil();
            let rows = TENSOR_ROWS.into_iter().find(|&rows| warps(rows) >= TENSOR_WARPS).unwrap_or(16.0);
            let warps = warps(rows);
            let share = TENSOR_SHARE * rate * gpu.tensor_gflops / gpu.f32_gflops;
            // X is packed by every warp, whatever the weight holds.
            let packed = (outputs / rows).ceil() * product.image.channels as f64 * product.n;
            let (bytes, packing) = (bytes - facts.bytes / 2.0, PACKING * packed * share);
            return Work::whole(gpu.seconds(flops + packing, bytes, warps, share));
        }
        let warps = (product.image.outputs as f64 / WARP_ROWS).ceil() * (product.n / WARP_COLUMNS).ceil();
        Work::whole(gpu.seconds(flops, bytes, warps, share(&facts.format)))
    }

    /// A product with a weight that is loaded sparse and multiplied dense: `bytes` are those of all other operands and of the result.
    fn gpu_bitmap(&self, gpu: &Gpu, of: (&StoredFacts, &Product), instructions: f64, bytes: f64) -> Work {
        let (facts, product) = of;
        let (outputs, channels) = (product.image.outputs as f64, product.image.channels as f64);
        let columns = BITMAP_COLUMNS.into_iter().find(|&c| product.n <= c).unwrap_or(32.0);
        let tiles = (product.n / columns).ceil();
        let each = BITMAP_WARPS.into_iter().find(|(least, _)| channels >= *least).map_or(4.0, |(_, warps)| warps);
        let warps = |rows: f64| (outputs / rows).ceil() * tiles * each;
        let rows = if warps(BITMAP_ROWS) >= TENSOR_WARPS { BITMAP_ROWS } else { BITMAP_ROWS / 2.0 };
        let share = TENSOR_SHARE * gpu.tensor_gflops / gpu.f32_gflops;
        let multiplied = 2.0 * outputs * channels * tiles * columns + outputs * instructions * product.n;
        // Every team packs X, and puts its tiles together once for its columns.
        let packed = (outputs / rows).ceil() * channels * product.n;
        let flops = multiplied + (PACKING * packed + FINDING * outputs * channels * tiles) * share;
        // Sizes are those of values of 32 bits.
        let weight = facts.bytes - 2.0 * facts.entries;
        Work::whole(gpu.seconds(flops, bytes + weight, warps(rows), share))
    }

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
        Work::whole(gpu.seconds((flops + instructions) * elements, bytes, warps.ceil(), 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::Gpu;

    #[test]
    fn times_are_rooflines_of_whole_warps() {
        let a100 = Gpu::for_target("sm_80").expect("known");
        let of = |flops, bytes, warps| a100.seconds(flops, bytes, warps, 1.0) - 2e-6;
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
        assert!(h100.seconds(1e12, 1e9, many, 0.5) < a100.seconds(1e12, 1e9, many, 0.5));
    }
}
