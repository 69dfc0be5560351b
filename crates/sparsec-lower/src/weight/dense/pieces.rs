//! How the pixels of an image are cut into the pieces that a kernel computes at once.
//!
//! Images are rarely a multiple of a vector, and small ones waste much of their last one: 7 x 7 pixels are 3 vectors of
//! 16 and a single pixel. So a piece may have a *tail* of a few pixels beside its vectors. The lanes of a tail are not
//! pixels but the outputs of a panel, so that a tail pixel costs half a multiply-add rather than a whole row of them:
//!
//! ```text
//!                    vectors: lanes are pixels        tail: lanes are outputs
//!   output 0         [ 0 ... 15 ] [16 ... 31 ]  ...        | 48 |
//!   output 1         [ 0 ... 15 ] [16 ... 31 ]  ...        | 48 |
//!   ...                                                    | .. |
//! ```

use sparsec_graph::Dim;

use crate::schedule::Schedule;
use crate::target::TargetInfo;

/// Outputs that may be computed together; the first where the number of pixels is not known.
const HEIGHTS: [usize; 2] = [6, 8];
/// The most vectors of a piece.
const MAX_VECTORS: usize = 8;
/// The same on GPUs where the number of pixels is not known: there is a copy of the code for each number of vectors up to this, each
/// unrolled, and more than these two are hundreds of thousands of lines to assemble; that warps are smaller, and more, is no loss.
const MAX_OPEN_WARP_VECTORS: usize = 2;
/// The most pixels of a tail.
const MAX_TAIL: usize = 2;
/// Weights larger than this, in first-level caches, come from behind the second level for each piece anew...
const NEAR_WEIGHTS: usize = 32;
/// ...at this many bytes in two cycles (measured: BERT's layers, Zen 4).
const FAR_BYTES: usize = 20;
/// Cycles that beginning and ending the sums of a panel cost for each vector and output, and for each pixel of a tail.
const VECTOR_END: usize = 4;
const TAIL_END: usize = 24;

/// Pixels that are computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::weight) struct Piece {
    /// Vectors whose lanes are pixels.
    pub(in crate::weight) vectors: usize,
    /// Pixels behind them.
    pub(in crate::weight) tail: usize,
}

/// The pieces of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::weight) struct Pieces {
    /// Outputs of a panel.
    pub(in crate::weight) height: usize,
    /// Lanes of a vector.
    pub(in crate::weight) lanes: usize,
    /// All pieces but the last are like this.
    pub(in crate::weight) main: Piece,
    /// What the last piece may be: the first one that is large enough. Empty where it is like the others.
    pub(in crate::weight) last: Vec<Piece>,
}

impl Piece {
    /// Its pixels.
    pub(in crate::weight) fn pixels(&self, lanes: usize) -> usize {
        self.vectors * lanes + self.tail
    }
}

impl Pieces {
    /// Ways to cut `pixels` pixels for `outputs` outputs and `k` inputs, those that are predicted to be faster first.
    /// There is always one.
    pub(in crate::weight) fn ranked(pixels: &Dim, outputs: usize, k: usize, target: &TargetInfo) -> Vec<Self> {
        let of = |height: usize| Self::of_height(height.min(outputs), pixels, (outputs, k), target);
        if pixels.as_const().is_none() {
            return of(HEIGHTS[0]).into_iter().map(|(_, pieces)| pieces).collect();
        }
        let mut all: Vec<(usize, Self)> = HEIGHTS.into_iter().flat_map(of).collect();
        // Stable: of equals, the lower panel and the shorter piece.
        all.sort_by_key(|(cycles, _)| *cycles);
        let mut ranked: Vec<Self> = Vec::new();
        for (_, pieces) in all {
            if !ranked.iter().any(|known| (known.height, known.main) == (pieces.height, pieces.main)) {
                ranked.push(pieces);
            }
        }
        ranked
    }

    /// The pieces with panels of this height, each with half the number of cycles that it is predicted to take.
    fn of_height(height: usize, pixels: &Dim, (outputs, k): (usize, usize), target: &TargetInfo) -> Vec<(usize, Self)> {
        let lanes = usize::from(target.lanes);
        // Sums, the inputs of all vectors, and a broadcast weight.
        let most = ((target.registers as usize - 2) / (height + 1)).clamp(1, MAX_VECTORS);
        let Some(pixels) = pixels.as_const().map(|n| n.max(1) as usize) else {
            let most =
                if lanes == usize::from(TargetInfo::WARP.lanes) { most.min(MAX_OPEN_WARP_VECTORS) } else { most };
            let last = (1..most).map(|vectors| Piece { vectors, tail: 0 }).collect();
            return vec![(0, Pieces { height, lanes, main: Piece { vectors: most, tail: 0 }, last })];
        };
        let max_tail = if height * 2 == lanes { MAX_TAIL } else { 0 };
        let with_tails = |vectors| (0..=max_tail).map(move |tail| Piece { vectors, tail });
        let candidates: Vec<Piece> = (1..=most).flat_map(with_tails).collect();
        let far = outputs * k * 4 > NEAR_WEIGHTS * target.l1_bytes as usize;
        let weights = if far { height * 8 / FAR_BYTES } else { 0 };
        let cost = |piece: &Piece| {
            let steps = 2 * height * piece.vectors + piece.tail + 2 + weights;
            k * steps + 2 * (VECTOR_END * height * piece.vectors + TAIL_END * piece.tail)
        };
        let cut = |main: &Piece| {
            let rest = pixels % main.pixels(lanes);
            let fits = candidates.iter().filter(|p| p.pixels(lanes) >= rest);
            let last = fits.min_by_key(|p| cost(p)).copied().filter(|_| rest > 0);
            let total = pixels / main.pixels(lanes) * cost(main) + last.as_ref().map_or(0, &cost);
            (total, last)
        };
        let with_main = |&main: &Piece| {
            let (total, last) = cut(&main);
            let pieces = match last.filter(|last| *last != main) {
                // An image that is one piece.
                Some(last) if pixels < main.pixels(lanes) => Pieces { height, lanes, main: last, last: Vec::new() },
                last => Pieces { height, lanes, main, last: last.into_iter().collect() },
            };
            (total * outputs.div_ceil(height), pieces)
        };
        candidates.iter().map(with_main).collect()
    }

    /// As a schedule of minimal filtering.
    pub(in crate::weight) fn filtering(&self) -> Schedule {
        Schedule::Filtering { height: self.height, vectors: self.main.vectors, tail: self.main.tail }
    }

    /// As a schedule, with so many channels a part.
    pub(in crate::weight) fn schedule(&self, channels: usize) -> Schedule {
        Schedule::Pieces { height: self.height, vectors: self.main.vectors, tail: self.main.tail, channels }
    }

    /// Elements of a packed row.
    pub(in crate::weight) fn pitch(&self) -> usize {
        let all = self.last.iter().chain([&self.main]);
        all.map(|p| p.pixels(self.lanes).next_multiple_of(self.lanes)).max().unwrap_or(self.lanes)
    }

    /// For the comments of kernels.
    pub(in crate::weight) fn describe(&self) -> String {
        let one = |p: &Piece| match p.tail {
            0 => format!("{} vectors", p.vectors),
            tail => format!("{} vectors and {tail} pixels", p.vectors),
        };
        let mut text = format!("panels of {} rows, pieces of {} of {}", self.height, one(&self.main), self.lanes);
        for last in &self.last {
            text.push_str(&format!(", last of {}", one(last)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lanes_are_wasted() {
        for side in [7i64, 14, 28, 56, 112] {
            let pixels = side * side;
            let p = Pieces::ranked(&Dim::constant(pixels), 256, 256, &TargetInfo::AVX512).remove(0);
            let whole = pixels as usize / p.main.pixels(16);
            let rest = pixels as usize % p.main.pixels(16);
            let last = p.last.first().unwrap_or(&p.main);
            assert!(rest <= last.pixels(16), "{p:?}");
            let vectors = whole * p.main.vectors + if rest > 0 { last.vectors } else { 0 };
            assert!(vectors as f64 * 16.0 <= pixels as f64 * 1.02, "{side}: {p:?}");
        }
    }
}
