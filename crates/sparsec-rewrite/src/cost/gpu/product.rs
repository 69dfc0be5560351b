//! Products with constant weights: which kernel of `sparsec-lower` takes them, how it is cut, and what it computes beside the weight.

use sparsec_graph::{Format, Op, Precision, TensorType};

use super::{Gpu, Grid, WARP_COLUMNS, WARP_ROWS, epilogue_instructions};
use crate::cost::work::Work;
use crate::cost::{CostModel, Product, StoredFacts};
use crate::lang::OpInfo;

/// Rows and columns of a step of a weight that one product takes, at 16 bits.
const STEP: (f64, f64) = (16.0, 16.0);
/// Rows of a step that four warps multiply together.
const GROUP_STEP: f64 = 64.0;
/// Columns of a product that a warp has in flight with tensor cores.
const TENSOR_COLUMNS: f64 = 32.0;
/// Rows that it may have, and the warps from which on it has as many: as `weight/tensor.rs` in `sparsec-lower`.
const TENSOR_ROWS: [f64; 3] = [64.0, 32.0, 16.0];
const TENSOR_WARPS: f64 = 1056.0;
/// What single warps reach of the peak of `mma.sync`. Without asynchronous copies they wait for memory; a guess.
const TENSOR_SHARE: f64 = 0.2;

/// Rows and columns of a team of four warps, and the teams from which on there are such: as `weight/team/` in `sparsec-lower`.
const TEAM: (f64, f64) = (128.0, 64.0);
const TEAM_WARPS: f64 = 4.0;
const BUSY_TEAMS: f64 = 132.0;
/// Teams that a multiprocessor has room for: up to 255 registers a thread, of 65536.
const RESIDENT_TEAMS: f64 = 2.0;
/// What they reach of the peak of their instruction: a guess.
const TEAM_SHARE: f64 = 0.4;

/// Rows below which windows larger than a pixel stay in `f32`: as `weight/patches.rs` in `sparsec-lower`.
const LEAST_WINDOW_ROWS: usize = 8;
/// Operations that stand for loading, rounding and storing an element of X, beside tensor cores; and what is added where each has to be found in an
/// image.
const PACKING: f64 = 8.0;
const FINDING_PIXEL: f64 = 4.0;

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

/// Entries that tensor cores multiply: they leave out steps of so many rows and some columns, and nothing smaller.
fn tensor_entries(facts: &StoredFacts, all: f64, precision: Precision, rows: f64) -> f64 {
    match facts.format {
        Format::Bsr { r, c } => {
            // A step is zero where all blocks in it are, which are taken to be independent.
            let columns = if precision == Precision::TF32 { STEP.1 / 2.0 } else { STEP.1 };
            let across = |step: f64, block: u32| (step / f64::from(block.max(1))).ceil();
            let zero = 1.0 - (facts.entries / all.max(1.0)).min(1.0);
            all * (1.0 - zero.powf(across(columns, c) * across(rows, r)))
        }
        Format::Nm { .. } => facts.entries,
        // Rows and columns of zeros are rarely neighbours.
        _ => all,
    }
}

/// What a kernel without tensor cores reaches of the peak.
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

/// A number filled up to whole tiles.
fn filled(n: f64, tile: f64) -> f64 {
    (n / tile).ceil() * tile
}

/// A product on a GPU.
struct Weighed<'a> {
    facts: &'a StoredFacts,
    product: &'a Product,
    /// Rows, and columns, those of windows included, of the weight.
    outputs: f64,
    columns: f64,
    /// Instructions on each element of the result.
    instructions: f64,
    /// Bytes of all other operands and of the result.
    others: f64,
}

impl Weighed<'_> {
    fn all(&self) -> f64 {
        self.outputs * self.columns
    }

    fn is_point(&self) -> bool {
        let (vertical, horizontal) = self.product.image.windows;
        [vertical, horizontal].iter().all(|w| w.kernel == 1 && w.stride == 1)
    }

    /// Operations of a kernel of tensor cores whose tiles have so many rows and columns, and what each reads of X.
    fn tensor_flops(&self, multiplied: f64, (rows, columns): (f64, f64), share: f64) -> f64 {
        let tiles = filled(self.product.n, columns);
        // Entries end with the rows, which are filled up to those of steps; tiles of columns are computed whole.
        let entries = multiplied * filled(self.outputs, STEP.0) / self.outputs.max(1.0);
        // X is packed for every tile of rows, whatever the weight holds.
        let packed = (self.outputs / rows).ceil() * self.columns * tiles;
        let packing = PACKING + if self.is_point() { 0.0 } else { FINDING_PIXEL };
        2.0 * entries * tiles + self.outputs * self.instructions * self.product.n + packing * packed * share
    }

    /// Seconds on tensor cores; `None` where they don't take the product.
    fn tensor_seconds(&self, gpu: &Gpu) -> Option<f64> {
        let (product, facts) = (self.product, self.facts);
        let precision = gpu.precision?;
        let rate = tensor_rate(&facts.format, precision)?;
        let few = !self.is_point() && product.image.outputs < LEAST_WINDOW_ROWS;
        if product.groups != 1 || product.is_vector || few {
            return None;
        }
        // Sizes are those of values of 32 bits.
        let bytes = self.others + facts.bytes / 2.0;
        let alone = rate * gpu.tensor_gflops / gpu.f32_gflops / gpu.group_rate.max(1.0);
        let entries = |rows: f64| tensor_entries(facts, self.all(), precision, rows);
        let tiles = |(rows, columns): (f64, f64)| (self.outputs / rows).ceil() * (product.n / columns).ceil();
        if self.outputs > TEAM.0 / 2.0 && product.n > TEAM.1 / 2.0 && tiles(TEAM) >= BUSY_TEAMS {
            let grid = Grid { blocks: tiles(TEAM), warps: TEAM_WARPS, resident: RESIDENT_TEAMS };
            let dense = !matches!(facts.format, Format::Nm { .. });
            let together = gpu.group_rate > 0.0 && precision != Precision::TF32 && dense;
            // Steps of a group are higher, so more zeros are in them.
            let (single, group) = (entries(STEP.0), entries(GROUP_STEP));
            let (multiplied, peak) = match together && group <= gpu.group_rate * single {
                true => (group, alone * gpu.group_rate),
                false => (single, alone),
            };
            let share = TEAM_SHARE * peak;
            return Some(gpu.seconds(self.tensor_flops(multiplied, TEAM, share), bytes, grid, share));
        }
        let enough = |rows: &f64| tiles((*rows, TENSOR_COLUMNS)) >= TENSOR_WARPS;
        let tile = (TENSOR_ROWS.into_iter().find(enough).unwrap_or(STEP.0), TENSOR_COLUMNS);
        let share = TENSOR_SHARE * alone;
        let flops = self.tensor_flops(entries(STEP.0), tile, share);
        Some(gpu.seconds(flops, bytes, Grid::of_warps(tiles(tile)), share))
    }

    /// Seconds with a weight that is loaded sparse and multiplied dense.
    fn bitmap_seconds(&self, gpu: &Gpu) -> f64 {
        let (n, all) = (self.product.n, self.all());
        let columns = BITMAP_COLUMNS.into_iter().find(|&c| n <= c).unwrap_or(32.0);
        let tiles = (n / columns).ceil();
        let warps = BITMAP_WARPS.into_iter().find(|(least, _)| self.columns >= *least).map_or(4.0, |(_, warps)| warps);
        let blocks = |rows: f64| (self.outputs / rows).ceil() * tiles;
        let rows = if blocks(BITMAP_ROWS) * warps >= TENSOR_WARPS { BITMAP_ROWS } else { BITMAP_ROWS / 2.0 };
        let share = TENSOR_SHARE * gpu.tensor_gflops / gpu.f32_gflops / gpu.group_rate.max(1.0);
        let multiplied = 2.0 * all * tiles * columns + self.outputs * self.instructions * n;
        // Every team packs X, and puts its tiles together once for its columns.
        let packed = (self.outputs / rows).ceil() * self.columns * n;
        let flops = multiplied + (PACKING * packed + FINDING * all * tiles) * share;
        // Sizes are those of values of 32 bits.
        let weight = self.facts.bytes - 2.0 * self.facts.entries;
        let grid = Grid { blocks: blocks(rows), warps, resident: f64::INFINITY };
        gpu.seconds(flops, self.others + weight, grid, share)
    }

    /// Seconds in `f32`.
    fn f32_seconds(&self, gpu: &Gpu) -> f64 {
        let entries = match self.facts.format {
            Format::Dense => self.facts.entries / self.product.groups.max(1) as f64,
            _ => self.facts.entries,
        };
        let flops = (2.0 * entries + self.outputs * self.instructions) * self.product.n;
        let warps = (self.outputs / WARP_ROWS).ceil() * (self.product.n / WARP_COLUMNS).ceil();
        gpu.seconds(flops, self.others + self.facts.bytes, Grid::of_warps(warps), share(&self.facts.format))
    }
}

impl CostModel<'_> {
    /// A product with a stored weight.
    pub(in crate::cost) fn gpu_product(
        &self,
        gpu: &Gpu,
        info: &OpInfo,
        (facts, product): (&StoredFacts, &Product),
        types: &[&TensorType],
        result: &TensorType,
    ) -> Work {
        // The weight is among the operands as the dense tensor that it was.
        let weight = usize::from(!matches!(info.op, Op::Contract(_)));
        let others = types.iter().enumerate().filter(|(i, _)| *i != weight).map(|(_, ty)| self.bytes(ty)).sum::<f64>();
        let (vertical, horizontal) = product.image.windows;
        let weighed = Weighed {
            facts,
            product,
            outputs: product.image.outputs as f64,
            columns: (product.image.channels * vertical.kernel * horizontal.kernel) as f64,
            instructions: epilogue_instructions(info),
            others: others + self.bytes(result),
        };
        if facts.format == Format::Bitmap && takes_bitmap(gpu) && product.groups == 1 && weighed.is_point() {
            return Work::whole(weighed.bitmap_seconds(gpu));
        }
        Work::whole(weighed.tensor_seconds(gpu).unwrap_or_else(|| weighed.f32_seconds(gpu)))
    }
}
