//! Weights on tensor cores where there are enough rows and pixels: a team of four warps computes 128 rows by 64 pixels or more.
//!
//! The weight is cut into *steps*, as many columns as one product takes, and a few steps of columns are a *part*. The team goes from part to
//! part. The steps that are not all zeros lie one after the other in the weight's table, so those of a part are one piece, which is
//! copied to shared memory parts ahead. X is `f32` and has to be rounded, so it goes through registers: loaded while the present
//! part is multiplied, and stored for the next one.
//!
//! ```text
//! parallel team:
//!   warps warp in 0..4:
//!     copy the steps of the first parts; pack X of the first
//!     for part:                      those in which the 128 rows have a step
//!       await the part's steps; barrier
//!       load X of the next part; copy the steps of a later one
//!       multiply the part's steps: sums[b, t] += step * X
//!       pack X of the next part; await the products
//!     for each block of rows: save the sums, and apply the epilogue
//! ```
//!
//! One barrier for each part is enough: X has two places and the steps have one more than are on their way, so what a warp
//! writes behind a barrier was read before it. Without a step of zeros ([`Cut::full`](cut::Cut)) all bounds are constants and the products are written
//! out; else tables say which parts and steps there are.
//!
//! Who multiplies:
//!
//! - Each warp for itself (`warps.rs`): steps of 16 rows, of which a warp has four by 32 pixels.
//! - All four as a *group* (`group.rs`), which compute capability 9.0 can: steps of 64 rows by all pixels, factors that stay in shared
//!   memory, products that go on while X is packed.

mod cut;
mod group;
mod kernel;
mod warps;

use sparsec_sparse::Format;
use sparsec_tir::{GROUP_ROWS, Precision, TILE_ROWS};

use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::patches::numbered;
use crate::weight::problem::WeightProblem;
use crate::weight::tensor::sparse_at;
use cut::{Cut, Unit};
use kernel::Kernel;

/// Warps of a team.
const WARPS: usize = 4;
/// Rows of a team.
const TEAM_ROWS: usize = 128;
/// Fewest pixels of a team.
const TEAM_PIXELS: usize = 64;
/// Steps of columns in a part.
const STEPS: usize = 2;
/// Teams that keep a GPU busy: one for each multiprocessor of an H100.
const BUSY_TEAMS: usize = 132;
/// What a group multiplies in the time of 5 by single warps: `mma.sync` is reported at 62.9 % of the peak of an H100 (Luo et al., "Benchmarking and
/// Dissecting the Nvidia Hopper GPU Architecture via Microbenchmarking", 2024). The cost model of `sparsec-rewrite` counts with the same number.
const GROUP_SPEED: usize = 8;

/// The kernel and its tables; `None` where it would leave most of a GPU idle, or not fit.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Option<Multiplication> {
    let (precision, sparse) = sparse_at(p, weight, format, target)?;
    let pixels = p.tokens.and_then(|n| usize::try_from(n).ok())?;
    let (numbered, windows) = numbered(p)?;
    let wide = numbered.y.shape[3].as_const().is_none_or(|n| n > TEAM_PIXELS as i64 / 2);
    let busy = |width: usize| p.m.div_ceil(TEAM_ROWS) * pixels.div_ceil(width) >= BUSY_TEAMS;
    if p.m <= TEAM_ROWS / 2 || !wide || !busy(TEAM_PIXELS) {
        return None;
    }
    let single = Cut::new(p, weight, precision, sparse, Unit::Warp);
    let cut = if target.has_groups() && precision != Precision::TF32 && !sparse {
        let group = Cut::new(p, weight, precision, sparse, Unit::Group);
        // Rows of steps: those of a group are higher, so more zeros are in them.
        let pays = 5 * GROUP_ROWS * group.entries.len() <= GROUP_SPEED * TILE_ROWS * single.entries.len();
        if pays { group } else { single }
    } else {
        single
    };
    Some(Kernel::build(&numbered, weight, cut, windows))
}
