//! Sparsity patterns, their statistics, storage formats and exact conversions.
//!
//! A weight matrix W has `rows` outputs (M) and `cols` inputs (K) and arrives as a dense row-major slice. For a
//! convolution the caller has already ordered the columns as (kernel position, channel), channels fastest, so that
//! blocks and N:M groups lie along input channels.
//!
//! The pattern of zeros is known when a model is compiled, so this crate works in four steps, one module each:
//!
//! 1. [`Pattern`] says where the nonzeros are, without their values or type.
//! 2. [`PatternStats`] and [`detect()`] describe a pattern for the cost model and for people.
//! 3. [`Format`] names a way to store a matrix; [`Format::stored_bytes`] predicts its size from the pattern alone.
//! 4. [`Stored::encode`] stores a matrix in a format, [`Storage::to_dense`] brings it back exactly, and
//!    [`Storage::matmul`] is the oracle that kernels are tested against.
//!
//! Every step is deterministic: equal matrices give equal arrays on every machine.
//!
//! # What counts as a zero
//!
//! An element that compares equal to zero is not a nonzero, so `-0.0` is dropped and comes back as `+0.0`, which
//! compares equal. NaN and infinities are nonzeros and are kept.
//!
//! # The worked example
//!
//! The documentation of every format stores this 4 x 8 matrix (dots are zeros):
//!
//! ```text
//!          0 1 2 3 4 5 6 7
//! row 0  [ 1 . 2 . . 3 . . ]
//! row 1  [ . . . . . . . . ]
//! row 2  [ 4 . 5 . . . . 6 ]
//! row 3  [ 7 . . . . . . . ]
//! ```
//!
//! # Example
//!
//! ```
//! use sparsec_sparse::{Format, Pattern, PatternKind, Storage, Stored, detect};
//!
//! // Outputs 0-3 read input 0, outputs 4-7 read input 1, and so on: blocks of four outputs.
//! let weights: Vec<f32> = (0..64 * 16).map(|i| if i % 16 == i / 64 { 0.5 } else { 0.0 }).collect();
//! let pattern = Pattern::of(64, 16, &weights)?;
//! assert_eq!(detect(&pattern), PatternKind::Block { r: 4, c: 1 });
//!
//! let format: Format = "bsr<4,1>".parse()?;
//! assert!(format.stored_bytes(&pattern, 4)? < Format::Csr.stored_bytes(&pattern, 4)?);
//! let stored = Stored::encode(&format, 64, 16, &weights)?;
//! assert_eq!(stored.to_dense(), weights);
//! assert_eq!(stored.matmul(&[2.0; 16], 1)?, [1.0; 64]);
//! # Ok::<(), sparsec_sparse::FormatError>(())
//! ```

mod bitmap;
mod blocks;
mod bsr;
mod csr;
mod dense;
mod detect;
mod element;
mod error;
mod format;
mod format_text;
mod hyb;
mod hyb_plan;
mod nm;
mod pattern;
mod pruned;
mod size;
mod stats;
mod storage;
mod stored;

pub use bitmap::{BITMAP_TILE, BITMAP_WORDS, Bitmap, bitmap_place};
pub use blocks::{BlockCensus, count_blocks};
pub use bsr::Bsr;
pub use csr::Csr;
pub use dense::Dense;
pub use detect::{BLOCK_CANDIDATES, NM_CANDIDATES, PatternKind, detect};
pub use element::Element;
pub use error::{FormatError, PatternError};
pub use format::{Format, MAX_BLOCK, MAX_HYB_ROWS, MAX_NM, MAX_PARTITION};
pub use hyb::{Hyb, HybGroup, HybStep};
pub use hyb_plan::{HybBucket, HybParams, HybPartition};
pub use nm::Nm;
pub use pattern::Pattern;
pub use pruned::Pruned;
pub use stats::{BlockStats, NmStats, PartitionStats, PatternStats, RowLengths, StatsOptions};
pub use storage::Storage;
pub use stored::Stored;
