//! Products of small matrices: what tensor cores do.
//!
//! A *tile* is a matrix in a buffer: its first element and two distances, of rows and of columns or, where it is *blocked*,
//! of blocks: 8 rows of 16 bytes, or 8 columns of 16 bytes, one after the other. A fragment of such a factor is read without conflicts of banks. [`Stmt::Product`](crate::Stmt::Product) adds the product of
//! two tiles to a matrix of 16 x 8 sums that is kept in registers, and [`Stmt::SaveTile`](crate::Stmt::SaveTile) writes that
//! matrix to memory. Which lane of a warp holds which entry is said nowhere here: it is the backend's business.
//!
//! ```text
//! product.f16 sums[r, t] += values[at] by (16, 1) * window[from] by (72, 1)
//! product.f16 sums[r, t] += values[at] by (16, 1) * window[from] by (72, 1) kept places[row]
//! product.f16 sums[r, t] += values[at] by blocks (64, 128) * window[from] by (72, 1)
//! save window_of_results[i] by (33, 1) = sums[r, t]
//! ```
//!
//! With `masked`, the left factor is what eight words of bits select, and its first element that of its nonzeros, which lie one after the
//! other: bit `b` of word `w` is row `8 (w % 2) + 4 (w / 4) + b / 8`, column `8 (w / 2 % 2) + b % 8`, the order of the format `bitmap`.
//!
//! ```text
//! product.f16 sums[r, t] += values[at] by (0, 1) * window[from] by (72, 1) masked masks[word]
//! ```
//!
//! With `kept`, the left factor is 2:4 sparse: of each four columns two are stored, and row `i` has a word, `places[row + i]`,
//! of two bits for each stored entry, the first lowest: its place among the four. The two places of a group ascend.
//!
//! Four warps of a team, a *group*, multiply together: 64 rows, of which each warp's sums are 16, and several times 8 columns.
//!
//! ```text
//! group_product.f16 8 of sums[b, 0] += values[at] by blocks (64, 512) * window[from] by columns (520, 64)
//! commit_products
//! await_products 0
//! ```
//!
//! Such products are under way until [`Stmt::AwaitProducts`](crate::Stmt::AwaitProducts) says otherwise: until then nothing touches the sums, and nothing writes to
//! the factors.

use crate::{Access, Expr, RegisterId, Scalar, Type};

/// Rows of the left factor of a product, and of the sums.
pub const TILE_ROWS: usize = 16;
/// Columns of the right factor, and of the sums.
pub const TILE_COLUMNS: usize = 8;
/// Warps of a group that multiplies together.
pub const GROUP_WARPS: usize = 4;
/// Rows of the left factor of a group's product.
pub const GROUP_ROWS: usize = GROUP_WARPS * TILE_ROWS;
/// The type of a register that holds the sums of a product: entry `(i, j)` is number `8 i + j`.
pub const TILE_SUMS: Type = Type { scalar: Scalar::F32, lanes: (TILE_ROWS * TILE_COLUMNS) as u16 };

/// What the factors of a product are rounded to. Products are exact, and are added up in `f32` or better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// IEEE 754 binary16: 11 significant bits, magnitudes up to 65504.
    F16,
    /// bfloat16: 8 significant bits, the range of `f32`.
    BF16,
    /// 11 significant bits and the range of `f32`; kept as an `f32`, rounded to nearest, halves away from zero.
    TF32,
}

impl Precision {
    /// All.
    pub const ALL: [Precision; 3] = [Precision::F16, Precision::BF16, Precision::TF32];

    /// The name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::F16 => "f16",
            Precision::BF16 => "bf16",
            Precision::TF32 => "tf32",
        }
    }

    /// The precision of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }

    /// What the factors are kept in.
    #[must_use]
    pub fn storage(self) -> Scalar {
        match self {
            Precision::F16 => Scalar::F16,
            Precision::BF16 => Scalar::BF16,
            Precision::TF32 => Scalar::F32,
        }
    }

    /// How many entries of a row of the left factor one product takes: as many as are stored, so with `kept` the right factor
    /// has twice as many rows.
    #[must_use]
    pub fn depth(self) -> usize {
        if self == Precision::TF32 { 8 } else { 16 }
    }
}

/// An `f32` as a tensor core takes it in [`Precision::TF32`].
#[must_use]
pub fn round_to_tf32(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    // Half of the last place that is kept is added to the magnitude; a carry into the exponent is what rounding up means.
    f32::from_bits((x.to_bits() + 0x1000) & 0xffff_e000)
}

/// How the elements of a tile lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows and columns have distances.
    Elements,
    /// In blocks of 8 rows of 16 bytes, one row after the other; the distances are those of blocks.
    Blocks,
    /// In blocks of 8 columns of 16 bytes, one column after the other; the distances are those of blocks.
    Columns,
}

impl Layout {
    /// The words before the distances in the text form.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Layout::Elements => "by",
            Layout::Blocks => "by blocks",
            Layout::Columns => "by columns",
        }
    }
}

/// A matrix in a buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Its first element.
    pub at: Access,
    /// Distance of rows, then of columns, in elements; of blocks where there are any.
    pub strides: [Expr; 2],
    /// How its elements lie. Sums are saved, and right factors of single warps lie, as [`Layout::Elements`]; left factors never as
    /// [`Layout::Columns`].
    pub layout: Layout,
}

impl Tile {
    /// A matrix whose elements have these distances.
    #[must_use]
    pub fn new(at: Access, strides: [Expr; 2]) -> Tile {
        Tile { at, strides, layout: Layout::Elements }
    }

    /// A left factor of which the nonzeros lie one after the other, for a [`Product`] with a mask.
    #[must_use]
    pub fn packed(at: Access) -> Tile {
        Tile::new(at, [0, 1].map(Expr::int))
    }

    /// A factor in blocks of 8 rows of 16 bytes, of these distances.
    #[must_use]
    pub fn in_blocks(at: Access, strides: [Expr; 2]) -> Tile {
        Tile { at, strides, layout: Layout::Blocks }
    }

    /// A factor in blocks of 8 columns of 16 bytes, of these distances.
    #[must_use]
    pub fn in_columns(at: Access, strides: [Expr; 2]) -> Tile {
        Tile { at, strides, layout: Layout::Columns }
    }
}

/// `sums += left * right`.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// What the factors are rounded to.
    pub precision: Precision,
    /// Where a group of warps multiplies together: how often 8 columns the right factor has.
    pub group: Option<u32>,
    /// A register of type [`TILE_SUMS`], with its index: the first of as many as the right factor has 8 columns, which differ in
    /// the last index.
    pub sums: (RegisterId, Vec<Expr>),
    /// 16 rows ([`GROUP_ROWS`] of a group), [`Precision::depth`] stored columns.
    pub left: Tile,
    /// As many rows as the left factor has columns; 8 columns, or several times 8.
    pub right: Tile,
    /// Of a 2:4 sparse left factor: the word of its first row.
    pub kept: Option<Access>,
    /// Of a left factor of which only nonzeros are stored: the first of the eight words that say where they are.
    pub masked: Option<Access>,
}

impl Product {
    /// Rows of the right factor.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.precision.depth() * if self.kept.is_some() { 2 } else { 1 }
    }
}

impl Tile {
    /// Every expression below.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.at.index.iter().chain(&self.strides)
    }

    pub(crate) fn try_map<E>(
        &self,
        access: &mut dyn FnMut(&Access) -> Result<Access, E>,
        expr: &mut dyn FnMut(&Expr) -> Result<Expr, E>,
    ) -> Result<Tile, E> {
        let [rows, columns] = &self.strides;
        Ok(Tile { at: access(&self.at)?, strides: [expr(rows)?, expr(columns)?], layout: self.layout })
    }
}

impl Product {
    /// Every expression below.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let kept = self.kept.iter().chain(&self.masked).flat_map(|k| &k.index);
        self.sums.1.iter().chain(self.left.exprs()).chain(self.right.exprs()).chain(kept)
    }

    /// The buffers that are read.
    pub fn reads(&self) -> impl Iterator<Item = crate::BufferId> {
        [&self.left.at, &self.right.at].into_iter().chain(&self.kept).chain(&self.masked).map(|a| a.buffer)
    }

    pub(crate) fn try_map<E>(
        &self,
        access: &mut dyn FnMut(&Access) -> Result<Access, E>,
        expr: &mut dyn FnMut(&Expr) -> Result<Expr, E>,
    ) -> Result<Product, E> {
        Ok(Product {
            precision: self.precision,
            group: self.group,
            sums: (self.sums.0, self.sums.1.iter().map(&mut *expr).collect::<Result<_, _>>()?),
            left: self.left.try_map(access, expr)?,
            right: self.right.try_map(access, expr)?,
            kept: self.kept.as_ref().map(&mut *access).transpose()?,
            masked: self.masked.as_ref().map(&mut *access).transpose()?,
        })
    }
}
